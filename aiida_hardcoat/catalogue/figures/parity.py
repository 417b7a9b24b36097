"""Learned against computed moduli: the table, and a square panel for each of B, G, E and nu."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aiida_hardcoat.catalogue.figures import style
from aiida_hardcoat.catalogue.tables.learned import errors, predicted_series
from aiida_hardcoat.catalogue.tables.series import PLACE
from aiida_hardcoat.catalogue.thermodynamics import frame
from aiida_hardcoat.data.catalogue import DEFAULT_LABEL
from aiida_hardcoat.data.prediction import PROPERTIES
from hardcoat_ml.figures import TITLES, formula_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from plotly.graph_objects import Figure as PlotlyFigure

Row = dict[str, Any]

KINDS = ("", "_low", "_high")
EXTREMES = 3
"""So many of the largest deviations are named in each panel."""


def parity_data(
    level: str | None = None,
    *,
    system: str | None = None,
    ions: str | None = None,
    model: str | None = None,
    label: str = DEFAULT_LABEL,
) -> dict[str, Any]:
    """Materials with computed moduli beside those that one model learned, at one level of theory.

    ``rows`` have the four properties, ``predicted_*`` with the ends ``predicted_*_low`` and ``predicted_*_high`` of the
    90 % interval, ``*_difference`` (computed minus learned), ``far`` and ``known_end_member``: an end member that the
    model has seen, which is drawn but not scored. ``scores`` has n, MAE and MARE of each property over the others,
    ``missing`` the materials without a prediction.

    :param level: see :func:`aiida_hardcoat.catalogue.selection.one_level`.
    :param system: e.g. ``Al-Ti-N``, with its end members.
    :param model: name, fingerprint or start of the sha256 of a model; by default that of the newest prediction.
    :raises InputError: where no single level is chosen, or no entry has a prediction of the model.
    """
    found = predicted_series(level, system=system, ions=ions, model=model, label=label)
    rows = [parity_row(row, predictions) for row, predictions in found.known]
    return {
        **frame(found.level),
        "model": found.model,
        "rows": rows,
        "scores": scores_of(rows),
        "missing": found.not_predicted,
    }


def parity_row(row: Row, predictions: Sequence[Row]) -> Row:
    """A material with the means of what the model says of its structures."""
    learned = {
        f"predicted_{name}{kind}": statistics.fmean(each[f"{name}{kind}"] for each in predictions)
        for name in PROPERTIES
        for kind in KINDS
    }
    differences = {
        f"{name}_difference": None if row[name] is None else row[name] - learned[f"predicted_{name}"]
        for name in PROPERTIES
    }
    seen = any(each["in_training_data"] for each in predictions)
    return {
        **{name: row[name] for name in (*PLACE, *PROPERTIES)},
        **learned,
        **differences,
        "far": any(each["far"] for each in predictions),
        "known_end_member": seen and len(row["fractions"]) == 1,
    }


def scores_of(rows: Sequence[Row]) -> dict[str, Row]:
    tested = [row for row in rows if not row["known_end_member"]]
    return {name: errors(tested, name) for name in PROPERTIES}


def points_of(rows: Sequence[Row], name: str) -> list[Row]:
    """Rows for which the property is defined, the largest deviation first."""
    known = [row for row in rows if row[name] is not None]
    return sorted(known, key=lambda row: (-abs(row[f"{name}_difference"]), row["formula"], row["structure_type"]))


def parity_figure(found: dict[str, Any]) -> Figure:
    """Learned against computed values, with 90 % intervals, the largest deviations named.

    Filled markers are scored. Hollow ones are end members that the model was trained or chosen with.

    :param found: what `parity_data` gives.
    """
    figure = style.new_figure(7.6, 7.7)
    panels = dict(zip(PROPERTIES, figure.subplots(2, 2).flat, strict=True))
    for name, axes in panels.items():
        draw_panel(axes, name, points_of(found["rows"], name), found["scores"][name])
    figure.legend(handles=handles_of(found["rows"]), fontsize=8, frameon=False, loc="outside lower center", ncols=4)
    figure.draw_without_rendering()
    for name, axes in panels.items():
        name_extremes(figure, axes, name, points_of(found["rows"], name))
    return figure


def draw_panel(axes: Axes, name: str, points: Sequence[Row], score: Row) -> None:
    title, symbol, unit = TITLES[name]
    limits = limits_of(points, name)
    axes.plot(limits, limits, color=style.GREY, linewidth=0.8, zorder=1)
    axes.vlines(
        [row[name] for row in points],
        [row[f"predicted_{name}_low"] for row in points],
        [row[f"predicted_{name}_high"] for row in points],
        color=[style.COLOURS[row["structure_type"]] for row in points],
        alpha=0.35,
        linewidth=0.6,
        zorder=2,
    )
    style.scatter(axes, points, name, f"predicted_{name}", looks, s=24, zorder=3)
    of = f"{symbol} ({unit})" if unit else symbol
    axes.set(xlim=limits, ylim=limits, aspect="equal", xlabel=f"computed {of}", ylabel=f"learned {of}")
    axes.locator_params(nbins=6)
    axes.set_yticks([tick for tick in axes.get_xticks() if limits[0] <= tick <= limits[1]])
    axes.set(xlim=limits, ylim=limits)
    axes.set_title(title, fontsize=10, loc="left")
    axes.text(0.03, 0.97, score_text(score, unit), transform=axes.transAxes, va="top", fontsize=8, linespacing=1.4)
    style.plain(axes)


def looks(row: Row) -> dict[str, Any]:
    colour = style.COLOURS[row["structure_type"]]
    return {"marker": shape(row), **style.face_options(colour, filled=not row["known_end_member"])}


def shape(row: Row) -> str:
    """Of a marker, by the treatment of the ions."""
    return "o" if row["ions"] == "relaxed" else "s"


def limits_of(points: Sequence[Row], name: str) -> tuple[float, float]:
    """One range for both axes, of all values and intervals that are not much wider than the values' own range."""
    values = [value for row in points for value in (row[name], row[f"predicted_{name}"])] or [0.0, 1.0]
    ends = [row[f"predicted_{name}_{kind}"] for row in points for kind in ("low", "high")]
    reach = 0.35 * (max(values) - min(values)) or 0.2 * abs(max(values)) or 1.0
    low, high = min(values) - reach, max(values) + reach
    inside = [*values, *(min(max(end, low), high) for end in ends)]
    margin = 0.04 * (max(inside) - min(inside))
    return min(inside) - margin, max(inside) + margin


