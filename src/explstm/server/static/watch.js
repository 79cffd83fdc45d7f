/** A job and its card, from the beginning to the end: follow, cancel, go on, start again. */

import * as api from "./api.js";
import { makeButton } from "./card.js";
import { followJob } from "./follow.js";

/**
 * Follow a job on a card.
 *
 * @param {Promise<{id: string}>} begun The job, when the server has taken it.
 * @param {{card: object, title: string, onDone: (id: string) => any}} on Where to show it, what the
 *   buttons are about, and what to do when the job is done.
 */
export async function watchJob(begun, on) {
  try {
    const { id } = await begun;
    await follow(id, on);
  } catch (error) {
    on.card.act();
    on.card.say("failed", error.message);
  }
}

async function follow(id, on) {
  const { card, title } = on;
  const cancel = async () => {
    card.note("Stopping …");
    await api.cancelJob(id);
  };
  card.act(makeButton("Cancel", `Cancel, ${title}`, cancel));
  const tell = { onState: (name) => card.say(name), onProgress: (data) => card.progress(data) };
  const job = await followJob(id, tell, new AbortController().signal);
  card.say(job.state, job.error?.message);
  const text = job.can_continue ? "Go on from where it stopped" : "Start again";
  const again = () => watchJob(api.resumeJob(id), on);
  card.act(...(job.can_resume ? [makeButton(text, `${text}, ${title}`, again)] : []));
  if (job.state === "done") await on.onDone(id);
}
