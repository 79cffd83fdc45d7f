/**
 * A fine-tuned forecast on its card: what it says, whether it is better, whether it is shown, and its
 * files. Everything that the forecast above has.
 */

import * as api from "./api.js";
import { makeBox, makeButton } from "./card.js";
import { exportChart } from "./chart.js";
import { announce, make } from "./dom.js";
import { isSame, sayTuned } from "./forecast.js";
import { keepJob, keptJobs } from "./keep.js";
import { METHODS, columnsOf, tunedMethods } from "./methods.js";
import { save } from "./save.js";
import { state } from "./state.js";
import { UNTESTED, sayTested, testTuned } from "./tested.js";
import { fileName, stem } from "./words.js";

/**
 * Fill the card of a forecast that was fine-tuned.
 *
 * @param {string} backend Its framework.
 * @param {string} key What it was made of.
 * @param {() => Promise<void>} redraw Draws the chart anew.
 */
export function showTuned(backend, key, redraw) {
  const tuned = state.tuned.get(backend);
  const { name, framework } = METHODS[backend];
  const toggle = (what) => (checked) => {
    tuned[what] = checked;
    return redraw();
  };
  const fetch = (text, what, kind) => makeButton(text, `${what} as ${text}, ${name}`, () => take(backend, kind));
  const test = "Test it on your past";
  tuned.card.act(
    make(
      "div",
      { class: "boxes" },
      makeBox(`Show ${framework} in the chart`, tuned.visible, toggle("visible")),
      makeBox("with its ranges", tuned.ranges, toggle("ranges")),
    ),
    fetch("CSV", "Forecast", "csv"),
    fetch("PNG", "Chart", "png"),
    fetch("SVG", "Chart", "svg"),
    makeButton(test, `${test}, ${name}`, () => begin(backend, tuned, key)),
  );
  const [kept] = keptJobs(key, "test").filter((job) => job.backend === backend && job.of === tuned.job);
  if (kept) begin(backend, tuned, key, kept.id);
}

async function begin(backend, tuned, key, id) {
  const onBegun = (job) => keepJob(key, { kind: "test", backend, id: job, of: tuned.job });
  tuned.verdicts = await testTuned(backend, { steps: tuned.steps, id, onBegun });
  sayAll();
  const [title] = sayTested(backend, tuned.verdicts);
  announce(`${METHODS[backend].name}: ${title.lastChild.textContent}.`);
}

/** Say what each forecast says of the series shown. */
export function sayAll() {
  for (const backend of state.shown ? tunedMethods() : []) {
    const tuned = state.tuned.get(backend);
    tuned.card.body.replaceChildren(
      make("p", {}, sayTuned(backend)),
      make("p", { class: "hint" }, sayTaken(tuned.sentences)),
      ...(tuned.verdicts ? sayTested(backend, tuned.verdicts) : [make("p", { class: "hint" }, sayUntested(backend))]),
    );
  }
}

function sayUntested(backend) {
  const same = isSame(columnsOf(backend), columnsOf("pretrained"));
  return same ? "What is said above of the forecast without fine-tuning holds for this one: they are the same." : UNTESTED;
}

/** How much of what was learned was taken; findings about the data are told elsewhere. */
function sayTaken(sentences) {
  const taken = sentences.find((text) => text.includes("fine-tuning")) ?? "";
  return taken && `${taken.charAt(0).toUpperCase()}${taken.slice(1)}.`;
}

const MAKERS = {
  csv: (backend) => api.readJobFile(state.tuned.get(backend).job, "forecast.csv"),
  png: (backend) => exportChart("png", [backend]),
  svg: (backend) => exportChart("svg", [backend]),
};

async function take(backend, what) {
  const one = what !== "csv" && state.data.n_series > 1;
  const of = `${stem(state.name)}${one ? `-${state.series}` : ""}-fine-tuned-${METHODS[backend].framework}`;
  save(await MAKERS[what](backend), `${fileName(of)}-forecast.${what}`);
  announce("Saved to your downloads.");
}
