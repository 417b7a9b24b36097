"""``hardcoat ml excess`` and ``hardcoat ml alloys`` on made-up tables and on entries of the catalogue."""

import csv
import io
import json
from itertools import combinations

import numpy as np
import pytest
from aiida import orm
from click.testing import CliRunner
from conftest import entry_values, linked, rocksalt
from ensembles import StandIn

from aiida_hardcoat import learned
from aiida_hardcoat.cli import cmd_root
from aiida_hardcoat.cli.ml_alloys import make_crystals
from aiida_hardcoat.data.catalogue import catalogue
from aiida_hardcoat.data.elastic import ElasticData
from hardcoat_ml.alloys import load_table
from hardcoat_ml.crystal import formula_of
from hardcoat_ml.excess_model import PREDICTORS, load

ENDS = {"Al": (256.0, 219.0), "Hf": (274.0, 166.0), "Ti": (285.0, 187.0), "Zr": (255.0, 156.0)}


def rows(structure="B1", bow=8.0, metals=ENDS, **more):
    """End members, and three alloys of each pair with the same bowing."""
    table = [
        {"alloy": metal + "N", "structure": structure, "B": ENDS[metal][0], "G": ENDS[metal][1]} for metal in metals
    ]
    for one, other in combinations(metals, 2):
        for x in (0.25, 0.5, 0.75):
            b, g = (x * ENDS[one][k] + (1 - x) * ENDS[other][k] - bow * 4 * x * (1 - x) for k in (0, 1))
            table.append({"alloy": f"{one}{x}{other}{1 - x}N", "structure": structure, "B": b, "G": g})
    return [{**row, **more} for row in table]


class Featured(StandIn):
    """A stand-in with features: the volume per atom and its square."""

    def features(self, crystals):
        volumes = [abs(np.linalg.det(crystal.lattice)) / len(crystal.numbers) for crystal in crystals]
        return np.array([[volume, volume**2] for volume in volumes])


@pytest.fixture(autouse=True)
def network(monkeypatch):
    monkeypatch.setattr(learned, "load_ensemble", lambda path=None: Featured(0.0 if path is None else 7.0))


@pytest.fixture
def table(tmp_path):
    def write(content, name="table.json"):
        path = tmp_path / name
        path.write_text(json.dumps(content))
        return path

    return write


def invoke(*arguments):
    return CliRunner().invoke(cmd_root, ["ml", *(str(argument) for argument in arguments)])


def assert_refused(result, words):
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    assert result.stdout == ""
    line = result.stderr.splitlines()[-1]
    assert line.startswith("Error: ")
    assert words in line


# --- excess -----------------------------------------------------------------------------------------------------------


def test_learning_shows_the_errors_and_stores_them(table, tmp_path):
    path = table({"licence": "CC BY 4.0", "rows": rows()})
    result = invoke("excess", path, "-o", tmp_path / "model.json", "--format", "json")
    assert result.exit_code == 0, result.stderr
    shown = {row["predictor"]: row for row in json.loads(result.stdout)["leave_one_pair_out"]}
    model = load(tmp_path / "model.json")
    (known,) = model.settings
    assert set(shown) == set(PREDICTORS)
    for name, row in shown.items():
        assert row["bulk_modulus_mae"] == known.scores[name]["bulk_modulus"].mae
    assert model.sources == ({"file": "table.json", "licence": "CC BY 4.0"},)
    text = invoke("excess", path).stdout
    assert f"{shown['Vegard']['bulk_modulus_mae']:.1f}" in text
    assert "Al-Hf, Al-Ti, Al-Zr, Hf-Ti, Hf-Zr, Ti-Zr" in text


