"""Conformal intervals: exact in finite samples, right on average whatever the errors depend on, inside the physics."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardcoat_ml.errors import InputError
from hardcoat_ml.intervals import (
    BOUNDS,
    SCALES,
    Calibration,
    calibrate,
    conformal_quantile,
    coverage,
    folds_of,
    interval,
    interval_score,
)

SIZE = {
    "constant": lambda predicted, spread: np.full_like(predicted, 8.0),
    "spread": lambda predicted, spread: 2 + 1.2 * spread,
    "prediction": lambda predicted, spread: 2 + 0.1 * predicted,
    "both": lambda predicted, spread: 1 + 0.05 * predicted + 0.8 * spread,
}
"""What the size of the errors depends on."""


def draw(random, count, size):
    """Moduli in GPa: truth, prediction and spread, the errors with heavier tails than a Gaussian."""
    predicted, spread = random.gamma(3, 35, count) + 2, random.gamma(2, 3, count)
    if size == "logarithm":
        return predicted * np.exp(random.laplace(0, 0.15, count)), predicted, spread
    true = predicted + random.laplace(0, 1, count) * SIZE[size](predicted, spread)
    return np.maximum(true, 0.01), predicted, spread


@given(st.lists(st.floats(0, 1e6), min_size=9, max_size=60), st.randoms())
def test_the_quantile_is_the_smallest_score_with_enough_scores_below(scores, random):
    quantile = conformal_quantile(random.sample(scores, len(scores)), 0.9)
    below = sum(score <= quantile for score in scores)
    strictly = sum(score < quantile for score in scores)
    assert 10 * below >= 9 * (len(scores) + 1)
    assert 10 * strictly < 9 * (len(scores) + 1)


@pytest.mark.parametrize(("count", "level", "rank"), [(9, 0.9, 9), (19, 0.9, 18), (99, 0.7, 70), (999, 0.95, 950)])
def test_the_rank_where_it_is_whole(count, level, rank):
    assert conformal_quantile(np.arange(1, count + 1), level) == rank


@pytest.mark.parametrize(("count", "level"), [(8, 0.9), (18, 0.95), (98, 0.99)])
def test_too_few_rows_for_the_level(count, level):
    with pytest.raises(InputError, match=f"at least {count + 1}"):
        conformal_quantile(np.ones(count), level)
    assert conformal_quantile(np.ones(count + 1), level) == 1


@pytest.mark.parametrize("count", [9, 25, 40])
def test_coverage_is_exact_in_small_samples(count):
    """With residuals uniform on (0, 1) an interval of half-width q covers q: its mean must be rank / (count + 1)."""
    random = np.random.default_rng(count)
    predicted, spread = np.full(count, 100.0), np.zeros(count)
    covered = [calibrate(predicted + random.uniform(-1, 1, count), predicted, spread).quantile for _ in range(3000)]
    expected = np.ceil((count + 1) * 0.9 - 1e-9) / (count + 1)
    assert np.mean(covered) == pytest.approx(expected, abs=4 * np.std(covered) / np.sqrt(len(covered)))
    assert expected >= 0.9


@pytest.mark.parametrize("size", [*SIZE, "logarithm"])
def test_coverage_whatever_the_errors_depend_on(size):
    random = np.random.default_rng(5)
    covered = []
    for _ in range(8):
        calibration = calibrate(*draw(random, 250, size))
        true, predicted, spread = draw(random, 4000, size)
        covered.append(coverage(true, *interval(calibration, predicted, spread)))
    # A quantile of 250 scores leaves 1.9 % of chance in each coverage.
    assert np.mean(covered) == pytest.approx(0.9, abs=3.5 * 0.019 / np.sqrt(8))


@pytest.mark.parametrize(
    ("size", "scales"),
    [
        ("spread", {"spread", "spread and prediction"}),
        ("prediction", {"prediction", "spread and prediction"}),
        ("both", {"spread and prediction"}),
        ("logarithm", {"log", "log spread", "prediction"}),
    ],
)
def test_widths_follow_the_errors(size, scales):
    random = np.random.default_rng(11)
    calibration = calibrate(*draw(random, 1500, size))
    assert calibration.scale in scales
    true, predicted, spread = draw(random, 5000, size)
    low, high = interval(calibration, predicted, spread)
    residuals = np.sort(np.abs(true - predicted))
    constant = residuals[int(0.9 * len(residuals))]
    assert interval_score(true, low, high) < 0.97 * interval_score(true, predicted - constant, predicted + constant)
    wide = high - low > np.quantile(high - low, 0.8)
    assert coverage(true[wide], low[wide], high[wide]) == pytest.approx(0.9, abs=0.04)
    assert coverage(true[wide], predicted[wide] - constant, predicted[wide] + constant) < 0.86


def test_the_interval_score_is_lowest_for_the_true_quantiles():
    true = np.random.default_rng(0).uniform(-1, 1, 20000)
    best = interval_score(true, np.full_like(true, -0.9), np.full_like(true, 0.9))
    for half in (0.8, 1.0):
        assert interval_score(true, np.full_like(true, -half), np.full_like(true, half)) > best
    assert best == pytest.approx(1.8 + 2 / 0.1 * 0.1**2 / 2, abs=0.01)


CALIBRATIONS = st.builds(
    Calibration,
    scale=st.sampled_from(list(SCALES)),
    quantile=st.floats(0, 5),
    level=st.just(0.9),
    count=st.just(100),
    lower=st.just(0.0),
    upper=st.none(),
    constant=st.floats(0, 30),
    per_spread=st.floats(0, 5),
    per_prediction=st.floats(0, 5),
)


@given(CALIBRATIONS, st.floats(-50, 800), st.floats(0, 100), st.floats(1, 2))
def test_intervals_of_moduli_are_never_negative_and_widen_with_the_spread(calibration, predicted, spread, factor):
    low, high = interval(calibration, [predicted] * 2, [spread, factor * spread])
    assert (low >= 0).all()
    assert (high >= low).all()
    assert low[1] <= low[0]
    assert high[1] >= high[0]
    if predicted >= 1:
        assert low[0] <= predicted * (1 + 1e-12)
        assert high[0] >= predicted * (1 - 1e-12)


def test_poisson_ratio_stays_between_its_bounds_without_logarithms():
    random = np.random.default_rng(3)
    predicted, spread = random.uniform(0.0, 0.45, 300), random.gamma(2, 0.02, 300)
    true = np.clip(predicted + random.standard_t(2, 300) * (0.02 + spread), -0.9, 0.49)
    calibration = calibrate(true, predicted, spread, bounds=BOUNDS["poisson_ratio"])
    assert not calibration.scale.startswith("log")
    low, high = interval(calibration, [-3.0, -0.99, 0.2, 0.49, 2.0], [0.1, 0.5, 9.0, 0.5, 0.1])
    assert (low >= -1).all()
    assert (high <= 0.5).all()
    assert (low <= high).all()


def test_rows_of_a_formula_stay_in_one_fold_wherever_they_stand():
    random = np.random.default_rng(4)
    formulas = [f"F{k}" for k in random.integers(0, 60, 300)]
    folds = folds_of(300, formulas)
    assert all(len({fold for fold, other in zip(folds, formulas, strict=True) if other == f}) == 1 for f in formulas)
    order = random.permutation(300)
    assert (folds_of(300, [formulas[k] for k in order]) == folds[order]).all()
    assert len(np.unique(folds)) > 1


def test_the_order_of_rows_does_not_matter():
    random = np.random.default_rng(6)
    rows, order = draw(random, 200, "both"), random.permutation(200)
    formulas = np.array([f"F{k // 2}" for k in range(200)])
    here = asdict(calibrate(*rows, groups=formulas.tolist()))
    there = asdict(calibrate(*(column[order] for column in rows), groups=formulas[order].tolist()))
    assert here.pop("scale") == there.pop("scale")
    assert (here.pop("upper"), there.pop("upper")) == (None, None)
    assert here == pytest.approx(there, rel=1e-6)


def test_a_calibration_survives_json():
    calibration = calibrate(*draw(np.random.default_rng(7), 200, "both"))
    assert Calibration(**json.loads(json.dumps(asdict(calibration), allow_nan=False))) == calibration


def test_predictions_without_error_or_without_spread():
    true = np.linspace(10, 300, 80)
    calibration = calibrate(true, true, np.zeros(80))
    low, high = interval(calibration, [50.0], [0.0])
    assert low[0] == pytest.approx(50)
    assert high[0] == pytest.approx(50)
    single = calibrate(true + np.random.default_rng(8).normal(0, 2, 80), true, np.zeros(80))
    assert np.isfinite(interval(single, true, np.zeros(80))).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"true": np.full(60, -1.0)}, "between 0 and inf"),
        ({"true": np.full(60, 0.6), "bounds": (-1.0, 0.5)}, "between -1 and 0.5"),
        ({"spread": np.full(60, np.nan)}, "finite"),
        ({"spread": np.ones(59)}, "equal length"),
        ({"level": 1.0}, "level"),
        ({"level": 0.99}, "too few"),
    ],
)
def test_data_that_cannot_calibrate(change, says):
    given = {"true": np.full(60, 100.0), "predicted": np.full(60, 99.0), "spread": np.ones(60)} | change
    with pytest.raises(InputError, match=says) as error:
        calibrate(**given)
    assert "\n" not in str(error.value)
