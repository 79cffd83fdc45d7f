/**
 * The lines and ranges of the chart. Contract: each method has a colour, a dash and a hatch of its
 * own, so that none is told by its colour alone; no name of a user's goes into the chart.
 */

import { ALIAS, METHODS, columnsOf, hasRanges, levelsOf } from "./methods.js";
import { state } from "./state.js";

/** A long past is cut in the drawing, not in the data: the last eight horizons, at least 200 steps. */
export function recent({ ds, y }) {
  const steps = Math.max(8 * state.h, 200);
  return { ds: ds.slice(-steps), y: y.slice(-steps) };
}

/**
 * Everything that is drawn: ranges first, lines over them.
 *
 * @param {string[]} methods Names of METHODS, in their order.
 * @param {Record<string, string>} colours By their variables, as #rrggbb.
 */
export function listTraces(methods, colours) {
  const history = recent(state.shown.history);
  const last = { ds: history.ds.at(-1), y: history.y.at(-1) };
  const fans = methods.filter(hasRanges);
  return [
    ...fans.flatMap((method) => drawFan(method, last, colours)),
    line(history.ds, history.y, "Past", { color: colours["--ink"], dash: "solid", width: 1.75 }),
    ...methods.map((method) => drawMedian(method, last, colours)),
  ];
}

function line(x, y, name, style) {
  return { x, y, name, mode: "lines", line: style, hovertemplate: "%{y:,.4~g}" };
}

function drawMedian(method, last, colours) {
  const { name, color, dash } = METHODS[method];
  const columns = columnsOf(method);
  const x = [last.ds, ...columns.ds];
  return line(x, [last.y, ...columns[ALIAS]], name, { color: colours[color], dash, width: 2.5 });
}

/** The ranges of a method, widest first. */
function drawFan(method, last, colours) {
  const columns = columnsOf(method);
  const levels = levelsOf(columns).reverse();
  const draw = METHODS[method].hatch ? hatch : shade;
  return levels.flatMap((level, place) => {
    const look = draw(method, place, levels, colours);
    return drawRange(columns, last, level, look);
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

/** Hatched areas with edges like the method's line; closer lines towards the middle. */
function hatch(method, place, levels, colours) {
  const { color, dash, framework, hatch: shape } = METHODS[method];
  const pattern = {
    shape,
    fgcolor: tint(colours[color], 0.75),
    bgcolor: "rgba(0,0,0,0)",
    size: 12 - (4 * place) / levels.length,
    solidity: 0.1 + (0.08 * place) / levels.length,
  };
  return {
    edge: { width: 1, dash, color: colours[color] },
    fill: { fillpattern: pattern },
    name: `Ranges, ${framework}`,
    showlegend: place === 0,
  };
}

function tint(hex, alpha) {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return `rgba(${r},${g},${b},${alpha})`;
}
