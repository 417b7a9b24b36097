"""Analytic ASE calculators for the tests: a pair potential for nitrides, and the same with a fault on demand."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list

DEPTH, WIDTH = 2.0, 1.6  # eV and 1/Angstrom: Morse potential between a metal and nitrogen
REPULSION, RANGE = 900.0, 0.42  # eV and Angstrom: exp(-r/range) between like ions
CUTOFF = 5.0
RADII = {"Al": 0.50, "Ti": 0.60, "Zr": 0.75, "Hf": 0.74, "N": 1.40}


class PairPotential(Calculator):
    """Morse attraction between metal and nitrogen, exponential repulsion between like ions, cut off smoothly.

    It holds B1 and B4 nitrides together. `strength` scales the energy and so every elastic constant.
    """

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, strength: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.strength = strength

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        first, second, distance, vector = neighbor_list("ijdD", self.atoms, CUTOFF)
        radius = np.array([RADII[symbol] for symbol in self.atoms.symbols])
        is_anion = np.array(self.atoms.symbols) == "N"
        unlike = is_anion[first] != is_anion[second]

        decay = np.exp(-WIDTH * (distance - radius[first] - radius[second]))
        swell = REPULSION * np.exp(-distance / RANGE)
        energy = np.where(unlike, DEPTH * (decay**2 - 2 * decay), swell)
        slope = np.where(unlike, 2 * DEPTH * WIDTH * (decay - decay**2), -swell / RANGE)
        # (1 - (r/rc)^2)^3 takes energy, force and curvature to zero at the cut-off.
        base = 1 - (distance / CUTOFF) ** 2
        slope = slope * base**3 - energy * 6 * base**2 * distance / CUTOFF**2
        energy = energy * base**3

        # Each pair is listed from both ends: half of its energy belongs to each.
        pull = self.strength * (slope / distance)[:, None] * vector
        forces = np.zeros((len(self.atoms), 3))
        np.add.at(forces, first, pull)
        virial = 0.5 * np.einsum("pi,pj->ij", pull, vector) / self.atoms.get_volume()
        self.results = {
            "energy": 0.5 * self.strength * float(energy.sum()),
            "forces": forces,
            "stress": virial.ravel()[[0, 4, 8, 5, 2, 1]],
        }


class FaultyPotential(PairPotential):
    """The pair potential until evaluation `after`, then a `fault`.

    :param fault: a name of FAULTS.
    :param folder: where given, the fault happens in the first process only, which leaves a mark in this folder.
    """

    def __init__(self, fault: str, after: int = 0, folder: str | None = None, **kwargs):
        super().__init__(**kwargs)
        self.fault, self.after, self.calls = FAULTS[fault], after, 0
        self.mark = None if folder is None else Path(folder) / "fault-happened"
        self.armed = self.mark is None or not self.mark.exists()

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        if self.armed and self.calls > self.after:
            if self.mark is not None:
                self.mark.touch()
            self.fault(self.results)


class SlowPotential(PairPotential):
    """The pair potential, half a second an evaluation as long as `folder` holds a file `slow`."""

    def __init__(self, folder: str, **kwargs):
        super().__init__(**kwargs)
        self.brake = Path(folder) / "slow"

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        if self.brake.exists():
            time.sleep(0.5)
        super().calculate(atoms, properties, system_changes)


class LoggedPotential(PairPotential):
    """The pair potential; each evaluation takes `seconds` and leaves the number of its process in `folder`."""

    def __init__(self, folder: str, seconds: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.log, self.seconds = Path(folder) / "evaluations.log", seconds

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        with self.log.open("a") as log:
            log.write(f"{os.getpid()}\n")
        time.sleep(self.seconds)
        super().calculate(atoms, properties, system_changes)


def raising(error: Exception):
    def fault(results):
        raise error

    return fault


def not_a_number(results):
    results["energy"] = float("nan")


def not_a_force(results):
    results["forces"][0, 0] = float("nan")


def collapsing(results):
    """A pressure far beyond anything real, growing as the cell gives way."""
    results["stress"] = np.array([60.0, 60.0, 60.0, 0.0, 0.0, 0.0])


def restless(results):
    """A force that no displacement calms."""
    results["forces"] = results["forces"] + np.array([1.0, 0.0, 0.0])


def killed(results):
    os.kill(os.getpid(), signal.SIGKILL)


FAULTS = {
    "memory": raising(MemoryError()),
    "torch memory": raising(
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory")
    ),
    "gpu memory": raising(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")),
    "fork memory": raising(OSError(errno.ENOMEM, "Cannot allocate memory")),
    "failure": raising(ValueError("the neighbour list\nis broken")),
    "disk": raising(OSError(errno.ENOSPC, "No space left on device")),
    "nan energy": not_a_number,
    "nan force": not_a_force,
    "collapse": collapsing,
    "restless": restless,
    "kill": killed,
    "exit": lambda results: os._exit(0),
}