def test_stored_and_new_models_predict_the_same(table, tmp_path):
    path, model = table(rows()), tmp_path / "model.json"
    asked = ("-p", "Ti0.5Al0.5N", "-p", "TiAlZrHfN4", "-s", "B1", "--format", "json")
    first = invoke("excess", path, "-o", model, *asked)
    again = invoke("excess", "-m", model, *asked)
    assert first.stdout == again.stdout
    two, four = json.loads(again.stdout)
    assert four["formula"] == "Al0.25Hf0.25Ti0.25Zr0.25N"
    assert two["bulk_modulus"] < two["vegard"]["bulk_modulus"] == 270.5
    low, high = two["interval"]["youngs_modulus"]
    assert low < two["youngs_modulus"] < high
    (line,) = csv.DictReader(
        io.StringIO(invoke("excess", "-m", model, "-p", "Ti0.5Al0.5N", "-s", "B1", "--format", "csv").stdout)
    )
    assert float(line["shear_modulus"]) == two["shear_modulus"]
    text = invoke("excess", "-m", model, "-p", "Ti0.5Al0.5N", "-s", "B1").stdout
    assert f"{two['bulk_modulus']:.1f}" in text.split()
    assert "270.5" in text.split()


def test_structures_with_little_data_say_so_unless_pooled(table):
    path = table([*rows(), *rows("B3", metals=("Al", "Hf"))])
    asked = ("excess", path, "-p", "Hf0.5Al0.5N", "-s", "B3", "--format", "json")
    (alone,), (pooled,) = (json.loads(invoke(*asked, *more).stdout) for more in ((), ("--pool",)))
    assert alone["bulk_modulus"] == alone["vegard"]["bulk_modulus"]
    assert "Vegard's rule: only 1 set" in alone["notes"][0]
    assert pooled["bulk_modulus"] < alone["bulk_modulus"]
    assert "B1 and B3" in " ".join(pooled["notes"])
    assert "only 1 set" in invoke("excess", path).stdout


def test_alloys_without_end_members_are_told(table):
    result = invoke("excess", table([row for row in rows() if row["alloy"] != "ZrN"]))
    assert result.exit_code == 0
    assert sum("ZrN" in line for line in result.stderr.splitlines()) == 9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name tables"),
        (("TABLE", "-m", "model.json"), "name tables"),
        (("TABLE", "-p", "Ti0.5Al0.5N"), "-s B1"),
        (("TABLE", "-p", "Ti0.5Al0.5N", "-s", "B2"), "B2"),
        (("TABLE", "-p", "Cr0.5Al0.5N", "-s", "B1"), "CrN"),
        (("TABLE", "-o", "/nowhere/model.json"), "Cannot write"),
        (("TABLE", "--ions", "clamped"), "it holds ions relaxed"),
        (("TABLE", "--level", "vasp"), "it holds"),
        (("nowhere.json",), "nowhere.json"),
        (("-m", "nowhere.json", "-p", "TiN", "-s", "B1"), "nowhere.json"),
        (("-m", "nowhere.json", "--pool"), "--pool"),
        (("-m", "nowhere.json", "-o", "other.json"), "--output"),
    ],
)
def test_mistakes_are_one_line(table, arguments, words):
    path = table(rows())
    assert_refused(invoke("excess", *(path if each == "TABLE" else each for each in arguments)), words)


# --- alloys -----------------------------------------------------------------------------------------------------------


def compare(*arguments):
    result = invoke("alloys", *arguments, "--format", "json")
    assert result.exit_code == 0, result.stderr
    return {(line["subset"], line["ions"], line["predictor"]): line for line in json.loads(result.stdout)}


