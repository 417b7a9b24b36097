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
from hypothesis import settings
from sqlalchemy import event
from sqlalchemy.engine import Engine

pytest_plugins = "aiida.tools.pytest_fixtures"

# A change is judged by the same examples every time; at a desk new ones are tried at each run.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

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
    patch.setenv(
        "PYTHONPATH",
        os.pathsep.join([str(TESTS), str(TESTS.parent), str(TESTS.parent / "ml"), *([known] if known else [])]),
    )
    yield
    patch.undo()


@pytest.fixture(scope="session", autouse=True)
def _stand_in_model():
    """What the tests check is never what the shipped weights happen to say."""
    from ensembles import StandIn

    patch = pytest.MonkeyPatch()
    patch.setattr("aiida_hardcoat.learned.load_ensemble", StandIn.load)
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


ALLOY = {"sqs": {"atoms": 8}, "relaxation": QUICK_RELAXATION, "strains": QUICK_STRAINS}


@pytest.fixture(scope="session")
def alloy_builder(code):
    """A function that makes the builder of a quick alloy: one strain amplitude, the pair potential."""
    from aiida_hardcoat.workflows.alloy import AlloyWorkChain

    def build(composition="Ti0.5Al0.5N", structure_type="B1", engine=PAIR, ions="relaxed", overrides=None):
        overrides = ALLOY if overrides is None else overrides
        return AlloyWorkChain.get_builder_from_protocol(
            code, composition, structure_type, "fast", overrides, engine=engine, ions=ions
        )

    return build


@pytest.fixture(scope="session")
def alloy(alloy_builder):
    """A finished run of Ti0.5Al0.5N in B1, eight atoms."""
    from aiida_hardcoat.workflows.launch import run

    lines = []
    node = run(alloy_builder(), lines.append)
    assert node.is_finished_ok, node.exit_message
    node.progress = lines
    return node


@pytest.fixture(scope="session")
def lone_alloy(alloy_builder):
    """A finished run like `alloy` in a catalogue of its own, so that no other test predicts its moduli again."""
    from aiida_hardcoat.workflows.launch import run

    builder = alloy_builder(overrides={**ALLOY, "sqs": {"atoms": 8, "seed": 7}})
    builder.catalogue = "alone"
    node = run(builder, lambda line: None)
    assert node.is_finished_ok, node.exit_message
    return node


@pytest.fixture(scope="session", params=["relaxed", "clamped"])
def wurtzite(request, alloy_builder):
    """Finished runs of AlN in B4, 16 atoms, with relaxed and with clamped ions."""
    from aiida_hardcoat.workflows.launch import run

    overrides = {**ALLOY, "sqs": {"atoms": 16}}
    node = run(alloy_builder("AlN", "B4", ions=request.param, overrides=overrides), lambda line: None)
    assert node.is_finished_ok, node.exit_message
    return node


def entry_values(fractions=None, structure_type="B1", c11=500.0, c12=150.0, c44=160.0, **changes):
    """All fields of a made-up cubic entry that is consistent with itself."""
    from aiida_hardcoat.calculations.elastic import tensor_fields
    from aiida_hardcoat.physics.properties import elastic_properties

    fractions = {"Al": 0.5, "Ti": 0.5} if fractions is None else fractions
    tensor = np.diag(np.array([c11] * 3 + [c44] * 3, dtype=float))
    tensor[:3, :3] += c12 * (1 - np.eye(3))
    metals = sorted(fractions)
    return {
        "system": "-".join([*metals, "N"]),
        "formula": "".join(f"{metal}{fractions[metal]}" for metal in metals) + "N",
        "elements": sorted([*metals, "N"]),
        "fractions": fractions,
        "x": fractions[metals[0]],
        "structure_type": structure_type,
        "relaxed_structure_type": structure_type,
        "crystal_class": "cubic",
        "ions": "relaxed",
        "number_of_atoms": 96,
        "number_of_formula_units": 48,
        "level": "ase:7net-l3i5",
        "level_fingerprint": "0123456789abcdef",
        "level_of_theory": {"engine": "ase", "model": "7net-l3i5"},
        "energy_per_formula": -18.5,
        "volume_per_formula": 18.5,
        "density": 4500.0,
        "lattice_a": 4.2,
        "tensor_fitted": tensor.tolist(),
        "standard_errors": np.full((6, 6), 0.5).tolist(),
        "r_squared": 0.9999,
        "residual": 0.1,
        "largest_residual": 0.3,
        "reference_stress": 0.05,
        "number_of_strains": 24,
        "evaluations": 500,
        "seconds": 1000.0,
        "hardcoat_version": "0.1.0",
        **tensor_fields(elastic_properties(tensor, "cubic", density=4500.0, atoms_per_volume=0.1)),
        **changes,
    }


def prediction_values(fractions=None, structure_type="B1", bulk=250.0, shear=180.0, half=30.0, **changes):
    """All fields of a made-up prediction, its intervals of moduli ``half`` down and twice that up."""
    entry = entry_values(fractions, structure_type)
    young, poisson = 9 * bulk * shear / (3 * bulk + shear), (3 * bulk - 2 * shear) / (2 * (3 * bulk + shear))
    moduli = {"bulk_modulus": bulk, "shear_modulus": shear, "youngs_modulus": young, "poisson_ratio": poisson}
    values = {name: entry[name] for name in ("system", "formula", "elements", "fractions", "x", "structure_type")}
    for name, value in moduli.items():
        width = 0.03 if name == "poisson_ratio" else half
        ends = {f"{name}_low": value - width, f"{name}_high": value + 2 * width}
        values |= {name: value, f"{name}_spread": width / 5, **ends}
    return {
        **values,
        "number_of_atoms": 96,
        "model_name": "cgcnn",
        "model_version": "1",
        "model_sha256": "a" * 64,
        "model_fingerprint": "fedcba9876543210",
        "training_data": "d" * 64,
        "distance": 0.5,
        "far": False,
        "in_training_data": False,
        "hardcoat_version": "0.1.0",
        **changes,
    }


def empty_catalogue(label):
    """The catalogue of that label without the entries of an earlier use: a module's fixtures can be made twice."""
    from aiida_hardcoat.data.catalogue import catalogue

    group = catalogue(label)
    group.clear()
    return group


def linked(structure, node, inputs=()):
    """Store a node as if a calcfunction had made it from a structure."""
    from aiida.common.links import LinkType
    from aiida.orm import CalcFunctionNode

    maker = CalcFunctionNode()
    for name, source in {"structure": structure, **dict(inputs)}.items():
        maker.base.links.add_incoming(source if source.is_stored else source.store(), LinkType.INPUT_CALC, name)
    maker.store()
    node.base.links.add_incoming(maker, LinkType.CREATE, "result")
    node.store()
    maker.seal()
    return node


def assert_refused(result, words):
    """A command that ended with one line about the user's mistake."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert words in line
