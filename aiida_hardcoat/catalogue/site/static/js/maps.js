"use strict";
// Three maps of what the table shows. What is selected in one is selected in all, and in the table.
(function (H) {
  const { h } = H;
  const PARITY = { bulk_modulus: "Bulk modulus B", shear_modulus: "Shear modulus G", youngs_modulus: "Young’s modulus E", poisson_ratio: "Poisson’s ratio ν" };
  const MANY_LINES = 60;
  const choice = { level: "", drag: H.coarse ? "" : "select", parity: "bulk_modulus", system: "", x: "bulk_modulus", y: "shear_modulus" };
  const plots = [];
  let drawn = null;

  const inLevel = (row) => choice.level === "" || H.text("level_name", row) === choice.level;

  // Levels of theory are never shown as one: by colour, or one at a time.
  const byLevel = () => choice.level === "" && H.words("level_name").length > 1;
  const colorName = () => (byLevel() ? "level_name" : "system");

  function hover(row, lines) {
    const formula = H.plainFormula(H.text("formula", row));
    return [`<b>${H.plotText(formula)}</b> ${H.plotText(H.text("structure_type", row))}, ions ${H.plotText(H.text("ions", row))}`, H.plotText(H.text("level_name", row)), ...lines].join("<br>");
  }

  function value(name, row) {
    const { title, unit, digits } = H.index.numbers[name];
    return `${H.plotText(title)} ${H.number(H.value(name, row), digits)} ${H.plotText(unit)}`.trim();
  }

  // One trace for each colour and symbol, so that the legend can name them.
  function points(rows, x, y) {
    const color = colorName();
    const column = H.index.texts[color];
    const groups = new Map();
    for (const row of rows) {
      if (H.value(x, row) === null || H.value(y, row) === null || !inLevel(row)) continue;
      const key = `${column.codes[row]} ${H.text("structure_type", row)}`;
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(row);
    }
    const type = H.size > H.MANY ? "scattergl" : "scatter";
    const { selected } = H.state;
    const traces = [...groups.values()]
      .sort((one, other) => column.codes[one[0]] - column.codes[other[0]])
      .map((members) => ({
        type,
        mode: "markers",
        x: members.map((row) => H.value(x, row)),
        y: members.map((row) => H.value(y, row)),
        customdata: members,
        text: members.map((row) => hover(row, [value(x, row), value(y, row)])),
        hovertemplate: "%{text}<extra></extra>",
        selectedpoints: selected.size ? members.flatMap((row, place) => (selected.has(row) ? [place] : [])) : undefined,
        unselected: { marker: { opacity: 0.12 } },
        marker: {
          size: H.size > H.MANY ? 5 : 9,
          opacity: H.size > H.MANY ? 0.45 : 0.9,
          symbol: H.symbol(H.text("structure_type", members[0])),
          color: H.category(column.codes[members[0]]),
          line: { width: H.size > H.MANY ? 0 : 1, color: H.color("panel") },
        },
      }));
    return [...traces, ring(x, y)];
  }

  // Where the entry is that the table or the panel points to.
  function ring(x, y) {
    const rows = [...new Set([H.state.current, H.state.pointed])].filter(
      (row) => row !== null && row !== undefined && inLevel(row) && H.value(x, row) !== null && H.value(y, row) !== null
    );
    return {
      type: "scatter",
      mode: "markers",
      x: rows.map((row) => H.value(x, row)),
      y: rows.map((row) => H.value(y, row)),
      hoverinfo: "skip",
      marker: { size: 18, symbol: "circle-open", color: H.color("text"), line: { width: 2.5, color: H.color("text") } },
    };
  }

  const base = (x, y, revision) =>
    H.layout({
      xaxis: { title: { text: x } },
      yaxis: { title: { text: y } },
      dragmode: choice.drag || false,
      selections: [],
      uirevision: revision,
      hovermode: "closest",
    });

  const MAPS = {
    parity: {
      title: "Learned moduli",
      controls: () => [select("parity", "Property", Object.entries(PARITY).filter(([name]) => H.index.numbers[`predicted_${name}`]))],
      axes: () => [choice.parity, `predicted_${choice.parity}`],
      figure(rows) {
        const [x, y] = this.axes();
        if (!H.index.numbers[y]) return null;
        const data = points(rows, x, y);
        const layout = base(`computed ${H.axisTitle(x)}`, `learned ${H.axisTitle(x)}`, `${x} ${choice.level}`);
        const all = data.slice(0, -1).flatMap((trace) => [...trace.x, ...trace.y]);
        const low = all.reduce((one, other) => Math.min(one, other), Infinity);
        const high = all.reduce((one, other) => Math.max(one, other), -Infinity);
        if (all.length) {
          layout.shapes = [{ type: "line", x0: low, y0: low, x1: high, y1: high, layer: "below", line: { color: H.color("faint"), width: 1, dash: "dot" } }];
        }
        return { data, layout };
      },
      empty: "No entry here has learned moduli. hardcoat ml predict --all --store adds them.",
    },
    mixing: {
      title: "Mixing energy",
      controls: () => [select("system", "System", [["", "Every system"], ...mixed().map((word) => [word, word])])],
      axes: () => ["x", "mixing_energy"],
      figure(rows) {
        if (!H.index.numbers.mixing_energy) return null;
        const wanted = rows.filter((row) => choice.system === "" || H.text("system", row) === choice.system);
        const data = points(wanted, "x", "mixing_energy");
        const layout = base("x (fraction of the first metal)", H.axisTitle("mixing_energy"), `${choice.system} ${choice.level}`);
        layout.xaxis.range = [-0.04, 1.04];
        return { data: [...lines(wanted), ...data], layout };
      },
      empty: "No alloy here has both end members at its level of theory: compute the pure nitrides with the same engine.",
    },
    property: {
      title: "Property map",
      controls: () => [
        property("y", "Property upwards"),
        h("span", { class: "faint" }, "against"),
        property("x", "Property across"),
      ],
      axes: () => [choice.x, choice.y],
      figure(rows) {
        const [x, y] = this.axes();
        return { data: points(rows, x, y), layout: base(H.axisTitle(x), H.axisTitle(y), `${x} ${y} ${choice.level}`) };
      },
      empty: "No entry here has both properties.",
    },
  };

  const mixed = () => {
    const codes = new Set();
    const energies = H.index.numbers.mixing_energy;
    if (!energies) return [];
    energies.values.forEach((energy, row) => energy !== null && codes.add(H.index.texts.system.codes[row]));
    return [...codes].sort((one, other) => one - other).map((code) => H.words("system")[code]);
  };

  // One line for each system, structure, treatment of ions and level, through the mean at each x, from zero to zero.
  function lines(rows) {
    const groups = new Map();
    for (const row of rows) {
      if (H.value("mixing_energy", row) === null || !inLevel(row)) continue;
      const key = ["system", "structure_type", "ions", "level_name"].map((name) => H.index.texts[name].codes[row]).join(" ");
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(row);
    }
    if (groups.size > MANY_LINES) return [];
    return [...groups.values()].map((members) => {
      // Of three metals and more, x alone does not say where the ends are.
      const means = new Map(H.text("system", members[0]).split("-").length === 3 ? [[0, [0]], [1, [0]]] : []);
      for (const row of members) {
        const x = H.value("x", row);
        means.set(x, [...(means.get(x) || []), H.value("mixing_energy", row)]);
      }
      const xs = [...means.keys()].sort((one, other) => one - other);
      return {
        type: "scatter",
        mode: "lines",
        x: xs,
        y: xs.map((x) => means.get(x).reduce((one, other) => one + other) / means.get(x).length),
        hoverinfo: "skip",
        opacity: 0.55,
        line: { width: 1.5, color: H.category(H.index.texts[colorName()].codes[members[0]]), dash: H.text("ions", members[0]) === "clamped" ? "dash" : "solid" },
      };
    });
  }

  function select(name, label, options) {
    const box = h(
      "select",
      {
        "aria-label": label,
        id: `map-${name}`,
        onchange: (event) => {
          choice[name] = event.target.value;
          draw();
        },
      },
      options.map(([option, text]) => h("option", { value: option, selected: option === choice[name] }, text))
    );
    return box;
  }

  const property = (axis, label) => select(axis, label, H.numberNames().map((name) => [name, H.title(name)]));

  const labelled = (label, box) => h("label", { class: "select" }, h("span", null, label), box);

  function legend() {
    const color = colorName();
    const codes = new Set(H.filtered.filter(inLevel).map((row) => H.index.texts[color].codes[row]));
    const types = new Set(H.filtered.filter(inLevel).map((row) => H.text("structure_type", row)));
    const glyphs = { circle: "●", square: "■", diamond: "◆", "triangle-up": "▲", star: "★" };
    const words = [...codes].sort((one, other) => one - other);
    document.getElementById("legend").replaceChildren(
      ...words.slice(0, 16).map((code) => h("span", { class: "key" }, h("span", { class: `dot level-${code % 8}` }), H.words(color)[code])),
      words.length > 16 ? h("span", { class: "key" }, `and ${words.length - 16} more`) : "",
      h("span", { class: "bar" }),
      ...[...types].sort().map((type) => h("span", { class: "key" }, h("span", { "aria-hidden": "true" }, glyphs[H.symbol(type)]), type))
    );
  }

  function draw() {
    if (!drawn || document.getElementById("maps").offsetParent === null) return;
    for (const { map, target, note } of plots) {
      const figure = map.figure(H.filtered);
      const some = figure && figure.data.some((trace) => trace.customdata && trace.customdata.length);
      note.hidden = Boolean(some);
      target.classList.toggle("vacant", !some);
      if (some) window.Plotly.react(target, figure.data, figure.layout, H.config({}));
    }
    legend();
  }

  function point() {
    if (!drawn || H.size > H.MANY) return;
    for (const { map, target } of plots) {
      if (!target.data || target.classList.contains("vacant")) continue;
      const { x, y } = ring(...map.axes());
      window.Plotly.restyle(target, { x: [x], y: [y] }, [target.data.length - 1]);
    }
  }

  function listen(target) {
    const rows = (event) => [...new Set(event.points.map((spot) => spot.customdata).filter((row) => row !== undefined))];
    target.on("plotly_selected", (event) => {
      // Plotly says that nothing is selected whenever it draws without the last box, too; only a box is a person's.
      if (event && (event.range || event.lassoPoints)) H.select(rows(event));
    });
    target.on("plotly_deselect", () => H.select([]));
    target.on("plotly_click", (event) => {
      const [row] = rows(event);
      if (row !== undefined) H.open(row);
    });
  }

  H.startMaps = async () => {
    const section = document.getElementById("maps");
    const levels = H.words("level_name");
    section.append(
      h(
        "div",
        { class: "toolbar" },
        h("h2", null, "Maps"),
        levels.length > 1 ? labelled("Level", select("level", "Level of theory of the maps", [["", "each in its colour"], ...levels.map((level) => [level, level])])) : null,
        labelled("Dragging", select("drag", "What dragging in a map does", [["select", "selects a box"], ["lasso", "selects by lasso"], ["zoom", "zooms"], ["pan", "moves"], ["", "scrolls the page"]])),
        h("div", { id: "legend", class: "legend" })
      ),
      h(
        "div",
        { class: "row" },
        Object.entries(MAPS).map(([name, map]) => {
          const target = h("div", { class: "plot", id: `plot-${name}`, role: "img", "aria-label": `${map.title}: the table holds the same numbers` });
          const note = h("p", { class: "note", hidden: true }, map.empty);
          plots.push({ map, target, note });
          return h("article", { class: "card" }, h("header", null, h("h3", null, map.title), h("div", { class: "controls" }, map.controls())), h("div", { class: "stage" }, target, note));
        })
      )
    );
    legend();
    await H.plotly();
    drawn = true;
    // Events can be heard once there is a plot.
    plots.forEach(({ target }) => window.Plotly.newPlot(target, [], H.layout({}), H.config({})));
    plots.forEach(({ target }) => listen(target));
    draw();
    const again = H.framed(draw);
    ["visible", "theme", "view", "current"].forEach((topic) => H.on(topic, again));
    H.on("pointed", H.framed(point));
    document.body.dataset.maps = "ready";
  };
})(window.Hardcoat);
