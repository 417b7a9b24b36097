"""The tables drawn, each from the dict that its function gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiida_hardcoat.catalogue.figures.style import (
    BLUE,
    COLOURS,
    CYCLE,
    GREY,
    check_target,
    new_figure,
    plain,
    system_text,
)
from aiida_hardcoat.catalogue.tables.learned import SETS, TEST_SET
from aiida_hardcoat.catalogue.tables.relaxation import ALL, QUANTITIES
from aiida_hardcoat.catalogue.tables.series import CONSTANTS, changed, metals_of
from aiida_hardcoat.data.prediction import PROPERTIES
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.prototypes import STRUCTURE_TYPES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")

TITLES = {
    **{name: f"$C_{{{name[1:]}}}$" for name in CONSTANTS},
    "bulk_modulus": "$B$",
    "shear_modulus": "$G$",
    "youngs_modulus": "$E$",
    "poisson_ratio": "$ν$",
    "hardness_chen_2011": "$H$",
}
UNITS = {"poisson_ratio": ""}
GPA = " (GPa)"
SHAPES = "osvD^"
"""Markers of the constants, so that colour is not all that tells them apart."""
CHANGED = "x"
_COLUMN, _ROW = 3.1, 2.7
"""Size of a panel, inches."""


def check_figure_path(path: str | Path) -> Path:
    """The path, when a table can be drawn there; asked before the table is made.

    :raises InputError: for another suffix than those of :data:`FORMATS`, or a folder that is not there.
    """
    target = Path(path)
    if target.suffix[1:].lower() not in FORMATS:
        raise InputError(f"'{target.name}' is no figure of a table: end its name in .png, .svg or .pdf")
    return check_target(target)


def table_figure(found: Mapping[str, Any]) -> Figure:
    """The figure of any of the three tables.

    :raises InputError: where there is nothing to draw.
    """
    draw: dict[int, Callable[[Mapping[str, Any]], Figure]] = {
        1: relaxation_figure,
        2: constants_figure,
        3: learned_figure,
    }
    return draw[found["table"]](found)


def relaxation_figure(found: Mapping[str, Any]) -> Figure:
    """Bars of the mean absolute relative error of clamped ions, by quantity and structure type.

    :param found: what `relaxation.relaxation_table` gives.
    :raises InputError: where no pair is there.
    """
    shares = {
        (row["structure_type"], row["quantity"]): 100 * row["mare"] for row in found["rows"] if row["mare"] is not None
    }
    quantities = [name for name in QUANTITIES if (ALL, name) in shares]
    kinds = [kind for kind in STRUCTURE_TYPES if any((kind, name) in shares for name in quantities)]
    if not kinds:
        raise InputError("nothing to draw: no material is there with relaxed and with clamped ions")
    figure = new_figure(6.4, 3.2)
    axes = figure.subplots()
    width = 0.8 / len(kinds)
    for place, kind in enumerate(kinds):
        pairs = sum(pair["structure_type"] == kind for pair in found["pairs"])
        known = [(number, shares[kind, name]) for number, name in enumerate(quantities) if (kind, name) in shares]
        at = [number + (place - (len(kinds) - 1) / 2) * width for number, _ in known]
        label = f"{kind} ({pairs} pair{'s' * (pairs != 1)})"
        axes.bar(at, [share for _, share in known], 0.92 * width, color=COLOURS[kind], label=label)
    axes.set_xticks(range(len(quantities)), [TITLES[name] for name in quantities])
    axes.set(ylabel="mean absolute relative error (%)", xlim=(-0.6, len(quantities) - 0.4))
    axes.legend(fontsize=8, frameon=False, ncols=len(kinds), loc="lower left", bbox_to_anchor=(0, 1))
    plain(axes)
    axes.tick_params(axis="x", length=0, labelsize=9)
    return figure


def constants_figure(found: Mapping[str, Any]) -> Figure:
    """Elastic constants against x, a row of panels for each system of two metals and a column for each structure type.

    Filled markers are the entries, with their spread over quasirandom structures; open ones are the first published
    table that knows the material.

    :param found: what `constants.constants_table` gives.
    :raises InputError: where no alloy of two metals is there.
    """
    rows = found["rows"]
    systems = sorted({row["system"] for row in rows if len(metals_of(row["system"])) == 2})
    panels = {
        (system, kind): points
        for system in systems
        for kind in STRUCTURE_TYPES
        if len(points := points_of(rows, system, kind)) > 1
    }
    if not panels:
        raise InputError("nothing to draw: no alloy of two metals is there with another composition beside it")
    systems = [system for system in systems if any(place[0] == system for place in panels)]
    kinds = [kind for kind in STRUCTURE_TYPES if any(place[1] == kind for place in panels)]
    figure = new_figure(max(_COLUMN * len(kinds), 3.8), _ROW * len(systems) + 0.45)
    grid = figure.subplots(len(systems), len(kinds), squeeze=False)
    for system, line in zip(systems, grid, strict=True):
        for kind, axes in zip(kinds, line, strict=True):
            draw_constants(axes, system, kind, panels.get((system, kind), []))
        line[0].set_ylabel(f"elastic constant{GPA}")
    constants = [name for name in CONSTANTS if any(row[name] is not None for row in rows)]
    names = list(dict.fromkeys(name for row in rows for name in row["references"]))
    shown = [row for points in panels.values() for _, row in points]
    became = sorted({row["relaxed_structure_type"] for row in shown if changed(row)})
    draw_legend(figure, constants, names, became)
    return figure


Point = tuple[float, Mapping[str, Any]]


def points_of(rows: Sequence[Mapping[str, Any]], system: str, structure_type: str) -> list[Point]:
    """(x, row) of a system of two metals and its end members, rising."""
    first, second = sorted(metals_of(system))
    ends = {f"{first}-N": 1.0, f"{second}-N": 0.0}
    same = [row for row in rows if row["structure_type"] == structure_type]
    points = [(ends.get(row["system"], row["x"]), row) for row in same if row["system"] in (system, *ends)]
    return sorted(points, key=lambda point: point[0])


def draw_constants(axes: Axes, system: str, structure_type: str, points: Sequence[Point]) -> None:
    """The constants of one system in one structure type; a cross on what became another structure."""
    first, second = sorted(metals_of(system))
    for number, name in enumerate(CONSTANTS):
        known = [(x, row) for x, row in points if row[name] is not None]
        if not known:
            continue
        colour, marker = CYCLE[number], SHAPES[number]
        axes.errorbar(
            [x for x, _ in known],
            [row[name] for _, row in known],
            yerr=[row["spread"].get(name) or 0.0 for _, row in known],
            color=colour,
            marker=marker,
            markersize=4.5,
            linewidth=1.1,
            elinewidth=0.8,
            capsize=2,
        )
        became = [(x, row) for x, row in known if changed(row)]
        if became:
            axes.plot(
                [x for x, _ in became], [row[name] for _, row in became], CHANGED, color=GREY, markersize=7, zorder=4
            )
        published = [(x, next(iter(row["references"].values())).get(name)) for x, row in known if row["references"]]
        open_ones = [(x, value) for x, value in published if value is not None]
        if open_ones:
            axes.plot(
                *zip(*open_ones, strict=True), marker, color=colour, markerfacecolor="none", markersize=8, zorder=4
            )
    axes.set_title(f"{system_text(system)}, {structure_type}", fontsize=9, loc="left")
    axes.set(xlim=(-0.05, 1.05), xlabel=f"$x$ in {first}$_x${second}$_{{1-x}}$N")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "¼", "½", "¾", "1"])
    axes.locator_params(axis="y", nbins=6)
    plain(axes)
    if not points:
        axes.set_axis_off()


def draw_legend(figure: Figure, constants: Sequence[str], published: Sequence[str], became: Sequence[str]) -> None:
    """What the colours, open markers and crosses of :func:`constants_figure` stand for."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=CYCLE[number], marker=SHAPES[number], markersize=4.5, linewidth=1.1, label=TITLES[name])
        for number, name in enumerate(CONSTANTS)
        if name in constants
    ]
    grey: dict[str, Any] = {"color": GREY, "linewidth": 0}
    if published:
        names = ", ".join(published)
        handles.append(Line2D([], [], **grey, marker="o", markersize=8, markerfacecolor="none", label=names))
    if became:
        handles.append(Line2D([], [], **grey, marker=CHANGED, markersize=7, label=f"became {', '.join(became)}"))
    figure.legend(handles=handles, fontsize=8, frameon=False, ncols=len(handles), loc="outside upper left")


