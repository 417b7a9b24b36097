"""Fewer strained cells for crystals with symmetry, and the stresses of the others.

A rotation R of the crystal class turns a strained crystal into the same crystal under the strain R eps R^T, and its
stress into R sigma R^T. So of all strains that the rotations turn into each other one is computed, and the stresses of
the others follow exactly, whatever terms beyond Hooke's law they contain (Nye, Physical Properties of Crystals, Oxford
1985, chapter 8). Inversion changes neither strain nor stress: a rotoinversion stands for its rotation.

The strains that were asked for stay the strains that are fitted; nothing is assumed of the tensor. What is fitted
has fewer independent numbers than it seems, which :func:`expansion_matrix` tells to the fit: with it, standard
errors are those that the computed cells support.

The symmetry is that of atoms at rest. An electronic or magnetic order with less symmetry than the positions must show
in the ``numbers``, such as different ones for the two spins of an antiferromagnet; and a k-point mesh must have
the symmetry of the crystal, or be converged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.projection import kelvin_rotation
from aiida_hardcoat.physics.strain import FloatArray, strain_to_matrix, stress_to_matrix, stress_to_voigt

_SAME_STRAIN = 1e-4
"""Strains whose components differ by less than this share of the largest are one strain, as in a relaxed cell that
misses its symmetry by a little."""

_VOIGT_TO_KELVIN = np.sqrt([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])


@dataclass(frozen=True)
class CrystalSymmetry:
    """The symmetry of a crystal in the Cartesian frame in which it was given.

    :ivar number: of the space group.
    :ivar symbol: its short international symbol.
    :ivar rotations: ``(n, 3, 3)`` the proper rotations of its Laue class, the identity first, exactly orthogonal and
        closed under multiplication.
    """

    number: int
    symbol: str
    rotations: FloatArray


@dataclass(frozen=True)
class ReducedStrains:
    """Strains that were asked for, those of them that are computed, and how the others follow.

    :ivar asked: ``(n, 6)`` Voigt strains.
    :ivar computed: ``(m,)`` the rows of ``asked`` that are computed.
    :ivar source: ``(n,)`` for each strain asked for, the place in ``computed`` of the one that stands for it.
    :ivar rotations: ``(n, 3, 3)`` R that turns that one into it: eps = R eps_source R^T.
    """

    asked: FloatArray
    computed: tuple[int, ...]
    source: tuple[int, ...]
    rotations: FloatArray

    @property
    def strains(self) -> FloatArray:
        """The strains to compute, ``(m, 6)``."""
        return np.asarray(self.asked[list(self.computed)])


def crystal_symmetry(cell: ArrayLike, positions: ArrayLike, numbers: ArrayLike, tolerance: float) -> CrystalSymmetry:
    """The symmetry that spglib finds, also where a supercell's own shape has less of it.

    :param cell: ``(3, 3)``, rows are lattice vectors, Angstrom, in any orientation.
    :param positions: ``(n, 3)`` fractional coordinates.
    :param numbers: ``(n,)`` integers that are equal for atoms of one kind.
    :param tolerance: distance within which atoms and lattice points count as equivalent, Angstrom.
    :return: the group of the nearest cell that has the symmetry exactly; P1 for what spglib cannot classify.
    :raises InputError: when the tolerance is not a positive number.
    """
    import spglib

    if not 0 < tolerance < np.inf:
        raise InputError(f"The symmetry tolerance is a positive distance in Angstrom, not {tolerance!r}.")
    lattice = np.asarray(cell, dtype=np.float64)
    crystal = (lattice.tolist(), np.asarray(positions).tolist(), np.asarray(numbers).tolist())
    dataset = spglib.get_symmetry_dataset(crystal, symprec=tolerance)
    if dataset is None:
        return CrystalSymmetry(1, "P1", np.eye(3)[None])
    # From the conventional cell: a supercell may be too long in one direction to have the rotations of its crystal.
    database = spglib.get_symmetry_from_database(dataset.hall_number)
    assert database is not None  # spglib knows its own numbers
    operations = np.unique(database["rotations"], axis=0)
    conventional = lattice.T @ np.linalg.inv(dataset.transformation_matrix)  # columns
    return CrystalSymmetry(
        number=int(dataset.number),
        symbol=str(dataset.international),
        rotations=_cartesian_group(operations.astype(np.float64), conventional),
    )


def reduce_strains(strains: ArrayLike, rotations: ArrayLike) -> ReducedStrains:
    """Which strains to compute: the first of each set that the rotations turn into each other.

    :param strains: ``(n, 6)`` Voigt strains; every one is its own image under the identity.
    :param rotations: ``(g, 3, 3)`` of a group, in the frame of the strains.
    """
    asked = np.asarray(strains, dtype=np.float64)
    matrices, group = strain_to_matrix(asked), np.asarray(rotations, dtype=np.float64)
    computed: list[int] = []
    source = np.full(len(asked), -1)
    turned = np.tile(np.eye(3), (len(asked), 1, 1))
    for row in range(len(asked)):
        if source[row] >= 0:
            continue
        images = group @ matrices[row] @ np.swapaxes(group, -1, -2)
        slack = _SAME_STRAIN * np.abs(matrices[row]).max()
        for other in [other for other in range(row + 1, len(asked)) if source[other] < 0]:
            difference = np.abs(images - matrices[other]).max(axis=(1, 2))
            if difference.min() <= slack:
                source[other], turned[other] = len(computed), group[difference.argmin()]
        source[row] = len(computed)
        computed.append(row)
    return ReducedStrains(asked, tuple(computed), tuple(source.tolist()), turned)


def expand_stresses(reduced: ReducedStrains, stresses: ArrayLike) -> FloatArray:
    """The stresses of all strains that were asked for.

    :param stresses: of ``reduced.strains``, ``(m, 6)`` or ``(m, 3, 3)``, GPa.
    :return: ``(n, 6)``, GPa.
    :raises InputError: when the stresses are not as many as the computed strains.
    """
    stress = np.asarray(stresses, dtype=np.float64)
    matrices = stress if stress.ndim == 3 else stress_to_matrix(stress)
    if len(matrices) != len(reduced.computed):
        raise InputError(f"{len(reduced.computed)} strains were to be computed, got {len(matrices)} stresses.")
    turned = reduced.rotations @ matrices[list(reduced.source)] @ np.swapaxes(reduced.rotations, -1, -2)
    return stress_to_voigt(turned)


def expansion_matrix(reduced: ReducedStrains) -> FloatArray:
    """E ``(6 n, 6 m)``: all stresses in one column are E times the computed ones, Voigt, strain by strain.

    :func:`aiida_hardcoat.physics.elasticity.fit_tensor` takes it as ``expansion``.
    """
    count, independent = len(reduced.source), len(reduced.computed)
    blocks = np.zeros((count, 6, independent, 6))
    voigt = kelvin_rotation(reduced.rotations) / _VOIGT_TO_KELVIN[:, None] * _VOIGT_TO_KELVIN
    blocks[np.arange(count), :, list(reduced.source)] = voigt
    return blocks.reshape(6 * count, 6 * independent)


def _cartesian_group(operations: FloatArray, columns: FloatArray) -> FloatArray:
    """Proper rotations of integer operations x' = W x on fractional coordinates, each once, the identity first.

    A lattice that misses its symmetry by a little is first strained, without being turned, until its metric has it:
    A^T F^T F A is the average of W^T A^T A W, with F symmetric. The rotations F A W (F A)^-1 then form a group.
    """
    metric = columns.T @ columns
    symmetric = np.mean(np.swapaxes(operations, -1, -2) @ metric @ operations, axis=0)
    inverse = np.linalg.inv(columns)
    values, vectors = np.linalg.eigh(inverse.T @ symmetric @ inverse)
    exact = (vectors * np.sqrt(values)) @ vectors.T @ columns
    cartesian = exact @ operations @ np.linalg.inv(exact)
    proper = np.linalg.det(cartesian)[:, None, None] * cartesian  # a rotoinversion stands for its rotation
    unique: list[FloatArray] = [np.eye(3)]
    for rotation in proper:
        if all(np.abs(rotation - known).max() > 1e-6 for known in unique):
            unique.append(rotation)
    return np.array(unique)
