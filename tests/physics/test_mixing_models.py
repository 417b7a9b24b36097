"""Sub-regular solutions: the fit, and the gap against thermodynamics that knows nothing of how it was found."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from numpy.polynomial import Polynomial

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.mixing_models import (
    BOLTZMANN,
    MixingModel,
    binodal,
    common_ranges,
    critical_point,
    fit_mixing_model,
    positive_between_points,
    positive_polynomial,
    spinodal,
)

PARAMETERS = st.floats(-2.0, 2.0).filter(lambda value: value == 0 or abs(value) > 1e-3)
MODELS = st.builds(MixingModel, PARAMETERS, PARAMETERS)
SHARES = st.floats(0.05, 0.9999)
"""Of the critical temperature."""
QUARTERS = [0.25, 0.5, 0.75]


def free_energy(model, temperature, x):
    """G, eV per formula unit, with the entropy's limit of zero at the ends."""
    entropy = sum(np.where(part > 0, part * np.log(np.where(part > 0, part, 1)), 0) for part in (x, 1 - x))
    return model.energy(x) + BOLTZMANN * temperature * entropy


def potentials(model, temperature, x):
    """Both chemical potentials, by the textbook's formulas for a Redlich-Kister polynomial of first order."""
    rest = 1 - x
    thermal = BOLTZMANN * temperature
    return (
        thermal * math.log(x) + rest**2 * (model.l0 + model.l1 * (3 * x - rest)),
        thermal * math.log(rest) + x**2 * (model.l0 + model.l1 * (x - 3 * rest)),
    )


def gap(model, share):
    """The critical point, a temperature below it, and the binodal and spinodal there."""
    top = critical_point(model)
    assume(top is not None)
    # Near the ends x is not resolved by doubles at all; what happens there is tested by itself.
    assume(0.02 < top.x < 0.98)
    temperature = share * top.temperature
    return top, temperature, binodal(model, temperature), spinodal(model, temperature)


# --- model and fit ----------------------------------------------------------------------------------------------


@given(MODELS, st.floats(0, 1))
def test_polynomial_and_slope_are_those_of_the_energy(model, x):
    polynomial = model.polynomial()
    assert polynomial(x) == pytest.approx(float(model.energy(x)), abs=1e-12)
    assert polynomial.deriv()(x) == pytest.approx(model.slope(x), abs=1e-12)
    curvature = polynomial.deriv(2)(x)
    assert -x * (1 - x) * curvature / BOLTZMANN == pytest.approx(float(model.spinodal_temperature(x)), abs=1e-6)


@given(MODELS, st.lists(st.floats(0.01, 0.99), min_size=2, max_size=8, unique_by=lambda x: round(x, 2)))
def test_fit_gives_back_the_model(model, x):
    assume(np.ptp(x) > 0.01)
    fit = fit_mixing_model([0.0, *x, 1.0], [9.0, *model.energy(x), 9.0])  # the ends are no data
    assert (fit.model.l0, fit.model.l1) == pytest.approx((model.l0, model.l1), abs=1e-6)
    assert fit.n == len(x)
    assert fit.largest_residual < 1e-6


def test_residuals_of_a_fit_that_is_not_exact():
    model = MixingModel(0.8, 0.2)
    noise = np.array([0.01, -0.02, 0.015])
    fit = fit_mixing_model(QUARTERS, model.energy(QUARTERS) + noise)
    deviations = fit.model.energy(QUARTERS) - model.energy(QUARTERS) - noise
    assert fit.residual == pytest.approx(np.sqrt((deviations**2).mean()))
    assert fit.largest_residual == pytest.approx(np.abs(deviations).max())
    for l0, l1 in ((0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01)):
        other = MixingModel(fit.model.l0 + l0, fit.model.l1 + l1)
        assert np.sqrt(((other.energy(QUARTERS) - model.energy(QUARTERS) - noise) ** 2).mean()) > fit.residual


@given(st.floats(0.05, 0.95), st.floats(-1, 1))
def test_one_composition_makes_a_regular_solution(x, energy):
    fit = fit_mixing_model([x, x], [energy, energy + 0.1])
    assert fit.model.l1 == 0
    assert fit.model.l0 * x * (1 - x) == pytest.approx(energy + 0.05, abs=1e-12)
    assert fit.residual == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("x", "energies", "words"),
    [
        ([0.0, 1.0], [0.0, 0.0], "there is none"),
        ([], [], "there is none"),
        ([0.5], [0.1, 0.2], "As many"),
        ([0.5, 1.2], [0.1, 0.2], "between 0 and 1"),
        ([0.5], [float("nan")], "finite"),
    ],
)
def test_what_cannot_be_fitted_is_refused(x, energies, words):
    with pytest.raises(InputError, match=words):
        fit_mixing_model(x, energies)


