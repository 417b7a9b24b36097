"""The learned excess: its symmetries, what it can and cannot learn, and the model that is stored."""

import json
import math
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardcoat_ml.alloy_comparison import compare
from hardcoat_ml.alloys import Alloy, Setting, Table, end_members, leave_one_pair_out, load_table, mixtures, vegard
from hardcoat_ml.errors import InputError
from hardcoat_ml.excess import (
    DESCRIPTORS,
    RADII,
    add_reference_excess,
    descriptors,
    feature_columns,
    learn_excess,
    learn_reference_excess,
    mixing_weight,
    predict_excess,
    predict_pooled_excess,
    ridge,
    ridge_predictor,
)
from hardcoat_ml.excess_model import PREDICTORS, conformal, load, save, train

REFERENCE = Path(__file__).parents[2].parent / "shared" / "data" / "paper_table2_part.json"
METALS = ("Al", "Hf", "Nb", "Sc", "Ti", "V", "Zr")
B1 = Setting("made up", "B1", "N", "relaxed")
TRUTH = np.array([[-4.0, -1.2, 10.0], [-3.5, -0.9, -8.0]])
"""Coefficients of the excess of bulk and shear modulus."""

metals = st.lists(st.sampled_from(METALS), min_size=2, max_size=4, unique=True)
moduli = st.floats(80, 400)


def made_up(metals=METALS, noise=0.0, truth=TRUTH, setting=B1, seed=0):
    """End members, and alloys of every pair of metals that follow the law exactly, but for some relative noise."""
    random = np.random.default_rng(seed)
    rows = [Alloy(((metal, Fraction(1)),), setting, *random.uniform(120, 300, 2).tolist()) for metal in metals]
    known = end_members(rows)
    for pair in combinations(metals, 2):
        for x in (Fraction(1, 4), Fraction(1, 2), Fraction(3, 4)):
            alloy = Alloy(tuple(zip(pair, (x, 1 - x), strict=True)), setting, 1.0, 1.0)
            excess = (descriptors(alloy, known) * truth).sum(axis=1) + noise * random.standard_normal(2)
            rows.append(Alloy(alloy.fractions, setting, *(vegard(alloy, known) * (1 + excess)).tolist()))
    return rows


def errors(rows, predictor):
    """Mean absolute error (2,) of the mixed alloys, pairs left out."""
    predicted = leave_one_pair_out(rows, predictor)
    mixed = [not alloy.is_end_member for alloy in rows]
    return np.abs(predicted - [alloy.moduli for alloy in rows])[mixed].mean(axis=0)


# --- the law ----------------------------------------------------------------------------------------------------------


@given(metals, st.data())
def test_the_order_of_the_metals_plays_no_role(names, data):
    weights = data.draw(st.lists(st.integers(1, 9), min_size=len(names), max_size=len(names)))
    known = end_members(Alloy(((name, Fraction(1)),), B1, data.draw(moduli), data.draw(moduli)) for name in names)
    fractions = [(name, Fraction(weight, sum(weights))) for name, weight in zip(names, weights, strict=True)]
    there = descriptors(Alloy(tuple(fractions), B1, 1.0, 1.0), known)
    back = descriptors(Alloy(tuple(reversed(fractions)), B1, 1.0, 1.0), known)
    np.testing.assert_allclose(there, back, rtol=1e-9, atol=1e-15)


@given(moduli, moduli, st.integers(1, 9))
def test_metals_that_do_not_differ_have_no_excess(bulk, shear, count):
    assert RADII["Ga"] == RADII["Au"]
    known = end_members(Alloy(((metal, Fraction(1)),), B1, bulk, shear) for metal in ("Au", "Ga"))
    x = Fraction(count, 10)
    assert not descriptors(Alloy((("Au", x), ("Ga", 1 - x)), B1, 1.0, 1.0), known).any()


@given(metals)
def test_end_members_have_no_excess_and_no_weight(names):
    rows = made_up(tuple(sorted(names)))
    for end in end_members(rows).values():
        assert not descriptors(end, end_members(rows)).any()
        assert mixing_weight(end) == 0


def test_a_vanishing_metal_changes_nothing():
    known = end_members(made_up(("Al", "Ti", "Zr")))
    two = Alloy((("Al", Fraction(1, 4)), ("Ti", Fraction(3, 4))), B1, 1.0, 1.0)
    trace = Fraction(1, 10**9)
    three = Alloy((("Al", Fraction(1, 4)), ("Ti", Fraction(3, 4) - trace), ("Zr", trace)), B1, 1.0, 1.0)
    np.testing.assert_allclose(descriptors(three, known), descriptors(two, known), atol=1e-8)


