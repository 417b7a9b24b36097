"""Computed beside learned moduli, against plain Python over the same nodes."""

import json
import subprocess
import sys

import pytest
from aiida import orm
from aiida.tools.archive import create_archive
from conftest import empty_catalogue, entry_values, linked, prediction_values, rocksalt
from hypothesis import given
from hypothesis import strategies as st

from aiida_hardcoat.catalogue.card import card, card_json
from aiida_hardcoat.catalogue.compare import compare, summaries
from aiida_hardcoat.catalogue.predictions import LEARNED, disagreement, predictions_of
from aiida_hardcoat.catalogue.query import COLUMNS, search
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PROPERTIES, PredictionData
from aiida_hardcoat.errors import InputError

LABEL = "compared"
OLD = {"model_sha256": "a" * 64, "model_fingerprint": "old", "model_version": "1"}
NEW = {"model_sha256": "b" * 64, "model_fingerprint": "new", "model_version": "2"}
OTHER_LEVEL = {"level": "ase:7net-0", "level_fingerprint": "fedcba9876543210"}

# Changes of an entry, and of the predictions for its structure from the oldest to the newest.
ENTRIES = {
    "TiN": ({"fractions": {"Ti": 1.0}, "c11": 584.0, "c12": 136.0}, [{**OLD, "bulk": 280.0, "in_training_data": True}]),
    "AlN": ({"fractions": {"Al": 1.0}, "c11": 432.0, "c12": 167.0}, [{**OLD, "bulk": 200.0, "half": 10.0}]),
    "alloy": (
        {"fractions": {"Al": 0.25, "Ti": 0.75}, "c11": 500.0, "c12": 150.0},
        [{**OLD, "bulk": 300.0, "half": 10.0}, {**NEW, "bulk": 240.0, "shear": 170.0}],
    ),
    "other level": (
        {"fractions": {"Al": 0.25, "Ti": 0.75}, "c11": 520.0, **OTHER_LEVEL},
        [{**OLD, "bulk": 251.0, "distance": 1.5, "far": True}],
    ),
    "clamped": ({"fractions": {"Al": 0.25, "Ti": 0.75}, "c11": 540.0, "ions": "clamped"}, [{**OLD, "bulk": 270.0}]),
    "no end member": ({"fractions": {"Hf": 0.5, "Zr": 0.5}, "c11": 490.0}, [{**OLD, "bulk": 255.0}]),
    "unstable": ({"fractions": {"Al": 0.5, "Ti": 0.5}, "c11": 100.0, "c12": 200.0, "c44": 50.0}, [dict(OLD)]),
    "not predicted": ({"fractions": {"Al": 0.75, "Ti": 0.25}, "c11": 700.0}, []),
}


@pytest.fixture(scope="module", autouse=True)
def entries(aiida_profile):
    """Entries by name, with the predictions for their structures."""
    group, stored = empty_catalogue(LABEL), {}
    for name, (changes, predictions) in ENTRIES.items():
        structure = orm.StructureData(ase=rocksalt())
        entry = linked(structure, ElasticData(**entry_values(**changes)))
        nodes = [
            linked(structure, PredictionData(**prediction_values(changes["fractions"], **values)))
            for values in predictions
        ]
        group.add_nodes([entry, *nodes])
        stored[name] = (entry, nodes)
    return stored


def rows_by_pk(**choices):
    rows = compare(label=LABEL, **choices)
    assert len({row["pk"] for row in rows}) == len(rows)
    return {row["pk"]: row for row in rows}


# --- rows -------------------------------------------------------------------------------------------------------


def test_a_row_for_each_entry_that_was_predicted_by_its_newest_model(entries):
    rows = rows_by_pk()
    assert set(rows) == {entry.pk for entry, nodes in entries.values() if nodes}
    for entry, nodes in entries.values():
        if nodes:
            row, newest = rows[entry.pk], nodes[-1]
            assert (row["prediction_pk"], row["prediction_uuid"]) == (newest.pk, newest.uuid)
            assert (row["level"], row["level_fingerprint"], row["ions"]) == (
                entry.level,
                entry.level_fingerprint,
                entry.ions,
            )
            assert (row["far"], row["in_training_data"]) == (newest.far, newest.in_training_data)
            for name in PROPERTIES:
                assert row[name] == getattr(entry, name)
                assert row[f"predicted_{name}"] == getattr(newest, name)
                for kind in ("spread", "low", "high"):
                    assert row[f"predicted_{name}_{kind}"] == getattr(newest, f"{name}_{kind}")


