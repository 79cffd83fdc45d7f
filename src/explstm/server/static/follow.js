/**
 * Follow a job to its end. Contract: every progress is told once and in order; a connection that
 * breaks is taken up after the last event that arrived. What a job that runs again said before it
 * was stopped is no end: the end is where the server says so.
 */

import * as api from "./api.js";
import { listen } from "./events.js";

const ENDED = ["done", "failed", "cancelled", "interrupted"];
const WAIT = 1000;
const LONGEST_WAIT = 5000;
const TRIES = 100;

/**
 * Follow a job.
 *
 * @param {string} id The job.
 * @param {{onState?: (state: string) => void, onProgress?: (progress: object) => void}} tell What
 *   is told; states only until the end, which is in the answer.
 * @param {AbortSignal} signal Ends the following, not the job.
 * @returns {Promise<object>} The job as it ended.
 */
export async function followJob(id, { onState = () => {}, onProgress = () => {} }, signal) {
  let last = "";
  for (let failed = 0; failed < TRIES; failed += 1) {
    try {
      for await (const { id: number, name, data } of listen(api.jobEvents(id), last, signal)) {
        last = number || last;
        failed = 0;
        if (name === "progress") onProgress(data);
        if (name === "state" && !ENDED.includes(data.state)) onState(data.state);
      }
      const job = await api.readJob(id);
      if (ENDED.includes(job.state)) return job;
    } catch (error) {
      const refused = error.status >= 400 && error.status < 500;
      if (error.name === "AbortError" || refused) throw error;
    }
    await new Promise((done) => setTimeout(done, Math.min(WAIT * (failed + 1), LONGEST_WAIT)));
  }
  throw new Error("The server no longer tells how far it is.");
}