def score_text(score: Row, unit: str) -> str:
    if not score["n"]:
        return "nothing to score"
    lines = [f"MAE {score['mae']:.{1 if unit else 3}f} {unit}".rstrip()]
    if unit and score["mare"] is not None:
        lines.append(f"MARE {100 * score['mare']:.1f} %")
    return "\n".join([*lines, f"n = {score['n']}"])


def handles_of(rows: Sequence[Row]) -> list[Line2D]:
    ions, types = style.ions_and_types(rows)
    handles = [style.dot(kind, style.COLOURS[kind]) for kind in types]
    if len(ions) > 1:
        handles += [style.dot(f"ions {each}", style.GREY, marker=shape({"ions": each})) for each in ions]
    if any(row["known_end_member"] for row in rows):
        handles.append(style.dot("end member in the training data, not scored", style.GREY, markerfacecolor="white"))
    return [*handles, style.dot("90 % interval", style.GREY, marker="", linestyle="-", linewidth=0.8, alpha=0.6)]


def name_extremes(figure: Figure, axes: Axes, name: str, points: Sequence[Row]) -> None:
    tested = [row for row in points if not row["known_end_member"]]
    labels = [
        style.Label(
            row[name],
            row[f"predicted_{name}"],
            f"{formula_text(row['formula'])} {row['structure_type']}",
            style.COLOURS[row["structure_type"]],
        )
        for row in tested[:EXTREMES]
    ]
    style.place_labels(figure, axes, labels, [(row[name], row[f"predicted_{name}"]) for row in points])


def parity_page(found: dict[str, Any]) -> PlotlyFigure:
    """As `parity_figure`, by plotly; every point tells its formula."""
    import plotly.graph_objects as go

    page = style.new_page(2, 2, [TITLES[name][0] for name in PROPERTIES], vertical_spacing=0.14)
    groups = sorted({(row["structure_type"], row["ions"], row["known_end_member"]) for row in found["rows"]})
    for place, name in enumerate(PROPERTIES):
        at = {"row": place // 2 + 1, "col": place % 2 + 1}
        _, symbol, unit = TITLES[name]
        points = points_of(found["rows"], name)
        limits = limits_of(points, name)
        line = {"color": style.GREY, "width": 1}
        page.add_trace(
            go.Scatter(x=limits, y=limits, mode="lines", line=line, hoverinfo="skip", showlegend=False), **at
        )
        for kind, ions, seen in groups:
            key = (kind, ions, seen)
            members = [row for row in points if (row["structure_type"], row["ions"], row["known_end_member"]) == key]
            if not members:
                continue
            title = f"{kind}, ions {ions}" + (", in the training data" if seen else "")
            page.add_trace(
                go.Scatter(
                    x=[row[name] for row in members],
                    y=[row[f"predicted_{name}"] for row in members],
                    mode="markers",
                    marker={
                        "symbol": ("circle" if ions == "relaxed" else "square") + ("-open" if seen else ""),
                        "color": style.COLOURS[kind],
                        "size": 8,
                    },
                    error_y={
                        "type": "data",
                        "symmetric": False,
                        "array": [row[f"predicted_{name}_high"] - row[f"predicted_{name}"] for row in members],
                        "arrayminus": [row[f"predicted_{name}"] - row[f"predicted_{name}_low"] for row in members],
                        "thickness": 0.7,
                        "width": 0,
                    },
                    text=[hover_text(row, name, symbol, unit) for row in members],
                    hovertemplate="%{text}<extra></extra>",
                    name=title,
                    legendgroup=title,
                    showlegend=place == 0,
                ),
                **at,
            )
        of = f"{symbol} ({unit})" if unit else symbol
        score = score_text(found["scores"][name], unit).replace("\n", "<br>")
        inside = {"xref": "x domain", "yref": "y domain", "showarrow": False, "align": "left"}
        page.add_annotation(text=score, x=0.02, y=0.98, xanchor="left", yanchor="top", **inside, **at)
        page.update_xaxes(title_text=f"computed {of}", range=limits, **at)
        page.update_yaxes(title_text=f"learned {of}", range=limits, **at)
    page.update_layout(height=1000, legend={"orientation": "h", "y": -0.08})
    return page


def hover_text(row: Row, name: str, symbol: str, unit: str) -> str:
    form = ".1f" if unit else ".3f"
    learned, low, high = (row[f"predicted_{name}{kind}"] for kind in KINDS)
    return (
        f"{style.material_html(row)}<br>computed {symbol} {row[name]:{form}} {unit}<br>learned {learned:{form}} {unit} "
        f"({low:{form}} to {high:{form}})"
    )
