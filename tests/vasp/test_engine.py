"""The engine `vasp` from settings to a stored entry, on a stand-in that writes VASP's files."""

import json
import re
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.tools.archive import create_archive
from aiida_vasp.utils.mock_code import VaspMockRegistry
from ase.build import bulk
from click.testing import CliRunner

from aiida_hardcoat.catalogue.potcar_check import LicensedNode, licensed_nodes, main, unpacked
from aiida_hardcoat.cli import cmd_root
from aiida_hardcoat.data.catalogue import catalogue
from aiida_hardcoat.engines import vasp
from aiida_hardcoat.engines.vasp_settings import protocol_settings
from aiida_hardcoat.physics.strain import strain_cell, stress_to_voigt
from aiida_hardcoat.workflows.vasp import VaspEngineWorkChain
from vasp.conftest import FAMILY, PLACEHOLDER
from vasp.runs import crystal, jobs_of

pytestmark = pytest.mark.vasp

MARKER = b"This is no VASP potential"
FINE = {"force_thresholds": [1e-4, 1e-3], "stress_threshold": 0.05, "max_steps": 60}
QUICK = {"kpoints_mesh": [2, 2, 2], "potential_family": FAMILY}
OVERRIDES = {
    "sqs": {"atoms": 4, "shape": "1x1x2"},
    "relaxation": {**FINE, "engine_settings": QUICK},
    "strains": {
        "force_thresholds": FINE["force_thresholds"],
        "max_steps": 50,
        "engine_settings": {**QUICK, "incar": {"addgrid": True}},
    },
}
# More processes than a machine without a queue has cores: jobs follow each other, and faults come in order.
EV_PER_CUBIC_ANGSTROM = 160.21766208  # GPa
ONE_AT_A_TIME = {"resources": {"num_machines": 1, "num_mpiprocs_per_machine": 64}}


def run_engine(code, task, atoms, strains=None, **changes):
    part = "relaxation" if task in ("relax", "relax_cell") else "strains"
    builder = vasp.get_builder(
        code=code,
        structure=orm.StructureData(ase=atoms),
        strains=None if strains is None else orm.List(np.asarray(strains, dtype=float).tolist()),
        task=task,
        model="pbe",
        settings={**FINE, **protocol_settings("fast", part), **QUICK, **changes},
        options=ONE_AT_A_TIME,
    )
    return run_get_node(builder).node


def content(node, name):
    return node.base.repository.get_object_content(name)


@pytest.fixture(scope="module")
def alloy(vasp_code):
    """A finished run of Ti0.5Al0.5N in B1, four atoms, through all steps."""
    from aiida_hardcoat.workflows.alloy import AlloyWorkChain
    from aiida_hardcoat.workflows.launch import run

    builder = AlloyWorkChain.get_builder_from_protocol(vasp_code, "Ti0.5Al0.5N", "B1", "fast", OVERRIDES, engine="vasp")
    node = run(builder, lambda line: None)
    assert node.is_finished_ok, node.exit_message
    return node


@pytest.fixture(scope="module")
def steps(alloy):
    """The two runs of the engine in an alloy: the relaxation and the strained cells."""
    runs = [node for node in alloy.called_descendants if node.process_class is VaspEngineWorkChain]
    return sorted(runs, key=lambda node: node.pk)


def test_an_alloy_ends_in_an_entry_that_names_the_stand_in(alloy, steps):
    entry = alloy.outputs.entry.base.attributes.all
    level = entry["level_of_theory"]
    assert entry["level"] == "stand-in:pbe"
    assert {element: potential["label"] for element, potential in level["potentials"].items()} == {
        "Al": "Al",
        "Ti": "Ti_sv",
        "N": "N",
    }
    assert (level["potential_family"], level["kpoints_mesh"], level["cutoff"]) == (FAMILY, [2, 2, 2], 520)
    assert "addgrid" not in level["incar"]
    assert alloy.outputs.entry.uuid in [node.uuid for node in catalogue().nodes]
    assert entry["stable"]
    assert entry["reference_stress"] <= FINE["stress_threshold"]
    # The stand-in says that each run took a second; all of them count, the relaxations too.
    assert entry["seconds"] == len(jobs_of(alloy))
    assert [step.outputs.summary["changes"] for step in steps] == [{}, {}]


def test_relaxation_has_two_stages_and_ends_static(steps):
    relaxation, _ = steps
    asked = [job.inputs.parameters.get_dict() for job in jobs_of(relaxation)]
    assert [incar["encut"] for incar in asked[:2]] == [400, 520]
    assert {incar["isif"] for incar in asked[:-1]} == {3}
    assert (asked[-1]["nsw"], asked[-1]["encut"]) == (0, 520)
    final = jobs_of(relaxation)[1:-1]
    assert len(final) >= 2
    energies = [job.outputs.misc["total_energies"]["energy_free"] for job in final[-2:]]
    assert abs(energies[1] - energies[0]) < 1e-3


