"use strict";
// Dark or light: as the system says, until the reader chooses. Runs in the head, so that nothing flashes.
(function (H) {
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  let chosen = H.store.get("theme");
  if (chosen !== "dark" && chosen !== "light") chosen = null;

  H.isDark = () => (chosen ? chosen === "dark" : system.matches);

  function apply() {
    document.documentElement.dataset.theme = H.isDark() ? "dark" : "light";
    const button = document.getElementById("theme");
    if (button) {
      button.setAttribute("aria-pressed", String(H.isDark()));
      button.setAttribute("aria-label", H.isDark() ? "Dark theme, switch to light" : "Light theme, switch to dark");
    }
    H.say("theme");
  }

  H.startTheme = () => {
    document.getElementById("theme").addEventListener("click", () => {
      chosen = H.isDark() ? "light" : "dark";
      H.store.set("theme", chosen);
      apply();
    });
    apply();
  };

  system.addEventListener("change", apply);
  apply();

  H.color = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
})(window.Hardcoat);
