"""Crystal structures from occupations of the metal sites, and the names by which occupations are known."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from aiida_hardcoat.physics.cells import hermite_normal_form
from aiida_hardcoat.physics.prototypes import Parent
from aiida_hardcoat.physics.sqs.clusters import supercell_sites

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

_DIGITS = string.digits + string.ascii_letters


def build_atoms(
    parent: Parent, matrix: IntArray, metals: Sequence[str], occupation: IntArray, anion: str = "N"
) -> Atoms:
    """The supercell `matrix` of `parent` with `metals[occupation[i]]` on metal site i, all periodic.

    Sites are numbered as `supercell_sites` lists them; atoms come sorted by species, the metals in the order
    of `metals` and the anion last. The Cartesian frame is that of the parent.
    """
    order = np.argsort(occupation, kind="stable")
    symbols = [metals[species] for species in np.asarray(occupation)[order]]
    metal_positions = _scaled_positions(matrix, parent.metal_sites)[order]
    anion_positions = _scaled_positions(matrix, parent.anion_sites)
    return Atoms(
        symbols=symbols + [anion] * len(anion_positions),
        scaled_positions=np.concatenate([metal_positions, anion_positions]),
        cell=np.asarray(matrix) @ parent.cell,
        pbc=True,
    )


def occupation_text(occupation: IntArray) -> str:
    """One character a site, the number of its metal: `0110...`."""
    return "".join(_DIGITS[species] for species in occupation)


def read_occupation(text: str) -> IntArray:
    """The occupation that `occupation_text` wrote."""
    return np.array([_DIGITS.index(character) for character in text], dtype=np.int64)


def occupation_hash(structure_type: str, matrix: IntArray, metals: Sequence[str], occupation: IntArray) -> str:
    """sha256 of the structure type, the lattice and the metal on every site.

    It depends on the supercell's lattice only, not on the vectors chosen to span it.
    """
    lattice = ",".join(str(value) for value in hermite_normal_form(matrix).ravel())
    symbols = ",".join(metals[species] for species in occupation)
    return hashlib.sha256(f"{structure_type}|{lattice}|{symbols}".encode()).hexdigest()


def _scaled_positions(matrix: IntArray, basis: FloatArray) -> FloatArray:
    sites = supercell_sites(matrix, len(basis))
    fractional = (sites[:, :3] + basis[sites[:, 3]]) @ np.linalg.inv(matrix)
    # the shift keeps 0.999..., which is 0, from being wrapped to the far side of the cell
    wrapped: FloatArray = (fractional + 1e-9) % 1.0 - 1e-9
    return wrapped
