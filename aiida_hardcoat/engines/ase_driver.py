"""Evaluate many strained copies of one crystal with an ASE calculator, loading the model once.

This file runs by itself on the machine that computes: it is copied into the working directory and needs Python, numpy,
ASE and the calculator's own package, but neither AiiDA nor aiida_hardcoat.

It reads ``input.json`` (and ``previous.jsonl``, the records of an earlier run that was cut), writes one JSON record for
each structure to ``records.jsonl`` as soon as that structure is finished, reports progress on standard output and ends
with a completion mark. Energies in eV, lengths in Angstrom, forces in eV/Angstrom, stresses in GPa (tension positive).
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import importlib.metadata
import json
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np

GPA = 160.21766208  # GPa in 1 eV/Angstrom^3
COMPLETION_MARK = "HARDCOAT-ASE COMPLETE"
FAILURE_MARK = "HARDCOAT-ASE FAILED"

STRESS_WEIGHT = 0.1
"""eV/Angstrom that one GPa counts for when the best of several unconverged geometries is kept."""

# Starting curvatures of the optimiser: an atom (eV/Angstrom^2) and a cell (GPa), typical of hard nitrides.
ATOM_CURVATURE = 15.0
CELL_STIFFNESS = 400.0


class DriverError(Exception):
    """What stops the whole run: ``kind`` is what the parser turns into an exit code."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


# --- the calculator and its level of theory ---------------------------------------------------------------------


