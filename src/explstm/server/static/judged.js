/** A verdict in plain words. Contract: what the server judged is said, nothing is judged here. */

import { count, number, percent, whole } from "./words.js";

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

/**
 * A verdict of one method.
 *
 * @param {object} verdict As the server has it.
 * @returns {{tone: string, mark: string, title: string, evidence: string}}
 */
export function sayVerdict(verdict) {
  const leads = verdict.outcome === "level" && verdict.skill >= NOTEWORTHY;
  const [tone, mark, title] = OUTCOMES[leads ? "lead" : verdict.outcome];
  const naive = NAIVE[verdict.naive] ?? "the best simple forecast";
  return { tone, mark, title: title(naive), evidence: sayEvidence(verdict, naive) };
}

/** The evidence without terms of statistics. */
function sayEvidence({ skill, p_value: p, n_windows: windows, n_series: series }, naive) {
  if (skill === null) return "";
  const tests = `${count(windows, "test")} on your past${series > 1 ? `, in ${count(series, "series", "series")}` : ""}`;
  const luck = p === null ? "That can be luck: more tests would be needed to tell." : sayLuck(p);
  return `In ${tests}, its error was ${compare(skill)} that of ${naive}. ${luck}`;
}

/** One error against another, from the skill: 1 less their ratio. */
export function compare(skill) {
  if (skill === 0) return "the same as";
  if (skill < -1000) return "thousands of times";
  if (skill < -1) return `${number(1 - skill)} times`;
  return `${percent(Math.abs(skill))} ${skill > 0 ? "lower" : "higher"} than`;
}

/** A p-value in words. */
function sayLuck(p) {
  const of = p < 0.001 ? "fewer than 1 in 1,000" : `about ${whole(Math.max(1, Math.round(100 * p)))} in 100`;
  if (p > 0.99) return "Luck alone makes a difference like this in almost all cases.";
  const share = p < 0.005 && p >= 0.001 ? `about ${whole(Math.round(1000 * p))} in 1,000` : of;
  return `Luck alone makes a difference like this in ${share} cases.`;
}
