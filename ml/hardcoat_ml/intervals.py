"""Intervals that hold the truth with a stated probability: split conformal prediction.

The score of a calibration row is its residual over a width that is known before the truth is. With n rows that the
network was not fitted to, the ceil((n + 1) level)-th smallest score q makes ``prediction +- q width`` hold the truth
of a new, exchangeable row with a probability of at least ``level`` (Vovk, Gammerman and Shafer, Algorithmic Learning
in a Random World (2005); Lei et al., J. Am. Stat. Assoc. 113, 1094 (2018), whose section 5.2 has the local widths).

Widths: constant, or affine in the ensemble's spread and in the prediction, of the residual or of the residual of the
logarithm. The coefficients are fitted, and the kind of width is chosen, with folds that keep a formula together, so
that every score comes from a width that did not see its row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hardcoat_ml.errors import InputError
from hardcoat_ml.metrics import SMALLEST, FloatArray, paired

BOUNDS: dict[str, tuple[float, float | None]] = {
    "bulk_modulus": (0.0, None),
    "shear_modulus": (0.0, None),
    "youngs_modulus": (0.0, None),
    "poisson_ratio": (-1.0, 0.5),
}
"""Where the truth of a stable solid lies, GPa and 1: no interval leaves it."""

SCALES = {
    "absolute": (),
    "log": (),
    "spread": ("per_spread",),
    "prediction": ("per_prediction",),
    "spread and prediction": ("per_spread", "per_prediction"),
    "log spread": ("per_spread",),
}
"""Kinds of width, by name, and what each depends on beside a constant; ``log`` ones are those of the logarithm."""

_FOLDS = 5
_FEWEST_TO_CHOOSE = 50
"""With fewer rows than this the width is constant: there is too little to choose by."""
_LARGEST_FACTOR = 100.0
"""A logarithmic interval that says no more than this keeps finite ends."""
_SEED = 0
_UPDATES = 200


@dataclass(frozen=True)
class Calibration:
    """What turns a prediction and its spread into an interval; numbers and names only, so `asdict` is its JSON.

    Half the width of the interval is quantile * (constant + per_spread * spread + per_prediction * |prediction|), or,
    for ``log`` scales, the same of the natural logarithm with the spread over the prediction for the spread.

    :ivar count: number of calibration rows.
    :ivar lower: smallest possible truth; ``upper``: the largest, None for no limit.
    """

    scale: str
    quantile: float
    level: float
    count: int
    lower: float
    upper: float | None
    constant: float = 1.0
    per_spread: float = 0.0
    per_prediction: float = 0.0


def conformal_quantile(scores: ArrayLike, level: float) -> float:
    """The ceil((n + 1) level)-th smallest of n scores.

    :raises InputError: when n is too small for the level, or the level is not between 0 and 1.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    rank = _rank(len(ordered), level)
    if rank > len(ordered):
        raise InputError(
            f"{len(ordered)} calibration rows are too few for {level:.0%} intervals: "
            f"give at least {_fewest(level)}, or ask for a lower level."
        )
    return float(ordered[rank - 1])


def calibrate(
    true: ArrayLike,
    predicted: ArrayLike,
    spread: ArrayLike,
    level: float = 0.9,
    groups: Sequence[str] | None = None,
    bounds: tuple[float, float | None] = BOUNDS["bulk_modulus"],
) -> Calibration:
    """Calibrate on rows ``(n,)`` that the network was not fitted to.

    The kind of width is the one with the lowest cross-fitted mean interval score (Winkler, J. Am. Stat. Assoc. 67, 187
    (1972)); logarithms are tried where the lower bound is zero.

    :param spread: standard deviation over the members, zero where there is one.
    :param groups: formula of each row: rows of one formula stay in one fold.
    :param bounds: see `BOUNDS`.
    :raises InputError: for too few rows, values that are not finite, or a truth outside the bounds.
    """
    t, p, s = paired(true, predicted, spread)
    lower, upper = bounds
    if (t <= lower).any() or (upper is not None and (t >= upper).any()):
        raise InputError(f"Calibration values must lie between {lower:g} and {upper or np.inf:g}: clean the data.")
    constant = Calibration("absolute", np.nan, level, len(t), lower, upper)
    constant = replace(constant, quantile=conformal_quantile(_scores(constant, t, p, s), level))
    folds = folds_of(len(t), groups)
    smallest_rest = len(t) - np.bincount(folds).max()
    if len(t) < _FEWEST_TO_CHOOSE or smallest_rest < _fewest(level):
        return constant
    names = [name for name in SCALES if lower == 0 or not name.startswith("log")]
    candidates = [_cross_fitted(replace(constant, scale=name), t, p, s, folds) for name in names]
    return min(candidates, key=lambda candidate: candidate[1])[0]


