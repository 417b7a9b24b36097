"""How far predictions are from the truth: one set of scores for B, G, E and nu, and the standard errors of means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hardcoat_ml.errors import InputError

FloatArray = NDArray[np.float64]

PROPERTIES = ("bulk_modulus", "shear_modulus", "youngs_modulus", "poisson_ratio")

SMALLEST = {"bulk_modulus": 1.0, "shear_modulus": 1.0, "youngs_modulus": 1.0, "poisson_ratio": 0.01}
"""Where values are clipped before a logarithm (GPa; Poisson's ratio: 1): a network may answer with less than zero."""

_RESAMPLES = 500


def youngs_and_poisson(bulk: ArrayLike, shear: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Young's modulus (GPa) and Poisson's ratio of isotropic solids, elementwise, of the shape of the moduli (GPa).

    E = 9KG / (3K + G) and nu = (3K - 2G) / (2 (3K + G)); not finite where 3K + G is zero.
    """
    k, g = np.asarray(bulk, dtype=np.float64), np.asarray(shear, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 9 * k * g / (3 * k + g), (3 * k - 2 * g) / (2 * (3 * k + g))


def properties_of(moduli: ArrayLike) -> dict[str, FloatArray]:
    """The four `PROPERTIES` ``(...)`` from bulk and shear modulus ``(..., 2)``, GPa."""
    bulk, shear = np.moveaxis(np.asarray(moduli, dtype=np.float64), -1, 0)
    return dict(zip(PROPERTIES, (bulk, shear, *youngs_and_poisson(bulk, shear)), strict=True))


@dataclass(frozen=True)
class Scores:
    """Errors of predictions; ``None`` where a score is not defined.

    :ivar mae: mean absolute error, in the unit of the property.
    :ivar mare: mean of |error / truth|, a fraction; rows whose truth is zero have none and are left out.
    :ivar rmse: root of the mean squared error, in the unit of the property.
    :ivar r2: coefficient of determination against the mean of these truths; ``None`` where they are all equal.
    :ivar log10_mae: mean absolute error of the decadic logarithms, both sides clipped from below.
    """

    mae: float
    mare: float | None
    rmse: float
    r2: float | None
    log10_mae: float


def scores(true: ArrayLike, predicted: ArrayLike, smallest: float = 1.0) -> Scores:
    """The scores of predictions ``(n,)``.

    :param smallest: where both sides are clipped before the logarithm, see `SMALLEST`.
    :raises InputError: for no rows, unequal lengths, or numbers that are not finite.
    """
    t, p = paired(true, predicted)
    error = p - t
    defined = t != 0
    variation = float(((t - t.mean()) ** 2).sum())
    logarithms = np.log10(np.maximum(t, smallest)) - np.log10(np.maximum(p, smallest))
    return Scores(
        mae=float(np.abs(error).mean()),
        mare=float(np.abs(error[defined] / t[defined]).mean()) if defined.any() else None,
        rmse=float(np.sqrt((error**2).mean())),
        r2=1 - float((error**2).sum()) / variation if variation > 0 else None,
        log10_mae=float(np.abs(logarithms).mean()),
    )


def scores_by_property(true: Mapping[str, ArrayLike], predicted: Mapping[str, ArrayLike]) -> dict[str, Scores]:
    """`scores` of each of the four properties ``(n,)``, clipped where `SMALLEST` says.

    :raises InputError: as `scores`.
    """
    return {name: scores(true[name], predicted[name], SMALLEST[name]) for name in PROPERTIES}


def standard_error(values: ArrayLike, formulas: Sequence[str] | None = None, seed: int = 0) -> float | None:
    """Standard error of the mean of ``(n,)`` by bootstrap over formulas, whose rows are near-duplicates.

    :param values: absolute errors for that of an MAE, ones and zeros for that of a coverage.
    :param formulas: the label of each row; without them every row stands for itself.
    :return: in the unit of the values; ``None`` for a single formula.
    :raises InputError: for no rows, or numbers that are not finite.
    """
    (rows,) = paired(values)
    labels = np.arange(len(rows)) if formulas is None else np.asarray(formulas)
    unique, group = np.unique(labels, return_inverse=True)
    if len(unique) < 2:
        return None
    sums, counts = np.bincount(group, rows), np.bincount(group)
    draws = np.random.default_rng(seed).multinomial(len(unique), np.full(len(unique), 1 / len(unique)), _RESAMPLES)
    return float(((draws @ sums) / (draws @ counts)).std(ddof=1))


def paired(*columns: ArrayLike) -> tuple[FloatArray, ...]:
    """Columns of equal length ``(n,)`` as float arrays.

    :raises InputError: for no rows, unequal lengths, or numbers that are not finite.
    """
    arrays = tuple(np.asarray(column, dtype=np.float64) for column in columns)
    if any(array.ndim != 1 or array.shape != arrays[0].shape for array in arrays):
        raise InputError(f"Columns of equal length are needed, got shapes {[array.shape for array in arrays]}.")
    if not len(arrays[0]):
        raise InputError("There are no rows to judge.")
    if not all(np.isfinite(array).all() for array in arrays):
        raise InputError("Values must be finite: clean the data first.")
    return arrays
