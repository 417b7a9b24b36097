"use strict";
// The cell before and after relaxation, turned by the mouse.
(function (H) {
  const { h, number } = H;
  const ATOMS = { Ti: "#7a869a", Al: "#d0a3b8", Zr: "#3fa7a0", Hf: "#4a7fd4", N: "#3355dd", V: "#8a6fb5", Cr: "#7f93c9", Nb: "#5fa6b8", Ta: "#4f8fc0", Mo: "#59a9a0", W: "#3f86c4", Sc: "#b9b9b9", Y: "#7fcfc7", Si: "#d8b079", B: "#e8a78c", C: "#666666", O: "#e04a3a" };
  const RADII = { N: 0.42, B: 0.42, C: 0.42, O: 0.42 };
  const radius = (element) => RADII[element] || 0.68;
  const FEW = 40; // atoms below which more cells are drawn
  const EDGE = 1e-3; // share of a cell within which an atom is on its face

  const color = (element) => ATOMS[element] || "#c08a4a";

  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const length = (a) => Math.sqrt(dot(a, a));
  const volume = (cell) => Math.abs(dot(cell[0], cross(cell[1], cell[2])));
  const sum = (...vectors) => vectors[0].map((_, axis) => vectors.reduce((total, vector) => total + vector[axis], 0));
  const times = (factor, vector) => vector.map((part) => factor * part);
  const angle = (a, b) => (Math.acos(dot(a, b) / length(a) / length(b)) * 180) / Math.PI;

  function fractional(cell, position) {
    const whole = dot(cell[0], cross(cell[1], cell[2]));
    return [cross(cell[1], cell[2]), cross(cell[2], cell[0]), cross(cell[0], cell[1])].map((normal) => dot(position, normal) / whole);
  }

  const GAP = 0.4; // Angstrom by which an atom may be outside a box

  // The atoms of a small cubic cell in the box of two by two by two conventional cells.
  function boxOf({ cell, elements, atoms, positions }, formulaUnits) {
    const side = 2 * Math.cbrt((4 * volume(cell)) / formulaUnits);
    const reach = cell.map((_, axis) => {
      const normal = cross(cell[(axis + 1) % 3], cell[(axis + 2) % 3]);
      return Math.ceil((2 * side * length(normal)) / volume(cell));
    });
    const steps = reach.map((most) => [...Array(2 * most + 1).keys()].map((step) => step - most));
    const [start] = positions;
    const found = [];
    for (const i of steps[0]) for (const j of steps[1]) for (const k of steps[2]) {
      const shift = sum(times(i, cell[0]), times(j, cell[1]), times(k, cell[2]), times(-1, start));
      atoms.forEach((kind, place) => {
        const at = sum(positions[place], shift);
        if (at.every((part) => part > -GAP && part < side + GAP)) found.push({ elem: elements[kind], at });
      });
    }
    return found;
  }

  // Every atom in the cell, once more on each face that it lies on; a small cell is repeated until it shows a crystal.
  function atomsOf({ cell, elements, atoms, positions }) {
    const most = Math.cbrt(FEW / atoms.length);
    const repeats = cell.map((vector) => Math.max(1, Math.min(3, Math.round(most * (Math.cbrt(volume(cell)) / length(vector))))));
    const found = [];
    atoms.forEach((kind, place) => {
      const share = fractional(cell, positions[place]).map((part) => {
        const inside = part - Math.floor(part + EDGE);
        return Math.abs(inside) < EDGE ? 0 : inside;
      });
      const steps = share.map((part, axis) => [...Array(repeats[axis] + (part < EDGE ? 1 : 0)).keys()]);
      for (const i of steps[0]) for (const j of steps[1]) for (const k of steps[2]) {
        const at = [share[0] + i, share[1] + j, share[2] + k];
        found.push({ elem: elements[kind], at: sum(times(at[0], cell[0]), times(at[1], cell[1]), times(at[2], cell[2])) });
      }
    });
    return found;
  }

  // Bonds between unlike kinds of sites that are not much longer than the shortest.
  function bond(found) {
    const anion = (atom) => atom.elem in RADII;
    const pairs = [];
    let shortest = Infinity;
    found.forEach((one, i) => {
      for (let j = i + 1; j < found.length; j++) {
        const other = found[j];
        if (anion(one) === anion(other)) continue;
        const distance = length(sum(one.at, times(-1, other.at)));
        if (distance > 3.2) continue;
        shortest = Math.min(shortest, distance);
        pairs.push([i, j, distance]);
      }
    });
    return pairs.filter(([, , distance]) => distance < Math.max(1.25 * shortest, 2.45));
  }

  function show(viewer, structure, fields) {
    viewer.removeAllModels();
    viewer.removeAllShapes();
    const box = fields.crystal_class === "cubic" && structure.atoms.length < FEW / 4;
    const found = box ? boxOf(structure, fields.number_of_formula_units) : atomsOf(structure);
    const bonds = found.map(() => []);
    for (const [i, j] of bond(found)) {
      bonds[i].push(j);
      bonds[j].push(i);
    }
    const model = viewer.addModel();
    model.addAtoms(
      found.map(({ elem, at }, index) => ({ elem, x: at[0], y: at[1], z: at[2], serial: index, index, bonds: bonds[index], bondOrder: bonds[index].map(() => 1), hetflag: true }))
    );
    for (const element of structure.elements) {
      viewer.setStyle({ elem: element }, { sphere: { radius: radius(element), color: color(element) }, stick: { radius: 0.1, color: color(element) } });
    }
    const [a, b, c] = structure.cell;
    const point = ([x, y, z]) => ({ x, y, z });
    const origin = [0, 0, 0];
    for (const [from, ...along] of [[origin, a, b, c], [a, b, c], [b, a, c], [c, a, b], [sum(a, b), c], [sum(a, c), b], [sum(b, c), a]]) {
      for (const step of along) viewer.addCylinder({ start: point(from), end: point(sum(from, step)), radius: 0.035, color: H.color("faint") });
    }
    viewer.setBackgroundColor(H.color("panel"), 1);
  }

  function facts(structure) {
    const [a, b, c] = structure.cell;
    return `a ${number(length(a), 3)}, b ${number(length(b), 3)}, c ${number(length(c), 3)} Å; α ${number(angle(b, c), 1)}, β ${number(angle(a, c), 1)}, γ ${number(angle(a, b), 1)}°; ${number(volume(structure.cell), 2)} Å³; ${structure.atoms.length} atoms`;
  }

  // How far atoms went, with the cell's own change taken out.
  function displacement(before, after) {
    if (before.atoms.length !== after.atoms.length || before.atoms.some((kind, place) => before.elements[kind] !== after.elements[after.atoms[place]])) return null;
    const steps = after.positions.map((position, place) => {
      const one = fractional(before.cell, before.positions[place]);
      return fractional(after.cell, position).map((part, axis) => part - one[axis] - Math.round(part - one[axis]));
    });
    const mean = times(1 / steps.length, sum(...steps));
    const lengths = steps.map((step) => {
      const [i, j, k] = sum(step, times(-1, mean));
      return length(sum(times(i, after.cell[0]), times(j, after.cell[1]), times(k, after.cell[2])));
    });
    return [lengths.reduce((one, other) => one + other) / lengths.length, Math.max(...lengths)];
  }

  H.drawStructure = async (panel, { before, after, fields }) => {
    if (!after) {
      panel.append(h("p", { class: "note" }, "The structure is not in the catalogue’s profile."));
      return;
    }
    const frame = h("div", { class: "viewer", role: "img", "aria-label": "Atoms in the cell; drag to turn, wheel or pinch to zoom" });
    const words = h("p", { class: "hint" });
    const kinds = [["before", "Before relaxation"], ["after", "After relaxation"]].filter(([kind]) => kind === "after" || before);
    const moved = before ? displacement(before, after) : null;
    let viewer = null;
    let shown = "after";
    const draw = (kind) => {
      shown = kind;
      const structure = kind === "before" ? before : after;
      words.textContent = facts(structure);
      if (!viewer) return;
      show(viewer, structure, fields);
      viewer.render();
    };
    panel.append(
      kinds.length > 1 ? H.segmented("structure-kind", "Which structure", kinds, "after", draw) : h("p", { class: "hint" }, "After relaxation; the structure before it is not in the catalogue’s profile."),
      frame,
      h("div", { class: "legend" }, after.elements.map((element) => h("span", { class: "key" }, h("span", { class: "dot", style: `background:${color(element)}` }), element)), after.atoms.length < FEW ? h("span", { class: "key faint" }, "the small cell is shown repeated") : null),
      words,
      moved ? h("p", { class: "hint" }, `Atoms moved ${number(moved[0], 3)} Å on average and ${number(moved[1], 3)} Å at most, apart from the change of the cell; volume ${number(100 * (volume(after.cell) / volume(before.cell) - 1), 2)} %.`) : ""
    );
    await H.loadScript("static/vendor/3Dmol-min.js");
    if (!frame.isConnected) return;
    try {
      viewer = window.$3Dmol.createViewer(frame, { antialias: true, backgroundColor: H.color("panel") });
    } catch (error) {
      viewer = null;
    }
    if (!viewer) {
      frame.replaceChildren(h("p", { class: "note" }, "This browser has no WebGL: the structure cannot be drawn."));
      draw(shown);
      return;
    }
    viewer.setProjection("orthographic");
    draw(shown);
    viewer.rotate(-90, "x");
    viewer.rotate(25, "vy");
    viewer.rotate(14, "vx");
    viewer.zoomTo();
    viewer.zoom(frame.clientWidth < 1.3 * frame.clientHeight ? 1.9 : 1.35);
    viewer.render();
    frame.dataset.drawn = "yes";
    H.onLeave(() => {
      viewer.clear();
      // A browser gives a page a few contexts only.
      const canvas = frame.querySelector("canvas");
      const context = canvas && (canvas.getContext("webgl2") || canvas.getContext("webgl"));
      const lose = context && context.getExtension("WEBGL_lose_context");
      if (lose) lose.loseContext();
      viewer = null;
    });
    H.onTheme(() => viewer && draw(shown));
  };
})(window.Hardcoat);
