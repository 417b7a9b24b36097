"""``hardcoat ml prepare`` and ``train``: from a data file to a model that predicts, and one line for every mistake."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from aiida_hardcoat.cli import cmd_root

METALS = (12, 13, 20, 21, 22, 23, 24, 25, 26, 27, 28, 30)
ANIONS = (6, 7, 8, 9, 15, 16, 17, 34)


def row(metal: int, anion: int) -> dict:
    """A made-up rocksalt with moduli that follow from its volume."""
    edge = 3.6 + 0.02 * metal + 0.05 * anion
    bulk = 19200 / edge**3
    return {
        "mp_id": f"made-up-{metal}-{anion}",
        "formula": "-",
        "spacegroup": 225,
        "source": "made up",
        "lattice": (edge / 2 * (np.ones((3, 3)) - np.eye(3))).tolist(),
        "numbers": [metal, anion],
        "frac": [[0, 0, 0], [0.5, 0.5, 0.5]],
        "K_VRH": bulk,
        "G_VRH": bulk * (0.3 + 0.03 * anion),
    }


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row(m, a)) + "\n" for m in METALS for a in ANIONS))
    return path


def hardcoat(*arguments):
    return CliRunner().invoke(cmd_root, ["ml", *map(str, arguments)])


def refusal(*arguments) -> str:
    """The one line that a refused command prints."""
    result = hardcoat(*arguments)
    assert result.exit_code == 2, result.output
    (line,) = [text for text in result.output.splitlines() if text.startswith("Error: ")]
    return line


def test_prepared_and_trained_predicts(data, tmp_path):
    target = tmp_path / "set.npz"
    result = hardcoat("prepare", data, target, "--seed", 3)
    assert result.exit_code == 0, result.output
    assert "CC BY 4.0" in target.with_suffix(".md").read_text()

    folder = tmp_path / "run"
    options = "--members", 2, "--epochs", 2
    trained = hardcoat("train", target, folder, *options)
    assert trained.exit_code == 0, trained.output
    assert (folder / "losses.png").stat().st_size > 1000
    card = json.loads((folder / "cgcnn.json").read_text())
    assert card["sha256"] in trained.output
    assert card["protocol"]["epochs"] == 2

    again = hardcoat("train", target, folder, *options)
    assert again.exit_code == 0
    assert json.loads((folder / "cgcnn.json").read_text()) == card

    made = hardcoat("evaluate", data, "--model", folder / "cgcnn.json", "--format", "json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.output)["model_sha256"] == card["sha256"]


def test_held_out_compounds_are_not_trained_on(data, tmp_path):
    out = tmp_path / "set.npz"
    assert hardcoat("prepare", data, out, "--hold-out-anion", "N", "--hold-out-system", "Mg-O").exit_code == 0
    with np.load(out) as stored:
        held = stored["formulas"][stored["parts"] == 3]
    assert {f for f in held if "N1" in f} == {f"N1{symbol}1" if symbol > "N" else f"{symbol}1N1" for symbol in (
        "Mg", "Al", "Ca", "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Zn"
    )}  # fmt: skip
    assert "Mg1O1" in held


def test_every_mistake_is_one_line(data, tmp_path):
    out = tmp_path / "set.npz"
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert "empty" in refusal("prepare", empty, out)
    torn = tmp_path / "torn.jsonl"
    torn.write_text(data.read_text()[:-40])
    assert "line 96" in refusal("prepare", torn, out)
    nan = tmp_path / "nan.jsonl"
    nan.write_text(json.dumps(row(12, 8) | {"K_VRH": float("nan")}) + "\n")
    assert "line 1" in refusal("prepare", nan, out)
    assert ".npz" in refusal("prepare", data, tmp_path / "set.txt")
    assert "make it first" in refusal("prepare", data, tmp_path / "nowhere" / "set.npz")
    assert "anion" in refusal("prepare", data, out, "--hold-out-anion", "Ti")
    assert not out.exists()

    assert "hardcoat ml prepare" in refusal("train", out, tmp_path / "run")
    assert "choose one of study, quick" in refusal("train", data, tmp_path / "run", "--protocol", "quik")
    assert "no device" in refusal("train", data, tmp_path / "run", "--device", "tpu")
    few = tmp_path / "few.jsonl"
    few.write_text("".join(data.read_text().splitlines(keepends=True)[:20]))
    assert "too few for 90" in refusal("train", few, tmp_path / "run")
    assert not (tmp_path / "run").exists()
