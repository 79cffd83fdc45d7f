/**
 * What a reload of the tab takes up again: which data, how they are read, the settings, the jobs.
 * Contract: no value of the data is kept here, only the id that the server knows them by; another
 * tab, or this one when it is closed, knows nothing of it.
 */

import { state } from "./state.js";

const KEY = "explstm-view";
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

/** Keep nothing. */
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
