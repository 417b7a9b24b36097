"""Strains, deformation gradients and the Voigt notation of strain and stress.

Voigt order is xx, yy, zz, yz, xz, xy. Shear strain is engineering (gamma_ij = 2 eps_ij), shear stress is not
doubled. Every conversion takes any number of leading axes: ``(..., 6)`` <-> ``(..., 3, 3)``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aiida_hardcoat.errors import InputError

FloatArray = NDArray[np.float64]

VOIGT_LABELS = ("xx", "yy", "zz", "yz", "xz", "xy")
VOIGT_ROWS = np.array([0, 1, 2, 1, 0, 0])
VOIGT_COLUMNS = np.array([0, 1, 2, 2, 2, 1])
VASP_TO_VOIGT = np.array([0, 1, 2, 4, 5, 3])
"""Where the Voigt components stand in VASP's order XX YY ZZ XY YZ ZX."""

_ENGINEERING = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])


def _components(values: ArrayLike, shape: tuple[int, ...], what: str) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.shape[array.ndim - len(shape) :] != shape or array.ndim < len(shape):
        wanted = " x ".join(str(length) for length in shape)
        raise InputError(f"{what} needs {wanted} numbers on its last axes, got an array of shape {array.shape}.")
    return array


def stress_to_matrix(stress: ArrayLike) -> FloatArray:
    """Voigt stress ``(..., 6)`` as symmetric matrices ``(..., 3, 3)``."""
    voigt = _components(stress, (6,), "A Voigt stress")
    matrix = np.empty((*voigt.shape[:-1], 3, 3))
    matrix[..., VOIGT_ROWS, VOIGT_COLUMNS] = voigt
    matrix[..., VOIGT_COLUMNS, VOIGT_ROWS] = voigt
    return matrix


def stress_to_voigt(stress: ArrayLike) -> FloatArray:
    """Stress matrices ``(..., 3, 3)`` as Voigt ``(..., 6)``, symmetrised."""
    matrix = _components(stress, (3, 3), "A stress matrix")
    upper = matrix[..., VOIGT_ROWS, VOIGT_COLUMNS]
    lower = matrix[..., VOIGT_COLUMNS, VOIGT_ROWS]
    return np.asarray((upper + lower) / 2)


def strain_to_matrix(strain: ArrayLike) -> FloatArray:
    """Voigt strain ``(..., 6)`` with engineering shear as symmetric matrices ``(..., 3, 3)`` of eps_ij."""
    return stress_to_matrix(_components(strain, (6,), "A Voigt strain") / _ENGINEERING)


def strain_to_voigt(strain: ArrayLike) -> FloatArray:
    """Strain matrices ``(..., 3, 3)`` of eps_ij as Voigt ``(..., 6)`` with engineering shear."""
    return np.asarray(stress_to_voigt(_components(strain, (3, 3), "A strain matrix")) * _ENGINEERING)


def vasp_stress(in_kilobar: ArrayLike) -> FloatArray:
    """Stresses as VASP prints them ("in kB", XX YY ZZ XY YZ ZX, compression positive) as Voigt stress in GPa.

    :param in_kilobar: ``(..., 6)``.
    :return: ``(..., 6)`` Cauchy stress, GPa, tension positive, Voigt order.
    """
    return np.asarray(_components(in_kilobar, (6,), "A VASP stress")[..., VASP_TO_VOIGT] / -10.0)


def vasp_moduli(in_kilobar: ArrayLike) -> FloatArray:
    """Elastic moduli as VASP prints them (kbar, XX YY ZZ XY YZ ZX) as a 6x6 Voigt tensor in GPa."""
    printed = _components(in_kilobar, (6, 6), "A VASP elastic tensor")
    return np.asarray(printed[np.ix_(VASP_TO_VOIGT, VASP_TO_VOIGT)] / 10.0)


def strain_set(normal: Sequence[float] = (0.015, 0.03), shear: Sequence[float] = (0.03, 0.06)) -> FloatArray:
    """The strains of a full elastic calculation: each Voigt component alone, both signs of each amplitude.

    :param normal: amplitudes of xx, yy, zz.
    :param shear: amplitudes of yz, xz, xy as engineering shear (0.06 means eps_ij = 0.03).
    :return: ``(n, 6)`` Voigt strains, by component and then by rising strain; 24 rows for the default
        amplitudes.
    :raises InputError: when an amplitude is not a positive number below 1 or is given twice.
    """
    rows = []
    for component in range(6):
        amplitudes = normal if component < 3 else shear
        kind = "normal" if component < 3 else "shear"
        if not amplitudes or any(not 0 < amplitude < 1 for amplitude in amplitudes):
            raise InputError(f"Strain amplitudes lie between 0 and 1 (0.015 is 1.5 %); got {kind} {tuple(amplitudes)}.")
        if len(set(amplitudes)) < len(amplitudes):
            raise InputError(f"A {kind} strain amplitude is given twice: {tuple(amplitudes)}.")
        for value in sorted([*amplitudes, *(-amplitude for amplitude in amplitudes)]):
            row = np.zeros(6)
            row[component] = value
            rows.append(row)
    return np.array(rows)


def deformation_gradient(strain: ArrayLike) -> FloatArray:
    """F = I + eps, symmetric, so that the strain rotates nothing; ``(..., 6)`` -> ``(..., 3, 3)``."""
    return np.eye(3) + strain_to_matrix(strain)


def strain_cell(cell: ArrayLike, strain: ArrayLike) -> FloatArray:
    """A cell (rows are lattice vectors, Angstrom) strained by F = I + eps: every vector a becomes F a.

    :param cell: ``(3, 3)``.
    :param strain: Voigt strains ``(..., 6)``.
    :return: ``(..., 3, 3)``.
    """
    return _components(cell, (3, 3), "A cell") @ np.swapaxes(deformation_gradient(strain), -1, -2)


def small_strain(deformation: ArrayLike) -> FloatArray:
    """Infinitesimal strain (F + F^T)/2 - I of gradients ``(..., 3, 3)``, as Voigt ``(..., 6)``."""
    gradient = _components(deformation, (3, 3), "A deformation gradient")
    return strain_to_voigt((gradient + np.swapaxes(gradient, -1, -2)) / 2 - np.eye(3))


def green_lagrange_strain(deformation: ArrayLike) -> FloatArray:
    """Green-Lagrange strain (F^T F - I)/2 of deformation gradients ``(..., 3, 3)``, as Voigt ``(..., 6)``.

    It is blind to the rotation in F, and the right strain for triangular gradients.
    """
    gradient = _components(deformation, (3, 3), "A deformation gradient")
    return strain_to_voigt((np.swapaxes(gradient, -1, -2) @ gradient - np.eye(3)) / 2)


def second_piola_kirchhoff(cauchy: ArrayLike, deformation: ArrayLike) -> FloatArray:
    """Second Piola-Kirchhoff stress det(F) F^-1 sigma F^-T, the work conjugate of the Green-Lagrange strain.

    :param cauchy: Cauchy stress ``(..., 3, 3)``, GPa.
    :param deformation: deformation gradients ``(..., 3, 3)``.
    :return: ``(..., 3, 3)``, GPa.
    """
    gradient = _components(deformation, (3, 3), "A deformation gradient")
    inverse = np.linalg.inv(gradient)
    stress = _components(cauchy, (3, 3), "A stress matrix")
    pulled_back = inverse @ stress @ np.swapaxes(inverse, -1, -2)
    return np.asarray(np.linalg.det(gradient)[..., None, None] * pulled_back)
