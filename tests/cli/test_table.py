"""``hardcoat table``."""

import csv
import io
import json
from functools import partial

import pytest
from aiida import orm
from click.testing import CliRunner
from conftest import assert_refused, empty_catalogue, entry_values, linked, prediction_values, rocksalt

from aiida_hardcoat.catalogue.tables import constants, learned, relaxation
from aiida_hardcoat.cli.table import cmd_table
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PredictionData

LABEL = "tables of the command"
LEVEL = {"level": "ase:one", "level_fingerprint": "1" * 16}
B4 = {"structure_type": "B4", "crystal_class": "hexagonal"}
TIN = {"fractions": {"Ti": 1.0}, "formula": "TiN", **LEVEL}
ENTRIES = [
    {**TIN, "c11": 580.0},
    {**TIN, "c11": 600.0, "ions": "clamped", "number_of_atoms": 2},
    {**LEVEL, "c11": 500.0, "sqs_seed": 0},
    {**LEVEL, "c11": 480.0, "sqs_seed": 1},
    {**LEVEL, **B4, "relaxed_structure_type": "Bk"},
    {"fractions": {"Al": 1.0}, "formula": "AlN", **LEVEL, "c11": 100.0, "c12": 200.0, "c44": 50.0},
    {"fractions": {"Al": 0.75, "Ti": 0.25}, **LEVEL, "c11": 200.0, "c12": 210.0, "c44": 50.0},
]


@pytest.fixture(scope="module", autouse=True)
def stored(aiida_profile):
    group = empty_catalogue(LABEL)
    for values in ENTRIES:
        structure = orm.StructureData(ase=rocksalt())
        entry = linked(structure, ElasticData(**entry_values(**values)))
        group.add_nodes([entry, linked(structure, PredictionData(**prediction_values(entry.fractions)))])
    other = {**TIN, "level": "dft:two", "level_fingerprint": "2" * 16}
    both = [ElasticData(**entry_values(**values)).store() for values in (TIN, other)]
    empty_catalogue(f"{LABEL}, two levels").add_nodes(both)


@pytest.fixture(autouse=True)
def _own_catalogue(monkeypatch):
    use_catalogue(monkeypatch, LABEL)


def use_catalogue(monkeypatch, label):
    for module, name in (
        (relaxation, "relaxation_table"),
        (constants, "constants_table"),
        (learned, "learned_table"),
    ):
        function = getattr(module, name)
        monkeypatch.setattr(module, name, partial(getattr(function, "func", function), label=label))


def invoke(*arguments):
    return CliRunner().invoke(cmd_table, [str(argument) for argument in arguments])


@pytest.mark.parametrize("number", ["0", "4", "two"])
def test_only_three_tables_are_there_and_they_are_named(number):
    result = invoke(number)
    assert_refused(result, f"no table '{number}'")
    for one in ("1 (relaxed", "2 (elastic", "3 (learned"):
        assert one in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["1", "--ions", "relaxed"], "--ions goes with table 2 or 3"),
        (["2", "--model", "cgcnn"], "--model goes with table 3"),
        (["3", "--reference-file", "a.json"], "--reference-file goes with table 2"),
        (["2", "--reference-file", "never-made.json"], "never-made.json"),
        (["2", "--level", "ase:on"], "did you mean 'ase:one'"),
        (["1", "--system", "Cr-N"], "hardcoat run CrN"),
        (["3", "--model", "nope"], "no prediction of a model 'nope'"),
    ],
)
def test_mistakes_are_one_line(arguments, words):
    assert_refused(invoke(*arguments), words)


@pytest.mark.parametrize(("label", "words"), [("nothing at all", "hardcoat run"), (f"{LABEL}, two levels", "--level")])
@pytest.mark.parametrize("number", ["1", "2", "3"])
def test_an_empty_catalogue_and_several_levels(monkeypatch, number, label, words):
    use_catalogue(monkeypatch, label)
    assert_refused(invoke(number), words)


