"""Levels of theory side by side, on entries and tables whose numbers are known."""

import json
import random
from pathlib import Path

import pytest
from conftest import empty_catalogue, entry_values
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import PathCollection

from aiida_hardcoat.catalogue.level_figures import parity_figure, parity_points
from aiida_hardcoat.catalogue.levels import COMPARED, compare_levels, mean_entry
from aiida_hardcoat.catalogue.references import EXPERIMENT, STUDY, TABLES, Material, read_table, tables_with
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.errors import InputError

LABEL = "levels"
TABLE_2 = Path(__file__).parents[2].parent / "shared" / "data" / "paper_table2_part.json"
with_table = pytest.mark.skipif(not TABLE_2.is_file(), reason="the study's table is not beside the checkout")

SOFT = {"level": "ase:soft", "level_fingerprint": "5" * 16}
OLD = {"level": "dft:pbe", "level_fingerprint": "a" * 16}
NEW = {"level": "dft:pbe", "level_fingerprint": "b" * 16}
TIN, ALN = {"fractions": {"Ti": 1.0}, "formula": "TiN"}, {"fractions": {"Al": 1.0}, "formula": "AlN"}
ALLOY = {"fractions": {"Al": 0.5, "Ti": 0.5}}


def hexagonal(**changes):
    """Made cubic numbers into those of a wurtzite: what is set side by side, with a c13 and c33 of its own."""
    return {"structure_type": "B4", "relaxed_structure_type": "B4", "crystal_class": "hexagonal", **changes}


ENTRIES = [
    {**TIN, **SOFT, "c11": 600.0, "number_of_atoms": 2},
    {**TIN, **OLD, "c11": 590.0, "number_of_atoms": 2},
    {**TIN, **NEW, "c11": 580.0, "number_of_atoms": 2},
    {**TIN, **OLD, "c11": 500.0, "ions": "clamped"},
    {**ALN, **SOFT, "c11": 400.0, "c12": 160.0, "c44": 300.0},
    {**ALN, **SOFT, **hexagonal(c11=350.0, relaxed_structure_type="Bk")},
    {**ALLOY, **SOFT, "c11": 300.0, "number_of_atoms": 16, "sqs_seed": 0},  # a smaller cell
    {**ALLOY, **SOFT, "c11": 900.0, "sqs_seed": 0},  # done again below
    {**ALLOY, **SOFT, "c11": 480.0, "sqs_seed": 1},
    {**ALLOY, **SOFT, "c11": 500.0, "sqs_seed": 0},
    {**ALLOY, **OLD, "c11": 100.0, "c12": 200.0, "c44": 50.0},  # unstable: no Hill averages
]


@pytest.fixture(scope="module", autouse=True)
def entries(aiida_profile):
    stored = [ElasticData(**entry_values(**values)).store() for values in ENTRIES]
    empty_catalogue(LABEL).add_nodes(stored)
    return stored


@pytest.fixture(scope="module")
def found(entries):
    return compare_levels(label=LABEL)


def material(found, formula, structure_type="B1", ions="relaxed"):
    (row,) = [
        row
        for row in found["materials"]
        if (row["formula"], row["structure_type"], row["ions"]) == (formula, structure_type, ions)
    ]
    return row


# --- columns ------------------------------------------------------------------------------------------------------


def test_a_column_for_each_fingerprint_and_table_and_nothing_pooled(found):
    assert [column["name"] for column in found["columns"]] == [
        "study",
        "experiment",
        "ase:soft",
        "dft:pbe aaaaaaaa",
        "dft:pbe bbbbbbbb",
    ]
    row = material(found, "TiN")
    assert [row["values"][name]["c11"] for name in row["values"]] == [584.0, 600.0, 590.0, 580.0]
    assert {column["name"]: column.get("doi") for column in found["columns"]}["study"] == STUDY.doi


def test_a_level_of_one_fingerprint_has_its_plain_name(entries):
    found = compare_levels(label=LABEL, level="dft:pbe", system="Al-Ti-N")
    assert [column["name"] for column in found["columns"]] == ["study", "dft:pbe"]


def test_deviations_are_relative_to_the_reference(found):
    row = material(found, "TiN")
    assert row["deviations"]["ase:soft"]["c11"] == pytest.approx(16 / 584)
    assert row["deviations"]["dft:pbe bbbbbbbb"]["c11"] == pytest.approx(-4 / 584)
    assert "study" not in row["deviations"]
    by_level = compare_levels(label=LABEL, reference="ase:soft")
    assert by_level["columns"][0]["name"] == "ase:soft"
    assert material(by_level, "TiN")["deviations"]["study"]["c11"] == pytest.approx(-16 / 600)


def test_clamped_and_relaxed_ions_are_two_materials(found):
    row = material(found, "TiN", ions="clamped")
    assert list(row["values"]) == ["dft:pbe aaaaaaaa"]
    assert row["deviations"]["dft:pbe aaaaaaaa"]["c11"] is None


