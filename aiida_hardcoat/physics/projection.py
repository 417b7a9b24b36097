"""Elastic tensors in Kelvin notation, their rotation, and their projection onto crystal classes.

In the Kelvin (Mandel) basis the shear components carry a factor sqrt(2), so that a rotation of the crystal is
an orthogonal 6x6 matrix and the Frobenius norm is that of the rank-4 tensor. Averaging a tensor over the
rotations of a point group is then the orthogonal projector onto the tensors of that class (Moakher and
Norris, J. Elasticity 85, 215 (2006); for random alloys Tasnadi et al., Phys. Rev. B 85, 144112 (2012)). One
mechanism serves every class: a table of generators, closed into a group.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.strain import VOIGT_COLUMNS, VOIGT_ROWS, FloatArray

_SHEARS = np.array([0, 0, 0, 1, 1, 1])
# Written as powers, so that the factor of two shear components is exactly 2.
_KELVIN_FACTORS = np.array([1.0, np.sqrt(2.0), 2.0])[_SHEARS[:, None] + _SHEARS]

_X, _Y, _Z, _DIAGONAL = (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)
_GOLDEN = (1 + np.sqrt(5)) / 2

# (axis, order) of the rotations that generate each class; inversion acts on no even-rank tensor.
# The isotropic class needs no continuous group: a rank-4 tensor that is icosahedral is isotropic.
_GENERATORS: dict[str, tuple[tuple[Any, int], ...]] = {
    "triclinic": (),
    "monoclinic": ((_Y, 2),),
    "monoclinic_x": ((_X, 2),),
    "monoclinic_z": ((_Z, 2),),
    "orthorhombic": ((_X, 2), (_Y, 2)),
    "tetragonal_low": ((_Z, 4),),
    "tetragonal": ((_Z, 4), (_X, 2)),
    "trigonal_low": ((_Z, 3),),
    "trigonal": ((_Z, 3), (_X, 2)),
    "trigonal_y": ((_Z, 3), (_Y, 2)),
    "hexagonal": ((_Z, 6), (_X, 2)),
    "cubic": ((_Z, 4), (_DIAGONAL, 3)),
    "isotropic": ((_Z, 2), (_DIAGONAL, 3), ((0, 1, _GOLDEN), 5)),
}

CRYSTAL_CLASSES = tuple(_GENERATORS)
"""Classes in their standard frames.

