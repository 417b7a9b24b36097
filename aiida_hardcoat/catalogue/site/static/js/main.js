"use strict";
// Starts the parts once the index has arrived.
(function (H) {
  const { h } = H;

  function views() {
    const buttons = [...document.querySelectorAll(".views button")];
    const show = (view) => {
      document.body.dataset.view = view;
      buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.view === view)));
      H.say("view");
      window.dispatchEvent(new Event("resize"));
    };
    buttons.forEach((button) => button.addEventListener("click", () => show(button.dataset.view)));
    show("table");
  }

  H.start = () => {
    H.startTheme();
    H.startFilters();
    H.startTable();
    H.startDetail();
    views();
    document.getElementById("footer").append(
      h("p", null, `Made by hardcoat site, aiida-hardcoat ${H.index.version}. Every number is traced to its calculation under Provenance. Moduli in GPa; levels of theory are never pooled.`)
    );
    document.body.dataset.ready = "yes";
    // The table is there before the plots: their library is large.
    requestAnimationFrame(() => requestAnimationFrame(H.startMaps));
  };

  window.addEventListener("load", () => {
    if (!H.index) document.getElementById("summary").textContent = "The data of this page are missing: keep index.html beside its folders data and static.";
  });
})(window.Hardcoat);
