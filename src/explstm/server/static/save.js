/** Give a file to the browser's downloads. */

import { make } from "./dom.js";

/** @param {Blob} blob What it holds. @param {string} name What it is called. */
export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = make("a", { href: address, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
