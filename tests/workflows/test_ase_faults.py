"""What becomes of jobs that fail: from the calculator's fault to the exit code of the workchain."""

import json

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from conftest import QUICK_RELAXATION, rattled_alloy

from aiida_hardcoat.calculations.ase import OUTPUT, AseCalculation
from aiida_hardcoat.calculations.records import make_trajectory
from aiida_hardcoat.engines import ase as engine
from aiida_hardcoat.engines import ase_driver as driver
from aiida_hardcoat.physics.strain import strain_set
from aiida_hardcoat.workflows.ase import FRUITLESS_JOBS, AseWorkChain
from aiida_hardcoat.workflows.launch import run

pytestmark = pytest.mark.jobs

STRAINS = strain_set((0.01,), (0.02,)).tolist()
EXIT = AseCalculation.exit_codes
FAULTY = "calculators:FaultyPotential"
CUT = (
    "ERROR_NO_RETRIEVED_FOLDER",
    "ERROR_OUTPUT_CUT",
    "ERROR_OUTPUT_MISSING",
    "ERROR_OUTPUT_INVALID",
    "ERROR_SCHEDULER_OUT_OF_WALLTIME",
    "ERROR_SCHEDULER_NODE_FAILURE",
)
HOPELESS = (
    "ERROR_OUTPUT_NOT_FINITE",
    "ERROR_OUT_OF_MEMORY",
    "ERROR_PACKAGE_MISSING",
    "ERROR_CALCULATOR_FAILED",
    "ERROR_DISK_FULL",
    "ERROR_SCHEDULER_OUT_OF_MEMORY",
)


@pytest.fixture(scope="module")
def builder(code):
    def build(model=FAULTY, task="relax_ions", strains=STRAINS, options=None, **settings):
        return engine.get_builder(
            code=code,
            structure=orm.StructureData(ase=rattled_alloy()),
            strains=None if strains is None else orm.List(strains),
            task=task,
            model=model,
            settings={**QUICK_RELAXATION, **settings, **({} if options is None else {"model_options": options})},
            options={},
        )

    return build


def jobs(node):
    return sorted(node.called, key=lambda job: job.pk)


def goes_on(result):
    return result is None or result.status == 0


def evaluations_spent(job):
    """What the job itself computed, by its own count."""
    lines = job.outputs.retrieved.base.repository.get_object_content(OUTPUT).splitlines()
    return int(next(line for line in reversed(lines) if "evaluations in" in line).split()[0])


# --- end to end -------------------------------------------------------------------------------------------------


def test_killed_job_goes_on_from_the_structures_that_it_finished(builder, tmp_path):
    node = run(builder(options={"fault": "kill", "after": 45, "folder": str(tmp_path)}), lambda line: None)
    assert node.is_finished_ok, node.exit_message
    first, second = jobs(node)
    assert first.exit_status == EXIT.ERROR_OUTPUT_CUT.status

    kept = first.outputs.trajectory
    finished = list(kept.get_stepids())
    assert 0 < len(finished) < len(STRAINS)
    assert first.outputs.summary["finished"] == len(finished)
    assert second.inputs.previous.uuid == kept.uuid
    complete = node.outputs.trajectory
    assert list(complete.get_stepids()) == list(range(len(STRAINS)))
    for name in ("energies", "stresses", "forces", "evaluations"):
        np.testing.assert_array_equal(complete.get_array(name)[finished], kept.get_array(name))
    rest = [index for index in range(len(STRAINS)) if index not in finished]
    assert evaluations_spent(second) == complete.get_array("evaluations")[rest].sum()


