"""Jobs of the engine `ase` that end before their time, go on in another folder or the same, or are started twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from calculators import PairPotential
from conftest import TESTS, rattled_alloy

from aiida_hardcoat.engines import ase_driver as driver
from aiida_hardcoat.engines.ase_driver import calculators, files
from aiida_hardcoat.engines.ase_driver.limits import Limits, Stopped
from aiida_hardcoat.physics.strain import strain_set

PAIR = "calculators:PairPotential"
LOGGED = "calculators:LoggedPotential"
STRAINS = strain_set((0.01,), (0.02,))[1:4].tolist()
TASKS = {"relax": None, "relax_cell": None, "relax_ions": STRAINS}


def prepare(folder, task, strains=None, walltime=None, **changes):
    folder.mkdir(exist_ok=True)
    atoms = rattled_alloy()
    settings = {
        "model": PAIR,
        "model_options": {},
        "optimiser": "BFGS",
        "force_thresholds": [1e-3],
        "stress_threshold": 0.01,
        "max_steps": 300,
        "task": task,
    }
    job = {
        "symbols": list(atoms.symbols),
        "cell": atoms.cell.array.tolist(),
        "positions": atoms.positions.tolist(),
        "strains": strains,
        "walltime": walltime,
        "settings": {**settings, **changes},
    }
    (folder / "input.json").write_text(json.dumps(job))
    return folder


def records_in(folder):
    return files.load_records(folder / files.RECORDS)


def end_of(folder):
    return files.how_it_ended(folder / files.RECORDS)


def evaluations(records):
    return sum(record["evaluations"] for record in records.values())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The records of each task that nothing disturbed."""
    results = {}
    for task, strains in TASKS.items():
        folder = prepare(tmp_path_factory.mktemp(task), task, strains)
        driver.run(folder, lambda line: None)
        results[task] = records_in(folder)
        assert {record["status"] for record in results[task].values()} == {"ok"}
    return results


def same(one, other, exact=True):
    assert set(one) == set(other)
    for index in one:
        for name in ("energy", "forces", "stress", "cell", "positions"):
            if exact:
                assert one[index][name] == other[index][name], (index, name)
            else:
                np.testing.assert_allclose(one[index][name], other[index][name], atol=1e-9, err_msg=name)


# --- a state to go on from --------------------------------------------------------------------------------------


