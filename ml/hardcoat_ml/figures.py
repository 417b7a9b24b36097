"""Figures of the learned moduli from plain tables: parity, loss curves, coverage.

Each function returns a matplotlib `Figure` that belongs to nobody else: no pyplot, no window, no state left behind.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from hardcoat_ml.errors import InputError
from hardcoat_ml.evaluation import ANIONS
from hardcoat_ml.metrics import FloatArray, paired, scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")

TITLES = {
    "bulk_modulus": ("Bulk modulus", "B", "GPa"),
    "shear_modulus": ("Shear modulus", "G", "GPa"),
    "youngs_modulus": ("Young's modulus", "E", "GPa"),
    "poisson_ratio": ("Poisson's ratio", "ν", ""),
}
"""Name, symbol and unit of each property."""

_BLUE, _GREY, _RED = "#2a6f97", "#8a8a8a", "#b23a48"
_MANY = 200
"""With more points than this their density is shown by colour, and intervals would be a smear."""
_BINS = 80
_LABELLED_MEMBERS = 8


def parity_figure(
    true: Mapping[str, ArrayLike],
    predicted: Mapping[str, ArrayLike],
    labels: Sequence[str] = (),
    low: Mapping[str, ArrayLike] | None = None,
    high: Mapping[str, ArrayLike] | None = None,
    extremes: int = 3,
    truth: str = "computed",
) -> Figure:
    """Learned against computed values, a square panel for each property, with the scores in its corner.

    :param true: by property ``(n,)``, GPa and 1; so are ``predicted`` and the ends of intervals ``low``, ``high``,
        which are drawn for up to 200 points.
    :param labels: ``(n,)`` formulas; the ``extremes`` points with the largest errors are named by them.
    :param truth: how the horizontal axis calls its values.
    :raises InputError: for no rows, unequal lengths, or numbers that are not finite.
    """
    from matplotlib.figure import Figure

    columns = 2 if len(true) > 1 else 1
    rows = -(-len(true) // columns)
    figure = Figure(figsize=(4.2 * columns, 4.1 * rows), layout="constrained", dpi=150)
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for name, axes in zip(true, panels, strict=False):
        x, y = paired(true[name], predicted[name])
        limits = _limits(x, y)
        axes.plot(limits, limits, color=_GREY, linewidth=0.8, zorder=1)
        if low is not None and high is not None and len(x) <= _MANY:
            a, b = paired(low[name], high[name])
            axes.vlines(x, a, b, color=_BLUE, alpha=0.3, linewidth=0.9, zorder=2)
        _points(axes, x, y, limits)
        if len(labels):
            _name_extremes(axes, x, y, labels, limits, extremes)
        title, symbol, unit = TITLES[name]
        of = f"{symbol} ({unit})" if unit else symbol
        axes.set(xlim=limits, ylim=limits, aspect="equal", xlabel=f"{truth} {of}", ylabel=f"learned {of}")
        axes.set_title(title, fontsize=10, loc="left")
        axes.text(0.03, 0.97, _score_text(name, x, y), transform=axes.transAxes, va="top", fontsize=8, linespacing=1.4)
        _plain(axes)
        axes.locator_params(nbins=6)
        axes.set_yticks([tick for tick in axes.get_xticks() if limits[0] <= tick <= limits[1]])
        axes.set(xlim=limits, ylim=limits)
    for axes in panels:
        axes.set_visible(False)
    return figure


def loss_figure(
    history: Sequence[Mapping[str, Any]], training: str = "training", validation: str = "validation"
) -> Figure:
    """Training and validation loss of every member against the epoch.

    :param history: rows with ``epoch``, ``member``, ``training_loss`` and ``validation_loss``; a loss that is None or
        not finite is left out.
    :param training: name of the training loss in the legend; ``validation``: of the other.
    :raises InputError: for no rows.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    if not history:
        raise InputError("There is no epoch to draw yet: train first.")
    members = sorted({row["member"] for row in history})
    figure = Figure(figsize=(6.2, 4.0), layout="constrained", dpi=150)
    axes = figure.subplots()
    few = len(members) <= _LABELLED_MEMBERS
    for index, member in enumerate(members):
        colour = colormaps["tab10"](index) if few else colormaps["viridis"](index / (len(members) - 1))
        rows = sorted((row for row in history if row["member"] == member), key=lambda row: row["epoch"])
        for column, alpha, thickness in (("training_loss", 0.45, 0.8), ("validation_loss", 1.0, 1.3)):
            losses = np.array([row.get(column) for row in rows], dtype=np.float64)
            epochs = np.array([row["epoch"] for row in rows])
            drawn = np.isfinite(losses) & (losses > 0)
            marker = "." if drawn.sum() == 1 else None
            axes.plot(epochs[drawn], losses[drawn], color=colour, alpha=alpha, linewidth=thickness, marker=marker)
    axes.set(xlabel="epoch", ylabel="loss (z-scored targets)", yscale="log")
    kinds = [
        Line2D([], [], color="black", linewidth=1.3, label=validation),
        Line2D([], [], color="black", linewidth=0.8, alpha=0.45, label=training),
    ]
    shown = [Line2D([], [], color=colormaps["tab10"](i), label=f"member {m}") for i, m in enumerate(members) if few]
    axes.legend(handles=[*kinds, *shown], fontsize=8, frameon=False, ncols=2 if len(shown) > 3 else 1)
    _plain(axes)
    return figure


