"use strict";
// Plotly in the colours of the page, loaded when the first plot is drawn.
(function (H) {
  H.plotly = () => H.loadScript("static/vendor/plotly.min.js").then(() => window.Plotly);

  H.MANY = 1500; // points beyond which a plot is drawn by the graphics card

  H.layout = (changes) => {
    const axis = {
      gridcolor: H.color("grid"),
      linecolor: H.color("line"),
      zerolinecolor: H.color("line"),
      tickfont: { color: H.color("faint"), size: 11 },
      title: { font: { size: 12, color: H.color("text") }, standoff: 6 },
      automargin: true,
      showline: true,
      ticks: "outside",
      ticklen: 4,
      tickcolor: H.color("line"),
    };
    const { xaxis, yaxis, ...more } = changes;
    const merged = (given) => ({ ...axis, ...given, title: { ...axis.title, ...(given.title || {}) } });
    return {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif", color: H.color("text"), size: 12 },
      hoverlabel: { bgcolor: H.color("raised"), bordercolor: H.color("line"), font: { color: H.color("text"), size: 12 }, align: "left" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: H.color("faint"), activecolor: H.color("accent") },
      margin: { l: 56, r: 12, t: 8, b: 44 },
      showlegend: false,
      ...more,
      ...(xaxis ? { xaxis: merged(xaxis) } : {}),
      ...(yaxis ? { yaxis: merged(yaxis) } : {}),
    };
  };

  // On a touch screen the buttons of Plotly would cover the plot.
  H.coarse = window.matchMedia("(pointer: coarse)").matches;

  H.config = (changes) => ({
    displaylogo: false,
    responsive: true,
    modeBarButtons: [["toImage"]],
    ...changes,
    ...(H.coarse ? { displayModeBar: false } : {}),
  });

  H.axisTitle = (name) => {
    const { title, unit } = H.index.numbers[name];
    return H.plotText(unit ? `${title} (${unit})` : title);
  };
})(window.Hardcoat);
