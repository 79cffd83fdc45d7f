/** Which column is which: what was found, and how to correct it. */

import { find, make } from "./dom.js";

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
    });
  });
}

/** What was found in the data, in words. */
export function showFindings(inspection) {
  const items = inspection.sentences.map((text) => make("li", {}, text));
  find("findings-list").replaceChildren(...items);
}
