"""What all figures share: colours, markers, formulas, names beside points, and files that are the same every time."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from math import cos, pi, sin
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aiida_hardcoat.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from plotly.graph_objects import Figure as PlotlyFigure

FORMATS = ("png", "svg", "pdf", "html")

# Told apart by the colour-blind: Okabe and Ito, https://jfly.uni-koeln.de/color/ (2008), without its yellow.
BLUE, RED, GREEN, PURPLE, ORANGE, SKY, BLACK = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"),
)
CYCLE = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, BLACK)
GREY = "#767676"

COLOURS = {"B1": BLUE, "B3": RED, "B4": GREEN, "Bk": PURPLE}
MARKERS = {"B1": "o", "B3": "s", "B4": "^", "Bk": "h"}
PLOTLY_MARKERS = {"B1": "circle", "B3": "square", "B4": "triangle-up", "Bk": "hexagon2"}
DASHES: dict[str, Any] = {"relaxed": "-", "clamped": "--"}
PLOTLY_DASHES = {"relaxed": "solid", "clamped": "dash"}

_SALT = "aiida-hardcoat"
_METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}
"""What would differ between two runs is left out."""


Look = Callable[[dict[str, Any]], dict[str, Any]]


class Label(NamedTuple):
    """A name for a point, both in data coordinates."""

    x: float
    y: float
    text: str
    colour: str = BLACK


# --- files -------------------------------------------------------------------------------------------------------


def check_target(path: str | Path) -> Path:
    """The path, when a figure can be written there; asked before the work that leads to the figure.

    :raises InputError: for another suffix than those of :data:`FORMATS`, or a folder that is not there.
    """
    target = Path(path)
    if target.suffix[1:].lower() not in FORMATS:
        raise InputError(f"'{target.name}' is no figure: end its name in .{', .'.join(FORMATS[:-1])} or .{FORMATS[-1]}")
    if not target.parent.is_dir():
        raise InputError(f"there is no folder {target.parent}: make it first")
    if target.is_dir():
        raise InputError(f"{target} is a folder: name a file")
    return target


def is_page(target: Path) -> bool:
    """Whether a plotly figure is what is to be written."""
    return target.suffix.lower() == ".html"


def save(figure: Figure | PlotlyFigure, path: str | Path) -> Path:
    """Write a figure as the suffix says, whole or not at all; the same figure gives the same bytes.

    A page holds plotly's JavaScript and needs no network.

    :param figure: plotly's for ``.html``, matplotlib's for all else.
    :raises InputError: as :func:`check_target`, or where the file cannot be written.
    """
    target = check_target(path)
    part = target.with_name(f".{target.name}.part")
    try:
        if is_page(target):
            _write_page(figure, part)
        else:
            _write_image(figure, part, target.suffix[1:].lower())
        os.replace(part, target)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
    return target


def _write_image(figure: Any, path: Path, kind: str) -> None:
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": _SALT}):
        figure.savefig(path, format=kind, metadata=_METADATA[kind])


def _write_page(figure: Any, path: Path) -> None:
    options = {"displaylogo": False, "responsive": True}
    page = figure.to_html(include_plotlyjs=True, full_html=True, div_id="figure", config=options)
    path.write_text(page.replace("<head>", '<head><meta name="viewport" content="width=device-width">', 1), "utf-8")


# --- text ----------------------------------------------------------------------------------------------------------


def formula_html(formula: str) -> str:
    """A formula with its numbers below the line, for plotly."""
    return re.sub(r"([\d./]+)", r"<sub>\1</sub>", formula)


def system_text(system: str) -> str:
    """A system as it is spoken of: ``Al-Ti-N`` with proper dashes."""
    return system.replace("-", "–")


def axis_text(system: str) -> str:
    """What x is, e.g. of Al_xTi_(1-x)N."""
    first, second, anion = system.split("-")
    return f"x in {first}$_x${second}$_{{1{{-}}x}}${anion}"


def axis_html(system: str) -> str:
    """As `axis_text`, for plotly."""
    first, second, anion = system.split("-")
    return f"x in {first}<sub>x</sub>{second}<sub>1−x</sub>{anion}"


# --- matplotlib ----------------------------------------------------------------------------------------------------


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches that belongs to nobody else."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=200)


def plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)


def place_labels(figure: Figure, axes: Axes, labels: Iterable[Label], points: Iterable[tuple[float, float]]) -> None:
    """Write each name beside its point, where it meets no point and no other name; leave out what finds no place.

    :param figure: laid out, by ``draw_without_rendering``.
    :param labels: the most important first.
    :param points: all points of the panel, in data coordinates.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.patheffects import withStroke

    renderer = FigureCanvasAgg(figure).get_renderer()
    unit = figure.dpi / 72
    panel = axes.get_window_extent()
    places = axes.transData.transform(np.array(list(points), dtype=float).reshape(-1, 2))
    taken = np.hstack([places - 2.5 * unit, places + 2.5 * unit])
    for label in labels:
        x, y = axes.transData.transform((label.x, label.y))
        text = axes.annotate(
            label.text,
            (label.x, label.y),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=7,
            color=label.colour,
            path_effects=[withStroke(linewidth=1.5, foreground="white")],
            zorder=6,
        )
        text.set_in_layout(False)
        size = text.get_window_extent(renderer)
        for across, up in _offsets():
            # The nearest corner or edge of the text stands at the offset.
            left = x + across * unit - size.width * (0.5 - 0.5 * _sign(across))
            bottom = y + up * unit - size.height * (0.5 - 0.5 * _sign(up))
            right, top = left + size.width, bottom + size.height
            inside = panel.x0 <= left and right <= panel.x1 and panel.y0 <= bottom and top <= panel.y1
            x0, y0, x1, y1 = taken.T
            if inside and not ((x0 < right) & (left < x1) & (y0 < top) & (bottom < y1)).any():
                text.set_position(((left - x) / unit, (bottom - y) / unit))
                taken = np.vstack([taken, [left - unit, bottom - unit, right + unit, top + unit]])
                if across**2 + up**2 > 12**2:
                    _lead(axes, label, (across, up))
                break
        else:
            text.remove()