def test_difference_is_computed_minus_learned_and_inside_goes_by_the_interval(entries):
    for row in rows_by_pk().values():
        for name in PROPERTIES:
            if row[name] is None:
                assert row[f"{name}_difference"] is row[f"{name}_inside"] is row[f"{name}_disagreement"] is None
                continue
            assert row[f"{name}_difference"] == row[name] - row[f"predicted_{name}"]
            low, high = row[f"predicted_{name}_low"], row[f"predicted_{name}_high"]
            assert row[f"{name}_inside"] is (low <= row[name] <= high)
            assert row[f"{name}_inside"] is (row[f"{name}_disagreement"] <= 1)
    unstable = rows_by_pk()[entries["unstable"][0].pk]
    assert unstable["shear_modulus"] is unstable["shear_modulus_inside"] is None


def test_interval_decides_what_is_outside(entries):
    rows = rows_by_pk(model="a" * 10)
    # Computed 267 GPa; the old model says 300 - 10 at least, the new one 240 - 30 to 240 + 60.
    alloy = entries["alloy"][0]
    assert not rows[alloy.pk]["bulk_modulus_inside"]
    assert rows[alloy.pk]["bulk_modulus_disagreement"] == pytest.approx((300 - alloy.bulk_modulus) / 10)
    new = rows_by_pk()[alloy.pk]
    assert new["bulk_modulus_inside"]
    assert new["bulk_modulus_disagreement"] == pytest.approx((alloy.bulk_modulus - 240) / 60)


values = st.floats(1, 1000)


@given(values, values, st.floats(0.1, 100), st.floats(0.1, 100))
def test_disagreement_is_above_one_exactly_outside_the_interval(computed, learned, down, up):
    predicted = {"k": learned, "k_low": learned - down, "k_high": learned + up}
    found = disagreement(computed, predicted, "k")
    assert found >= 0
    if min(abs(computed - predicted["k_low"]), abs(computed - predicted["k_high"])) > 1e-6:
        assert (found > 1) == (not predicted["k_low"] <= computed <= predicted["k_high"])


def test_an_interval_without_width_gives_no_disagreement():
    assert disagreement(2.0, {"k": 1.0, "k_low": 1.0, "k_high": 1.0}, "k") is None
    assert disagreement(None, {"k": 1.0, "k_low": 0.0, "k_high": 2.0}, "k") is None


def test_models_are_chosen_by_hash_or_name(entries):
    alloy = entries["alloy"][0]
    both = [row for row in compare(label=LABEL, model="all") if row["pk"] == alloy.pk]
    assert [row["model_version"] for row in both] == ["2", "1"]
    assert len(compare(label=LABEL, model="all")) == sum(len(nodes) for _, nodes in entries.values())
    assert [row["pk"] for row in compare(label=LABEL, model="b" * 64)] == [alloy.pk]
    assert compare(label=LABEL, model="cgcnn") == compare(label=LABEL, model="all")
    with pytest.raises(InputError, match="bbbbbbbb") as raised:
        compare(label=LABEL, model="bbc")
    assert "\n" not in str(raised.value)


def test_the_newest_of_two_predictions_by_one_model_counts(entries):
    """As when two catalogues that both predicted one structure are brought together."""
    structure = orm.StructureData(ase=rocksalt())
    entry = linked(structure, ElasticData(**entry_values()))
    nodes = [linked(structure, PredictionData(**prediction_values(bulk=bulk, **OLD))) for bulk in (240.0, 260.0)]
    (row,) = predictions_of([entry.pk])[entry.pk]
    assert row["pk"] == nodes[1].pk


def test_filters_and_order_are_those_of_the_search(entries):
    found = compare(label=LABEL, system="Ti-Al-N", ions="relaxed", sort="-c11")
    assert [row["pk"] for row in found] == [entries[name][0].pk for name in ("other level", "alloy", "unstable")]
    assert compare(label=LABEL, system="Cr-N") == []
    assert compare(label="never made") == []


# --- Vegard and summaries ---------------------------------------------------------------------------------------


