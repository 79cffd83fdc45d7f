/** Fine-tuning as jobs: begin, follow, cancel, resume, and lay what came of it over the forecast. */

import * as api from "./api.js";
import { METHODS } from "./chart.js";
import { announce, find, make } from "./dom.js";
import { followJob } from "./follow.js";
import { forecastRequest, state } from "./state.js";
import { count, number } from "./words.js";

const STATES = {
  queued: "Waiting for its turn",
  running: "Learning",
  done: "Done: laid over the forecast",
  failed: "It failed",
  cancelled: "Cancelled",
  interrupted: "Interrupted: the server stopped meanwhile",
};

let redraw = async () => {};
let asked = "";

/** @param {() => Promise<void>} onTuned Called when a forecast is laid over, or taken away. */
export function wireTuning(onTuned, backends) {
  redraw = onTuned;
  for (const button of document.querySelectorAll("[data-backend]")) {
    const { backend } = button.dataset;
    if (!backends.includes(backend)) {
      button.disabled = true;
      button.append(" (not installed)");
    }
    button.addEventListener("click", () => begin(backend));
  }
}

/** Forget what was tuned for other data or settings; jobs go on, but are not laid over. */
export function forgetTuned() {
  const now = JSON.stringify([state.data.data, state.reading, state.h, state.season]);
  if (now === asked) return;
  asked = now;
  state.tuned.clear();
  find("jobs").replaceChildren();
}

/** Lay what was tuned over the series shown now. */
export async function layOver() {
  const { series } = state;
  const fetched = [...state.tuned.values()].map(async (tuned) => {
    if (tuned.series === series) return;
    const { forecast, summary } = await api.readResult(tuned.job, series);
    Object.assign(tuned, { series, shown: forecast, sentences: summary?.sentences ?? [] });
  });
  await Promise.all(fetched);
}

/** Jobs whose forecast is laid over. */
export const doneJobs = () => [...state.tuned.values()].map(({ job }) => job);

async function begin(backend) {
  const card = makeCard(backend);
  find("jobs").prepend(card.item);
  try {
    const job = await api.createJob({ kind: "fine-tune", backend, ...forecastRequest() });
    await watch(job.id, backend, card);
  } catch (error) {
    card.say("failed", error.message);
  }
}

async function watch(id, backend, card) {
  const following = new AbortController();
  const key = asked;
  card.act("Cancel", async () => {
    card.note("Stopping …");
    await api.cancelJob(id);
  });
  const tell = { onState: (name) => card.say(name), onProgress: (data) => card.progress(data) };
  const job = await followJob(id, tell, following.signal);
  card.say(job.state, job.error?.message);
  const text = job.can_continue ? "Go on from where it stopped" : "Start again";
  if (job.can_resume) card.act(text, () => again(id, backend, card));
  if (job.state !== "done") return;
  card.act(null);
  if (key === asked) await show(id, backend, card);
}

async function again(id, backend, card) {
  try {
    await api.resumeJob(id);
    await watch(id, backend, card);
  } catch (error) {
    card.say("failed", error.message);
  }
}

async function show(id, backend, card) {
  const lay = async (shown) => {
    if (shown) state.tuned.set(backend, { job: id });
    else state.tuned.delete(backend);
    await layOver();
    await redraw();
  };
  await lay(true);
  card.offer(lay);
  card.note(sayTaken(state.tuned.get(backend).sentences));
  announce(`${METHODS[backend].name}: the forecast is laid over the chart.`);
}

/** How much of what was learned was taken; findings about the data are told elsewhere. */
function sayTaken(sentences) {
  const taken = sentences.find((text) => text.includes("fine-tuning")) ?? "";
  return taken && `${taken.charAt(0).toUpperCase()}${taken.slice(1)}.`;
}

/** What is shown of a job. */
function makeCard(backend) {
  const { name } = METHODS[backend];
  const title = make("strong", {}, name);
  const status = make("span", { class: "job-state" }, STATES.queued);
  const note = make("p", { class: "hint" });
  const bar = make("progress", { "aria-label": `${name}: progress`, max: "1" });
  const actions = make("div", { class: "buttons" });
  const item = make("li", { class: "job", "data-backend-job": backend }, title, status, bar, note, actions);
  item.dataset.state = "queued";
  return {
    item,
    note: (text) => note.replaceChildren(text),
    say(name, message) {
      if (name !== item.dataset.state) announce(`${title.textContent}: ${STATES[name]}.`);
      item.dataset.state = name;
      status.textContent = STATES[name];
      bar.hidden = !["queued", "running"].includes(name);
      if (message || bar.hidden) note.replaceChildren(message ?? "");
    },
    progress(data) {
      const done = readShare(data);
      if (done === null) bar.removeAttribute("value");
      else bar.value = done;
      note.replaceChildren(sayProgress(data));
    },
    act(text, run) {
      const button = text && make("button", { type: "button", class: "button", onclick: () => run() }, text);
      button?.addEventListener("click", () => (button.disabled = true));
      actions.replaceChildren(...(button ? [button] : []));
    },
    offer(lay) {
      const box = make("input", { type: "checkbox", checked: true, onchange: (event) => lay(event.target.checked) });
      actions.replaceChildren(make("label", { class: "check" }, box, make("span", {}, "Show in the chart")));
    },
  };
}

/** How much of the training is done, 0 to 1; null where the job does not say. */
function readShare({ stage, step, of, part = 1, parts = 1 }) {
  if (stage === "forecast") return 1;
  return of ? Math.min((part - 1 + step / of) / parts, 1) : null;
}

function sayProgress({ stage, step, of, part = 1, loss, train_loss: trained }) {
  if (stage !== "training") return "Forecasting with what it learned …";
  const steps = of ? `Step ${step} of ${of}` : count(step, "step");
  const error = loss ?? trained;
  const round = part > 1 ? ", second round, on all data" : "";
  return `${steps}${round}${error === undefined || error === null ? "" : `; error ${number(error)}`}`;
}
