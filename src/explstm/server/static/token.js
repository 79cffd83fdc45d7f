/** Ask the user for the token of a server that is not on this machine. */

import { find } from "./dom.js";

let asking = null;

/** @returns {Promise<string|null>} The token; null where the user gave none. One question at a time. */
export function askForToken() {
  asking ??= ask().finally(() => {
    asking = null;
  });
  return asking;
}

function ask() {
  const dialog = find("token");
  const value = find("token-value");
  value.value = "";
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(value.value.trim() || null), { once: true });
  });
}
