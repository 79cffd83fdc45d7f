/** The growth card: how fast, doubling when, and whether there are signs of a ceiling. */

import { measureGrowth } from "./api.js";
import { find, make, setBusy } from "./dom.js";
import { source, state } from "./state.js";
import { duration, moment, number, percent, period } from "./words.js";

const COURSES = {
  steady: "No sign of saturation",
  saturating: "Growth is nearing a ceiling",
  slowing: "Growth is slowing, without a clear ceiling",
  broken: "The pace changed",
  unknown: "Too short to tell",
};

/** Growth to more than so many times the size within a year is not told per year. */
const MOST_PER_YEAR = 10;

const say = (text) => find("growth-body").replaceChildren(make("p", { class: "quiet" }, text));

/** Say that it is on its way, in place of the one before. */
export function awaitGrowth() {
  setBusy(find("growth-body"), true);
  say("Being worked out …");
}

/** Say that there is none. */
export function sayNoGrowth() {
  setBusy(find("growth-body"), false);
  say("Not known: there is no forecast to measure it by.");
}

/** Ask for the growth of the series shown, and show it. */
export async function showGrowth(signal) {
  const body = find("growth-body");
  awaitGrowth();
  try {
    const answer = await measureGrowth({ ...source(), h: state.h, series: [state.series] }, signal);
    const [facts] = answer.facts;
    const sentences = Object.values(answer.sentences)[0] ?? [];
    body.replaceChildren(
      listFacts(facts, answer.level),
      make("details", {}, make("summary", {}, "In full sentences"), ...sentences.map((text) => make("p", {}, text))),
    );
  } catch (error) {
    if (error.name !== "AbortError") say(error.message);
  } finally {
    if (!signal.aborted) setBusy(body, false);
  }
}

function listFacts(facts, level) {
  const rate = facts.unit === "change" ? number : percent;
  const unit = period(state.data.freq);
  const rows = [
    [`${facts.unit === "change" ? "Change" : "Growth rate"} per ${unit}`, rate(facts.rate), `${level} % range: ${rate(facts.rate_lo)} to ${rate(facts.rate_hi)}`],
    sayYear(facts, unit, rate),
    sayDoubling(facts),
    ["Saturation", COURSES[facts.course] ?? facts.course, sayCourse(facts, rate)],
  ];
  const items = rows.filter(Boolean).map(([name, value, more]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, make("strong", {}, value), make("span", { class: "quiet" }, more))),
  );
  return make("dl", { class: "growth" }, ...items);
}

function sayYear(facts, unit, rate) {
  const large = facts.unit === "growth" && facts.year_rate_hi > MOST_PER_YEAR;
  const told = facts.year_rate !== null && !large;
  if (!told || unit === "year") return null;
  return ["Per year", rate(facts.year_rate), `${rate(facts.year_rate_lo)} to ${rate(facts.year_rate_hi)}`];
}

function sayDoubling(facts) {
  const { freq } = state.data;
  if (!facts.doubling) return null;
  if (facts.doubling_time === null) return ["Doubling time", "It neither doubles nor halves", ""];
  const name = facts.doubling === "halving" ? "Halving time" : "Doubling time";
  const fast = duration(facts.doubling_time_lo, freq);
  const endless = facts.doubling_time_hi === null || !Number.isFinite(Number(facts.doubling_time_hi));
  const more = endless ? `at the earliest ${fast}; perhaps never` : `${fast} to ${duration(Number(facts.doubling_time_hi), freq)}`;
  return [name, duration(facts.doubling_time, freq), more];
}

function sayCourse(facts, rate) {
  if (facts.course === "saturating") return `near ${number(facts.ceiling)}`;
  if (facts.course === "broken") {
    const at = moment(facts.break_ds, state.data.freq);
    return `at ${at}, from ${rate(facts.rate_before)} to ${rate(facts.rate_after)}`;
  }
  return "";
}