def sha256_of(path: str | os.PathLike) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        for block in iter(lambda: handle.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def is_file(value: object) -> bool:
    return isinstance(value, str) and os.path.isfile(value)


def load_sevennet(model: str, options: dict):
    import sevenn.util
    from sevenn.calculator import SevenNetCalculator

    weights = sevenn.util.pretrained_name_to_path(model)
    calculator = SevenNetCalculator(model, **{"device": "cpu", **options})
    return calculator, "sevenn", sha256_of(weights), str(calculator.device)


def load_chgnet(model: str, options: dict):
    from chgnet.model import CHGNet
    from chgnet.model.dynamics import CHGNetCalculator

    version = options.get("version", "0.3.0")
    network = CHGNet.load(model_name=version, use_device="cpu", verbose=False)
    folder = Path(str(importlib.import_module("chgnet").__file__)).parent / "pretrained" / version
    weights = sorted(folder.glob("*.pth.tar"))
    digest = sha256_of(weights[0]) if weights else state_sha256(network)
    return CHGNetCalculator(model=network, use_device="cpu"), "chgnet", digest, "cpu"


def state_sha256(network) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def load_import_path(model: str, options: dict):
    """``package.module:Class``; weights named by the options are hashed, otherwise the class's own source file is."""
    module_name, _, class_name = model.partition(":")
    module = importlib.import_module(module_name)
    if not hasattr(module, class_name):
        raise DriverError("missing_package", f"{module_name} has no calculator {class_name}")
    calculator = getattr(module, class_name)(**options)
    files = sorted(value for value in options.values() if is_file(value))
    digest = sha256_of(files[0] if files else str(module.__file__))
    return calculator, module_name.split(".")[0], digest, "cpu"


LOADERS = {"7net-l3i5": load_sevennet, "7net-0": load_sevennet, "chgnet": load_chgnet}


def load_calculator(model: str, options: dict):
    """Return the calculator and the level of theory, a JSON-ready dict."""
    loader = LOADERS.get(model, load_import_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            calculator, package, digest, device = loader(model, options)
        except ImportError as error:
            raise DriverError("missing_package", f"the calculator {model} needs a package: {error}") from error
        except TypeError as error:
            raise DriverError("calculator_failed", f"the calculator {model} refused its options: {error}") from error

    def version(name: str) -> str | None:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return None

    level = {
        "engine": "ase",
        "model": model,
        # A file is named by its content, so that the same weights elsewhere are the same level of theory.
        "options": {key: f"sha256:{sha256_of(value)}" if is_file(value) else value for key, value in options.items()},
        "package": package,
        "version": version(package),
        "sha256": digest,
        "ase_version": version("ase"),
        "torch_version": version("torch") if "torch" in sys.modules else None,
        "device": device,
    }
    return calculator, level


def count_evaluations(calculator) -> dict:
    """Make ``calculator`` count its energy evaluations in the returned dict."""
    counter = {"evaluations": 0}
    calculate = calculator.calculate

    def counted(*args, **kwargs):
        counter["evaluations"] += 1
        return calculate(*args, **kwargs)

    calculator.calculate = counted
    return counter


def choose_threads(atoms: int) -> None:
    """Threads of the calculator's libraries, unless the environment says it; before they are first imported.

    In small cells a second thread costs more than it brings; beyond a few, a potential of this size is bound by memory.
    Threads that wait sleep, so that a busy machine is not slowed down.
    """
    threads = min(os.cpu_count() or 1, 4) if atoms >= 32 else 1
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


# --- geometry ---------------------------------------------------------------------------------------------------


def strain_matrix(strain) -> np.ndarray:
    """3x3 small strain from Voigt components xx, yy, zz, yz, xz, xy with engineering shear."""
    xx, yy, zz, yz, xz, xy = strain
    return np.array([[xx, xy / 2, xz / 2], [xy / 2, yy, yz / 2], [xz / 2, yz / 2, zz]])


def strained_copy(parent, strain):
    """The parent under the symmetric deformation I + eps, fractional coordinates kept."""
    atoms = parent.copy()
    atoms.set_cell(parent.cell.array @ (np.eye(3) + strain_matrix(strain)), scale_atoms=True)
    return atoms


def remove_rotation(atoms, reference_cell: np.ndarray) -> None:
    """Turn ``atoms`` so that its cell is a symmetric stretch of the reference cell."""
    gradient = np.linalg.solve(reference_cell, atoms.cell.array)
    left, _, right = np.linalg.svd(gradient)
    rotation = left @ right  # gradient = stretch @ rotation for row vectors
    atoms.set_cell(atoms.cell.array @ rotation.T, scale_atoms=True)


def symmetric_stress(atoms) -> np.ndarray:
    return atoms.get_stress(voigt=False) * GPA


def largest_force(atoms) -> float:
    return float(np.sqrt((atoms.get_forces() ** 2).sum(axis=1)).max())


def is_exploded(atoms, start_volume: float) -> bool:
    """Volume changed by more than half, or two atoms closer than 0.6 Angstrom."""
    if not 0.5 < atoms.get_volume() / start_volume < 2.0:
        return True
    from ase.neighborlist import neighbor_list

    return len(neighbor_list("d", atoms, 0.6)) > 0


# --- one structure ----------------------------------------------------------------------------------------------


def make_optimiser(task: str, atoms, settings: dict, curvature: np.ndarray | None):
    """The ASE optimiser of a task with a starting Hessian in the units of its coordinates."""
    from ase.filters import FrechetCellFilter, StrainFilter
    from ase.optimize import BFGS, FIRE

    if task == "relax_ions":
        target, size = atoms, 3 * len(atoms)
        hessian = np.eye(size) * ATOM_CURVATURE
    elif task == "relax":
        # The cell's coordinates are scaled so that their curvature is that of an atom.
        stiffness = atoms.get_volume() * CELL_STIFFNESS / GPA
        target = FrechetCellFilter(atoms, exp_cell_factor=float(np.sqrt(stiffness / ATOM_CURVATURE)))
        hessian = np.eye(3 * len(atoms) + 9) * ATOM_CURVATURE
    else:
        target = StrainFilter(atoms)
        hessian = np.eye(6) * atoms.get_volume() * CELL_STIFFNESS / GPA
    if settings["optimiser"] == "FIRE":
        return FIRE(target, logfile=None, maxstep=0.05)
    optimiser = BFGS(target, logfile=None, maxstep=0.02 if task == "relax_cell" else 0.1)
    optimiser.H0 = hessian if curvature is None else curvature
    return optimiser


def relax(task: str, atoms, settings: dict, curvature: np.ndarray | None, report):
    """Relax ``atoms`` in place; return the status, the force threshold reached and the final Hessian (or None).

    The tightest threshold is aimed at; if the steps end before it is met, the looser ones decide what was reached.
    """
    thresholds = settings["force_thresholds"]
    stress_threshold = settings["stress_threshold"]
    cell_moves, ions_move = task != "relax_ions", task != "relax_cell"
    start_volume = atoms.get_volume()

    def measure() -> tuple[float, float]:
        force = largest_force(atoms) if ions_move else 0.0
        stress = float(np.abs(symmetric_stress(atoms)).max()) if cell_moves else 0.0
        return force, stress

    def met(force: float, stress: float, threshold: float) -> bool:
        return force <= threshold and stress <= stress_threshold

    optimiser = make_optimiser(task, atoms, settings, curvature)
    best = (np.inf, atoms.cell.array.copy(), atoms.positions.copy())
    for step, _ in enumerate(optimiser.irun(fmax=0.0, steps=settings["max_steps"])):
        force, stress = measure()
        if not (np.isfinite(force) and np.isfinite(stress)):
            return "not_finite", None, None
        if is_exploded(atoms, start_volume):
            return "exploded", None, None
        if max(force, stress * STRESS_WEIGHT) < best[0]:
            best = (max(force, stress * STRESS_WEIGHT), atoms.cell.array.copy(), atoms.positions.copy())
        if met(force, stress, thresholds[0]):
            break
        if step % 5 == 4:
            report(f"    step {step + 1}: largest force {force:.4f} eV/Angstrom, largest stress {stress:.3f} GPa")
    else:
        atoms.set_cell(best[1])
        atoms.set_positions(best[2])
    force, stress = measure()
    reached = next((threshold for threshold in thresholds if met(force, stress, threshold)), None)
    hessian = getattr(optimiser, "H", None) if getattr(optimiser, "state", None) is not None else None
    return ("ok" if reached is not None else "not_converged"), reached, hessian


def evaluate(task, atoms, settings, curvature, counter, report):
    """One structure's record (without index) and the Hessian to pass on."""
    started, before = time.perf_counter(), counter["evaluations"]
    reference_cell = atoms.cell.array.copy()
    status, reached, hessian = "ok", None, None
    if task != "static":
        status, reached, hessian = relax(task, atoms, settings, curvature, report)
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
    record["evaluations"] = counter["evaluations"] - before
    record["seconds"] = time.perf_counter() - started
    return record, hessian


# --- many structures --------------------------------------------------------------------------------------------


def amplitude_along(strain) -> tuple[tuple[float, ...], float]:
    """A strain as (direction with its first non-zero component positive, signed amplitude)."""
    strain = np.asarray(strain, dtype=float)
    norm = np.linalg.norm(strain)
    if norm == 0:
        return (0.0,) * 6, 0.0
    unit = strain / norm
    sign = 1.0 if unit[np.flatnonzero(np.abs(unit) > 1e-12)[0]] > 0 else -1.0
    return tuple(np.round(sign * unit, 9) + 0.0), float(sign * norm)


def running_order(strains) -> list[int]:
    """Indices such that the strains of one direction follow each other, smallest amplitudes first."""
    keys = [amplitude_along(strain) for strain in strains]
    directions = list(dict.fromkeys(direction for direction, _ in keys))
    return sorted(range(len(strains)), key=lambda i: (directions.index(keys[i][0]), abs(keys[i][1]), -keys[i][1]))


def predicted_displacement(known: dict[float, np.ndarray], amplitude: float):
    """Internal displacements (fractional, from the affine positions) expected at ``amplitude``.

    They vanish without strain and are nearly linear in it. The neighbours found so far give the linear part and, from a
    pair of opposite strains, the even part; higher orders would magnify what the relaxations left undone.
    """
    if not known:
        return None
    nearest = min(known, key=lambda a: (abs(abs(a) - abs(amplitude)), abs(a - amplitude)))
    pair = next((a for a in sorted(known, key=abs) if -a in known and a > 0), None)
    odd_part, even_part = known[nearest] / nearest, 0.0
    if pair is not None:
        even_part = (known[pair] + known[-pair]) / (2 * pair**2)
        odd_part = (known[nearest] - even_part * nearest**2) / nearest
    return odd_part * amplitude + even_part * amplitude**2


def last_step(record: dict, curvature: np.ndarray | None) -> np.ndarray:
    """The step that the forces left at the threshold still ask for: it costs no evaluation and sharpens predictions."""
    forces = np.array(record["forces"])
    if curvature is None:
        return np.zeros_like(forces)
    return np.linalg.solve(curvature, forces.ravel()).reshape(-1, 3)


def load_records(path: Path) -> dict[int, dict]:
    if not path.exists():
        return {}
    return {record["index"]: record for record in map(json.loads, path.read_text().splitlines())}


def run(folder: Path, report=print) -> None:
    """Evaluate what ``folder/input.json`` asks for."""
    from ase import Atoms

    job = json.loads((folder / "input.json").read_text())
    settings, task = job["settings"], job["settings"]["task"]
    parent = Atoms(job["symbols"], cell=job["cell"], positions=job["positions"], pbc=True)
    strains = job["strains"] if job["strains"] is not None else [[0.0] * 6]
    previous = load_records(folder / "previous.jsonl")

    choose_threads(len(parent))
    started = time.perf_counter()
    calculator, level = load_calculator(settings["model"], settings["model_options"])
    counter = count_evaluations(calculator)
    report(f"{settings['model']} loaded in {time.perf_counter() - started:.1f} s; {task}: {len(strains)} structure(s)")

    known: dict[tuple, dict[float, np.ndarray]] = {}
    parent_scaled = parent.get_scaled_positions(wrap=False)
    curvature = None
    with open(folder / "records.jsonl", "w") as records:
        records.write(json.dumps({"level": level}) + "\n")
        for number, index in enumerate(running_order(strains), start=1):
            strain = strains[index]
            direction, amplitude = amplitude_along(strain)
            neighbours = known.setdefault(direction, {})
            atoms = strained_copy(parent, strain)
            earlier = previous.get(index)
            if earlier is not None and earlier["status"] == "ok":
                record = earlier
            else:
                if earlier is not None and "positions" in earlier:
                    atoms.set_cell(earlier["cell"])
                    atoms.set_positions(earlier["positions"])
                elif task == "relax_ions" and (shift := predicted_displacement(neighbours, amplitude)) is not None:
                    atoms.set_scaled_positions(parent_scaled + shift)
                atoms.calc = calculator
                record, hessian = evaluate(task, atoms, settings, curvature, counter, report)
                record["index"] = index
                if earlier is not None:
                    record["evaluations"] += earlier["evaluations"]
                    record["seconds"] += earlier["seconds"]
                if task == "relax_ions" and hessian is not None and record["status"] == "ok":
                    # The strained cells are alike: what one relaxation learns of the curvature serves the next.
                    curvature = hessian
            if task == "relax_ions" and record["status"] == "ok" and amplitude:
                atoms.set_positions(record["positions"] + last_step(record, curvature))
                neighbours[amplitude] = atoms.get_scaled_positions(wrap=False) - parent_scaled
            records.write(json.dumps(record) + "\n")
            records.flush()
            line = progress_line(number, len(strains), strain, record)
            report(f"{line} (kept from an earlier job)" if record is earlier else line)
    report(f"{counter['evaluations']} evaluations in {time.perf_counter() - started:.1f} s")


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


def main() -> int:
    def report(line: str) -> None:
        print(line, flush=True)

    try:
        run(Path.cwd(), report)
    except Exception as error:
        name = "" if isinstance(error, DriverError) else f"{type(error).__name__}: "
        report(f"{FAILURE_MARK} {failure_kind(error)}: {name}{' '.join(str(error).split())}")
        raise
    report(COMPLETION_MARK)
    return 0


if __name__ == "__main__":
    sys.exit(main())
