/** How far a job is: a share of a bar, and the same in words. */

import { count, number } from "./words.js";

/** Stages of a report, as people call them. */
const STAGES = { forecast: "the forecast", growth: "the growth", backtest: "the test on your past", report: "the page itself" };

/**
 * Read a progress event.
 *
 * @param {object} data As the job tells it.
 * @returns {{value: number|null, max: number, text: string}} The value is null where it is unknown.
 */
export function readProgress(data) {
  const { stage, step, of, done, method } = data;
  if (stage === "reading") return { value: null, max: 1, text: "Reading the data …" };
  if (stage === "training") return { ...measureTraining(data), text: sayTraining(data) };
  if (method) return { value: done, max: of, text: `Tested ${done} of ${count(of, "method")}` };
  if (of) return { value: done, max: of, text: `Part ${done + 1} of ${of}: ${STAGES[stage] ?? stage} …` };
  return { value: 1, max: 1, text: "Forecasting with what it learned …" };
}

/** Steps done in all rounds, of how many at most. */
function measureTraining({ step, of, part = 1, parts = 1 }) {
  if (!of) return { value: null, max: 1 };
  return { value: Math.min((part - 1) * of + step, parts * of), max: parts * of };
}

function sayTraining({ step, of, part = 1, parts = 1, valid_loss: held, train_loss: trained }) {
  const steps = of ? `Step ${step} of ${of}` : count(step, "step");
  const round = parts > 1 ? `Round ${part} of at most ${parts}: ` : "";
  const error = held ?? trained;
  return `${round}${steps}${error === undefined || error === null ? "" : `; error ${number(error)}`}`;
}
