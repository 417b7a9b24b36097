"use strict";
// How the entry was made: a layered graph, laid out here by dagre and drawn as SVG.
(function (H) {
  const { h, svg } = H;
  const HEIGHT = 42;
  const READABLE = 0.7; // a smaller scale is for the reader to choose
  const KINDS = { data: "data", calculation: "calculation", workchain: "workchain" };

  const widthOf = (node) => Math.max(96, 26 + 7.1 * Math.max(node.title.length, node.caption.length));

  function nodesOf({ nodes, links }) {
    return nodes.map(([kind, type, label, uuid, status, count], place) => {
      // What a node is called where it is used says more than its class.
      const use = links.find(([source, , , link]) => source === place && link === "input_calc");
      const made = links.find(([, target, , link]) => target === place && link === "create");
      const role = (use && use[2]) || (made && made[2]) || "";
      const caption = kind === "data" ? label || role : status ? `exit status ${status}` : "";
      return { place, kind, type, label, uuid, status, count, title: count > 1 ? `${count} × ${type}` : type, caption: caption.length > 28 ? caption.slice(0, 27) + "…" : caption };
    });
  }

  function layout(nodes, links, across) {
    const graph = new window.dagre.graphlib.Graph({ multigraph: true });
    graph.setGraph({ rankdir: across ? "LR" : "TB", nodesep: across ? 14 : 22, ranksep: across ? 46 : 40, marginx: 12, marginy: 12 });
    graph.setDefaultEdgeLabel(() => ({}));
    for (const node of nodes) graph.setNode(String(node.place), { width: widthOf(node), height: HEIGHT });
    links.forEach(([source, target, label, type], place) => graph.setEdge(String(source), String(target), { label, type }, String(place)));
    window.dagre.layout(graph);
    return graph;
  }

  function path(points) {
    const [first, ...rest] = points;
    let line = `M${first.x},${first.y}`;
    for (let step = 0; step < rest.length - 1; step++) {
      const middle = { x: (rest[step].x + rest[step + 1].x) / 2, y: (rest[step].y + rest[step + 1].y) / 2 };
      line += `Q${rest[step].x},${rest[step].y} ${middle.x},${middle.y}`;
    }
    const last = rest[rest.length - 1];
    return `${line}L${last.x},${last.y}`;
  }

  function draw(graph, nodes, choose) {
    const { width, height } = graph.graph();
    const picture = svg("svg", {
      viewBox: `0 0 ${Math.ceil(width)} ${Math.ceil(height)}`,
      width: Math.ceil(width),
      height: Math.ceil(height),
      class: "provenance",
      role: "group",
      "aria-label": `Provenance: ${nodes.length} nodes`,
    });
    picture.append(
      svg("defs", null, svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, svg("path", { d: "M0,0L8,4L0,8z", class: "head" })))
    );
    for (const name of graph.edges()) {
      const edge = graph.edge(name);
      const line = svg("path", { d: path(edge.points), class: `edge ${edge.type.startsWith("call") ? "call" : "flow"}`, "marker-end": "url(#arrow)" });
      line.append(svg("title", null, `${edge.type.replace("_", " ")}: ${edge.label}`));
      picture.append(line);
    }
    for (const node of nodes) {
      const { x, y, width: wide } = graph.node(String(node.place));
      const [left, top] = [x - wide / 2, y - HEIGHT / 2];
      const special = node.type === "ElasticData" || node.type === "PredictionData" ? " result" : "";
      const group = svg("g", {
        class: `node ${KINDS[node.kind]}${special}`,
        role: "button",
        tabindex: "0",
        "data-uuid": node.uuid,
        "aria-label": `${node.title} ${node.caption}`,
        onclick: () => choose(node, group),
        onkeydown: (event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          choose(node, group);
        },
      });
      if (node.count > 1) group.append(svg("rect", { x: left + 4, y: top + 4, width: wide, height: HEIGHT, rx: 6, class: "behind" }));
      group.append(
        svg("rect", { x: left, y: top, width: wide, height: HEIGHT, rx: node.kind === "data" ? 6 : 20 }),
        svg("text", { x, y: node.caption ? y - 3 : y + 4, class: "name" }, node.title)
      );
      if (node.caption) group.append(svg("text", { x, y: y + 13, class: "caption" }, node.caption));
      group.append(svg("title", null, `${node.title} ${node.uuid}`));
      picture.append(group);
    }
    return picture;
  }

  function about(node, row, choose) {
    const facts = [["Type", node.title], ["Label", node.label || "none"], ["UUID", h("code", null, node.uuid)], ["In AiiDA", h("code", null, `verdi node show ${node.uuid.slice(0, 8)}`)]];
    if (node.status !== null) facts.splice(2, 0, ["Exit status", String(node.status)]);
    if (node.count > 1) facts.push(["Drawn as one", `${node.count} nodes of this kind in the same position; the first is named`]);
    const shared = (H.index.shared[node.uuid] || []).filter((other) => other !== row);
    return h(
      "div",
      { class: "about" },
      h("dl", { class: "facts" }, facts.map(([term, value]) => h("div", null, h("dt", null, term), h("dd", null, value)))),
      shared.length
        ? h("p", null, "Also behind: ", shared.map((other) => [h("a", { href: H.address(other, "provenance") }, H.formula(H.text("formula", other)), ` ${H.text("structure_type", other)}, ions ${H.text("ions", other)}, ${H.text("level_name", other)}`), " "]))
        : null
    );
  }

  H.drawProvenance = async (panel, { graph: given }, row) => {
    const words = h("div", { class: "chosen", "aria-live": "polite" }, h("p", { class: "hint" }, "Choose a node to see what it is and which other entries it is behind."));
    const frame = h("div", { class: "graph", tabindex: "0", role: "region", "aria-label": "Provenance graph, scrolls" });
    const nodes = nodesOf(given);
    let workchains = false;
    let scale = null;
    const zoom = () => {
      const picture = frame.querySelector("svg");
      const { width, height } = picture.viewBox.baseVal;
      picture.setAttribute("width", width * scale);
      picture.setAttribute("height", height * scale);
    };
    // The entry is at the foot of the graph: begin there.
    const begin = () => {
      const root = frame.querySelector(`[data-uuid="${CSS.escape(given.nodes[0][3])}"] rect`);
      const middle = Number(root.getAttribute("x")) + Number(root.getAttribute("width")) / 2;
      frame.scrollTop = frame.scrollHeight;
      frame.scrollLeft = scale * middle - frame.clientWidth / 2;
    };
    const zoomBy = (factor) => {
      scale = Math.max(0.2, Math.min(2, scale * factor));
      zoom();
    };
    const choose = (node, group) => {
      frame.querySelectorAll(".node.chosen").forEach((other) => other.classList.remove("chosen"));
      group.classList.add("chosen");
      words.replaceChildren(about(node, row));
    };
    const redraw = () => {
      const shown = workchains ? nodes : nodes.filter((node) => node.kind !== "workchain");
      const there = new Set(shown.map((node) => node.place));
      const links = given.links.filter(([source, target]) => there.has(source) && there.has(target));
      const picture = draw(layout(shown, links, false), shown, choose);
      frame.replaceChildren(picture);
      const { width } = picture.viewBox.baseVal;
      scale = Math.max(READABLE, Math.min(1, frame.clientWidth / width));
      zoom();
      begin();
    };
    const save = () => {
      const picture = frame.querySelector("svg").cloneNode(true);
      const style = svg("style", null, SAVED);
      picture.setAttribute("xmlns", "http://www.w3.org/2000/svg");
      picture.prepend(style);
      H.download(`${H.index.uuid[row]}.svg`, "image/svg+xml", new XMLSerializer().serializeToString(picture));
    };
    await H.loadScript("static/vendor/dagre.min.js");
    if (!panel.isConnected) return;
    const some = given.nodes.some(([kind]) => kind === "workchain");
    panel.append(
      h(
        "div",
        { class: "toolbar" },
        h("div", { class: "legend" }, h("span", { class: "key" }, h("span", { class: "shape data" }), "data"), h("span", { class: "key" }, h("span", { class: "shape calculation" }), "calculation"), some ? h("span", { class: "key" }, h("span", { class: "shape workchain" }), "workchain") : null),
        h("span", { class: "space" }),
        some ? h("label", { class: "choice" }, h("input", { type: "checkbox", id: "workchains", onchange: (event) => { workchains = event.target.checked; redraw(); } }), "workchains") : null,
        h("button", { type: "button", class: "button small", "aria-label": "Smaller", onclick: () => zoomBy(0.8) }, "−"),
        h("button", { type: "button", class: "button small", "aria-label": "Larger", onclick: () => zoomBy(1.25) }, "+"),
        h("button", { type: "button", class: "button small", onclick: save }, "Save SVG")
      ),
      frame,
      words
    );
    redraw();
    frame.dataset.drawn = "yes";
  };

  const SAVED =
    "svg{background:#fff;font-family:system-ui,sans-serif}rect{fill:#eaf2fb;stroke:#0b62a8}.calculation rect{fill:#fdeee4;stroke:#c2410c}.workchain rect{fill:#f3e9f9;stroke:#9333ad}.result rect{fill:#dff5ec;stroke:#0f7b5f;stroke-width:2}text{text-anchor:middle;font-size:12px;fill:#111}.caption{font-size:10.5px;fill:#555}.edge{fill:none;stroke:#777}.call{stroke-dasharray:4 3}.head{fill:#777}";
})(window.Hardcoat);
