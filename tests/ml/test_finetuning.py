"""Networks that are trained further on alloys: what stays as it was, and that what is shown is learned."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from hardcoat_ml.alloys import Alloy, Setting, end_members, predict_vegard
from hardcoat_ml.crystal import Crystal
from hardcoat_ml.ensemble import Ensemble
from hardcoat_ml.errors import InputError
from hardcoat_ml.finetuning import TUNINGS, fine_tuned, tune
from hardcoat_ml.model import CGCNN, Architecture

B1 = Setting("made up", "B1", "N", "relaxed")
HALF = Fraction(1, 2)
ROWS = [
    Alloy((("Al", Fraction(1)),), B1, 256.0, 219.0),
    Alloy((("Ti", Fraction(1)),), B1, 285.0, 187.0),
    Alloy((("Al", HALF), ("Ti", HALF)), B1, 240.0, 180.0),
]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def ensemble():
    """Two members that have learned nothing."""
    network = CGCNN(Architecture((7, 13, 22), features=8, convolutions=2, hidden_features=8), [1, 2]).eval()
    mean, deviation = torch.tensor([250.0, 180.0]), torch.tensor([40.0, 40.0])
    return Ensemble(network, mean, deviation, np.array([], dtype=np.int64), None, {}, {}, "")


@pytest.fixture(scope="module")
def crystals():
    """Rocksalt cells; the alloy is the layered one of four atoms."""
    positions = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0.5, 0.5], [0, 0, 0.5]])

    def cell(metals, a):
        edge = a / np.sqrt(2)
        return Crystal(np.diag([edge, edge, a]), np.array([*metals, 7, 7]), positions)

    return dict(zip(ROWS, (cell((13, 13), 4.07), cell((22, 22), 4.25), cell((13, 22), 4.16)), strict=True))


def parameters(ensemble):
    return {name: values.detach().clone() for name, values in ensemble.network.named_parameters()}


@pytest.mark.parametrize("layers", TUNINGS)
def test_only_the_layers_that_are_asked_for_change(ensemble, crystals, layers):
    before, buffers = parameters(ensemble), [b.clone() for b in ensemble.network.buffers()]
    tuned = tune(ensemble, list(crystals.values()), [a.moduli for a in ROWS], TUNINGS[layers])
    assert all(torch.equal(values, before[name]) for name, values in parameters(ensemble).items())
    for name, values in parameters(tuned).items():
        behind_the_pooling = name.startswith(("hidden", "output"))
        assert torch.equal(values, before[name]) == (layers == "read-out" and not behind_the_pooling), name
    assert all(torch.equal(now, then) for now, then in zip(tuned.network.buffers(), buffers, strict=True))


@pytest.mark.parametrize("layers", TUNINGS)
def test_training_further_brings_the_network_nearer_to_what_it_is_shown(ensemble, crystals, layers):
    shown = np.array([alloy.moduli for alloy in ROWS])
    tuned = tune(ensemble, list(crystals.values()), list(shown), TUNINGS[layers])
    before, after = (
        np.abs(each.members(list(crystals.values())).mean(axis=0) - shown).mean() for each in (ensemble, tuned)
    )
    assert after < before


def test_a_prediction_is_vegards_rule_and_the_networks_excess(ensemble, crystals, monkeypatch):
    """Of a network that says 10 GPa too little of everything but the alloy, of which it says 30 too little."""

    def says(self, asked):
        wrong = [30.0 if len(set(crystal.numbers.tolist())) == 3 else 10.0 for crystal in asked]
        own = {crystal.numbers.tobytes(): alloy for alloy, crystal in crystals.items()}
        true = np.array([own[crystal.numbers.tobytes()].moduli for crystal in asked])
        return np.tile(true - np.array(wrong)[:, None], (2, 1, 1))

    monkeypatch.setattr(Ensemble, "members", says)
    predictor = fine_tuned(ensemble, crystals, "read-out")
    found = predictor(ROWS[:2], ROWS)
    np.testing.assert_allclose(found[:2], predict_vegard(ROWS[:2], ROWS[:2]))
    np.testing.assert_allclose(found[2], ROWS[2].moduli - 20)


def test_the_same_lesson_gives_the_same_network(ensemble, crystals):
    predictor = fine_tuned(ensemble, crystals)
    np.testing.assert_array_equal(predictor(ROWS, ROWS), predictor(ROWS, ROWS))


def test_unknown_layers_are_named(ensemble, crystals):
    with pytest.raises(InputError, match="read-out, all"):
        fine_tuned(ensemble, crystals, "some")


def test_end_members_of_the_lesson_are_those_of_the_setting(ensemble, crystals):
    """Clamped alloys beside relaxed ones do not mix."""
    clamped = {Alloy(a.fractions, B1._replace(ions="clamped"), 2 * a.bulk_modulus, 1.0): c for a, c in crystals.items()}
    everything = [*ROWS, *clamped]
    alone = fine_tuned(ensemble, crystals)(ROWS, ROWS[2:])
    together = fine_tuned(ensemble, crystals | clamped)(everything, ROWS[2:])
    np.testing.assert_array_equal(alone, together)
    assert len(end_members(everything)) == 4
