"""Whether a relaxed wurtzite (B4) crystal is still wurtzite or has fallen into the planar, BN-like Bk.

Two numbers tell: the internal parameter u (metal to nitrogen along c, in units of c) and c/a. Ideal wurtzite
has u = 3/8 and c/a = sqrt(8/3); in Bk every metal lies in the plane of its three nitrogen neighbours, u =
1/2, and c/a is about 1.2. Each number is turned into the fraction of the way that it has gone, and the two
are averaged:

    progress = [(u - 3/8)/(1/2 - 3/8) + (sqrt(8/3) - c/a)/(sqrt(8/3) - 1.2)]/2

Below 1/3 the crystal is B4, above 2/3 it is Bk, between it is called intermediate. A catalogue entry needs
one of the two structure types, and then the nearer end counts: B4 up to 1/2, Bk beyond.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from aiida_hardcoat.errors import InputError

IDEAL_U = 3 / 8
IDEAL_C_OVER_A = sqrt(8 / 3)
PLANAR_U = 1 / 2
PLANAR_C_OVER_A = 1.2
B4_LIMIT = 1 / 3
BK_LIMIT = 2 / 3


@dataclass(frozen=True)
class WurtziteGeometry:
    """The effective hexagonal parameters of a relaxed wurtzite-derived supercell.

    :ivar a: Angstrom.
    :ivar c: Angstrom.
    :ivar u: mean internal parameter, folded into [0, 1/2].
    :ivar u_spread: standard deviation of u over the metal atoms.
    """

    a: float
    c: float
    u: float
    u_spread: float

    @property
    def c_over_a(self) -> float:
        """Axial ratio."""
        return self.c / self.a


def planarity(u: float, c_over_a: float) -> float:
    """How far a crystal has gone from ideal wurtzite (0) to Bk (1); not limited to that range.

    :param u: internal parameter; u and 1 - u are the same crystal with opposite polarity.
    """
    if not (np.isfinite(u) and np.isfinite(c_over_a) and c_over_a > 0):
        raise InputError(f"u and c/a are finite and c/a is positive, got u = {u}, c/a = {c_over_a}.")
    by_u = (_folded(u) - IDEAL_U) / (PLANAR_U - IDEAL_U)
    by_ratio = (IDEAL_C_OVER_A - c_over_a) / (IDEAL_C_OVER_A - PLANAR_C_OVER_A)
    return (by_u + by_ratio) / 2


def classify_wurtzite(u: float, c_over_a: float) -> Literal["B4", "Bk", "intermediate"]:
    """What a crystal that started as wurtzite is now, by the rule of this module."""
    progress = planarity(u, c_over_a)
    if progress < B4_LIMIT:
        return "B4"
    return "Bk" if progress > BK_LIMIT else "intermediate"


def relaxed_structure_type(u: float, c_over_a: float) -> Literal["B4", "Bk"]:
    """The structure type under which such a crystal is catalogued: the nearer of B4 and Bk."""
    return "B4" if planarity(u, c_over_a) <= 0.5 else "Bk"


def _folded(u: float) -> float:
    u = u % 1.0
    return min(u, 1.0 - u)


def internal_parameters(
    cell: ArrayLike, metal_positions: ArrayLike, anion_positions: ArrayLike, supercell: ArrayLike
) -> WurtziteGeometry:
    """Effective a, c and mean u of a relaxed wurtzite-derived supercell.

    The parent cell is the supercell's inverse matrix times its cell; a and c follow from its basal area and
    volume, so small shears of an alloy do no harm. Metals and anions of wurtzite stand in columns along c,
    one of each a period: u is the mean signed distance from a metal to the anion above it in its own column,
    in units of c.

    :param cell: relaxed supercell, rows are vectors, Angstrom; parent vectors a1, a2 in the basal plane, a3
        along c.
    :param metal_positions: ``(n, 3)`` Cartesian, Angstrom.
    :param anion_positions: ``(n, 3)``.
    :param supercell: integer matrix M with cell = M @ parent cell, or its three diagonal elements.
    :raises InputError: when M is not an invertible integer matrix or most atoms do not stand in such columns.
    """
    matrix = np.asarray(supercell, dtype=np.float64)
    matrix = np.diag(matrix) if matrix.shape == (3,) else matrix
    if matrix.shape != (3, 3) or not np.allclose(matrix, np.rint(matrix)) or abs(np.linalg.det(matrix)) < 0.5:
        raise InputError("A supercell is three integers or an invertible 3x3 matrix of integers.")
    metals = np.asarray(metal_positions, dtype=np.float64).reshape(-1, 3)
    anions = np.asarray(anion_positions, dtype=np.float64).reshape(-1, 3)
    if len(metals) != len(anions) or not len(metals):
        raise InputError(f"Wurtzite has as many metals as anions, got {len(metals)} and {len(anions)}.")

    parent = np.linalg.solve(matrix, np.asarray(cell, dtype=np.float64))
    area = float(np.linalg.norm(np.cross(parent[0], parent[1])))
    c = abs(float(np.linalg.det(parent))) / area
    a = sqrt(2 * area / sqrt(3))

    # Every metal-anion pair with its periodic images, in coordinates of the parent cell.
    fractional = (anions[None, :] - metals[:, None]) @ np.linalg.inv(np.asarray(cell, dtype=np.float64))
    fractional -= np.rint(fractional)
    images = np.array(list(product(range(-2, 3), repeat=3)))
    separation = (fractional[:, :, None, :] + images) @ matrix
    lateral = np.linalg.norm(separation[..., :2] @ parent[:2], axis=-1)
    above = (separation[..., 2] > 0) & (separation[..., 2] < 1)
    lateral[~above] = np.inf
    lateral = lateral.reshape(len(metals), -1)
    nearest = lateral.argmin(axis=1)
    rows = np.arange(len(metals))
    # Columns are a/sqrt(3) apart. A few displaced atoms of an alloy are borne, a wrong lattice is not.
    if np.median(lateral[rows, nearest]) > a / (2 * sqrt(3)):
        raise InputError(
            "The metals have no anions above them along c: the cell is no supercell of wurtzite "
            "with c as its third vector, or its matrix is another one."
        )
    heights = separation[..., 2].reshape(len(metals), -1)[rows, nearest]
    return WurtziteGeometry(a=a, c=c, u=_folded(float(heights.mean())), u_spread=float(heights.std()))
