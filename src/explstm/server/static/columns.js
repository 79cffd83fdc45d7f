/** Which column is which: what was found, and how to correct it. */

import { find, make, showProblem } from "./dom.js";
import { count, moment, period, whole } from "./words.js";

const NONE = "";

/**
 * Show the columns of an upload, and what is taken for what.
 *
 * @param {{columns: object[], choice: object}} upload As the server describes it.
 * @param {{fill?: string}} reading How it is read now.
 */
export function showColumns(upload, reading) {
  const { id_col: id, time_col: time, target_col: target } = upload.choice;
  fill(find("time-col"), upload.columns, time);
  fill(find("target-col"), upload.columns, target);
  fill(find("id-col"), upload.columns, id, "nothing: it is one series");
  find("fill").value = reading.fill ?? "error";
  find("decimal").value = reading.decimal ?? ".";
  find("date-format").value = reading.date_format ?? "";
  const parts = [`dates in “${time ?? "?"}”`, `numbers in “${target ?? "?"}”`];
  if (id) parts.push(`series named by “${id}”`);
  find("columns-now").textContent = parts.join(", ");
}

function fill(select, columns, chosen, none) {
  const options = columns.map(({ name, examples }) =>
    make("option", { value: name }, examples.length ? `${name} (${examples.slice(0, 2).join(", ")} …)` : name),
  );
  if (none || chosen === null) options.unshift(make("option", { value: NONE }, none ?? "choose one"));
  select.replaceChildren(...options);
  select.value = chosen ?? NONE;
}

/** Field where a failure can be mended, and how; where there is none, the file has to be corrected. */
const REMEDIES = {
  DATA_GAP: ["fill", "Choose under “Missing steps” what becomes of them."],
  DATA_BAD_DATE: ["date-format", "Choose under “Dates are written as” how they are written in the file, or another column of dates. Names of months are read in English."],
  DATA_CODED_DATE: ["date-format", "Choose under “Dates are written as” how they are written in the file."],
  DATA_COLUMN_MISSING: ["time-col", "Choose the columns below, and how their dates and numbers are written."],
  ...Object.fromEntries(
    ["DATA_COLUMN_TWICE", "DATA_COLUMN_TYPE", "DATA_ALL_MISSING", "DATA_BAD_ID", "COLUMN_TAKEN"]
      .map((code) => [code, ["time-col", "Choose the columns below."]]),
  ),
};

/** What stands in the cell that a message speaks of. */
const quoted = (message) => /: (['"])(.*?)\1 is not a finite number/.exec(message)?.[2] ?? "";

/** A number that is none may be one with a comma, with thousands set apart, or a word. */
function mendNumber(message) {
  const text = quoted(message);
  const other = find("decimal").value === "." ? "comma" : "point";
  if (/^[+-]?\d*[.,]\d+$/.test(text)) return ["decimal", `Choose under “Decimal sign” the ${other}.`];
  if (/\d/.test(text)) {
    return ["decimal", "Write numbers without signs of money and without signs between thousands, such as 1234.56, and choose the decimal sign below."];
  }
  return ["target-col", "Leave cells of missing values empty in the file, or choose another column of numbers."];
}

/** Say why data could not be read, in the words of this form, and go where it can be mended. */
export function askForColumns({ code, message }) {
  const [field, remedy] = (code === "DATA_NOT_A_NUMBER" ? mendNumber(message) : REMEDIES[code]) ?? [];
  const end = message.lastIndexOf("; ");
  const found = remedy && end >= 0 ? `${message.slice(0, end)}.` : message;
  showProblem(remedy ? `${found} ${remedy}` : `${found} Then choose the file again.`);
  find("columns").open = true;
  if (field) find(field).focus();
  else find("restart").focus();
}

/** @param {(reading: object) => void} reopen Takes how to read the data from now on. */
export function wireColumns(reopen) {
  find("columns-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const id = find("id-col").value;
    reopen({
      ...(find("time-col").value && { time_col: find("time-col").value }),
      ...(find("target-col").value && { target_col: find("target-col").value }),
      ...(id ? { id_col: id } : { one_series: true }),
      fill: find("fill").value,
      ...(find("decimal").value !== "." && { decimal: find("decimal").value }),
      ...(find("date-format").value && { date_format: find("date-format").value }),
    });
  });
}

/** What was found in the data, in words. */
export function showFindings(inspection) {
  const found = inspection.sentences.length
    ? inspection.sentences
    : ["No gaps and no duplicates were found, and nothing was repaired."];
  const items = [sayExtent(inspection), saySeason(inspection), ...sayUnused(inspection), ...found].map((text) => make("li", {}, text));
  find("findings-list").replaceChildren(...items);
}

const NUMBER = /^\s*[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?\s*$/;
const MOST_NAMED = 5;

/** Columns of numbers that are not forecast, for only one is. */
function sayUnused({ columns, choice }) {
  const taken = Object.values(choice);
  const isNumber = ({ examples }) => {
    const filled = examples.filter((text) => text.trim());
    return filled.length > 0 && filled.every((text) => NUMBER.test(text));
  };
  const unused = columns.filter((column) => !taken.includes(column.name) && isNumber(column));
  if (!unused.length) return [];
  const names = unused.slice(0, MOST_NAMED).map(({ name }) => `“${name}”`).join(", ");
  const more = unused.length > MOST_NAMED ? ` and ${whole(unused.length - MOST_NAMED)} more` : "";
  return [`Only “${choice.target_col}” is forecast. Not used: ${names}${more}; choose another under “Columns”.`];
}

/** How many values there are, how often, and from when to when. */
function sayExtent({ page, n_rows: rows, n_series: series, freq }) {
  const [row] = page.series;
  const step = period(freq);
  const often = step !== "step" ? `one per ${step}` : freq === 1 ? "numbered" : `one every ${freq}`;
  const span = `from ${moment(row.first, freq)} to ${moment(row.last, freq)}`;
  if (series === 1) return `${count(row.n, "value")}, ${often}, ${span}.`;
  const lengths = page.series.map(({ n }) => n);
  const [least, most] = [Math.min(...lengths), Math.max(...lengths)];
  const long = least === most ? whole(least) : `${whole(least)} to ${whole(most)}`;
  return `${whole(series)} series in ${count(rows, "row")}, each of ${long} values, ${often}; the first ${span}.`;
}

/** Which season the forecast looks for. */
function saySeason({ season_length: seasons, freq }) {
  const step = period(freq);
  if (Math.max(...seasons) === 1) return "No season is looked for.";
  const each = seasons.map((season) => `${season} ${step}s`).join(" and every ");
  return `A pattern that repeats every ${each} is looked for, and used where there is one.`;
}
