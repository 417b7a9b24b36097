"""``hardcoat ml predict`` on files and entries, and what shows its results: compare, search, show."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from aiida import orm
from click.testing import CliRunner
from conftest import entry_values, linked, rocksalt
from ensembles import StandIn

import hardcoat_ml
from aiida_hardcoat.cli import cmd_root
from aiida_hardcoat.cli.ml import COMMANDS
from aiida_hardcoat.data.catalogue import catalogue
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PROPERTIES, PredictionData

KINDS = ("", "_spread", "_low", "_high")


def invoke(*arguments):
    return CliRunner().invoke(cmd_root, [str(argument) for argument in arguments])


def predict(*arguments):
    """The rows of a prediction that succeeds."""
    result = invoke("ml", "predict", *arguments, "--format", "json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def assert_refused(result, words):
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    line = result.stderr.splitlines()[-1]
    assert line.startswith("Error: ")
    assert words in line


def count(*classes):
    return [orm.QueryBuilder().append(one).count() for one in classes]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same crystal in three formats, and one of tungsten nitride."""
    folder = tmp_path_factory.mktemp("files")
    for name, form in (("TiN.cif", "cif"), ("POSCAR", "vasp"), ("TiN.xyz", "extxyz")):
        rocksalt().write(folder / name, format=form)
    rocksalt("W").write(folder / "WN.cif", format="cif")
    return folder


@pytest.fixture
def tungsten(aiida_profile):
    """An entry that the model cannot predict, in the catalogue for as long as a test lasts."""
    structure = orm.StructureData(ase=rocksalt("W"))
    description = orm.Dict({"composition": "WN", "structure_type": "B1"})
    entry = linked(structure, ElasticData(**entry_values({"W": 1.0})), {"description": description})
    entry.label = "B1/W-N/1.000000"
    catalogue().add_nodes(entry)
    yield entry
    catalogue().remove_nodes(entry)


# --- the group --------------------------------------------------------------------------------------------------


def test_help_lists_every_command_without_importing_any():
    text = invoke("ml", "--help").stdout
    for name in COMMANDS:
        assert f"  {name} " in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there(name):
    assert invoke("ml", name, "--help").exit_code == 0


