"""Fixtures of the AiiDA side: a temporary profile (SQLite, no broker), one code, small crystals, finished runs."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

# Before AiiDA is imported: it makes its folder at import, and a developer's own profiles are no place for tests.
os.environ["AIIDA_PATH"] = tempfile.mkdtemp(prefix="hardcoat-aiida-")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from sqlalchemy import event
from sqlalchemy.engine import Engine

pytest_plugins = "aiida.tools.pytest_fixtures"

TESTS = Path(__file__).parent
PAIR = "ase:calculators:PairPotential"
FAULTY = "ase:calculators:FaultyPotential"

QUICK_RELAXATION = {"force_thresholds": [1e-3, 1e-2], "stress_threshold": 0.02, "max_steps": 200}
QUICK_STRAINS = {"force_thresholds": [1e-3, 1e-2], "max_steps": 100}


@event.listens_for(Engine, "connect")
def _do_not_wait_for_the_disk(connection, _):
    """AiiDA commits hundreds of times a process; what a power cut would do to a test's database does not matter."""
    connection.execute("PRAGMA synchronous=OFF")


@pytest.fixture(scope="session", autouse=True)
def _importable_calculators():
    """Jobs and commands that a test starts find `calculators` as the tests themselves do."""
    patch = pytest.MonkeyPatch()
    known = os.environ.get("PYTHONPATH")
    patch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent), *([known] if known else [])]))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def computer(aiida_profile, tmp_path_factory):
    from aiida.orm import Computer

    computer = Computer(
        label="localhost",
        hostname="localhost",
        workdir=str(tmp_path_factory.mktemp("scratch")),
        transport_type="core.local",
        scheduler_type="core.direct",
    ).store()
    computer.set_minimum_job_poll_interval(0)
    computer.set_default_mpiprocs_per_machine(1)
    computer.configure(safe_interval=0, use_login_shell=False)
    return computer


@pytest.fixture(scope="session")
def code(computer):
    """The code of the engine `ase`: this Python."""
    from aiida.orm import InstalledCode

    return InstalledCode(
        label="hardcoat-ase",
        computer=computer,
        filepath_executable=sys.executable,
        default_calc_job_plugin="hardcoat.ase",
        with_mpi=False,
    ).store()


def rocksalt(metal: str = "Ti", a: float = 4.25, cubic: bool = True) -> Atoms:
    return bulk(f"{metal}N", "rocksalt", a=a, cubic=cubic)


def rattled_alloy() -> Atoms:
    """Eight atoms of Ti0.5Al0.5N in B1 without any symmetry left."""
    atoms = rocksalt()
    atoms.symbols[[0, 2]] = "Al"
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.01 * np.arange(9).reshape(3, 3) / 9), scale_atoms=True)
    atoms.rattle(0.05, seed=3)
    return atoms