def test_vegard_goes_between_end_members_of_the_same_level_only(entries):
    rows = rows_by_pk()
    for name in ("bulk_modulus", "shear_modulus"):
        ends = {metal: getattr(entries[f"{metal}N"][0], name) for metal in ("Al", "Ti")}
        expected = 0.25 * ends["Al"] + 0.75 * ends["Ti"]
        assert rows[entries["alloy"][0].pk][f"vegard_{name}"] == pytest.approx(expected)
        for other in ("TiN", "AlN", "other level", "clamped", "no end member"):
            assert rows[entries[other][0].pk][f"vegard_{name}"] is None


def test_vegard_needs_no_end_member_among_the_filtered(entries):
    (row,) = compare(label=LABEL, x=(0.25, 0.25), ions="relaxed", level="ase:7net-l3i5")
    assert row["vegard_bulk_modulus"] is not None


def test_summaries_pool_neither_levels_nor_models_nor_clamped_with_relaxed(entries):
    found = summaries(compare(label=LABEL, model="all"))
    keys = {(line["level"], line["ions"], line["model_version"]): line["n"] for line in found}
    assert keys == {
        ("ase:7net-l3i5", "relaxed", "1"): 5,
        ("ase:7net-l3i5", "relaxed", "2"): 1,
        ("ase:7net-0", "relaxed", "1"): 1,
        ("ase:7net-l3i5", "clamped", "1"): 1,
    }
    (far,) = [line for line in found if line["level"] == "ase:7net-0"]
    assert (far["far"], far["in_training_data"]) == (1, 0)


def test_scores_of_a_summary(entries):
    (line,) = summaries(compare(label=LABEL, model="a" * 64, level="ase:7net-l3i5", ions="relaxed"))
    names = ("TiN", "AlN", "alloy", "no end member", "unstable")
    pairs = [(entries[name][0].bulk_modulus, entries[name][1][0]) for name in names]
    known = [(computed, node) for computed, node in pairs if computed is not None]
    score = line["bulk_modulus"]
    assert score["n"] == len(known)
    assert score["mae"] == pytest.approx(sum(abs(k - node.bulk_modulus) for k, node in known) / len(known))
    inside = [node.bulk_modulus_low <= k <= node.bulk_modulus_high for k, node in known]
    assert score["coverage_90"] == pytest.approx(sum(inside) / len(inside))
    ends = {metal: entries[f"{metal}N"][0].bulk_modulus for metal in ("Al", "Ti")}
    alloys = [
        (entry.bulk_modulus, node.bulk_modulus, sum(share * ends[metal] for metal, share in entry.fractions.items()))
        for entry, (node, *_) in (entries["alloy"], entries["unstable"])
    ]
    assert score["alloys"]["n"] == len(alloys)
    assert score["alloys"]["mae"] == pytest.approx(sum(abs(k - learned) for k, learned, _ in alloys) / 2)
    assert score["alloys"]["vegard_mae"] == pytest.approx(sum(abs(k - vegard) for k, _, vegard in alloys) / 2)
    assert line["in_training_data"] == 1
    assert summaries([]) == []


# --- search -----------------------------------------------------------------------------------------------------


def test_search_adds_learned_columns_only_where_asked(entries):
    assert not set(LEARNED) & set(COLUMNS)
    assert set(search(label=LABEL)[0]) == {"pk", "uuid", "label", *COLUMNS}
    for asked in ({"learned": True}, {"sort": "distance"}, {"ranges": {"predicted_bulk_modulus": (0.0, None)}}):
        assert set(search(label=LABEL, **asked)[0]) == {"pk", "uuid", "label", *COLUMNS, *LEARNED}


def test_learned_columns_are_of_the_newest_prediction(entries):
    rows = {row["pk"]: row for row in search(label=LABEL, learned=True)}
    assert len(rows) == len(entries)
    compared = rows_by_pk()
    for entry, nodes in entries.values():
        row = rows[entry.pk]
        if not nodes:
            assert all(row[name] is None for name in LEARNED)
            continue
        assert row["distance"] == nodes[-1].distance
        for name in PROPERTIES:
            assert row[f"predicted_{name}"] == getattr(nodes[-1], name)
            assert row[f"predicted_{name}_spread"] == getattr(nodes[-1], f"{name}_spread")
            assert row[f"{name}_disagreement"] == compared[entry.pk][f"{name}_disagreement"]


