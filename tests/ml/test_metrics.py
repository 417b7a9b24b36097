"""Scores: what they are for cases that can be worked out by hand, what leaves them alone, and what has no score."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardcoat_ml.errors import InputError
from hardcoat_ml.metrics import SMALLEST, scores, standard_error, youngs_and_poisson

MODULI = st.floats(0.5, 600)
PAIRS = st.lists(st.tuples(MODULI, MODULI), min_size=2, max_size=20)


@given(st.lists(st.tuples(MODULI, MODULI), min_size=1, max_size=10))
def test_youngs_modulus_and_poisson_ratio_keep_the_relations_of_an_isotropic_solid(pairs):
    bulk, shear = np.array(pairs).T
    youngs, poisson = youngs_and_poisson(bulk, shear)
    np.testing.assert_allclose(youngs, 2 * shear * (1 + poisson), rtol=1e-12)
    np.testing.assert_allclose(youngs, 3 * bulk * (1 - 2 * poisson), rtol=1e-9, atol=1e-9)
    assert ((poisson > -1) & (poisson < 0.5)).all()


def test_youngs_modulus_of_a_solid_without_poisson_contraction():
    youngs, poisson = youngs_and_poisson([20.0], [30.0])
    assert (youngs[0], poisson[0]) == (60.0, 0.0)


def test_scores_by_hand():
    found = scores([100.0, 200.0, 300.0], [110.0, 200.0, 270.0])
    assert found.mae == pytest.approx(40 / 3)
    assert found.mare == pytest.approx((0.1 + 0.0 + 0.1) / 3)
    assert found.rmse == pytest.approx(np.sqrt(1000 / 3))
    assert found.r2 == pytest.approx(1 - 1000 / 20000)
    assert found.log10_mae == pytest.approx((np.log10(1.1) - np.log10(0.9)) / 3)


def test_a_perfect_prediction_and_the_mean_of_the_truth():
    true = np.array([3.0, 5.0, 40.0])
    perfect, mean = scores(true, true), scores(true, np.full(3, true.mean()))
    assert (perfect.mae, perfect.mare, perfect.rmse, perfect.r2, perfect.log10_mae) == (0, 0, 0, 1, 0)
    assert mean.r2 == pytest.approx(0)


@given(PAIRS, st.floats(2, 50), st.randoms())
def test_scores_under_a_change_of_unit_and_of_order(pairs, factor, random):
    true, predicted = np.array(pairs).T
    shuffled = random.sample(range(len(true)), len(true))
    here, there = scores(true, predicted, 0.1), scores(factor * true[shuffled], factor * predicted[shuffled], 0.1)
    assert there.mae == pytest.approx(factor * here.mae)
    assert there.rmse == pytest.approx(factor * here.rmse)
    assert there.mare == pytest.approx(here.mare)
    assert there.log10_mae == pytest.approx(here.log10_mae, abs=1e-12)
    assert here.mae <= here.rmse * (1 + 1e-12)


def test_negative_predictions_have_a_logarithm_from_where_they_are_clipped():
    smallest = SMALLEST["bulk_modulus"]
    assert scores([100.0], [-40.0], smallest).log10_mae == pytest.approx(2 - np.log10(smallest))


def test_what_is_not_defined_is_none():
    constant = scores([7.0, 7.0], [6.0, 8.0])
    assert constant.r2 is None
    assert constant.mare == pytest.approx(1 / 7)
    assert scores([0.0], [0.1]).mare is None
    assert scores([0.0, 0.2], [0.1, 0.3]).mare == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("true", "predicted", "says"),
    [
        ([], [], "no rows"),
        ([1.0], [1.0, 2.0], "equal length"),
        ([1.0], [np.nan], "finite"),
        ([[1.0]], [[1.0]], "length"),
    ],
)
def test_columns_that_cannot_be_judged(true, predicted, says):
    with pytest.raises(InputError, match=says) as error:
        scores(true, predicted)
    assert "\n" not in str(error.value)


def test_the_standard_error_of_independent_rows_is_that_of_a_mean():
    values = np.random.default_rng(1).exponential(10, 400)
    assert standard_error(values) == pytest.approx(values.std(ddof=1) / 20, rel=0.12)


def test_copies_of_a_formula_add_no_certainty():
    values = np.random.default_rng(2).exponential(10, 100)
    formulas = [f"F{k}" for k in range(100)]
    once = standard_error(values, formulas)
    copied = standard_error(np.tile(values, 9), formulas * 9)
    assert copied == pytest.approx(once, rel=1e-9)
    assert standard_error(np.tile(values, 9)) < 0.5 * once


def test_one_formula_has_no_standard_error():
    assert standard_error([1.0, 2.0, 3.0], ["Al1N1"] * 3) is None
