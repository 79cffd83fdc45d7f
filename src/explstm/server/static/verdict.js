/**
 * Whether to believe it: the pretrained model against the naive forecasts, on the past of the data.
 * Contract: a no is as large as a yes; what the server judged is shown, nothing is judged here.
 */

import { backtest } from "./api.js";
import { fillTable, find } from "./dom.js";
import { source, state } from "./state.js";
import { count, number, percent, whole } from "./words.js";

const MOST_WINDOWS = 8;
const MOST_ROWS = 60_000;
/** Steps that must remain before the first window: two seasons, or this many. */
const FEWEST_STEPS = 8;

const NAIVE = {
  Naive: "repeating the last value",
  SeasonalNaive: "repeating the value of one season ago",
  Drift: "the straight line through first and last value",
  LogDrift: "constant growth",
};
/** Skill from which on a lead that may be luck is worth a second look. */
const NOTEWORTHY = 0.05;

/** Tone, mark and title of each outcome; a lead that may be luck has a title of its own. */
const OUTCOMES = {
  beats: ["good", "✓", () => "Yes: it beats the simple forecasts"],
  level: ["bad", "✕", (naive) => `No: ${naive} is as good. Do not use this model here`],
  lead: ["bad", "✕", (naive) => `Not proven: ${naive} may be as good. Do not use this model here yet`],
  loses: ["bad", "✕", (naive) => `No: ${naive} is better. Do not use this model here`],
  untestable: ["open", "?", () => "Not known: there is too little past to tell"],
};

/** Test on the past, and show the outcome. */
export async function showVerdict(signal) {
  const wanted = planTest();
  show("wait", "…", "Testing it on your past …", "This takes a moment.");
  try {
    const answer = await backtest(wanted, signal);
    const verdict = answer.verdicts[0];
    const leads = verdict.outcome === "level" && verdict.skill >= NOTEWORTHY;
    const [tone, mark, title] = OUTCOMES[leads ? "lead" : verdict.outcome];
    const naive = NAIVE[verdict.naive] ?? "the best simple forecast";
    show(tone, mark, title(naive), sayEvidence(verdict, naive));
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
  const shortest = lengths.length ? Math.min(...lengths) : state.shown.history.y.length;
  const season = state.season ?? data.season_length[0];
  const before = Math.max(2 * season, FEWEST_STEPS);
  const windows = Math.max(1, Math.min(MOST_WINDOWS, Math.floor((shortest - before) / h)));
  return { ...source(), h, n_windows: windows, level: [80], ...(!few && { series: [series] }) };
}

/** The evidence without terms of statistics. */
function sayEvidence({ skill, p_value: p, n_windows: windows, n_series: series }, naive) {
  if (skill === null) return "";
  const tests = `${count(windows, "test")} on your past${series > 1 ? `, in ${count(series, "series", "series")}` : ""}`;
  const luck = p === null ? "That can be luck: more tests would be needed to tell." : sayLuck(p);
  return `In ${tests}, its error was ${compare(skill)} that of ${naive}. ${luck}`;
}

/** One error against another, from the skill: 1 less their ratio. */
function compare(skill) {
  if (skill === 0) return "the same as";
  if (skill < -1000) return "thousands of times";
  if (skill < -1) return `${number(1 - skill)} times`;
  return `${percent(Math.abs(skill))} ${skill > 0 ? "lower" : "higher"} than`;
}

/** A p-value in words. */
function sayLuck(p) {
  const of = p < 0.001 ? "fewer than 1 in 1,000" : `about ${whole(Math.max(1, Math.round(100 * p)))} in 100`;
  const share = p < 0.005 && p >= 0.001 ? `about ${whole(Math.round(1000 * p))} in 1,000` : of;
  return `Luck alone makes a difference like this in ${share} cases.`;
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
