/**
 * Jobs that this server still has: what is done can be fetched, what stopped can go on, also after
 * the page was closed or the server started again.
 */

import * as api from "./api.js";
import { announce, find, make, showProblem } from "./dom.js";
import { keptNames } from "./keep.js";
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

let turns = 0;

/** Show the newest jobs; nothing where there are none. Of two lists asked for, the later counts. */
export async function showEarlier() {
  const turn = ++turns;
  const [{ jobs }, samples] = await Promise.all([api.listJobs(), api.listSamples()]);
  if (turn !== turns) return; // what it shows may have been acted upon meanwhile
  const names = keptNames();
  const nameData = ({ data, sample }) => {
    const known = sample ? samples.find(({ name }) => name === sample) : names[data];
    if (!known) return sample ? `sample ${sample}` : "a file sent before";
    return `${known.title ?? known.name} (${count(known.n_series, "series", "series")})`;
  };
  find("earlier").hidden = !jobs.length;
  find("earlier-jobs").replaceChildren(...jobs.slice(0, SHOWN).map((job) => makeItem(job, nameData(job.request))));
}

function makeItem(job, data) {
  const item = make("li", { class: "job", "data-state": job.state, "data-earlier": job.id });
  const update = (now) => {
    item.dataset.state = now.state;
    item.replaceChildren(
      make("strong", {}, describe(now, data)),
      make("span", {}, `${TIME.format(new Date(1000 * now.created))}: ${STATES[now.state]}`),
      ...(now.error ? [make("p", { class: "hint" }, now.error.message)] : []),
      make("div", { class: "buttons" }, ...listActions(now, update)),
    );
  };
  update(job);
  return item;
}

function describe({ kind, request }, data) {
  const where = request.backend ? ` in ${BACKENDS[request.backend]}` : "";
  return `${KINDS[kind] ?? kind}${where} of ${data}, ${count(request.h, "step")} ahead`;
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
  const rest = runs ? [stop] : [makeDelete(job.id)];
  return [...fetches, ...(job.can_resume ? [again] : []), ...rest];
}

/** A button that deletes when it is pressed a second time, for nothing brings the work back. */
function makeDelete(id) {
  let sure = false;
  const button = act("Delete", async () => {
    if (!sure) {
      sure = true;
      button.textContent = "Delete for good";
      return;
    }
    await api.deleteJob(id);
    await showEarlier();
    const next = find("earlier-jobs").querySelector("button") ?? find("file");
    next.focus();
    announce("Deleted.");
  });
  return button;
}

function act(text, run) {
  const onclick = () => {
    turns += 1; // a list asked for before would bring back what was there before
    run().catch((error) => showProblem(error.message));
  };
  return make("button", { type: "button", class: "button", onclick }, text);
}
