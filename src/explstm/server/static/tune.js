/** Fine-tuning as jobs: begin, follow, and lay what came of it over the forecast. */

import * as api from "./api.js";
import { makeCard } from "./card.js";
import { announce, find, wirePress } from "./dom.js";
import { keepJob, keptJobs } from "./keep.js";
import { LEVELS, METHODS } from "./methods.js";
import { readSettings } from "./settings.js";
import { forecastRequest, state } from "./state.js";
import { showTuned } from "./tuned.js";
import { watchJob } from "./watch.js";

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
let hasLeft = false;

/**
 * Wire the buttons.
 *
 * @param {() => Promise<void>} onTuned Called when a forecast is laid over, or taken away.
 * @param {string[]} backends Frameworks that the server has.
 */
export function wireTuning(onTuned, backends) {
  redraw = onTuned;
  for (const button of document.querySelectorAll("[data-backend]")) {
    const { backend } = button.dataset;
    if (!backends.includes(backend)) {
      button.disabled = true;
      button.append(" (not installed)");
    }
    wirePress(button, () => begin(backend));
  }
}

/** What a fine-tuned forecast was made of; another one needs another training. */
const keyNow = () => JSON.stringify([state.data.data, state.reading, state.h, state.season]);

/** Forget what was tuned for other data or settings; jobs go on, but are not laid over. */
export function forgetTuned() {
  const key = keyNow();
  if (key === asked) return;
  asked = key;
  hasLeft = true;
  state.tuned.clear();
  find("jobs").replaceChildren();
}

/** Show again the jobs of this tab for the data and settings as they are now. */
export function comeBack() {
  if (!hasLeft) return;
  hasLeft = false;
  for (const { backend, id, steps } of keptJobs(asked, "fine-tune")) {
    // A card that is there was begun since, while the forecast was being worked out.
    if (find("jobs").querySelector(`[data-card=${backend}]`)) continue;
    watch(Promise.resolve({ id }), backend, steps);
  }
}

/** Lay what was tuned over the series shown now. */
export async function layOver() {
  const { series } = state;
  const fetched = [...state.tuned.values()].map(async (tuned) => {
    if (tuned.series === series) return;
    const { forecast, summary } = await readOrForget(tuned, series);
    if (!forecast) return;
    // A table of a job holds texts; where steps are numbered, they are numbers everywhere else.
    const ds = typeof state.data.freq === "number" ? forecast.ds.map(Number) : forecast.ds;
    Object.assign(tuned, { series, shown: { ...forecast, ds }, sentences: summary?.sentences ?? [] });
  });
  await Promise.all(fetched);
}

/** The result of a job; one that the server no longer has is laid over no more. */
async function readOrForget(tuned, series) {
  try {
    return await api.readResult(tuned.job, series);
  } catch (error) {
    if (error.status !== 404) throw error;
    for (const [backend, other] of state.tuned) if (other === tuned) state.tuned.delete(backend);
    tuned.card.item.remove();
    return {};
  }
}

async function begin(backend) {
  if (!readSettings() || !find("steps").reportValidity()) return;
  // Their forecast may still be on its way: what is begun now is made of them all the same.
  forgetTuned();
  const steps = find("steps").value ? Number(find("steps").value) : null;
  const wanted = { kind: "fine-tune", backend, ...forecastRequest(), level: LEVELS, ...(steps && { max_steps: steps }) };
  const key = keyNow();
  const begun = api.createJob(wanted);
  begun.then(({ id }) => keepJob(key, { kind: "fine-tune", backend, id, steps }), () => {});
  await Promise.race([watch(begun, backend, steps), begun.catch(() => {})]);
}

/** Show a job, in place of an earlier one of the same framework. */
async function watch(begun, backend, steps) {
  const key = asked;
  const title = METHODS[backend].name;
  const card = makeCard({ key: backend, title, states: STATES });
  for (const earlier of [backend, `test-${backend}`]) find("jobs").querySelector(`[data-card=${earlier}]`)?.remove();
  state.tuned.delete(backend);
  find("jobs").append(card.item);
  const onDone = async (id) => {
    if (key !== asked || !card.item.isConnected) return;
    state.tuned.set(backend, { job: id, steps, visible: true, ranges: true, verdicts: null, card });
    await layOver();
    await redraw();
    showTuned(backend, key, redraw);
    announce(`${title}: the forecast is laid over the chart.`);
  };
  await watchJob(begun, { card, title, onDone });
}
