"""Energies of the other structure types against rocksalt, with the range of x in which rocksalt is lowest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aiida_hardcoat.catalogue.figures import style
from aiida_hardcoat.catalogue.figures.curves import Curve, curve_figure, curve_page
from aiida_hardcoat.catalogue.thermodynamics import Series, by_series
from aiida_hardcoat.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from plotly.graph_objects import Figure as PlotlyFigure

Row = dict[str, Any]

TITLE = "energy against B1"


def stability_figure(found: dict[str, Any]) -> Figure:
    """Energy against B1 of the same composition, a panel for each system, below zero where B1 is not preferred.

    Straight lines join the points. The bar along zero is the range in which B1 is lowest by these lines; its ends are
    written beside it. With both treatments of the ions it is that of relaxed ones.

    :param found: what `thermodynamics.stability_data` gives.
    :raises InputError: where nothing can be compared, naming what to compute.
    """
    check(found)
    figure, panels = curve_figure(found["rows"], "structural_stability", joined(found["rows"]), TITLE)
    low, high = panels[0][1].get_ylim()
    panels[0][1].set_ylim(low - 0.05 * (high - low), high)
    for system, axes in panels:
        for start, end in shown_ranges(found["preferred"], system):
            axes.plot([start, end], [0, 0], color=style.COLOURS["B1"], linewidth=4, alpha=0.55, zorder=1)
            for x, side in ((start, "left"), (end, "right")):
                if 0 < x < 1:
                    # Below the bar there is nothing: all curves are above it.
                    beside: dict[str, Any] = {
                        "xytext": (0, -11),
                        "textcoords": "offset points",
                        "ha": side,
                        "fontsize": 7.5,
                    }
                    axes.annotate(f"x = {x:.2f}", (x, 0), color=style.COLOURS["B1"], **beside)
    style.curve_legend(figure, found["rows"])
    return figure


def stability_page(found: dict[str, Any]) -> PlotlyFigure:
    """As `stability_figure`, by plotly."""
    check(found)
    return curve_page(found["rows"], "structural_stability", joined(found["rows"]), TITLE)


def shown_ranges(preferred: Sequence[Row], system: str) -> list[tuple[float, float]]:
    rows = sorted((row for row in preferred if row["system"] == system), key=lambda row: row["ions"] != "relaxed")
    return list(rows[0]["linear"]) if rows else []


def joined(rows: Sequence[Row]) -> Curve:
    groups = by_series(rows)

    def curve(system: str, kind: str, ions: str) -> tuple[np.ndarray, np.ndarray] | None:
        members = groups.get(Series(system, kind, ions))
        if members is None:
            return None
        return np.array([row["x"] for row in members]), np.array([row["structural_stability"] for row in members])

    return curve


def check(found: dict[str, Any]) -> None:
    if not found["rows"]:
        first = found["missing"][0]
        raise InputError(f"no structure type can be set against B1 yet: `{first['command']}` is needed")
