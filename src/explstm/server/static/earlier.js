/**
 * Jobs that this server still has: what is done can be fetched, what stopped can go on, also after
 * the page was closed or the server started again.
 */

import * as api from "./api.js";
import { find, make, showProblem } from "./dom.js";
import { followJob } from "./follow.js";
import { save } from "./save.js";
import { count } from "./words.js";

const SHOWN = 8;
const KINDS = { "fine-tune": "Fine-tuning", backtest: "Test on the past", tune: "Search for settings", report: "Report" };
const BACKENDS = { torch: "PyTorch", tensorflow: "TensorFlow" };
const STATES = {
  queued: "waiting for its turn",
  running: "running",
  done: "done",
  failed: "failed",
  cancelled: "cancelled",
  interrupted: "interrupted, because the server stopped",
};
/** Files worth fetching, and what they are called here. */
const FILES = { "forecast.csv": "Forecast as CSV", "report.html": "Full report (HTML)" };
const TIME = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

/** Show the newest jobs; nothing where there are none. */
export async function showEarlier() {
  const { jobs } = await api.listJobs();
  find("earlier").hidden = !jobs.length;
  find("earlier-jobs").replaceChildren(...jobs.slice(0, SHOWN).map(makeItem));
}

function makeItem(job) {
  const item = make("li", { class: "job", "data-state": job.state, "data-earlier": job.id });
  const update = (now) => {
    item.dataset.state = now.state;
    item.replaceChildren(
      make("strong", {}, describe(now)),
      make("span", {}, `${TIME.format(new Date(1000 * now.created))}: ${STATES[now.state]}`),
      ...(now.error ? [make("p", { class: "hint" }, now.error.message)] : []),
      make("div", { class: "buttons" }, ...listActions(now, update)),
    );
  };
  update(job);
  return item;
}

function describe({ kind, request }) {
  const where = request.backend ? ` in ${BACKENDS[request.backend]}` : "";
  const of = request.sample ? `, sample ${request.sample}` : "";
  return `${KINDS[kind] ?? kind}${where}, ${count(request.h, "step")} ahead${of}`;
}

function listActions(job, update) {
  const files = (job.files ?? []).filter((name) => FILES[name]);
  const fetches = files.map((name) =>
    act(FILES[name], async () => save(await api.readJobFile(job.id, name), name)),
  );
  const again = act(job.can_continue ? "Go on from where it stopped" : "Start again", async () => {
    update(await api.resumeJob(job.id));
    update(await followJob(job.id, {}, new AbortController().signal));
  });
  const stop = act("Cancel", async () => {
    await api.cancelJob(job.id);
    update(await followJob(job.id, {}, new AbortController().signal));
  });
  const runs = ["queued", "running"].includes(job.state);
  return [...fetches, ...(job.can_resume ? [again] : []), ...(runs ? [stop] : [])];
}

function act(text, run) {
  const onclick = () => run().catch((error) => showProblem(error.message));
  return make("button", { type: "button", class: "button", onclick }, text);
}
