/**
 * The series shown: a combobox that searches on the server, so that any number of series will do.
 *
 * Source of the keys and roles: W3C, ARIA Authoring Practices Guide, combobox with listbox popup.
 */

import { listSeries } from "./api.js";
import { announce, find, make } from "./dom.js";
import { state } from "./state.js";
import { count, whole } from "./words.js";

const SHOWN = 50;
const PAUSE = 150;

let found = [];
let active = -1;
let waiting = null;
let asked = null;
let choose = () => {};

/** @param {(series: string) => void} onChoose Takes the id of the series to show. */
export function wirePicker(onChoose) {
  choose = (series) => {
    close();
    find("series").value = series;
    if (series !== state.series) onChoose(series);
  };
  const input = find("series");
  input.addEventListener("input", () => searchSoon(input.value));
  input.addEventListener("focus", () => input.select());
  input.addEventListener("click", () => list(""));
  input.addEventListener("keydown", takeKey);
  input.addEventListener("blur", () => {
    close();
    input.value = state.series ?? "";
  });
}

/** Show the picker where there is more than one series. */
export function showPicker() {
  const { n_series: n } = state.data;
  find("picker").hidden = n < 2;
  find("series-count").textContent = `(one of ${whole(n)})`;
  find("series").value = state.series;
}

function searchSoon(text) {
  clearTimeout(waiting);
  waiting = setTimeout(() => list(text.trim()), PAUSE);
}

async function list(search) {
  asked?.abort();
  asked = new AbortController();
  try {
    const query = { ...(search && { search }), limit: SHOWN };
    show(await listSeries(state.data.data, query, asked.signal), search);
  } catch (error) {
    if (error.name !== "AbortError") announce(error.message);
  }
}

function show(page, search) {
  found = page.series.map((row) => row.unique_id);
  active = search ? 0 : found.indexOf(state.series);
  const options = page.series.map((row, i) =>
    make(
      "li",
      {
        id: `series-${i}`,
        role: "option",
        "aria-selected": String(i === active),
        onmousedown: (event) => {
          event.preventDefault();
          choose(row.unique_id);
        },
      },
      make("span", {}, row.unique_id),
      make("span", { class: "quiet" }, count(row.n, "step")),
    ),
  );
  const note = (text) => options.push(make("li", { class: "more", role: "presentation" }, text));
  if (page.total > found.length) note(`and ${whole(page.total - found.length)} more: type to narrow them down.`);
  if (!found.length) note("No series has this in its name.");
  const box = find("series-list");
  box.replaceChildren(...options);
  box.hidden = false;
  find("series").setAttribute("aria-expanded", "true");
  announce(found.length ? `${page.total} series found.` : "No series found.");
  mark();
}

function mark() {
  found.forEach((_, i) => find(`series-${i}`).setAttribute("aria-selected", String(i === active)));
  const input = find("series");
  if (active < 0 || !found.length) return input.removeAttribute("aria-activedescendant");
  input.setAttribute("aria-activedescendant", `series-${active}`);
  find(`series-${active}`).scrollIntoView({ block: "nearest" });
}

function close() {
  clearTimeout(waiting);
  asked?.abort();
  find("series-list").hidden = true;
  find("series").setAttribute("aria-expanded", "false");
  find("series").removeAttribute("aria-activedescendant");
}

function takeKey(event) {
  const open = !find("series-list").hidden;
  if (event.key === "Escape") {
    close();
    find("series").value = state.series;
  } else if (event.key === "Enter") {
    if (open && found[active] !== undefined) choose(found[active]);
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const by = event.key === "ArrowDown" ? 1 : -1;
    if (!open) list("");
    else if (found.length) active = (active + by + found.length) % found.length;
    if (open) mark();
  } else return;
  event.preventDefault();
}
