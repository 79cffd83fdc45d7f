/** Numbers, dates and times as people write them. Contract: pure functions; nothing is decided. */

const DIGITS = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const WORDS = new Intl.NumberFormat("en", { notation: "compact", compactDisplay: "long", maximumSignificantDigits: 4 });
/** Sizes between which numbers are told in words: "900 million". */
const [LARGE, HUGE] = [1e7, 1e15];
const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** A minus as it is printed, which is as wide as a plus. */
const minus = (text) => text.replace("-", "−");

/** What no word is known for: "8.94 × 10²⁰". */
function power(value) {
  const [factor, exponent] = value.toExponential(2).split("e");
  const raised = exponent.replace("+", "").replace("-", "⁻").replace(/\d/g, (digit) => SUPERSCRIPTS[digit]);
  return `${Number(factor)} × 10${raised}`;
}

function form(value, size) {
  if (size !== 0 && (size >= HUGE || size < 1e-4)) return power(value);
  if (size >= LARGE) return WORDS.format(value);
  return (size >= 1000 ? WHOLE : DIGITS).format(value);
}

/** A value, to about four digits: 1,234,000 stays whole, 0.01234 keeps its digits, 9e8 is "900 million". */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  return minus(form(value, Math.abs(value)));
}

export const whole = (amount) => WHOLE.format(amount);

/** "1 row", "2 rows". */
export const count = (amount, one, many = `${one}s`) => `${whole(amount)} ${amount === 1 ? one : many}`;

/** A share as per cent, to two digits. */
export function percent(share) {
  const value = 100 * share;
  if (Math.abs(value) < 0.005) return "0 %";
  if (share > 10) return `${number(1 + share)}-fold`;
  return minus(`${Math.abs(value) >= 9.95 ? WHOLE.format(value) : Number(value.toPrecision(2))} %`);
}

const UNITS = [
  [/^(Y|A|BY|BA)/, "year", { year: "numeric" }],
  [/^B?Q/, "quarter", { month: "short", year: "numeric" }],
  [/^(M|BM|CBM|SM)/, "month", { month: "short", year: "numeric" }],
  [/^W/, "week", { day: "numeric", month: "short", year: "numeric" }],
  [/^D$/, "day", { day: "numeric", month: "short", year: "numeric" }],
  [/^B$/, "business day", { day: "numeric", month: "short", year: "numeric" }],
  [/^h$/i, "hour", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" }],
  [/^(min|T)$/, "minute", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }],
];
const ANY = { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" };

const unitOf = (freq) => UNITS.find(([pattern]) => pattern.test(String(freq)));

/** One step of a frequency: "month", or "step" where it has no name. */
export const period = (freq) => unitOf(freq)?.[1] ?? "step";

/** A frequency as people say it. */
export function rhythm(freq) {
  const names = { day: "daily", "business day": "every business day" };
  const name = period(freq);
  if (typeof freq === "number") return freq === 1 ? "numbered steps" : `every ${freq} steps`;
  if (name === "step") return `every ${freq}`;
  return names[name] ?? `${name}ly`;
}

/** A date of the data, as short as its frequency allows; an integer as it is. */
export function date(ds, freq) {
  if (typeof ds === "number") return String(ds);
  // As the clock showed it where the data come from, whatever the zone.
  const [, day, time = "00:00"] = /^([^T ]+)(?:[T ](\d\d:\d\d))?/.exec(ds) ?? [];
  const moment = new Date(`${day}T${time}Z`);
  if (Number.isNaN(moment.getTime())) return String(ds);
  if (period(freq) === "quarter") {
    return `Q${Math.floor(moment.getUTCMonth() / 3) + 1} ${moment.getUTCFullYear()}`;
  }
  const form = unitOf(freq)?.[2] ?? ANY;
  return new Intl.DateTimeFormat("en-GB", { ...form, timeZone: "UTC" }).format(moment);
}

/** A date of the data within a sentence: "Dec 1960", "step 80". */
export const moment = (ds, freq) => (typeof ds === "number" ? `step ${ds}` : date(ds, freq));

const PER_YEAR = { year: 1, quarter: 4, month: 12, week: 52.18, day: 365.25, "business day": 260.9, hour: 8766 };
const LENGTHS = [["year", 1], ["month", 12], ["day", 365.25], ["hour", 8766]];

/** So many steps as a time: "5.8 years", "35 steps". */
export function duration(periods, freq) {
  const perYear = PER_YEAR[period(freq)];
  if (!perYear) return plural(periods, "step");
  const years = periods / perYear;
  if (years > 1000) return "more than 1,000 years";
  const [name, per] = LENGTHS.find(([, size]) => years * size >= 2) ?? LENGTHS.at(-1);
  return plural(years * per, name);
}

function plural(amount, name) {
  const text = amount >= 9.95 ? WHOLE.format(amount) : String(Number(amount.toPrecision(2)));
  return `${text} ${name}${text === "1" ? "" : "s"}`;
}

/** The name of a file without the ending that says its format. */
export const stem = (name) => name.replace(/(?<=.)\.(csv|tsv|txt|parquet|arrow|feather)$/i, "");

/** Text that is safe and short as part of a file's name. */
export function fileName(text) {
  return text.normalize("NFKD").replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[-.]+|[-.]+$/g, "").slice(0, 60) || "series";
}
