"""The program that runs where the calculator is: stresses, relaxations, warm starts, what is kept of an earlier run."""

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import calculators
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from calculators import PairPotential
from conftest import rattled_alloy, rocksalt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from aiida_hardcoat.engines import ase_driver as driver
from aiida_hardcoat.physics.elasticity import fit_tensor
from aiida_hardcoat.physics.projection import rotate_tensor
from aiida_hardcoat.physics.strain import strain_cell, strain_set

PAIR = "calculators:PairPotential"
FAULTY = "calculators:FaultyPotential"
SETTINGS = {
    "model": PAIR,
    "model_options": {},
    "optimiser": "BFGS",
    "force_thresholds": [1e-4],
    "stress_threshold": 0.01,
    "max_steps": 300,
}


def run(folder, atoms, task, strains=None, previous=(), **changes):
    """Run the driver in `folder`; the records by index, and the lines that it reported."""
    folder.mkdir(exist_ok=True)
    job = {
        "symbols": list(atoms.symbols),
        "cell": atoms.cell.array.tolist(),
        "positions": atoms.positions.tolist(),
        "strains": None if strains is None else np.asarray(strains).tolist(),
        "settings": {**SETTINGS, "task": task, **changes},
    }
    (folder / "input.json").write_text(json.dumps(job))
    (folder / "previous.jsonl").write_text("".join(json.dumps(record) + "\n" for record in previous))
    lines = []
    driver.run(folder, lines.append)
    written = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert "level" in written[0]
    assert written[-1] == {"end": "complete"}
    return {record["index"]: record for record in written[1:-1]}, lines


def tensor_of(strains, records, reference=None):
    stresses = np.array([records[index]["stress"] for index in range(len(strains))])
    return fit_tensor(strains, stresses, reference_stress=reference).tensor


@pytest.fixture(scope="module")
def relaxed_alloy(tmp_path_factory):
    """A crystal of the lowest symmetry, free of stress and forces."""
    records, _ = run(tmp_path_factory.mktemp("relax"), rattled_alloy(), "relax", force_thresholds=[1e-5])
    record = records[0]
    assert record["status"] == "ok"
    return Atoms(rattled_alloy().symbols, cell=record["cell"], positions=record["positions"], pbc=True)


@pytest.fixture(scope="module")
def wurtzite(tmp_path_factory):
    """AlN, four atoms, whose ions have room to move under strain."""
    start = bulk("AlN", "wurtzite", a=3.129, c=5.017, u=0.38)
    records, _ = run(tmp_path_factory.mktemp("relax"), start, "relax", force_thresholds=[1e-5])
    return Atoms(start.symbols, cell=records[0]["cell"], positions=records[0]["positions"], pbc=True)


# --- stress -----------------------------------------------------------------------------------------------------


def needs(package):
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed")


def strained_crystal(metal):
    """Two atoms under a strain of every component, and off their sites: no stress component vanishes."""
    atoms = rocksalt(metal, a=4.3, cubic=False)
    atoms.set_cell(strain_cell(atoms.cell.array, [0.02, 0.03, -0.05, 0.06, -0.04, 0.05]), scale_atoms=True)
    atoms.positions[1] += [0.05, -0.08, 0.04]
    return atoms


@pytest.mark.parametrize(
    ("model", "step", "tolerance"),
    [
        pytest.param(PAIR, 1e-4, 1e-4, id="pair potential"),
        pytest.param("7net-0", 4e-3, 0.15, marks=needs("sevenn")),
        pytest.param("7net-l3i5", 4e-3, 0.15, marks=needs("sevenn")),
        pytest.param("chgnet", 4e-3, 0.15, marks=needs("chgnet")),
    ],
)
def test_stress_is_the_derivative_of_the_energy(model, step, tolerance):
    """sigma = dE/d(eps)/V in GPa, tension positive: for engineering shear, dE/d(gamma)/V is the shear stress itself."""
    calculator, _ = driver.load_calculator(model, {})
    atoms = strained_crystal("Ti")
    atoms.calc = calculator
    stress = driver.symmetric_stress(atoms)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]

    def energy(strain):
        copy = driver.strained_copy(atoms, strain)
        copy.calc = calculator
        return copy.get_potential_energy()

    slopes = [(energy(step * row) - energy(-step * row)) / (2 * step) for row in np.eye(6)]
    assert np.abs(stress).min() > 10 * tolerance, "a stress component is too small to tell its sign"
    np.testing.assert_allclose(stress, np.array(slopes) / atoms.get_volume() * driver.GPA, atol=tolerance)