def flat(overrides, path=""):
    """``-o`` and ``KEY=VALUE`` of nested overrides."""
    for key, value in overrides.items():
        if isinstance(value, dict):
            yield from flat(value, f"{path}{key}.")
        else:
            yield from ("-o", f"{path}{key}={json.dumps(value)}")


def test_a_dry_run_writes_what_the_jobs_wrote(alloy, steps, tmp_path):
    folder = tmp_path / "inputs"
    arguments = ["run", "Ti0.5Al0.5N", "-s", "B1", "--engine", "vasp", "--protocol", "fast", "--dry-run"]
    stored = orm.QueryBuilder().append(orm.Node).count()
    result = CliRunner().invoke(cmd_root, [*arguments, *flat(OVERRIDES), "--inputs", str(folder)])
    assert result.exit_code == 0, result.output
    assert orm.QueryBuilder().append(orm.Node).count() == stored

    def written(step, name):
        return (folder / step / name).read_text()

    relaxations, strained = (jobs_of(step) for step in steps)
    named = ["1-preliminary", "2-final", "3-static"]
    for step, job in zip(named, [relaxations[0], relaxations[1], relaxations[-1]], strict=True):
        for name in ("INCAR", "KPOINTS"):
            assert written(f"relaxation/{step}", name) == content(job, name)
        potentials = [
            job.inputs.potential[symbol].full_name for symbol in content(job, "POSCAR").split("\n")[5].split()
        ]
        assert written(f"relaxation/{step}", "POTCAR.labels").split() == potentials
    assert written("relaxation/1-preliminary", "POSCAR") == content(relaxations[0], "POSCAR")
    assert len(list((folder / "strains").iterdir())) == len(strained)
    for step in sorted((folder / "strains").iterdir()):
        for name in ("INCAR", "KPOINTS"):
            assert written(step, name) == content(strained[0], name)
    assert not [path for path in folder.rglob("*") if path.is_file() and b"PSCTR" in path.read_bytes()]


def test_stress_is_the_derivative_of_the_energy(vasp_code, faults):
    """Through INCAR, the files, the parser, units and signs: dE = V sigma . d(strain), in all components at once.

    The first job fails once in a way that changes ALGO, which must be told and must not matter.
    """
    faults("edddav")
    atoms, direction, step = crystal(), np.array([1.0, -0.5, 0.3, 1.2, -0.8, 0.6]), 1e-3
    strains = np.outer([0, -step, step], direction)
    node = run_engine(vasp_code, "static", atoms, strains)
    assert node.is_finished_ok, node.exit_message
    trajectory, summary = node.outputs.trajectory, node.outputs.summary
    energies = trajectory.get_array("energies")
    stress = stress_to_voigt(trajectory.get_array("stresses")[0])
    assert np.abs(stress).min() > 0.1
    slope = (energies[2] - energies[1]) / (2 * step) / atoms.get_volume() * EV_PER_CUBIC_ANGSTROM
    assert slope == pytest.approx(stress @ direction, abs=0.005)
    assert set(summary["changes"]["0"]) == {"algo"}
    assert summary["level_of_theory"]["engine"] == "stand-in"

    # What each job read is what a person is shown without running.
    settings = {**FINE, **protocol_settings("fast", "strains"), **QUICK}
    for job, strain in zip(jobs_of(node)[-3:], strains, strict=True):
        copy = atoms.copy()
        copy.set_cell(strain_cell(atoms.cell.array, strain), scale_atoms=True)
        files = vasp.input_files(copy, "static", "pbe", settings, parent=atoms)
        assert files["POSCAR"] == content(job, "POSCAR")


def test_one_strained_cell_is_tried_again_by_itself_and_the_others_are_kept(vasp_code, faults):
    """The first cell recovers at its second try, the second fails for good."""
    faults("non_collinear", "non_collinear", "-", "non_collinear")
    strains = [[0.01 * number, 0, 0, 0, 0, 0] for number in (1, 2)]
    node = run_engine(vasp_code, "static", bulk("TiN", "rocksalt", a=4.3), strains)
    assert node.exit_status == 402
    assert "1 of 2 calculations failed twice" in node.exit_message
    assert "structure 1" in node.exit_message
    assert "only other inputs can mend" in node.exit_message
    assert len(jobs_of(node)) == 4
    assert node.outputs.trajectory.get_stepids().tolist() == [0]
    assert node.outputs.summary["finished"] == 1


