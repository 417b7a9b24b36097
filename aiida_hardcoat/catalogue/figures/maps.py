"""Maps of materials: ductility (Pugh's ratio and Cauchy pressure), and hardness against fracture toughness.

Both are estimates from elastic constants. Pugh's ratio is B/G here: above 1.75 metals are ductile rather than brittle
(S. F. Pugh, Phil. Mag. 45, 823 (1954)). The Cauchy pressure is C12 - C44 of cubic and C13 - C44 of hexagonal crystals:
negative where bonds are directional (D. G. Pettifor, Mater. Sci. Technol. 8, 345 (1992)).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from aiida_hardcoat.catalogue.figures import style
from aiida_hardcoat.catalogue.selection import one_level
from aiida_hardcoat.catalogue.tables.series import PLACE, series
from aiida_hardcoat.catalogue.thermodynamics import ATOMS_PER_FORMULA, frame
from aiida_hardcoat.data.catalogue import DEFAULT_LABEL
from aiida_hardcoat.errors import InputError, nearest
from aiida_hardcoat.physics.hardness import FRACTURE_TOUGHNESS_MODELS, HARDNESS_MODELS
from hardcoat_ml.figures import formula_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from plotly.graph_objects import Figure as PlotlyFigure

Row = dict[str, Any]

PUGH = 1.75
FEW = 30
"""Up to so many points all have their names beside them."""
MODULI = ("bulk_modulus", "shear_modulus")
HARDNESS = "chen_2011"
TOUGHNESS = "niu_2019"
MODEL_NAMES = {
    "chen_2011": "Chen 2011",
    "tian_2012": "Tian 2012",
    "teter_1998": "Teter 1998",
    "mazhnik_oganov_2019": "Mazhnik and Oganov 2019",
    "niu_2019": "Niu 2019",
}


class Axis(NamedTuple):
    """A field of the rows, what the axis is called, and the digits of its values."""

    name: str
    title: str
    digits: int


Plane = tuple[Axis, Axis]
DUCTILITY: Plane = (Axis("cauchy_pressure", "Cauchy pressure (GPa)", 1), Axis("pugh_ratio", "Pugh's ratio B/G", 3))


def ductility_data(
    level: str | None = None, *, system: str | None = None, ions: str | None = None, label: str = DEFAULT_LABEL
) -> dict[str, Any]:
    """Materials with ``pugh_ratio`` (B/G) and ``cauchy_pressure`` (GPa), at one level of theory.

    ``undefined`` names those that have none, because they are not stable.

    :param level: see :func:`aiida_hardcoat.catalogue.selection.one_level`.
    :param system: e.g. ``Al-Ti-N``, with its end members.
    :raises InputError: where no single level is chosen, or there is no entry.
    """
    names = ("pugh_ratio", "cauchy_pressure")
    one = one_level(level, label=label)
    found = series(one, columns=(*names, *MODULI), system=system, ions=ions, label=label)
    rows = [{name: row[name] for name in (*PLACE, *names, *MODULI)} for row in found]
    return {**frame(one), **split(rows, names), "missing": []}


def toughness_data(
    level: str | None = None,
    *,
    system: str | None = None,
    ions: str | None = None,
    hardness: str = HARDNESS,
    toughness: str = TOUGHNESS,
    label: str = DEFAULT_LABEL,
) -> dict[str, Any]:
    """Materials with ``hardness`` (GPa) and ``fracture_toughness`` (MPa m^(1/2)), at one level of theory.

    :param hardness: of :data:`aiida_hardcoat.physics.hardness.HARDNESS_MODELS`.
    :param toughness: of :data:`aiida_hardcoat.physics.hardness.FRACTURE_TOUGHNESS_MODELS`.
    :raises InputError: as `ductility_data`, and for a model that does not exist.
    """
    for model, known in ((hardness, HARDNESS_MODELS), (toughness, FRACTURE_TOUGHNESS_MODELS)):
        if model not in known:
            raise InputError(f"no model '{model}': {nearest(model, list(known))}")
    one = one_level(level, label=label)
    found = series(one, columns=(*MODULI, "volume_per_formula"), system=system, ions=ions, label=label)
    rows = [toughness_row(row, hardness, toughness) for row in found]
    models = {"hardness_model": hardness, "toughness_model": toughness}
    return {**frame(one), **models, **split(rows, ("hardness", "fracture_toughness")), "missing": []}


def toughness_row(row: Row, hardness: str, toughness: str) -> Row:
    """A material with both estimates; None for one whose averages are not positive."""
    bulk, shear = row["bulk_modulus"], row["shear_modulus"]
    defined = bulk is not None and shear is not None and bulk > 0 and shear > 0
    volume = row["volume_per_formula"] / ATOMS_PER_FORMULA
    return {
        **{name: row[name] for name in (*PLACE, *MODULI)},
        "volume_per_atom": volume,
        "hardness": HARDNESS_MODELS[hardness](bulk, shear) if defined else None,
        "fracture_toughness": FRACTURE_TOUGHNESS_MODELS[toughness](bulk, shear, volume) if defined else None,
    }


def split(rows: Sequence[Row], names: Sequence[str]) -> dict[str, list[Row]]:
    """Rows for which all of some quantities are defined, and the others."""
    undefined = [row for row in rows if any(row[name] is None for name in names)]
    return {"rows": [row for row in rows if row not in undefined], "undefined": undefined}


# --- drawing -----------------------------------------------------------------------------------------------------


def ductility_figure(found: dict[str, Any]) -> Figure:
    """Pugh's ratio against the Cauchy pressure, with the two criteria as lines.

    :param found: what `ductility_data` gives.
    :raises InputError: where nothing is defined.
    """
    figure, axes = draw_map(found, DUCTILITY)
    axes.axhline(PUGH, color=style.GREY, linewidth=0.8, linestyle="--", zorder=1)
    axes.axvline(0, color=style.GREY, linewidth=0.8, linestyle="--", zorder=1)
    widen(axes)
    # Stiff bonds go with a low ratio, so that these corners stay empty.
    words: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7, "color": style.GREY}
    for text, place, system, offset, ha, va in (
        (f"ductile, B/G > {PUGH}", (0, PUGH), ("axes fraction", "data"), (3, 3), "left", "bottom"),
        ("brittle", (1, PUGH), ("axes fraction", "data"), (-3, -3), "right", "top"),
        ("directional bonds", (0, 1), ("data", "axes fraction"), (-3, -3), "right", "top"),
        ("metallic bonds", (0, 0), ("data", "axes fraction"), (3, 3), "left", "bottom"),
    ):
        axes.annotate(text, place, xycoords=system, xytext=offset, ha=ha, va=va, **words).set_in_layout(False)
    finish_map(figure, axes, found, DUCTILITY)
    return figure


def widen(axes: Axes) -> None:
    """Both criteria are within the panel, whatever the points are."""
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    across, up = 0.08 * max(right - left, 20), 0.08 * max(top - bottom, 0.2)
    axes.set_xlim(min(left, -across), max(right, across))
    axes.set_ylim(min(bottom, PUGH - up), max(top, PUGH + up))


def toughness_figure(found: dict[str, Any]) -> Figure:
    """Fracture toughness against hardness; what is up and to the right is better in both.

    :param found: what `toughness_data` gives.
    :raises InputError: where nothing is defined.
    """
    plane = toughness_plane(found)
    figure, axes = draw_map(found, plane)
    finish_map(figure, axes, found, plane)
    return figure


def toughness_plane(found: dict[str, Any]) -> Plane:
    hardness, toughness = (MODEL_NAMES.get(found[name], found[name]) for name in ("hardness_model", "toughness_model"))
    return (
        Axis("hardness", f"hardness, {hardness} (GPa)", 1),
        Axis("fracture_toughness", f"fracture toughness, {toughness} (MPa m$^{{1/2}}$)", 2),
    )


def draw_map(found: dict[str, Any], plane: Plane) -> tuple[Figure, Axes]:
    """Points coloured by system and shaped by what the structure became, alloys of one system joined in order of x."""
    check(found)
    rows, (across, up) = found["rows"], plane
    figure = style.new_figure(6.2, 4.6)
    axes = figure.subplots()
    colours = colours_of(rows)
    for system, group in lines_of(rows):
        x, y = [row[across.name] for row in group], [row[up.name] for row in group]
        dash = style.DASHES[group[0]["ions"]]
        axes.plot(x, y, color=colours[system], linewidth=0.7, linestyle=dash, alpha=0.7, zorder=2)
    style.scatter(
        *(axes, rows, across.name, up.name),
        lambda row: style.marker_options(row, colours[row["system"]]),
        s=30,
        zorder=3,
    )
    axes.set(xlabel=across.title, ylabel=up.title)
    axes.margins(0.09)
    style.plain(axes)
    return figure, axes


def finish_map(figure: Figure, axes: Axes, found: dict[str, Any], plane: Plane) -> None:
    """The legend outside, then names."""
    rows, (across, up) = found["rows"], plane
    style.legend_beside(figure, handles_of(rows))
    figure.draw_without_rendering()
    colours = colours_of(rows)
    labels = [
        style.Label(row[across.name], row[up.name], formula_text(row["formula"]), colours[row["system"]])
        for row in named_rows(rows, plane)
    ]
    style.place_labels(figure, axes, labels, [(row[across.name], row[up.name]) for row in rows])


def named_rows(rows: Sequence[Row], plane: Plane) -> list[Row]:
    """What has its name beside it, the most important first: all of few; of many the outermost and the end members."""
    ordered = sorted(rows, key=lambda row: (row["ions"] != "relaxed", row["system"].count("-") > 1, row["formula"]))
    if len(rows) <= FEW:
        return ordered
    outermost = [choose(ordered, key=lambda row: row[axis.name]) for axis in plane for choose in (min, max)]
    unique = {(row["formula"], row["structure_type"], row["ions"]): row for row in outermost}
    ends = [row for row in ordered if row["system"].count("-") == 1 and row["ions"] == ordered[0]["ions"]]
    return [*unique.values(), *(row for row in ends if row not in unique.values())]


def colours_of(rows: Sequence[Row]) -> dict[str, str]:
    """By system; end members are black."""
    systems = sorted({row["system"] for row in rows})
    alloys = [system for system in systems if system.count("-") > 1]
    cycle = [colour for colour in style.CYCLE if colour != style.BLACK]
    colours = {system: cycle[place % len(cycle)] for place, system in enumerate(alloys)}
    return {system: colours.get(system, style.BLACK) for system in systems}


def lines_of(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """The materials of each pseudo-binary system, structure type and treatment of the ions, from end to end."""
    found = []
    for system in sorted({row["system"] for row in rows if row["system"].count("-") == 2}):
        first, second, anion = system.split("-")
        for kind, ions in sorted({(row["structure_type"], row["ions"]) for row in rows if row["system"] == system}):
            same = [row for row in rows if (row["structure_type"], row["ions"]) == (kind, ions)]
            ends = [[row for row in same if row["system"] == f"{metal}-{anion}"] for metal in (second, first)]
            alloys = sorted((row for row in same if row["system"] == system), key=lambda row: row["x"])
            found.append((system, [*ends[0], *alloys, *ends[1]]))
    return found


def handles_of(rows: Sequence[Row]) -> list[Line2D]:
    colours = colours_of(rows)
    handles = [
        style.dot(style.system_text(system), colour) for system, colour in colours.items() if colour != style.BLACK
    ]
    if style.BLACK in colours.values():
        handles.append(style.dot("end members", style.BLACK))
    ions, _ = style.ions_and_types(rows)
    kinds = [kind for kind in style.MARKERS if any(style.became(row) == kind for row in rows)]
    handles += [style.dot(kind, style.GREY, marker=style.MARKERS[kind]) for kind in kinds]
    return [*handles, *style.ions_dots(ions)]


def map_page(found: dict[str, Any], plane: Plane) -> PlotlyFigure:
    """Either map by plotly."""
    import plotly.graph_objects as go

    check(found)
    rows, (across, up) = found["rows"], plane
    page = style.new_page()
    colours = colours_of(rows)
    for system, group in lines_of(rows):
        page.add_trace(
            go.Scatter(
                x=[row[across.name] for row in group],
                y=[row[up.name] for row in group],
                mode="lines",
                line={"color": colours[system], "width": 1, "dash": style.PLOTLY_DASHES[group[0]["ions"]]},
                legendgroup=system,
                showlegend=False,
                hoverinfo="skip",
            )
        )
    for system, colour in colours.items():
        members = [row for row in rows if row["system"] == system]
        symbols = [style.plotly_marker(row)["symbol"] for row in members]
        page.add_trace(
            go.Scatter(
                x=[row[across.name] for row in members],
                y=[row[up.name] for row in members],
                mode="markers",
                marker={"symbol": symbols, "color": colour, "size": 10, "line": {"width": 1.5}},
                text=[map_hover(row, plane) for row in members],
                hovertemplate="%{text}<extra></extra>",
                name=style.system_text(system),
                legendgroup=system,
            )
        )
    page.update_xaxes(title_text=html(across.title))
    page.update_yaxes(title_text=html(up.title))
    page.update_layout(height=640)
    return page


def ductility_page(found: dict[str, Any]) -> PlotlyFigure:
    """As `ductility_figure`, by plotly."""
    page = map_page(found, DUCTILITY)
    line = {"color": style.GREY, "width": 1, "dash": "dash"}
    page.add_hline(y=PUGH, line=line, annotation_text=f"B/G = {PUGH}")
    page.add_vline(x=0, line=line)
    return page


def toughness_page(found: dict[str, Any]) -> PlotlyFigure:
    """As `toughness_figure`, by plotly."""
    return map_page(found, toughness_plane(found))


def map_hover(row: Row, plane: Plane) -> str:
    values = [f"{html(axis.title)}: {row[axis.name]:.{axis.digits}f}" for axis in plane]
    return "<br>".join([style.material_html(row), *values])


def html(title: str) -> str:
    return title.replace("$^{1/2}$", "<sup>1/2</sup>")


def check(found: dict[str, Any]) -> None:
    if not found["rows"]:
        raise InputError(f"nothing to draw: {len(found['undefined'])} materials at {found['level']} are not stable")
