"use strict";
// Young's modulus in every direction, and the stresses that the tensor was fitted to.
(function (H) {
  const { h, number } = H;
  const VOIGT = ["xx", "yy", "zz", "yz", "xz", "xy"];
  const PAIRS = [[0, 0], [1, 1], [2, 2], [1, 2], [0, 2], [0, 1]];

  function inverse(matrix) {
    const size = matrix.length;
    const work = matrix.map((row, i) => [...row, ...row.map((_, j) => (i === j ? 1 : 0))]);
    for (let column = 0; column < size; column++) {
      let pivot = column;
      for (let row = column + 1; row < size; row++) if (Math.abs(work[row][column]) > Math.abs(work[pivot][column])) pivot = row;
      [work[column], work[pivot]] = [work[pivot], work[column]];
      const head = work[column][column];
      work[column] = work[column].map((part) => part / head);
      for (let row = 0; row < size; row++) {
        if (row === column) continue;
        const factor = work[row][column];
        if (factor) work[row] = work[row].map((part, place) => part - factor * work[column][place]);
      }
    }
    return work.map((row) => row.slice(size));
  }

  // 1 / E(n) = s S s, with s the stress of a unit pull along n; Nye, Physical Properties of Crystals, section VIII.
  H.youngsModulus = (tensor) => {
    const compliance = inverse(tensor);
    return (n) => {
      const stress = PAIRS.map(([i, j]) => n[i] * n[j]);
      return 1 / stress.reduce((total, one, i) => total + one * stress.reduce((part, other, j) => part + compliance[i][j] * other, 0), 0);
    };
  };

  function surface(fields) {
    const young = H.youngsModulus(fields.tensor);
    const polar = [...Array(61).keys()].map((step) => (Math.PI * step) / 60);
    const around = [...Array(121).keys()].map((step) => (2 * Math.PI * step) / 120);
    const directions = polar.map((theta) => around.map((phi) => [Math.sin(theta) * Math.cos(phi), Math.sin(theta) * Math.sin(phi), Math.cos(theta)]));
    const values = directions.map((line) => line.map(young));
    const part = (axis) => directions.map((line, i) => line.map((n, j) => n[axis] * values[i][j]));
    const axis = (name) => ({ title: { text: H.narrow() ? name : `E along ${name} (GPa)`, font: { size: 11 } }, color: H.color("faint"), gridcolor: H.color("grid"), zerolinecolor: H.color("line"), showbackground: false, tickfont: { size: 10 } });
    return {
      data: [
        {
          type: "surface",
          x: part(0),
          y: part(1),
          z: part(2),
          surfacecolor: values,
          colorscale: "Viridis",
          colorbar: {
            title: { text: "E (GPa)" },
            thickness: 12,
            tickfont: { color: H.color("text") },
            outlinewidth: 0,
            ...(H.narrow() ? { orientation: "h", y: -0.08, len: 0.9 } : { len: 0.7 }),
          },
          text: values.map((line) => line.map((value) => `E = ${number(value, 1)} GPa`)),
          hovertemplate: "%{text}<extra></extra>",
          lighting: { ambient: 0.75, diffuse: 0.5, specular: 0.1 },
          contours: { x: { highlight: false }, y: { highlight: false }, z: { highlight: false } },
        },
      ],
      layout: H.layout({
        margin: { l: 0, r: 0, t: 0, b: H.narrow() ? 40 : 0 },
        scene: { xaxis: axis("x"), yaxis: axis("y"), zaxis: axis("z"), aspectmode: "data", camera: { eye: H.narrow() ? { x: 1.7, y: 1.7, z: 1.02 } : { x: 1.5, y: 1.5, z: 0.9 }, center: { x: 0, y: 0, z: -0.08 } } },
      }),
    };
  }

  H.drawDirectional = async (panel, { fields }) => {
    if (!fields.stable) {
      panel.append(h("p", { class: "note" }, "The tensor is not positive definite: in some direction there is no Young’s modulus."));
      return;
    }
    const target = h("div", { class: "surface", role: "img", "aria-label": `Young's modulus by direction, from ${number(fields.youngs_modulus_min, 1)} to ${number(fields.youngs_modulus_max, 1)} GPa` });
    const young = H.youngsModulus(fields.tensor);
    const root = Math.sqrt(0.5);
    const third = Math.sqrt(1 / 3);
    const along = fields.crystal_class === "cubic"
      ? [["[100]", [1, 0, 0]], ["[110]", [root, root, 0]], ["[111]", [third, third, third]]]
      : [["x", [1, 0, 0]], ["y", [0, 1, 0]], ["z (c axis)", [0, 0, 1]]];
    panel.append(
      h("p", { class: "hint" }, "Distance from the centre is Young’s modulus for a pull in that direction, from the projected tensor in the frame of the parent lattice."),
      target,
      h(
        "div",
        { class: "scroll" },
        h(
          "table",
          { class: "plain" },
          h("thead", null, h("tr", null, h("th", { scope: "col" }, "Direction"), h("th", { scope: "col" }, "E (GPa)"))),
          h("tbody", null, [...along.map(([name, n]) => [name, young(n)]), ["smallest", fields.youngs_modulus_min], ["largest", fields.youngs_modulus_max]].map(([name, value]) => h("tr", null, h("th", { scope: "row" }, name), h("td", null, number(value, 1)))))
        )
      )
    );
    const Plotly = await H.plotly();
    if (!target.isConnected) return;
    const draw = () => {
      const { data, layout } = surface(fields);
      return Plotly.react(target, data, layout, H.config({}));
    };
    await draw();
    target.dataset.drawn = "yes";
    H.onLeave(() => Plotly.purge(target));
    H.onTheme(draw);
  };

  const model = (tensor, strain, reference) => tensor.map((row, i) => reference[i] + row.reduce((total, constant, j) => total + constant * strain[j], 0));

  // Strains of one component each can be drawn against that component; others only have residuals.
  const onlyComponent = (strain) => {
    const largest = Math.max(...strain.map(Math.abs));
    const places = strain.flatMap((part, place) => (Math.abs(part) > 1e-3 * largest ? [place] : []));
    return places.length === 1 ? places[0] : null;
  };

  function panelOf(component, { strains, stresses, computed, reference }, tensor) {
    const rows = strains.flatMap((strain, row) => (onlyComponent(strain) === component ? [row] : []));
    if (!rows.length) return null;
    const xs = rows.map((row) => 100 * strains[row][component]);
    const ends = [Math.min(0, ...xs) * 1.08, Math.max(0, ...xs) * 1.08];
    const data = VOIGT.flatMap((name, i) => [
      {
        type: "scatter",
        mode: "lines",
        x: ends,
        y: ends.map((x) => reference[i] + (tensor[i][component] * x) / 100),
        line: { color: H.category(i), width: 1.4 },
        hoverinfo: "skip",
      },
      {
        type: "scatter",
        mode: "markers",
        x: xs,
        y: rows.map((row) => stresses[row][i]),
        marker: { color: H.category(i), size: 7, symbol: rows.map((row) => (computed[row] ? "circle" : "circle-open")), line: { width: 1.4, color: H.category(i) } },
        text: rows.map((row) => (computed[row] ? "computed" : "by symmetry")),
        hovertemplate: `σ<sub>${name}</sub> = %{y:.3f} GPa at %{x:.2f} % (%{text})<extra></extra>`,
      },
    ]);
    const shear = component > 2;
    const layout = H.layout({
      xaxis: { title: { text: `${shear ? "γ" : "ε"}<sub>${VOIGT[component]}</sub> (%)` } },
      yaxis: { title: { text: "stress (GPa)" } },
      margin: { l: 46, r: 8, t: 6, b: 40 },
      hovermode: "closest",
    });
    return { data, layout, label: `Stress against ${shear ? "shear" : "strain"} ${VOIGT[component]}` };
  }

  function residuals({ strains, stresses, computed, reference }, tensor) {
    const data = VOIGT.map((name, i) => ({
      type: "scatter",
      mode: "markers",
      x: strains.map((_, row) => row + 1),
      y: strains.map((strain, row) => stresses[row][i] - model(tensor, strain, reference)[i]),
      marker: { color: H.category(i), size: 6, symbol: computed.map((flag) => (flag ? "circle" : "circle-open")) },
      text: strains.map((strain) => strain.map((part) => number(100 * part, 2)).join(", ")),
      hovertemplate: `σ<sub>${name}</sub> residual %{y:.3f} GPa<br>strain %{text} %<extra></extra>`,
    }));
    const layout = H.layout({ xaxis: { title: { text: "strain, in the order of the set" } }, yaxis: { title: { text: "residual (GPa)" } }, margin: { l: 52, r: 8, t: 6, b: 40 }, hovermode: "closest" });
    return { data, layout, label: "Residual stress of the fit" };
  }

  H.drawStresses = async (panel, { fields, stresses }) => {
    if (!stresses) {
      panel.append(h("p", { class: "note" }, "The stresses that the tensor was fitted to are not in the catalogue’s profile."));
      return;
    }
    const figures = () => [...VOIGT.keys()].map((component) => panelOf(component, stresses, fields.tensor_fitted));
    const by = stresses.computed.filter((flag) => !flag).length;
    const targets = figures().map((figure) => (figure ? h("div", { class: "plot small", role: "img", "aria-label": figure.label }) : null));
    const rest = h("div", { class: "plot", role: "img", "aria-label": "Residual stress of the fit" });
    panel.append(
      h("p", { class: "hint" }, `Points: stresses of the strained cells. Lines: the tensor as fitted, with the stress of the unstrained cell.${by ? ` Open points (${by} of ${stresses.computed.length} strains) follow from computed ones by symmetry.` : ""}`),
      h("div", { class: "legend" }, VOIGT.map((name, i) => h("span", { class: "key" }, h("span", { class: `dot level-${i}` }), "σ", h("sub", null, name)))),
      h("div", { class: "grid" }, targets.filter(Boolean)),
      h("h3", null, "Residuals"),
      rest,
      h("p", { class: "hint" }, `Root mean square ${number(fields.residual, 4)} GPa, largest ${number(fields.largest_residual, 4)} GPa, R² ${number(fields.r_squared, 6)}.`)
    );
    const Plotly = await H.plotly();
    if (!panel.isConnected) return;
    const draw = () => {
      figures().forEach((figure, place) => figure && Plotly.react(targets[place], figure.data, figure.layout, H.config({ displayModeBar: false })));
      const { data, layout } = residuals(stresses, fields.tensor_fitted);
      return Plotly.react(rest, data, layout, H.config({ displayModeBar: false }));
    };
    await draw();
    rest.dataset.drawn = "yes";
    H.onLeave(() => [...targets.filter(Boolean), rest].forEach((target) => Plotly.purge(target)));
    H.onTheme(draw);
  };
})(window.Hardcoat);
