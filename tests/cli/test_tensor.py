"""``hardcoat tensor``."""

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from ase.spacegroup import crystal
from click.testing import CliRunner
from scipy.spatial.transform import Rotation

from aiida_hardcoat import __version__
from aiida_hardcoat.cli.errors import user_errors
from aiida_hardcoat.cli.tensor import cmd_tensor
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.projection import project, rotate_tensor
from aiida_hardcoat.physics.properties import elastic_properties

CUBIC = np.diag([584.0] * 3 + [166.0] * 3)
CUBIC[:3, :3] += 136 * (1 - np.eye(3))
HEXAGONAL = project(np.diag([400.0, 400, 250, 70, 70, 130]) + 60, "hexagonal").tensor


def run(*arguments, input=None):
    return CliRunner().invoke(cmd_tensor, [str(argument) for argument in arguments], input=input)


@pytest.fixture
def tensor_file(tmp_path):
    def make(tensor, name="tensor.json"):
        path = tmp_path / name
        path.write_text(json.dumps(np.asarray(tensor).tolist()))
        return path

    return make


def test_json_holds_all_properties(tensor_file):
    noisy = CUBIC + np.diag([1.0, -1, 0, 2, -2, 0])
    result = run(tensor_file(noisy), "--symmetry", "cubic", "--format", "json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["tensor"] == noisy.tolist()
    assert report["version"] == __version__
    assert report["units"]["bulk_modulus"] == "GPa"
    for key, value in elastic_properties(noisy, "cubic").items():
        assert report[key] == value


def test_table_and_csv(tensor_file):
    table = run(tensor_file(CUBIC))
    assert table.exit_code == 0
    for words in ("projected onto cubic", "Bulk modulus", "GPa", "Stable (Born)", "285.333"):
        assert words in table.stdout
    rows = list(csv.DictReader(io.StringIO(run(tensor_file(CUBIC), "--format", "csv").stdout)))
    assert len(rows) == 1
    assert float(rows[0]["shear_modulus_voigt"]) == pytest.approx((584 - 136 + 3 * 166) / 5)
    assert rows[0]["debye_temperature"] == ""


def test_standard_input():
    result = run("-", "--format", "json", input="\n".join(" ".join(map(str, row)) for row in HEXAGONAL))
    assert json.loads(result.stdout)["symmetry"] == "hexagonal"


def test_the_symmetry_is_detected_named_by_the_file_or_asked_for(tmp_path, tensor_file):
    detected = json.loads(run(tensor_file(HEXAGONAL), "--format", "json").stdout)
    assert detected["symmetry"] == "hexagonal"
    assert any("highest" in note for note in detected["notes"])
    path = tmp_path / "named.json"
    path.write_text(json.dumps({"C_in": HEXAGONAL.tolist(), "symmetry": "trigonal"}))
    assert json.loads(run(path, "--format", "json").stdout)["symmetry"] == "trigonal"
    assert json.loads(run(path, "--format", "json", "--symmetry", "cubic").stdout)["symmetry"] == "cubic"


def test_a_structure_gives_class_and_density(tmp_path, tensor_file):
    structure = tmp_path / "POSCAR"
    write(structure, bulk("TiN", "rocksalt", a=4.24), format="vasp")
    report = json.loads(run(tensor_file(CUBIC), "--structure", structure, "--format", "json").stdout)
    assert report["symmetry"] == "cubic"
    assert report["density"] == pytest.approx(5390, rel=0.01)
    assert report["debye_temperature"] == pytest.approx(915, rel=0.02)


def test_ieee_turns_a_tensor_from_the_frame_of_the_structure(tmp_path, tensor_file):
    atoms = crystal(
        "AlN",
        [(1 / 3, 2 / 3, 0), (1 / 3, 2 / 3, 0.38)],
        spacegroup=186,
        cellpar=[3.11, 3.11, 4.98, 90, 90, 120],
    )
    rotation = Rotation.from_euler("zxz", [20, 40, 60], degrees=True).as_matrix()
    turned = Atoms(atoms.numbers, positions=atoms.positions @ rotation.T, cell=atoms.cell @ rotation.T, pbc=True)
    structure = tmp_path / "turned.cfg.xyz"
    write(structure, turned, format="extxyz")
    path = tensor_file(rotate_tensor(HEXAGONAL, rotation))
    report = json.loads(run(path, "--structure", structure, "--ieee", "--format", "json").stdout)
    np.testing.assert_allclose(report["projected"], HEXAGONAL, atol=1e-4)
    assert report["projected_away"] < 1e-6
    unturned = json.loads(run(path, "--structure", structure, "--format", "json").stdout)
    assert unturned["projected_away"] > 0.05
    assert any("projected away" in note for note in unturned["notes"])


def test_an_unstable_tensor_is_answered(tensor_file):
    unstable = CUBIC.copy()
    unstable[:3, :3] += 600 * (1 - np.eye(3))
    result = run(tensor_file(unstable))
    assert result.exit_code == 0
    assert "not mechanically stable" in result.stdout
    assert json.loads(run(tensor_file(unstable), "--format", "json").stdout)["stable"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.json"], "absent.json: No such file"),
        (["{cubic}", "--symmetry", "cubik"], "did you mean 'cubic'"),
        (["{cubic}", "--ieee"], "--structure FILE"),
        (["{cubic}", "--structure", "absent"], "absent: no such file"),
        (["{cubic}", "--structure", "{cubic}"], "is no structure"),
        (["{bad}"], "got 5 rows of 6"),
    ],
)
def test_a_mistake_is_one_line_without_traceback(arguments, message, tensor_file):
    files = {"cubic": tensor_file(CUBIC), "bad": tensor_file(CUBIC[:5], "bad.json")}
    result = run(*[argument.format(**files) for argument in arguments])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1
    assert message in result.stderr


def test_only_mistakes_of_the_user_are_caught():
    with pytest.raises(ZeroDivisionError), user_errors():
        _ = 1 / 0
    with pytest.raises(Exception, match="a b") as error, user_errors():
        raise InputError("a\nb")
    assert error.value.exit_code == 2


def test_no_aiida_is_imported(tensor_file):
    code = (
        "import sys; from aiida_hardcoat.cli.tensor import cmd_tensor\n"
        f"cmd_tensor([{str(tensor_file(CUBIC))!r}], standalone_mode=False)\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('aiida', 'torch', 'pymatgen')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
