"""Mixing energies with their sub-regular fits, and the miscibility gaps that these imply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aiida_hardcoat.catalogue.figures import style
from aiida_hardcoat.catalogue.figures.curves import FINE, Curve, curve_figure, curve_page
from aiida_hardcoat.catalogue.thermodynamics import Series, by_series, model_of, series_of
from aiida_hardcoat.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from plotly.graph_objects import Figure as PlotlyFigure

Row = dict[str, Any]

TITLE = "mixing energy"
LINES: dict[str, tuple[Any, str]] = {"binodal": ("-", "solid"), "spinodal": (":", "dot")}
"""How a curve of a gap is drawn by matplotlib and by plotly."""
WIDTHS = {"relaxed": 1.4, "clamped": 0.7}
_COLUMNS = 3


def mixing_figure(found: dict[str, Any]) -> Figure:
    """Mixing energy against x, a panel for each system: points, and the fit as a line.

    :param found: what `thermodynamics.mixing_data` gives.
    :raises InputError: where no series is complete, naming what to compute.
    """
    check(found)
    figure, _ = curve_figure(found["rows"], "mixing_energy", fitted(found["fits"]), TITLE)
    style.curve_legend(figure, found["rows"])
    return figure


def mixing_page(found: dict[str, Any]) -> PlotlyFigure:
    """As `mixing_figure`, by plotly."""
    check(found)
    return curve_page(found["rows"], "mixing_energy", fitted(found["fits"]), TITLE)


def fitted(fits: Sequence[Row]) -> Curve:
    models = {series_of(fit): model_of(fit) for fit in fits}

    def curve(system: str, kind: str, ions: str) -> tuple[np.ndarray, np.ndarray] | None:
        model = models.get(Series(system, kind, ions))
        return None if model is None else (FINE, model.energy(FINE))

    return curve


def phase_figure(found: dict[str, Any]) -> Figure:
    """Temperature against x, a panel for each system: binodal, spinodal and critical point of each fit.

    :param found: what `thermodynamics.phase_data` gives.
    :raises InputError: where no series is complete, or no fit has a gap.
    """
    check_gaps(found)
    groups = by_series(found["rows"])
    systems = sorted({group.system for group in groups})
    down, across = style.grid_of(len(systems), _COLUMNS)
    figure = style.new_figure(2.9 * across + 1.2, 2.9 * down)
    every = list(figure.subplots(down, across, squeeze=False).flat)
    for axes in every[len(systems) :]:
        axes.set_axis_off()
    for place, (system, axes) in enumerate(zip(systems, every, strict=False)):
        members = {group: rows for group, rows in groups.items() if group.system == system}
        draw_gaps(axes, members, [fit for fit in found["fits"] if series_of(fit) in members])
        axes.set(xlim=(0, 1), xlabel=style.axis_text(system))
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        axes.set_ylim(0, 1.12 * max(row["temperature"] for rows in members.values() for row in rows))
        if place % across == 0:
            axes.set_ylabel("temperature (K)")
        style.plain(axes)
    style.legend_beside(figure, gap_handles(list(groups)))
    return figure


def draw_gaps(axes: Axes, groups: dict[Series, list[Row]], fits: Sequence[Row]) -> None:
    """One series has its gap shaded; of several the lines are enough."""
    for group, rows in groups.items():
        colour = style.COLOURS[group.structure_type]
        for name, (dash, _) in LINES.items():
            x, temperatures = outline(rows, name)
            axes.plot(x, temperatures, color=colour, linestyle=dash, linewidth=WIDTHS[group.ions], zorder=3)
            if len(groups) == 1:
                axes.fill(x, temperatures, color=colour, alpha=0.1, linewidth=0, zorder=1)
    for fit in fits:
        colour = style.COLOURS[fit["structure_type"]]
        face = colour if fit["ions"] == "relaxed" else "white"
        top = fit["critical_x"], fit["critical_temperature"]
        axes.plot(*top, "o", color=colour, markerfacecolor=face, markersize=4.5, zorder=4)
        if len(fits) <= 2:
            axes.annotate(
                f"{top[1]:.0f} K, x = {top[0]:.2f}",
                top,
                xytext=(0, 5 if fit is fits[0] else -12),
                textcoords="offset points",
                ha="center",
                fontsize=7.5,
                color=colour,
            )


def outline(rows: Sequence[Row], name: str) -> tuple[list[float], list[float]]:
    """A curve of a gap from its left foot over the top to its right one."""
    rising = sorted(rows, key=lambda row: row["temperature"])
    falling = rising[::-1]
    x = [*(row[f"{name}_low"] for row in rising), *(row[f"{name}_high"] for row in falling)]
    return x, [row["temperature"] for row in (*rising, *falling)]


def gap_handles(groups: Sequence[Series]) -> list[Line2D]:
    ions, types = style.ions_and_types([group._asdict() for group in groups])
    line = {"marker": "", "linestyle": "-"}
    handles = [style.dot(name, style.GREY, marker="", linestyle=dash) for name, (dash, _) in LINES.items()]
    handles += [style.dot(kind, style.COLOURS[kind], **line) for kind in types]
    several = ions if len(ions) > 1 else []
    return [*handles, *(style.dot(f"ions {each}", style.GREY, linewidth=WIDTHS[each], **line) for each in several)]


def phase_page(found: dict[str, Any]) -> PlotlyFigure:
    """As `phase_figure`, by plotly."""
    import plotly.graph_objects as go

    check_gaps(found)
    groups = by_series(found["rows"])
    systems = sorted({group.system for group in groups})
    down, across = style.grid_of(len(systems), _COLUMNS)
    page = style.new_page(down, across, [style.system_text(system) for system in systems])
    named: set[str] = set()
    for group, rows in groups.items():
        place = systems.index(group.system)
        at = {"row": place // across + 1, "col": place % across + 1}
        for name, (_, dash) in LINES.items():
            x, temperatures = outline(rows, name)
            title = f"{name}, {group.structure_type}, ions {group.ions}"
            page.add_trace(
                go.Scatter(
                    x=x,
                    y=temperatures,
                    mode="lines",
                    line={
                        "color": style.COLOURS[group.structure_type],
                        "dash": dash,
                        "width": 1 + WIDTHS[group.ions],
                    },
                    name=title,
                    legendgroup=title,
                    showlegend=title not in named,
                    hovertemplate="x = %{x:.4f}<br>%{y:.0f} K",
                ),
                **at,
            )
            named.add(title)
        axis = {"title_text": style.axis_html(group.system), "range": [0, 1]}
        page.update_xaxes(**axis, **at)
    page.update_yaxes(rangemode="tozero", tickformat="d")
    page.update_yaxes(title_text="temperature (K)", col=1)
    page.update_layout(height=90 + 400 * down)
    return page


def check(found: dict[str, Any]) -> None:
    if not found["rows"]:
        first = found["missing"][0]
        raise InputError(f"{first['needed_for']} have nothing to be drawn from yet: `{first['command']}` is needed")


def check_gaps(found: dict[str, Any]) -> None:
    if not found["fits"]:
        check(found)
    if not found["rows"]:
        raise InputError("no miscibility gap to draw: every fit mixes at all temperatures (see --format table)")
