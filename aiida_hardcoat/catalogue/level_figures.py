"""Parity plots of several levels of theory against one reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiida_hardcoat.catalogue.levels import COMPARED
from aiida_hardcoat.errors import InputError
from hardcoat_ml.figures import formula_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {
    "c11": "C$_{11}$",
    "c12": "C$_{12}$",
    "c13": "C$_{13}$",
    "c33": "C$_{33}$",
    "c44": "C$_{44}$",
    "bulk_modulus": "B",
    "shear_modulus": "G",
}
_GREY = "#8a8a8a"
_COLOURS = ("#2a6f97", "#b23a48", "#6a994e", "#7b5ea7", "#c77f2e", "#3d405b", "#1b998b", "#a4508b")
_MARKERS = "osD^vPX*"
_NAMED = 8
"""With more materials than this their names would be a thicket."""
_APART = 0.055
"""Distance of two names, as a share of the panel's width."""
_COLUMNS = 3
_BAND = 0.1
"""Half of the shaded band about the diagonal, as a share of the value."""


def parity_figure(found: dict[str, Any]) -> Figure:
    """A square panel for each quantity: every level of theory, with its own marker, against the reference.

    :param found: what `levels.compare_levels` gives.
    :raises InputError: where the reference has nothing in common with any level.
    """
    from matplotlib.figure import Figure

    points = parity_points(found)
    if not points:
        raise InputError(
            f"nothing to draw: no material is known to '{found['reference']}' and to a level of theory beside it"
        )
    columns = [column["name"] for column in found["columns"]]
    names = [name for name in columns if any(name in panel for panel in points.values())]
    styles = {
        name: {"color": _COLOURS[place % len(_COLOURS)], "marker": _MARKERS[place % len(_MARKERS)]}
        for place, name in enumerate(names)
    }
    rows = -(-(len(points) + 1) // _COLUMNS)  # the last place is the legend's
    figure = Figure(figsize=(3.3 * _COLUMNS, 3.3 * rows), layout="constrained", dpi=150)
    panels = iter(figure.subplots(rows, _COLUMNS, squeeze=False).flat)
    for quantity, axes in zip(points, panels, strict=False):
        draw_panel(axes, quantity, points[quantity], styles, found["reference"])
    empty = list(panels)
    for axes in empty:
        axes.set_axis_off()
    for name in names:
        empty[0].scatter([], [], s=26, linewidth=0.4, edgecolor="white", label=name, **styles[name])
    empty[0].fill_between([], [], [], color=_GREY, alpha=0.15, linewidth=0, label=f"within {100 * _BAND:.0f} %")
    title = f"against {found['reference']}"
    empty[0].legend(fontsize=8, title_fontsize=9, frameon=False, loc="center", title=title, alignment="left")
    return figure


def parity_points(found: dict[str, Any]) -> dict[str, dict[str, list[tuple[float, float, str]]]]:
    """By quantity and column (reference value, value, name of the material), where both are known."""
    points: dict[str, dict[str, list[tuple[float, float, str]]]] = {}
    for quantity in COMPARED["hexagonal"]:
        for material in found["materials"]:
            known = material["values"].get(found["reference"], {}).get(quantity)
            name = f"{formula_text(material['formula'])} {material['structure_type']}"
            for column, values in material["values"].items():
                if column != found["reference"] and known is not None and values.get(quantity) is not None:
                    panel = points.setdefault(quantity, {})
                    panel.setdefault(column, []).append((known, values[quantity], name))
    return points


def draw_panel(
    axes: Axes, quantity: str, panel: dict[str, list[tuple[float, float, str]]], styles: dict[str, Any], reference: str
) -> None:
    """The points of one quantity, the line of equal values in its band, and the name of each material."""
    values = [value for rows in panel.values() for known, computed, _ in rows for value in (known, computed)]
    margin = 0.12 * (max(values) - min(values)) or 0.1 * abs(max(values))
    limits = min(values) - margin, max(values) + margin
    axes.plot(limits, limits, color=_GREY, linewidth=0.8, zorder=1)
    low, high = ([(1 + sign * _BAND) * limit for limit in limits] for sign in (-1, 1))
    axes.fill_between(limits, low, high, color=_GREY, alpha=0.15, linewidth=0, zorder=0)
    for column, rows in panel.items():
        x, y = [row[0] for row in rows], [row[1] for row in rows]
        axes.scatter(x, y, s=26, linewidth=0.4, edgecolor="white", zorder=3, **styles[column])
    name_materials(axes, panel, limits)
    title = TITLES[quantity]
    axes.set(xlim=limits, ylim=limits, aspect="equal", xlabel=f"{title}, {reference} (GPa)", ylabel=f"{title} (GPa)")
    axes.locator_params(nbins=5)
    axes.set_yticks([tick for tick in axes.get_xticks() if limits[0] <= tick <= limits[1]])
    axes.set(xlim=limits, ylim=limits)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def name_materials(axes: Axes, panel: dict[str, list[tuple[float, float, str]]], limits: tuple[float, float]) -> None:
    """A thin line at the reference value of each material, its name above the panel."""
    places = sorted({(known, name) for rows in panel.values() for known, _, name in rows})
    if len(places) > _NAMED:
        return
    free = -float("inf")
    for known, name in places:
        axes.axvline(known, color=_GREY, linewidth=0.5, alpha=0.35, zorder=0)
        free = max((known - limits[0]) / (limits[1] - limits[0]), free)
        axes.text(
            *(free, 1.01, name),
            transform=axes.transAxes,
            rotation=60,
            rotation_mode="anchor",
            fontsize=7,
            color=_GREY,
            va="center",
        )
        free += _APART