def learned_figure(found: Mapping[str, Any]) -> Figure:
    """Mean absolute errors of the learned moduli by set, a panel for each modulus.

    :param found: what `learned.learned_table` gives.
    :raises InputError: where no error is known.
    """
    rows = [row for row in found["rows"] if row["mae"] is not None]
    if not rows:
        raise InputError("nothing to draw: no error of the model is known")
    names = [name for name in (TEST_SET, *SETS) if any(row["set"] == name for row in rows)]
    figure = new_figure(6.6, 1.3 + 0.5 * len(names))
    grid = figure.subplots(2, 2, sharey=True)
    for quantity, axes in zip(PROPERTIES, grid.flat, strict=True):
        draw_errors(axes, [row for row in rows if row["quantity"] == quantity], names)
        axes.set_xlabel(f"MAE of {TITLES[quantity]}{UNITS.get(quantity, GPA)}")
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, frameon=False, ncols=len(handles), loc="outside upper left")
    return figure


STYLES: dict[str | None, tuple[str, dict[str, Any]]] = {
    None: ("test set of the model", {"color": GREY, "marker": "D"}),
    "relaxed": ("relaxed ions", {"color": BLUE, "marker": "o"}),
    "clamped": ("clamped ions", {"color": BLUE, "marker": "o", "markerfacecolor": "white"}),
}
"""Name and look of points by the treatment of the ions."""


def draw_errors(axes: Axes, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """A point for each set and treatment of the ions, on a thin line from zero."""
    apart: dict[str | None, float] = {None: 0.0, "relaxed": -0.13, "clamped": 0.13}
    for ions, (label, look) in STYLES.items():
        known = [row for row in rows if row["ions"] == ions]
        places = [names.index(row["set"]) + apart[ions] for row in known]
        axes.hlines(places, 0, [row["mae"] for row in known], color=look["color"], linewidth=0.8, alpha=0.5)
        axes.plot([row["mae"] for row in known], places, linestyle="none", markersize=5, label=label, **look)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=6)
    plain(axes)
    axes.tick_params(axis="y", length=0)