def test_an_element_without_a_radius_is_named():
    known = end_members(made_up(("Al", "Ti")))
    known[B1, "Lr"] = known[B1, "Al"]
    with pytest.raises(InputError, match="Lr"):
        descriptors(Alloy((("Lr", Fraction(1, 2)), ("Ti", Fraction(1, 2))), B1, 1.0, 1.0), known)


# --- regression -------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.sampled_from([0.003, 0.1, 0.3]), st.floats(0.01, 100), st.integers(1, 3))
def test_ridge_knows_neither_units_nor_copies(seed, penalty, unit, copies):
    random = np.random.default_rng(seed)
    rows, targets = random.standard_normal((6, 3)), random.standard_normal(6)
    plain = ridge(rows, targets, penalty)
    np.testing.assert_allclose(
        ridge(rows * [unit, 1, 1], targets, penalty) * [unit, 1, 1], plain, rtol=1e-8, atol=1e-10
    )
    np.testing.assert_allclose(ridge(np.tile(rows, (copies, 1)), np.tile(targets, copies), penalty), plain, rtol=1e-8)
    np.testing.assert_allclose(ridge(rows, targets, 1e-12), np.linalg.lstsq(rows, targets)[0], rtol=1e-6, atol=1e-8)
    assert not ridge(rows, targets, math.inf).any()


def test_the_law_is_found_where_it_holds():
    rows = made_up()
    found = learn_excess(mixtures(rows), end_members(rows))
    for modulus, excess in enumerate(found):
        predicted = [descriptors(alloy, end_members(rows))[modulus] for alloy in mixtures(rows)]
        np.testing.assert_allclose(predicted @ excess.coefficients, predicted @ TRUTH[modulus], atol=0.02)
    assert (errors(rows, predict_excess) < 0.2 * errors(rows, PREDICTORS["Vegard"])).all()


def test_where_there_is_no_excess_none_is_made_up():
    rows = made_up(noise=0.01, truth=np.zeros((2, 3)))
    learned, plain = errors(rows, predict_excess), errors(rows, PREDICTORS["Vegard"])
    assert (learned < 1.25 * plain).all()


def test_alloys_of_more_metals_are_predicted_from_pairs():
    rows = made_up(("Al", "Hf", "Ti", "Zr"))
    known = end_members(rows)
    four = Alloy(tuple((metal, Fraction(1, 4)) for metal in ("Al", "Hf", "Ti", "Zr")), B1, 1.0, 1.0)
    expected = vegard(four, known) * (1 + (descriptors(four, known) * TRUTH).sum(axis=1))
    (found,) = predict_excess(rows, [four])
    assert (np.abs(found - expected) < 0.25 * np.abs(vegard(four, known) - expected)).all()


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(list(combinations(METALS[:4], 2))), st.integers(0, 100))
def test_what_is_left_out_leaves_no_trace(pair, seed):
    rows = made_up(METALS[:4], seed=seed)
    changed = [Alloy(a.fractions, B1, 1.5 * a.bulk_modulus, 99.0) if a.metals == pair else a for a in rows]
    mine = [a.metals == pair for a in rows]
    before, after = leave_one_pair_out(rows, predict_excess), leave_one_pair_out(changed, predict_excess)
    np.testing.assert_array_equal(before[mine], after[mine])


@settings(max_examples=10, deadline=None)
@given(st.floats(0.1, 10), st.integers(0, 100))
def test_the_unit_of_the_moduli_plays_no_role(factor, seed):
    rows = made_up(METALS[:5], noise=0.02, seed=seed)
    scaled = [Alloy(a.fractions, B1, *(factor * a.moduli).tolist()) for a in rows]
    np.testing.assert_allclose(
        leave_one_pair_out(scaled, predict_excess), factor * leave_one_pair_out(rows, predict_excess), rtol=1e-6
    )


def test_settings_learn_nothing_from_each_other_unless_pooled():
    few = made_up(("Al", "Ti"), setting=B1._replace(structure="B3"), seed=5)
    many = made_up()
    other = [Alloy(a.fractions, B1._replace(level="another"), a.shear_modulus, a.bulk_modulus) for a in many]
    clamped = [Alloy(a.fractions, B1._replace(ions="clamped"), a.shear_modulus, a.bulk_modulus) for a in many]
    asked = mixtures(few)
    linear = PREDICTORS["Vegard"](few, asked)
    np.testing.assert_array_equal(predict_excess([*few, *many], asked), linear)
    np.testing.assert_array_equal(predict_pooled_excess([*few, *other, *clamped], asked), linear)
    true = np.array([alloy.moduli for alloy in asked])
    pooled = np.abs(predict_pooled_excess([*few, *many], asked) - true).mean(axis=0)
    assert (pooled < 0.3 * np.abs(linear - true).mean(axis=0)).all()


