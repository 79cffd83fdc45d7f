/** The start: drop a file, choose one, or take a sample. */

import * as api from "./api.js";
import { announce, find, make, setBusy, showProblem } from "./dom.js";
import { count } from "./words.js";

/**
 * Wire the start.
 *
 * @param {(load: () => Promise<object>, name: string, h?: number) => void} open Takes what loads the
 *   Inspection, and the name to show for it.
 * @param {{max_bytes: number}} limits What the server takes.
 */
export function wireUpload(open, limits) {
  const take = (file) => {
    if (!file) return;
    if (file.size > limits.max_bytes) {
      const most = Math.floor(limits.max_bytes / 2 ** 20);
      showProblem(`${file.name} is larger than the ${most} MiB that this server takes. Keep fewer rows or columns, or send it as Parquet.`);
      return;
    }
    open(() => api.inspectFile(file), file.name);
  };
  const input = find("file");
  input.addEventListener("change", () => {
    take(input.files[0]);
    input.value = "";
  });
  wireDrop(find("drop"), take);
}

function wireDrop(area, take) {
  const mark = (over) => area.classList.toggle("over", over);
  // Anywhere on the page, so that a near miss does not leave the page.
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    mark(true);
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget ?? mark(false));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(false);
    take(event.dataTransfer.files[0]);
  });
}

/** Show the samples as buttons. */
export async function showSamples(open) {
  const samples = await api.listSamples();
  const cards = samples.map((sample) =>
    make(
      "li",
      {},
      make(
        "button",
        {
          type: "button",
          class: "card",
          "data-sample": sample.name,
          onclick: () => open(() => api.inspect({ sample: sample.name }), sample.title, sample.h),
        },
        make("strong", {}, sample.title),
        make("span", {}, sample.description),
        make("span", { class: "quiet" }, extent(sample)),
      ),
    ),
  );
  find("samples").replaceChildren(...cards);
}

/** How much there is: "3 series, 1,200 rows". */
export function extent({ n_series: series, n_rows: rows }) {
  return `${count(series, "series", "series")}, ${count(rows, "row")}`;
}

/** Show that a file is being read. */
export function showReading(reading, name = "") {
  setBusy(find("start"), reading);
  setBusy(find("result"), reading);
  find("drop").classList.toggle("busy", reading);
  if (reading) announce(`Reading ${name}.`);
}