def run_in_pieces(folder, task, strains, size, monkeypatch, same_folder=False, **changes):
    """Every job ends after `size` evaluations, as by a signal; the last one's records, and how many jobs there were."""
    plain = PairPotential.calculate
    for number in count():
        if number == 0 or not same_folder:
            previous, folder = folder, prepare(folder.with_name(f"{folder.name}{number}"), task, strains, **changes)
        if number and not same_folder:
            shutil.copy(previous / files.STATE, folder / files.PREVIOUS_STATE)
            lines = [json.dumps(record) + "\n" for record in records_in(previous).values()]
            (folder / files.PREVIOUS_RECORDS).write_text("".join(lines))
        limits, spent = Limits(), count(1)

        def calculate(self, *arguments, limits=limits, spent=spent):
            if next(spent) > size:
                limits.interrupt(signal.SIGTERM, None)
            plain(self, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(PairPotential, "calculate", calculate)
            try:
                driver.run(folder, lambda line: None, limits)
            except Stopped:
                assert end_of(folder) == "interrupted"
                continue
        assert end_of(folder) == "complete"
        assert not (folder / files.STATE).exists()
        return records_in(folder), number + 1


@pytest.mark.parametrize("same_folder", [True, False])
@pytest.mark.parametrize("task", TASKS)
def test_a_run_in_pieces_is_the_undisturbed_one(tmp_path, monkeypatch, undisturbed, task, same_folder):
    """To the last digit where the atoms alone keep the state, whatever the number of jobs."""
    records, jobs = run_in_pieces(tmp_path / "job", task, TASKS[task], 4, monkeypatch, same_folder)
    assert jobs > 1
    same(records, undisturbed[task], exact=task != "relax_cell")
    # Each job looks once more at the geometry in which the one before was cut.
    extra = evaluations(records) - evaluations(undisturbed[task])
    assert 0 < extra < jobs


def test_a_small_number_of_steps_is_that_of_all_jobs_together(tmp_path, monkeypatch):
    records, jobs = run_in_pieces(tmp_path / "job", "relax", None, 3, monkeypatch, max_steps=4)
    assert jobs > 1
    assert records[0]["status"] == "not_converged"
    alone, _ = run_in_pieces(tmp_path / "alone", "relax", None, 1000, monkeypatch, max_steps=4)
    same(records, alone)


@pytest.mark.parametrize("optimiser", ["BFGS", "FIRE"])
def test_an_optimiser_that_carries_nothing_on_still_ends_within_the_thresholds(
    tmp_path, monkeypatch, undisturbed, optimiser
):
    """Also a state of the other optimiser can be gone on from."""
    first = prepare(tmp_path / "first", "relax")
    limits = Limits()
    plain, spent = PairPotential.calculate, count(1)

    def calculate(self, *arguments):
        if next(spent) > 5:
            limits.interrupt(signal.SIGTERM, None)
        plain(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(PairPotential, "calculate", calculate)
        with pytest.raises(Stopped):
            driver.run(first, lambda line: None, limits)
    second = prepare(tmp_path / "second", "relax", optimiser=optimiser, max_steps=2000)
    shutil.copy(first / files.STATE, second / files.PREVIOUS_STATE)
    driver.run(second, lambda line: None)
    (record,) = records_in(second).values()
    assert record["status"] == "ok"
    assert record["energy"] == pytest.approx(undisturbed["relax"][0]["energy"], abs=1e-5)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 half an archive"])
def test_a_state_that_cannot_be_read_is_none(tmp_path, undisturbed, content):
    folder = prepare(tmp_path / "job", "relax")
    (folder / files.PREVIOUS_STATE).write_bytes(content)
    assert files.load_state(folder / files.PREVIOUS_STATE, 8) == {}
    driver.run(folder, lambda line: None)
    same(records_in(folder), undisturbed["relax"])


@pytest.mark.parametrize(
    "change",
    [
        {"positions": np.zeros((7, 3))},
        {"positions": np.full((8, 3), np.nan)},
        {"cell": np.array([["a"] * 3] * 3)},
        {"index": None},
        {"hessian": np.array([{}], dtype=object)},
    ],
)
def test_a_state_of_another_crystal_or_with_other_things_in_it_is_none(tmp_path, change):
    state = {"index": 0, "cell": np.eye(3), "positions": np.zeros((8, 3)), "steps": 3}
    np.savez(tmp_path / "sound.npz", **state)
    assert set(files.load_state(tmp_path / "sound.npz", 8)) == set(state)
    changed = {name: value for name, value in {**state, **change}.items() if value is not None}
    np.savez(tmp_path / "changed.npz", **changed)
    assert files.load_state(tmp_path / "changed.npz", 8) == {}


@pytest.mark.parametrize("same_folder", [True, False])
def test_nothing_is_kept_that_another_level_of_theory_made(tmp_path, monkeypatch, undisturbed, same_folder):
    """The package may have been replaced between two jobs."""
    first = prepare(tmp_path / "first", "relax_ions", STRAINS)
    plain, spent, limits = PairPotential.calculate, count(1), Limits()
    other = calculators.version("ase")

    def calculate(self, *arguments):
        if next(spent) > 9:
            limits.interrupt(signal.SIGTERM, None)
        plain(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(PairPotential, "calculate", calculate)
        patch.setattr(calculators, "version", lambda package: f"{other}.before")
        with pytest.raises(Stopped):
            driver.run(first, lambda line: None, limits)
    assert records_in(first)
    second = first
    if not same_folder:
        second = prepare(tmp_path / "second", "relax_ions", STRAINS)
        shutil.copy(first / files.RECORDS, second / files.PREVIOUS_RECORDS)
        shutil.copy(first / files.STATE, second / files.PREVIOUS_STATE)
    driver.run(second, lambda line: None)
    same(records_in(second), undisturbed["relax_ions"])
    assert evaluations(records_in(second)) == evaluations(undisturbed["relax_ions"])


def test_records_of_another_input_in_the_same_folder_are_not_taken(tmp_path, undisturbed):
    folder = prepare(tmp_path / "job", "relax")
    driver.run(folder, lambda line: None)
    prepare(folder, "static")
    driver.run(folder, lambda line: None)
    assert records_in(folder)[0]["evaluations"] == 1


# --- processes --------------------------------------------------------------------------------------------------


@pytest.fixture
def start(tmp_path):
    """A function that starts a job's process in a folder, with its output in files; none outlives the test."""
    processes = []

    def start_process(folder, **environment):
        shutil.copytree(Path(driver.__file__).parent, folder / "ase_driver", dirs_exist_ok=True)
        with (folder / "output.log").open("w") as output, (folder / "errors.log").open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "ase_driver"],
                cwd=folder,
                stdout=output,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": str(TESTS), **environment},
            )
        processes.append(process)
        return process

    yield start_process
    for process in processes:
        process.kill()
        process.wait()


def log(folder):
    path = folder / "evaluations.log"
    return path.read_text().split() if path.exists() else []


def wait_until(condition, process):
    """Until something has happened, as long as the process lives that it must come from."""
    while not condition():
        assert process.poll() is None, "the process ended too soon"
        time.sleep(0.02)


def logged(folder, task="relax_ions", strains=STRAINS, seconds=0.02, **changes):
    """A job whose every evaluation is written down."""
    folder.mkdir()
    return prepare(
        folder, task, strains, model=LOGGED, model_options={"folder": str(folder), "seconds": seconds}, **changes
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL])
def test_a_job_that_a_signal_ends_goes_on_in_the_next(tmp_path, start, undisturbed, number):
    folder = logged(tmp_path / "job")
    process = start(folder)
    wait_until(lambda: len(records_in(folder)) == 1 and len(log(folder)) > 8, process)
    process.send_signal(number)
    process.wait()
    assert end_of(folder) == {signal.SIGTERM: "interrupted", signal.SIGUSR1: "walltime", signal.SIGKILL: None}[number]
    assert files.load_state(folder / files.STATE, 8)
    if number != signal.SIGKILL:
        assert process.returncode == 1
        assert driver.STOP_MARK in (folder / "output.log").read_text()
    assert start(folder).wait() == 0
    same(records_in(folder), undisturbed["relax_ions"])