@pytest.mark.parametrize("name", ["table.jpg", "table", "table.html", "no/such/folder/table.png"])
def test_a_figure_that_cannot_be_written_is_refused_before_anything_is_computed(monkeypatch, tmp_path, name):
    monkeypatch.setattr(constants, "constants_table", lambda **_: pytest.fail("computed"))
    assert_refused(invoke("2", "--figure", tmp_path / name), name.rpartition("/")[0] or name)


@pytest.mark.parametrize(("number", "suffix"), [("1", "png"), ("2", "svg"), ("3", "pdf")])
def test_a_figure_is_overwritten_and_the_same_every_time(tmp_path, number, suffix):
    path = tmp_path / f"table.{suffix}"
    path.write_text("of yesterday")
    drawn = []
    for _ in range(2):
        result = invoke(number, "--figure", path)
        assert result.exit_code == 0, result.output
        assert f"{path} written" in result.stderr
        drawn.append(path.read_bytes())
    assert drawn[0] == drawn[1]
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert drawn[0].startswith(start[suffix])
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("number", ["1", "2", "3"])
def test_text_names_table_level_and_entries_and_is_aligned(number):
    result = invoke(number)
    assert result.exit_code == 0, result.output
    title, caption, _, *body = result.stdout.splitlines()
    assert title.startswith(f"Table {number}. ")
    assert "ase:one, level of theory 1111111111111111; " in caption
    assert " entries of " in caption
    assert max(map(len, result.stdout.splitlines())) <= 150
    numbers = body[: body.index("")]
    assert len(numbers) > 3
    assert "None" not in result.stdout


def test_marks_are_explained_where_they_are_used():
    text = invoke("2").stdout
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    for mark, material in (("*", "Al0.5Ti0.5N B4"), ("!", "AlN B1"), ("~", "Al0.75Ti0.25N B1")):
        assert f"{material}{mark}" in lines
        assert any(line.startswith(f"{mark} ") for line in text.splitlines())
    assert "* another structure after relaxation: Al0.5Ti0.5N B4 -> Bk" in text
    assert "TiN B1" in lines
    assert "96 x2" in lines["Al0.5Ti0.5N B1"]
    assert "all mechanically stable" not in text


def test_pairs_of_unequal_cells_and_materials_left_out_are_named():
    text = invoke("1").stdout
    assert "relaxed and clamped in unequal cells (atoms): TiN B1 (96, 2)" in text
    assert "Al0.5Ti0.5N B4 (now Bk with relaxed ions)" in text


def test_what_is_missing_is_named_on_standard_error_and_whole_in_json():
    result = invoke("2")
    missing = json.loads(invoke("2", "--format", "json").stdout)["missing"]
    assert len(missing) > 5
    lines = result.stderr.splitlines()
    assert lines[0] == f"{len(missing)} materials missing at this level of theory:"
    assert [line.strip() for line in lines[1:6]] == [row["command"] for row in missing[:5]]
    assert lines[6].strip() == f"and {len(missing) - 5} more: --format json lists all"
    assert all(row.keys() == {"formula", "structure_type", "ions", "command"} for row in missing)


@pytest.mark.parametrize("number", ["1", "2", "3"])
def test_json_and_csv_hold_the_same_rows_and_are_the_same_every_time(number):
    found = json.loads(invoke(number, "--format", "json").stdout)
    result = invoke(number, "--format", "csv")
    assert result.stdout == invoke(number, "--format", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert len(rows) == len(found["rows"])
    for row, known in zip(rows, found["rows"], strict=True):
        assert row["level_fingerprint"] == "1" * 16
        for name, value in known.items():
            if isinstance(value, float):
                assert float(row[name]) == value
    assert not any(name == "pk" or name.endswith("pks") for name in rows[0])


def test_the_study_stands_in_columns_of_its_own():
    rows = csv.DictReader(io.StringIO(invoke("2", "--system", "Ti-N", "--format", "csv").stdout))
    (row,) = rows
    assert row["formula"] == "TiN"
    assert float(row["study_c11_deviation"]) == pytest.approx(580 / 584 - 1)
    assert row["study_c13"] == row["c11_spread"] == ""