@pytest.mark.parametrize("name", LEARNED)
def test_sort_by_what_was_learned(entries, name):
    def known(rows):
        return [row[name] for row in rows if row[name] is not None]

    rising, falling = search(label=LABEL, sort=name), search(label=LABEL, sort=f"-{name}")
    assert known(rising) == sorted(known(rising))
    assert known(falling) == sorted(known(falling), reverse=True)
    for rows in (rising, falling):
        assert len(rows) == len(entries)
        assert rows[-1][name] is None
    assert search(label=LABEL, sort=f"-{name}", limit=2) == falling[:2]


@pytest.mark.parametrize("bounds", [(250, 280), (250.0, None), (None, 255), (280, 280)])
def test_range_of_what_was_learned(entries, bounds):
    low, high = bounds
    found = {row["pk"] for row in search(label=LABEL, ranges={"predicted_bulk_modulus": bounds})}
    expected = {
        entry.pk
        for entry, nodes in entries.values()
        if nodes and (low is None or nodes[-1].bulk_modulus >= low) and (high is None or nodes[-1].bulk_modulus <= high)
    }
    assert found == expected


def test_disagreements_are_found(entries):
    outside = search(label=LABEL, ranges={"bulk_modulus_disagreement": (1.0, None)})
    expected = {row["pk"] for row in compare(label=LABEL) if row["bulk_modulus_inside"] is False}
    assert {row["pk"] for row in outside} == expected != set()


@pytest.mark.parametrize(
    "arguments",
    [
        {"sort": "predicted_bulk"},
        {"ranges": {"predicted_bulk_modulas": (1.0, None)}},
        {"ranges": {"distance": (2.0, 1.0)}},
        {"ranges": {"distance": (float("nan"), None)}},
    ],
)
def test_what_cannot_be_searched_by_is_named(arguments):
    with pytest.raises(InputError, match=r"predicted_bulk_modulus|distance"):
        search(label=LABEL, **arguments)


# --- card and archive -------------------------------------------------------------------------------------------


def test_card_shows_every_model_the_newest_first(entries):
    entry, nodes = entries["alloy"]
    text = card(entry)
    assert text.index(f"pk {nodes[1].pk})") < text.index(f"pk {nodes[0].pk})")
    learned = text[text.index(f"pk {nodes[1].pk})") : text.index(f"pk {nodes[0].pk})")]
    assert "240.00  [210.00, 300.00] GPa" in learned
    assert "inside" in learned
    assert "OUTSIDE" in text[text.index(f"pk {nodes[0].pk})") :]
    assert max(map(len, text.splitlines())) <= 160
    assert [row["uuid"] for row in card_json(entry)["predictions"]] == [node.uuid for node in nodes]


def test_card_of_an_entry_without_prediction_or_without_moduli(entries):
    assert "Learned" not in card(entries["not predicted"][0])
    text = card(entries["unstable"][0])
    assert "None" not in text[text.index("Learned") :]
    assert "FAR" in card(entries["other level"][0])
    assert "this formula was in it" in card(entries["TiN"][0])


OPEN_ARCHIVE = """
import json, sys
from aiida import load_profile
from aiida.storage.sqlite_zip.backend import SqliteZipBackend
load_profile(SqliteZipBackend.create_profile(sys.argv[1]))
from aiida_hardcoat.catalogue.compare import compare
from aiida_hardcoat.catalogue.query import search
print(json.dumps([compare(label=sys.argv[2], model="all"), search(label=sys.argv[2], learned=True)]))
"""


def test_an_archive_of_the_group_holds_both_and_their_links(entries, tmp_path):
    path = tmp_path / "catalogue.aiida"
    create_archive([orm.load_group(LABEL)], filename=path)
    # In a process of its own: to switch profiles would close this one for all tests that follow.
    command = [sys.executable, "-W", "ignore", "-c", OPEN_ARCHIVE, str(path), LABEL]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    def portable(rows):
        return sorted(({key: value for key, value in row.items() if not key.endswith("pk")} for row in rows), key=repr)

    here = compare(label=LABEL, model="all"), search(label=LABEL, learned=True)
    there = json.loads(done.stdout.splitlines()[-1])
    assert [portable(rows) for rows in there] == [portable(rows) for rows in here]