def test_every_predictor_stands_beside_vegard_and_the_mean(table):
    path = table([*rows(), *rows("B3")])
    lines = compare(path, "--atoms", 16)
    assert {subset for subset, _, _ in lines} == {"B1", "B3", "B1+B3"}
    names = [name for subset, _, name in lines if subset == "B1"]
    assert names[:4] == ["mean", "Vegard", "CGCNN", "CGCNN (end members judged too)"]
    assert names.index("CGCNN") < names.index("excess") < names.index("CGCNN features, ridge")
    vegard, network = (lines["B1+B3", "relaxed", name] for name in ("Vegard", "CGCNN (end members judged too)"))
    assert vegard["scores"]["bulk_modulus"]["mae"] == pytest.approx(8 * 2.5 / 3)
    # The stand-in has seen AlN and TiN, of four end members.
    assert (vegard["n"], network["n"]) == (36, 36 + 4)
    text = invoke("alloys", path, "--no-network").stdout
    assert "B1+B3, ions relaxed" in text
    assert "CGCNN" not in text
    table_rows = list(csv.DictReader(io.StringIO(invoke("alloys", path, "--no-network", "--format", "csv").stdout)))
    assert {row["predictor"] for row in table_rows} == set(PREDICTORS)


def test_a_predictor_is_plotted_and_an_unknown_one_is_refused(table, tmp_path):
    path = table(rows())
    result = invoke("alloys", path, "--no-network", "--plot", "excess", tmp_path / "excess.svg")
    assert result.exit_code == 0, result.stderr
    assert "Shear modulus" in (tmp_path / "excess.svg").read_text()
    for arguments, words in ((("CGCN", tmp_path / "x.png"), "no predictor 'CGCN'"), (("mean", "x.txt"), ".png")):
        assert_refused(invoke("alloys", path, "--no-network", "--plot", *arguments), words)


def test_relaxed_and_clamped_ions_are_told_apart(table):
    lines = compare(table([*rows(), *rows(bow=4.0, ions="clamped")]), "--no-network")
    errors = [lines["B1", ions, "Vegard"]["scores"]["shear_modulus"]["mae"] for ions in ("relaxed", "clamped")]
    assert errors == pytest.approx([8 * 2.5 / 3, 4 * 2.5 / 3])


def test_a_network_is_judged_on_quasirandom_structures(table):
    """The stand-in's bulk modulus is 200 GPa and the volume per atom."""
    path = table(rows(metals=("Al", "Ti")))
    crystals = make_crystals(load_table(path).alloys, 16, {})
    sizes = {formula_of(crystal.numbers): len(crystal.numbers) for crystal in crystals.values()}
    assert sizes == {"Al1N1": 2, "N1Ti1": 2, "Al1N4Ti3": 16, "Al1N2Ti1": 16, "Al3N4Ti1": 16}
    wrong = [
        abs(200 + abs(np.linalg.det(crystal.lattice)) / len(crystal.numbers) - alloy.bulk_modulus)
        for alloy, crystal in crystals.items()
        if not alloy.is_end_member
    ]
    found = compare(path, "--atoms", 16)["B1", "relaxed", "CGCNN"]
    assert found["scores"]["bulk_modulus"]["mae"] == pytest.approx(np.mean(wrong))


def test_networks_can_be_named_and_the_elements_they_lack_are_left_out(table, tmp_path):
    path = table([*rows(), {"alloy": "CrN", "structure": "B1", "B": 300.0, "G": 200.0},
                  {"alloy": "Cr0.5Ti0.5N", "structure": "B1", "B": 290.0, "G": 190.0}])  # fmt: skip
    lines = compare(path, "--atoms", 16, "-m", f"held-out={tmp_path / 'x.json'}", "-m", tmp_path / "y.json")
    assert lines["B1", "relaxed", "CGCNN held-out"]["n"] == 18
    assert lines["B1", "relaxed", "Vegard"]["n"] == 19
    assert lines["B1", "relaxed", "CGCNN"]["scores"] == lines["B1", "relaxed", "CGCNN held-out"]["scores"]
    assert not any("ridge" in name for _, _, name in lines)


def test_a_references_excess_is_tried(table):
    path = table(rows())
    reference = table([{**row, "B": 0.9 * row["B"], "G": 0.9 * row["G"]} for row in rows()], "potential.json")
    lines = compare(path, "--no-network", "--reference", reference)
    found = lines["B1", "relaxed", "Vegard + reference excess"]
    assert found["scores"]["bulk_modulus"]["mae"] == pytest.approx(0, abs=1e-9)
    assert "bulk_modulus" in found["kept"]
    assert lines["B1", "relaxed", "excess, learned with the reference's"]["kept"] == []


