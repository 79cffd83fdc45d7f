/** Making and finding elements. Contract: text is set as text, so that no name becomes markup. */

/** @param {string} id An element that the document holds. @returns {HTMLElement} */
export const find = (id) => document.getElementById(id);

/**
 * An element.
 *
 * @param {string} tag Its name.
 * @param {Record<string, any>} attributes Listeners begin with "on"; true and false toggle.
 * @param {...(Node|string)} children What stands in it; strings are text.
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Say something to those who do not see the page change. */
export function announce(text) {
  find("announcer").textContent = text;
}

/** Show what went wrong, where it cannot be missed; an empty text takes it away. */
export function showProblem(text = "") {
  const problem = find("problem");
  problem.textContent = text;
  problem.hidden = !text;
  if (text) problem.scrollIntoView({ block: "nearest" });
}

/** Whether an area waits for the server. */
export function setBusy(element, busy) {
  element.setAttribute("aria-busy", String(busy));
}

/**
 * Let a button do something, one at a time. It is not disabled meanwhile, for it would lose the
 * focus of whoever pressed it by key.
 *
 * @param {HTMLElement} button The button.
 * @param {() => any} run What it does; a failure is shown.
 */
export function wirePress(button, run) {
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    try {
      await run();
    } catch (error) {
      showProblem(error.message);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  });
}

/**
 * A table.
 *
 * @param {HTMLTableElement} table The element to fill.
 * @param {string} caption What stands in it.
 * @param {string[]} columns Heads.
 * @param {string[][]} rows Texts; the first of each names the row.
 */
export function fillTable(table, caption, columns, rows) {
  const heads = columns.map((name) => make("th", { scope: "col" }, name));
  const body = rows.map(([name, ...cells]) =>
    make("tr", {}, make("th", { scope: "row" }, name), ...cells.map((text) => make("td", {}, text))),
  );
  table.replaceChildren(
    make("caption", {}, caption),
    make("thead", {}, make("tr", {}, ...heads)),
    make("tbody", {}, ...body),
  );
}
