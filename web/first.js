// Runs before anything else, as a plain script from an address without a version.
(() => {
  const root = document.documentElement;
  const LOADS = "truepenny.loads";
  const MAX_LOADS = 6;

  // Before the first paint: a module would come too late, and the page would flash.
  try {
    const theme = localStorage.getItem("truepenny.theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  } catch {
    // storage is switched off: the system's theme it is
  }

  // While a new release rolls out, the page may come from one server and its files be asked of
  // another, which has only its own version's. A moment later it fits: load again, a few times.
  let isWhole = true;
  const loadAgain = (event) => {
    if (!isNeeded(event.target)) return;
    isWhole = false;
    window.removeEventListener("error", loadAgain, true);
    try {
      const loads = Number(sessionStorage.getItem(LOADS)) || 0;
      if (loads >= MAX_LOADS) return;
      sessionStorage.setItem(LOADS, String(loads + 1));
      setTimeout(() => window.location.reload(), 500 * 2 ** loads);
    } catch {
      // without a counter it might go on for ever
    }
  };
  // A preload or an icon that fails (fonts are often blocked) leaves a page that works.
  const isNeeded = (element) =>
    element instanceof HTMLScriptElement ||
    (element instanceof HTMLLinkElement && element.rel === "stylesheet");
  window.addEventListener("error", loadAgain, true);
  window.addEventListener("load", () => {
    window.removeEventListener("error", loadAgain, true);
    // Only a whole page ends the count: a part that never comes must not mean loading for ever.
    try {
      if (isWhole) sessionStorage.removeItem(LOADS);
    } catch {
      // nothing was counted
    }
  });
})();
