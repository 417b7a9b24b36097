"""Every fault injected into runs of the workchains: mended with the undisturbed result, or an exit code with advice."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager

from aiida_hardcoat.calculations.vasp import FAULTS
from aiida_hardcoat.workflows.vasp_base import (
    AFFECTS_NUMBERS,
    CONTINUATIONS,
    RESTARTS_WITHOUT_PROGRESS,
    VaspBaseWorkChain,
    changes_of,
    force_threshold_of,
)
from aiida_hardcoat.workflows.vasp_relax import VaspRelaxWorkChain, largest_strain
from vasp.runs import CELL, IONS, STATIC, base_inputs, crystal, jobs_of, reference, relax_inputs, run_base, says
from vasp.stand_in_vasp import ionic_steps

pytestmark = pytest.mark.vasp

LEVEL_OF_THEORY = {
    "encut",
    "enaug",
    "prec",
    "gga",
    "metagga",
    "ivdw",
    "lhfcalc",
    "ispin",
    "lasph",
    "lmaxmix",
    "addgrid",
}
# Every option that a remedy changes is set, so that none of them has nothing to do.
WILLING = {**STATIC, "ismear": -5, "lreal": "Auto", "algo": "Fast", "kpar": 2, "ncore": 2}


def test_every_fault_once_in_a_static_run(vasp_code, potential_family, faults):
    """One after the other in a single workchain; each is recognised, met with its first remedy, and gone."""
    expected = {
        "rotation": (717, {"symprec": 1e-8}),
        "pricel": (714, {"isym": 0}),  # the rotation matrix took the first remedy
        "tetkpts": (716, {"kpoints": ([2, 2, 2], [0.0, 0.0, 0.0])}),
        "real_optlay": (718, {"lreal": False}),
        "scf": (701, {"algo": "Normal", "nelm": 150}),
        "brmix": (710, {"imix": 1}),
        "few bands": (719, {"nbands": 19}),
        "edddav": (711, {"algo": "All"}),
        "zpotrf": (715, {"potim": 0.25}),
        "memory": (110, {"kpar": 1}),
        "segfault": (720, {}),
        "garbled": (721, {}),
        "nothing": (333, {}),
        "killed": (700, {}),
        "walltime": (120, {}),
        "node": (140, {}),
    }
    faults(*expected)
    node = run_base(vasp_code, potential_family, WILLING, max_iterations=len(expected) + 1)
    assert node.is_finished_ok, node.exit_message
    *failed, last = jobs_of(node)
    assert [job.exit_status for job in failed] == [status for status, _ in expected.values()]

    def settings(job):
        return {**job.inputs.parameters.get_dict(), "kpoints": job.inputs.kpoints.get_kpoints_mesh()}

    for job, after, (name, (_, remedy)) in zip(failed, [*failed[1:], last], expected.items(), strict=True):
        changed = {key: value for key, value in settings(after).items() if settings(job).get(key) != value}
        assert changed == remedy, name
        assert says(after, "found WAVECAR") == (name in ("scf", "killed", "node")), name
    undisturbed = ionic_steps(reference(), {})[-1]
    assert node.outputs.misc["total_energies"]["energy_extrapolated"] == pytest.approx(undisturbed["energy"], abs=1e-7)
    assert np.allclose(node.outputs.misc["stress"], undisturbed["stress"], atol=1e-6)

    changes = changes_of(node)
    assert changes["lreal"] == ("Auto", False)
    assert changes["kpoints"] == (([2, 2, 2], [0.5, 0.5, 0.5]), ([2, 2, 2], [0.0, 0.0, 0.0]))
    assert AFFECTS_NUMBERS & set(changes) == {"lreal", "kpoints", "isym"}


def test_every_fault_once_in_a_relaxation(vasp_code, potential_family, faults):
    """On from the last complete ionic step, or from where the run began; never from what was cut off."""
    expected = {"zbrent": 712, "killed": 700, "zpotrf": 715, "brions": 713, "mixed cell": 700, "late segfault": 720}
    faults(*expected)
    node = run_base(vasp_code, potential_family, CELL)
    assert node.is_finished_ok, node.exit_message
    *failed, last = jobs_of(node)
    assert [job.exit_status for job in failed] == list(expected.values())
    for job, after, fault in zip(failed, [*failed[1:], last], expected, strict=True):
        source = job.inputs.structure if fault == "zpotrf" else job.outputs.structure
        assert after.inputs.structure.uuid == source.uuid
        assert np.allclose(source.cell, crystal().cell, atol=1e-8), "the one complete step is the first"
    assert changes_of(node)["ediff"][1] == pytest.approx(1e-7)
    undisturbed = ionic_steps(reference(), {name: str(value) for name, value in CELL.items()})[-1]
    assert largest_strain(undisturbed["cell"], node.outputs.structure.cell) < 1e-6


def test_remedy_that_does_not_help(vasp_code, potential_family, faults):
    faults("always real_optlay")
    node = run_base(vasp_code, potential_family, WILLING)
    assert node.exit_status == 718
    assert "Check the cell and ENCUT" in node.exit_message
    assert [job.inputs.parameters["lreal"] for job in jobs_of(node)] == ["Auto", False]
    assert "misc" not in node.outputs


def test_iterations_used_up_tell_the_reason(vasp_code, potential_family, faults):
    faults("always brmix")
    node = run_base(vasp_code, potential_family, STATIC, max_iterations=1)
    assert node.exit_status == 710
    assert "MAGMOM" in node.exit_message


@pytest.fixture
def workchain(vasp_code, potential_family):
    """A function that makes a workchain whose handlers can be asked without running anything."""

    def make(incar, **inputs):
        inputs = base_inputs(vasp_code, potential_family, incar, **inputs)
        process = instantiate_process(get_manager().get_runner(), VaspBaseWorkChain, **inputs)
        process.setup()
        assert process.init_inputs() is None
        return process

    return make


@pytest.fixture
def failed_job(vasp_code):
    """A function that makes a calculation that failed with an exit code."""
    from aiida.common.links import LinkType
    from aiida.engine import ProcessState

    from aiida_hardcoat.calculations.vasp import HardcoatVaspCalculation

    def make(label, structure=None, remote=True, **run_status):
        code = HardcoatVaspCalculation.exit_codes[label]
        node = orm.CalcJobNode(computer=vasp_code.computer, process_type=HardcoatVaspCalculation.build_process_type())
        node.store()
        node.set_process_state(ProcessState.FINISHED)
        node.set_exit_status(code.status)
        node.set_exit_message(code.message)
        outputs = {"misc": orm.Dict({"run_status": {"nbands": 16, **run_status}})}
        outputs["remote_folder"] = orm.RemoteData(remote_path="/nowhere", computer=vasp_code.computer)
        if structure is not None:
            outputs["structure"] = structure
        for name, value in outputs.items():
            value.base.links.add_incoming(node, LinkType.CREATE, name)
            value.store()
        return node

    return make


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.label)
def test_ladder_to_its_end(fault, workchain, failed_job):
    """A fault that stays meets all its remedies and ends with its exit code and advice; the level stays the same."""
    process = workchain({**WILLING, "ibrion": 2, "nsw": 10, "ediffg": -0.01})
    asked = dict(process.ctx.inputs.parameters)
    attempts = 0
    while True:
        report = process.handle_fault(failed_job(f"ERROR_{fault.label}"))
        assert report.do_break
        if report.exit_code.status:
            break
        attempts += 1
    assert attempts == len(fault.remedies)
    assert (report.exit_code.status, report.exit_code.message) == (fault.status, fault.advice)
    used = process.ctx.inputs.parameters
    assert {name for name in used if used[name] != asked.get(name)}.isdisjoint(LEVEL_OF_THEORY)
    assert used["sigma"] == asked["sigma"]


def test_smearing_of_its_own_for_what_was_tetrahedra(workchain, failed_job):
    """Without SIGMA in INCAR, VASP's default of 0.2 eV would come with ISMEAR 0."""
    process = workchain({"ismear": -5})
    for _ in range(2):
        process.handle_fault(failed_job("ERROR_TETRAHEDRON"))
    assert process.ctx.inputs.parameters == {"ismear": 0, "sigma": 0.05}