def test_hexagonal_materials_show_their_own_constants(found):
    row = material(found, "AlN", "B4")
    assert set(COMPARED["hexagonal"]) <= row["values"]["ase:soft"].keys()
    assert row["values"]["ase:soft"]["became"] == ["Bk"]
    assert row["values"]["experiment"]["c33"] == 388.5
    by_experiment = compare_levels(label=LABEL, reference="experiment", structure_type="B4")
    assert material(by_experiment, "AlN", "B4")["deviations"]["ase:soft"]["c11"] == pytest.approx(350 / 410 - 1)
    assert not {"c13", "c33"} & material(found, "AlN")["values"]["ase:soft"].keys()


def test_seeds_are_averaged_in_the_largest_cell_the_newest_of_each(found, entries):
    values = material(found, "Al0.5Ti0.5N")["values"]["ase:soft"]
    assert (values["n"], values["number_of_atoms"]) == (2, 96)
    assert values["c11"] == pytest.approx(490.0)
    assert values["spread"]["c11"] == pytest.approx(200**0.5)
    assert sorted(values["pks"]) == [entries[8].pk, entries[9].pk]
    assert material(found, "TiN")["values"]["ase:soft"]["spread"]["c11"] is None


def test_what_is_not_defined_has_no_deviation(found):
    row = material(found, "Al0.5Ti0.5N")
    assert row["values"]["dft:pbe aaaaaaaa"]["shear_modulus"] is None
    assert row["deviations"]["dft:pbe aaaaaaaa"]["shear_modulus"] is None
    assert row["deviations"]["dft:pbe aaaaaaaa"]["c11"] == pytest.approx(100 / 492 - 1)


def test_the_summary_is_of_one_column_each(found):
    scores = {row["column"]: row for row in found["summary"]}
    assert set(scores) == {"experiment", "ase:soft", "dft:pbe aaaaaaaa", "dft:pbe bbbbbbbb"}
    soft = [abs(600 / 584 - 1), abs(400 / 432 - 1), abs(490 / 492 - 1)]
    assert scores["ase:soft"]["c11"]["n"] == 3
    assert scores["ase:soft"]["c11"]["mean_absolute_deviation"] == pytest.approx(sum(soft) / 3)
    assert scores["experiment"]["c11"] == {"n": 0, "mean_absolute_deviation": None}


def test_filters_limit_the_materials(entries):
    assert len(compare_levels(label=LABEL, limit=2)["materials"]) == 2
    only = compare_levels(label=LABEL, system="Ti-N", ions="relaxed", level="ase:soft")
    assert [list(row["values"]) for row in only["materials"]] == [["study", "ase:soft"]]
    assert compare_levels(label="never made")["materials"] == []


@pytest.mark.parametrize(
    ("reference", "words"), [("dft:pbe", "choose one of dft:pbe aaaaaaaa, dft:pbe bbbbbbbb"), ("studdy", "'study'")]
)
def test_a_reference_that_is_no_single_column_is_refused(entries, reference, words):
    with pytest.raises(InputError, match=words) as raised:
        compare_levels(label=LABEL, reference=reference)
    assert "\n" not in str(raised.value)


rows = st.builds(
    lambda pk, atoms, seed, c11: {
        "pk": pk, "number_of_atoms": atoms, "sqs_seed": seed, "cell_shape": "study", "c11": c11,
        "relaxed_structure_type": "B1",
    },
    st.integers(1, 10**6), st.sampled_from([16, 96]), st.sampled_from([None, 0, 1]), st.floats(1, 1000),
)  # fmt: skip


@given(st.lists(rows, min_size=1, max_size=8, unique_by=lambda row: row["pk"]), st.randoms(use_true_random=False))
def test_the_mean_does_not_depend_on_the_order_of_the_entries(rows, shuffler: random.Random):
    one = mean_entry(rows, ["c11"])
    assert mean_entry(shuffler.sample(rows, len(rows)), ["c11"])["c11"] == pytest.approx(one["c11"])
    used = [row for row in rows if row["pk"] in one["pks"]]
    assert len({row["sqs_seed"] for row in used}) == one["n"] == len(used)
    assert min(row["c11"] for row in used) - 1e-9 <= one["c11"] <= max(row["c11"] for row in used) + 1e-9


# --- tables -------------------------------------------------------------------------------------------------------


def test_every_table_has_a_source_and_numbers_that_can_be():
    for table in TABLES:
        assert table.doi.startswith("10.")
        assert table.source
        for row in table.rows.values():
            assert row["c11"] > abs(row["c12"])
            assert row["c44"] > 0
    for row in STUDY.rows.values():
        # Rounded to whole GPa, each of them.
        assert row["bulk_modulus"] == pytest.approx((row["c11"] + 2 * row["c12"]) / 3, abs=1.5)
        if "youngs_modulus" in row:
            bulk, shear = row["bulk_modulus"], row["shear_modulus"]
            assert row["youngs_modulus"] == pytest.approx(9 * bulk * shear / (3 * bulk + shear), rel=0.01)


