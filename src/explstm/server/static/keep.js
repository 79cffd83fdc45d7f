/**
 * What a reload of the tab takes up again: which data, how they are read, the settings, the jobs.
 * Contract: no value of the data is kept here, only the id that the server knows them by and what
 * they are called; another
 * tab, or this one when it is closed, knows nothing of it.
 */

import { state } from "./state.js";

const KEY = "explstm-view";
const NAMES = "explstm-names";
const MOST_NAMES = 100;
const MOST_JOBS = 20;

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}

function write(kept) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(kept));
  } catch {
    // Refused, or full: then a reload begins anew.
  }
}

/** What was shown before the reload; null where that was the start. */
export const keptView = () => read().view ?? null;

/** Keep what is shown now. */
export function keepView() {
  const { name, reading, series, h, level, season, scale } = state;
  write({ ...read(), view: { data: state.data.data, name, reading, series, h, level, season, scale } });
}

/**
 * What this tab knows data as, by the id that the server has for them.
 *
 * @returns {Record<string, {name: string, n_series: number}>}
 */
export function keptNames() {
  try {
    return JSON.parse(sessionStorage.getItem(NAMES)) ?? {};
  } catch {
    return {};
  }
}

/** Keep what data are called, for a list of earlier work. */
export function keepName({ data, n_series }, name) {
  const { [data]: _, ...others } = keptNames();
  const kept = [...Object.entries(others), [data, { name, n_series }]].slice(-MOST_NAMES);
  try {
    sessionStorage.setItem(NAMES, JSON.stringify(Object.fromEntries(kept)));
  } catch {
    // Refused, or full: then the list names no file.
  }
}

/** Keep nothing of the view. */
export function forgetView() {
  sessionStorage.removeItem(KEY);
}

/**
 * Keep a job.
 *
 * @param {string} key What it was made of.
 * @param {{kind: string, backend: string, id: string}} job The job; it takes the place of another of
 *   its kind and framework.
 */
export function keepJob(key, job) {
  const others = (read().jobs ?? []).filter(
    (one) => !(one.key === key && one.kind === job.kind && one.backend === job.backend),
  );
  write({ ...read(), jobs: [...others, { key, ...job }].slice(-MOST_JOBS) });
}

/** Jobs of a kind that were made of this. */
export const keptJobs = (key, kind) => (read().jobs ?? []).filter((job) => job.key === key && job.kind === kind);