def test_forces_of_the_pair_potential_are_the_derivative_of_its_energy():
    atoms = rattled_alloy()
    atoms.calc = PairPotential()
    force = atoms.get_forces()[3, 1]
    energies = []
    for shift in (1e-4, -1e-4):
        atoms.positions[3, 1] += shift
        energies.append(atoms.get_potential_energy())
        atoms.positions[3, 1] -= shift
    assert force == pytest.approx(-(energies[0] - energies[1]) / 2e-4, abs=1e-6)


# --- strains and rotations --------------------------------------------------------------------------------------

strains_of_six = arrays(float, 6, elements=st.floats(-0.1, 0.1))
rotations = arrays(float, 4, elements=st.floats(-1, 1)).filter(lambda q: np.linalg.norm(q) > 0.1)


@given(strains_of_six)
def test_strained_copy_moves_lattice_and_ions_together(strain):
    atoms = rattled_alloy()
    copy = driver.strained_copy(atoms, strain)
    np.testing.assert_allclose(copy.cell.array, strain_cell(atoms.cell.array, strain), atol=1e-12)
    np.testing.assert_allclose(copy.get_scaled_positions(wrap=False), atoms.get_scaled_positions(wrap=False), atol=1e-9)


@given(strains_of_six, rotations)
def test_removal_of_rotation_leaves_a_symmetric_stretch(strain, quaternion):
    reference = rattled_alloy()
    stretched = driver.strained_copy(reference, strain)
    turned = stretched.copy()
    turned.set_cell(stretched.cell.array @ Rotation.from_quat(quaternion).as_matrix(), scale_atoms=True)
    driver.remove_rotation(turned, reference.cell.array)
    # The polar decomposition is unique: the rotation goes, the stretch that was put in comes back.
    np.testing.assert_allclose(turned.cell.array, stretched.cell.array, atol=1e-9)
    np.testing.assert_allclose(turned.positions, stretched.positions, atol=1e-9)


def test_relaxation_does_not_turn_the_crystal(relaxed_alloy):
    gradient = np.linalg.solve(rattled_alloy().cell.array, relaxed_alloy.cell.array)
    assert np.abs(gradient - np.eye(3)).max() > 1e-3
    np.testing.assert_allclose(gradient, gradient.T, atol=1e-6)


def test_rotated_crystal_has_the_rotated_tensor(tmp_path, relaxed_alloy):
    strains = strain_set((1e-4,), (2e-4,))
    rotation = Rotation.from_rotvec([0.5, -0.8, 0.3]).as_matrix()
    turned = relaxed_alloy.copy()
    turned.set_cell(relaxed_alloy.cell.array @ rotation.T, scale_atoms=True)
    tensors = []
    for name, atoms in (("as it is", relaxed_alloy), ("turned", turned)):
        records, _ = run(tmp_path / name, atoms, "static", strains)
        tensors.append(tensor_of(strains, records))
    assert np.abs(tensors[0] - tensors[1]).max() > 10
    np.testing.assert_allclose(tensors[1], rotate_tensor(tensors[0], rotation), atol=0.01)


# --- relaxed and clamped ions -----------------------------------------------------------------------------------