def test_remedy_that_changes_nothing_is_left_out(workchain, failed_job):
    process = workchain({"lreal": False})
    assert process.handle_fault(failed_job("ERROR_REAL_OPTLAY")).exit_code.status == 718


def test_cut_again_and_again(workchain, failed_job):
    """As long as ionic steps get done a run goes on; without any it ends, and tells what the scheduler said."""
    process = workchain(IONS)
    for _ in range(2 * RESTARTS_WITHOUT_PROGRESS):
        structure = orm.StructureData(ase=crystal())
        job = failed_job("ERROR_SCHEDULER_OUT_OF_WALLTIME", structure)
        assert process.handle_cut(job).exit_code.status == 0
        assert process.ctx.inputs.structure.uuid == structure.uuid
    for _ in range(RESTARTS_WITHOUT_PROGRESS):
        assert process.handle_cut(failed_job("ERROR_SCHEDULER_OUT_OF_WALLTIME")).exit_code.status == 0
    assert process.ctx.inputs.structure.uuid == structure.uuid
    assert process.handle_cut(failed_job("ERROR_SCHEDULER_OUT_OF_WALLTIME")).exit_code.status == 120


def test_ionic_steps_used_up_for_ever(workchain, failed_job):
    process = workchain(IONS, force_thresholds=[0.01, 0.03])
    thresholds = []
    while not (
        report := process.handle_ionic_steps(failed_job("ERROR_IONIC_NOT_CONVERGED", orm.StructureData(ase=crystal())))
    ).exit_code.status:
        thresholds.append(-process.ctx.inputs.parameters["ediffg"])
    assert thresholds == [*(CONTINUATIONS * [0.01]), 0.03, *(CONTINUATIONS * [0.03])]
    assert report.exit_code.status == 702
    assert "looser threshold" in report.exit_code.message


