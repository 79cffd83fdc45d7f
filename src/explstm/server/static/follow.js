/** Follow a job to its end. Contract: every state and every progress is told once, in order. */

import * as api from "./api.js";
import { follow } from "./events.js";

const ENDED = ["done", "failed", "cancelled", "interrupted"];

/**
 * Follow a job.
 *
 * @param {string} id The job.
 * @param {{onState?: (state: string) => void, onProgress?: (progress: object) => void}} tell
 * @param {AbortSignal} signal Ends the following, not the job.
 * @returns {Promise<object>} The job as it ended.
 */
export async function followJob(id, { onState = () => {}, onProgress = () => {} }, signal) {
  await follow(
    api.jobEvents(id),
    (name, data) => {
      if (name === "progress") onProgress(data);
      if (name !== "state") return false;
      onState(data.state);
      return ENDED.includes(data.state);
    },
    signal,
  );
  return api.readJob(id);
}