def test_averages_of_the_experiment_are_between_their_bounds():
    row = EXPERIMENT.rows[Material("AlN", "B4")]
    voigt = (2 * (row["c11"] + row["c12"]) + 4 * row["c13"] + row["c33"]) / 9
    assert 0.98 * voigt < row["bulk_modulus"] <= voigt


@with_table
def test_the_study_is_quoted_rightly_and_its_whole_table_can_be_put_in():
    whole = read_table(TABLE_2)
    assert whole.doi == STUDY.doi
    for material, values in STUDY.rows.items():
        published = whole.rows[material]
        assert values == {name: published[name] for name in values}
    (study, _) = tables_with(whole)
    assert study.name == "study"
    assert len(study.rows) == len(whole.rows) > len(STUDY.rows)
    assert study.rows[Material("Al0.25Ti0.75N", "B1")]["c11"] == 535.0


def written(tmp_path, content, name="own.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


ROW = {"alloy": "Ti0.50Al0.50N", "structure": "B1", "c11": 470, "B": 260.0, "nu": None, "note": "hot"}


def test_a_table_of_ones_own_is_a_column_of_its_own(entries, tmp_path):
    path = written(tmp_path, {"doi": "10.1/x", "source": "Somebody", "rows": [ROW, {**ROW, "ions": "clamped"}]})
    found = compare_levels(label=LABEL, reference="own", reference_file=path, system="Al-Ti-N")
    assert [column["name"] for column in found["columns"]] == ["own", "study", "ase:soft", "dft:pbe"]
    row = material(found, "Al0.5Ti0.5N")
    assert row["values"]["own"] == {
        "c11": 470.0,
        "bulk_modulus": 260.0,
        "c12": None,
        "c44": None,
        "shear_modulus": None,
    }
    assert row["deviations"]["ase:soft"]["c11"] == pytest.approx(490 / 470 - 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "no JSON"),
        ([], "lacks doi, source, rows"),
        ({"doi": "10.1/x", "source": "S", "rows": []}, "lacks rows"),
        ({"doi": "10.1/x", "source": "S", "rows": [{"alloy": "TiN"}]}, "row 1 .*alloy and structure"),
        ({"doi": "10.1/x", "source": "S", "rows": [{**ROW, "alloy": "TiO"}]}, "row 1 .*nitride"),
        ({"doi": "10.1/x", "source": "S", "rows": [{**ROW, "structure": "B2"}]}, "row 1 .*B1"),
        ({"doi": "10.1/x", "source": "S", "rows": [{**ROW, "c11": "stiff"}]}, "row 1 .*c11 must be a number"),
        ({"doi": "10.1/x", "source": "S", "rows": [{**ROW, "ions": "frozen"}]}, "row 1 .*clamped"),
        ({"doi": "10.1/x", "source": "S", "rows": [ROW, {**ROW, "alloy": "TiAlN2"}]}, "row 2 .*twice"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_one_line(tmp_path, content, words):
    with pytest.raises(ValueError, match=words) as raised:
        read_table(written(tmp_path, content))
    assert "\n" not in str(raised.value)


def test_another_publication_cannot_take_the_name_of_a_table(tmp_path):
    path = written(tmp_path, {"doi": "10.1/x", "source": "S", "rows": [ROW]}, "study.json")
    with pytest.raises(InputError, match="call the reference file something else"):
        tables_with(read_table(path))


# --- figure -------------------------------------------------------------------------------------------------------


def test_every_number_with_a_reference_is_drawn_once_and_each_level_has_its_own_marker(found):
    figure = parity_figure(found)
    points = parity_points(found)
    assert list(points) == ["c11", "c12", "c44", "bulk_modulus", "shear_modulus"]
    styles = {}
    for axes, panel in zip(figure.axes, points.values(), strict=False):
        drawn = [collection for collection in axes.collections if isinstance(collection, PathCollection)]
        assert len(drawn) == len(panel)
        for collection, (column, rows) in zip(drawn, panel.items(), strict=True):
            assert [tuple(offset) for offset in collection.get_offsets()] == [row[:2] for row in rows]
            (low, high), style = axes.get_xlim(), collection.get_facecolor().tobytes()
            assert all(low < value < high for row in rows for value in row[:2])
            assert styles.setdefault(column, style) == style
    assert len(set(styles.values())) == len(styles) == 3


def test_nothing_in_common_with_the_reference_is_no_figure(entries):
    with pytest.raises(InputError, match="nothing to draw"):
        parity_figure(compare_levels(label=LABEL, reference="experiment", structure_type="B1"))
