/** The forecast in words and numbers: the headline, the chart's text, the table beside it. */

import { METHODS } from "./chart.js";
import { fillTable, find } from "./dom.js";
import { state } from "./state.js";
import { count, date, number, percent, period } from "./words.js";

const ALIAS = "ExpLSTM";

/** Say the forecast of the series shown. */
export function sayForecast() {
  const { history, forecast } = state.shown;
  const { freq } = state.data;
  const end = forecast.ds.length - 1;
  const y = forecast[ALIAS][end];
  find("forecast-title").textContent = `Forecast for ${date(forecast.ds[end], freq)}`;
  find("headline").textContent = `About ${number(y)}`;
  const last = history.y.at(-1);
  const range = sayRange(forecast, end);
  const change = last > 0 && y > 0 ? ` ${sayChange(y / last - 1)} the last value, ${number(last)} in ${date(history.ds.at(-1), freq)}.` : "";
  find("headline-more").textContent = `${range}${change}`;
  find("chart-text").textContent = describeChart();
}

function sayRange(forecast, row) {
  const ranges = [...state.level].sort((a, b) => a - b).map((level) => {
    const [low, high] = ["lo", "hi"].map((end) => number(forecast[`${ALIAS}-${end}-${level}`][row]));
    return `between ${low} and ${high} with a chance of ${level} %`;
  });
  const text = ranges.join(", and ");
  return text && `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function sayChange(share) {
  const size = percent(Math.abs(share));
  if (size === "0 %") return "The same as";
  if (share > 10) return `That is ${number(1 + share)} times`;
  return `That is ${size} ${share > 0 ? "above" : "below"}`;
}

/** The chart for those who do not see it. */
function describeChart() {
  const { history, forecast } = state.shown;
  const { freq } = state.data;
  const steps = history.y.length;
  const ahead = count(forecast.ds.length, period(freq));
  const tuned = [...state.tuned.keys()].map((backend) => METHODS[backend].name).join(" and ");
  return [
    `The past from ${date(history.ds[0], freq)} to ${date(history.ds.at(-1), freq)} (${count(steps, period(freq))})`,
    ` and the forecast of the ${ahead} after it.`,
    tuned && ` Laid over it: ${tuned}.`,
    " All numbers are in the table below.",
  ].filter(Boolean).join("");
}

/** The table of the forecast, with whatever is laid over it. */
export function showNumbers() {
  const { forecast } = state.shown;
  const levels = [...state.level].sort((a, b) => a - b);
  const ends = levels.flatMap((level) => [`${ALIAS}-lo-${level}`, `${ALIAS}-hi-${level}`]);
  const heads = levels.flatMap((level) => [`${level} % from`, `${level} % to`]);
  const over = [...state.tuned].map(([backend, { shown }]) => [METHODS[backend].name, shown[ALIAS]]);
  const rows = forecast.ds.map((ds, i) => [
    date(ds, state.data.freq),
    ...[ALIAS, ...ends].map((column) => number(forecast[column][i])),
    ...over.map(([, values]) => number(values[i])),
  ]);
  const columns = [period(state.data.freq), "Forecast", ...heads, ...over.map(([name]) => name)];
  const caption = state.data.n_series > 1 ? `Forecast of ${state.series}` : "Forecast";
  fillTable(find("numbers-table"), caption, columns, rows);
}