@pytest.mark.parametrize("handler", ["handle_cut", "handle_ionic_steps"])
def test_electrons_come_before_ions(handler, workchain, failed_job):
    """Where no ionic step had converged electrons, those are mended first."""
    process = workchain({**IONS, "algo": "Fast"})
    label = {"handle_cut": "ERROR_DID_NOT_FINISH", "handle_ionic_steps": "ERROR_IONIC_NOT_CONVERGED"}[handler]
    getattr(process, handler)(failed_job(label, consistent_nelm_breach=True))
    assert process.ctx.inputs.parameters["algo"] == "Normal"


def test_hopeless(workchain, failed_job):
    report = workchain(STATIC).handle_hopeless(failed_job("ERROR_VASP_CRITICAL_ERROR"))
    assert report.exit_code.status == 703


@pytest.mark.parametrize("thresholds", [[], [0.03, 0.01], [0.0], ["tight"]])
def test_force_thresholds_that_make_no_sense(thresholds, vasp_code, potential_family):
    with pytest.raises(ValueError, match="force_thresholds"):
        run_base(vasp_code, potential_family, IONS, force_thresholds=thresholds)


def test_relaxation_until_two_runs_agree(vasp_code, potential_family, faults):
    """A cut run inside it is mended on the way; `last` is not taken for an answer."""
    faults("-", "killed")
    inputs = relax_inputs(vasp_code, potential_family, convergence_mode="last", reuse=True)
    node = run_get_node(VaspRelaxWorkChain, **inputs).node
    assert node.is_finished_ok, node.exit_message
    first, second, static = sorted(node.called, key=lambda run: run.pk)
    assert [says(job, "found WAVECAR") for job in jobs_of(node)] == [False, True, True, True]
    cells = [run.outputs.structure.cell for run in (first, second)]
    assert largest_strain(crystal().cell, cells[0]) > 1e-3
    assert force_threshold_of(node) == 0.01
    assert changes_of(node) == {}
    assert largest_strain(*cells) < 1e-3
    assert static.inputs.structure.uuid == node.outputs.relax.structure.uuid
    assert np.abs(node.outputs.misc["stress"]).max() < 5.0  # kbar


def test_relaxation_of_the_cell_alone(vasp_code, potential_family):
    """Fractional coordinates stay, and forces that are left on the ions do not keep it from ending."""
    inputs = relax_inputs(vasp_code, potential_family, positions=False)
    node = run_get_node(VaspRelaxWorkChain, **inputs).node
    assert node.is_finished_ok, node.exit_message
    assert jobs_of(node)[0].inputs.parameters["isif"] == 6
    relaxed, start = node.outputs.relax.structure.get_ase(), crystal()
    assert np.allclose(relaxed.get_scaled_positions(), start.get_scaled_positions(), atol=1e-8)
    assert np.linalg.norm(node.outputs.misc["forces"], axis=1).max() > 0.1


def test_forces_that_do_not_get_smaller(vasp_code, potential_family, faults):
    """The threshold is loosened step by step; the one reached holds for the whole relaxation and can be read."""
    faults("always rough forces")
    base = {"force_thresholds": [0.01, 0.03, 0.05]}
    inputs = relax_inputs(vasp_code, potential_family, base=base, shape=False, volume=False, steps=5)
    node = run_get_node(VaspRelaxWorkChain, **inputs).node
    assert node.is_finished_ok, node.exit_message
    first, second = sorted(node.called, key=lambda run: run.pk)
    *failed, last = jobs_of(first)
    assert [job.exit_status for job in failed] == (1 + CONTINUATIONS) * [702]
    assert [job.inputs.parameters["ediffg"] for job in (*failed, last)] == [*((1 + CONTINUATIONS) * [-0.01]), -0.03]
    assert all(says(job, "found WAVECAR") for job in (*failed[1:], last))
    assert changes_of(first)["ediffg"] == (-0.01, -0.03)
    assert [job.inputs.parameters["ediffg"] for job in jobs_of(second)] == [-0.03]
    assert force_threshold_of(node) == 0.03
    assert 0.01 < np.linalg.norm(node.outputs.misc["forces"], axis=1).max() < 0.03