# --- critical point and spinodal ---------------------------------------------------------------------------------


@given(st.floats(0.05, 2.0))
def test_critical_point_of_a_regular_solution(l0):
    top = critical_point(MixingModel(l0))
    assert top.x == pytest.approx(0.5)
    assert top.temperature == pytest.approx(l0 / (2 * BOLTZMANN))


@given(MODELS)
def test_critical_point_is_the_highest_spinodal_temperature(model):
    grid = model.spinodal_temperature(np.linspace(0, 1, 20001))
    top = critical_point(model)
    if top is None:
        assert grid.max() == pytest.approx(0, abs=1e-6)
    else:
        assert 0 < top.x < 1
        assert grid.max() - 1e-9 <= top.temperature <= grid.max() + 0.01
        # A critical point has no third derivative either.
        assert model.spinodal_temperature(top.x) >= model.spinodal_temperature([top.x - 1e-4, top.x + 1e-4]).max()


@given(st.floats(-2, -1e-3), st.floats(-1, 1))
def test_alloys_that_like_to_mix_have_no_gap(l0, share):
    model = MixingModel(l0, share * abs(l0) / 3)
    assert critical_point(model) is None
    assert binodal(model, 10.0) is None
    assert spinodal(model, 10.0) is None


@given(MODELS, SHARES)
def test_spinodal_has_no_curvature(model, share):
    _, temperature, _, inner = gap(model, share)
    for x in inner:
        curvature = model.polynomial().deriv(2)(x) + BOLTZMANN * temperature / (x * (1 - x))
        assert curvature * x * (1 - x) == pytest.approx(0, abs=1e-9)


# --- binodal --------------------------------------------------------------------------------------------------


@given(st.floats(0.1, 2.0), SHARES)
def test_binodal_of_a_regular_solution_is_that_of_the_textbook(l0, share):
    low, high = binodal(MixingModel(l0), share * l0 / (2 * BOLTZMANN))
    assert low + high == pytest.approx(1, abs=1e-9)
    temperature = share * l0 / (2 * BOLTZMANN)
    assert math.log((1 - low) / low) / (1 - 2 * low) == pytest.approx(l0 / (BOLTZMANN * temperature), rel=1e-6)


@given(MODELS, SHARES)
def test_both_phases_have_equal_chemical_potentials(model, share):
    _, temperature, outer, _ = gap(model, share)
    assume(outer[0] > 0 and outer[1] < 1 - 1e-12)  # 1 - x has its digits
    one, other = (potentials(model, temperature, x) for x in outer)
    # Where a phase is nearly pure, the last digits of 1 - x move its potential.
    slack = 4e-16 * BOLTZMANN * temperature / (1 - outer[1])
    assert one[0] == pytest.approx(other[0], abs=1e-9)
    assert one[1] == pytest.approx(other[1], abs=1e-9 + slack)


@given(MODELS, SHARES)
def test_the_gap_holds_the_spinodal_and_the_critical_point(model, share):
    top, _, outer, inner = gap(model, share)
    assert 0 <= outer[0] < inner[0] < top.x < inner[1] < outer[1] <= 1


@given(MODELS)
def test_binodal_and_spinodal_touch_at_the_critical_point(model):
    top = critical_point(model)
    assume(top is not None and 0.02 < top.x < 0.98)
    for share, reach in ((1 - 1e-4, 0.03), (1 - 1e-8, 3e-4)):
        for curve in (binodal, spinodal):
            assert curve(model, share * top.temperature) == pytest.approx((top.x, top.x), abs=reach)
    for curve in (binodal, spinodal):
        assert curve(model, top.temperature) is None
        assert curve(model, 1.5 * top.temperature) is None


@given(MODELS)
def test_the_expansion_next_to_the_top_meets_what_is_solved_below_it(model):
    top = critical_point(model)
    # A gap that is small against the energies loses its last digits to theirs.
    assume(top is not None and BOLTZMANN * top.temperature > 0.05 * (abs(model.l0) + abs(model.l1)))
    widths = [np.diff(binodal(model, (1 - away) * top.temperature)) for away in (1.0001e-6, 0.9999e-6)]
    assert widths[0] == pytest.approx(widths[1], rel=0.01)