def test_relaxing_ions_only_softens(tmp_path, wurtzite):
    """Free ions can only lower the energy, so clamped minus relaxed stiffness is positive semidefinite."""
    strains = strain_set((0.005,), (0.01,))
    clamped, _ = run(tmp_path / "clamped", wurtzite, "static", strains)
    relaxed, _ = run(tmp_path / "relaxed", wurtzite, "relax_ions", strains)
    gains = [clamped[index]["energy"] - relaxed[index]["energy"] for index in clamped]
    assert min(gains) > -1e-7
    assert max(gains) > 1e-4
    difference = np.linalg.eigvalsh(tensor_of(strains, clamped) - tensor_of(strains, relaxed))
    assert difference.min() > -0.1
    assert difference.max() > 20
    for index, strain in enumerate(strains):
        for records in (clamped, relaxed):
            np.testing.assert_allclose(records[index]["cell"], strain_cell(wurtzite.cell.array, strain), atol=1e-12)


def test_warm_starts_save_evaluations_and_change_nothing(tmp_path, wurtzite):
    """Every strained cell by itself, and all in one run where each starts from what the others taught."""
    strains = strain_set()
    warm, _ = run(tmp_path / "warm", wurtzite, "relax_ions", strains)
    cold = {}
    for index, strain in enumerate(strains):
        records, _ = run(tmp_path / f"cold{index}", wurtzite, "relax_ions", [strain])
        cold[index] = records[0]
    np.testing.assert_allclose(tensor_of(strains, warm), tensor_of(strains, cold), atol=0.05)
    evaluations = [sum(record["evaluations"] for record in records.values()) for records in (warm, cold)]
    assert evaluations[0] < 0.8 * evaluations[1]


def test_relax_cell_keeps_fractional_coordinates(tmp_path):
    start = rattled_alloy()
    records, _ = run(tmp_path, start, "relax_cell")
    record = records[0]
    assert record["status"] == "ok"
    assert np.abs(record["stress"]).max() <= SETTINGS["stress_threshold"]
    assert record["largest_force"] > 0.1
    np.testing.assert_allclose(
        np.linalg.solve(np.array(record["cell"]).T, np.array(record["positions"]).T).T,
        start.get_scaled_positions(wrap=False),
        atol=1e-9,
    )


def test_two_runs_are_equal_to_the_last_digit(tmp_path):
    strains = strain_set((0.01,), (0.02,))[4:8]
    first, _ = run(tmp_path / "first", rattled_alloy(), "relax_ions", strains)
    second, _ = run(tmp_path / "second", rattled_alloy(), "relax_ions", strains)
    for records in (first, second):
        for record in records.values():
            del record["seconds"]
    assert first == second


# --- thresholds -------------------------------------------------------------------------------------------------


def test_threshold_reached_is_what_the_forces_allow(tmp_path):
    """The tightest is aimed at; when the steps end, the loosest that holds is kept, and nothing is called converged."""
    thresholds = [1e-12, 0.02, 0.2]
    records = [
        run(tmp_path, rattled_alloy(), "relax_ions", force_thresholds=thresholds, max_steps=steps)[0][0]
        for steps in range(1, 14)
    ]
    for record in records:
        forces = np.linalg.norm(record["forces"], axis=1)
        assert record["largest_force"] == pytest.approx(forces.max())
        reached = next((value for value in thresholds if forces.max() <= value), None)
        assert record["force_threshold"] == reached
        assert record["status"] == ("ok" if reached is not None else "not_converged")
    # More steps never leave larger forces, because the best geometry is kept.
    assert np.all(np.diff([record["largest_force"] for record in records]) <= 1e-12)
    assert {record["force_threshold"] for record in records} == {None, 0.02, 0.2}


def test_steps_are_not_spent_once_the_tightest_threshold_is_met(tmp_path):
    records, _ = run(tmp_path, rattled_alloy(), "relax_ions", force_thresholds=[0.05, 0.1])
    assert records[0]["force_threshold"] == 0.05
    assert records[0]["evaluations"] < 30