def coverage_figure(reports: Mapping[str, Mapping[str, Mapping[str, float | None]]], level: float = 0.9) -> Figure:
    """Measured coverage of intervals by domain and property, with two standard errors, beside the level.

    :param reports: by domain ("random split", "nitrides held out", ...), by property, what
        `evaluation.coverage_report` gives.
    :raises InputError: for no domains.
    """
    from matplotlib.figure import Figure

    if not reports:
        raise InputError("There is no domain to draw.")
    properties = list(next(iter(reports.values())))
    figure = Figure(figsize=(6.2, 1.3 + 0.55 * len(reports)), layout="constrained", dpi=150)
    axes = figure.subplots()
    colours = dict(zip(TITLES, (_BLUE, _RED, "#6a994e", "#7b5ea7"), strict=True))
    for index, name in enumerate(properties):
        places = np.arange(len(reports)) + (index - (len(properties) - 1) / 2) * 0.16
        rows = [report[name] for report in reports.values()]
        axes.errorbar(
            np.array([row["coverage"] for row in rows], dtype=np.float64),
            places,
            xerr=[2 * (row["standard_error"] or 0.0) for row in rows],
            fmt="o",
            markersize=4,
            linewidth=1,
            color=colours[name],
            label=TITLES[name][1],
        )
    axes.axvline(level, color=_GREY, linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(reports)), [f"{domain} ({_rows(report)})" for domain, report in reports.items()])
    axes.invert_yaxis()
    axes.set_xlabel(f"share of truths inside their {level:.0%} intervals")
    axes.set_xlim(right=1.0)
    axes.legend(fontsize=8, frameon=False, ncols=len(properties), loc="lower left", bbox_to_anchor=(0, 1))
    _plain(axes)
    return figure


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as the suffix says, whole or not at all.

    :raises InputError: for another suffix than png and svg, or a folder that is not there.
    """
    target = check_path(path)
    part = target.with_name(f".{target.name}.part")
    try:
        figure.savefig(part, format=target.suffix[1:].lower())
        os.replace(part, target)
    except OSError as error:
        raise InputError(f"Cannot write {target}: {error.strerror or error}.") from None
    finally:
        part.unlink(missing_ok=True)
    return target


def check_path(path: str | Path) -> Path:
    """The path, when a figure can be saved there; asked before the work that leads to the figure.

    :raises InputError: as `save`.
    """
    target = Path(path)
    if target.suffix[1:].lower() not in FORMATS:
        raise InputError(f"'{target.name}' is no figure: end its name in .{' or .'.join(FORMATS)}.")
    if not target.parent.is_dir():
        raise InputError(f"There is no folder {target.parent}: make it first.")
    return target


def formula_text(formula: str) -> str:
    """A canonical formula for a label: anions last, no ones, digits below the line. ``O2Ti1`` becomes TiO_2."""
    parts = re.findall(r"([A-Z][a-z]?)([\d.]*)", formula)
    parts.sort(key=lambda part: -ANIONS.index(part[0]) if part[0] in ANIONS else -len(ANIONS))
    return "".join(symbol if count in ("", "1") else f"{symbol}$_{{{count}}}$" for symbol, count in parts)


def _rows(report: Mapping[str, Mapping[str, float | None]]) -> str:
    return f"n = {next(iter(report.values()))['n']:,}"


def _limits(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """One range for both axes: all truths, and predictions no further beyond them than half their range.

    It starts at zero where little is below it, as moduli are.
    """
    reach = 0.5 * float(x.max() - x.min()) or 0.1 * abs(float(x[0])) or 1.0
    smallest = max(min(x.min(), y.min()), x.min() - reach)
    largest = min(max(x.max(), y.max()), x.max() + reach)
    margin = 0.05 * (largest - smallest)
    return (0.0 if 0 <= smallest < 0.2 * largest else float(smallest - margin)), float(largest + margin)


def _points(axes: Axes, x: FloatArray, y: FloatArray, limits: tuple[float, float]) -> None:
    """Points by their density; those beyond the range are triangles at its edge."""
    above, below = y > limits[1], y < limits[0]
    for beyond, marker, edge in ((above, "^", limits[1]), (below, "v", limits[0])):
        axes.scatter(
            x[beyond],
            np.full(beyond.sum(), edge),
            s=22,
            color=_RED,
            marker=marker,
            linewidth=0,
            clip_on=False,
            zorder=5,
        )
    x, y = x[~(above | below)], y[~(above | below)]
    if len(x) <= _MANY:
        axes.scatter(x, y, s=16, color=_BLUE, edgecolor="white", linewidth=0.4, zorder=3)
        return
    density = _density(x, y, limits)
    order = np.argsort(density)
    axes.scatter(
        x[order], y[order], s=7, c=density[order], norm="log", cmap="viridis", linewidth=0, zorder=3, rasterized=True
    )


def _density(x: FloatArray, y: FloatArray, limits: tuple[float, float]) -> FloatArray:
    """Points per bin around each point ``(n,)``, smoothed over five bins."""
    counts, edges, _ = np.histogram2d(x, y, bins=_BINS, range=(limits, limits))
    kernel = np.array([1, 4, 6, 4, 1]) / 16
    for axis in (0, 1):
        counts = np.apply_along_axis(np.convolve, axis, counts, kernel, mode="same")
    column, row = (np.clip(np.searchsorted(edges, values, side="right") - 1, 0, _BINS - 1) for values in (x, y))
    return np.asarray(counts[column, row], dtype=np.float64)


def _name_extremes(
    axes: Axes, x: FloatArray, y: FloatArray, labels: Sequence[str], limits: tuple[float, float], number: int
) -> None:
    """Name the points with the largest errors, but none so near to a named one that the names would overlap.

    The name stands on the side away from the diagonal, where there are fewer points, unless the panel ends there.
    """
    across, up = ((values - limits[0]) / (limits[1] - limits[0]) for values in (x, y.clip(*limits)))
    named: list[int] = []
    for index in np.argsort(-np.abs(y - x)).tolist():
        clear = all(abs(up[index] - up[other]) > 0.05 or abs(across[index] - across[other]) > 0.35 for other in named)
        if len(named) < number and clear:
            named.append(index)
    for index in named:
        left = across[index] > (0.16 if y[index] > x[index] else 0.84)
        axes.annotate(
            formula_text(labels[index]),
            (across[index], up[index]),
            xycoords="axes fraction",
            xytext=(-5 if left else 5, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="bottom" if up[index] < 0.03 else "top" if up[index] > 0.97 else "center",
            fontsize=7,
            color=_RED,
            zorder=4,
        )


def _score_text(name: str, x: FloatArray, y: FloatArray) -> str:
    found = scores(x, y)
    unit = TITLES[name][2]
    digits = 1 if unit else 3
    lines = [f"MAE {found.mae:.{digits}f} {unit}".rstrip(), f"n = {len(x):,}"]
    if found.mare is not None and unit:
        lines.insert(1, f"MARE {100 * found.mare:.1f} %")
    if found.r2 is not None:
        lines.insert(-1, f"R² {found.r2:.3f}")
    return "\n".join(lines)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
