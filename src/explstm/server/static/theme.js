/**
 * Light, dark, or as the system is. A classic script, and the first of the document: it runs before
 * anything is painted, so that no page flashes in the wrong theme.
 *
 * Contract: the root has data-theme "light" or "dark", never anything else; whoever draws by itself
 * listens to the document's event "themechange". The choice stays in this browser.
 */

(() => {
  const KEY = "explstm-theme";
  const CHOICES = ["system", "light", "dark"];
  const dark = matchMedia("(prefers-color-scheme: dark)");

  // Storage can be refused by the browser's settings; the theme then lasts as long as the page.
  let chosen = "system";
  try {
    chosen = localStorage.getItem(KEY) ?? chosen;
  } catch {}
  if (!CHOICES.includes(chosen)) chosen = "system";

  const apply = () => {
    const theme = chosen === "system" ? (dark.matches ? "dark" : "light") : chosen;
    if (document.documentElement.dataset.theme === theme) return;
    document.documentElement.dataset.theme = theme;
    document.dispatchEvent(new Event("themechange"));
  };

  const take = (choice) => {
    chosen = choice;
    try {
      localStorage.setItem(KEY, choice);
    } catch {}
    apply();
  };

  apply();
  dark.addEventListener("change", apply);
  document.addEventListener("DOMContentLoaded", () => {
    const select = document.getElementById("theme");
    select.value = chosen;
    select.addEventListener("change", () => take(select.value));
  });
})();
