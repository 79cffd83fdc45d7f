/**
 * The chart: past, forecast and its ranges, and fine-tuned forecasts over it.
 *
 * Contract: every number comes from the answers of the API; no name of a user's goes into the chart,
 * for the library reads markup in its texts. Colours come from the style sheet.
 */

import { find } from "./dom.js";
import { ALIAS, columnsOf, visibleMethods } from "./methods.js";
import { state } from "./state.js";
import { listTraces, recent } from "./traces.js";

const PAPER = { "--ink": "#1d2025", "--line": "#d5d9df", "--quiet": "#5a616c", "--paper": "#ffffff",
  "--chart-1": "#0b5fa5", "--chart-2": "#b84a00", "--chart-3": "#00795a" };
const NARROW = 520;
/** From so large on, marks of an axis are shortened: 1 million is where ",~g" would write 1e+6. */
const LARGE = 1e6;
/** Height that a line of the legend takes on a narrow screen; each method has one. */
const LEGEND_LINE = 24;

/** Colours of the page as it is, light or dark. */
function readColours() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(Object.keys(PAPER).map((name) => [name, style.getPropertyValue(name).trim()]));
}

/** Draw what the state holds. */
export async function drawChart() {
  if (!state.shown) return;
  const { traces, layout } = describe(readColours(), find("chart").clientWidth < NARROW, visibleMethods());
  await window.Plotly.react("chart", traces, layout, { responsive: true, displayModeBar: false, scrollZoom: false });
}

/** Show nothing. */
export function clearChart() {
  const chart = find("chart");
  if (!chart.classList.contains("js-plotly-plot")) return;
  window.Plotly.purge(chart);
  chart.classList.remove("js-plotly-plot");
}

/**
 * The chart as a picture on white.
 *
 * @param {"png"|"svg"} format Which.
 * @param {string[]} methods What is drawn beside the past; all that is shown unless given.
 * @returns {Promise<Blob>}
 */
export async function exportChart(format, methods = visibleMethods()) {
  if (!state.shown) throw new Error("There is no forecast to draw yet.");
  const { traces, layout } = describe(PAPER, false, methods);
  const size = { width: 1200, height: 640 };
  const figure = { data: traces, layout: { ...layout, ...size, autosize: false, paper_bgcolor: "#ffffff" } };
  const address = await window.Plotly.toImage(figure, { format, ...size, scale: format === "png" ? 2 : 1 });
  return toBlob(address);
}

function toBlob(address) {
  const [, type, encoding, body] = /^data:([^;,]+)[^;,]*(;base64)?,(.*)$/s.exec(address);
  const text = encoding ? atob(body) : decodeURIComponent(body);
  const bytes = encoding ? Uint8Array.from(text, (sign) => sign.charCodeAt(0)) : text;
  return new Blob([bytes], { type });
}

/** Whether a log scale can show anything of the past. */
export const canLog = () => recent(state.shown.history, false).y.some((y) => y > 0);

/** How many values so far a log scale cannot show. */
export function countUnloggable() {
  const { history, forecast } = state.shown;
  return [...history.y, ...forecast[ALIAS]].filter((y) => y !== null && y <= 0).length;
}

function describe(colours, narrow, methods) {
  return { traces: listTraces(methods, colours, narrow), layout: lay(colours, narrow, methods) };
}

function lay(colours, narrow, methods) {
  const axis = {
    gridcolor: colours["--line"], linecolor: colours["--line"], zeroline: false, automargin: true,
    tickfont: { color: colours["--quiet"] }, fixedrange: true,
  };
  const tuned = methods.filter((method) => method !== "pretrained").length;
  return {
    autosize: true,
    height: narrow ? 360 + LEGEND_LINE * tuned : 440,
    margin: { l: narrow ? 44 : 56, r: 12, t: 8, b: 40 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: narrow ? 12 : 13, color: colours["--ink"] },
    hovermode: "x unified",
    hoverlabel: { bgcolor: colours["--paper"], bordercolor: colours["--line"], font: { color: colours["--ink"] } },
    dragmode: false,
    legend: {
      orientation: "h", traceorder: "normal", y: -0.1, yanchor: "top", x: 0, itemclick: false, itemdoubleclick: false,
      ...(narrow && { entrywidth: 0.48, entrywidthmode: "fraction" }),
    },
    xaxis: { ...axis, showgrid: false, range: [recent(state.shown.history, narrow).ds[0], state.shown.forecast.ds.at(-1)] },
    yaxis: { ...axis, ...(state.scale === "log" ? tickLog(methods, narrow) : tickLinear(methods, narrow)) },
  };
}

/** A linear axis: "500M" and "5B" where values are large, plain numbers elsewhere. */
function tickLinear(methods, narrow) {
  const shown = [...recent(state.shown.history, narrow).y, ...methods.flatMap((method) => columnsOf(method)[ALIAS])];
  const large = shown.some((y) => Math.abs(y) >= LARGE);
  return { nticks: narrow ? 5 : 8, ...(large ? { tickformat: "", exponentformat: "B" } : { tickformat: ",~g" }) };
}

/** A log axis: marks at 1, 2 and 5 where few powers of ten are shown, else at those alone. */
function tickLog(methods, narrow) {
  const medians = methods.flatMap((method) => columnsOf(method)[ALIAS]);
  const shown = [...recent(state.shown.history, narrow).y, ...medians].filter((y) => y > 0);
  const powers = Math.log10(Math.max(...shown) / Math.min(...shown));
  const large = powers >= 3 || Math.max(...shown) >= LARGE;
  return { type: "log", tickformat: ",~g", ...(powers < 3 ? { dtick: "D2" } : {}), ...(large && { tickformat: "", exponentformat: "B" }) };
}
