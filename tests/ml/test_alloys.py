"""Alloys: formulas, tables, end members, Vegard's rule, and what leaving out pairs of metals leaves out."""

import json
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardcoat_ml.alloy_comparison import compare
from hardcoat_ml.alloys import (
    Alloy,
    Setting,
    end_members,
    fingerprint,
    leave_one_pair_out,
    load_table,
    mixtures,
    pair_folds,
    parse_formula,
    predict_mean,
    predict_vegard,
    table_of_rows,
    vegard,
    with_end_members,
)
from hardcoat_ml.errors import InputError

METALS = ("Al", "Hf", "Nb", "Sc", "Ti", "V", "Zr")
B1 = Setting("made up", "B1", "N", "relaxed")

shares = st.dictionaries(st.sampled_from(METALS), st.integers(1, 8), min_size=1, max_size=4).map(
    lambda counts: tuple((metal, Fraction(n, sum(counts.values()))) for metal, n in sorted(counts.items()))
)
moduli = st.floats(50, 500)
alloys = st.builds(Alloy, shares, st.just(B1), moduli, moduli)


def ends(metals=METALS, setting=B1):
    """End members whose moduli all differ."""
    return [Alloy(((metal, Fraction(1)),), setting, 200.0 + 17 * k, 150.0 - 11 * k) for k, metal in enumerate(metals)]


def row(alloy="Ti0.5Al0.5N", structure="B1", B=268.0, G=194.0, **more):
    return {"alloy": alloy, "structure": structure, "B": B, "G": G, **more}


# --- formulas ---------------------------------------------------------------------------------------------------------


@given(alloys, st.randoms())
def test_formulas_are_read_as_they_are_written_whatever_the_order(alloy, random):
    assert parse_formula(alloy.formula) == (alloy.fractions, "N")
    terms = [f"{metal}{share}" for metal, share in alloy.fractions]
    random.shuffle(terms)
    assert parse_formula("".join(terms) + "N") == (alloy.fractions, "N")
    assert parse_formula("(" + "".join(terms) + ")N") == (alloy.fractions, "N")


@pytest.mark.parametrize(
    ("text", "metals", "anion"),
    [
        ("TiAlN2", {"Al": 0.5, "Ti": 0.5}, "N"),
        ("Hf0.75Al0.25N", {"Al": 0.25, "Hf": 0.75}, "N"),
        ("Ta0.25Hf0.75C", {"Hf": 0.75, "Ta": 0.25}, "C"),
        ("Ga.5In.5As", {"Ga": 0.5, "In": 0.5}, "As"),
        ("TiN", {"Ti": 1}, "N"),
        ("Ti1Al0N", {"Ti": 1}, "N"),
    ],
)
def test_formulas_of_other_anions_and_spellings(text, metals, anion):
    fractions, found = parse_formula(text)
    assert {metal: float(share) for metal, share in fractions} == metals
    assert found == anion


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "anion"),
        ("N", "anion"),
        ("TiAl", "anion"),
        ("Ti0.5Al0.6N", "sum to 1.1"),
        ("Ti0.5Al0.5C0.5N0.5", "no metal"),
        ("Qq0.5Al0.5N", "no element"),
        ("Ti0.5Ti0.5N", "twice"),
        ("Ti-0.5Al1.5N", "cannot read"),
        ("Ti1/0N", "divides by zero"),
        ("Ti0N", "sum"),
    ],
)
def test_other_texts_are_refused(text, words):
    with pytest.raises(InputError, match=words):
        parse_formula(text)


# --- tables -----------------------------------------------------------------------------------------------------------


