"""Elastic constants against a setting of the engine: how far each value is from the last, as rows and as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hardcoat_ml.figures import formula_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BAND = 0.02
"""Deviation from the last value that the figure marks."""
_BLUE, _GREY = "#2a6f97", "#8a8a8a"


def value_text(value: Any) -> str:
    """A value for a label: meshes as 8x8x8."""
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)


def finished(series: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that have constants."""
    return [row for row in series["rows"] if "failed" not in row]


def deviations(series: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that have constants, each with the largest relative deviation of a constant from the last row's."""
    rows = finished(series)
    last = rows[-1]
    return [
        {**row, "deviation": max(abs(row[name] - last[name]) / abs(last[name]) for name in series["constants"])}
        for row in rows
    ]


def figure(series: dict[str, Any]) -> Figure:
    """A panel for each constant (GPa) against the values, with a band of 2 % around the last."""
    from matplotlib.figure import Figure

    rows, constants = finished(series), series["constants"]
    places = range(len(rows))
    drawn = Figure(figsize=(2.6 * len(constants), 2.8), layout="constrained")
    for name, axes in zip(constants, drawn.subplots(1, len(constants), squeeze=False)[0], strict=True):
        values = [row[name] for row in rows]
        axes.axhspan(values[-1] * (1 - BAND), values[-1] * (1 + BAND), color=_GREY, alpha=0.2, linewidth=0)
        axes.plot(places, values, marker="o", color=_BLUE)
        axes.set_title(f"$C_{{{name[1:]}}}$ (GPa)", fontsize=10)
        axes.set_xticks(places, [value_text(row["value"]) for row in rows], rotation=45, ha="right", fontsize=8)
        axes.set_xlabel(series["setting"], fontsize=8)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    drawn.suptitle(f"{formula_text(series['formula'])} {series['structure_type']}, {series['level']}", fontsize=10)
    return drawn
