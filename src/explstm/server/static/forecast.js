/** The forecast in words: the headline, and the chart for those who do not see it. */

import { find } from "./dom.js";
import { ALIAS, METHODS, columnsOf, levelsOf, visibleMethods } from "./methods.js";
import { state } from "./state.js";
import { count, moment, number, percent, period } from "./words.js";

const say = (title, headline, more) => {
  find("forecast-title").textContent = title;
  find("headline").textContent = headline;
  find("headline-more").textContent = more;
  find("chart-text").textContent = "";
  find("numbers-table").replaceChildren();
  find("numbers-tuned").replaceChildren();
};

/** Say that a forecast is on its way, in place of the one before. */
export const awaitForecast = () => say("Forecast", "Being worked out …", "");

/** Say that there is none. */
export const sayNoForecast = () => say("Forecast", "There is none", "It could not be made: see above.");

/** Say the forecast of the series shown. */
export function sayForecast() {
  const { history, forecast } = state.shown;
  const { freq } = state.data;
  const end = forecast.ds.length - 1;
  const y = forecast[ALIAS][end];
  find("forecast-title").textContent = `Forecast for ${moment(forecast.ds[end], freq)}`;
  find("headline").textContent = `About ${number(y)}`;
  const last = history.y.at(-1);
  const range = sayRange(forecast, end);
  const change = last > 0 && y > 0 ? ` ${sayChange(y / last - 1)} the last value, ${number(last)} (${moment(history.ds.at(-1), freq)}).` : "";
  find("headline-more").textContent = `${range}${change}`;
  find("chart-text").textContent = describeChart();
}

function sayRange(forecast, row) {
  const ranges = levelsOf(forecast).map((level) => {
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

/** What a fine-tuned forecast says, against the one without. */
export function sayTuned(method) {
  const [tuned, plain] = [columnsOf(method), columnsOf("pretrained")];
  const end = tuned.ds.length - 1;
  const [y, before] = [tuned[ALIAS][end], plain[ALIAS][end]];
  const range = sayRange(tuned, end);
  const against = isSame(tuned, plain) ? "the same as without fine-tuning" : `without fine-tuning ${number(before)}`;
  return `About ${number(y)} for ${moment(tuned.ds[end], state.data.freq)}, ${against}. ${range}`.trim();
}

/** Whether two forecasts are one, to the rounding of what computed them. */
export function isSame(one, other) {
  return one[ALIAS].every((y, i) => Math.abs(y - other[ALIAS][i]) <= 1e-5 * Math.abs(other[ALIAS][i]));
}

/** The chart for those who do not see it. */
function describeChart() {
  const { history, forecast } = state.shown;
  const { freq } = state.data;
  const steps = history.y.length;
  const ahead = count(forecast.ds.length, period(freq));
  const [end, last] = [forecast.ds.length - 1, history.y.at(-1)];
  const tuned = visibleMethods().slice(1);
  const over = tuned.map((method) => `${METHODS[method].name}, ends at about ${number(columnsOf(method)[ALIAS][end])}`);
  return [
    `The past from ${moment(history.ds[0], freq)} to ${moment(history.ds.at(-1), freq)} (${count(steps, period(freq))}), ending at ${number(last)},`,
    ` and the forecast of the ${ahead} after it, which ends at about ${number(forecast[ALIAS][end])}.`,
    over.length && ` Laid over it: ${over.join("; ")}.`,
    " All numbers are in the table below.",
  ].filter(Boolean).join("");
}