def interval(calibration: Calibration, predicted: ArrayLike, spread: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Lower and upper ends of the intervals of predictions ``(n,)``, never outside the bounds of the property."""
    p, s = paired(predicted, spread)
    half = calibration.quantile * _width(calibration, p, s)
    if _logarithmic(calibration):
        factor = np.exp(np.minimum(half, np.log(_LARGEST_FACTOR)))
        low, high = _positive(p) / factor, _positive(p) * factor
    else:
        low, high = p - half, p + half
    upper = np.inf if calibration.upper is None else calibration.upper
    return np.clip(low, calibration.lower, upper), np.clip(high, calibration.lower, upper)


def coverage(true: ArrayLike, low: ArrayLike, high: ArrayLike) -> float:
    """Fraction of truths that lie in their interval, the ends included."""
    t, a, b = np.asarray(true), np.asarray(low), np.asarray(high)
    return float(((a <= t) & (t <= b)).mean())


def interval_score(true: ArrayLike, low: ArrayLike, high: ArrayLike, level: float = 0.9) -> float:
    """Mean Winkler score: the width plus 2 / (1 - level) times the distance by which the truth is missed; lower is
    better, and the mean is lowest for the true quantiles."""
    t, a, b = paired(true, low, high)
    missed = np.maximum(a - t, 0) + np.maximum(t - b, 0)
    return float((b - a + 2 / (1 - level) * missed).mean())


def folds_of(count: int, groups: Sequence[str] | None) -> NDArray[np.int64]:
    """A fold ``(count,)`` for every row, the same for rows of one group, whatever their order."""
    unique, group = np.unique(np.arange(count) if groups is None else np.asarray(groups), return_inverse=True)
    return np.random.default_rng(_SEED).permutation(len(unique))[group] % _FOLDS


def _rank(count: int, level: float) -> int:
    if not 0 < level < 1:
        raise InputError(f"The level of an interval is between 0 and 1, got {level:g}.")
    return ceil(round((count + 1) * level, 9))  # 0.9 * 10 must not become 9.000000000000002


def _fewest(level: float) -> int:
    """The smallest number of rows that carries the level."""
    return ceil(round(level / (1 - level), 9))


def _logarithmic(calibration: Calibration) -> bool:
    return calibration.scale.startswith("log")


def _positive(predicted: FloatArray) -> FloatArray:
    return np.maximum(predicted, SMALLEST["bulk_modulus"])


def _columns(calibration: Calibration, predicted: FloatArray, spread: FloatArray) -> dict[str, FloatArray]:
    return {
        "constant": np.ones_like(predicted),
        "per_spread": spread / _positive(predicted) if _logarithmic(calibration) else spread,
        "per_prediction": np.abs(predicted),
    }


def _width(calibration: Calibration, predicted: FloatArray, spread: FloatArray) -> FloatArray:
    columns = _columns(calibration, predicted, spread)
    coefficients: list[float] = [getattr(calibration, name) for name in columns]
    return np.array(coefficients) @ np.stack(list(columns.values()))


def _residuals(calibration: Calibration, true: FloatArray, predicted: FloatArray) -> FloatArray:
    """Absolute residuals on the scale's own axis; a logarithmic one needs positive truths."""
    return np.abs(np.log(true / _positive(predicted)) if _logarithmic(calibration) else true - predicted)


def _scores(calibration: Calibration, true: FloatArray, predicted: FloatArray, spread: FloatArray) -> FloatArray:
    return _residuals(calibration, true, predicted) / _width(calibration, predicted, spread)


def _cross_fitted(
    kind: Calibration, true: FloatArray, predicted: FloatArray, spread: FloatArray, folds: NDArray[np.int64]
) -> tuple[Calibration, float]:
    """The calibration of one kind of width and its cross-fitted interval score."""
    scores, low, high = np.empty_like(true), np.empty_like(true), np.empty_like(true)
    for fold in np.unique(folds):
        held, rest = folds == fold, folds != fold
        fitted = _fit_width(kind, true[rest], predicted[rest], spread[rest])
        scores[held] = _scores(fitted, true[held], predicted[held], spread[held])
        inner = _scores(fitted, true[rest], predicted[rest], spread[rest])
        fitted = replace(fitted, quantile=conformal_quantile(inner, kind.level))
        low[held], high[held] = interval(fitted, predicted[held], spread[held])
    final = _fit_width(kind, true, predicted, spread)
    return (
        replace(final, quantile=conformal_quantile(scores, kind.level)),
        interval_score(true, low, high, kind.level),
    )


def _fit_width(kind: Calibration, true: FloatArray, predicted: FloatArray, spread: FloatArray) -> Calibration:
    """Coefficients, none negative, that maximise the likelihood of Laplace residuals of that width.

    The multiplicative updates are those of the Itakura-Saito divergence, which has the same minimum (Fevotte and
    Idier, Neural Comput. 23, 2421 (2011)). The likelihood is linear in the residuals, so outliers weigh little.
    """
    residuals = _residuals(kind, true, predicted)
    mean = float(residuals.mean())
    names = ("constant", *SCALES[kind.scale])
    if len(names) == 1 or mean == 0:
        return kind
    columns = _columns(kind, predicted, spread)
    design = np.stack([columns[name] for name in names], axis=1)
    size = design.mean(axis=0)
    coefficients = np.divide(mean / len(names), size, out=np.zeros_like(size), where=size > 0)
    for _ in range(_UPDATES):
        width = design @ coefficients
        coefficients *= np.sqrt((residuals / width**2 @ design) / np.maximum(1 / width @ design, 1e-300))
        # A width of nothing would make one residual outweigh all.
        coefficients[0] = max(coefficients[0], 1e-3 * mean)
    return replace(kind, **dict(zip(names, coefficients.tolist(), strict=True)))