``monoclinic`` has its unique axis along y (``_x`` and ``_z``: along x and z); ``tetragonal`` is Laue class
4/mmm and ``tetragonal_low`` 4/m; ``trigonal`` is -3m with a twofold axis along x (``trigonal_y``: along y)
and ``trigonal_low`` is -3; the principal axis is z.
"""

_ALIASES = {
    "-1": "triclinic",
    "2/m": "monoclinic",
    "monoclinic_y": "monoclinic",
    "mmm": "orthorhombic",
    "4/m": "tetragonal_low",
    "4/mmm": "tetragonal",
    "-3": "trigonal_low",
    "-3m": "trigonal",
    "rhombohedral": "trigonal",
    "6/m": "hexagonal",
    "6/mmm": "hexagonal",
    "m-3": "cubic",
    "m-3m": "cubic",
}


@dataclass(frozen=True)
class Projection:
    """An elastic tensor projected onto a crystal class.

    :ivar tensor: the projected tensor, ``(6, 6)`` Voigt, GPa.
    :ivar crystal_class: its class.
    :ivar norm_removed: Frobenius norm, in the Kelvin basis, of what was projected away (GPa).
    :ivar relative_norm_removed: the same divided by the norm of the unprojected tensor.
    """

    tensor: FloatArray
    crystal_class: str
    norm_removed: float
    relative_norm_removed: float


def crystal_class_name(name: str) -> str:
    """The class that a name or a Laue symbol stands for.

    :raises InputError: for an unknown name; the message holds the nearest known one.
    """
    text = name.strip().lower()
    key = _ALIASES.get(text, text.replace("-", "_"))
    key = _ALIASES.get(key, key)
    if key in _GENERATORS:
        return key
    near = difflib.get_close_matches(key, [*_GENERATORS, *_ALIASES], n=1, cutoff=0.0)[0]
    raise InputError(f"Unknown crystal class '{name}': did you mean '{near}'? All: {', '.join(CRYSTAL_CLASSES)}.")


def symmetric_tensor(tensor: ArrayLike) -> FloatArray:
    """The tensor as a float array, made exactly symmetric.

    :raises InputError: when it is not 6x6, holds something that is not a finite number, or differs from its
        transpose by more than one per cent of its largest element.
    """
    array = np.asarray(tensor, dtype=np.float64)
    if array.shape != (6, 6):
        raise InputError(f"An elastic tensor is 6x6 in Voigt notation, got an array of shape {array.shape}.")
    if not np.isfinite(array).all():
        raise InputError("The elastic tensor holds a value that is not finite: give all 36 elements.")
    difference = np.abs(array - array.T)
    if difference.max() > 0.01 * np.abs(array).max():
        row, column = np.unravel_index(int(difference.argmax()), (6, 6))
        raise InputError(
            f"The elastic tensor is not symmetric: C{row + 1}{column + 1} = {array[row, column]:g} but "
            f"C{column + 1}{row + 1} = {array[column, row]:g}; check the order of the components."
        )
    return (array + array.T) / 2


def voigt_to_kelvin(tensor: ArrayLike) -> FloatArray:
    """Stiffness ``(6, 6)`` from Voigt to Kelvin (Mandel) notation."""
    return np.asarray(np.asarray(tensor, dtype=np.float64) * _KELVIN_FACTORS)


def kelvin_to_voigt(tensor: ArrayLike) -> FloatArray:
    """Stiffness ``(6, 6)`` from Kelvin (Mandel) to Voigt notation."""
    return np.asarray(np.asarray(tensor, dtype=np.float64) / _KELVIN_FACTORS)


def voigt_to_rank4(tensor: ArrayLike) -> FloatArray:
    """Stiffness ``(6, 6)`` as the full rank-4 tensor ``(3, 3, 3, 3)``."""
    index = np.empty((3, 3), dtype=int)
    index[VOIGT_ROWS, VOIGT_COLUMNS] = np.arange(6)
    index[VOIGT_COLUMNS, VOIGT_ROWS] = np.arange(6)
    voigt = np.asarray(tensor, dtype=np.float64)
    return np.asarray(voigt[index[:, :, None, None], index[None, None, :, :]])


def rank4_to_voigt(tensor: ArrayLike) -> FloatArray:
    """A rank-4 stiffness ``(3, 3, 3, 3)`` as Voigt ``(6, 6)``, averaged over its minor symmetries."""
    full = np.asarray(tensor, dtype=np.float64)
    if full.shape != (3, 3, 3, 3):
        raise InputError(f"A rank-4 elastic tensor has the shape (3, 3, 3, 3), got {full.shape}.")
    full = (full + full.transpose(1, 0, 2, 3)) / 2
    full = (full + full.transpose(0, 1, 3, 2)) / 2
    left, right = VOIGT_ROWS[:, None], VOIGT_COLUMNS[:, None]
    return np.asarray(full[left, right, VOIGT_ROWS[None, :], VOIGT_COLUMNS[None, :]])


def kelvin_rotation(rotation: ArrayLike) -> FloatArray:
    """The matrices ``(..., 6, 6)`` that act on Kelvin vectors as the rotations ``(..., 3, 3)`` act on x."""
    matrix = np.asarray(rotation, dtype=np.float64)
    rows, columns = VOIGT_ROWS[:, None], VOIGT_COLUMNS[:, None]
    direct = matrix[..., rows, VOIGT_ROWS] * matrix[..., columns, VOIGT_COLUMNS]
    crossed = matrix[..., rows, VOIGT_COLUMNS] * matrix[..., columns, VOIGT_ROWS]
    # Q_ik Q_jl symmetrised; the factors count an off-diagonal pair twice and normalise it.
    return np.asarray((direct + crossed) / 2 * _KELVIN_FACTORS)


def _orthogonal(rotation: ArrayLike, tolerance: float) -> FloatArray:
    matrix = np.asarray(rotation, dtype=np.float64)
    squared = matrix @ np.swapaxes(matrix, -1, -2)
    if matrix.shape[-2:] != (3, 3) or not np.allclose(squared, np.eye(3), atol=tolerance):
        raise InputError("A rotation is an orthogonal 3x3 matrix: rows are unit vectors at right angles.")
    return matrix


def rotate_tensor(tensor: ArrayLike, rotation: ArrayLike) -> FloatArray:
    """The Voigt tensor of a crystal that is turned by x -> Q x: C'_ijkl = Q_ia Q_jb Q_kc Q_ld C_abcd.

    Read the other way: with the rows of Q the axes of a new frame, C' holds the components in that frame.

    :param tensor: ``(6, 6)``, GPa.
    :param rotation: Q, ``(3, 3)`` orthogonal.
    :raises InputError: when Q is not orthogonal.
    """
    matrix = kelvin_rotation(_orthogonal(rotation, 1e-6))
    return kelvin_to_voigt(matrix @ voigt_to_kelvin(tensor) @ matrix.T)


def _axis_rotation(axis: ArrayLike, order: int) -> FloatArray:
    direction = np.asarray(axis, dtype=np.float64)
    x, y, z = direction / np.linalg.norm(direction)
    angle = 2 * np.pi / order
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    integers = np.rint(rotation)
    exact = np.abs(rotation - integers) < 1e-12
    return np.asarray(np.where(exact, integers, rotation))


@cache
def point_group(crystal_class: str) -> FloatArray:
    """The proper rotations ``(order, 3, 3)`` of a crystal class in its standard frame.

    Closed from the generators.
    """
    group = [np.eye(3)]
    name = crystal_class_name(crystal_class)
    generators = [_axis_rotation(axis, order) for axis, order in _GENERATORS[name]]
    for element in group:  # grows while it is walked: every new element meets every generator
        for generator in generators:
            product = generator @ element
            if not any(np.allclose(product, known, atol=1e-8) for known in group):
                group.append(product)
    rotations = np.array(group)
    rotations.flags.writeable = False
    return rotations


def project_onto_group(tensor: ArrayLike, rotations: ArrayLike) -> FloatArray:
    """The average of a Voigt tensor over rotations ``(n, 3, 3)`` of a point group, in the tensor's frame.

    The rotations may be off by the little by which a real lattice misses its symmetry.
    """
    matrices = kelvin_rotation(_orthogonal(rotations, 0.05))
    averaged = np.mean(matrices @ voigt_to_kelvin(tensor) @ np.swapaxes(matrices, -1, -2), axis=0)
    return kelvin_to_voigt((averaged + averaged.T) / 2)


def project(tensor: ArrayLike, crystal_class: str) -> Projection:
    """The nearest tensor of a crystal class, in the Frobenius norm of the Kelvin basis.

    :param tensor: ``(6, 6)``, GPa, in the standard frame of the class (that of the parent crystal).
    :param crystal_class: a name of `CRYSTAL_CLASSES` or a Laue symbol.
    :raises InputError: for a tensor that is not 6x6, finite and symmetric, or an unknown class.
    """
    symmetric = symmetric_tensor(tensor)
    name = crystal_class_name(crystal_class)
    allowed = np.abs(symmetric_basis(name)).max(axis=0) > 1e-9
    projected = np.where(allowed, project_onto_group(symmetric, point_group(name)), 0.0)
    removed, relative = _norms(symmetric, projected)
    return Projection(projected, name, removed, relative)


def _norms(tensor: FloatArray, projected: FloatArray) -> tuple[float, float]:
    removed = float(np.linalg.norm(voigt_to_kelvin(tensor - projected)))
    whole = float(np.linalg.norm(voigt_to_kelvin(tensor)))
    return removed, removed / whole if whole else 0.0


@cache
def symmetric_basis(crystal_class: str) -> FloatArray:
    """A basis ``(k, 6, 6)`` of the tensors of a class, in Voigt notation, orthonormal in Kelvin's.

    k is the number of independent constants: 21 triclinic, 13 monoclinic, 9 orthorhombic, 7 or 6 tetragonal
    and trigonal, 5 hexagonal, 3 cubic, 2 isotropic.
    """
    matrices = kelvin_rotation(point_group(crystal_class))
    basis: list[FloatArray] = []
    for row, column in zip(*np.triu_indices(6), strict=True):
        unit = np.zeros((6, 6))
        unit[row, column] = unit[column, row] = 1.0
        image = np.mean(matrices @ unit @ np.swapaxes(matrices, -1, -2), axis=0)
        for known in basis:  # Gram-Schmidt over the images of the 21 unit tensors
            image = image - np.sum(image * known) * known
        norm = np.linalg.norm(image)
        if norm > 1e-8:
            basis.append(image / norm)
    tensors: FloatArray = np.array(basis) / _KELVIN_FACTORS
    tensors.flags.writeable = False
    return tensors


def independent_constants(crystal_class: str) -> int:
    """The number of independent elastic constants of a class: the trace of its projector."""
    return len(symmetric_basis(crystal_class_name(crystal_class)))


_FROM_HIGHEST = (
    "isotropic",
    "cubic",
    "hexagonal",
    "trigonal",
    "trigonal_y",
    "tetragonal",
    "trigonal_low",
    "tetragonal_low",
    "orthorhombic",
    "monoclinic",
    "monoclinic_z",
    "monoclinic_x",
)


def detect_class(tensor: ArrayLike, tolerance: float = 0.01) -> str:
    """The class with the fewest constants that the tensor obeys, in the frame in which it is given.

    :param tolerance: largest relative norm (Kelvin, Frobenius) that projecting onto the class may remove.
    :return: ``triclinic`` when it obeys none.
    """
    for name in _FROM_HIGHEST:
        if project(tensor, name).relative_norm_removed <= tolerance:
            return name
    return "triclinic"