def write(folder, content, name="table.json"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_table_keeps_where_it_comes_from(tmp_path):
    about = {"source": "Somebody, Some Journal (2020)", "doi": "10.1/1", "licence": "CC BY 4.0", "method": "clamped"}
    table = load_table(write(tmp_path, {**about, "rows": [row(), row("TiN", ions="relaxed")]}))
    assert table.source == {"file": "table.json", **{key: about[key] for key in ("source", "doi", "licence")}}
    mixed, end = table.alloys
    assert mixed.setting == ("10.1/1", "B1", "N", "clamped")
    assert (mixed.formula, mixed.bulk_modulus, mixed.shear_modulus) == ("Al0.5Ti0.5N", 268.0, 194.0)
    assert end.setting.ions == "relaxed"


def test_rows_of_the_catalogue_are_a_table(tmp_path):
    entry = {
        "pk": 7,
        "formula": "Al1/3Ti2/3N",
        "structure_type": "B4",
        "relaxed_structure_type": "Bk",
        "ions": "relaxed",
        "level": "ase:7net-l3i5",
        "level_fingerprint": "0123",
        "bulk_modulus": 200.5,
        "shear_modulus": 100.5,
    }
    unstable = {**entry, "bulk_modulus": None, "shear_modulus": None}
    table = load_table(write(tmp_path, [entry, unstable]))
    (alloy,) = table.alloys
    assert alloy.setting == ("ase:7net-l3i5 0123", "Bk", "N", "relaxed")
    assert dict(alloy.fractions)["Al"] == Fraction(1, 3)
    (line,) = table.left_out
    assert "row 2" in line


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "JSON"),
        ('{"rows": [', "JSON"),
        ({"rows": []}, "no rows"),
        ({"columns": []}, "no rows"),
        ([1, 2], "no rows"),
        ({"units": {"B": "kbar"}, "rows": [row()]}, "kbar"),
        ([row(), row("TiQ")], "row 2"),
        ([row(B=float("nan"))], "row 1.*NaN"),
        ([row(G=-3.0)], "row 1.*-3"),
        ([row(B="268")], "row 1.*268"),
        ([row(B=True)], "row 1.*true"),
        ([{"alloy": "TiN", "structure": "B1", "c11": 584.0}], "row 1.*no bulk"),
        ([{"alloy": "TiN", "B": 1.0, "G": 1.0}], "row 1.*no structure"),
        ([row(ions="frozen")], "row 1.*frozen"),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path, content, words):
    with pytest.raises(InputError, match=words) as caught:
        load_table(write(tmp_path, content))
    assert "table.json" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.json"):
        load_table(tmp_path / "none.json")


@given(st.lists(alloys, min_size=2, max_size=6), st.randoms())
def test_fingerprints_know_the_values_and_not_the_order(rows, random):
    found = fingerprint(rows)
    other = [Alloy(a.fractions, a.setting, a.bulk_modulus + 1, a.shear_modulus) for a in rows[:1]] + rows[1:]
    assert fingerprint(other) != found
    random.shuffle(rows)
    assert fingerprint(rows) == found


# --- Vegard's rule ----------------------------------------------------------------------------------------------------


@given(alloys)
def test_vegards_rule_is_linear_and_exact_at_the_end_members(alloy):
    known = end_members(ends())
    value = vegard(alloy, known)
    expected = sum(float(share) * known[B1, metal].moduli for metal, share in alloy.fractions)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for end in known.values():
        np.testing.assert_array_equal(vegard(end, known), end.moduli)


@pytest.mark.parametrize(
    "change", [{"structure": "B3"}, {"anion": "C"}, {"ions": "clamped"}, {"level": "another"}], ids=str
)
def test_end_members_of_another_setting_do_not_count(change):
    alloy = Alloy(parse_formula("Ti0.5Al0.5N")[0], B1._replace(**change), 1.0, 1.0)
    with pytest.raises(InputError, match=f"Al{alloy.setting.anion}"):
        vegard(alloy, end_members(ends()))


def test_alloys_without_an_end_member_are_named_and_left_out():
    alone = Alloy(parse_formula("Cr0.5Ti0.5N")[0], B1, 250.0, 100.0)
    whole = Alloy(parse_formula("Al0.5Ti0.5N")[0], B1, 250.0, 100.0)
    kept, lines = with_end_members([*ends(), alone, whole])
    assert mixtures(kept) == [whole]
    (line,) = lines
    assert "CrN" in line
    with pytest.raises(InputError, match="CrN"):
        with_end_members([*ends(), alone])


def test_of_equal_end_members_the_last_counts():
    first, second = (table_of_rows([row("TiN", B=value)], {}, "x").alloys[0] for value in (280.0, 290.0))
    assert end_members([first, second])[first.setting, "Ti"].bulk_modulus == 290.0