def test_a_repair_that_changes_the_level_is_not_mixed_with_the_others(vasp_code, faults):
    faults("real_optlay")
    node = run_engine(vasp_code, "static", bulk("TiN", "rocksalt", a=4.3))
    assert node.exit_status == 403
    assert "LREAL = false, which is another level of theory" in node.exit_message
    assert "-o engine.incar.lreal=false" in node.exit_message


def test_the_cell_alone_relaxes_with_the_ions_where_they_are(vasp_code):
    atoms = crystal()
    node = run_engine(vasp_code, "relax_cell", atoms, energy_tolerance=1e-7)
    assert node.is_finished_ok, node.exit_message
    relaxed = node.outputs.structure.get_ase()
    np.testing.assert_allclose(relaxed.get_scaled_positions(), atoms.get_scaled_positions(), atol=1e-6)
    assert np.abs(node.outputs.trajectory.get_array("stresses")).max() <= FINE["stress_threshold"]
    assert node.outputs.trajectory.get_array("largest_forces")[0] > 0.1
    assert jobs_of(node)[1].inputs.parameters["isif"] == 6
    assert jobs_of(node)[1].inputs.parameters["ediffg"] > 0


def test_a_recorded_workflow_is_played_back(alloy, computer, tmp_path, monkeypatch):
    """The plugin's `mock-vasp` hands out what was recorded for equal INCAR, POSCAR and KPOINTS: here a whole alloy."""
    (tmp_path / "registry").mkdir()
    registry = VaspMockRegistry(tmp_path / "registry")
    recorded = jobs_of(alloy)
    for number, job in enumerate(recorded):
        registry.upload_aiida_calc(job, f"stand-in-{number}")
    monkeypatch.setenv("MOCK_VASP_REG_BASE", str(tmp_path / "registry"))
    builder = alloy.get_builder_restart()
    builder.options = {}
    builder.code = orm.InstalledCode(
        label="mock-vasp",
        computer=computer,
        filepath_executable=shutil.which("mock-vasp", path=str(Path(sys.executable).parent)),
        default_calc_job_plugin="hardcoat.vasp",
        with_mpi=False,
    ).store()
    node = run_get_node(builder).node
    assert node.is_finished_ok, node.exit_message
    played = jobs_of(node)
    assert len(played) == len(recorded)
    assert all("MOCK PREPEND" in content(job.outputs.retrieved, "vasp_output") for job in played)
    asked, found = (run.outputs.entry.base.attributes.all for run in (alloy, node))
    for name in ("tensor_fitted", "energy_per_formula", "volume_per_formula", "reference_stress", "level_of_theory"):
        assert found[name] == asked[name], name


# --- what may be shared -----------------------------------------------------------------------------------------


def holds_marker(archive: Path) -> bool:
    with zipfile.ZipFile(archive) as file:
        return any(MARKER in text for name in file.namelist() for text in unpacked(file.read(name)))


def test_nothing_that_is_shared_holds_a_potential(alloy, tmp_path, capsys):
    shared = {"entry": [alloy.outputs.entry], "catalogue": [catalogue()], "run": [alloy]}
    for name, entities in shared.items():
        archive = create_archive(entities, filename=tmp_path / f"{name}.aiida")
        assert not holds_marker(archive)
        assert licensed_nodes(archive) == []
    assert main([str(tmp_path / "run.aiida")]) == 0
    descendants = [node.uuid for node in alloy.called_descendants]
    outputs = [
        node.uuid for process in alloy.called_descendants for node in process.base.links.get_outgoing().all_nodes()
    ]
    assert licensed_nodes([*descendants, *outputs]) == []


def test_the_check_finds_what_an_archive_of_everything_holds(alloy, tmp_path, capsys):
    text = PLACEHOLDER.format(label="Ti", element="Ti", valence=4, cutoff=250)
    hidden = orm.SinglefileData.from_string(text, filename="notes.txt").store()
    for process in orm.QueryBuilder().append(orm.ProcessNode).all(flat=True):
        process.seal()  # made-up ones of other tests are not, and would not be exported
    archive = create_archive(None, filename=tmp_path / "all.aiida")
    assert holds_marker(archive)
    found = licensed_nodes(archive)
    assert LicensedNode(hidden.uuid, "notes.txt") in found
    kinds = {found_node.what for found_node in found}
    assert {"PotcarFileData of Ti_sv", "PotcarFileData of N"} <= kinds
    assert main([str(archive)]) == 1
    assert "do not share" in capsys.readouterr().out
    (tmp_path / "no.aiida").write_text("no archive")
    assert [main([]), main([str(tmp_path / "no.aiida")]), main([str(tmp_path / "none.aiida")])] == [2, 2, 2]
    assert len(capsys.readouterr().err.splitlines()) == 3
    assert re.search("POTCAR files: share entries or groups", str(vasp.doctor(None)))
