"""One level of theory, and one row for each of its materials."""

import statistics
from datetime import UTC, datetime, timedelta

import pytest
from conftest import empty_catalogue, entry_values

from aiida_hardcoat.catalogue.selection import Level, materials, mean_entry, one_level
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.errors import InputError

LABEL, ONE, NONE = "selected", "one level only", "nothing in it"
SOFT = {"level": "ase:soft", "level_fingerprint": "5" * 16}
OLD = {"level": "dft:pbe", "level_fingerprint": "a1" * 8}
NEW = {"level": "dft:pbe", "level_fingerprint": "a2" * 8}
TIN = {"fractions": {"Ti": 1.0}, "formula": "TiN"}
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)

ENTRIES = [
    {**TIN, **OLD, "c11": 590.0},
    {**TIN, **NEW, "c11": 580.0},
    {**SOFT, "c11": 300.0, "number_of_atoms": 16, "sqs_seed": 0},  # a smaller cell
    {**SOFT, "c11": 500.0, "sqs_seed": 0},  # made last, stored first
    {**SOFT, "c11": 900.0, "sqs_seed": 0},
    {**SOFT, "c11": 480.0, "sqs_seed": 1, "stable_with_tolerance": False, "cell_shape": "study"},
    {**SOFT, "c11": 700.0, "sqs_seed": 0, "ions": "clamped"},
    {**SOFT, **TIN, "c11": 600.0, "structure_type": "B3", "relaxed_structure_type": "B3"},
]


@pytest.fixture(scope="module", autouse=True)
def entries(aiida_profile):
    nodes = [ElasticData(**entry_values(**values)) for values in ENTRIES]
    nodes[3].backend_entity.bare_model.ctime = NOON + timedelta(days=1)
    nodes[4].backend_entity.bare_model.ctime = NOON
    stored = [node.store() for node in nodes]
    assert stored[3].ctime > stored[4].ctime
    empty_catalogue(LABEL).add_nodes(stored)
    empty_catalogue(ONE).add_nodes(stored[2:])
    return stored


@pytest.mark.parametrize("asked", [None, "ase:soft", "5" * 16, "55"])
def test_a_catalogue_of_one_level_needs_no_choice(asked):
    assert one_level(asked, label=ONE) == ("ase:soft", "5" * 16)


@pytest.mark.parametrize(
    ("asked", "fingerprint"), [("ase:soft", "5" * 16), ("a1", "a1" * 8), ("a2" * 8, "a2" * 8), ("5", "5" * 16)]
)
def test_a_level_is_named_by_its_name_or_its_fingerprint(asked, fingerprint):
    assert one_level(asked, label=LABEL).fingerprint == fingerprint


@pytest.mark.parametrize("asked", [None, "dft:pbe", "a"])
def test_several_levels_are_named_with_their_entries_and_the_option(asked):
    with pytest.raises(InputError, match="--level") as raised:
        one_level(asked, label=LABEL)
    message = str(raised.value)
    assert "\n" not in message
    assert f"dft:pbe {'a1' * 8} (1 entry)" in message
    assert f"dft:pbe {'a2' * 8} (1 entry)" in message
    assert ("ase:soft 5555555555555555 (6 entries)" in message) is (asked is None)


@pytest.mark.parametrize("asked", ["ase:saft", ""])
def test_a_level_that_is_not_there_is_refused_and_the_nearest_offered(asked):
    with pytest.raises(InputError, match=f"no entry of level '{asked}'.*ase:soft.*{'a1' * 8}"):
        one_level(asked, label=LABEL)


def test_an_empty_catalogue_says_what_to_run():
    with pytest.raises(InputError, match=r"hardcoat run Ti0.5Al0.5N -s B1.*hardcoat bundle import DIR"):
        one_level(label=NONE)


def test_levels_are_never_pooled():
    for fingerprint, c11 in (("a1" * 8, 590.0), ("a2" * 8, 580.0)):
        (row,) = materials(Level("dft:pbe", fingerprint), label=LABEL)
        assert (row["c11"], row["n"], row["level_fingerprint"]) == (c11, 1, fingerprint)


def test_a_material_is_the_mean_over_seeds_of_the_newest_in_the_largest_cells(entries):
    members = [entries[3], entries[5]]
    (row,) = materials(one_level(label=ONE), ions="relaxed", structure_types=["B1"], label=ONE)
    assert sorted(row["pks"]) == sorted(node.pk for node in members)
    assert row["uuids"] == sorted(node.uuid for node in members)
    assert (row["n"], row["number_of_atoms"]) == (2, 96)
    for name in ("c11", "bulk_modulus", "poisson_ratio"):
        values = [getattr(node, name) for node in members]
        assert row[name] == pytest.approx(statistics.mean(values))
        assert row["spread"][name] == pytest.approx(statistics.stdev(values))
    assert row["stable"] is True
    assert row["stable_with_tolerance"] is False  # of one of them


def test_any_field_of_an_entry_can_be_asked_for_and_is_none_where_the_entries_differ():
    columns = ("zener_anisotropy", "cell_shape", "elements")
    (row,) = materials(one_level(label=ONE), ions="relaxed", structure_types=["B1"], columns=columns, label=ONE)
    assert row["elements"] == ["Al", "N", "Ti"]
    assert row["cell_shape"] is None
    assert row["spread"].keys() == {"zener_anisotropy"}
    with pytest.raises(InputError, match="bulk_modulus"):
        materials(one_level(label=ONE), columns=["bulk_modulas"], label=ONE)


def test_materials_are_sorted_and_filtered():
    rows = materials(one_level(label=ONE), label=ONE)
    assert [(row["system"], row["structure_type"], row["ions"]) for row in rows] == [
        ("Al-Ti-N", "B1", "clamped"),
        ("Al-Ti-N", "B1", "relaxed"),
        ("Ti-N", "B3", "relaxed"),
    ]
    assert [row["formula"] for row in materials(one_level(label=ONE), system="N-Ti", label=ONE)] == ["TiN"]


def test_seeds_that_ended_in_different_structures_are_both_named():
    seeds = [
        {"pk": pk, "number_of_atoms": 96, "cell_shape": "study", "sqs_seed": pk, "relaxed_structure_type": kind}
        for pk, kind in enumerate(["Bk", "B4", "Bk"])
    ]
    assert mean_entry(seeds, [])["became"] == ["B4", "Bk"]
