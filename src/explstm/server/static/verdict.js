/**
 * Whether to believe it: the pretrained model against the naive forecasts, on the past of the data.
 * Contract: a no is as large as a yes; what the server judged is shown, nothing is judged here.
 */

import { backtest } from "./api.js";
import { fillTable, find } from "./dom.js";
import { sayVerdict } from "./judged.js";
import { source, state } from "./state.js";
import { count, number } from "./words.js";

const MOST_WINDOWS = 8;
const MOST_ROWS = 60_000;
/** Steps that must remain before the first window: two seasons, or this many. */
const FEWEST_STEPS = 8;

/** Say that it is on its way, in place of the one before. */
export const awaitVerdict = () => show("wait", "…", "Testing it on your past …", "This takes a moment.");

/** Say that nothing was tested. */
export const sayNoVerdict = () => show("open", "?", "Not known: there is no forecast to test", "");

/** Test on the past, and show the outcome. */
export async function showVerdict(signal) {
  const wanted = planTest();
  awaitVerdict();
  try {
    const answer = await backtest(wanted, signal);
    const verdict = answer.verdicts[0];
    const { tone, mark, title, evidence } = sayVerdict(verdict);
    show(tone, mark, title, evidence);
    explain(answer, wanted);
  } catch (error) {
    if (error.name === "AbortError") return;
    show("open", "?", "Not known: it cannot be tested on this past", error.message);
  }
}

/** How many windows the shortest series allows, and which series. */
export function planTest() {
  const { data, h, series } = state;
  const rows = data.page.series;
  const few = data.n_series * h * MOST_WINDOWS <= MOST_ROWS;
  const lengths = few ? rows.map((row) => row.n) : rows.filter((row) => row.unique_id === series).map((row) => row.n);
  const shortest = lengths.length ? Math.min(...lengths) : (state.shown?.history.y.length ?? FEWEST_STEPS);
  const season = state.season ?? data.season_length[0];
  const before = Math.max(2 * season, FEWEST_STEPS);
  const windows = Math.max(1, Math.min(MOST_WINDOWS, Math.floor((shortest - before) / h)));
  return { ...source(), h, n_windows: windows, level: [80], ...(!few && { series: [series] }) };
}

function show(tone, mark, title, more) {
  find("verdict").dataset.tone = tone;
  find("verdict-mark").textContent = mark;
  find("verdict-title").textContent = title;
  find("verdict-more").textContent = more;
  find("verdict-details").hidden = true;
}

function explain(answer, wanted) {
  const { n_windows: windows, n_series: series, sentence } = answer.verdicts[0];
  const which = wanted.series ? `, on the series ${wanted.series[0]} alone` : ` in ${count(series, "series", "series")}`;
  find("verdict-how").textContent =
    `The last ${count(windows, "stretch", "stretches")} of ${count(answer.h, "step")} were hidden in turn${which}, ` +
    "forecast from what came before, and compared with what really came. A simple forecast does the " +
    "same with no model at all. MASE is the mean error, measured in typical changes of the past: " +
    `lower is better. In the terms of statistics: ${sentence}`;
  const scores = answer.scores.filter(({ metric }) => metric.toLowerCase() === "mase");
  const rows = scores
    .sort((a, b) => (a.value ?? Infinity) - (b.value ?? Infinity))
    .map(({ model, value }) => [model === "Pretrained" ? "This model" : model, number(value)]);
  fillTable(find("verdict-table"), "Mean error of each (MASE)", ["Method", "MASE"], rows);
  find("verdict-details").hidden = false;
}
