"use strict";
// The panel of one entry. The address holds which entry and which tab, so that a link leads to it.
(function (H) {
  const { h } = H;
  const TABS = [
    ["card", "Card", (panel, record, row) => H.drawCard(panel, record, row)],
    ["structure", "Structure", (panel, record) => H.drawStructure(panel, record)],
    ["directional", "Directional E", (panel, record) => H.drawDirectional(panel, record)],
    ["stresses", "Stress–strain", (panel, record) => H.drawStresses(panel, record)],
    ["provenance", "Provenance", (panel, record, row) => H.drawProvenance(panel, record, row)],
    ["record", "All fields", (panel, record, row) => H.drawRecord(panel, record, row)],
  ];
  const detail = document.getElementById("detail");
  let leaving = [];
  let themed = [];
  let turn = 0;
  let opener = null;

  H.onLeave = (action) => leaving.push(action);
  H.onTheme = (action) => themed.push(action);
  H.on("theme", () => themed.forEach((action) => action()));

  function leave() {
    leaving.forEach((action) => action());
    leaving = [];
    themed = [];
  }

  H.address = (row, tab) => `#entry=${H.index.uuid[row]}${tab && tab !== "card" ? `&tab=${tab}` : ""}`;

  function place() {
    const found = new URLSearchParams(location.hash.slice(1));
    const row = H.rowOf.get(found.get("entry"));
    const tab = TABS.some(([name]) => name === found.get("tab")) ? found.get("tab") : "card";
    return { row, tab, asked: found.get("entry") };
  }

  H.open = (row) => {
    const { tab } = place();
    opener = document.activeElement;
    location.hash = H.address(row, detail.hidden ? "card" : tab);
  };

  H.close = () => {
    history.pushState(null, "", location.pathname + location.search);
    follow();
    H.focusTable();
  };

  function neighbour(step) {
    const at = H.placeOf.get(H.state.current);
    const row = H.visible[at === undefined ? 0 : at + step];
    return row === undefined ? null : row;
  }

  function header(row, tab) {
    const level = H.text("level_name", row);
    const step = (by, sign, words) => {
      const other = neighbour(by);
      return h("button", { type: "button", class: "icon", "aria-label": words, disabled: other === null, onclick: () => other !== null && H.open(other) }, sign);
    };
    return h(
      "header",
      null,
      h(
        "div",
        { class: "line" },
        h("h2", { id: "detail-title", tabindex: "-1" }, H.formula(H.text("formula", row)), " ", H.structureBadge(H.text("structure_type", row), H.text("relaxed_structure_type", row))),
        h("span", { class: "space" }),
        step(-1, "‹", "Previous entry of the table"),
        step(1, "›", "Next entry of the table"),
        h(
          "button",
          {
            type: "button",
            class: "icon widen",
            "aria-label": "Wide panel",
            "aria-pressed": String(detail.classList.contains("wide")),
            onclick: (event) => {
              const wide = detail.classList.toggle("wide");
              event.currentTarget.setAttribute("aria-pressed", String(wide));
              window.dispatchEvent(new Event("resize"));
            },
          },
          "↔"
        ),
        h("button", { type: "button", class: "icon", id: "close", "aria-label": "Close", onclick: H.close }, "×")
      ),
      h("p", { class: "under" }, H.levelDot(H.index.texts.level_name.codes[row]), level, h("span", { class: "faint" }, `  ions ${H.text("ions", row)}, ${H.value("number_of_atoms", row)} atoms, x = ${H.number(H.value("x", row), 3)}`)),
      h(
        "div",
        { class: "tabs", role: "tablist", "aria-label": "Parts of the entry", onkeydown: tabKeys },
        TABS.map(([name, title]) =>
          h(
            "button",
            { type: "button", role: "tab", id: `tab-${name}`, "aria-selected": String(name === tab), "aria-controls": "panel", tabindex: name === tab ? "0" : "-1", onclick: () => history.replaceState(null, "", H.address(row, name)) || follow(true) },
            title
          )
        )
      )
    );
  }

  function tabKeys(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (!step) return;
    event.preventDefault();
    const { row, tab } = place();
    const at = TABS.findIndex(([name]) => name === tab);
    const next = Number.isFinite(step) ? (at + step + TABS.length) % TABS.length : step < 0 ? 0 : TABS.length - 1;
    history.replaceState(null, "", H.address(row, TABS[next][0]));
    follow(true);
  }

  // Draw what the address says.
  async function follow(keepFocus) {
    const { row, tab, asked } = place();
    leave();
    turn += 1;
    const mine = turn;
    if (row === undefined) {
      detail.hidden = true;
      detail.replaceChildren();
      document.body.classList.remove("open");
      H.state.current = null;
      H.say("current");
      if (asked) H.announce("The catalogue holds no entry of this address.");
      return;
    }
    const before = H.state.current;
    H.state.current = row;
    detail.hidden = false;
    document.body.classList.add("open");
    const panel = h("div", { id: "panel", class: "panel", "data-part": tab, role: "tabpanel", "aria-labelledby": `tab-${tab}`, tabindex: "0" });
    detail.replaceChildren(header(row, tab), panel);
    detail.dataset.tab = "";
    if (keepFocus === true) document.getElementById(`tab-${tab}`).focus();
    else document.getElementById("detail-title").focus({ preventScroll: true });
    const strip = detail.querySelector(".tabs");
    const chosen = document.getElementById(`tab-${tab}`);
    strip.scrollLeft = chosen.offsetLeft - (strip.clientWidth - chosen.offsetWidth) / 2;
    if (before !== row) H.say("current");
    try {
      const record = await H.record(H.index.uuid[row]);
      if (mine !== turn) return;
      await TABS.find(([name]) => name === tab)[2](panel, record, row);
      if (mine === turn) detail.dataset.tab = tab;
    } catch (error) {
      if (mine === turn) panel.replaceChildren(h("p", { class: "note" }, `This part could not be shown: ${error.message}`));
      console.error(error);
    }
  }

  H.startDetail = () => {
    window.addEventListener("hashchange", follow);
    window.addEventListener("popstate", follow);
    detail.addEventListener("keydown", (event) => {
      if (event.key === "Escape") H.close();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && event.target === document.getElementById("grid") && !detail.hidden) H.close();
    });
    if (location.hash) follow();
  };
})(window.Hardcoat);
