/**
 * What is shown of a job: its state, a bar, a note, buttons. Contract: whoever pressed a button that
 * goes away keeps the place, for the focus moves to what took it.
 */

import { announce, make, wirePress } from "./dom.js";
import { readProgress } from "./progress.js";

/** Progress is told to those who do not see it so many times. */
const TOLD = 4;

/**
 * A card.
 *
 * @param {{key: string, title: string, states: Record<string, string>}} about Attribute it is found
 *   by, its title, and what each state is called.
 */
export function makeCard({ key, title, states }) {
  const status = make("span", { class: "job-state" }, states.queued);
  const note = make("p", { class: "hint" });
  const bar = make("progress", { "aria-label": `${title}: progress`, max: "1" });
  const body = make("div", { class: "job-body" });
  const actions = make("div", { class: "buttons" });
  const name = make("strong", {}, title);
  const item = make("li", { class: "job", "data-card": key, tabindex: "-1" }, name, status, bar, note, body, actions);
  item.dataset.state = "queued";
  let told = 0;
  return {
    item,
    body,
    note: (text) => note.replaceChildren(text),
    say(state, message) {
      if (state !== item.dataset.state) announce(`${title}: ${states[state]}.`);
      item.dataset.state = state;
      status.textContent = states[state];
      bar.hidden = !["queued", "running"].includes(state);
      if (message || bar.hidden) note.replaceChildren(message ?? "");
    },
    progress(data) {
      const { value, max, text } = readProgress(data);
      bar.max = max;
      if (value === null) bar.removeAttribute("value");
      else bar.value = value;
      bar.setAttribute("aria-valuetext", text);
      note.replaceChildren(text);
      const quarter = value === null ? 0 : Math.floor((TOLD * value) / max);
      if (quarter > told && quarter < TOLD) announce(`${title}: ${text}.`);
      told = quarter;
    },
    act(...buttons) {
      const had = actions.contains(document.activeElement);
      actions.replaceChildren(...buttons);
      if (had) (actions.querySelector("button, input") ?? item).focus();
    },
  };
}

/**
 * A button that does one thing at a time.
 *
 * @param {string} text What it says.
 * @param {string} label The same with what it is about, for those who do not see where it stands.
 * @param {() => any} run What it does; the button waits for it.
 */
export function makeButton(text, label, run) {
  const button = make("button", { type: "button", class: "button", "aria-label": label }, text);
  wirePress(button, run);
  return button;
}

/** A box to tick. @param {(checked: boolean) => void} change Told when it changes. */
export function makeBox(text, checked, change) {
  const box = make("input", { type: "checkbox", checked, onchange: (event) => change(event.target.checked) });
  return make("label", { class: "check" }, box, make("span", {}, text));
}
