"""Training: the same weights whatever interrupts it, members that never mix, and refusal of what cannot be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from hardcoat_ml import VERSION, assembly, runs, training
from hardcoat_ml.crystal import Crystal, formula_of
from hardcoat_ml.data import Entry
from hardcoat_ml.device import check_device
from hardcoat_ml.errors import InputError
from hardcoat_ml.training import load_protocol, train
from hardcoat_ml.training_set import HELD_OUT, TEST, TRAINING, VALIDATION, load, prepare, save

METALS = (12, 13, 20, 21, 22, 23, 24, 25, 26, 27, 28, 30, 39, 40, 41, 42)
ANIONS = (6, 7, 8, 9, 16)
OFFSETS = {"B1": 0.5, "B3": 0.25}


def rocksalt_or_zincblende(metal: int, anion: int, kind: str) -> Entry:
    """A made-up entry: moduli that depend smoothly on elements and volume."""
    edge = 3.6 + 0.02 * metal + 0.05 * anion + (0.3 if kind == "B3" else 0.0)
    lattice = edge / 2 * (np.ones((3, 3)) - np.eye(3))
    numbers = np.array([metal, anion])
    crystal = Crystal(lattice, numbers, np.array([[0.0, 0, 0], [OFFSETS[kind]] * 3]))
    bulk = 900 * 4.0**3 / edge**3 / 3
    shear = bulk * (0.3 + 0.03 * anion)
    return Entry(crystal, bulk, shear, formula_of(numbers), identifier=f"{kind}-{metal}-{anion}", source="made up")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def entries():
    return [rocksalt_or_zincblende(m, a, kind) for m in METALS for a in ANIONS for kind in OFFSETS]


@pytest.fixture(scope="module")
def small_set(entries):
    return prepare(entries, seed=3)


@pytest.fixture(scope="module")
def protocol():
    return load_protocol("quick", members=2, epochs=4, batch_size=64)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return training.load_checkpoint(folder)["best"][0]


def assert_same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert torch.equal(values, other[name]), name


def test_a_set_survives_its_file(small_set, tmp_path):
    save(small_set, tmp_path / "set.npz")
    again = load(tmp_path / "set.npz")
    assert np.array_equal(again.moduli, small_set.moduli)
    assert np.array_equal(again.parts, small_set.parts)
    assert again.card == small_set.card
    assert torch.equal(again.graphs.distance, small_set.graphs.distance)
    (tmp_path / "no.npz").write_bytes(b"text")
    with pytest.raises(InputError, match="no training set"):
        load(tmp_path / "no.npz")
    with pytest.raises(InputError, match="hardcoat ml prepare"):
        load(tmp_path / "nowhere.npz")


def test_no_formula_is_in_two_parts(small_set):
    parts_of = {}
    for formula, part in zip(small_set.formulas, small_set.parts, strict=True):
        parts_of.setdefault(formula, set()).add(part)
    assert all(len(parts) == 1 for parts in parts_of.values())
    assert {TRAINING, VALIDATION, TEST} <= set(small_set.parts)


def test_held_out_entries_are_in_no_part_of_the_split(entries):
    without_nitrogen = prepare(entries, seed=3, held_out=lambda entry: 7 in entry.crystal.numbers)
    held = without_nitrogen.parts == HELD_OUT
    assert all(("N1" in formula) == out for formula, out in zip(without_nitrogen.formulas, held, strict=True))


def test_a_share_of_the_formulas_leaves_validation_and_test_alone(entries, small_set):
    half = prepare(entries, seed=3, share=0.5)
    known = {int(number) for k in half.rows(TRAINING) for number in half.graphs.data(int(k)).z}
    for part in (VALIDATION, TEST):
        judged = [k for k in small_set.rows(part) if known >= {int(n) for n in small_set.graphs.data(int(k)).z}]
        assert half.rows(part).tolist() == judged
    assert 0.4 < len(half.rows(TRAINING)) / len(small_set.rows(TRAINING)) < 0.6
    assert set(half.rows(TRAINING)) < set(small_set.rows(TRAINING))


def test_the_network_learns(small_set, tmp_path):
    losses = train(small_set, load_protocol("quick", members=2, epochs=25, batch_size=16), tmp_path / "run", seed=1)
    last = [row["validation_loss"] for row in losses if row["epoch"] == 25]
    truth = (small_set.moduli - training.standardisation(small_set)[0]) / training.standardisation(small_set)[1]
    of_the_mean = np.abs(truth[small_set.rows(VALIDATION)]).mean()
    assert max(last) < 0.5 * of_the_mean


def test_an_interrupted_run_goes_on_to_the_same_weights(small_set, protocol, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    whole = train(small_set, protocol, tmp_path / "whole", seed=5)

    def interrupt(first, epoch, *losses):
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(small_set, protocol, tmp_path / "cut", seed=5, report=interrupt)
    assert training.load_checkpoint(tmp_path / "cut")["group"]["epoch"] == 2
    assert train(small_set, protocol, tmp_path / "cut", seed=5) == whole
    assert_same_weights(weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut"))


def test_a_killed_process_goes_on_to_the_same_files(small_set, tmp_path):
    save(small_set, tmp_path / "set.npz")
    program = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from hardcoat_ml import training, __main__\n"
        "training.SECONDS_BETWEEN_CHECKPOINTS = 0.0\n"
        "sys.exit(__main__.main())"
    )

    def command(folder: str) -> list[str]:
        options = ["--members", "2", "--epochs", "15"]
        return [sys.executable, "-c", program, str(tmp_path / "set.npz"), str(tmp_path / folder), *options]

    runs.run(small_set, load_protocol("quick", members=2, epochs=15), tmp_path / "whole", name="cgcnn", version=VERSION)
    process = subprocess.Popen(command("killed"), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    checkpoint = tmp_path / "killed" / "checkpoint.pt"
    while process.poll() is None and not checkpoint.exists():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    subprocess.run(command("killed"), check=True, capture_output=True)
    for name in ("cgcnn.safetensors", "cgcnn.json", "losses.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    assert not list((tmp_path / "killed").glob("*.part"))


def test_training_needs_no_library_of_crystals_or_plots(small_set, tmp_path):
    save(small_set, tmp_path / "set.npz")
    program = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ABSENT: raise ModuleNotFoundError(name)\n"
        "ABSENT = {'aiida', 'aiida_hardcoat', 'ase', 'click', 'matplotlib', 'mp_api', 'pymatgen', 'scipy', 'spglib'}\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import importlib.util; found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name in ABSENT else found(name, *rest)\n"
        "from hardcoat_ml.__main__ import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "set.npz"), str(tmp_path / "run")]
    done = subprocess.run([*command, "--members", "1", "--epochs", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "cgcnn.safetensors").exists()
    assert not (tmp_path / "run" / "losses.png").exists()


def test_a_member_is_the_same_alone_and_beside_others(small_set, protocol, tmp_path):
    train(small_set, protocol, tmp_path / "together", seed=2, stacked=2)
    train(small_set, protocol, tmp_path / "apart", seed=2, stacked=1)
    together = training.load_checkpoint(tmp_path / "together")
    apart = training.load_checkpoint(tmp_path / "apart")
    assert len(apart["best"]) == 2
    np.testing.assert_allclose(together["best_loss"], apart["best_loss"], rtol=0.02)


def test_a_diverged_member_stops_nobody(small_set, protocol, tmp_path, monkeypatch):
    train(small_set, protocol, tmp_path / "sound", seed=2)

    class FirstIsLost(training.CGCNN):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.output.data[0] = torch.nan

    monkeypatch.setattr(training, "CGCNN", FirstIsLost)
    one = load_protocol("quick", members=2, keep=1, epochs=4, batch_size=64)
    train(small_set, one, tmp_path / "run", seed=2)
    state = training.load_checkpoint(tmp_path / "run")
    sound = training.load_checkpoint(tmp_path / "sound")
    assert np.isinf(state["best_loss"][0])
    assert state["best_loss"][1] == sound["best_loss"][1]
    made = assembly.assemble(small_set, tmp_path / "run", tmp_path / "one.safetensors", "0")
    assert made.card["member_numbers"] == [1]
    with pytest.raises(InputError, match="1 of 2 members have a finite loss and 2 are needed"):
        train(small_set, protocol, tmp_path / "both", seed=2)


def test_a_run_of_lost_members_ends_at_once(small_set, tmp_path, monkeypatch):
    class AllAreLost(training.CGCNN):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.output.data[:] = torch.nan

    monkeypatch.setattr(training, "CGCNN", AllAreLost)
    epochs = []
    with pytest.raises(InputError, match="lower learning rate"):
        train(
            small_set,
            load_protocol("quick", members=1, epochs=50),
            tmp_path / "run",
            report=lambda first, epoch, *losses: epochs.append(epoch),
        )
    assert epochs == [1]


def test_a_folder_holds_one_run(small_set, protocol, tmp_path):
    train(small_set, protocol, tmp_path / "run", seed=1)
    with pytest.raises(InputError, match="another seed"):
        train(small_set, protocol, tmp_path / "run", seed=2)
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"cut")
    with pytest.raises(InputError, match=r"checkpoint.pt cannot be read"):
        train(small_set, protocol, tmp_path / "run", seed=1)


def test_a_run_that_has_not_finished_makes_no_model(small_set, protocol, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)

    def interrupt(first, epoch, *losses):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(small_set, protocol, tmp_path / "run", report=interrupt)
    with pytest.raises(InputError, match="has not finished"):
        assembly.assemble(small_set, tmp_path / "run", tmp_path / "m.safetensors", "0")
    assert not list(tmp_path.glob("m.*"))


def test_the_losses_of_every_epoch_are_kept(small_set, protocol, tmp_path):
    losses = train(small_set, protocol, tmp_path / "run", stacked=1)
    assert json.loads((tmp_path / "run" / "losses.json").read_text()) == losses
    assert [(row["member"], row["epoch"]) for row in losses] == [(m, e) for m in (0, 1) for e in (1, 2, 3, 4)]


def test_one_cycle_rises_and_falls_to_nothing():
    quick = load_protocol("quick")
    rates = [training.learning_rate(quick, share) for share in np.linspace(0, 1, 101)]
    assert max(rates) == pytest.approx(quick.learning_rate)
    assert np.argmax(rates) == 30
    assert rates[-1] < 1e-5 * quick.learning_rate
    study = load_protocol("study")
    assert {training.learning_rate(study, share) for share in (0, 0.5, 1)} == {0.005}


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("studie", {}, "choose one of study, quick"),
        ("quick", {"epoch": 3}, "no 'epoch'"),
        ("quick", {"members": 0}, "1 or more"),
        ("quick", {"members": 2, "keep": 3}, "3 are kept"),
        ("quick", {"learning_rate": 0.0}, "learning rate"),
    ],
)
def test_a_protocol_that_cannot_be_is_refused(name, changes, message):
    with pytest.raises(InputError, match=message):
        load_protocol(name, **changes)


def test_cuda_where_there_is_none_is_one_line(small_set, protocol, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("CUDA is here")
    with pytest.raises(InputError, match="no CUDA device is here"):
        train(small_set, protocol, tmp_path / "run", device="cuda")
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="no device 'tpu'"):
        check_device("tpu")