def test_levels_of_theory_are_never_mixed(table):
    one, other = table(rows(), "one.json"), table(rows(bow=2.0), "other.json")
    assert_refused(invoke("alloys", one, other, "--no-network"), "--level")
    assert_refused(invoke("alloys", one, "--reference", table(rows(level="a") + rows(level="b"))), "--level")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--atoms", 10), "atoms"),
        (("--atoms", 15), "15"),
        (("-m", "a=x.json", "-m", "a=y.json"), "two models"),
        (("--fine-tune", "some"), "read-out"),
    ],
)
def test_mistakes_in_a_comparison_are_one_line(table, more, words):
    assert_refused(invoke("alloys", table(rows()), *more), words)


# --- catalogue --------------------------------------------------------------------------------------------------------


@pytest.fixture
def entries(aiida_profile):
    """Entries of Al-Ti-N with relaxed structures, and what must not be mixed with them; removed afterwards."""
    group = catalogue()
    changes = [
        {"fractions": {"Al": 1.0}, "c11": 100.0},  # calculated anew below: the newest end member counts
        {"fractions": {"Al": 1.0}, "c11": 432.0, "c12": 167.0, "c44": 307.0},
        {"fractions": {"Ti": 1.0}, "c11": 584.0, "c12": 136.0, "c44": 166.0},
        {"fractions": {"Al": 0.5, "Ti": 0.5}, "c11": 492.0, "c12": 155.0, "c44": 214.0},
        {"fractions": {"Al": 0.5, "Ti": 0.5}, "c11": 900.0, "level": "ase:7net-0", "level_fingerprint": "other"},
        {"fractions": {"Al": 0.25, "Ti": 0.75}, "c11": 100.0, "c12": 200.0, "c44": 50.0},  # unstable
    ]
    stored = []
    for change in changes:
        metals = list(change["fractions"])
        atoms = rocksalt(metals[-1], a=4.2)
        atoms.symbols[[k for k, atom in enumerate(atoms) if atom.symbol != "N"][: 2 * (len(metals) - 1)]] = metals[0]
        description = orm.Dict({"composition": "TiN", "structure_type": "B1"})
        node = linked(orm.StructureData(ase=atoms), ElasticData(**entry_values(**change)), {"description": description})
        group.add_nodes(node)
        stored.append(node)
    yield stored
    group.remove_nodes(stored)


def test_entries_of_the_catalogue_are_learned_from_and_judged_on(entries):
    _, aluminium, titanium, alloy, _, _ = entries
    arguments = ("catalogue", "--level", "ase:7net-l3i5")
    result = invoke("excess", *arguments, "-p", "Ti0.5Al0.5N", "-s", "B1", "--format", "json")
    assert result.exit_code == 0, result.stderr
    assert "no moduli" in result.stderr
    (found,) = json.loads(result.stdout)
    mean = (aluminium.bulk_modulus + titanium.bulk_modulus) / 2
    assert found["vegard"]["bulk_modulus"] == pytest.approx(mean)
    line = compare(*arguments)["B1", "relaxed", "CGCNN"]
    assert line["n"] == 1
    said = 200 + rocksalt(a=4.2).get_volume() / 8
    assert line["scores"]["bulk_modulus"]["mae"] == pytest.approx(abs(said - alloy.bulk_modulus), rel=1e-6)


def test_levels_of_the_catalogue_are_never_mixed(entries):
    result = invoke("excess", "catalogue", "--format", "json")
    (alone,) = [line for line in result.stderr.splitlines() if "AlN in the same setting" in line and "7net-0" in line]
    assert "Ti" in alone
    assert "ase:7net-l3i5 0123456789abcdef" in {row["level"] for row in json.loads(result.stdout)["leave_one_pair_out"]}