# --- other columns ----------------------------------------------------------------------------------------------------


def test_features_of_structures_can_be_the_columns():
    """Features in which the excess is linear, among others that mean nothing."""
    rows = made_up(METALS[:5])
    known = end_members(rows)
    random = np.random.default_rng(1)
    own = {metal: random.standard_normal(8) for metal in METALS}
    features = {
        alloy: sum(float(share) * own[metal] for metal, share in alloy.fractions)
        + np.concatenate([descriptors(alloy, known).ravel(), np.zeros(2)])
        for alloy in rows
    }
    columns = feature_columns(features)
    assert all(np.allclose(columns(end, known), 0, atol=1e-12) for end in known.values())
    assert (errors(rows, ridge_predictor(columns)) < 0.5 * errors(rows, PREDICTORS["Vegard"])).all()


def test_a_reference_lends_its_excess_where_it_has_the_alloy():
    rows = made_up(METALS[:4])
    twin = [Alloy(a.fractions, B1._replace(level="potential"), *(0.8 * a.moduli).tolist()) for a in rows]
    without = [alloy for alloy in twin if alloy.metals != ("Al", "Hf")]
    asked = mixtures(rows)
    found = add_reference_excess(without)(rows, asked)
    learned = leave_one_pair_out(rows, learn_reference_excess(without))
    for alloy, prediction in zip(asked, found, strict=True):
        lacks = alloy.metals == ("Al", "Hf")
        assert np.isnan(learned[rows.index(alloy)]).all() == lacks
        if lacks:
            assert np.isnan(prediction).all()
        else:
            np.testing.assert_allclose(prediction, alloy.moduli, rtol=1e-12)


# --- model ------------------------------------------------------------------------------------------------------------


def table(rows, **source):
    return Table(tuple(rows), {"file": "made up", **source})


@pytest.fixture
def model():
    return train([table(made_up(), licence="CC BY 4.0")], "1.0")[0]


def test_end_members_come_out_as_they_are(model):
    known = end_members(made_up())
    for (_, metal), end in known.items():
        found = model.predict(metal + "N", "B1")
        assert (found.bulk_modulus, found.shear_modulus) == (end.bulk_modulus, end.shear_modulus)
        assert found.interval["bulk_modulus"] == (end.bulk_modulus, end.bulk_modulus)
        assert found.notes == ()


def test_young_and_poisson_follow(model):
    found = model.predict("Ti0.3Al0.3Zr0.4N", "B1")
    k, g = found.bulk_modulus, found.shear_modulus
    assert found.youngs_modulus == pytest.approx(9 * k * g / (3 * k + g))
    assert found.poisson_ratio == pytest.approx((3 * k - 2 * g) / (6 * k + 2 * g))
    assert found.bulk_modulus < found.vegard["bulk_modulus"]
    for name, (low, high) in found.interval.items():
        assert low < getattr(found, name) < high


def test_scores_of_pairs_left_out_are_stored(model):
    (known,) = model.settings
    assert set(known.scores) == set(PREDICTORS)
    lines = {line.predictor: line for line in compare(made_up(), {
        name: leave_one_pair_out(made_up(), each) for name, each in PREDICTORS.items()
    })}  # fmt: skip
    for name, scores in known.scores.items():
        assert scores == lines[name].scores
    assert known.scores["excess"]["bulk_modulus"].mae < known.scores["Vegard"]["bulk_modulus"].mae


@pytest.mark.parametrize("names", [("Al", "Ti"), ("Al", "Ti", "Zr")], ids=len)
def test_too_few_sets_of_metals_fall_back_to_vegard_and_say_so(names):
    rows = made_up(names)
    rows = [alloy for alloy in rows if alloy.metals != ("Al", "Ti") or len(names) == 2]
    model, _ = train([table(rows)], "1.0")
    found = model.predict(f"{names[-2]}0.5{names[-1]}0.5N", "B1")
    assert found.bulk_modulus == found.vegard["bulk_modulus"]
    assert any("Vegard" in note and "too" not in note and "needed" in note for note in found.notes)