@pytest.mark.parametrize(("task", "strains"), [("relax", None), ("relax_ions", STRAINS[:2])])
def test_a_run_over_several_walltimes_equals_an_undisturbed_one(builder, tmp_path, task, strains):
    """Each job ends by itself, with its state, and the next goes on from it."""
    options = {"folder": str(tmp_path), "seconds": 0.7}
    slow = builder("calculators:LoggedPotential", task, strains, options)
    slow.ase.metadata.options["max_wallclock_seconds"] = 6  # a handful of evaluations
    node = run(slow, lambda line: None)
    assert node.is_finished_ok, node.exit_message
    cut, *_, last = jobs(node)
    assert cut.exit_status == EXIT.ERROR_SCHEDULER_OUT_OF_WALLTIME.status
    assert cut.outputs.checkpoint.uuid == jobs(node)[1].inputs.checkpoint.uuid
    sent = jobs(node)[1].base.repository.get_object_content("previous.jsonl").splitlines()
    assert json.loads(sent[0]) == {"level": cut.outputs.summary["level_of_theory"]}
    assert last.is_finished_ok
    assert node.outputs.summary["evaluations"] == len((tmp_path / "evaluations.log").read_text().split())

    undisturbed = run(builder("calculators:PairPotential", task, strains), lambda line: None)
    assert len(jobs(undisturbed)) == 1
    for name in ("energies", "stresses", "forces", "positions", "cells"):
        np.testing.assert_array_equal(
            node.outputs.trajectory.get_array(name), undisturbed.outputs.trajectory.get_array(name)
        )
    extra = node.outputs.summary["evaluations"] - undisturbed.outputs.summary["evaluations"]
    assert 0 < extra < len(jobs(node))


def test_a_new_run_goes_on_where_a_killed_one_was(builder, tmp_path):
    """Also within the only structure of a relaxation."""
    options = {"fault": "kill", "after": 6}
    first = builder(task="relax", strains=None, options=options)
    first.max_iterations = orm.Int(1)
    node = run(first, lambda line: None)
    assert not node.is_finished_ok
    (job,) = jobs(node)
    second = builder(task="relax", strains=None, options=options)
    second.max_iterations = orm.Int(1)
    (again,) = jobs(run(second, lambda line: None))
    assert again.inputs.checkpoint.uuid == job.outputs.checkpoint.uuid


def test_a_run_after_a_full_disk_goes_on_from_what_was_finished(builder, tmp_path):
    options = {"fault": "disk", "after": 30, "folder": str(tmp_path)}
    node = run(builder(options=options), lambda line: None)
    assert node.exit_status == EXIT.ERROR_DISK_FULL.status
    (job,) = jobs(node)
    again = run(builder(options=options), lambda line: None)
    assert again.is_finished_ok, again.exit_message
    assert jobs(again)[0].inputs.previous.uuid == job.outputs.trajectory.uuid


def test_job_without_enough_steps_gets_more(builder):
    steps = {"force_thresholds": [1e-4], "max_steps": 8}
    node = run(builder("calculators:PairPotential", strains=STRAINS[:2], **steps), lambda line: None)
    assert node.is_finished_ok, node.exit_message
    first, second = jobs(node)
    assert first.exit_status == EXIT.ERROR_NOT_CONVERGED.status
    assert second.inputs.settings["max_steps"] == 16
    assert second.inputs.previous.uuid == first.outputs.trajectory.uuid
    assert node.outputs.trajectory.get_array("largest_forces").max() <= 1e-4


@pytest.mark.parametrize(
    ("model", "options", "label"),
    [
        (FAULTY, {"fault": "torch memory", "after": 45}, "ERROR_OUT_OF_MEMORY"),
        ("no_such_package:Potential", {}, "ERROR_PACKAGE_MISSING"),
    ],
)
def test_hopeless_job_ends_with_its_own_exit_code_at_once(builder, model, options, label):
    node = run(builder(model, options=options), lambda line: None)
    assert node.exit_status == getattr(EXIT, label).status
    assert node.exit_message.startswith(getattr(EXIT, label).message.removesuffix("{reason}"))
    assert "{" not in node.exit_message
    (job,) = jobs(node)
    assert ("trajectory" in job.outputs) == (model == FAULTY)
    # What was finished is handed over all the same.
    assert ("trajectory" in node.outputs) == (model == FAULTY)


