/**
 * First script of both pages: sets the theme, and reloads the page during a rollout. It is a plain
 * script at an address without a version, so that it always runs.
 */
(() => {
  const root = document.documentElement;
  const RELOADS = "truepenny.loads";
  const MAX_RELOADS = 6;

  // Set before the first paint. A module would run later, and the page would flash.
  try {
    const theme = localStorage.getItem("truepenny.theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  } catch {
    // storage is switched off, so the system's theme applies
  }

  // During a rollout one server may send the page and another, with only its own version of the
  // files, answer the requests for them. Soon after they fit again: reload, a limited number of times.
  let isComplete = true;
  const reload = (event) => {
    if (!isEssential(event.target)) return;
    isComplete = false;
    window.removeEventListener("error", reload, true);
    try {
      const reloads = Number(sessionStorage.getItem(RELOADS)) || 0;
      if (reloads >= MAX_RELOADS) return;
      sessionStorage.setItem(RELOADS, String(reloads + 1));
      setTimeout(() => window.location.reload(), 500 * 2 ** reloads);
    } catch {
      // storage is switched off: without a counter the reloads might never end
    }
  };
  // The page works without its preloads, icon and font, and fonts are often blocked.
  const isEssential = (element) =>
    element instanceof HTMLScriptElement ||
    (element instanceof HTMLLinkElement && element.rel === "stylesheet");
  window.addEventListener("error", reload, true);
  window.addEventListener("load", () => {
    window.removeEventListener("error", reload, true);
    // Only a complete page resets the counter, so that a missing file cannot cause endless reloads.
    try {
      if (isComplete) sessionStorage.removeItem(RELOADS);
    } catch {
      // storage is switched off, so nothing was counted
    }
  });
})();
