"""Parent structures of the nitrides: the ideal lattices that metals and nitrogen are placed on.

Rocksalt B1, zincblende B3, wurtzite B4 and the planar Bk that B4 falls into when its internal parameter u
reaches 1/2. Cubic axes lie along x, y, z; the c axis of the hexagonal parents lies along z, their a axis
along x. Lattice parameters are starting values for a relaxation: they fix no result.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from statistics import median

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.composition import Composition

FloatArray = NDArray[np.float64]

STRUCTURE_TYPES = {"B1": "rocksalt", "B3": "zincblende", "B4": "wurtzite", "Bk": "planar hexagonal"}
CRYSTAL_CLASSES = {"B1": "cubic", "B3": "cubic", "B4": "hexagonal", "Bk": "hexagonal"}
FORMULA_UNITS = {"B1": 1, "B3": 1, "B4": 2, "Bk": 2}
"""Formula units, which are also the metal sites, of the primitive cell."""

DEFAULT_U = {"B4": 0.38, "Bk": 0.5}
"""Internal parameter u: that of clamped wurtzite in npj Comput. Mater. 8, 17 (2022), and 1/2 by symmetry."""

# (a, c/a) in Angstrom with the source. mp-* are PBE values of the Materials Project (CC BY 4.0; Jain et al.,
# APL Mater. 1, 011002 (2013)), which suit the PBE relaxations that start from them.
LATTICE_PARAMETERS: dict[str, dict[str, tuple[float, float | None, str]]] = {
    "B1": {
        "AlN": (4.069, None, "mp-1330"),
        "TiN": (4.254, None, "mp-492"),
        "ZrN": (4.618, None, "mp-1352"),
        "HfN": (4.538, None, "mp-2828"),
        "VN": (4.125, None, "mp-925"),
        "NbN": (4.452, None, "mp-1580"),
        "TaN": (4.423, None, "mp-251"),
        "CrN": (4.140, None, "ICDD 11-0065"),
        "ScN": (4.518, None, "mp-2857"),
        "YN": (4.919, None, "mp-2114"),
        "LaN": (5.309, None, "mp-256"),
        "GaN": (4.270, None, "mp-2853"),
        "InN": (4.709, None, "mp-20812"),
    },
    "B3": {
        "AlN": (4.401, None, "mp-1700"),
        "TiN": (4.602, None, "mp-998908"),
        "HfN": (4.910, None, "mp-1001916"),
        "VN": (4.439, None, "mp-1001826"),
        "NbN": (4.792, None, "mp-1018142"),
        "TaN": (4.762, None, "mp-1009833"),
        "CrN": (4.400, None, "mp-1018157"),
        "ScN": (4.896, None, "mp-1009750"),
        "YN": (5.296, None, "mp-13099"),
        "GaN": (4.546, None, "mp-830"),
    },
    "B4": {
        "AlN": (3.129, 5.017 / 3.129, "mp-661"),
        "GaN": (3.216, 5.240 / 3.216, "mp-804"),
        "InN": (3.584, 5.791 / 3.584, "mp-22205"),
    },
    "Bk": {"AlN": (3.312, 4.188 / 3.312, "mp-13178")},
}


@dataclass(frozen=True)
class Parent:
    """An ideal structure: `cell` rows in Angstrom (3, 3), fractional `metal_sites` and `anion_sites` (n, 3).

    `a` in Angstrom; `c_over_a` and `u` are None for cubic parents; `source` tells where a and c/a come from.
    """

    structure_type: str
    crystal_class: str
    cell: FloatArray
    metal_sites: FloatArray
    anion_sites: FloatArray
    a: float
    c_over_a: float | None
    u: float | None
    source: str


def check_structure_type(structure_type: str) -> str:
    """`structure_type` itself if it is known; InputError naming the nearest one otherwise."""
    if structure_type in STRUCTURE_TYPES:
        return structure_type
    names = {name.lower(): key for key, common in STRUCTURE_TYPES.items() for name in (key, common)}
    close = difflib.get_close_matches(structure_type.lower(), list(names), 1, 0.4)
    hint = f"did you mean {names[close[0]]}? " if close else ""
    known = ", ".join(f"{key} ({name})" for key, name in STRUCTURE_TYPES.items())
    raise InputError(f"unknown structure type {structure_type!r}: {hint}choose one of {known}")


def parent(structure_type: str, composition: Composition, u: float | None = None) -> Parent:
    """The parent of `composition` with lattice parameters mixed linearly over its metals (Vegard's rule).

    `u` is the internal parameter of wurtzite (default 0.38). Raises InputError for an unknown structure
    type and for a u that the structure type does not have.
    """
    check_structure_type(structure_type)
    u = _checked_u(structure_type, u)
    ends = [_end_member(structure_type, metal, composition.anion) for metal in composition.metals]
    weights = [float(value) for _, value in composition.fractions]
    a = sum(weight * end[0] for weight, end in zip(weights, ends, strict=True))
    sources = [end[2] for end in ends]
    notes = [f"{m}{composition.anion}: {text}" for m, text in zip(composition.metals, sources, strict=True)]
    source = ("mixed linearly over " if len(ends) > 1 else "") + "; ".join(notes)
    if CRYSTAL_CLASSES[structure_type] == "cubic":
        cell, metals, anions = _cubic_sites(structure_type, a)
        return Parent(structure_type, "cubic", cell, metals, anions, a, None, None, source)
    c = sum(weight * end[0] * (end[1] or 0.0) for weight, end in zip(weights, ends, strict=True))
    cell, metals, anions = _hexagonal_sites(a, c, u or 0.0)
    return Parent(structure_type, "hexagonal", cell, metals, anions, a, c / a, u, source)


def unit_metal_lattice(structure_type: str) -> FloatArray:
    """Primitive vectors (rows, a = 1) of a structure type, with the c/a of AlN, for questions of shape."""
    check_structure_type(structure_type)
    if CRYSTAL_CLASSES[structure_type] == "cubic":
        return _cubic_sites(structure_type, 1.0)[0]
    return _hexagonal_sites(1.0, LATTICE_PARAMETERS[structure_type]["AlN"][1] or 0.0, 0.0)[0]


def _checked_u(structure_type: str, u: float | None) -> float | None:
    default = DEFAULT_U.get(structure_type)
    if u is None:
        return default
    if structure_type != "B4":
        own = "has none" if default is None else f"has u = {default} by symmetry"
        raise InputError(f"u is the internal parameter of B4, {structure_type} {own}: leave u out")
    if not 0 < u < 1:
        raise InputError(f"u = {u} lies outside 0..1: wurtzite has u near 0.38")
    return u


def _end_member(structure_type: str, metal: str, anion: str) -> tuple[float, float | None, str]:
    """(a, c/a, source) of one binary compound, estimated where no table holds it.

    Estimates scale the volume per formula unit of rocksalt by the ratio that AlN has between the two
    structure types, with AlN's c/a. Rocksalt itself is estimated from the sum of the covalent radii
    (Cordero et al., Dalton Trans. 2008, 2832), scaled as the median of the tabulated nitrides asks.
    """
    table = LATTICE_PARAMETERS[structure_type]
    if metal + anion in table:
        return table[metal + anion]
    if structure_type == "B1":
        scale = median(a / _radius_sum(compound[:-1], "N") for compound, (a, _, _) in table.items())
        return scale * _radius_sum(metal, anion), None, "estimated from covalent radii"
    rocksalt, _, rocksalt_source = _end_member("B1", metal, anion)
    a_reference, c_over_a, _ = table["AlN"]
    a = a_reference * rocksalt / LATTICE_PARAMETERS["B1"]["AlN"][0]
    return a, c_over_a, f"estimated from the volume of B1 ({rocksalt_source})"


def _radius_sum(metal: str, anion: str) -> float:
    return float(covalent_radii[atomic_numbers[metal]] + covalent_radii[atomic_numbers[anion]])


def _cubic_sites(structure_type: str, a: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    cell = a * np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
    return cell, np.zeros((1, 3)), np.full((1, 3), 0.5 if structure_type == "B1" else 0.25)


def _hexagonal_sites(a: float, c: float, u: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    cell = np.array([[a, 0.0, 0.0], [-a / 2, a * np.sqrt(3) / 2, 0.0], [0.0, 0.0, c]])
    metals = np.array([[1 / 3, 2 / 3, 0.0], [2 / 3, 1 / 3, 0.5]])
    return cell, metals, (metals + np.array([0.0, 0.0, u])) % 1.0
