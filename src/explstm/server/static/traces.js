/**
 * The lines and ranges of the chart. Contract: each method has a colour, a dash and a hatch of its
 * own, so that none is told by its colour alone; no name of a user's goes into the chart.
 */

import { ALIAS, METHODS, columnsOf, hasRanges, levelsOf } from "./methods.js";
import { state } from "./state.js";
import { number } from "./words.js";

/** A long past is cut in the drawing, not in the data: so many horizons, and so many steps at least. */
const PAST = { wide: [8, 200], narrow: [5, 96] };

/** The past that is drawn. */
export function recent({ ds, y }, narrow) {
  const [horizons, least] = narrow ? PAST.narrow : PAST.wide;
  const steps = Math.max(horizons * state.h, least);
  return { ds: ds.slice(-steps), y: y.slice(-steps) };
}

/**
 * Everything that is drawn: ranges first, lines over them.
 *
 * @param {string[]} methods Names of METHODS, in their order.
 * @param {Record<string, string>} colours By their variables, as #rrggbb.
 * @param {boolean} narrow Whether there is little room.
 */
export function listTraces(methods, colours, narrow) {
  const history = recent(state.shown.history, narrow);
  const last = { ds: history.ds.at(-1), y: history.y.at(-1) };
  const fans = methods.filter(hasRanges);
  return [
    ...fans.flatMap((method) => drawFan(method, last, colours, narrow)),
    line(history.ds, history.y, { name: "Past", legendrank: 1 }, { color: colours["--ink"], dash: "solid", width: 1.75 }),
    ...methods.map((method) => drawMedian(method, last, colours, narrow)),
  ];
}

/** Markers on a line, where it has more points. */
const MOST_MARKERS = 16;

/** Place in the legend: a method's line, and its ranges after it. */
const rank = (method, place = 0) => 10 * (1 + Object.keys(METHODS).indexOf(method)) + place;

function line(x, y, about, style) {
  return { x, y, ...about, mode: "lines", line: style, text: y.map(number), hovertemplate: "%{text}" };
}

function drawMedian(method, last, colours, narrow) {
  const { name, framework, color, dash, marker } = METHODS[method];
  const columns = columnsOf(method);
  const x = [last.ds, ...columns.ds];
  const about = { name: narrow && framework ? framework : name, legendrank: rank(method) };
  const drawn = line(x, [last.y, ...columns[ALIAS]], about, { color: colours[color], dash, width: 2.5 });
  if (!marker) return drawn;
  const open = { line: { color: colours[color], width: 1.5 }, color: colours[color], maxdisplayed: MOST_MARKERS };
  return { ...drawn, mode: "lines+markers", cliponaxis: false, marker: { ...open, ...marker } };
}

/** The ranges of a method, widest first. */
function drawFan(method, last, colours, narrow) {
  const columns = columnsOf(method);
  const levels = levelsOf(columns).reverse();
  const draw = METHODS[method].hatch ? hatch : shade;
  return levels.flatMap((level, place) => {
    const look = draw(method, place, levels, colours, narrow);
    return drawRange(columns, last, level, { ...look, legendrank: rank(method, levels.length - place) });
  });
}

/** Lower end, and upper end filled down to it: a fan that opens from the last value. */
function drawRange(columns, last, level, { edge, fill, ...upper }) {
  const x = [last.ds, ...columns.ds];
  const common = { x, mode: "lines", line: edge, hoverinfo: "skip" };
  return [
    { ...common, y: [last.y, ...columns[`${ALIAS}-lo-${level}`]], showlegend: false },
    { ...common, y: [last.y, ...columns[`${ALIAS}-hi-${level}`]], fill: "tonexty", ...fill, ...upper },
  ];
}

/** Plain areas, darker towards the middle. */
function shade(method, place, levels, colours) {
  const alpha = 0.12 + (0.2 * place) / levels.length;
  return {
    edge: { width: 0 },
    fill: { fillcolor: tint(colours[METHODS[method].color], alpha) },
    name: `${levels[place]} % range`,
  };
}

/** Edges like the method's line, and a hatch from the outermost to the other. */
function hatch(method, place, levels, colours, narrow) {
  const { color, dash, framework, hatch: shape } = METHODS[method];
  const pattern = { shape, fgcolor: tint(colours[color], 0.5), bgcolor: "rgba(0,0,0,0)", size: 14, solidity: 0.08 };
  return {
    edge: { width: 1, dash, color: colours[color] },
    fill: place === 0 ? { fillpattern: pattern } : { fill: "none" },
    name: narrow ? "its ranges" : `Ranges, ${framework}`,
    showlegend: place === 0,
  };
}

function tint(hex, alpha) {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return `rgba(${r},${g},${b},${alpha})`;
}
