/** The tables of the numbers behind the chart: all forecasts side by side, then each with its ranges. */

import { fillTable, find, make } from "./dom.js";
import { ALIAS, METHODS, columnsOf, levelsOf, tunedMethods } from "./methods.js";
import { state } from "./state.js";
import { date, number, period } from "./words.js";

/** Show the table of the forecast, with whatever was fine-tuned beside it and below it. */
export function showNumbers() {
  const tuned = tunedMethods();
  fill(find("numbers-table"), "Forecast", "pretrained", tuned);
  const tables = tuned.map((method) => {
    const table = make("table", { "data-numbers": method });
    fill(table, METHODS[method].name, method, []);
    const label = `${METHODS[method].name}, by date`;
    return make("div", { class: "scroll", role: "region", "aria-label": label, tabindex: "0" }, table);
  });
  find("numbers-tuned").replaceChildren(...tables);
}

function fill(table, title, method, beside) {
  const columns = columnsOf(method);
  const levels = levelsOf(columns);
  const ends = levels.flatMap((level) => [`${ALIAS}-lo-${level}`, `${ALIAS}-hi-${level}`]);
  const heads = levels.flatMap((level) => [`${level} % from`, `${level} % to`]);
  const rows = columns.ds.map((ds, i) => [
    date(ds, state.data.freq),
    ...[ALIAS, ...ends].map((name) => number(columns[name][i])),
    ...beside.map((other) => number(columnsOf(other)[ALIAS][i])),
  ]);
  const names = beside.map((other) => METHODS[other].name);
  const caption = state.data.n_series > 1 ? `${title} of ${state.series}` : title;
  fillTable(table, caption, [period(state.data.freq), "Forecast", ...heads, ...names], rows);
}
