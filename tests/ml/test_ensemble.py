"""A stored ensemble: what it answers, and what it refuses."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hardcoat_ml import metrics
from hardcoat_ml.crystal import Crystal
from hardcoat_ml.ensemble import Ensemble, shipped_path
from hardcoat_ml.errors import InputError
from hardcoat_ml.metrics import PROPERTIES

ROCKSALT = Crystal(2.12 * (np.ones((3, 3)) - np.eye(3)), np.array([22, 7]), np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]))


@pytest.fixture(scope="module")
def shipped():
    return Ensemble.load()


@pytest.fixture
def copy(tmp_path):
    for suffix in (".json", ".safetensors"):
        shutil.copy(shipped_path().with_suffix(suffix), tmp_path / f"model{suffix}")
    return tmp_path / "model.safetensors"


def test_an_answer_is_whole(shipped):
    (answer,) = shipped.predict([ROCKSALT])
    members = shipped.members([ROCKSALT])[:, 0]
    assert answer.bulk_modulus == pytest.approx(members[:, 0].mean())
    assert answer.spread["shear_modulus"] == pytest.approx(members[:, 1].std(ddof=1))
    young, poisson = metrics.youngs_and_poisson(answer.bulk_modulus, answer.shear_modulus)
    assert (answer.youngs_modulus, answer.poisson_ratio) == pytest.approx((float(young), float(poisson)))
    for name in PROPERTIES:
        low, high = answer.interval[name]
        assert low < getattr(answer, name) < high
    assert answer.far == (answer.distance > 1)


def test_titanium_nitride_is_near_what_was_computed(shipped):
    """285 and 187 GPa: Levämäki et al., npj Comput. Mater. 8, 17 (2022), Table 2."""
    (answer,) = shipped.predict([ROCKSALT])
    assert answer.bulk_modulus == pytest.approx(285, rel=0.15)
    assert answer.shear_modulus == pytest.approx(187, rel=0.25)


def test_answers_do_not_depend_on_company(shipped):
    stretched = Crystal(ROCKSALT.lattice * 1.05, *ROCKSALT[1:])
    together = shipped.predict([stretched, ROCKSALT, stretched])
    alone = shipped.predict([ROCKSALT])[0]
    assert together[1].bulk_modulus == pytest.approx(alone.bulk_modulus, rel=1e-5)
    assert together[0] == together[2]


def test_the_card_says_where_it_comes_from(shipped):
    card = shipped.card
    assert card["members"] == 5
    assert card["data"]["licence"] == "CC BY 4.0"
    assert "Jain" in card["data"]["attribution"]
    assert len(card["data"]["fingerprint"]) == 64
    assert card["data"]["split"]["by"] == "formula"
    for name in ("bulk_modulus", "shear_modulus"):
        assert card["test"][name]["mae"] < 0.4 * card["test"]["predict_the_mean"][name]["mae"]
    assert {"torch", "numpy", "python"} <= card["libraries"].keys()
    assert card["protocol"]["name"] in ("quick", "study")


def test_no_formula_is_stored_in_the_clear(shipped):
    tensors = load_file(shipped_path().with_suffix(".safetensors"))
    assert tensors["seen_formulas"].dtype == torch.int64
    assert not shipped.saw("Nobody1")


def test_unseen_elements_are_named(shipped):
    with pytest.raises(InputError, match="no crystal with Es, Lr"):
        shipped.predict([Crystal(ROCKSALT.lattice, np.array([99, 103]), ROCKSALT.fractional)])
    with pytest.raises(InputError, match="no crystals"):
        shipped.predict([])


def test_a_compressed_crystal_is_far_from_all_that_was_seen(shipped):
    squeezed = Crystal(ROCKSALT.lattice * 0.5, *ROCKSALT[1:])
    usual, strange = shipped.predict([ROCKSALT, squeezed])
    assert strange.distance > usual.distance
    assert not usual.far


def test_a_lone_atom_has_an_answer(shipped):
    lone = Crystal(np.eye(3) * 30, np.array([22]), np.zeros((1, 3)))
    (answer,) = shipped.predict([lone])
    assert math.isfinite(answer.bulk_modulus)


def test_altered_weights_are_found(copy):
    content = bytearray(copy.read_bytes())
    content[-5] ^= 1
    copy.write_bytes(content)
    with pytest.raises(InputError, match="was altered, or belongs to another card"):
        Ensemble.load(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card | {"format": "something else"}, "no card of a model"),
        (lambda card: card | {"graphs": {"radius": 5}}, "graphs with other settings"),
        (lambda card: [card], "no card of a model"),
        (lambda card: {key: value for key, value in card.items() if key != "calibration"}, "lacks 'calibration'"),
    ],
)
def test_a_card_that_is_none_is_refused(copy, change, message):
    path = copy.with_suffix(".json")
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(InputError, match=message):
        Ensemble.load(copy)


def test_missing_and_torn_files_are_one_line(copy, tmp_path):
    with pytest.raises(InputError, match="no file"):
        Ensemble.load(tmp_path / "nowhere.json")
    copy.with_suffix(".json").write_text("{")
    with pytest.raises(InputError, match="no card"):
        Ensemble.load(copy)


def test_the_card_or_the_numbers_name_the_model(copy, shipped):
    assert Ensemble.load(copy).sha256 == Ensemble.load(copy.with_suffix(".json")).sha256 == shipped.sha256
