/**
 * Whether what was fine-tuned is better: a backtest, as a job, of a network that is fine-tuned in the
 * same way on what came before the tests. Contract: nothing is said that was not tested.
 */

import * as api from "./api.js";
import { makeCard } from "./card.js";
import { find, make } from "./dom.js";
import { compare, sayVerdict } from "./judged.js";
import { METHODS } from "./methods.js";
import { source, state } from "./state.js";
import { planTest } from "./verdict.js";
import { watchJob } from "./watch.js";
import { number } from "./words.js";

const STATES = {
  queued: "Waiting for its turn",
  running: "Testing",
  done: "Done",
  failed: "It failed",
  cancelled: "Cancelled",
  interrupted: "Interrupted: the server stopped meanwhile",
};

/** What is known before a test. */
export const UNTESTED =
  "Not tested yet: whether it beats the forecast without fine-tuning, or the simple forecasts, is not known.";

/** The job that tests a fine-tuned method. */
function askForTest(backend, steps) {
  const { n_windows: windows } = planTest();
  const methods = ["Pretrained", `FineTuned/${backend}`];
  return api.createJob({
    kind: "backtest", ...source(), h: state.h, n_windows: windows, level: [80], methods,
    ...(steps && { max_steps: steps }),
  });
}

/**
 * Test a fine-tuned method on the past, with a card of its own while it lasts.
 *
 * @param {string} backend Its framework.
 * @param {{steps: number|null, id?: string, onBegun?: (id: string) => void}} how Training steps, and
 *   the job where it has begun already; who wants to know of its beginning.
 * @returns {Promise<object[]|null>} The verdicts; null where there are none.
 */
export async function testTuned(backend, { steps, id, onBegun = () => {} }) {
  const title = `${METHODS[backend].name}: test on your past`;
  const card = makeCard({ key: `test-${backend}`, title, states: STATES });
  find("jobs").querySelector(`[data-card=test-${backend}]`)?.remove();
  find("jobs").querySelector(`[data-card=${backend}]`).after(card.item);
  const begun = id ? Promise.resolve({ id }) : askForTest(backend, steps);
  begun.then((job) => onBegun(job.id), () => {});
  return new Promise((tell) => {
    const onDone = async (done) => {
      const { summary } = await api.readResult(done, state.series);
      card.item.remove();
      tell(summary.verdicts ?? []);
    };
    watchJob(begun, { card, title, onDone });
  });
}

/**
 * Verdicts in words, with what they rest on.
 *
 * @param {string} backend The framework.
 * @param {object[]} verdicts Of the backtest.
 */
export function sayTested(backend, verdicts) {
  const tuned = verdicts.find(({ method }) => method === `FineTuned/${backend}`);
  const plain = verdicts.find(({ method }) => method === "Pretrained");
  if (!tuned) return [make("p", { class: "hint" }, "The test left no verdict.")];
  const { tone, mark, title, evidence } = sayVerdict(tuned);
  const sign = make("span", { "aria-hidden": "true" }, `${mark} `);
  return [
    make("p", { class: "tested", "data-tone": tone }, sign, title),
    make("p", { class: "hint" }, `${evidence} ${sayAgainst(tuned, plain)}`),
  ];
}

function sayAgainst(tuned, plain) {
  const how = "Each test was forecast by a network that was fine-tuned in the same way on what came before the first of them.";
  if (!plain || tuned.loss === null || !plain.loss) return how;
  const [ours, theirs] = [number(tuned.loss), number(plain.loss)];
  return (
    `It was ${compare(1 - tuned.loss / plain.loss)} that of the forecast without fine-tuning (MASE ${ours} and ` +
    `${theirs}); whether that is more than luck was not tested. ${how}`
  );
}