@pytest.mark.parametrize("arguments", [["ml"], ["ml", "predict"], ["compare"]], ids=" ".join)
def test_help_imports_neither_aiida_nor_torch(arguments):
    program = (
        f"import sys\nfrom aiida_hardcoat.cli import cmd_root\ntry:\n    cmd_root({[*arguments, '--help']!r})\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "print(sorted({'aiida', 'torch', 'pymatgen'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_misspelt_commands_are_named():
    result = invoke("ml", "predcit")
    assert result.exit_code == 2
    assert "'predict'?" in result.stderr.splitlines()[-1]


# --- files ------------------------------------------------------------------------------------------------------


def test_files_of_any_format_give_what_the_model_says(files):
    rows = predict(*(files / name for name in ("TiN.cif", "POSCAR", "TiN.xyz")))
    assert [row["name"] for row in rows] == [str(files / name) for name in ("TiN.cif", "POSCAR", "TiN.xyz")]
    bulk = 200 + rocksalt().get_volume() / 8
    for row in rows:
        assert row["formula"] == "TiN"
        assert row["bulk_modulus"] == pytest.approx(bulk, rel=1e-6)
        assert (row["bulk_modulus_low"], row["bulk_modulus_high"]) == pytest.approx((0.9 * bulk, 1.2 * bulk), rel=1e-6)
        assert set(row) >= {name + kind for name in PROPERTIES for kind in KINDS}
        assert (row["far"], row["in_training_data"]) == (False, True)
        assert row["model_sha256"] == StandIn().sha256
        assert row["entry"] is row["prediction"] is None


def test_table_and_csv_tell_the_same(files):
    (row,) = predict(files / "TiN.cif")
    (line,) = csv.DictReader(io.StringIO(invoke("ml", "predict", files / "TiN.cif", "--format", "csv").stdout))
    assert float(line["youngs_modulus_high"]) == row["youngs_modulus_high"]
    head, shown, foot = invoke("ml", "predict", files / "TiN.cif").stdout.splitlines()
    for word in (f"{row['bulk_modulus']:.1f}", f"{row['poisson_ratio']:.3f}", "seen"):
        assert word in shown.split()
    assert f"{row['shear_modulus_low']:.1f}-{row['shear_modulus_high']:.1f}" in shown
    assert "GPa" in foot
    assert row["model_sha256"][:16] in foot
    assert head.split()[:3] == ["structure", "formula", "B"]


def test_files_store_nothing_and_cannot_be_stored(files, aiida_profile):
    before = count(orm.Node, orm.Group)
    predict(files / "TiN.cif")
    result = invoke("ml", "predict", files / "TiN.cif", "--store")
    assert_refused(result, "only entries")
    assert result.stdout == ""
    assert count(orm.Node, orm.Group) == before


def test_weights_of_ones_own_predict_files(files, tmp_path):
    path = StandIn(shift=5.0).write(tmp_path)
    (own,), (shipped,) = predict(files / "TiN.cif", "--model", path), predict(files / "TiN.cif")
    assert own["bulk_modulus"] == pytest.approx(shipped["bulk_modulus"] + 5.0)
    assert own["model_sha256"] != shipped["model_sha256"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--all"),
        (("missing.cif",), "missing.cif"),
        (("elsewhere/POSCAR",), "elsewhere/POSCAR"),
        (("99999999",), "hardcoat list"),
        (("B1/Xx-N/0.5",), "hardcoat list"),
        (("B1/Al-Ti-N/half",), "no label"),
    ],
)
def test_what_is_neither_file_nor_entry_is_one_line(aiida_profile, arguments, words):
    result = invoke("ml", "predict", *arguments)
    assert_refused(result, words)
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_missing_or_broken_input_files_are_one_line(files, tmp_path):
    assert_refused(invoke("ml", "predict", files / "TiN.cif", "--model", tmp_path / "none.safetensors"), "none.json")
    (tmp_path / "empty.cif").touch()
    result = invoke("ml", "predict", files / "TiN.cif", tmp_path / "empty.cif")
    assert_refused(result, "empty.cif")
    assert result.stdout == ""


def test_unseen_elements_are_refused_by_name_and_the_rest_is_predicted(files):
    assert_refused(invoke("ml", "predict", files / "WN.cif"), "W")
    result = invoke("ml", "predict", files / "WN.cif", files / "TiN.cif", "--format", "json")
    assert_refused(result, "WN.cif: the model has seen no crystal with W")
    assert [row["formula"] for row in json.loads(result.stdout)] == ["TiN"]


def test_files_need_neither_profile_nor_stand_in(files, tmp_path):
    """The shipped weights, in a process of their own, for a user who has never used AiiDA."""
    if not (Path(hardcoat_ml.__file__).parent / "weights" / "cgcnn.json").exists():
        pytest.skip("no weights are shipped")
    bare = {key: value for key, value in os.environ.items() if not key.startswith("AIIDA")} | {"HOME": str(tmp_path)}
    program = "from aiida_hardcoat.cli import main; main()"
    command = [sys.executable, "-c", program, "ml", "predict", str(files / "TiN.cif"), "--format", "json"]
    done = subprocess.run(command, env=bare, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    for name in PROPERTIES:
        assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
        assert row[f"{name}_spread"] > 0
    assert list(tmp_path.iterdir()) == []


# --- entries ----------------------------------------------------------------------------------------------------


def test_entries_by_pk_uuid_and_label_are_predicted_from_their_structures(alloy):
    entry, stored = alloy.outputs.entry, alloy.outputs.prediction
    before = count(orm.Node)
    for identifier in (entry.pk, entry.uuid):
        (row,) = predict(identifier)
        assert (row["entry"], row["formula"]) == (entry.pk, "AlTiN2")
        for name in PROPERTIES:
            assert row[name] == pytest.approx(getattr(stored, name))
    (row,) = predict("B1/Ti-Al-N/0.5")
    assert orm.load_node(row["entry"]).label == entry.label
    assert count(orm.Node) == before


def test_files_and_entries_together(alloy, files):
    rows = predict(files / "TiN.cif", alloy.outputs.entry.pk)
    assert [row["entry"] for row in rows] == [None, alloy.outputs.entry.pk]


def test_a_file_comes_before_an_entry_of_the_same_name(alloy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / str(alloy.outputs.entry.pk)).touch()
    assert_refused(invoke("ml", "predict", alloy.outputs.entry.pk), "the file is empty")


def test_all_entries_are_stored_once_for_a_model(alloy, tmp_path):
    path = StandIn(shift=29.0).write(tmp_path)
    asked = ("--all", "--store", "--model", path)
    before = count(PredictionData)[0]
    rows = predict(*asked)
    assert len(rows) == catalogue().count_entries() == count(PredictionData)[0] - before
    assert alloy.outputs.entry.pk in [row["entry"] for row in rows]
    for row in rows:
        node = orm.load_node(row["prediction"])
        assert node.bulk_modulus == pytest.approx(row["bulk_modulus"])
        assert node.pk in [member.pk for member in catalogue().nodes]
    everything = count(orm.Node)
    assert predict(*asked) == rows
    assert count(orm.Node) == everything


def test_an_entry_that_cannot_be_predicted_does_not_keep_the_others_from_being_stored(alloy, tungsten, tmp_path):
    path = StandIn(shift=31.0).write(tmp_path)
    before = count(PredictionData)[0]
    result = invoke("ml", "predict", tungsten.pk, alloy.outputs.entry.pk, "--store", "--model", path)
    assert_refused(result, f"B1/W-N/1.000000 ({tungsten.pk}): the model has seen no crystal with W")
    assert count(PredictionData)[0] == before + 1


def test_without_a_profile_an_entry_says_what_to_do(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "AIIDA_PATH": str(tmp_path)}
    program = "from aiida_hardcoat.cli import main; main()"
    for arguments in (("ml", "predict", "1"), ("ml", "predict", "--all"), ("compare",)):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 2
        assert done.stdout == ""
        assert "hardcoat setup" in done.stderr
        assert len(done.stderr.splitlines()) == 1


# --- what shows it ----------------------------------------------------------------------------------------------


def test_compare_shows_computed_beside_learned(alloy):
    entry, prediction = alloy.outputs.entry, alloy.outputs.prediction
    arguments = ("compare", "--level", entry.level, "--system", "Ti-Al-N", "--model", prediction.model_fingerprint)
    contents = json.loads(invoke(*arguments, "--format", "json").stdout)
    (row,) = [row for row in contents["entries"] if row["pk"] == entry.pk]
    assert (row["bulk_modulus"], row["predicted_bulk_modulus"]) == (entry.bulk_modulus, prediction.bulk_modulus)
    (summary,) = contents["summary"]
    assert summary["n"] == len(contents["entries"])

    lines = invoke(*arguments).stdout.splitlines()
    (line,) = [line for line in lines if line.split()[0] == str(entry.pk)]
    assert f"{entry.bulk_modulus:.1f}" in line
    assert f"{prediction.bulk_modulus_low:.1f}-{prediction.bulk_modulus_high:.1f}" in line
    inside = prediction.bulk_modulus_low <= entry.bulk_modulus <= prediction.bulk_modulus_high
    assert ("inside" if inside else "OUTSIDE") in line
    assert "MAE" in lines[-1]
    assert "% inside" in lines[-1]

    rows = list(csv.DictReader(io.StringIO(invoke(*arguments, "--format", "csv").stdout)))
    (found,) = [row for row in rows if int(row["pk"]) == entry.pk]
    assert float(found["shear_modulus_difference"]) == pytest.approx(entry.shear_modulus - prediction.shear_modulus)


def test_compare_of_nothing_says_how_to_begin(aiida_profile):
    result = invoke("compare", "--range", "c11=100000:")
    assert result.exit_code == 0
    assert "hardcoat ml predict --all --store" in result.stdout


def test_model_that_predicted_nothing_is_refused(alloy):
    assert_refused(invoke("compare", "--model", "zzz"), "zzz")


def test_search_shows_and_sorts_by_what_was_learned(alloy):
    entry = alloy.outputs.entry
    result = invoke("search", "--system", "Ti-Al-N", "--learned")
    assert "B learned" in result.stdout.splitlines()[0]
    assert "half-widths" in result.stdout.splitlines()[-1]
    assert "learned" not in invoke("search", "--system", "Ti-Al-N").stdout
    for field in ("predicted_bulk_modulus", "-predicted_shear_modulus_spread", "-bulk_modulus_disagreement"):
        rows = json.loads(invoke("search", "--system", "Ti-Al-N", "--sort", field, "--format", "json").stdout)
        assert entry.pk in [row["pk"] for row in rows]
        known = [row[field.removeprefix("-")] for row in rows if row[field.removeprefix("-")] is not None]
        assert known == sorted(known, reverse=field.startswith("-"))


def test_show_prints_the_learned_values_below_the_card(alloy):
    """Of the newest prediction of each model; other tests may have made some for the same structure."""
    entry, prediction = alloy.outputs.entry, alloy.outputs.prediction
    text = invoke("show", entry.pk).stdout
    below = text[text.index("Made by") :]
    rows = json.loads(invoke("show", entry.pk, "--format", "json").stdout)["predictions"]
    assert prediction.model_fingerprint in [row["model_fingerprint"] for row in rows]
    for row in rows:
        assert f"pk {row['pk']})" in below
        assert f"{row['bulk_modulus']:.2f}  [{row['bulk_modulus_low']:.2f}, " in below


def test_a_prediction_is_no_entry(alloy):
    assert_refused(invoke("show", alloy.outputs.prediction.pk), "PredictionData")
    assert_refused(invoke("ml", "predict", alloy.outputs.prediction.pk), "PredictionData")