@given(MODELS, SHARES)
def test_mirrored_alloys_have_mirrored_gaps(model, share):
    top, temperature, outer, inner = gap(model, share)
    mirror = MixingModel(model.l0, -model.l1)
    other = critical_point(mirror)
    assert (1 - other.x, other.temperature) == pytest.approx(top)
    assert binodal(mirror, temperature) == pytest.approx((1 - outer[1], 1 - outer[0]), abs=1e-9)
    assert spinodal(mirror, temperature) == pytest.approx((1 - inner[1], 1 - inner[0]), abs=1e-9)


@given(MODELS, SHARES, st.floats(0.1, 0.99))
def test_the_gap_widens_as_it_cools(model, share, cooler):
    _, temperature, outer, inner = gap(model, share)
    for warm, cold in ((outer, binodal(model, cooler * temperature)), (inner, spinodal(model, cooler * temperature))):
        assert cold[0] <= warm[0]
        assert warm[1] <= cold[1]


@given(MODELS, st.floats(0.05, 0.99) | st.floats(1.01, 1.5))
def test_the_gap_is_the_one_hole_of_the_lower_convex_hull(model, share):
    """A mixture of any two alloys is never below the tangent, and nowhere else is one better than the alloy itself."""
    top = critical_point(model)
    temperature = share * (top.temperature if top else 1000.0)
    grid = np.linspace(0, 1, 2001)
    g = free_energy(model, temperature, grid)
    hull = [0]
    for place in range(1, len(grid)):
        hull.append(place)
        while len(hull) > 2:
            a, b, c = hull[-3:]
            if (g[b] - g[a]) * (grid[c] - grid[a]) < (g[c] - g[a]) * (grid[b] - grid[a]) - 1e-15:
                break
            del hull[-2]
    holes = [(grid[a], grid[b]) for a, b in pairwise(hull) if b - a > 8]
    found = binodal(model, temperature)
    if found is None:
        assert holes == []
    elif found[1] - found[0] > 0.02:  # the grid resolves it
        assert len(holes) == 1
        assert holes[0] == pytest.approx(found, abs=2e-3)


@pytest.mark.parametrize("temperature", [1e-3, 1.0, 50.0])
def test_cold_phases_are_pure(temperature):
    low, high = binodal(MixingModel(0.8, 0.3), temperature)
    assert 0 <= low < 1e-30
    assert 1 - 1e-15 <= high <= 1


@pytest.mark.parametrize("temperature", [0.0, -5.0, float("nan"), float("inf")])
@pytest.mark.parametrize("curve", [binodal, spinodal])
def test_temperatures_that_do_not_exist_are_refused(curve, temperature):
    with pytest.raises(InputError, match="above 0 K"):
        curve(MixingModel(1.0), temperature)


# --- ranges ------------------------------------------------------------------------------------------------------


def test_ranges_between_points():
    x = [0.0, 0.25, 0.5, 0.75, 1.0]
    assert positive_between_points(x, [1.0, 1.0, 1.0, -1.0, -1.0]) == [(0.0, 0.625)]
    assert positive_between_points(x, [-1.0, 1.0, -1.0, -1.0, 3.0]) == [(0.125, 0.375), (0.8125, 1.0)]
    assert positive_between_points(x, [0.1] * 5) == [(0.0, 1.0)]
    assert positive_between_points(x, [-0.1] * 5) == []
    assert positive_between_points([0.5], [1.0]) == []


@given(st.lists(st.floats(-1, 1).filter(lambda value: abs(value) > 1e-6), min_size=2, max_size=6))
def test_ranges_are_where_the_lines_are_positive(values):
    x = np.linspace(0, 1, len(values)).tolist()
    ranges = positive_between_points(x, values)
    for place in np.linspace(0, 1, 201):
        value = np.interp(place, x, values)
        if abs(value) > 1e-9:
            assert any(low <= place <= high for low, high in ranges) == (value > 0)
    for (_, high), (low, _) in pairwise(ranges):
        assert high < low


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=4))
@example([-0.5, 1.0, 1e-17])
@example([0.0, 0.0])
def test_ranges_are_where_a_polynomial_is_positive(coefficients):
    polynomial = Polynomial(coefficients)
    ranges = positive_polynomial(polynomial)
    for place in np.linspace(0, 1, 201):
        if abs(polynomial(place)) > 1e-6:
            assert any(low <= place <= high for low, high in ranges) == (polynomial(place) > 0)


def test_ranges_in_common():
    assert common_ranges([(0.0, 0.5), (0.8, 1.0)], [(0.3, 0.9)]) == [(0.3, 0.5), (0.8, 0.9)]
    assert common_ranges([(0.0, 0.5)], [(0.5, 1.0)]) == []
    assert common_ranges([(0.0, 1.0)], []) == []
