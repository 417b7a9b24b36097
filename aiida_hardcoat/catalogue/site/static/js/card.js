"use strict";
// The card of one entry: its numbers with their errors, beside what was learned, and everything that is stored.
(function (H) {
  const { h, number } = H;
  const MODULI = [
    ["bulk_modulus", "B", "Bulk modulus", "GPa", 1],
    ["shear_modulus", "G", "Shear modulus", "GPa", 1],
    ["youngs_modulus", "E", "Young’s modulus", "GPa", 1],
    ["poisson_ratio", "ν", "Poisson’s ratio", "", 3],
  ];
  const HARDNESS = [
    ["hardness_chen_2011", "Chen 2011"],
    ["hardness_tian_2012", "Tian 2012"],
    ["hardness_teter_1998", "Teter 1998"],
    ["hardness_mazhnik_oganov_2019", "Mazhnik–Oganov 2019"],
  ];
  const known = (value) => value !== null && value !== undefined;
  const withError = (value, error, digits) => (known(error) ? `${number(value, digits)} ± ${number(error, digits)}` : number(value, digits));

  function tile(fields, prediction, [name, symbol, title, unit, digits]) {
    const value = fields[name];
    return h(
      "div",
      { class: "tile" },
      h("div", { class: "what" }, h("b", null, symbol), ` ${title}`),
      known(value)
        ? h("div", { class: "value" }, number(value, digits), h("small", null, unit ? ` ${unit}` : ""))
        : h("div", { class: "value absent" }, "not defined"),
      known(fields[`${name}_error`]) ? h("div", { class: "error" }, `± ${number(fields[`${name}_error`], digits)} from the fit`) : null,
      prediction ? interval(value, prediction, name, digits) : null
    );
  }

  // The learned interval as a bar, with ticks for what was learned and what was computed.
  function interval(value, prediction, name, digits) {
    const low = prediction[`${name}_low`];
    const high = prediction[`${name}_high`];
    const learned = prediction[name];
    const ends = [low, high, ...(known(value) ? [value] : [])];
    const from = Math.min(...ends);
    const room = Math.max(...ends) - from || 1;
    const at = (position) => 4 + (112 * (position - from)) / room;
    const inside = prediction.inside[name];
    const words = `learned ${number(learned, digits)}, 90 % ${number(low, digits)} to ${number(high, digits)}`;
    return h(
      "div",
      { class: "interval" },
      H.svg(
        "svg",
        { viewBox: "0 0 120 14", role: "img", "aria-label": words },
        H.svg("rect", { x: at(low), y: 4, width: Math.max(1, at(high) - at(low)), height: 6, rx: 3, class: "band" }),
        H.svg("line", { x1: at(learned), x2: at(learned), y1: 2, y2: 12, class: "learned" }),
        known(value) ? H.svg("circle", { cx: at(value), cy: 7, r: 3.6, class: inside ? "computed" : "computed outside" }) : null
      ),
      h("div", { class: "error" }, words),
      inside === false ? h("div", { class: "outside" }, "computed value outside") : null
    );
  }

  function definition(pairs) {
    return h("dl", { class: "facts" }, pairs.filter(Boolean).map(([term, ...value]) => h("div", null, h("dt", null, term), h("dd", null, ...value))));
  }

  function moduliTable(fields, predictions) {
    const newest = predictions[0];
    return h(
      "div",
      { class: "scroll" },
      h(
        "table",
        { class: "plain" },
        h("thead", null, h("tr", null, ["", "Computed (Hill)", "Voigt", "Reuss", ...(newest ? ["Learned", "90 % interval", ""] : [])].map((text) => h("th", { scope: "col" }, text)))),
        h(
          "tbody",
          null,
          MODULI.map(([name, , title, unit, digits]) =>
            h(
              "tr",
              null,
              h("th", { scope: "row" }, title, unit ? h("small", null, ` ${unit}`) : null),
              h("td", null, withError(fields[name], fields[`${name}_error`], digits)),
              h("td", null, number(fields[`${name}_voigt`], digits)),
              h("td", null, number(fields[`${name}_reuss`], digits)),
              newest
                ? [
                    h("td", null, `${number(newest[name], digits)} ± ${number(newest[`${name}_spread`], digits)}`),
                    h("td", null, `${number(newest[`${name}_low`], digits)} – ${number(newest[`${name}_high`], digits)}`),
                    h("td", null, newest.inside[name] === null ? "" : h("span", { class: newest.inside[name] ? "yes" : "no" }, newest.inside[name] ? "inside" : "outside")),
                  ]
                : null
            )
          )
        )
      )
    );
  }

  function tensor(fields) {
    const kinds = [
      ["tensor", `projected onto ${fields.crystal_class} symmetry`],
      ["tensor_fitted", "as fitted"],
      ["standard_errors", "standard errors"],
    ];
    const largest = Math.max(...fields.tensor.flat().map(Math.abs));
    const body = h("tbody");
    const fill = (kind) =>
      body.replaceChildren(
        ...fields[kind].map((line, i) =>
          h(
            "tr",
            null,
            line.map((value, j) => {
              const share = kind === "standard_errors" ? 0 : Math.min(1, Math.abs(value) / largest);
              return h("td", { style: `--share:${(100 * Math.sqrt(share)).toFixed(0)}%`, title: `C${i + 1}${j + 1} = ${value} GPa`, class: Math.abs(value) < 0.05 ? "zero" : null }, number(value, 1));
            })
          )
        )
      );
    fill("tensor");
    return h(
      "section",
      null,
      h("h3", null, "Elastic tensor", h("small", null, " GPa, Voigt order xx yy zz yz xz xy")),
      H.segmented("tensor-kind", "Which tensor", kinds, "tensor", fill),
      h("div", { class: "scroll" }, h("table", { class: "tensor" }, body)),
      h(
        "p",
        { class: "hint" },
        `${fields.number_of_strains} strained cells${fields.number_of_equivalent_strains ? ` and ${fields.number_of_equivalent_strains} by symmetry (${fields.space_group})` : ""}; ` +
          `R² ${number(fields.r_squared, 6)}; residual ${number(fields.residual, 3)} GPa, largest ${number(fields.largest_residual, 3)}; projection removed ${number(100 * fields.projected_away, 2)} %`
      )
    );
  }

  H.segmented = (name, label, options, chosen, onchange) =>
    h(
      "div",
      { class: "segmented", role: "radiogroup", "aria-label": label },
      options.map(([value, text]) =>
        h("label", null, h("input", { type: "radio", name, value, checked: value === chosen, onchange: () => onchange(value) }), h("span", null, text))
      )
    );

  const same = (name, row, other) => H.text(name, row) === H.text(name, other);

  // The same alloy in other structures, at other levels, with other ions.
  function relatives(row) {
    const others = [];
    for (let other = 0; other < H.size && others.length < 24; other++) {
      if (other !== row && same("formula", row, other)) others.push(other);
    }
    if (!others.length) return null;
    const nearness = (other) => ["structure_type", "ions", "level_name"].filter((name) => same(name, row, other)).length;
    others.sort((one, other) => nearness(other) - nearness(one) || one - other);
    return h(
      "section",
      null,
      h("h3", null, "The same alloy elsewhere in the catalogue"),
      h(
        "ul",
        { class: "links" },
        others.map((other) =>
          h(
            "li",
            null,
            h("a", { href: H.address(other) }, H.structureBadge(H.text("structure_type", other), H.text("relaxed_structure_type", other)), ` ions ${H.text("ions", other)}`, H.levelDot(H.index.texts.level_name.codes[other]), H.text("level_name", other)),
            h("span", { class: "faint" }, ` B ${number(H.value("bulk_modulus", other), 1)}, G ${number(H.value("shear_modulus", other), 1)} GPa`)
          )
        )
      )
    );
  }

  function learnedNote(predictions) {
    return predictions.map((made) =>
      h(
        "p",
        { class: "hint" },
        `Learned by ${made.model_name} ${made.model_version} (weights sha256 ${made.model_sha256.slice(0, 16)}): `,
        h("span", { class: made.far ? "no" : "yes" }, made.far ? "far from the training data" : "near the training data"),
        ` (distance ${number(made.distance, 2)}, far from 1 on)${made.in_training_data ? "; this formula was in it" : ""}`
      )
    );
  }

  H.drawCard = (panel, { fields, predictions }, row) => {
    const stable = fields.stable ? "stable" : "not stable";
    panel.append(
      h("div", { class: "tiles" }, MODULI.map((modulus) => tile(fields, predictions[0], modulus))),
      definition([
        ["Hardness", HARDNESS.filter(([name]) => known(fields[name])).map(([name, model]) => `${number(fields[name], 1)} (${model})`).join(", ") || "not defined", known(fields.hardness_chen_2011) ? " GPa" : ""],
        ["Stability", h("span", { class: fields.stable ? "yes" : "no" }, stable), ` (Born; smallest eigenvalue ${number(fields.smallest_eigenvalue, 1)} GPa); with tolerance 1.1: ${fields.stable_with_tolerance ? "stable" : "not stable"}`],
        ["Anisotropy", [
          known(fields.universal_anisotropy) ? `universal ${number(fields.universal_anisotropy, 4)}` : "",
          known(fields.zener_anisotropy) ? `Zener ${number(fields.zener_anisotropy, 3)}` : "",
          known(fields.youngs_modulus_min) ? `E from ${number(fields.youngs_modulus_min, 0)} to ${number(fields.youngs_modulus_max, 0)} GPa` : "",
        ].filter(Boolean).join(", ") || "not defined"],
        ["Lattice", `a = ${number(fields.lattice_a, 4)} Å, ${number(fields.volume_per_formula, 4)} Å³ per formula unit, ${number(fields.density, 0)} kg/m³`],
        known(fields.u) ? ["Wurtzite", `c/a = ${number(fields.c_over_a, 4)}, u = ${number(fields.u, 4)} (spread ${number(fields.u_spread, 4)}): ${fields.structure_type} is ${fields.relaxed_structure_type} after relaxation`] : null,
        ["Energy", `${number(fields.energy_per_formula, 6)} eV per formula unit`, known(H.value("mixing_energy", row)) ? `; mixing energy ${number(H.value("mixing_energy", row), 4)} eV` : ""],
        known(fields.debye_temperature) ? ["Sound", `${number(fields.sound_velocity_longitudinal, 0)} m/s longitudinal, ${number(fields.sound_velocity_transverse, 0)} m/s transverse; Debye temperature ${number(fields.debye_temperature, 0)} K`] : null,
        ["Cell", `${fields.number_of_atoms} atoms${fields.cell_shape ? `, ${fields.cell_shape}` : ""}${known(fields.sqs_seed) ? `, seed ${fields.sqs_seed}` : ""}`],
      ]),
      h("section", null, h("h3", null, predictions.length ? "Moduli, computed and learned" : "Moduli"), moduliTable(fields, predictions), learnedNote(predictions)),
      tensor(fields),
      relatives(row) || ""
    );
  };

  const written = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value, null, 1) : String(value));

  H.drawRecord = (panel, { fields }, row) => {
    const uuid = H.index.uuid[row];
    const { level_of_theory: level, tensor: _, tensor_fitted: __, standard_errors: ___, ...rest } = fields;
    panel.append(
      h("h3", null, "Level of theory"),
      definition([["Name", fields.level], ["Fingerprint", h("code", null, fields.level_fingerprint)], ...Object.entries(level).map(([name, value]) => [name.replace(/_/g, " "), h("code", null, written(value))])]),
      h("h3", null, "Cost and version"),
      definition([["Cost", `${fields.evaluations} engine evaluations, ${number(fields.seconds, 0)} s in the engine`], ["Made by", `aiida-hardcoat ${fields.hardcoat_version}`], ["UUID", h("code", null, uuid)], ["Command", h("code", null, `hardcoat show ${uuid.slice(0, 8)}`), h("span", { class: "faint" }, " in a profile that holds it")]]),
      h("h3", null, "Every field"),
      h(
        "div",
        { class: "scroll" },
        h(
          "table",
          { class: "plain fields" },
          h("tbody", null, Object.keys(rest).sort().map((name) => h("tr", null, h("th", { scope: "row" }, h("code", null, name)), h("td", null, written(rest[name])), h("td", { class: "faint" }, H.index.descriptions[name] || ""))))
        )
      ),
      h("button", { type: "button", class: "button", onclick: () => H.download(`${uuid}.json`, "application/json", JSON.stringify(fields, null, 2)) }, "Download as JSON")
    );
  };
})(window.Hardcoat);
