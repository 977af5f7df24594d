// Runs before the first paint, so that the page never flashes in the wrong colours. Not a module: those run later.
(() => {
  const KEY = "theme";
  const THEMES = ["system", "light", "dark"];
  const kept = () => {
    try {
      return THEMES.find((one) => one === localStorage.getItem(KEY)) ?? "system";
    } catch {
      return "system"; // storage is switched off in this browser
    }
  };
  let theme = kept();
  const apply = () => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  };
  apply();
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const name = () => (button.textContent = `Theme: ${theme}`);
    name();
    button.addEventListener("click", () => {
      theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
      try {
        localStorage.setItem(KEY, theme);
      } catch {
        // It lasts as long as the page.
      }
      apply();
      name();
    });
  });
})();