# --- each fault as the driver tells it --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("memory", "out_of_memory"),
        ("torch memory", "out_of_memory"),
        ("gpu memory", "out_of_memory"),
        ("fork memory", "out_of_memory"),
        ("failure", "calculator_failed"),
        ("disk", "disk_full"),
    ],
)
def test_driver_says_on_one_line_why_it_stops(tmp_path, monkeypatch, capsys, fault, kind):
    atoms = rattled_alloy()
    settings = {**QUICK_RELAXATION, "task": "static", "model": FAULTY, "optimiser": "BFGS"}
    job = {
        "symbols": list(atoms.symbols),
        "cell": atoms.cell.array.tolist(),
        "positions": atoms.positions.tolist(),
        "strains": STRAINS,
        "settings": {**settings, "model_options": {"fault": fault, "after": 3}},
    }
    (tmp_path / "input.json").write_text(json.dumps(job))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception):  # noqa: B017, PT011 (each fault is an exception of its own)
        driver.main()
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(f"{driver.FAILURE_MARK} {kind}: ")
    lines = (tmp_path / "records.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 3 + 1
    end = json.loads(lines[-1])
    assert (end["end"], end["kind"]) == ("failed", kind)
    assert last == f"{driver.FAILURE_MARK} {kind}: {end['message']}"


# --- handlers on fabricated jobs --------------------------------------------------------------------------------


@pytest.fixture
def inspect(builder, computer, tmp_path):
    """Let the workchain inspect fabricated jobs one after another; its report of the last, and its context."""

    def inspect_jobs(*labels, finished=1, steps=-1, memory=None, process=None, **settings):
        if process is None:
            build = builder("calculators:PairPotential", **settings)
            if memory is not None:
                build.ase.metadata.options["max_memory_kb"] = memory
            inputs = build._inputs(prune=True)
            process = instantiate_process(get_manager().get_runner(), AseWorkChain, **inputs)
            process.setup()
        result = None
        for label in labels:
            process.ctx.iteration += 1
            process.ctx.children = [*process.ctx.get("children", []), fabricate(label, finished, steps)]
            result = process.inspect_process()
        return result, process

    def fabricate(label, finished, steps):
        exit_code = getattr(EXIT, label)
        job = orm.CalcJobNode(computer=computer, process_type="aiida.calculations:hardcoat.ase")
        job.set_option("resources", {"num_machines": 1, "num_mpiprocs_per_machine": 1})
        job.set_process_state("finished")
        job.set_exit_status(exit_code.status)
        job.set_exit_message(exit_code.message)
        job.store()
        if finished:
            atoms = rattled_alloy()
            record = {
                "index": 0, "status": "ok", "energy": -1.0, "forces": np.zeros((8, 3)), "stress": np.zeros((3, 3)),
                "cell": atoms.cell.array, "positions": atoms.positions, "largest_force": 0.0, "force_threshold": 0.01,
                "evaluations": 1, "seconds": 1.0,
            }  # fmt: skip
            trajectory = make_trajectory(list(atoms.symbols), [record])
            trajectory.base.links.add_incoming(job, LinkType.CREATE, "trajectory")
            trajectory.store()
        done = {"statuses": {str(index): "ok" for index in range(finished)}}
        if steps >= 0:
            done["in_progress"] = {"index": finished, "steps": steps, "evaluations": steps + 1}
        summary = orm.Dict(done)
        summary.base.links.add_incoming(job, LinkType.CREATE, "summary")
        summary.store()
        return job

    return inspect_jobs


@pytest.mark.parametrize("label", CUT)
def test_cut_job_is_run_again_with_what_it_finished(inspect, label):
    result, process = inspect(label)
    assert goes_on(result)
    assert process.should_run_process()
    assert process.ctx.inputs.previous.uuid == process.ctx.children[-1].outputs.trajectory.uuid


def test_cut_job_that_finished_nothing_is_run_again_from_the_start(inspect):
    result, process = inspect("ERROR_OUTPUT_CUT", finished=0)
    assert goes_on(result)
    assert "previous" not in process.ctx.inputs


def test_job_that_is_always_cut_is_not_run_for_ever(inspect):
    result, process = inspect(*["ERROR_OUTPUT_CUT"] * (FRUITLESS_JOBS - 1), finished=0)
    assert goes_on(result)
    result, _ = inspect("ERROR_SCHEDULER_OUT_OF_WALLTIME", finished=0, process=process)
    assert result.status == process.exit_codes.ERROR_NO_PROGRESS.status
    assert "120" in result.message


def test_jobs_that_get_on_may_be_many(inspect):
    """Each finishes a structure, or takes steps in the next: only those in a row that bring nothing are counted."""
    process = None
    for finished, steps in [(0, 3), (0, 9), (1, -1), (1, 0), (1, 4), (2, 0), (2, 1), (3, -1)]:
        result, process = inspect("ERROR_OUTPUT_CUT", finished=finished, steps=steps, process=process)
        assert goes_on(result)
    for _ in range(FRUITLESS_JOBS - 1):
        result, _ = inspect("ERROR_OUTPUT_CUT", finished=3, steps=-1, process=process)
        assert goes_on(result)
    result, _ = inspect("ERROR_OUTPUT_CUT", finished=3, steps=-1, process=process)
    assert result.status == process.exit_codes.ERROR_NO_PROGRESS.status


def test_unconverged_job_gets_steps_then_another_optimiser_then_ends(inspect):
    result, process = inspect("ERROR_NOT_CONVERGED", max_steps=50)
    assert goes_on(result)
    assert (process.ctx.inputs.settings["max_steps"], process.ctx.inputs.settings["optimiser"]) == (100, "BFGS")
    result, _ = inspect("ERROR_NOT_CONVERGED", process=process)
    assert goes_on(result)
    assert (process.ctx.inputs.settings["max_steps"], process.ctx.inputs.settings["optimiser"]) == (200, "FIRE")
    result, _ = inspect("ERROR_NOT_CONVERGED", process=process)
    assert result.status == EXIT.ERROR_NOT_CONVERGED.status


def test_exploded_job_gets_small_steps_once(inspect):
    result, process = inspect("ERROR_GEOMETRY_EXPLODED")
    assert goes_on(result)
    assert process.ctx.inputs.settings["optimiser"] == "FIRE"
    result, _ = inspect("ERROR_GEOMETRY_EXPLODED", process=process)
    assert result.status == EXIT.ERROR_GEOMETRY_EXPLODED.status


@pytest.mark.parametrize("label", ["ERROR_OUT_OF_MEMORY", "ERROR_SCHEDULER_OUT_OF_MEMORY"])
def test_job_that_asked_a_queue_for_too_little_memory_gets_more_but_not_for_ever(inspect, label):
    process = None
    for memory in (2000, 4000):
        result, process = inspect(label, memory=1000, process=process)
        assert goes_on(result)
        assert process.ctx.inputs.metadata.options["max_memory_kb"] == memory
        assert process.ctx.inputs.previous.uuid == process.ctx.children[-1].outputs.trajectory.uuid
    result, _ = inspect(label, process=process)
    assert result.status == getattr(EXIT, label).status


@pytest.mark.parametrize("label", HOPELESS)
def test_hopeless_job_keeps_its_exit_code_and_message(inspect, label):
    result, _ = inspect(label)
    assert result.status == getattr(EXIT, label).status
    assert result.message == getattr(EXIT, label).message


def test_every_exit_code_of_the_engine_is_dealt_with():
    own = {label for label, code in EXIT.items() if code.status >= 302}
    assert own == {*CUT, *HOPELESS, "ERROR_NOT_CONVERGED", "ERROR_GEOMETRY_EXPLODED"} & own
