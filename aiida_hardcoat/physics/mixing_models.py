"""The mixing energy of a pseudo-binary alloy as a function of x, and the miscibility gap that it implies.

Sub-regular solution, a Redlich-Kister polynomial of first order (Redlich and Kister, Ind. Eng. Chem. 40, 345
(1948)), in eV per formula unit, x being the fraction of the first metal on the metal sublattice:

    dE(x) = x (1 - x) [L0 + L1 (2x - 1)]
    G(x, T) = dE(x) + kB T [x ln x + (1 - x) ln(1 - x)]

The entropy is that of metals distributed at random over one site in each formula unit (mean field): there is no
short-range order, no vibration, and no strain where two phases meet.

Such an alloy has one miscibility gap or none. With s = 2x - 1 the spinodal temperature is

    kB T_s = -x (1 - x) dE''(x) = (1 - s^2)(L0 + 3 L1 s)/2

a cubic in s with roots at both ends, which has one maximum between two neighbouring roots. Below it G has two
inflection points, and so a single common tangent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, isfinite, log, log1p, sqrt
from typing import NamedTuple

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import ArrayLike
from scipy.constants import physical_constants
from scipy.optimize import brentq

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.strain import FloatArray

BOLTZMANN: float = physical_constants["Boltzmann constant in eV/K"][0]
"""eV/K."""

_CRITICAL_REGION = 1e-6
"""Share of the critical temperature above which the gap is too narrow to be bracketed in double precision."""

Ranges = list[tuple[float, float]]


@dataclass(frozen=True)
class MixingModel:
    """L0 and L1, eV per formula unit; L1 = 0 is the regular solution. Negative energies favour mixing."""

    l0: float
    l1: float = 0.0

    def energy(self, x: ArrayLike) -> FloatArray:
        """dE at ``x`` of any shape, eV per formula unit."""
        x = np.asarray(x, dtype=np.float64)
        return np.asarray(x * (1 - x) * (self.l0 + self.l1 * (2 * x - 1)))

    def spinodal_temperature(self, x: ArrayLike) -> FloatArray:
        """The temperature below which an alloy of that ``x`` is unstable, K; negative where it never is."""
        s = 2 * np.asarray(x, dtype=np.float64) - 1
        return np.asarray((1 - s**2) * (self.l0 + 3 * self.l1 * s) / (2 * BOLTZMANN))

    def polynomial(self) -> Polynomial:
        """dE in powers of x."""
        return Polynomial([0.0, self.l0 - self.l1, 3 * self.l1 - self.l0, -2 * self.l1])

    def slope(self, x: float) -> float:
        """d(dE)/dx, eV per formula unit."""
        return self.l0 * (1 - 2 * x) + self.l1 * (6 * x * (1 - x) - 1)


class MixingFit(NamedTuple):
    """A model with how well it fits.

    :ivar residual: root mean square deviation at the points, eV per formula unit.
    :ivar largest_residual: the largest one, absolute.
    :ivar n: points that were fitted, all between the end members.
    """

    model: MixingModel
    residual: float
    largest_residual: float
    n: int


class CriticalPoint(NamedTuple):
    """Top of the miscibility gap."""

    x: float
    temperature: float


def fit_mixing_model(x: ArrayLike, energies: ArrayLike) -> MixingFit:
    """Least squares for L0 and L1; for L0 alone, a regular solution, where all points are of one composition.

    :param x: ``(n,)``; points at 0 and 1, where the model is zero by construction, are left out.
    :param energies: ``(n,)`` mixing energies, eV per formula unit.
    :raises InputError: without a point between the end members, for unequal lengths, numbers that are not finite or
        x outside 0 to 1.
    """
    places, values = np.asarray(x, dtype=np.float64), np.asarray(energies, dtype=np.float64)
    if places.ndim != 1 or places.shape != values.shape:
        raise InputError(f"As many compositions as energies are needed, got {places.shape} and {values.shape}.")
    if not (np.isfinite(places).all() and np.isfinite(values).all() and (places >= 0).all() and (places <= 1).all()):
        raise InputError("Compositions lie between 0 and 1, and mixing energies are finite.")
    inside = (places > 0) & (places < 1)
    places, values = places[inside], values[inside]
    if not len(places):
        raise InputError("A mixing energy is fitted to alloys between the end members: there is none.")
    weight = places * (1 - places)
    # Compositions that differ by rounding are one.
    several = np.ptp(places) > 1e-6
    design = np.stack([weight, weight * (2 * places - 1)] if several else [weight], axis=1)
    solution = np.linalg.lstsq(design, values, rcond=None)[0]
    deviations = design @ solution - values
    model = MixingModel(*(float(value) for value in solution))
    return MixingFit(model, float(np.sqrt(np.mean(deviations**2))), float(np.abs(deviations).max()), len(places))


def critical_point(model: MixingModel) -> CriticalPoint | None:
    """The highest spinodal temperature and where it is; None for an alloy that mixes at any temperature."""
    l0, l1 = model.l0, model.l1
    root = sqrt(l0**2 + 27 * l1**2)
    # One root of d(T_s)/ds = 0, in the form that does not cancel.
    if l0 > 0:
        s = 3 * l1 / (l0 + root)
    elif l1:
        s = (root - l0) / (9 * l1)
    else:
        return None
    x = (1 + s) / 2
    temperature = float(model.spinodal_temperature(x))
    return CriticalPoint(x, temperature) if abs(s) < 1 and temperature > 0 else None


def spinodal(model: MixingModel, temperature: float) -> tuple[float, float] | None:
    """The two x with d2G/dx2 = 0, between which an alloy is unstable; None at and above the critical temperature.

    :raises InputError: for a temperature that is not above 0 K.
    """
    _check_temperature(temperature)
    top = critical_point(model)
    if top is None or temperature >= top.temperature:
        return None
    low, high = 0.0, 1.0
    if abs(model.l0) < 3 * abs(model.l1):
        edge = (1 - model.l0 / (3 * model.l1)) / 2  # beyond it the curvature of dE is positive
        low, high = (edge, 1.0) if model.l1 > 0 else (0.0, edge)

    def excess(x: float) -> float:
        return float(model.spinodal_temperature(x)) - temperature

    return _root(excess, low, top.x), _root(excess, top.x, high)


def binodal(model: MixingModel, temperature: float) -> tuple[float, float] | None:
    """The x of the two phases in equilibrium, on a common tangent of G; None at and above the critical temperature.

    On each side of the spinodal the slope of G rises with x, so that a slope names one alloy on either side; the
    vertical distance of their two tangents falls with the slope and is zero for the slope that is looked for. All is
    done in ln[x/(1 - x)], because at low temperature x comes as near to 0 and 1 as exp(-L/kB T).

    :raises InputError: for a temperature that is not above 0 K.
    """
    inner = spinodal(model, temperature)
    top = critical_point(model)
    if inner is None or top is None:
        return None
    if temperature > (1 - _CRITICAL_REGION) * top.temperature:
        # Landau's expansion: the gap is sqrt(3) times as wide as the spinodal.
        return top.x - sqrt(3) * (top.x - inner[0]), top.x + sqrt(3) * (inner[1] - top.x)
    thermal = BOLTZMANN * temperature
    below, above = (log(x / (1 - x)) for x in inner)

    def slope(y: float) -> float:
        return model.slope(_logistic(y)) + thermal * y

    steepest = abs(model.l0) + abs(model.l1)  # no slope of dE exceeds it

    def first(target: float) -> float:
        return _root(lambda y: slope(y) - target, (target - steepest) / thermal - 1, below)

    def second(target: float) -> float:
        return _root(lambda y: slope(y) - target, above, (target + steepest) / thermal + 1)

    def distance(target: float) -> float:
        return _second_potential(model, thermal, second(target)) - _second_potential(model, thermal, first(target))

    common = _root(distance, slope(above), slope(below))
    return _logistic(first(common)), _logistic(second(common))


def _check_temperature(temperature: float) -> None:
    if not (isfinite(temperature) and temperature > 0):
        raise InputError(f"A temperature is above 0 K, not {temperature:g}.")


def _logistic(y: float) -> float:
    """x of y = ln[x/(1 - x)]; zero where x is below the smallest double."""
    if y > 0:
        return 1 / (1 + exp(-y))
    return 0.0 if y < -745 else exp(y) / (1 + exp(y))


def _second_potential(model: MixingModel, thermal: float, y: float) -> float:
    """Chemical potential of the second metal, G - x dG/dx, eV per formula unit."""
    x = _logistic(y)
    log_rest = -log1p(exp(y)) if y < 0 else -y - log1p(exp(-y))
    return thermal * log_rest + x**2 * (model.l0 + model.l1 * (4 * x - 3))


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """The root between two values of opposite sign; the nearer end where rounding took the sign away."""
    ends = function(low), function(high)
    if ends[0] * ends[1] > 0 or 0.0 in ends:
        return low if abs(ends[0]) <= abs(ends[1]) else high
    return float(brentq(function, low, high, xtol=1e-15, rtol=1e-14, maxiter=500))


def positive_between_points(x: Sequence[float], values: Sequence[float]) -> Ranges:
    """Where the straight lines through points are above zero, as ranges of x.

    :param x: ``(n,)``, rising.
    :param values: ``(n,)``.
    :return: nothing for fewer than two points.
    """
    if len(x) < 2:
        return []
    pairs = list(zip(x, values, strict=True))
    crossings = [a + (b - a) * fa / (fa - fb) for (a, fa), (b, fb) in pairwise(pairs) if fa * fb < 0]
    return _positive([*x, *crossings], lambda place: float(np.interp(place, x, values)))


def positive_polynomial(polynomial: Polynomial) -> Ranges:
    """Where a polynomial is above zero within 0 to 1, as ranges."""
    # A leading coefficient that is zero but for rounding would ruin all roots.
    leading = polynomial.trim(1e-10 * float(np.abs(polynomial.coef).max()))
    roots = np.asarray(leading.roots(), dtype=np.complex128)
    inside = [root.real for root in roots.tolist() if abs(root.imag) < 1e-9 and 0 < root.real < 1]
    return _positive([0.0, *inside, 1.0], lambda place: float(polynomial(place)))


def _positive(breaks: Sequence[float], value: Callable[[float], float]) -> Ranges:
    """The intervals between breaks in the middle of which a function is positive, adjoining ones as one."""
    ranges: Ranges = []
    places = sorted(set(breaks))
    for low, high in pairwise(places):
        if value((low + high) / 2) > 0:
            joined = bool(ranges) and ranges[-1][1] == low and value(low) > 0
            start = ranges.pop()[0] if joined else low
            ranges.append((start, high))
    return ranges


def common_ranges(first: Ranges, second: Ranges) -> Ranges:
    """Where two lists of ranges overlap."""
    overlaps = ((max(a, c), min(b, d)) for a, b in first for c, d in second)
    return sorted((low, high) for low, high in overlaps if low < high)
