"use strict";
// The table: only the rows in sight exist, so that ten thousand are as quick as ten. One stop of the tab key; arrows
// move, Enter opens, Space selects.
(function (H) {
  const { h } = H;
  const ROW = 36; // pixels, as in the style sheet
  const MORE = 8; // rows drawn beyond the edges
  // On a phone the moduli come first: there is room for few columns.
  const FIRST = H.narrow() ? ["formula", "structure_type", "bulk_modulus", "shear_modulus", "youngs_modulus"] : ["formula", "structure_type", "x", "ions", "level_name"];
  const START = [...new Set([
    ...FIRST,
    "x", "ions", "level_name", "bulk_modulus", "shear_modulus", "youngs_modulus", "poisson_ratio",
    "hardness_chen_2011", "c11", "c12", "c44", "mixing_energy", "predicted_bulk_modulus", "predicted_shear_modulus", "stable",
  ])];
  const WIDTH = H.narrow() ? { structure_type: 88, ions: 92 } : { structure_type: 112, ions: 92 };
  let shown = [];
  let active = 0;
  let frame, table, head, body, columns;

  const everyColumn = () => [...Object.keys(H.index.texts), ...H.numberNames(), ...Object.keys(H.index.flags)];
  const isNumber = (name) => Boolean(H.index.numbers[name]);

  // As the longest words need, so that nothing moves while rows come and go.
  function width(name) {
    if (WIDTH[name]) return WIDTH[name];
    const title = 40 + 7.5 * H.title(name).length;
    if (!H.index.texts[name]) return Math.max(isNumber(name) && !H.narrow() ? 88 : 80, title);
    const longest = H.words(name).reduce((most, word) => Math.max(most, (name === "formula" ? H.plainFormula(word) : word).length), 0);
    return Math.max(name === "formula" && H.narrow() ? 96 : 110, title, Math.min(300, (name === "level_name" ? 58 : 40) + 7.6 * longest));
  }

  function cell(name, row) {
    if (isNumber(name)) return H.number(H.value(name, row), H.index.numbers[name].digits);
    if (H.index.flags[name]) {
      const holds = H.index.flags[name].values[row];
      return h("span", { class: holds ? "yes" : "no" }, holds ? "yes" : "no");
    }
    const text = H.text(name, row);
    if (name === "formula") return H.formula(text);
    if (name === "level_name") return [H.levelDot(H.index.texts.level_name.codes[row]), text];
    if (name === "structure_type") return H.structureBadge(text, H.text("relaxed_structure_type", row));
    return text;
  }

  H.structureBadge = (type, became) =>
    h("span", { class: "badge" }, type, became && became !== type ? h("span", { class: "became" }, ` → ${became}`) : null);

  function rowElement(row, place) {
    const selected = H.state.selected.has(row);
    const tick = h("input", {
      type: "checkbox",
      tabindex: "-1",
      "aria-label": `Select ${H.plainFormula(H.text("formula", row))}`,
      onclick: (event) => {
        event.stopPropagation();
        H.toggle(row);
      },
    });
    tick.checked = selected;
    return h(
      "tr",
      {
        id: `row-${row}`,
        class: [place === active ? "active" : "", H.state.current === row ? "current" : "", place % 2 ? "odd" : ""].join(" ").trim(),
        "aria-rowindex": place + 2,
        "aria-selected": String(selected),
        "data-row": row,
      },
      h("td", { class: "tick", role: "gridcell" }, tick),
      shown.map((name, column) => {
        const content = cell(name, row);
        const title = isNumber(name) ? null : name === "formula" ? H.index.label[row] : H.index.texts[name] ? H.text(name, row) : null;
        return h("td", { role: "gridcell", class: [isNumber(name) ? "number" : "", column === 0 ? "first" : ""].join(" ").trim(), title }, content);
      })
    );
  }

  function draw() {
    const count = H.visible.length;
    const top = frame.scrollTop;
    const height = frame.clientHeight || 600;
    const first = Math.max(0, Math.floor(top / ROW) - MORE);
    const last = Math.min(count, Math.ceil((top + height) / ROW) + MORE);
    const spacer = (rows) => (rows > 0 ? h("tr", { class: "spacer", "aria-hidden": "true", style: `height:${rows * ROW}px` }) : null);
    body.replaceChildren(
      ...[spacer(first), ...H.visible.slice(first, last).map((row, offset) => rowElement(row, first + offset)), spacer(count - last)].filter(Boolean)
    );
    if (count === 0) {
      const message = H.state.onlySelected && H.filtered.length ? "Nothing of the selection passes the filters." : "No entry passes the filters.";
      body.append(h("tr", { class: "empty" }, h("td", { role: "gridcell", colspan: shown.length + 1 }, message)));
    }
    table.setAttribute("aria-rowcount", String(count + 1));
    if (count) table.setAttribute("aria-activedescendant", `row-${H.visible[active]}`);
    else table.removeAttribute("aria-activedescendant");
  }

  function drawHead() {
    const cells = shown.map((name, column) => {
      const sorted = H.state.sort.name === name;
      const unit = isNumber(name) ? H.index.numbers[name].unit : "";
      return h(
        "th",
        {
          role: "columnheader",
          scope: "col",
          "data-column": name,
          class: [isNumber(name) ? "number" : "", column === 0 ? "first" : ""].join(" ").trim(),
          "aria-sort": sorted ? (H.state.sort.descending ? "descending" : "ascending") : "none",
        },
        h(
          "button",
          { type: "button", title: H.index.descriptions[name] || H.title(name), onclick: () => H.sortBy(name) },
          h("span", null, H.title(name), unit ? h("small", null, unit) : null),
          h("span", { class: "arrow", "aria-hidden": "true" }, sorted ? (H.state.sort.descending ? "▼" : "▲") : "")
        )
      );
    });
    const all = h("input", {
      type: "checkbox",
      "aria-label": "Select all that are shown",
      onclick: (event) => {
        if (event.target.checked) {
          H.state.selected = new Set([...H.state.selected, ...H.visible]);
          H.changed("selection");
        } else H.select([]);
      },
    });
    all.checked = H.visible.length > 0 && H.visible.every((row) => H.state.selected.has(row));
    const focused = document.activeElement && document.activeElement.closest("th");
    const focusedColumn = focused && head.contains(focused) ? focused.dataset.column : null;
    head.replaceChildren(h("tr", { "aria-rowindex": 1 }, h("th", { class: "tick", role: "columnheader" }, all), cells));
    if (focusedColumn) {
      const again = [...head.querySelectorAll("th")].find((element) => element.dataset.column === focusedColumn);
      if (again) again.querySelector("button").focus();
    }
  }

  function setColumns(names) {
    shown = names;
    H.store.set("columns", JSON.stringify(names));
    const widths = [40, ...shown.map(width)];
    columns.replaceChildren(...widths.map((size) => h("col", { style: `width:${size}px` })));
    table.style.minWidth = `${widths.reduce((one, other) => one + other)}px`;
    table.setAttribute("aria-colcount", String(shown.length + 1));
    drawHead();
    draw();
  }

  function startColumns() {
    const known = new Set(everyColumn());
    try {
      const stored = JSON.parse(H.store.get("columns"));
      if (Array.isArray(stored)) {
        const kept = stored.filter((name) => known.has(name));
        if (kept.length) return kept;
      }
    } catch (error) {
      // What an earlier version stored may be anything.
    }
    return START.filter((name) => known.has(name));
  }

  function reveal(place) {
    active = Math.max(0, Math.min(place, H.visible.length - 1));
    const top = active * ROW;
    const room = frame.clientHeight - head.offsetHeight;
    if (top < frame.scrollTop) frame.scrollTop = top;
    else if (top + ROW > frame.scrollTop + room) frame.scrollTop = top + ROW - room;
    draw();
    H.point(H.visible[active]);
  }

  function keys(event) {
    if (event.target !== table || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor((frame.clientHeight - head.offsetHeight) / ROW) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in steps) reveal(active + steps[event.key]);
    else if (event.key === "ArrowRight" || event.key === "ArrowLeft") frame.scrollLeft += event.key === "ArrowRight" ? 80 : -80;
    else if (event.key === "Enter" && H.visible.length) H.open(H.visible[active]);
    else if (event.key === " " && H.visible.length) H.toggle(H.visible[active]);
    else return;
    event.preventDefault();
  }

  function rowOf(event) {
    const line = event.target.closest("tr[data-row]");
    return line ? Number(line.dataset.row) : null;
  }

  function clicked(event) {
    const row = rowOf(event);
    if (row === null) return;
    active = H.placeOf.get(row);
    table.focus({ preventScroll: true });
    if (event.target.closest("td.tick") || event.ctrlKey || event.metaKey) H.toggle(row);
    else H.open(row);
  }

  function summary() {
    const total = H.size;
    const count = H.visible.length;
    const levels = new Set(H.visible.map((row) => H.index.texts.level_name.codes[row])).size;
    const words = `${count === total ? count : `${count} of ${total}`} ${total === 1 ? "entry" : "entries"}, ${levels} ${levels === 1 ? "level" : "levels"} of theory`;
    document.getElementById("summary").textContent = words;
    const chosen = H.state.selected.size;
    const bar = document.getElementById("selection");
    bar.hidden = chosen === 0;
    bar.querySelector(".word").textContent = `${chosen} selected`;
    bar.querySelector("input").checked = H.state.onlySelected;
  }

  function toolbar() {
    const box = (name) => {
      const input = h("input", {
        type: "checkbox",
        onchange: () => {
          const chosen = new Set(shown);
          if (input.checked) chosen.add(name);
          else chosen.delete(name);
          if (chosen.size) setColumns([...START, ...everyColumn().filter((other) => !START.includes(other))].filter((other) => chosen.has(other)));
          else input.checked = true;
        },
      });
      input.checked = shown.includes(name);
      return h("label", { class: "choice" }, input, h("span", { class: "word" }, H.title(name)));
    };
    const menu = h(
      "details",
      { class: "menu" },
      h("summary", { class: "button" }, "Columns"),
      h("div", { class: "sheet", role: "group", "aria-label": "Columns" }, everyColumn().map(box))
    );
    document.addEventListener("click", (event) => {
      if (!menu.contains(event.target)) menu.open = false;
    });
    menu.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        menu.open = false;
        menu.querySelector("summary").focus();
        event.stopPropagation();
      }
    });
    document.getElementById("toolbar").append(
      h("h2", null, "Entries"),
      h(
        "div",
        { id: "selection", class: "selection", hidden: true },
        h("span", { class: "word" }),
        h("label", { class: "choice" }, h("input", { type: "checkbox", onchange: (event) => H.showOnlySelected(event.target.checked) }), "only these"),
        h("button", { type: "button", class: "button small", id: "clear", onclick: () => H.select([]) }, "Clear selection")
      ),
      h("span", { class: "space" }),
      menu,
      h(
        "button",
        { type: "button", class: "button", id: "csv", onclick: () => H.download("entries.csv", "text/csv", H.csv()) },
        "Download CSV"
      )
    );
  }

  H.startTable = () => {
    columns = h("colgroup");
    head = h("thead");
    body = h("tbody");
    table = h(
      "table",
      { role: "grid", id: "grid", tabindex: "0", "aria-multiselectable": "true", "aria-label": "Entries: arrows move, Enter opens, Space selects" },
      columns,
      head,
      body
    );
    frame = h("div", { class: "frame" }, table);
    document.getElementById("table").append(frame);
    shown = startColumns();
    toolbar();
    setColumns(shown);
    const again = H.framed(draw);
    frame.addEventListener("scroll", again, { passive: true });
    window.addEventListener("resize", again);
    table.addEventListener("keydown", keys);
    body.addEventListener("click", clicked);
    body.addEventListener("mouseover", (event) => H.point(rowOf(event)));
    body.addEventListener("mouseleave", () => H.point(null));
    H.on("visible", () => {
      active = Math.max(0, Math.min(active, H.visible.length - 1));
      drawHead();
      draw();
      summary();
    });
    H.on("current", () => {
      const place = H.placeOf.get(H.state.current);
      if (place === undefined) draw();
      else reveal(place);
    });
    summary();
  };
  H.focusTable = () => table.focus({ preventScroll: true });
})(window.Hardcoat);
