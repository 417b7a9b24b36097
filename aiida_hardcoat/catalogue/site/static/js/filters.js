"use strict";
// The panel of filters: words with their counts, ranges of numbers, free text.
(function (H) {
  const { h } = H;
  const LONG = 8; // words of a facet before it scrolls

  function facet(name, words, isFlag) {
    const list = h("div", { class: words.length > LONG ? "choices long" : "choices", role: "group", "aria-label": H.title(name) });
    const group = isFlag ? "flags" : "words";
    const boxes = words.map(([code, word, mark]) => {
      const count = h("span", { class: "count" });
      const box = h("input", {
        type: "checkbox",
        onchange: () => {
          const chosen = (H.state.filters[group][name] = H.state.filters[group][name] || new Set());
          if (box.checked) chosen.add(code);
          else chosen.delete(code);
          H.changed("filters");
        },
      });
      list.append(h("label", { class: "choice" }, box, mark || null, h("span", { class: "word" }, word), count));
      return { code, box, count };
    });
    const update = () => {
      const counts = H.counts(name);
      const chosen = H.state.filters[group][name];
      for (const { code, box, count } of boxes) {
        box.checked = Boolean(chosen && chosen.has(code));
        count.textContent = String(counts.get(code) || 0);
        box.parentElement.classList.toggle("none", !counts.get(code) && !box.checked);
      }
    };
    H.on("visible", update);
    update();
    return h("fieldset", { class: "facet" }, h("legend", null, H.title(name)), list);
  }

  function bound(name, end, text) {
    return h("input", {
      type: "text",
      inputmode: "decimal",
      class: "bound",
      placeholder: text,
      "aria-label": `${H.title(name)}, ${end === 0 ? "at least" : "at most"}`,
      oninput: (event) => {
        const range = H.state.filters.ranges[name] || [null, null];
        const typed = event.target.value.trim().replace(",", ".").replace("−", "-");
        const value = typed === "" ? null : Number(typed);
        const wrong = Number.isNaN(value);
        event.target.setAttribute("aria-invalid", String(wrong));
        range[end] = wrong ? null : value;
        H.state.filters.ranges[name] = range;
        H.changed("filters");
      },
    });
  }

  function extent(name) {
    const values = H.index.numbers[name].values.filter((value) => value !== null);
    const digits = H.index.numbers[name].digits;
    const low = values.reduce((one, other) => Math.min(one, other));
    const high = values.reduce((one, other) => Math.max(one, other));
    return [low, high].map((value) => H.number(value, digits));
  }

  function range(name, onremove) {
    const [low, high] = extent(name);
    const { unit } = H.index.numbers[name];
    const row = h(
      "div",
      { class: "range", "data-field": name },
      h("span", { class: "name" }, H.title(name), unit ? h("small", null, ` ${unit}`) : null),
      bound(name, 0, low),
      h("span", { "aria-hidden": "true" }, "to"),
      bound(name, 1, high),
      onremove
        ? h("button", { type: "button", class: "icon", "aria-label": `Remove the range of ${H.title(name)}`, onclick: () => onremove(row) }, "×")
        : null
    );
    return row;
  }

  function ranges() {
    const added = h("div", { class: "added" });
    const choice = h("select", { "aria-label": "Add a range of a property", id: "add-range" });
    const fill = () => {
      const there = new Set(["x", ...[...added.children].map((row) => row.dataset.field)]);
      choice.replaceChildren(
        h("option", { value: "" }, "Add a property …"),
        ...H.numberNames()
          .filter((name) => !there.has(name))
          .map((name) => h("option", { value: name }, H.title(name)))
      );
    };
    const add = (name) => {
      added.append(
        range(name, (row) => {
          row.remove();
          delete H.state.filters.ranges[name];
          fill();
          H.changed("filters");
        })
      );
      fill();
    };
    choice.addEventListener("change", () => {
      const name = choice.value;
      if (!name) return;
      add(name);
      added.lastElementChild.querySelector("input").focus();
    });
    const start = () => {
      added.replaceChildren();
      ["bulk_modulus", "hardness_chen_2011"].filter((name) => H.index.numbers[name]).forEach(add);
      fill();
    };
    start();
    const x = h("div", null);
    const startX = () => x.replaceChildren(range("x", null));
    startX();
    H.on("reset", () => {
      start();
      startX();
    });
    return h(
      "fieldset",
      { class: "facet" },
      h("legend", null, "Ranges"),
      x,
      h("p", { class: "hint" }, "x: fraction of the alphabetically first metal"),
      added,
      choice
    );
  }

  H.startFilters = () => {
    const text = h("input", {
      type: "search",
      id: "search",
      placeholder: "Formula, system, UUID …",
      "aria-label": "Search in words",
      oninput: (event) => {
        H.state.filters.text = event.target.value;
        H.changed("filters");
      },
    });
    H.on("reset", () => {
      text.value = "";
    });
    const words = (name) => H.words(name).map((word, code) => [code, word, name === "level_name" ? levelMark(code) : null]);
    document.getElementById("filters").append(
      h(
        "div",
        { class: "head" },
        h("h2", null, "Filters"),
        h("button", { type: "button", class: "button small", id: "reset", onclick: H.resetFilters }, "Reset")
      ),
      text,
      ...H.FACETS.map((name) => facet(name, words(name), false)),
      facet("stable", [[1, "stable"], [0, "not stable"]], true),
      ranges()
    );
  };

  function levelMark(code) {
    return H.levelDot(code);
  }

  // A dot in the colour that the maps give the level.
  H.levelDot = (code) => h("span", { class: `dot level-${code % 8}`, "aria-hidden": "true" });
})(window.Hardcoat);
