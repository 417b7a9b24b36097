"""Young's modulus by direction, as a surface whose distance from the middle is the modulus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from aiida_hardcoat.catalogue.figures import style
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.anisotropy import directional_youngs_modulus, youngs_modulus_extremes
from aiida_hardcoat.physics.stability import is_stable
from hardcoat_ml.figures import formula_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from plotly.graph_objects import Figure as PlotlyFigure

PLACE = ("uuid", "label", "formula", "structure_type", "ions", "level", "level_fingerprint")
STEP = 3
"""Degrees between two points of the surface."""
COLOURS = "viridis"
DIRECTIONS: dict[str, dict[str, tuple[float, float, float]]] = {
    "cubic": {"[100]": (1, 0, 0), "[110]": (1, 1, 0), "[111]": (1, 1, 1)},
    "hexagonal": {"along a": (1, 0, 0), "45° to c": (1, 0, 1), "along c": (0, 0, 1)},
}


def directional_data(entry: ElasticData) -> dict[str, Any]:
    """Young's modulus of an entry on a grid of directions, in the frame of the parent.

    ``rows`` have ``theta`` (degrees from z), ``phi`` (degrees from x in the xy plane) and ``youngs_modulus`` (GPa);
    ``directions`` the modulus along some crystal directions; ``minimum`` and ``maximum`` with their unit vectors.

    :raises InputError: for an entry that is not stable: some direction has no modulus.
    """
    tensor = entry.tensor_gpa
    if not is_stable(tensor):
        raise InputError(f"{entry.label} is not stable: Young's modulus is not defined in every direction")
    theta, phi = angles()
    modulus = directional_youngs_modulus(tensor, unit_vectors(theta, phi))
    extremes = youngs_modulus_extremes(tensor)
    named = DIRECTIONS[entry.crystal_class]
    return {
        **{name: getattr(entry, name) for name in PLACE},
        "rows": [
            {"theta": float(t), "phi": float(p), "youngs_modulus": float(e)}
            for t, p, e in zip(theta.ravel(), phi.ravel(), modulus.ravel(), strict=True)
        ],
        "directions": {name: float(directional_youngs_modulus(tensor, vector)) for name, vector in named.items()},
        "average": entry.youngs_modulus,
        "minimum": extremes.minimum,
        "minimum_direction": extremes.minimum_direction.tolist(),
        "maximum": extremes.maximum,
        "maximum_direction": extremes.maximum_direction.tolist(),
        "missing": [],
    }


def angles() -> tuple[np.ndarray, np.ndarray]:
    """theta and phi of the grid, degrees, ``(181/STEP, 361/STEP)``."""
    theta, phi = np.meshgrid(np.arange(0, 180 + STEP, STEP), np.arange(0, 360 + STEP, STEP), indexing="ij")
    return theta.astype(float), phi.astype(float)


def unit_vectors(theta: np.ndarray, phi: np.ndarray) -> np.ndarray:
    t, p = np.radians(theta), np.radians(phi)
    return np.stack([np.sin(t) * np.cos(p), np.sin(t) * np.sin(p), np.cos(t)], axis=-1)


def surface(found: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Points of the surface ``(..., 3)`` and the modulus ``(...)``, GPa."""
    theta, phi = angles()
    modulus = np.array([row["youngs_modulus"] for row in found["rows"]]).reshape(theta.shape)
    return modulus[..., None] * unit_vectors(theta, phi), modulus


def colour_range(found: Mapping[str, Any]) -> tuple[float, float]:
    """Of an isotropic crystal a range that is not empty."""
    low, high = found["minimum"], found["maximum"]
    return (low, high) if high - low > 1e-3 * high else (0.99 * low, 1.01 * high)


def title(found: Mapping[str, Any], formula: str) -> str:
    return f"{formula} in {found['structure_type']}, ions {found['ions']}"


def directional_figure(found: Mapping[str, Any]) -> Figure:
    """The surface in the frame of the parent, coloured by the modulus.

    :param found: what `directional_data` gives.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LightSource, Normalize

    points, modulus = surface(found)
    low, high = colour_range(found)
    figure = style.new_figure(5.4, 4.6)
    axes: Any = figure.add_subplot(projection="3d", computed_zorder=False)
    scale = Normalize(low, high)
    colours = colormaps[COLOURS](scale(modulus))
    shaded = LightSource(azdeg=250, altdeg=45)
    axes.plot_surface(
        *np.moveaxis(points, -1, 0),
        facecolors=colours,
        rstride=1,
        cstride=1,
        linewidth=0,
        antialiased=False,
        shade=True,
        lightsource=shaded,
    )
    reach = 1.02 * found["maximum"]
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), zlim=(-reach, reach))
    axes.set_box_aspect((1, 1, 1), zoom=1.0)
    axes.view_init(elev=24, azim=-52)
    for name, axis in (("x", axes.xaxis), ("y", axes.yaxis), ("z", axes.zaxis)):
        axis.set_pane_color((1, 1, 1, 0))
        axis.set_tick_params(labelsize=7, pad=0)
        axis.set_label_text(f"E$_{name}$ (GPa)", fontsize=8)
        axis._axinfo["grid"].update(color="#dddddd", linewidth=0.5)
    axes.locator_params(nbins=5)
    axes.set_title(title(found, formula_text(found["formula"])), fontsize=10, y=0.98)
    bar = figure.colorbar(ScalarMappable(scale, COLOURS), ax=axes, shrink=0.7, pad=0.12)
    bar.set_label("Young's modulus (GPa)", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    figure.text(0.02, 0.02, directions_text(found), fontsize=7.5, color=style.GREY, linespacing=1.4)
    return figure


def directions_text(found: Mapping[str, Any]) -> str:
    along = ", ".join(f"{name} {value:.0f}" for name, value in found["directions"].items())
    return f"{along}; average {found['average']:.0f} GPa"


def directional_page(found: Mapping[str, Any]) -> PlotlyFigure:
    """As `directional_figure`, by plotly."""
    import plotly.graph_objects as go

    points, modulus = surface(found)
    low, high = colour_range(found)
    x, y, z = (part.tolist() for part in np.moveaxis(points, -1, 0))
    theta, phi = angles()
    page = go.Figure(
        go.Surface(
            x=x,
            y=y,
            z=z,
            surfacecolor=modulus.tolist(),
            customdata=np.stack([theta, phi, modulus], axis=-1).tolist(),
            cmin=low,
            cmax=high,
            colorscale="Viridis",
            colorbar={"title": {"text": "E (GPa)"}},
            hovertemplate="E = %{customdata[2]:.1f} GPa<br>θ = %{customdata[0]}°, φ = %{customdata[1]}°<extra></extra>",
        )
    )
    reach = 1.02 * found["maximum"]
    same = {"range": [-reach, reach], "nticks": 5}
    axes = {f"{name}axis": {"title": {"text": f"E<sub>{name}</sub> (GPa)"}, **same} for name in "xyz"}
    page.update_layout(
        template="simple_white",
        title=f"{title(found, style.formula_html(found['formula']))}<br><sub>{directions_text(found)}</sub>",
        scene={**axes, "aspectmode": "cube", "camera": {"eye": {"x": 1.5, "y": -1.7, "z": 0.9}}},
        height=680,
        margin={"l": 0, "r": 0, "t": 70, "b": 0},
    )
    return page