def _offsets() -> list[tuple[float, float]]:
    """Where a name may stand about its point, in points of type, the best place first."""
    angles = (0, 4, 1, 7, 3, 5, 2, 6)
    places = [(radius * cos(a * pi / 4), radius * sin(a * pi / 4)) for radius in (5, 9, 14, 20, 28) for a in angles]
    return [(round(across, 6), round(up, 6)) for across, up in places]


def _sign(value: float) -> int:
    return (value > 1e-9) - (value < -1e-9)


def _lead(axes: Axes, label: Label, offset: tuple[float, float]) -> None:
    """A thin line from a point to a name that stands apart."""
    line = axes.annotate(
        "",
        (label.x, label.y),
        xytext=offset,
        textcoords="offset points",
        arrowprops={"arrowstyle": "-", "color": label.colour, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2},
    )
    line.set_in_layout(False)


def grid_of(count: int, columns: int) -> tuple[int, int]:
    """Rows and columns of so many panels."""
    columns = min(count, columns)
    return -(-count // columns), columns


def ions_and_types(rows: Iterable[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Treatments of the ions and structure types that are there, in the order of legends."""
    rows = list(rows)
    ions = [name for name in DASHES if any(row["ions"] == name for row in rows)]
    types = [name for name in COLOURS if any(row["structure_type"] == name for row in rows)]
    return ions, types


def marker_options(row: dict[str, Any], colour: str) -> dict[str, Any]:
    """How a point is drawn: shaped by what the structure became, filled where ions are relaxed."""
    return {"marker": marker_of(row), **face_options(colour, filled=row["ions"] == "relaxed")}


def face_options(colour: str, *, filled: bool) -> dict[str, Any]:
    if filled:
        return {"facecolor": colour, "edgecolor": "white", "linewidth": 0.5}
    return {"facecolor": "white", "edgecolor": colour, "linewidth": 1.0}


def scatter(axes: Axes, rows: Iterable[dict[str, Any]], across: str, up: str, look: Look, **options: Any) -> None:
    """Points of rows, those that look alike in one go: a catalogue may have thousands.

    :param across: the field along x; ``up``: along y.
    :param look: what differs between points, ``options`` what they share.
    """
    groups: dict[tuple[tuple[str, Any], ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(look(row).items()), []).append(row)
    for key, members in groups.items():
        axes.scatter([row[across] for row in members], [row[up] for row in members], **dict(key), **options)


def marker_of(row: dict[str, Any]) -> str:
    return MARKERS[became(row)]


def became(row: dict[str, Any]) -> str:
    """The structure type after relaxation; the parent's where several cells became different ones."""
    kind = str(row["relaxed_structure_type"])
    return kind if kind in MARKERS else str(row["structure_type"])


def dot(label: str, colour: str, **options: Any) -> Line2D:
    """A marker in a legend."""
    from matplotlib.lines import Line2D

    settings: dict[str, Any] = {"color": colour, "marker": "o", "linestyle": "", "markersize": 5.5, **options}
    return Line2D([], [], label=label, **settings)


def ions_dots(ions: Sequence[str], *, on_lines: bool = False) -> list[Line2D]:
    """The two treatments of the ions in a legend, where there are two: filled where they are relaxed."""
    faces = {"relaxed": GREY, "clamped": "white"}
    return [
        dot(f"ions {each}", GREY, markerfacecolor=faces[each], linestyle=DASHES[each] if on_lines else "")
        for each in ions
        if len(ions) > 1
    ]


def curve_legend(figure: Figure, rows: Sequence[dict[str, Any]]) -> None:
    """Beside the panels: structure types, what some became, and the treatments of the ions where there are two."""
    ions, types = ions_and_types(rows)
    fallen = sorted({(row["structure_type"], became(row)) for row in rows if became(row) != row["structure_type"]})
    handles = [dot(kind, COLOURS[kind], marker=MARKERS[kind], linestyle="-") for kind in types]
    handles += [dot(f"{kind}, now {now}", COLOURS[kind], marker=MARKERS[now]) for kind, now in fallen]
    handles += ions_dots(ions, on_lines=True)
    legend_beside(figure, handles)


def legend_beside(figure: Figure, handles: Sequence[Line2D]) -> None:
    figure.legend(handles=handles, fontsize=7.5, frameon=False, handlelength=2.4, loc="outside right upper")


# --- plotly ----------------------------------------------------------------------------------------------------------


def new_page(rows: int = 1, columns: int = 1, titles: Sequence[str] = (), **options: Any) -> PlotlyFigure:
    """Panels in the style of the matplotlib figures."""
    from plotly.subplots import make_subplots

    page = make_subplots(rows=rows, cols=columns, subplot_titles=list(titles) or None, **options)
    page.update_layout(template="simple_white", font={"family": "sans-serif", "size": 13}, hovermode="closest")
    page.update_layout(margin={"l": 70, "r": 20, "t": 60, "b": 60})
    return page


def plotly_marker(row: dict[str, Any]) -> dict[str, Any]:
    """As :func:`marker_options`."""
    symbol = PLOTLY_MARKERS[became(row)] + ("" if row["ions"] == "relaxed" else "-open")
    return {"symbol": symbol, "color": COLOURS[row["structure_type"]], "size": 9, "line": {"width": 1.5}}


def material_html(row: dict[str, Any]) -> str:
    """The first line of what is said of a point."""
    now = f", now {row['relaxed_structure_type']}" if row["relaxed_structure_type"] != row["structure_type"] else ""
    return f"<b>{formula_html(row['formula'])}</b> {row['structure_type']}{now}, ions {row['ions']}"
