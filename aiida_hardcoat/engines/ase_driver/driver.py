"""One job: load the model once, evaluate structure after structure, go on from what an earlier start left."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .batches import batch_size, evaluate_batch
from .calculators import DriverError, count_evaluations, load_calculator, sha256_of
from .files import (
    COMPLETE,
    FAILED,
    PREVIOUS_RECORDS,
    PREVIOUS_STATE,
    RECORDS,
    STATE,
    Records,
    State,
    how_it_ended,
    is_of_input,
    level_in,
    load_records,
    load_state,
    lock,
)
from .geometry import (
    amplitude_along,
    last_step,
    predicted_displacement,
    remove_rotation,
    running_order,
    strained_copy,
    symmetric_stress,
)
from .limits import Limits, Stopped
from .relaxation import relax

INPUT = "input.json"
COMPLETION_MARK = "HARDCOAT-ASE COMPLETE"
FAILURE_MARK = "HARDCOAT-ASE FAILED"
STOP_MARK = "HARDCOAT-ASE STOPPED"

SMALL_CELL = 32
"""Atoms below which a second thread costs more than it brings."""
MOST_THREADS = 4
"""Beyond these, a potential of this size is bound by memory."""


def choose_threads(atoms: int) -> None:
    """Threads of the calculator's libraries, unless the environment says it; before they are first imported.

    Threads that wait sleep, so that a busy machine is not slowed down.
    """
    threads = min(cores(), MOST_THREADS) if atoms >= SMALL_CELL else 1
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def cores() -> int:
    """Cores that the job was given, which are not always all that the process may use."""
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def evaluate(task, atoms, settings, curvature, counter, report, start=None, keep=lambda state: None):
    """One structure's record (without index) and the Hessian to pass on.

    :param atoms: the strained copy, of which the relaxed cell shall be a symmetric stretch.
    :param start: an earlier record or state of this structure, to go on from.
    :param keep: called with the state after each step of a relaxation.
    """
    start = start or {}
    started, before = time.perf_counter(), counter["evaluations"]

    def cost() -> dict:
        return {
            "evaluations": int(start.get("evaluations", 0)) + counter["evaluations"] - before,
            "seconds": float(start.get("seconds", 0.0)) + time.perf_counter() - started,
        }

    reference_cell = atoms.cell.array.copy()
    status, reached, hessian = "ok", None, None
    if task != "static":
        status, reached, hessian = relax(
            task, atoms, settings, curvature, report, start, lambda state: keep({**state, **cost()})
        )
        if task == "relax" and status == "ok":
            remove_rotation(atoms, reference_cell)
    record = {"status": status, "force_threshold": reached}
    if status in ("ok", "not_converged"):
        forces, stress = atoms.get_forces(), symmetric_stress(atoms)
        record.update(
            energy=float(atoms.get_potential_energy()),
            forces=forces.tolist(),
            stress=stress.tolist(),
            cell=atoms.cell.array.tolist(),
            positions=atoms.positions.tolist(),
            largest_force=float(np.sqrt((forces**2).sum(axis=1)).max()),
        )
        numbers = [record["energy"], *forces.ravel(), *stress.ravel()]
        if not np.all(np.isfinite(numbers)):
            record = {"status": "not_finite", "force_threshold": None}
    return {**record, **cost()}, hessian


def run(folder: Path, report: Callable[[str], None] = print, limits: Limits | None = None) -> None:
    """Evaluate what ``folder/input.json`` asks for, unless an earlier start in this folder has done so.

    :raises Stopped: at the end of the walltime or by a signal, with the state on the disk.
    """
    job, digest = json.loads((folder / INPUT).read_text()), sha256_of(folder / INPUT)
    limits = limits or Limits(job.get("walltime"))
    with lock(folder, report, limits.check):
        records, state = Records(folder, digest), State(folder)
        if not is_of_input(folder / RECORDS, digest):
            # What came from an earlier job shall outlast this one, should it end before it computes anything.
            state.adopt(folder / PREVIOUS_STATE)
            previous = folder / PREVIOUS_RECORDS
            ok = [record for record in load_records(previous).values() if record["status"] == "ok"]
            records.begin(ok, level_in(previous))
        elif how_it_ended(folder / RECORDS) == COMPLETE:
            report("finished already by an earlier start in this folder")
            return
        try:
            compute(job, folder, records, state, report, limits)
        except Stopped as stop:
            state.write()
            records.end(stop.reason)
            raise
        except Exception as error:
            with suppress(OSError):  # a full disk, which standard output tells
                records.end(FAILED, kind=failure_kind(error), message=message_of(error))
                state.write()
            raise
        records.end(COMPLETE)
        state.drop()


def compute(
    job: dict, folder: Path, records: Records, kept: State, report: Callable[[str], None], limits: Limits
) -> None:
    """The structures that neither an earlier job nor an earlier start in this folder has finished."""
    from ase import Atoms

    settings, task = job["settings"], job["settings"]["task"]
    parent = Atoms(job["symbols"], cell=job["cell"], positions=job["positions"], pbc=True)
    strains = job["strains"] if job["strains"] is not None else [[0.0] * 6]
    order = running_order(strains)

    choose_threads(len(parent))
    started = time.perf_counter()
    calculator, level = load_calculator(settings["model"], settings["model_options"], settings.get("device"))
    counter = count_evaluations(calculator, limits.evaluate)
    previous, finished, state = {}, {}, {}
    if same_level(level, level_in(folder / RECORDS)):
        previous, finished = load_records(folder / PREVIOUS_RECORDS), load_records(folder / RECORDS)
        state = load_state(folder / STATE, len(parent))
    else:
        report("another level of theory than that of the earlier job: nothing of it is kept")
    records.begin([finished[index] for index in order if index in finished], level)
    report(f"{settings['model']} loaded in {time.perf_counter() - started:.1f} s; {task}: {len(strains)} structure(s)")

    missing = [index for index in order if index not in finished]
    size = batch_size(calculator, level["device"], len(parent)) if task == "static" else 1
    turns = in_turn(calculator, size, [strained_copy(parent, strains[index]) for index in missing], limits)
    known, curvature = taught(state)
    parent_scaled = parent.get_scaled_positions(wrap=False)
    for number, index in enumerate(order, start=1):
        strain = strains[index]
        direction, amplitude = amplitude_along(strain)
        neighbours = known.setdefault(direction, {})
        atoms = strained_copy(parent, strain)
        if index in finished:
            record = finished[index]
        else:
            start = previous.get(index, {})
            if "positions" in state and int(state["index"]) == index:
                start = state
                report(f"    going on after {int(state['steps'])} steps of an earlier job")
            elif "positions" not in start and task == "relax_ions":
                shift = predicted_displacement(neighbours, amplitude)
                if shift is not None:
                    atoms.set_scaled_positions(parent_scaled + shift)
            atoms.calc, spent = next(turns)
            counter["evaluations"] += spent
            start = {**start, "evaluations": start.get("evaluations", 0) + spent}
            lesson = {"index": index, "curvature": curvature, **teach(direction, neighbours)}
            if task != "static":
                kept.keep({**start, **lesson} if "steps" in start else lesson)
                kept.write()
            keep = partial(keep_with, kept, lesson)
            record, hessian = evaluate(task, atoms, settings, curvature, counter, report, start, keep)
            record["index"] = index
            if task == "relax_ions" and hessian is not None and record["status"] == "ok":
                # The strained cells are alike: what one relaxation learns of the curvature serves the next.
                curvature = hessian
            records.append(record)
        if task == "relax_ions" and record["status"] == "ok" and amplitude and amplitude not in neighbours:
            atoms.set_positions(record["positions"] + last_step(record, curvature))
            neighbours[amplitude] = atoms.get_scaled_positions(wrap=False) - parent_scaled
        line = progress_line(number, len(strains), strain, record)
        report(f"{line} (kept from an earlier job)" if index in finished else line)
    report(f"{counter['evaluations']} evaluations in {time.perf_counter() - started:.1f} s")


def same_level(level: dict, earlier: dict | None) -> bool:
    """Whether what an earlier job has computed may stand beside what this one will: nothing is known against it."""
    names = ("model", "options", "package", "version", "sha256")
    return not earlier or all(level[name] == earlier.get(name) for name in names)


def in_turn(calculator, size: int, structures: list, limits: Limits) -> Iterator[tuple[Any, int]]:
    """The calculator of each structure in turn, and how many evaluations it has made: in a batch it knows the results
    already."""
    from ase.calculators.singlepoint import SinglePointCalculator

    for first in range(0, len(structures), size):
        batch = structures[first : first + size]
        if size == 1:
            yield calculator, 0
            continue
        for atoms, results in zip(batch, limits.evaluate(evaluate_batch, calculator, batch), strict=True):
            yield SinglePointCalculator(atoms, **results), 1


def keep_with(kept: State, lesson: dict, now: dict) -> None:
    kept.keep({**now, **lesson})


def teach(direction: tuple[float, ...], neighbours: dict[float, np.ndarray]) -> dict:
    """What the finished strains of one direction tell those to come, as arrays."""
    if not neighbours:
        return {}
    amplitudes, displacements = zip(*neighbours.items(), strict=True)
    return {"direction": direction, "amplitudes": amplitudes, "displacements": displacements}


def taught(state: dict) -> tuple[dict[tuple[float, ...], dict[float, np.ndarray]], np.ndarray | None]:
    """The inverse of :func:`teach`, by direction, and the curvature."""
    known = {}
    if "displacements" in state:
        pairs = zip(state["amplitudes"].tolist(), state["displacements"], strict=True)
        known[tuple(state["direction"].tolist())] = dict(pairs)
    return known, state.get("curvature")


def progress_line(number: int, total: int, strain, record: dict) -> str:
    names = ("xx", "yy", "zz", "yz", "xz", "xy")
    label = " ".join(f"{name} {value:+.4g}" for name, value in zip(names, strain, strict=True) if value) or "unstrained"
    if "energy" not in record:
        return f"[{number}/{total}] {label}: {record['status']}"
    return (
        f"[{number}/{total}] {label}: {record['status']}, E = {record['energy']:.6f} eV, largest force "
        f"{record['largest_force']:.4f} eV/Angstrom, {record['evaluations']} evaluations, {record['seconds']:.1f} s"
    )


def failure_kind(error: BaseException) -> str:
    if isinstance(error, DriverError):
        return error.kind
    signs = ("out of memory", "can't allocate memory", "cannot allocate memory")
    if isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in signs):
        return "out_of_memory"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "disk_full"
    if isinstance(error, ImportError):
        return "missing_package"
    return "calculator_failed"


def message_of(error: BaseException) -> str:
    name = "" if isinstance(error, DriverError) else f"{type(error).__name__}: "
    return f"{name}{' '.join(str(error).split())}"


def main() -> int:
    def report(line: str) -> None:
        print(line, flush=True)

    folder = Path.cwd()
    try:
        limits = Limits(json.loads((folder / INPUT).read_text()).get("walltime"))
        with limits.obeying_signals():
            run(folder, report, limits)
    except Stopped as stop:
        report(f"{STOP_MARK} {stop.reason}: what is finished is kept")
        return 1
    except Exception as error:
        report(f"{FAILURE_MARK} {failure_kind(error)}: {message_of(error)}")
        raise
    report(COMPLETION_MARK)
    return 0
