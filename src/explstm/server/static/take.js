/** Take it along: the forecast, the chart and the report as files. */

import * as api from "./api.js";
import { exportChart } from "./chart.js";
import { find, make } from "./dom.js";
import { followJob } from "./follow.js";
import { forecastRequest, state } from "./state.js";
import { doneJobs } from "./tune.js";
import { planTest } from "./verdict.js";
import { fileName } from "./words.js";

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
    button.addEventListener("click", () => take(button, button.dataset.take));
  }
}

async function take(button, what) {
  const note = find("take-note");
  button.disabled = true;
  note.textContent = what === "report" ? "Making the report …" : "";
  try {
    const blob = await MAKERS[what]();
    const of = ["png", "svg"].includes(what) && state.data.n_series > 1 ? `${state.name}-${state.series}` : state.name;
    save(blob, `${fileName(of)}-${ENDINGS[what]}`);
    note.textContent = "Saved to your downloads.";
  } catch (error) {
    note.textContent = error.message;
  } finally {
    button.disabled = false;
  }
}

/** A report is a job: a forecast, the growth, a test on the past, and what was fine-tuned. */
async function makeReport() {
  const { n_windows: windows } = planTest();
  const wanted = { kind: "report", ...forecastRequest(), n_windows: windows, jobs: doneJobs() };
  const { id } = await api.createJob(wanted);
  const note = find("take-note");
  const onProgress = ({ stage }) => (note.textContent = `Making the report: ${stage} …`);
  const job = await followJob(id, { onProgress }, new AbortController().signal);
  if (job.state !== "done") throw new Error(job.error?.message ?? `The report was ${job.state}.`);
  return api.readJobFile(id, "report.html");
}

/** Give a file to the browser's downloads. */
export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = make("a", { href: address, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
