"""Elastic tensors from strains and stresses, by linear least squares with standard errors.

The model is sigma = sigma_0 + C eps with a symmetric C, and sigma_0 is one of three things
(``reference_stress``): ``None`` (the reference state is relaxed, sigma_0 = 0), six numbers (the stress of the
reference state, subtracted), or ``"fit"`` (six more unknowns). For strains that come in pairs of both signs
the constants are the same either way, because even terms, the leading anharmonic ones among them, are
orthogonal to C; the residuals are not.

Which strain and stress go in is the caller's choice: `strain.small_strain` with Cauchy stress for symmetric
gradients F = I + eps; `strain.green_lagrange_strain` with `strain.second_piola_kirchhoff` for finite or
triangular ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.projection import crystal_class_name, symmetric_basis
from aiida_hardcoat.physics.strain import VOIGT_LABELS, FloatArray, stress_to_voigt

ReferenceStress = ArrayLike | Literal["fit"] | None

_RANK_TOLERANCE = 1e-6
"""Singular values below this share of the largest count as zero: the strains cannot tell constants apart."""


@dataclass(frozen=True)
class ElasticFit:
    """A fitted elastic tensor and how well the stresses obey it.

    :ivar tensor: ``(6, 6)`` symmetric Voigt stiffness, GPa.
    :ivar standard_errors: ``(6, 6)`` standard error of each constant, GPa; NaN when there is no redundancy.
    :ivar covariance: ``(21, 21)`` covariance of C11, C12 ... C16, C22 ... C66 (the upper triangle row by row), GPa^2.
    :ivar reference_stress: ``(6,)`` the sigma_0 that was assumed or fitted, GPa.
    :ivar residuals: ``(n, 6)`` stress minus model, GPa.
    :ivar r_squared: share of the variance of all stresses that the model explains.
    :ivar r_squared_components: ``(6,)`` the same for each stress component; NaN where the stress never
        varies.
    :ivar rank: rank of the linear system.
    :ivar parameters: number of unknowns.
    :ivar observations: number of stress components that were fitted.
    :ivar crystal_class: the class whose constants were fitted; ``triclinic`` for all 21.
    """

    tensor: FloatArray
    standard_errors: FloatArray
    covariance: FloatArray
    reference_stress: FloatArray
    residuals: FloatArray
    r_squared: float
    r_squared_components: FloatArray
    rank: int
    parameters: int
    observations: int
    crystal_class: str

    @property
    def root_mean_square_residual(self) -> float:
        """Root mean square of the residuals, GPa."""
        return float(np.sqrt(np.mean(self.residuals**2)))


def fit_tensor(
    strains: ArrayLike,
    stresses: ArrayLike,
    *,
    reference_stress: ReferenceStress = None,
    expected: ArrayLike | None = None,
    allow_incomplete: bool = False,
    expansion: ArrayLike | None = None,
) -> ElasticFit:
    """Fit all 21 elastic constants.

    Stresses that follow from others by symmetry change no constant, but are no evidence either. With ``expansion``
    E, the stresses being E times m computed ones, the standard errors are those of the computed ones: for unit
    variance of these the constants P E y, P the pseudo-inverse of the design matrix X, have the covariance
    P E E^T P^T, and the sum of squared residuals is expected to be the trace of E^T (1 - X P) E, which takes the
    place of observations minus parameters.

    :param strains: ``(n, 6)`` Voigt strains.
    :param stresses: ``(n, 6)`` or ``(n, 3, 3)``, GPa, tension positive.
    :param reference_stress: see the module.
    :param expected: ``(m, 6)`` the strains that the set should hold, when it is known.
    :param allow_incomplete: fit although expected strains are missing, as long as 21 constants can be told
        apart.
    :param expansion: ``(6 n, 6 m)``, see `symmetry.expansion_matrix`; by default every stress is computed.
    :raises InputError: when expected strains are missing, when the strains do not determine all constants, or
        when a stress is missing or not finite. The message names the missing strains.
    """
    strain, stress = _paired(strains, stresses)
    if expected is not None and not allow_incomplete:
        require_strains(strain, expected)
    absent = missing_components(strain)
    if absent:
        raise InputError(
            f"The strains do not determine all 21 elastic constants, nothing strains {', '.join(absent)}: "
            "add such strains, or fit the constants of a crystal class."
        )
    return _fit(strain, stress, "triclinic", reference_stress, expansion)


def fit_symmetric(
    strains: ArrayLike,
    stresses: ArrayLike,
    crystal_class: str,
    *,
    reference_stress: ReferenceStress = None,
) -> ElasticFit:
    """Fit only the independent constants of a crystal class, so that a symmetry-reduced strain set is enough.

    :param crystal_class: a name of `projection.CRYSTAL_CLASSES`, the strains in its standard frame.
    :raises InputError: when the strains do not determine the constants of the class, or the class is unknown.
    """
    strain, stress = _paired(strains, stresses)
    return _fit(strain, stress, crystal_class_name(crystal_class), reference_stress, None)


def fit_response(strains: ArrayLike, stresses: ArrayLike) -> FloatArray:
    """All 36 derivatives d sigma_i / d eps_j by least squares, symmetry not imposed.

    A diagnosis: how far the result is from symmetric says how consistent strain measure, stress measure and
    convergence are. Parameters and errors as for `fit_tensor`.
    """
    strain, stress = _paired(strains, stresses)
    absent = missing_components(strain)
    if absent:
        raise InputError(f"The strains do not determine all derivatives, nothing strains {', '.join(absent)}.")
    return np.asarray(np.linalg.lstsq(strain, stress, rcond=None)[0].T)


def missing_components(strains: ArrayLike) -> list[str]:
    """The Voigt components ("xx" ... "xy") that no combination of the strains ``(n, 6)`` gives."""
    _, singular, rows = np.linalg.svd(np.asarray(strains, dtype=np.float64), full_matrices=False)
    span = rows[singular > _RANK_TOLERANCE * max(float(singular.max(initial=0.0)), 1e-300)]
    outside = 1.0 - np.sum(span**2, axis=0)
    return [label for label, part in zip(VOIGT_LABELS, outside, strict=True) if part > _RANK_TOLERANCE]


def describe_strain(strain: ArrayLike) -> str:
    """A Voigt strain in words, such as ``xx=+0.015`` or ``xx=+0.01 xy=-0.02``."""
    parts = zip(VOIGT_LABELS, np.asarray(strain, dtype=np.float64), strict=True)
    return " ".join(f"{label}={value:+g}" for label, value in parts if value) or "no strain"


def _paired(strains: ArrayLike, stresses: ArrayLike) -> tuple[FloatArray, FloatArray]:
    strain = np.asarray(strains, dtype=np.float64)
    stress = np.asarray(stresses, dtype=np.float64)
    if strain.ndim != 2 or strain.shape[1:] != (6,) or not len(strain):
        raise InputError(f"Strains are rows of six Voigt components, got an array of shape {strain.shape}.")
    if stress.ndim == 3:
        stress = stress_to_voigt(stress)
    if stress.shape != strain.shape:
        raise InputError(f"Every strain needs a stress: got {len(strain)} strains, stresses of shape {stress.shape}.")
    if not np.isfinite(strain).all():
        raise InputError("A strain is not a finite number: give six numbers for every strain.")
    broken = [describe_strain(strain[row]) for row in np.flatnonzero(~np.isfinite(stress).all(axis=1))]
    if broken:
        raise InputError(f"No stress for the strains {'; '.join(broken)}: repeat these calculations.")
    return strain, stress


def require_strains(strains: ArrayLike, expected: ArrayLike) -> list[int]:
    """Where each strain of ``expected`` ``(m, 6)`` stands among ``strains`` ``(n, 6)``.

    :raises InputError: naming those that are missing.
    """
    given, wanted = np.asarray(strains, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    places = [np.flatnonzero(np.all(np.abs(given - row) < 1e-6, axis=1)) for row in wanted]
    absent = [row for row, place in zip(wanted, places, strict=True) if not len(place)]
    if absent:
        names = "; ".join(describe_strain(row) for row in absent)
        raise InputError(
            f"The strain set is incomplete, {len(absent)} of {len(wanted)} strains are missing: {names}. "
            "Repeat these calculations, or ask for a fit of the incomplete set."
        )
    return [int(place[0]) for place in places]


def _fit(
    strain: FloatArray,
    stress: FloatArray,
    crystal_class: str,
    reference_stress: ReferenceStress,
    expansion: ArrayLike | None,
) -> ElasticFit:
    basis = symmetric_basis(crystal_class)
    count = len(strain)
    fit_reference = isinstance(reference_stress, str)
    reference = np.zeros(6)
    if reference_stress is not None and not isinstance(reference_stress, str):
        reference = np.asarray(reference_stress, dtype=np.float64)
        if reference.ndim == 2:
            reference = stress_to_voigt(reference)
        if reference.shape != (6,) or not np.isfinite(reference).all():
            raise InputError("A reference stress is six finite numbers in Voigt order, GPa.")
    elif fit_reference and reference_stress != "fit":
        raise InputError(f"Unknown reference stress '{reference_stress}': give six numbers, 'fit' or nothing.")

    # One column a constant: the stress that it alone makes, for all strains in a row.
    design = np.einsum("kij,nj->nik", basis, strain).reshape(6 * count, -1)
    singular = np.linalg.svd(design, compute_uv=False)
    rank = int(np.sum(singular > _RANK_TOLERANCE * singular.max()))
    if rank < len(basis):
        absent = ", ".join(missing_components(strain))
        raise InputError(
            f"The strains determine only {rank} of the {len(basis)} constants of the class {crystal_class}"
            + (f": nothing strains {absent}." if absent else ".")
        )
    if fit_reference:
        design = np.hstack([design, np.tile(np.eye(6), (count, 1))])
        # Strains are of the order of 1e-2, the constant columns of 1: scaled before the rank is judged.
        scaled = design / np.linalg.norm(design, axis=0)
        singular = np.linalg.svd(scaled, compute_uv=False)
        rank = int(np.sum(singular > _RANK_TOLERANCE * singular.max()))
        if rank < design.shape[1]:
            raise InputError("The reference stress cannot be fitted: strain each component by two values.")

    target = (stress - reference).reshape(-1)
    solution = np.linalg.lstsq(design, target, rcond=None)[0]
    residuals = (target - design @ solution).reshape(count, 6)
    constants = solution[: len(basis)]
    if fit_reference:
        reference = solution[len(basis) :]

    spread = np.linalg.pinv(design)
    freedom = float(len(target) - design.shape[1])
    if expansion is not None:
        copies = np.asarray(expansion, dtype=np.float64)
        if copies.ndim != 2 or len(copies) != len(target):
            raise InputError(f"An expansion has {len(target)} rows for {count} strains, got shape {copies.shape}.")
        spread = spread @ copies
        freedom = float(np.sum((copies - design @ spread) ** 2))  # 1 - X P is idempotent
    variance = float(np.sum(residuals**2)) / freedom if freedom > _RANK_TOLERANCE else np.nan
    triangle = basis[:, *np.triu_indices(6)]
    roots = triangle.T @ spread[: len(basis)]
    covariance = variance * roots @ roots.T
    errors = np.zeros((6, 6))
    errors[np.triu_indices(6)] = np.sqrt(np.diag(covariance))
    errors = np.maximum(errors, errors.T)

    unexplained = np.sum(residuals**2, axis=0)
    variation = np.sum((stress - stress.mean(axis=0)) ** 2, axis=0)
    varies = variation > 1e-20 * max(float(np.sum(stress**2)), 1e-300)
    return ElasticFit(
        tensor=np.einsum("k,kij->ij", constants, basis),
        standard_errors=errors,
        covariance=covariance,
        reference_stress=reference,
        residuals=residuals,
        r_squared=float(1 - unexplained.sum() / variation.sum()) if varies.any() else float("nan"),
        r_squared_components=1 - np.divide(unexplained, variation, out=np.full(6, np.nan), where=varies),
        rank=rank,
        parameters=design.shape[1],
        observations=len(target),
        crystal_class=crystal_class,
    )
