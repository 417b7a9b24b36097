"""Panels of energy against x, one for each system, that mixing energies and stabilities share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aiida_hardcoat.catalogue.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from plotly.graph_objects import Figure as PlotlyFigure

Row = dict[str, Any]
Curve = Callable[[str, str, str], tuple[np.ndarray, np.ndarray] | None]
"""The line of a system, structure type and treatment of the ions: x and energy, or nothing."""

FINE = np.linspace(0, 1, 101)
_COLUMNS = 3


def looks(row: Row) -> dict[str, Any]:
    return style.marker_options(row, style.COLOURS[row["structure_type"]])


def systems_of(rows: Iterable[Row]) -> list[str]:
    return sorted({row["system"] for row in rows})


def curve_figure(rows: Sequence[Row], quantity: str, curve: Curve, title: str) -> tuple[Figure, list[tuple[str, Axes]]]:
    """Points and lines of each system in a panel of its own, all with one energy axis.

    :param rows: points with ``quantity``, eV per formula unit.
    :return: the figure, and the panels by system.
    """
    systems = systems_of(rows)
    down, across = style.grid_of(len(systems), _COLUMNS)
    figure = style.new_figure(2.9 * across + 1.2, 2.8 * down)
    every = figure.subplots(down, across, squeeze=False, sharey=True).flat
    panels = list(zip(systems, every, strict=False))
    for axes in list(every)[len(systems) :]:
        axes.set_axis_off()
    for system, axes in panels:
        inside = [row for row in rows if row["system"] == system]
        axes.axhline(0, color=style.GREY, linewidth=0.7, zorder=1)
        ions, types = style.ions_and_types(inside)
        for kind in types:
            for each in ions:
                line = curve(system, kind, each)
                if line is not None:
                    options = {"color": style.COLOURS[kind], "linestyle": style.DASHES[each], "linewidth": 1.3}
                    axes.plot(*line, zorder=2, **options)
        for row in inside:
            if row["energy_spread"] is not None:
                colour = style.COLOURS[row["structure_type"]]
                axes.errorbar(row["x"], row[quantity], yerr=row["energy_spread"], color=colour, linewidth=0.8, zorder=3)
        style.scatter(axes, inside, "x", quantity, looks, s=26, zorder=4, clip_on=False)
        axes.set(xlim=(0, 1), xlabel=style.axis_text(system))
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        style.plain(axes)
    for _, axes in panels[::across]:
        axes.set_ylabel(f"{title}\n(eV per formula unit)", fontsize=9)
    return figure, panels


def curve_page(rows: Sequence[Row], quantity: str, curve: Curve, title: str) -> PlotlyFigure:
    """The same for a page."""
    import plotly.graph_objects as go

    systems = systems_of(rows)
    down, across = style.grid_of(len(systems), _COLUMNS)
    titles = [style.system_text(system) for system in systems]
    page = style.new_page(down, across, titles, shared_yaxes="all")
    named: set[str] = set()
    for place, system in enumerate(systems):
        at = {"row": place // across + 1, "col": place % across + 1}
        inside = [row for row in rows if row["system"] == system]
        ions, types = style.ions_and_types(inside)
        for kind in types:
            for each in ions:
                name = f"{kind}, ions {each}"
                group = {"legendgroup": name, "name": name}
                members = [row for row in inside if (row["structure_type"], row["ions"]) == (kind, each)]
                if not members:
                    continue
                line = curve(system, kind, each)
                if line is not None:
                    drawn = {"color": style.COLOURS[kind], "dash": style.PLOTLY_DASHES[each]}
                    x, y = ([float(value) for value in values] for values in line)
                    page.add_trace(
                        go.Scatter(x=x, y=y, mode="lines", line=drawn, hoverinfo="skip", showlegend=False, **group),
                        **at,
                    )
                markers = [style.plotly_marker(row) for row in members]
                page.add_trace(
                    go.Scatter(
                        x=[row["x"] for row in members],
                        y=[row[quantity] for row in members],
                        mode="markers",
                        marker={**markers[0], "symbol": [marker["symbol"] for marker in markers]},
                        text=[f"{style.material_html(row)}<br>{row[quantity]:.4f} eV/f.u." for row in members],
                        hovertemplate="%{text}<extra></extra>",
                        showlegend=name not in named,
                        **group,
                    ),
                    **at,
                )
                named.add(name)
        page.update_xaxes(title_text=style.axis_html(system), range=[-0.03, 1.03], **at)
    page.update_yaxes(title_text=f"{title} (eV per formula unit)", col=1)
    page.add_hline(y=0, line={"color": style.GREY, "width": 1})
    page.update_layout(height=90 + 370 * down)
    return page
