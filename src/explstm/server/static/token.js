/** Ask the user for the token of a server that is not on this machine. */

import { find } from "./dom.js";

let asking = null;

/**
 * @param {boolean} wrong Whether one was given already, and refused.
 * @returns {Promise<string|null>} The token; null where the user gave none. One question at a time.
 */
export function askForToken(wrong = false) {
  asking ??= ask(wrong).finally(() => {
    asking = null;
  });
  return asking;
}

function ask(wrong) {
  const dialog = find("token");
  const value = find("token-value");
  value.value = "";
  find("token-wrong").hidden = !wrong;
  value.setAttribute("aria-invalid", String(wrong));
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(value.value.trim() || null), { once: true });
  });
}
