"""Distance to the training data: checked against brute force, blind to units, far for what is far."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from hardcoat_ml.distance import NEIGHBOURS, FeatureSpace, feature_space
from hardcoat_ml.errors import InputError


def features(count, seed, width=64, rank=8):
    """Correlated features, as those of a network are, of very different sizes."""
    mixing = np.random.default_rng(99).normal(size=(rank, width))
    hidden = np.random.default_rng(seed).normal(size=(count, rank))
    return (hidden @ mixing) * np.geomspace(0.01, 100, width) + 5


def test_against_brute_force():
    training, validation, query = features(300, 1), features(80, 2), features(40, 3)
    mean, scale = training.mean(axis=0), training.std(axis=0)

    def plain(rows):
        known = (training - mean) / scale
        return np.sort(np.linalg.norm(((rows - mean) / scale)[:, None] - known, axis=-1))[:, :NEIGHBOURS].mean(axis=1)

    expected = plain(query) / np.quantile(plain(validation), 0.99)
    np.testing.assert_allclose(feature_space(training, validation).distance(query), expected, rtol=1e-4)


def test_what_is_like_the_training_data_is_near_and_what_is_not_is_far():
    training = features(600, 1)
    space = feature_space(training, features(500, 2))
    assert (space.distance(features(500, 3)) > 1).mean() == pytest.approx(0.01, abs=0.015)
    assert (space.distance(features(100, 3) + 6 * training.std(axis=0)) > 1).all()


@settings(max_examples=10)
@given(st.floats(0.01, 100), st.floats(-50, 50))
def test_the_unit_and_the_zero_of_features_do_not_matter(factor, shift):
    sets = [features(100, seed, width=6) for seed in (1, 2, 3)]
    here = feature_space(*sets[:2]).distance(sets[2])
    training, validation, query = (factor * rows + shift for rows in sets)
    np.testing.assert_allclose(feature_space(training, validation).distance(query), here, rtol=1e-3)


def test_a_feature_that_never_varied_is_not_blown_up():
    sets = [np.hstack([features(100, seed), np.full((100, 1), 3.0)]) for seed in (1, 2, 3)]
    without = feature_space(*(rows[:, :-1] for rows in sets[:2])).distance(sets[2][:, :-1])
    np.testing.assert_allclose(feature_space(*sets[:2]).distance(sets[2]), without, rtol=1e-5)


def test_pieces_give_what_the_whole_gives_and_nothing_gives_nothing():
    space = feature_space(features(50, 1), features(50, 2))
    query = features(600, 3)
    np.testing.assert_array_equal(space.distance(query)[400:], space.distance(query[400:]))
    assert space.distance(query[:0]).shape == (0,)


def test_a_space_survives_safetensors():
    space = feature_space(features(50, 1), features(50, 2))
    again = FeatureSpace.from_tensors(load(save(space.to_tensors())))
    np.testing.assert_array_equal(again.distance(features(20, 3)), space.distance(features(20, 3)))


@pytest.mark.parametrize(
    ("training", "validation", "says"),
    [
        (features(NEIGHBOURS - 1, 1), features(3, 2), "needs"),
        (features(50, 1), features(3, 2)[:0], "needs"),
        (np.tile(features(5, 1), (5, 1)), features(5, 1), "copies"),
        (features(50, 1) * np.nan, features(3, 2), "finite"),
    ],
)
def test_features_that_span_no_space(training, validation, says):
    with pytest.raises(InputError, match=says):
        feature_space(training, validation)


def test_features_of_another_network():
    with pytest.raises(InputError, match="width 64"):
        feature_space(features(50, 1), features(5, 2)).distance(features(5, 3)[:, :10])