@pytest.mark.parametrize("said", ["input", "scheduler"])
def test_a_job_ends_by_itself_before_its_walltime(tmp_path, start, said):
    walltime = 4.0
    folder = logged(tmp_path / "job", seconds=0.4, walltime=walltime if said == "input" else 3600)
    started = time.time()
    environment = {"SLURM_JOB_END_TIME": str(int(started + walltime))} if said == "scheduler" else {}
    process = start(folder, **environment)
    assert process.wait() == 1
    assert end_of(folder) == "walltime"
    ended = max(path.stat().st_mtime for path in folder.glob("*.*") if path.name in (files.RECORDS, files.STATE))
    assert ended < started + walltime + (0.5 if said == "input" else 0)  # the process starts later than it is called
    state = files.load_state(folder / files.STATE, 8)
    assert state.get("evaluations", 0) + evaluations(records_in(folder)) == len(log(folder))


def test_two_starts_at_once_compute_everything_once(tmp_path, start, undisturbed):
    folder = logged(tmp_path / "job")
    first = start(folder)
    wait_until(lambda: log(folder), first)
    second = start(folder)  # and empties output.log, as a scheduler does
    assert (first.wait(), second.wait()) == (0, 0)
    same(records_in(folder), undisturbed["relax_ions"])
    assert set(log(folder)) == {str(first.pid)}
    assert len(log(folder)) == evaluations(undisturbed["relax_ions"])
    assert (folder / files.RECORDS).read_text().count('"end"') == 1


def test_a_second_start_goes_on_where_the_first_was_killed(tmp_path, start, undisturbed):
    folder = logged(tmp_path / "job")
    first = start(folder)
    wait_until(lambda: len(records_in(folder)) == 1, first)
    second = start(folder)
    wait_until(lambda: "waiting" in (folder / "output.log").read_text("utf8", "replace"), second)
    first.kill()
    assert second.wait() == 0
    same(records_in(folder), undisturbed["relax_ions"])
    assert evaluations(undisturbed["relax_ions"]) <= len(log(folder))
    assert log(folder).count(str(second.pid)) < evaluations(undisturbed["relax_ions"])


def test_a_start_after_the_end_finds_it_and_changes_nothing(tmp_path, start):
    folder = logged(tmp_path / "job", seconds=0.0)
    assert start(folder).wait() == 0
    before = (folder / files.RECORDS).read_bytes()
    spent = log(folder)
    assert start(folder).wait() == 0
    assert (folder / files.RECORDS).read_bytes() == before
    assert log(folder) == spent
    assert (folder / "output.log").read_text().splitlines()[-1] == driver.COMPLETION_MARK


def test_a_waiting_start_ends_when_told_and_leaves_the_other_alone(tmp_path, start, undisturbed):
    folder = logged(tmp_path / "job")
    first = start(folder)
    wait_until(lambda: log(folder), first)
    second = start(folder)
    wait_until(lambda: "waiting" in (folder / "output.log").read_text("utf8", "replace"), second)
    second.terminate()
    assert second.wait() == 1
    assert first.wait() == 0
    same(records_in(folder), undisturbed["relax_ions"])
