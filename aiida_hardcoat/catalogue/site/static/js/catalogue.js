"use strict";
// The catalogue in memory, and what of it is shown: filters, selection, order. Entries are known by their row.
(function (H) {
  const none = { text: "", words: {}, flags: {}, ranges: {} };
  const emptyFilters = () => ({ text: none.text, words: {}, flags: {}, ranges: {} });
  const state = { filters: emptyFilters(), selected: new Set(), onlySelected: false, sort: null, current: null };
  const FACETS = ["level_name", "system", "structure_type", "ions"];
  H.state = state;
  H.FACETS = FACETS;

  H.receiveIndex = (index) => {
    const size = index.uuid.length;
    H.index = index;
    H.size = size;
    H.rowOf = new Map(index.uuid.map((uuid, row) => [uuid, row]));
    H.haystack = index.uuid.map((uuid, row) =>
      [index.label[row], uuid, ...Object.keys(index.texts).map((name) => H.text(name, row)), H.plainFormula(H.text("formula", row))]
        .join(" ")
        .toLowerCase()
    );
    const descending = index.sort.startsWith("-");
    const name = index.sort.replace(/^-/, "");
    state.sort = { name: name === "level" ? "level_name" : name, descending };
    H.refresh();
    H.start();
  };

  H.text = (name, row) => {
    const column = H.index.texts[name];
    return column.codes[row] < 0 ? "" : column.words[column.codes[row]];
  };
  H.value = (name, row) => {
    const column = H.index.numbers[name];
    return column ? column.values[row] : null;
  };
  H.title = (name) => {
    const { texts, numbers, flags } = H.index;
    return (texts[name] || numbers[name] || flags[name]).title;
  };
  H.numberNames = () => Object.keys(H.index.numbers);
  H.words = (name) => H.index.texts[name].words;

  function tests(skipped) {
    const { filters } = state;
    const found = [];
    for (const [name, codes] of Object.entries(filters.words)) {
      if (name === skipped || codes.size === 0) continue;
      const column = H.index.texts[name].codes;
      found.push((row) => codes.has(column[row]));
    }
    for (const [name, wanted] of Object.entries(filters.flags)) {
      if (name === skipped || wanted.size === 0) continue;
      const column = H.index.flags[name].values;
      found.push((row) => wanted.has(column[row]));
    }
    for (const [name, [low, high]] of Object.entries(filters.ranges)) {
      const column = H.index.numbers[name] && H.index.numbers[name].values;
      if (!column || (low === null && high === null)) continue;
      // What is typed with a few digits is found all the same.
      const slack = name === "x" ? 1e-6 : 0;
      found.push(
        (row) =>
          column[row] !== null &&
          (low === null || column[row] >= low - slack) &&
          (high === null || column[row] <= high + slack)
      );
    }
    const words = filters.text.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length) found.push((row) => words.every((word) => H.haystack[row].includes(word)));
    return found;
  }

  function passing(skipped) {
    const all = tests(skipped);
    const rows = [];
    for (let row = 0; row < H.size; row++) if (all.every((test) => test(row))) rows.push(row);
    return rows;
  }

  // How many entries each word of a facet would show, given the other filters.
  H.counts = (name) => {
    const column = H.index.texts[name] ? H.index.texts[name].codes : H.index.flags[name].values;
    const counts = new Map();
    for (const row of passing(name)) counts.set(column[row], (counts.get(column[row]) || 0) + 1);
    return counts;
  };

  function compare(name) {
    const { texts, numbers, flags } = H.index;
    if (texts[name]) {
      const { codes } = texts[name];
      return (one, other) => codes[one] - codes[other];
    }
    const column = (numbers[name] || flags[name] || {}).values;
    return column ? (one, other) => column[one] - column[other] : () => 0;
  }

  const isMissing = (name) => {
    const column = H.index.numbers[name];
    return column ? (row) => column.values[row] === null : () => false;
  };

  H.refresh = () => {
    const { sort } = state;
    H.filtered = passing(null);
    const rows = state.onlySelected ? H.filtered.filter((row) => state.selected.has(row)) : H.filtered;
    const missing = isMissing(sort.name);
    const order = compare(sort.name);
    const sign = sort.descending ? -1 : 1;
    const known = rows.filter((row) => !missing(row)).sort((one, other) => sign * order(one, other) || one - other);
    H.visible = [...known, ...rows.filter(missing)];
    H.placeOf = new Map(H.visible.map((row, place) => [row, place]));
  };

  H.changed = (...topics) => {
    H.refresh();
    ["visible", ...topics].forEach((topic) => H.say(topic));
  };

  H.resetFilters = () => {
    state.filters = emptyFilters();
    H.changed("filters", "reset");
  };
  H.sortBy = (name) => {
    state.sort = { name, descending: state.sort.name === name ? !state.sort.descending : false };
    H.changed();
  };
  H.select = (rows) => {
    state.selected = new Set(rows);
    state.onlySelected = state.selected.size > 0;
    H.changed("selection");
  };
  H.toggle = (row) => {
    if (!state.selected.delete(row)) state.selected.add(row);
    if (state.selected.size === 0) state.onlySelected = false;
    H.changed("selection");
  };
  H.showOnlySelected = (only) => {
    state.onlySelected = only;
    H.changed("selection");
  };
  H.point = (row) => {
    if (state.pointed === row) return;
    state.pointed = row;
    H.say("pointed");
  };

  const waiting = new Map();
  H.receiveEntry = (uuid, record) => waiting.get(uuid)(record);
  const records = new Map();
  H.record = (uuid) => {
    if (!records.has(uuid)) {
      const arrived = new Promise((resolve) => waiting.set(uuid, resolve));
      const failed = H.loadScript(`data/entries/${uuid}.js`).then(() => arrived);
      records.set(uuid, failed);
      failed.catch(() => records.delete(uuid));
    }
    return records.get(uuid);
  };

  // Colours and symbols are the same everywhere.
  const LIGHT = ["#0b62a8", "#c2410c", "#0f7b5f", "#9333ad", "#9a6700", "#0e7490", "#be185d", "#525b66"];
  const DARK = ["#6cb6ff", "#ff9b57", "#4fd1a5", "#d79bf5", "#e8c14a", "#5cd3e6", "#ff8fb8", "#a8b3c1"];
  H.category = (place) => (H.isDark() ? DARK : LIGHT)[place % LIGHT.length];
  const SYMBOLS = { B1: "circle", B3: "square", B4: "diamond", Bk: "triangle-up" };
  H.symbol = (structure) => SYMBOLS[structure] || "star";

  H.csv = () => {
    const { texts, numbers, flags, uuid, label } = H.index;
    // A spreadsheet would take a text that begins like this for a formula.
    const quote = (text) => `"${(/^[=+\-@\t\r]/.test(text) ? "'" + text : text).replace(/"/g, '""')}"`;
    const header = ["uuid", "label", ...Object.keys(texts), ...Object.keys(numbers), ...Object.keys(flags)];
    const lines = H.visible.map((row) =>
      [
        uuid[row],
        quote(label[row]),
        ...Object.keys(texts).map((name) => quote(H.text(name, row))),
        ...Object.keys(numbers).map((name) => (H.value(name, row) === null ? "" : String(H.value(name, row)))),
        ...Object.keys(flags).map((name) => (flags[name].values[row] ? "true" : "false")),
      ].join(",")
    );
    return [header.join(","), ...lines, ""].join("\n");
  };
})(window.Hardcoat);