@pytest.mark.parametrize("optimiser", ["BFGS", "FIRE"])
def test_both_optimisers_find_the_same_crystal(tmp_path, relaxed_alloy, optimiser):
    records, _ = run(tmp_path, rattled_alloy(), "relax", optimiser=optimiser, max_steps=1000, force_thresholds=[1e-3])
    assert records[0]["status"] == "ok"
    relaxed_alloy.calc = PairPotential()
    assert records[0]["energy"] == pytest.approx(relaxed_alloy.get_potential_energy(), abs=1e-4)


# --- order and prediction ---------------------------------------------------------------------------------------


@given(arrays(float, 6, elements=st.floats(-0.1, 0.1).map(lambda value: round(value, 3))))
def test_a_strain_is_its_amplitude_along_its_direction(strain):
    direction, amplitude = driver.amplitude_along(strain)
    np.testing.assert_allclose(amplitude * np.array(direction), strain, atol=1e-9)
    opposite, negative = driver.amplitude_along(-strain)
    assert opposite == direction
    assert negative == pytest.approx(-amplitude)


@given(st.permutations(list(map(tuple, strain_set()))))
def test_running_order_goes_outwards_along_one_direction_after_the_other(strains):
    order = driver.running_order(strains)
    assert sorted(order) == list(range(len(strains)))
    keys = [driver.amplitude_along(strains[index]) for index in order]
    directions = [direction for direction, _ in keys]
    changes = sum(one != other for one, other in pairwise(directions))
    assert changes == len(set(directions)) - 1
    for direction in set(directions):
        sizes = [abs(amplitude) for other, amplitude in keys if other == direction]
        assert sizes == sorted(sizes)


displacements = arrays(float, (4, 3), elements=st.floats(-1, 1))
amplitudes = st.floats(0.005, 0.05)


@given(displacements, displacements, amplitudes, amplitudes, st.floats(-0.08, 0.08))
def test_prediction_is_exact_for_displacements_quadratic_in_the_strain(linear, quadratic, first, second, wanted):
    known = {a: linear * a + quadratic * a**2 for a in (first, -first, first + second)}
    predicted = driver.predicted_displacement(known, wanted)
    np.testing.assert_allclose(predicted, linear * wanted + quadratic * wanted**2, atol=1e-9)


@given(displacements, amplitudes, st.floats(-0.08, 0.08))
def test_prediction_from_one_neighbour_is_linear(linear, known, wanted):
    predicted = driver.predicted_displacement({known: linear * known}, wanted)
    np.testing.assert_allclose(predicted, linear * wanted, atol=1e-12)


def test_nothing_is_predicted_from_nothing():
    assert driver.predicted_displacement({}, 0.01) is None


# --- earlier records --------------------------------------------------------------------------------------------


def test_finished_structures_are_not_computed_again(tmp_path):
    strains = strain_set((0.01,), (0.02,))
    complete, _ = run(tmp_path / "complete", rattled_alloy(), "relax_ions", strains)
    kept = [complete[index] for index in (0, 1, 5, 7)]
    resumed, lines = run(tmp_path / "resumed", rattled_alloy(), "relax_ions", strains, previous=kept)
    assert [resumed[record["index"]] for record in kept] == kept
    spent = int(lines[-1].split()[0])
    assert spent == sum(resumed[i]["evaluations"] for i in resumed if i not in (0, 1, 5, 7))
    np.testing.assert_allclose(tensor_of(strains, resumed), tensor_of(strains, complete), atol=0.05)


def test_unconverged_structures_go_on_from_where_they_were(tmp_path):
    first, _ = run(tmp_path / "first", rattled_alloy(), "relax_ions", [[0.0] * 6], max_steps=4)
    assert first[0]["status"] == "not_converged"
    second, _ = run(tmp_path / "second", rattled_alloy(), "relax_ions", [[0.0] * 6], previous=[first[0]])
    from_start, _ = run(tmp_path / "third", rattled_alloy(), "relax_ions", [[0.0] * 6])
    assert second[0]["status"] == "ok"
    assert second[0]["evaluations"] - first[0]["evaluations"] < from_start[0]["evaluations"]
    assert second[0]["energy"] == pytest.approx(from_start[0]["energy"], abs=1e-6)


