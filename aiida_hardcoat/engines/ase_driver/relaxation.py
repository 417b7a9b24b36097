"""Relaxation of one structure, from its start or from the state that an earlier job had reached."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .geometry import GPA, is_exploded, largest_force, symmetric_stress

STRESS_WEIGHT = 0.1
"""eV/Angstrom that one GPa counts for when the best of several unconverged geometries is kept."""

# Starting curvatures of the optimiser: an atom (eV/Angstrom^2) and a cell (GPa), typical of hard nitrides.
ATOM_CURVATURE = 15.0
CELL_STIFFNESS = 400.0

MEMORY = ("hessian", "last_x", "last_forces")
"""What BFGS carries from one step to the next: with it, a relaxation that was cut goes on as if it had not been."""


def make_optimiser(task: str, atoms, settings: dict, curvature: np.ndarray | None):
    """The ASE optimiser of a task with a starting Hessian in the units of its coordinates, and what it moves."""
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
        return FIRE(target, logfile=None, maxstep=0.05), target
    optimiser = BFGS(target, logfile=None, maxstep=0.02 if task == "relax_cell" else 0.1)
    optimiser.H0 = hessian if curvature is None else curvature
    return optimiser, target


def put(target, atoms, start: dict) -> None:
    """Move ``atoms``, of which a filter may have taken the cell for its reference, to the geometry of ``start``."""
    if hasattr(target, "strain"):  # the one filter that keeps its coordinates beside the atoms
        strain = np.linalg.solve(atoms.cell.array, np.array(start["cell"])) - np.eye(3)
        target.strain[:] = strain[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] * [1, 1, 1, 2, 2, 2]
    atoms.set_cell(start["cell"])
    atoms.set_positions(start["positions"])


def remember(optimiser, start: dict) -> dict:
    """A mapping that holds what BFGS carries on, from ``start`` and then of each step it takes."""
    memory = {name: start[name] for name in MEMORY if name in start}
    if not hasattr(optimiser, "H0"):
        return {}  # FIRE, which is there for bad starts, starts again with small steps
    if len(memory) == len(MEMORY) and memory["hessian"].shape == optimiser.H0.shape:
        optimiser.load = lambda: (*(memory[name].copy() for name in MEMORY), optimiser.maxstep)
        optimiser.read()
    else:
        memory.clear()
    optimiser.dump = lambda data: memory.update(zip(MEMORY, data[:3], strict=True))
    return memory


def relax(
    task: str,
    atoms,
    settings: dict,
    curvature: np.ndarray | None,
    report: Callable[[str], None],
    start: dict,
    keep: Callable[[dict], None],
):
    """Relax ``atoms`` in place; return the status, the force threshold reached and the final Hessian (or None).

    The tightest threshold is aimed at; if the steps end before it is met, the looser ones decide what was reached.

    :param start: the geometry to start from where it is not that of ``atoms``, and more of the state where an earlier
        job was cut.
    :param keep: called with the state after each step.
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

    optimiser, target = make_optimiser(task, atoms, settings, curvature)
    if "positions" in start:
        put(target, atoms, start)
    memory = remember(optimiser, start)
    done = int(start.get("steps", 0))
    best = (np.inf, atoms.cell.array.copy(), atoms.positions.copy())
    if "best" in start:
        best = (float(start["best"]), start["best_cell"], start["best_positions"])
    for step, _ in enumerate(optimiser.irun(fmax=0.0, steps=max(settings["max_steps"] - done, 0)), start=done):
        force, stress = measure()
        if not (np.isfinite(force) and np.isfinite(stress)):
            return "not_finite", None, None
        if is_exploded(atoms, start_volume):
            return "exploded", None, None
        if max(force, stress * STRESS_WEIGHT) < best[0]:
            best = (max(force, stress * STRESS_WEIGHT), atoms.cell.array.copy(), atoms.positions.copy())
        if met(force, stress, thresholds[0]):
            break
        state = {"steps": step, "cell": atoms.cell.array, "positions": atoms.positions, **memory}
        keep({**state, "best": best[0], "best_cell": best[1], "best_positions": best[2]})
        if step % 5 == 4:
            report(f"    step {step + 1}: largest force {force:.4f} eV/Angstrom, largest stress {stress:.3f} GPa")
    else:
        atoms.set_cell(best[1])
        atoms.set_positions(best[2])
    force, stress = measure()
    reached = next((threshold for threshold in thresholds if met(force, stress, threshold)), None)
    return ("ok" if reached is not None else "not_converged"), reached, memory.get("hessian")
