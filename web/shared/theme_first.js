// Runs before the first paint, as a plain script: a module would come too late, and the page
// would flash in the other theme.
(() => {
  try {
    const theme = localStorage.getItem("truepenny.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // storage is switched off: the system's theme it is
  }
})();
