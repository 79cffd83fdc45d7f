/** The settings of the forecast: horizon, ranges, season, scale. Contract: a change acts at once. */

import { find } from "./dom.js";
import { state } from "./state.js";
import { period } from "./words.js";

const PAUSE = 400;
/** Steps ahead to begin with, where nobody asked for a number. */
const HORIZONS = { year: 6, quarter: 8, month: 12, week: 13, day: 14, hour: 48, step: 12 };

/**
 * @param {() => void} onChange Called when another forecast is needed.
 * @param {() => void} onScale Called when only the drawing changes.
 */
export function wireSettings(onChange, onScale) {
  let waiting = null;
  const soon = (pause) => {
    clearTimeout(waiting);
    waiting = setTimeout(onChange, pause);
  };
  const form = find("settings");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => soon(event.target.type === "number" ? PAUSE : 0));
  for (const choice of document.querySelectorAll("input[name=scale]")) {
    choice.addEventListener("change", () => {
      state.scale = choice.value;
      onScale();
    });
  }
}

/** Begin with a horizon that suits the data. */
export function setHorizon(h) {
  const shortest = Math.min(...state.data.page.series.map((row) => row.n));
  const usual = HORIZONS[period(state.data.freq)] ?? HORIZONS.step;
  find("horizon").value = h ?? Math.max(1, Math.min(usual, Math.floor(shortest / 3)));
  setSeason();
}

/** Say which season the data have of themselves. */
export function setSeason() {
  find("season").placeholder = `automatic (${state.data.season_length.join(" and ")})`;
}

/** Set everything as it was kept. */
export function takeSettings({ h, level, season, scale }) {
  find("horizon").value = h;
  find("season").value = season ?? "";
  for (const box of document.querySelectorAll("input[name=level]")) box.checked = level.includes(Number(box.value));
  setScale(scale);
}

/** @param {"linear"|"log"} scale Which to choose. */
export function setScale(scale) {
  for (const choice of document.querySelectorAll("input[name=scale]")) choice.checked = choice.value === scale;
  state.scale = scale;
}

/** Take the settings into the state. @returns {boolean} Whether they can be used. */
export function readSettings() {
  if (!find("settings").reportValidity()) return false;
  const levels = [...document.querySelectorAll("input[name=level]:checked")];
  state.h = Number(find("horizon").value);
  state.level = levels.map((box) => Number(box.value));
  state.season = find("season").value ? Number(find("season").value) : null;
  return true;
}
