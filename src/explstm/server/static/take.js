/** Take it along: the forecast, the chart and the report as files. */

import * as api from "./api.js";
import { exportChart } from "./chart.js";
import { find, wirePress } from "./dom.js";
import { followJob } from "./follow.js";
import { tunedMethods } from "./methods.js";
import { readProgress } from "./progress.js";
import { save } from "./save.js";
import { forecastRequest, state } from "./state.js";
import { planTest } from "./verdict.js";
import { fileName, stem } from "./words.js";

const MAKERS = {
  csv: () => api.forecastFile(forecastRequest(), "text/csv"),
  png: () => exportChart("png"),
  svg: () => exportChart("svg"),
  report: makeReport,
};
const ENDINGS = { csv: "forecast.csv", png: "forecast.png", svg: "forecast.svg", report: "report.html" };

/** Wire the buttons. */
export function wireTaking() {
  for (const button of document.querySelectorAll("[data-take]")) {
    wirePress(button, () => take(button.dataset.take));
  }
}

async function take(what) {
  const note = find("take-note");
  note.textContent = what === "report" ? "Making the report …" : "";
  try {
    const blob = await MAKERS[what]();
    const of = ["png", "svg"].includes(what) && state.data.n_series > 1 ? `${stem(state.name)}-${state.series}` : stem(state.name);
    save(blob, `${fileName(of)}-${ENDINGS[what]}`);
    note.textContent = "Saved to your downloads.";
  } catch (error) {
    note.textContent = error.message;
  }
}

/** A report is a job: a forecast, the growth, a test on the past, and what was fine-tuned. */
async function makeReport() {
  const { n_windows: windows } = planTest();
  const jobs = tunedMethods().map((method) => state.tuned.get(method).job);
  const { id } = await api.createJob({ kind: "report", ...forecastRequest(), n_windows: windows, jobs });
  const bar = find("take-progress");
  bar.removeAttribute("value");
  bar.hidden = false;
  try {
    const job = await followJob(id, { onProgress: showProgress }, new AbortController().signal);
    if (job.state !== "done") throw new Error(job.error?.message ?? `The report was ${job.state}.`);
  } finally {
    bar.hidden = true;
  }
  return api.readJobFile(id, "report.html");
}

function showProgress(data) {
  const { value, max, text } = readProgress(data);
  const bar = find("take-progress");
  bar.max = max;
  if (value !== null) bar.value = value;
  bar.setAttribute("aria-valuetext", text);
  find("take-note").textContent = `Making the report. ${text}`;
}