# --- leave one pair out -----------------------------------------------------------------------------------------------


@given(st.lists(alloys, max_size=12))
def test_no_pair_of_what_is_asked_is_learned(rows):
    rows = [*ends(), *rows]
    asked_once = np.zeros(len(rows), dtype=int)
    for learn, asked in pair_folds(rows):
        asked_once += asked
        unseen = {pair for alloy, yes in zip(rows, asked, strict=True) if yes for pair in combinations(alloy.metals, 2)}
        for alloy, learned in zip(rows, learn, strict=True):
            assert learned == (not unseen & set(alloy.pairs))
    assert asked_once.tolist() == [int(not alloy.is_end_member) for alloy in rows]


@given(st.lists(alloys, min_size=1, max_size=8))
def test_predictions_come_back_to_their_own_rows(rows):
    rows = [*ends(), *rows]

    def answer(learn, asked):
        assert not set(asked) & set(learn)
        return np.array([alloy.moduli for alloy in asked])

    predicted = leave_one_pair_out(rows, answer)
    for alloy, found in zip(rows, predicted, strict=True):
        assert np.isnan(found).all() if alloy.is_end_member else (found == alloy.moduli).all()


def test_the_mean_is_of_the_same_setting():
    other = [Alloy(end.fractions, B1._replace(structure="B3"), 1.0, 1.0) for end in ends()]
    asked = Alloy(parse_formula("Al0.5Ti0.5N")[0], B1, 250.0, 100.0)
    expected = np.mean([end.moduli for end in ends()], axis=0)
    np.testing.assert_allclose(predict_mean([*ends(), *other], [asked]), [expected])


# --- comparison -------------------------------------------------------------------------------------------------------


def table_of_pairs(metals=METALS, settings=(B1,), bow=10.0):
    """Alloys with the same bowing for all pairs, and their end members."""
    rows = [end for setting in settings for end in ends(metals, setting)]
    known = end_members(rows)
    for setting in settings:
        for pair in combinations(metals, 2):
            for x in (Fraction(1, 4), Fraction(1, 2), Fraction(3, 4)):
                fractions = tuple(zip(pair, (x, 1 - x), strict=True))
                value = vegard(Alloy(fractions, setting, 0.0, 0.0), known) - bow * 4 * float(x * (1 - x))
                rows.append(Alloy(fractions, setting, *value.tolist()))
    return rows


def test_what_beats_everything_simpler_is_kept_and_nothing_else():
    rows = table_of_pairs(settings=(B1, B1._replace(structure="B3")))
    true = np.array([alloy.moduli for alloy in rows])
    linear = leave_one_pair_out(rows, predict_vegard)
    predictions = {
        "mean": leave_one_pair_out(rows, predict_mean),
        "Vegard": linear,
        "the same": linear + 1e-12,
        "the truth": np.where(np.isfinite(linear), true, np.nan),
        "worse": linear - 1.0,
    }
    lines = compare(rows, predictions)
    assert [line.subset for line in lines[:: len(predictions)]] == ["B1", "B3", "B1+B3"]
    for line in lines:
        assert len(line.kept) == (4 if line.predictor in ("Vegard", "the truth") else 0)
        if line.predictor == "Vegard":
            assert line.scores["bulk_modulus"].mae == pytest.approx(10 * (0.75 + 1 + 0.75) / 3)
            assert line.systems == 21
            assert line.n == 63 * (2 if "+" in line.subset else 1)


def test_a_predictor_is_judged_on_what_it_predicts():
    rows = table_of_pairs(("Al", "Ti", "Zr"))
    linear = leave_one_pair_out(rows, predict_vegard)
    partial = linear.copy()
    partial[[k for k, alloy in enumerate(rows) if "Zr" in alloy.metals]] = np.nan
    lines = compare(rows, {"Vegard": linear, "partial": partial, "nothing": np.full_like(linear, np.nan)})
    assert [(line.predictor, line.n, line.systems) for line in lines] == [("Vegard", 9, 3), ("partial", 3, 1)]
    assert lines[1].standard_errors["bulk_modulus"] is None