# --- faults -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("nan energy", "not_finite"),
        ("nan force", "not_finite"),
        ("collapse", "exploded"),
        ("restless", "not_converged"),
    ],
)
def test_a_structure_that_goes_wrong_says_so_and_the_others_go_on(tmp_path, monkeypatch, fault, status):
    task = "relax_cell" if fault == "collapse" else "relax_ions"
    # Only cells under tension along x are faulty.
    volume = rocksalt().get_volume()
    plain = PairPotential.calculate

    def calculate(self, atoms=None, *arguments):
        plain(self, atoms, *arguments)
        if atoms.get_volume() > volume * 1.001 or task == "relax_cell":
            calculators.FAULTS[fault](self.results)

    monkeypatch.setattr(PairPotential, "calculate", calculate)
    strains = [[0.0] * 6] if task == "relax_cell" else [[0.02, 0, 0, 0, 0, 0], [-0.02, 0, 0, 0, 0, 0]]
    records, _ = run(tmp_path, rocksalt(), task, strains, max_steps=20)
    assert records[0]["status"] == status
    assert ("energy" in records[0]) == (status == "not_converged")
    if len(strains) > 1:
        assert records[1]["status"] == "ok"


def test_two_atoms_on_one_site_are_an_explosion():
    atoms = rocksalt()
    assert not driver.is_exploded(atoms, atoms.get_volume())
    assert driver.is_exploded(atoms, atoms.get_volume() / 2.1)
    assert driver.is_exploded(atoms, atoms.get_volume() * 2.1)
    atoms.positions[1] = atoms.positions[0] + [0.5, 0, 0]
    assert driver.is_exploded(atoms, atoms.get_volume())


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "out_of_memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"), "out_of_memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "out_of_memory"),
        (OSError(12, "Cannot allocate memory"), "out_of_memory"),
        (OSError(28, "No space left on device"), "disk_full"),
        (ValueError("something else"), "calculator_failed"),
        (driver.DriverError("missing_package", "no such package"), "missing_package"),
    ],
)
def test_kinds_of_failure(error, kind):
    assert driver.failure_kind(error) == kind


# --- level of theory --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "options", "kind"),
    [
        ("no_such_package.calculators:Nothing", {}, "missing_package"),
        ("calculators:Nothing", {}, "missing_package"),
        (FAULTY, {}, "calculator_failed"),
    ],
)
def test_what_cannot_be_loaded_says_what_is_missing(model, options, kind):
    with pytest.raises(driver.DriverError) as raised:
        driver.load_calculator(model, options)
    assert raised.value.kind == kind
    assert model.split(":")[0].split(".")[0] in str(raised.value)


def test_level_of_theory_names_the_source_of_an_imported_calculator():
    _, level = driver.load_calculator(PAIR, {"strength": 2.0})
    assert level["sha256"] == hashlib.sha256(Path(calculators.__file__).read_bytes()).hexdigest()
    assert (level["engine"], level["model"], level["options"]) == ("ase", PAIR, {"strength": 2.0})


def test_the_driver_needs_neither_aiida_nor_this_package(tmp_path):
    run(tmp_path, rocksalt(), "static")
    (tmp_path / "records.jsonl").unlink()
    shutil.copytree(Path(driver.__file__).parent, tmp_path / "ase_driver")
    program = (
        "import sys, ase_driver; ase_driver.main(); print([name for name in sys.modules if name.startswith('aiida')])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    mark, modules = done.stdout.splitlines()[-2:]
    assert mark == driver.COMPLETION_MARK
    assert modules == "[]"
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 3
