"""``hardcoat compare --levels``."""

import csv
import io
import json
from functools import partial

import pytest
from aiida import orm
from click.testing import CliRunner
from conftest import assert_refused, empty_catalogue, entry_values

from aiida_hardcoat.catalogue import levels
from aiida_hardcoat.cli import cmd_root
from aiida_hardcoat.data.elastic import ElasticData

LABEL = "levels of the command"
HFN = {"fractions": {"Hf": 1.0}, "formula": "HfN"}
ENTRIES = [
    {**HFN, "c11": 540.0, "level": "ase:one", "level_fingerprint": "1" * 16, "number_of_atoms": 2},
    {**HFN, "c11": 610.0, "level": "dft:two", "level_fingerprint": "2" * 16, "sqs_seed": 0},
    {**HFN, "c11": 630.0, "level": "dft:two", "level_fingerprint": "2" * 16, "sqs_seed": 1},
    {"fractions": {"Ti": 1.0}, "formula": "TiN", "c11": 590.0, "level": "ase:one", "level_fingerprint": "1" * 16},
    {
        **{"fractions": {"Al": 1.0}, "formula": "AlN", "structure_type": "B4", "relaxed_structure_type": "Bk"},
        **{"crystal_class": "hexagonal", "level": "ase:one", "level_fingerprint": "1" * 16},
    },
]


@pytest.fixture(scope="module", autouse=True)
def stored(aiida_profile):
    empty_catalogue(LABEL).add_nodes([ElasticData(**entry_values(**values)).store() for values in ENTRIES])


@pytest.fixture(autouse=True)
def _own_catalogue(monkeypatch):
    monkeypatch.setattr(levels, "compare_levels", partial(levels.compare_levels, label=LABEL))


def invoke(*arguments):
    return CliRunner().invoke(cmd_root, ["compare", *map(str, arguments)])


def block(text, title):
    lines = text.splitlines()
    start = lines.index(title) + 1
    return {line.split()[0]: line.split()[1:] for line in lines[start : lines.index("", start)]}


def test_the_table_has_a_block_for_each_material_and_a_column_for_each_level():
    result = invoke("--levels")
    assert result.exit_code == 0, result.output
    header = result.stdout.splitlines()[0].split()
    assert header == ["GPa", "study", "experiment", "dev", "ase:one", "dev", "dft:two", "dev"]
    hafnium = block(result.stdout, "HfN in B1, ions relaxed")
    assert hafnium["C11"] == ["598.0", "-", "540.0", "-9.7", "%", "620.0", "+3.7", "%"]
    assert hafnium["cell"] == ["2", "atoms", "96", "atoms", "x2"]
    wurtzite = block(result.stdout, "AlN in B4, ions relaxed")
    assert wurtzite["C33"][:2] == ["-", "388.5"]
    assert wurtzite["cell"][-2:] == ["now", "Bk"]
    for words in ("10.1038/s41524-022-00698-7", "10.1111/j.1151-2916.1993.tb03730.x", "2" * 16):
        assert words in result.stdout


def test_filters_and_reference():
    result = invoke("--levels", "--system", "Hf-N", "--reference", "ase:one")
    assert result.stdout.splitlines()[0].split() == ["GPa", "ase:one", "study", "dev", "dft:two", "dev"]
    assert block(result.stdout, "HfN in B1, ions relaxed")["C11"][-2:] == ["+14.8", "%"]


def test_json_and_csv_have_all_digits():
    found = json.loads(invoke("--levels", "--format", "json").stdout)
    assert found["reference"] == "study"
    (hafnium,) = [row for row in found["materials"] if row["formula"] == "HfN"]
    assert hafnium["deviations"]["ase:one"]["c11"] == pytest.approx(540 / 598 - 1)
    rows = list(csv.DictReader(io.StringIO(invoke("--levels", "--format", "csv").stdout)))
    (row,) = [r for r in rows if (r["formula"], r["column"], r["quantity"]) == ("HfN", "dft:two", "c11")]
    assert (float(row["value"]), row["n"], float(row["reference_value"])) == (620.0, "2", 598.0)
    assert float(row["deviation"]) == pytest.approx(22 / 598)
    assert len(rows) == (3 + 2) * 5 + 2 * 7


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_the_plot_is_written(tmp_path, suffix, start):
    target = tmp_path / f"parity.{suffix}"
    result = invoke("--levels", "--plot", target)
    assert result.exit_code == 0, result.output
    assert str(target) in result.stderr
    assert target.read_bytes().startswith(start)


def test_a_reference_file_joins_in(tmp_path):
    row = {"alloy": "HfN", "structure": "B1", "c11": 600.0, "B": 270.0}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"doi": "10.1/x", "source": "Somebody", "rows": [row]}))
    result = invoke("--levels", "--system", "Hf-N", "--reference-file", path, "--reference", "mine")
    assert block(result.stdout, "HfN in B1, ions relaxed")["C11"][:2] == ["600.0", "598.0"]
    assert "mine: Somebody, doi 10.1/x" in result.stdout


def test_nothing_to_compare_says_how_to_begin():
    result = invoke("--levels", "--system", "Cr-N")
    assert result.exit_code == 0
    assert "hardcoat run" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--plot", "x.png"), "--levels"),
        (("--reference", "study"), "--levels"),
        (("--reference-file", "x.json"), "--reference-file compares"),
        (("--levels", "--model", "cgcnn"), "--model"),
        (("--levels", "--reference", "studdy"), "'study'"),
        (("--levels", "--reference-file", "nowhere.json"), "nowhere.json"),
        (("--levels", "--plot", "parity.jpg"), ".png or .svg"),
        (("--levels", "--plot", "nowhere/parity.png"), "nowhere"),
        (("--levels", "--system", "Ti-N", "--reference", "experiment", "--plot", "x.png"), "nothing to draw"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    before = orm.QueryBuilder().append(orm.Node).count()
    assert_refused(invoke(*arguments), words)
    assert orm.QueryBuilder().append(orm.Node).count() == before
    assert list(tmp_path.iterdir()) == []
