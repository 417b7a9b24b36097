"""Reports of an ensemble that is made up, so that its scores can be worked out from what it was made to say."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from aiida_hardcoat.cli.ml_evaluate import cmd_evaluate
from hardcoat_ml.crystal import formula_of, make_crystal
from hardcoat_ml.data import Entry, load_entries
from hardcoat_ml.elements import SYMBOLS
from hardcoat_ml.ensemble import Ensemble
from hardcoat_ml.errors import InputError
from hardcoat_ml.evaluation import (
    coverage_report,
    crystal_system,
    evaluate,
    has_all,
    has_anion,
    held_out,
    in_system,
)
from hardcoat_ml.metrics import PROPERTIES, youngs_and_poisson
from hardcoat_ml.prediction import Prediction

REFERENCE = Path(__file__).parents[2].parent / "shared" / "data" / "elastic_mp_ordered.jsonl.xz"
FRACTIONAL = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5]]


def entry(symbols="Ti N", bulk=200.0, shear=100.0, spacegroup=225, a=4.2):
    numbers = [SYMBOLS.index(symbol) for symbol in symbols.split()]
    crystal = make_crystal(a * np.eye(3), numbers, FRACTIONAL[: len(numbers)])
    return Entry(crystal, bulk, shear, formula_of(numbers), spacegroup=spacegroup)


@dataclass
class Shifted:
    """Says ``shift`` GPa more than the truth of each of its entries, with intervals of +-``half``."""

    entries: list
    shift: float = 10.0
    half: float = 20.0
    known: frozenset = frozenset()
    elements: frozenset = frozenset({"Al", "Ti", "N", "O", "C"})
    far: frozenset = frozenset()
    card: dict = field(
        default_factory=lambda: {"training_mean": dict(zip(PROPERTIES, (150, 80, 200, 0.3), strict=True))}
    )
    sha256: str = "5e" * 32
    asked: int = 0

    def predict(self, crystals, progress=None):
        answers = []
        for crystal in progress(crystals) if progress else crystals:
            self.asked += 1
            own = next(
                e for e in self.entries if all(np.array_equal(a, b) for a, b in zip(e.crystal, crystal, strict=True))
            )
            bulk, shear = own.bulk_modulus + self.shift, own.shear_modulus + self.shift
            youngs, poisson = (float(value) for value in youngs_and_poisson(bulk, shear))
            values = dict(zip(PROPERTIES, (bulk, shear, youngs, poisson), strict=True))
            answers.append(
                Prediction(
                    **values,
                    spread=dict.fromkeys(PROPERTIES, 1.0),
                    interval={name: (value - self.half, value + self.half) for name, value in values.items()},
                    distance=2.0 if own.formula in self.far else 0.5,
                    far=own.formula in self.far,
                )
            )
        return answers

    def unseen(self, crystal):
        return sorted({SYMBOLS[number] for number in crystal.numbers} - self.elements)

    def saw(self, formula):
        return formula in self.known


@pytest.fixture
def entries():
    return [
        entry("Ti N", 280.0, 180.0),
        entry("Ti N", 270.0, 170.0, spacegroup=194, a=4.3),
        entry("Al N", 200.0, 130.0, spacegroup=186),
        entry("Ti C", 250.0, 190.0, spacegroup=225),
        entry("Ti O O", 210.0, 110.0, spacegroup=136),
        entry("Al", 75.0, 27.0, spacegroup=225, a=3.0),
    ]


def test_scores_groups_and_the_mean_of_the_training_data(entries):
    found = evaluate(Shifted(entries), entries)
    assert (found["n"], found["n_formulas"], found["n_in_training"], found["n_refused"]) == (6, 5, 0, 0)
    assert found["bulk_modulus"]["mae"] == pytest.approx(10)
    assert found["shear_modulus"]["rmse"] == pytest.approx(10)
    assert found["mae_standard_error"]["bulk_modulus"] == pytest.approx(0, abs=1e-9)
    bulk = np.array([e.bulk_modulus for e in entries])
    assert found["predict_the_mean"]["bulk_modulus"]["mae"] == pytest.approx(np.abs(bulk - 150).mean())
    assert found["predict_the_mean_of"] == "training data"
    assert {name: group["n"] for name, group in found["by_crystal_system"].items()} == {
        "tetragonal": 1,
        "hexagonal": 2,
        "cubic": 3,
    }
    assert {number: group["n"] for number, group in found["by_number_of_elements"].items()} == {"1": 1, "2": 5}
    assert found["by_number_of_elements"]["1"]["bulk_modulus"]["mare"] == pytest.approx(10 / 75)
    assert found["by_number_of_elements"]["1"]["bulk_modulus"]["r2"] is None
    assert found["model_sha256"] == "5e" * 32


def test_the_report_has_the_documented_fields_and_is_json(entries):
    found = json.loads(json.dumps(evaluate(Shifted(entries), entries), allow_nan=False))
    assert {"n", *PROPERTIES, "coverage_90", "predict_the_mean", "by_crystal_system", "by_number_of_elements"} <= set(
        found
    )
    for scores in (found, found["predict_the_mean"]):
        assert all(set(scores[name]) == {"mae", "mare", "rmse", "r2", "log10_mae"} for name in PROPERTIES)
    assert set(found["coverage_90"]) == set(PROPERTIES)


def test_without_a_card_the_mean_is_that_of_the_data(entries):
    found = evaluate(Shifted(entries, card={}), entries)
    assert found["predict_the_mean_of"] == "these data"
    assert found["predict_the_mean"]["youngs_modulus"]["r2"] == pytest.approx(0)


@pytest.mark.parametrize(("half", "covered"), [(10.5, 1.0), (9.5, 0.0)])
def test_coverage_of_intervals(entries, half, covered):
    found = evaluate(Shifted(entries, half=half), entries)
    assert found["coverage_90"]["bulk_modulus"] == covered
    assert found["intervals_90"]["shear_modulus"]["mean_width"] == pytest.approx(2 * half)
    assert found["intervals_90"]["bulk_modulus"]["below"] == 1 - covered
    assert found["intervals_90"]["bulk_modulus"]["above"] == 0


def test_formulas_of_the_training_data_are_left_out_and_never_predicted(entries):
    ensemble = Shifted(entries, known=frozenset({"N1Ti1"}))
    found = evaluate(ensemble, entries)
    assert (found["n"], found["n_in_training"], found["includes_training"], ensemble.asked) == (4, 2, False, 4)
    found = evaluate(ensemble, entries, include_training=True)
    assert (found["n"], found["n_in_training"], found["includes_training"]) == (6, 2, True)


def test_unseen_elements_are_refused_by_name(entries):
    found = evaluate(Shifted(entries), [*entries, entry("Hf N"), entry("Hf Zr N")])
    assert (found["n"], found["n_refused"], found["refused"]) == (6, 2, {"Hf": 2, "Zr": 1})


def test_far_entries_are_judged_beside_near_ones(entries):
    found = evaluate(Shifted(entries, far=frozenset({"O2Ti1", "Al1"})), entries)["far"]
    assert found["n"] == 2
    assert found["outside"]["mae"]["bulk_modulus"] == found["inside"]["mae"]["bulk_modulus"] == pytest.approx(10)
    assert evaluate(Shifted(entries), entries)["far"]["outside"] is None


@pytest.mark.parametrize(
    ("change", "data", "says"),
    [
        ({"known": frozenset({"N1Ti1", "Al1N1", "C1Ti1", "O2Ti1", "Al1"})}, lambda e: e, "--include-training"),
        ({"elements": frozenset()}, lambda e: e, "not seen .Al, C, N, O, Ti"),
        ({}, lambda e: [], "no entries"),
        ({}, lambda e: [replace(e[0], shear_modulus=-3.0)], "not positive"),
        ({}, lambda e: [replace(e[0], bulk_modulus=float("nan"))], "not positive"),
    ],
)
def test_data_that_cannot_judge(entries, change, data, says):
    with pytest.raises(InputError, match=says) as error:
        evaluate(Shifted(entries, **change), data(entries))
    assert "\n" not in str(error.value)


def test_crystal_systems_of_stated_space_groups():
    numbers = (1, 2, 3, 15, 16, 74, 75, 142, 143, 167, 168, 194, 195, 230)
    names = ["triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic"]
    assert [crystal_system(entry(spacegroup=number)) for number in numbers] == [
        name for name in names for _ in range(2)
    ]


@pytest.mark.parametrize(
    ("lattice", "system"),
    [
        (np.diag([4.0, 4.0, 4.0]), "cubic"),
        (np.diag([4.0, 4.0, 4.5]), "tetragonal"),
        (np.diag([4.0, 4.2, 4.5]), "orthorhombic"),
        ([[4, 0, 0], [-2, 2 * 3**0.5, 0], [0, 0, 4.5]], "hexagonal"),
        ([[4, 0, 0], [0.5, 4.3, 0], [0.3, 0.4, 5]], "triclinic"),
    ],
)
def test_crystal_systems_without_a_space_group(lattice, system):
    crystal = make_crystal(lattice, [22], [[0, 0, 0]])
    assert crystal_system(replace(entry("Ti", spacegroup=None), crystal=crystal)) == system


def test_a_coverage_report_by_hand():
    report = coverage_report([1.0, 2.0, 3.0, 4.0], [0.0, 3.0, 2.0, 1.0], [2.0, 4.0, 5.0, 3.0])
    assert (report["n"], report["coverage"], report["below"], report["above"]) == (4, 0.5, 0.25, 0.25)
    assert (report["mean_width"], report["median_width"]) == (2.0, 2.0)
    assert report["standard_error"] == pytest.approx(0.25, rel=0.15)
    with pytest.raises(InputError):
        coverage_report([], [], [])


@pytest.mark.parametrize(
    ("predicate", "out"),
    [
        (has_anion("N"), ["N1Ti1", "N1Ti1", "Al1N1"]),
        (has_anion("O"), ["O2Ti1"]),
        (has_all("Ti", "O"), ["O2Ti1"]),
        (in_system("Al", "Ti", "N"), ["N1Ti1", "N1Ti1", "Al1N1"]),
    ],
)
def test_parts_that_are_held_out(entries, predicate, out):
    kept, held = held_out(entries, predicate)
    assert [e.formula for e in held] == out
    assert len(kept) + len(held) == len(entries)
    assert not {e.formula for e in kept} & set(out)


def test_an_oxynitride_is_no_nitride_and_an_anion_must_be_one():
    assert not has_anion("N")(entry("Ti O N"))
    assert has_anion("O")(entry("Ti O N"))
    with pytest.raises(InputError, match="'Ti' is no anion"):
        has_anion("Ti")


def test_holding_out_nothing_or_everything(entries):
    with pytest.raises(InputError, match="6 of 6"):
        held_out(entries, has_all("Hf", "N"))
    with pytest.raises(InputError, match="0 of 2"):
        held_out(entries[:2], has_anion("N"))


# The command.


@pytest.fixture
def data(entries, tmp_path):
    rows = [
        {
            "lattice": e.crystal.lattice.tolist(),
            "numbers": e.crystal.numbers.tolist(),
            "frac": e.crystal.fractional.tolist(),
            "K_VRH": e.bulk_modulus,
            "G_VRH": e.shear_modulus,
            "spacegroup": e.spacegroup,
        }
        for e in entries
    ]
    rows.append({**rows[0], "K_VRH": -4.0})
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return path


@pytest.fixture
def run(monkeypatch, entries):
    """The command with a made-up ensemble in place of the shipped one."""

    def call(*arguments, **changes):
        loaded = []
        monkeypatch.setattr(Ensemble, "load", lambda path=None: (loaded.append(path), Shifted(entries, **changes))[1])
        result = CliRunner().invoke(cmd_evaluate, [str(argument) for argument in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result, loaded

    return call


def test_command_json(run, data):
    result, loaded = run(data, "--format", "json", "--model", "other.safetensors")
    found = json.loads(result.stdout)
    assert (found["n"], found["removed"]) == (6, {"not positive": 1})
    assert found["bulk_modulus"]["mae"] == pytest.approx(10)
    assert loaded == [Path("other.safetensors")]


def test_command_table(run, data):
    result, loaded = run(data, known=frozenset({"N1Ti1"}), elements=frozenset({"Ti", "Al", "N", "C"}))
    assert result.exit_code == 0
    assert loaded == [None]
    for text in (
        "3 entries of 3 formulas",
        "2 more have formulas of the training data",
        "O in 1",
        "not positive",
        "of the mean",
        "cubic",
        "2 elements",
    ):
        assert text in result.stdout
    assert "no test" in run(data, "--include-training", known=frozenset({"N1Ti1"}))[0].stdout


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_command_plot(run, data, tmp_path, suffix):
    plot = tmp_path / f"parity.{suffix}"
    result, _ = run(data, "--format", "json", "--plot", plot)
    json.loads(result.stdout)
    assert plot.stat().st_size > 5000
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("arguments", "changes", "says"),
    [
        (["nowhere.jsonl"], {}, "nowhere.jsonl"),
        (["{data}", "--plot", "parity.bmp"], {}, ".png or .svg"),
        (["{data}", "--plot", "nowhere/parity.png"], {}, "no folder"),
        (["{data}"], {"known": frozenset({"N1Ti1", "Al1N1", "C1Ti1", "O2Ti1", "Al1"})}, "--include-training"),
    ],
)
def test_command_mistakes_are_one_line(run, data, arguments, changes, says):
    result, _ = run(*(argument.format(data=data) for argument in arguments), **changes)
    assert result.exit_code == 2
    assert says in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


def test_held_out_parts_of_real_data_share_no_formula():
    if not REFERENCE.exists():
        pytest.skip("the reference data are not beside the checkout")
    real = load_entries(REFERENCE)
    for predicate in (has_anion("N"), has_all("Al", "N"), in_system("Al", "Ti", "N")):
        kept, held = held_out(real, predicate)
        assert not {e.formula for e in kept} & {e.formula for e in held}
    kept, held = held_out(real, has_anion("N"))
    # Whoever learns from what is left has still seen nitrogen, and can be asked.
    assert any(7 in e.crystal.numbers for e in kept)
