/**
 * The chart: past, forecast and its ranges, and fine-tuned forecasts over it.
 *
 * Contract: every number comes from the answers of the API; no name of a user's goes into the chart,
 * for the library reads markup in its texts. Colours come from the style sheet, and each line has a
 * dash of its own beside its colour.
 */

import { find } from "./dom.js";
import { state } from "./state.js";

/** Methods in their order: name shown, variable of its colour, dash. */
export const METHODS = {
  pretrained: { name: "Forecast", color: "--chart-1", dash: "solid" },
  torch: { name: "Fine-tuned, PyTorch", color: "--chart-2", dash: "dash" },
  tensorflow: { name: "Fine-tuned, TensorFlow", color: "--chart-3", dash: "dot" },
};
const ALIAS = "ExpLSTM";
const PAPER = { "--ink": "#1d2025", "--line": "#d5d9df", "--quiet": "#5a616c", "--paper": "#ffffff",
  "--chart-1": "#0b5fa5", "--chart-2": "#b84a00", "--chart-3": "#00795a" };

/** Colours of the page as it is, light or dark. */
function readColours() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(Object.keys(PAPER).map((name) => [name, style.getPropertyValue(name).trim()]));
}

/** Draw what the state holds. */
export async function drawChart() {
  if (!state.shown) return;
  const { traces, layout } = describe(readColours(), find("chart").clientWidth < 520);
  await window.Plotly.react("chart", traces, layout, { responsive: true, displayModeBar: false, scrollZoom: false });
}

/**
 * The chart as a picture on white, with its title.
 *
 * @param {"png"|"svg"} format Which.
 * @returns {Promise<Blob>}
 */
export async function exportChart(format) {
  const { traces, layout } = describe(PAPER, false);
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

/** How many values so far a log scale cannot show. */
export function countUnloggable() {
  const { history, forecast } = state.shown;
  return [...history.y, ...forecast[ALIAS]].filter((y) => y !== null && y <= 0).length;
}

function describe(colours, narrow) {
  const { forecast } = state.shown;
  const history = recent(state.shown.history);
  const last = { ds: history.ds.at(-1), y: history.y.at(-1) };
  const levels = [...state.level].sort((a, b) => b - a);
  const traces = [
    ...levels.flatMap((level, i) => drawRange(forecast, last, level, i, levels.length, colours)),
    line(history.ds, history.y, "Past", colours["--ink"], "solid", 1.75),
    drawMedian("pretrained", forecast, last, colours),
    ...[...state.tuned].map(([backend, { shown }]) => drawMedian(backend, shown, last, colours)),
  ];
  return { traces, layout: lay(colours, narrow) };
}

function line(x, y, name, color, dash, width) {
  return { x, y, name, mode: "lines", line: { color, dash, width }, hovertemplate: "%{y:,.4~g}" };
}

function drawMedian(method, columns, last, colours) {
  const { name, color, dash } = METHODS[method];
  const x = [last.ds, ...columns.ds];
  return line(x, [last.y, ...columns[ALIAS]], name, colours[color], dash, 2.5);
}

/** Lower end, and upper end filled down to it: a fan that opens from the last value. */
function drawRange(columns, last, level, place, of, colours) {
  const x = [last.ds, ...columns.ds];
  const shade = tint(colours["--chart-1"], 0.12 + (0.2 * place) / of);
  const common = { x, mode: "lines", line: { width: 0 }, legendgroup: `range-${level}` };
  return [
    { ...common, y: [last.y, ...columns[`${ALIAS}-lo-${level}`]], showlegend: false, hoverinfo: "skip" },
    { ...common, y: [last.y, ...columns[`${ALIAS}-hi-${level}`]], fill: "tonexty", fillcolor: shade,
      name: `${level} % range`, hoverinfo: "skip" },
  ];
}

function tint(hex, alpha) {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return `rgba(${r},${g},${b},${alpha})`;
}

function lay(colours, narrow) {
  const axis = {
    gridcolor: colours["--line"], linecolor: colours["--line"], zeroline: false, automargin: true,
    tickfont: { color: colours["--quiet"] }, fixedrange: true,
  };
  return {
    autosize: true,
    height: narrow ? 360 + 28 * state.tuned.size : 440,
    margin: { l: narrow ? 44 : 56, r: 12, t: 8, b: 40 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: narrow ? 12 : 13, color: colours["--ink"] },
    hovermode: "x unified",
    hoverlabel: { bgcolor: colours["--paper"], bordercolor: colours["--line"], font: { color: colours["--ink"] } },
    dragmode: false,
    legend: { orientation: "h", y: -0.1, yanchor: "top", x: 0, itemclick: false, itemdoubleclick: false },
    xaxis: { ...axis, showgrid: false },
    yaxis: { ...axis, ...(state.scale === "log" ? tickLog() : { tickformat: ",~g", nticks: narrow ? 5 : 8 }) },
  };
}

/** A log axis: marks at 1, 2 and 5 where few powers of ten are shown, else at those alone. */
function tickLog() {
  const shown = [...recent(state.shown.history).y, ...state.shown.forecast[ALIAS]].filter((y) => y > 0);
  const powers = Math.log10(Math.max(...shown) / Math.min(...shown));
  return { type: "log", tickformat: ",~g", ...(powers < 3 ? { dtick: "D2" } : { tickformat: "~s" }) };
}

/** A long past is cut in the drawing, not in the data: the last eight horizons, at least 200 steps. */
function recent({ ds, y }) {
  const steps = Math.max(8 * state.h, 200);
  return { ds: ds.slice(-steps), y: y.slice(-steps) };
}
