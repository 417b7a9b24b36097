"""The study's tables on entries and predictions whose numbers are known."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from conftest import empty_catalogue, entry_values, linked, prediction_values, rocksalt
from hypothesis import given
from hypothesis import strategies as st

from aiida_hardcoat.catalogue.references import STUDY, Material
from aiida_hardcoat.catalogue.selection import Level
from aiida_hardcoat.catalogue.tables import constants, learned, relaxation, series
from aiida_hardcoat.catalogue.tables.constants import constants_table
from aiida_hardcoat.catalogue.tables.figures import constants_figure, learned_figure, relaxation_figure, table_figure
from aiida_hardcoat.catalogue.tables.learned import TEST_SET, learned_table
from aiida_hardcoat.catalogue.tables.relaxation import QUANTITIES, relaxation_table
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PROPERTIES, PredictionData
from aiida_hardcoat.errors import InputError

LABEL = "tables"
SOFT = {"level": "ase:soft", "level_fingerprint": "5" * 16}
STIFF = {"level": "dft:stiff", "level_fingerprint": "7" * 16}
TIN, ALN = {"fractions": {"Ti": 1.0}, "formula": "TiN"}, {"fractions": {"Al": 1.0}, "formula": "AlN"}
HALF = {"fractions": {"Al": 0.5, "Ti": 0.5}}
QUARTER = {"fractions": {"Al": 0.25, "Ti": 0.75}}
B3 = {"structure_type": "B3", "relaxed_structure_type": "B3"}
B4 = {"structure_type": "B4", "relaxed_structure_type": "B4", "crystal_class": "hexagonal"}
CLAMPED = {"ions": "clamped"}

OLD = {"model_sha256": "a" * 64, "model_fingerprint": "old", "model_version": "1"}
NEW = {"model_sha256": "b" * 64, "model_fingerprint": "new", "model_version": "2"}
CARD = {"test": {"n": 7, **{name: {"mae": 1.5, "mare": 0.25} for name in PROPERTIES}}}

# Changes of an entry, and of the predictions for its structure from the oldest to the newest.
ENTRIES = {
    "TiN": ({**TIN, **SOFT, "c11": 580.0, "c44": 160.0, "number_of_atoms": 2}, [{**OLD, "in_training_data": True}]),
    "TiN clamped": (
        {**TIN, **SOFT, **CLAMPED, "c11": 600.0, "c44": 170.0, "number_of_atoms": 2},
        [{**OLD, "in_training_data": True}],
    ),
    "half": ({**HALF, **SOFT, "c11": 500.0, "c12": 150.0, "sqs_seed": 0}, [{**OLD, "bulk": 260.0}]),
    "half, another seed": ({**HALF, **SOFT, "c11": 480.0, "c12": 150.0, "sqs_seed": 1}, [{**OLD, "bulk": 250.0}]),
    "half clamped": ({**HALF, **SOFT, **CLAMPED, "c11": 470.0, "c12": 170.0}, [{**OLD, "bulk": 290.0}]),
    "half B3 clamped": ({**HALF, **SOFT, **B3, **CLAMPED, "c11": 300.0, "c12": 160.0, "c44": 120.0}, []),
    "AlN B4": ({**ALN, **SOFT, **B4, "c11": 380.0, "c12": 120.0, "c44": 130.0}, [dict(OLD)]),
    "AlN B4 clamped": ({**ALN, **SOFT, **B4, **CLAMPED, "c11": 390.0, "c12": 120.0, "c44": 130.0}, []),
    "fell": ({**HALF, **SOFT, **B4, "c11": 900.0, "relaxed_structure_type": "Bk"}, []),
    "fell clamped": ({**HALF, **SOFT, **B4, **CLAMPED, "c11": 300.0}, []),
    "no other half": ({**QUARTER, **SOFT, "c11": 550.0}, [{**OLD, "bulk": 270.0}]),
    "unstable": ({**QUARTER, **SOFT, **B3, "c11": 100.0, "c12": 200.0, "c44": 50.0}, []),
    "unstable clamped": ({**QUARTER, **SOFT, **B3, **CLAMPED, "c11": 120.0, "c12": 200.0, "c44": 50.0}, []),
    "beyond": ({**ALN, **SOFT, "c11": 200.0, "c12": 210.0, "c44": 50.0}, []),
    "other level": ({**TIN, **STIFF, "c11": 999.0, "c12": 100.0}, [{**OLD, "bulk": 999.0}]),
    "other level clamped": ({**TIN, **STIFF, **CLAMPED, "c11": 100.0}, []),
    "half B3": ({**HALF, **SOFT, **B3, "c11": 300.0, "c12": 160.0}, [{**OLD, "bulk": 220.0}, {**NEW, "bulk": 200.0}]),
}


def store(label, order):
    group, stored = empty_catalogue(label), {}
    model = orm.Dict({"card": CARD})
    for name in order:
        changes, predictions = ENTRIES[name]
        structure = orm.StructureData(ase=rocksalt())
        entry = linked(structure, ElasticData(**entry_values(**changes)))
        nodes = [
            linked(structure, PredictionData(**prediction_values(changes["fractions"], **values)), {"model": model})
            for values in predictions
        ]
        group.add_nodes([entry, *nodes])
        stored[name] = entry
    return stored


@pytest.fixture(scope="module", autouse=True)
def entries(aiida_profile):
    return store(LABEL, ENTRIES)


def score(found, **place):
    (row,) = [row for row in found["rows"] if all(row[key] == value for key, value in place.items())]
    return row


# --- table 1 ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def first(entries):
    return relaxation_table("ase:soft", label=LABEL)


def test_errors_of_clamped_ions_are_those_of_plain_numpy(first, entries):
    halves = {
        "B1": [(["TiN"], "TiN clamped"), (["half", "half, another seed"], "half clamped")],
        "B3": [(["half B3"], "half B3 clamped"), (["unstable"], "unstable clamped")],
        "B4": [(["AlN B4"], "AlN B4 clamped")],
    }
    halves["all"] = [pair for pairs in halves.values() for pair in pairs]
    for kind, pairs in halves.items():
        for name in ("c11", "c12", "c44", "bulk_modulus", "shear_modulus", "poisson_ratio", "hardness_chen_2011"):
            values = [
                ([getattr(entries[one], name) for one in relaxed], getattr(entries[c], name)) for relaxed, c in pairs
            ]
            known = [(np.mean(relaxed), clamped) for relaxed, clamped in values if None not in (*relaxed, clamped)]
            relaxed, clamped = np.array(known).T
            row = score(first, structure_type=kind, quantity=name)
            assert row["n"] == len(known)
            assert row["mae"] == pytest.approx(np.abs(clamped - relaxed).mean())
            assert row["mare"] == pytest.approx((np.abs(clamped - relaxed) / np.abs(relaxed)).mean())
            assert row["mean_difference"] == pytest.approx((clamped - relaxed).mean())


def test_a_hand_computed_case(first):
    # C11 in B1: 580 -> 600, and the mean of 500 and 480 -> 470.
    row = score(first, structure_type="B1", quantity="c11")
    assert row["mae"] == pytest.approx((20 + 20) / 2)
    assert row["mare"] == pytest.approx((20 / 580 + 20 / 490) / 2)
    assert row["mean_difference"] == pytest.approx(0.0)


def test_only_independent_constants_are_scored(first):
    scored = {
        kind: [row["quantity"] for row in first["rows"] if row["structure_type"] == kind] for kind in ("B1", "B4")
    }
    assert not {"c13", "c33"} & set(scored["B1"])
    assert scored["B4"] == list(QUANTITIES)
    assert score(first, structure_type="all", quantity="c33")["n"] == 1


def test_what_fell_into_another_structure_is_left_out_and_named(first):
    assert first["left_out"] == [{"formula": "Al0.5Ti0.5N", "structure_type": "B4", "became": {"relaxed": "Bk"}}]
    assert {(pair["formula"], pair["structure_type"]) for pair in first["pairs"]} == {
        ("TiN", "B1"), ("Al0.5Ti0.5N", "B1"), ("Al0.5Ti0.5N", "B3"), ("Al0.25Ti0.75N", "B3"), ("AlN", "B4"),
    }  # fmt: skip


def test_levels_are_not_pooled():
    found = relaxation_table("dft:stiff", label=LABEL)
    assert score(found, structure_type="B1", quantity="c11")["mae"] == pytest.approx(899.0)
    assert (found["level_fingerprint"], found["entries"], found["materials"]) == ("7" * 16, 2, 2)
    for table in (relaxation_table, constants_table, learned_table):
        with pytest.raises(InputError, match=r"dft:stiff.*--level"):
            table(label=LABEL)


def test_a_missing_half_is_named_first_with_the_command_for_it(first):
    halves = first["missing"][:2]
    assert halves == [
        {
            "formula": "AlN", "structure_type": "B1", "ions": "clamped",
            "command": "hardcoat run AlN -s B1 --ions clamped --engine ase:soft",
        },
        {
            "formula": "Al0.25Ti0.75N", "structure_type": "B1", "ions": "clamped",
            "command": "hardcoat run Al0.25Ti0.75N -s B1 --ions clamped --engine ase:soft",
        },
    ]  # fmt: skip


def test_the_grid_of_the_study_is_completed(first):
    there = {(row["formula"], row["structure_type"], row["ions"]) for row in series.materials(
        Level("ase:soft", "5" * 16), label=LABEL
    )}  # fmt: skip
    missing = {(row["formula"], row["structure_type"], row["ions"]) for row in first["missing"]}
    formulas = ("TiN", "Al0.25Ti0.75N", "Al0.5Ti0.5N", "Al0.75Ti0.25N", "AlN")
    grid = {(f, s, i) for f in formulas for s in ("B1", "B3", "B4") for i in ("relaxed", "clamped")}
    assert missing == grid - there
    assert len(first["missing"]) == len(missing)


def test_a_missing_half_of_a_small_cell_is_asked_for_in_a_small_cell():
    rows = [{"formula": "HfN", "structure_type": "B1", "ions": "clamped", "number_of_atoms": 2, "system": "Hf-N"}]
    missing = series.missing_materials(rows, Level("ase:a model", "0"))
    assert missing[0]["command"] == "hardcoat run HfN -s B1 --ions relaxed --engine 'ase:a model' --atoms 2"
    assert len(missing) == 2 * 3 - 1


def test_a_system_holds_its_end_members_and_nothing_else():
    found = relaxation_table("ase:soft", system="N-Ti", label=LABEL)
    assert [pair["formula"] for pair in found["pairs"]] == ["TiN"]
    assert found["system"] == "Ti-N"
    assert {row["formula"] for row in found["missing"]} == {"TiN"}
    with pytest.raises(InputError, match=r"no entry of Hf-Zr-N .*`hardcoat run Hf0.5Zr0.5N -s B1 .*--engine ase:soft`"):
        relaxation_table("ase:soft", system="Zr-Hf-N", label=LABEL)


clamped_pairs = st.lists(
    st.tuples(st.floats(50, 900), st.floats(-50, 900), st.sampled_from(["B1", "B3"])), min_size=1, max_size=6
)


@given(clamped_pairs, st.randoms(use_true_random=False))
def test_the_errors_do_not_depend_on_the_order_of_the_pairs_but_for_rounding(pairs, shuffler: random.Random):
    rows = [({"structure_type": kind, "c11": a}, {"structure_type": kind, "c11": b}) for a, b, kind in pairs]
    one = relaxation.differences(rows, "c11")
    other = relaxation.differences(shuffler.sample(rows, len(rows)), "c11")
    for name in one:
        assert other[name] == pytest.approx(one[name])
    assert abs(one["mean_difference"]) <= one["mae"] * (1 + 1e-12)


# --- table 2 ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def second(entries):
    return constants_table("ase:soft", label=LABEL)


def material(found, formula, structure_type="B1"):
    return score(found, formula=formula, structure_type=structure_type)


def test_every_material_is_there_once_and_in_order(second):
    places = [(row["system"], row["structure_type"], row["x"]) for row in second["rows"]]
    assert places == sorted(places)
    assert len(set(places)) == len(places)
    assert {row["ions"] for row in second["rows"]} == {"relaxed"}
    clamped = constants_table("ase:soft", ions="clamped", label=LABEL)
    assert {row["ions"] for row in clamped["rows"]} == {"clamped"}
    assert clamped["references"] == []  # the study's atoms are relaxed


def test_values_are_those_of_the_entry_and_dependent_constants_are_not_told(second, entries):
    row = material(second, "TiN")
    for name in ("c11", "c12", "c44", *PROPERTIES, "pugh_ratio", "hardness_chen_2011"):
        assert row[name] == getattr(entries["TiN"], name)
    assert row["c13"] is None
    assert row["c33"] is None
    assert row["uuids"] == [entries["TiN"].uuid]
    assert material(second, "AlN", "B4")["c33"] == entries["AlN B4"].c33


def test_the_spread_over_seeds(second):
    row = material(second, "Al0.5Ti0.5N")
    assert (row["n"], row["c11"]) == (2, pytest.approx(490.0))
    assert row["spread"]["c11"] == pytest.approx(200**0.5)
    assert material(second, "TiN")["spread"]["c11"] is None


def test_the_study_stands_beside_what_it_knows(second):
    row, known = material(second, "TiN"), STUDY.rows[Material("TiN", "B1")]
    assert row["references"]["study"] == known
    for name, value in known.items():
        assert row["deviations"]["study"][name] == pytest.approx((row[name] - value) / value)
    assert material(second, "Al0.25Ti0.75N")["references"] == {}
    assert [reference["doi"] for reference in second["references"]] == [STUDY.doi]
    assert material(second, "Al0.25Ti0.75N", "B3")["bulk_modulus"] == pytest.approx(500 / 3)


def test_a_file_adds_to_the_study_or_stands_beside_it(tmp_path):
    path = tmp_path / "mine.json"
    rows = [{"alloy": "Ti0.75Al0.25N", "structure": "B1", "c11": 500.0, "B": 250.0}]
    path.write_text(json.dumps({"doi": STUDY.doi, "source": "the study, more of it", "rows": rows}))
    row = material(constants_table("ase:soft", reference_file=path, label=LABEL), "Al0.25Ti0.75N")
    assert row["deviations"]["study"]["c11"] == pytest.approx(0.1)
    path.write_text(json.dumps({"doi": "10.1/other", "source": "elsewhere", "rows": rows}))
    found = constants_table("ase:soft", reference_file=path, label=LABEL)
    assert material(found, "Al0.25Ti0.75N")["references"] == {"mine": {"c11": 500.0, "bulk_modulus": 250.0}}
    assert [reference["name"] for reference in found["references"]] == ["study", "mine"]


def test_fallen_and_unstable_materials_are_marked(second):
    assert material(second, "Al0.5Ti0.5N", "B4")["relaxed_structure_type"] == "Bk"
    unstable, beyond = material(second, "Al0.25Ti0.75N", "B3"), material(second, "AlN")
    assert (unstable["stable"], unstable["stable_with_tolerance"]) == (False, False)
    assert (beyond["stable"], beyond["stable_with_tolerance"]) == (False, True)
    assert unstable["shear_modulus"] is None


def test_only_missing_materials_with_such_ions_are_named(second):
    assert {row["ions"] for row in second["missing"]} == {"relaxed"}
    assert "hardcoat run Al0.75Ti0.25N -s B1 --ions relaxed --engine ase:soft" in [
        row["command"] for row in second["missing"]
    ]


# --- table 3 ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def third(entries):
    return learned_table("ase:soft", model="old", label=LABEL)


def test_errors_of_learned_moduli_are_those_of_plain_numpy(third, entries):
    sets = {
        ("B1", "relaxed"): [(["half", "half, another seed"], 255.0), (["no other half"], 270.0)],
        ("B3", "relaxed"): [(["half B3"], 220.0)],
        ("B4", "relaxed"): [(["AlN B4"], 250.0)],
        ("B1", "clamped"): [(["half clamped"], 290.0)],
    }
    sets["B1+B3", "relaxed"] = sets["B1", "relaxed"] + sets["B3", "relaxed"]
    sets["B1+B3", "clamped"] = sets["B1", "clamped"]
    for (name, ions), members in sets.items():
        computed = np.array([np.mean([entries[one].bulk_modulus for one in ones]) for ones, _ in members])
        predicted = np.array([value for _, value in members])
        row = score(third, set=name, ions=ions, quantity="bulk_modulus")
        assert row["n"] == len(members)
        assert row["mae"] == pytest.approx(np.abs(predicted - computed).mean())
        assert row["mare"] == pytest.approx((np.abs(predicted - computed) / computed).mean())
    empty = score(third, set="B3", ions="clamped", quantity="bulk_modulus")
    assert (empty["n"], empty["mae"], empty["mare"]) == (0, None, None)


def test_end_members_that_were_trained_on_are_left_out_and_counted(third):
    assert third["left_out"] == [
        {"formula": "TiN", "structure_type": "B1", "ions": ions} for ions in ("clamped", "relaxed")
    ]
    for ions in ("relaxed", "clamped"):
        assert score(third, set="B1", ions=ions, quantity="bulk_modulus")["left_out"] == 1
        assert score(third, set="B3", ions=ions, quantity="bulk_modulus")["left_out"] == 0
    assert "TiN" not in {alloy["formula"] for alloy in third["alloys"]}


def test_one_model_at_a_time_the_newest_by_default(third):
    newest = learned_table("ase:soft", label=LABEL)
    assert newest["model"]["model_fingerprint"] == "new"
    assert [alloy["predicted_bulk_modulus"] for alloy in newest["alloys"]] == [200.0]
    assert third["model"]["model_fingerprint"] == "old"
    by_hash = learned_table("ase:soft", model="aaaa", ions="relaxed", label=LABEL)
    assert by_hash["model"] == third["model"]
    assert {row["ions"] for row in by_hash["rows"]} == {None, "relaxed"}
    for model in ("all", "cgcnm"):
        with pytest.raises(InputError):
            learned_table("ase:soft", model=model, label=LABEL)


def test_the_test_set_is_that_of_the_card_of_the_model(third):
    for name in PROPERTIES:
        row = score(third, set=TEST_SET, quantity=name)
        assert (row["n"], row["mae"], row["mare"]) == (7, 1.5, 0.25)
    assert third["notes"] == []


def test_what_the_card_lacks_is_said():
    identity = {"model_name": "own", "model_version": "3", "model_sha256": "c" * 64}
    rows, (note,) = learned.test_rows({}, identity)
    assert {(row["n"], row["mae"]) for row in rows} == {(None, None)}
    assert "own 3 (cccccccc)" in note
    rows, (note,) = learned.test_rows({"test": {"n": 3, "bulk_modulus": {"mae": 1.0, "mare": 0.1}}}, identity)
    assert "shear_modulus, youngs_modulus, poisson_ratio" in note
    assert "bulk" not in note


def test_shipped_cards_tell_of_their_test_sets():
    cards = learned.shipped_cards()
    assert learned.DEFAULT_MODEL in {card["name"] for card in cards.values()}
    for sha256, card in cards.items():
        assert learned.card_of([0], sha256) == card
        rows, notes = learned.test_rows(card, {"model_name": "", "model_version": "", "model_sha256": sha256})
        assert notes == []
        assert all(row["mae"] > 0 and row["n"] > 100 for row in rows)
    assert learned.card_of([0], "0" * 64) == {}


def test_entries_without_a_prediction_are_named_with_the_command(third, entries):
    commands = [row["command"] for row in third["missing"]]
    assert f"hardcoat ml predict {entries['half B3 clamped'].uuid} --store --model cgcnn.json" in commands
    assert not any(entries["half B3"].uuid in command for command in commands)
    default = next(sha for sha, card in learned.shipped_cards().items() if card["name"] == learned.DEFAULT_MODEL)
    row = {"formula": "TiN", "structure_type": "B1", "ions": "relaxed", "uuids": ["u"]}
    assert learned.not_predicted(row, {"model_sha256": default, "model_name": "cgcnn"})["command"] == (
        "hardcoat ml predict u --store"
    )


def test_a_level_without_predictions_says_what_to_run(entries):
    empty_catalogue("not predicted").add_nodes([entries["unstable"]])
    with pytest.raises(InputError, match="hardcoat ml predict --all --store"):
        learned_table(label="not predicted")


# --- all ----------------------------------------------------------------------------------------------------------


def without_uuids(found):
    """A table but for what tells nodes apart."""
    if isinstance(found, dict):
        named = ("uuids", "prediction_uuids")
        commands = {"command"} if "ml predict" in found.get("command", "") else set()
        return {key: without_uuids(value) for key, value in found.items() if key not in {*named, *commands}}
    return [without_uuids(value) for value in found] if isinstance(found, list) else found


def test_tables_do_not_depend_on_the_order_in_which_entries_came(first, second, third):
    label = "shuffled"
    store(label, random.Random(1).sample(list(ENTRIES), len(ENTRIES)))
    again = [
        relaxation_table("ase:soft", label=label),
        constants_table("ase:soft", label=label),
        learned_table("ase:soft", model="old", label=label),
    ]
    for one, other in zip((first, second, third), again, strict=True):
        assert json.dumps(without_uuids(other)) == json.dumps(without_uuids(one))


def test_tables_are_plain_json_with_what_they_are_made_from(first, second, third):
    for number, found in enumerate((first, second, third), start=1):
        assert json.loads(json.dumps(found)) == found
        assert (found["table"], found["level"], found["level_fingerprint"]) == (number, "ase:soft", "5" * 16)
        assert '"pk' not in json.dumps(found)
    assert (first["entries"], first["materials"]) == (15, 14)


def test_figures_show_the_numbers_of_the_tables(first, second, third):
    (axes,) = relaxation_figure(first).axes
    bars = {round(bar.get_height(), 9) for bar in axes.patches}
    shares = {round(100 * row["mare"], 9) for row in first["rows"] if row["structure_type"] != "all"}
    assert bars == shares
    panels = {panel.get_title(loc="left"): panel for panel in constants_figure(second).axes}
    assert set(panels) == {"Al–Ti–N, B1", "Al–Ti–N, B3", "Al–Ti–N, B4"}
    c11 = panels["Al–Ti–N, B1"].lines[0]
    np.testing.assert_allclose(c11.get_xdata(orig=False), [0, 0.25, 0.5, 1])
    np.testing.assert_allclose(c11.get_ydata(orig=False), [580.0, 550.0, 490.0, 200.0])
    bulk = learned_figure(third).axes[0]
    drawn = sorted(float(x) for line in bulk.lines for x in line.get_xdata())
    known = [row["mae"] for row in third["rows"] if row["quantity"] == "bulk_modulus" and row["mae"] is not None]
    np.testing.assert_allclose(drawn, sorted(known))


def test_nothing_to_draw_is_said(first, second, third):
    for found in (
        {**first, "rows": [], "pairs": []},
        {**second, "rows": [row for row in second["rows"] if row["formula"] == "TiN"]},
        {**third, "rows": [{**row, "mae": None} for row in third["rows"]]},
    ):
        with pytest.raises(InputError, match="nothing to draw"):
            table_figure(found)


SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "paper_table2_part.json"


@pytest.mark.skipif(not SHARED.is_file(), reason="the study's table is not beside the checkout")
def test_the_part_of_the_study_that_is_at_hand_adds_rows_to_the_study():
    (table,) = constants.published(SHARED)
    assert table.name == "study"
    assert STUDY.rows.keys() < table.rows.keys()