def test_end_members_alone_give_vegards_rule_without_intervals():
    alone = [a for a in made_up(setting=B1._replace(structure="B3"), seed=2) if a.is_end_member]
    model, _ = train([table([*made_up(), *alone])], "1.0")
    found = model.predict("Al0.5Ti0.5N", "B3")
    assert found.bulk_modulus == found.vegard["bulk_modulus"]
    assert found.interval == {}
    assert found.level is None
    assert any("no interval" in note for note in found.notes)


def test_a_pooled_model_says_what_it_learned_from():
    few = made_up(("Al", "Ti"), setting=B1._replace(structure="B3"), seed=5)
    model, _ = train([table([*made_up(), *few])], "1.0", pooled=True)
    found = model.predict("Al0.5Ti0.5N", "B3")
    assert found.bulk_modulus < found.vegard["bulk_modulus"]
    assert any("B1 and B3" in note for note in found.notes)


def test_metals_that_differ_more_than_any_before_are_pointed_out():
    rows = [alloy for alloy in made_up((*METALS, "Ba")) if "Ba" not in alloy.metals or alloy.is_end_member]
    model, _ = train([table(rows)], "1.0")
    assert any("Al and Ba differ more in size" in note for note in model.predict("Al0.9Ba0.1N", "B1").notes)
    assert not any("differ more" in note for note in model.predict("Al0.5Ti0.5N", "B1").notes)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("Ti0.5Al0.5N", "B2"), "B2.*knows N in B1"),
        (("Ti0.5Al0.5C", "B1"), "C in B1"),
        (("Cr0.5Al0.5N", "B1"), "CrN"),
        (("Ti0.5Al0.6N", "B1"), "sum"),
        (("Ti0.5Al0.5N", "B1", "clamped"), "as asked"),
        (("Ti0.5Al0.5N", "B1", None, "nobody's"), "as asked"),
    ],
)
def test_what_the_model_does_not_know_is_refused(model, arguments, words):
    with pytest.raises(InputError, match=words):
        model.predict(*arguments)


def test_of_several_levels_and_ions_one_must_be_chosen():
    changes = ({}, {"ions": "clamped"}, {"level": "other level"})
    rows = [alloy for change in changes for alloy in made_up(setting=B1._replace(**change), seed=len(change))]
    model, _ = train([table(rows)], "1.0")
    with pytest.raises(InputError, match="clamped"):
        model.predict("Ti0.5Al0.5N", "B1")
    with pytest.raises(InputError, match="levels"):
        model.predict("Ti0.5Al0.5N", "B1", "relaxed")
    assert model.predict("Ti0.5Al0.5N", "B1", "relaxed", "other").setting.level == "other level"
    assert model.predict("Ti0.5Al0.5N", "B1", "clamped").setting.ions == "clamped"


def test_alloys_without_end_members_are_told_and_not_learned_from():
    rows = [alloy for alloy in made_up() if alloy.metals != ("Zr",)]
    model, lines = train([table(rows)], "1.0")
    assert len(lines) == 18
    assert all("ZrN" in line for line in lines)
    (known,) = model.settings
    assert not any("Zr" in system for system in known.systems)


# --- intervals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("systems", "level"), [(4, 0.8), (9, 0.9), (20, 0.9)])
def test_intervals_hold_a_new_set_of_metals_as_often_as_they_claim(systems, level):
    """Errors that are common to a set of metals, of a size that differs between sets."""
    names = list(combinations(("Al", "Hf", "Nb", "Sc", "Ti", "V", "Zr"), 2))[: systems + 1]
    x = (Fraction(1, 4), Fraction(1, 2), Fraction(3, 4))
    rows = [Alloy(tuple(zip(p, (y, 1 - y), strict=True)), B1, 250.0, 170.0) for p in names for y in x]
    weights = np.array([mixing_weight(alloy) for alloy in rows])
    random = np.random.default_rng(systems)
    held, trials = 0, 300
    for _ in range(trials):
        error = np.repeat(random.standard_t(4, systems + 1), 3) * weights
        predicted = np.stack([250 + 3 * error, 170 + 3 * error], axis=1)
        intervals = conformal(rows[:-3], predicted[:-3])
        assert intervals["bulk_modulus"].level == pytest.approx(level)
        held += bool((np.abs(3 * error[-3:]) <= intervals["bulk_modulus"].quantile * weights[-3:] * (1 + 1e-9)).all())
    spread = math.sqrt(level * (1 - level) / trials)
    assert held / trials > level - 4 * spread
    if systems == 4:
        assert held / trials < level + 4 * spread


def test_few_sets_of_metals_are_admitted():
    model, _ = train([table(made_up(("Al", "Ti", "Zr")))], "1.0")
    found = model.predict("Al0.5Ti0.5N", "B1")
    assert found.level == pytest.approx(0.75)
    assert any("75%" in note for note in found.notes)


# --- file -------------------------------------------------------------------------------------------------------------


def test_a_stored_model_says_the_same(model, tmp_path):
    path = tmp_path / "model.json"
    save(model, path)
    again = load(path)
    for formula in ("Ti0.5Al0.5N", "Ti0.2Al0.3Zr0.5N", "TiN"):
        assert again.predict(formula, "B1") == model.predict(formula, "B1")
    assert (again.fingerprint, again.sources, again.version) == (model.fingerprint, model.sources, "1.0")
    assert again.settings[0].scores == model.settings[0].scores
    content = json.loads(path.read_text())
    assert content["descriptors"] == list(DESCRIPTORS)
    assert content["sources"][0]["licence"] == "CC BY 4.0"
    assert [file.name for file in tmp_path.iterdir()] == ["model.json"]


def test_a_model_that_cannot_be_written_leaves_the_old_one(model, tmp_path):
    with pytest.raises(InputError, match="Cannot write"):
        save(model, tmp_path / "nowhere" / "model.json")
    assert not list(tmp_path.iterdir())


def damaged(content, path, value):
    *parents, last = path
    for key in parents:
        content = content[key]
    if value is None:
        del content[last]
    else:
        content[last] = value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("format",), "hardcoat excess 99", "version"),
        (("format",), None, "version"),
        (("settings",), None, "settings"),
        (("descriptors",), ["size"], "descriptors"),
        (("settings", 0, "end_members", "Ti", "bulk_modulus"), float("nan"), "NaN"),
        (("settings", 0, "end_members", "Ti", "bulk_modulus"), -1.0, "-1"),
        (("settings", 0, "end_members", "Ti"), 3.0, "damaged"),
        (("settings", 0, "excess", "bulk_modulus", "coefficients", "size^2"), "four", "four"),
        (("settings", 0, "excess", "shear_modulus"), None, "shear_modulus"),
        (("settings", 0, "intervals", "poisson_ratio"), None, "poisson_ratio"),
        (("settings", 0, "leave_one_pair_out", "excess", "bulk_modulus", "mae"), None, "damaged"),
    ],
)
def test_damaged_models_are_refused_in_one_line(model, tmp_path, path, value, words):
    file = tmp_path / "model.json"
    save(model, file)
    content = json.loads(file.read_text())
    damaged(content, path, value)
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=words) as caught:
        load(file)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", ["", "[]", '{"format": "hardcoat excess 1"', "\x00"])
def test_files_that_are_no_model_are_refused(tmp_path, content):
    file = tmp_path / "model.json"
    file.write_text(content)
    with pytest.raises(InputError, match=r"model\.json"):
        load(file)


# --- reference data ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study():
    if not REFERENCE.exists():
        pytest.skip("the reference table is not beside the checkout")
    return load_table(REFERENCE)


def of(rows, structure):
    return [alloy for alloy in rows if alloy.setting.structure == structure]


def test_the_excess_of_the_studys_rocksalt_alloys_is_learned_to_4_and_3_gpa(study):
    bulk, shear = errors(of(study.alloys, "B1"), predict_excess)
    assert bulk <= 4.0
    assert shear <= 3.0


@pytest.mark.parametrize("pair", [("Al", "Hf"), ("Al", "Ti"), ("Al", "Zr"), ("Ti", "Zr")], ids="-".join)
def test_no_pair_decides_whether_the_excess_is_learned(study, pair):
    rows = [alloy for alloy in of(study.alloys, "B1") if pair not in alloy.pairs]
    assert (errors(rows, predict_excess) < 0.5 * errors(rows, PREDICTORS["Vegard"])).all()


def test_one_pair_in_zincblende_is_too_little_for_an_excess_of_its_own(study):
    model, _ = train([study], "1.0")
    found = model.predict("Hf0.5Al0.5N", "B3")
    assert (found.bulk_modulus, found.shear_modulus) == (197.5, 101.5)  # half the sums of the end members
    assert any("only 1 set" in note for note in found.notes)


def test_rocksalt_tells_of_zincblende(study):
    """B3 Al-Hf from other pairs, all of them in B1."""
    rows = list(study.alloys)
    predicted = {name: leave_one_pair_out(rows, PREDICTORS[name]) for name in ("Vegard", "excess, pooled")}
    linear, pooled = (line.scores for line in compare(rows, predicted) if line.subset == "B3")
    for name in ("bulk_modulus", "shear_modulus"):
        assert pooled[name].mae < 0.5 * linear[name].mae
