"""Processes whose worker was killed between what they note in the database and their checkpoint, and which go on."""

import asyncio

import pytest
from aiida import orm
from aiida.common.datastructures import CalcJobState
from aiida.engine import BaseRestartWorkChain
from aiida.engine.persistence import get_object_loader
from aiida.engine.processes.calcjobs.tasks import task_upload_job
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from conftest import PAIR, QUICK_RELAXATION, rattled_alloy
from plumpy.persistence import Bundle, LoadSaveContext

from aiida_hardcoat.calculations.ase import AseCalculation
from aiida_hardcoat.calculations.resumable import FOLDER, ResumableCalcJob
from aiida_hardcoat.engines import ase as engine
from aiida_hardcoat.workflows.ase import AseWorkChain
from aiida_hardcoat.workflows.launch import run

pytestmark = pytest.mark.jobs


def checkpoint_of(process):
    return Bundle(process, LoadSaveContext(loader=get_object_loader()))


def resumed_from(checkpoint):
    runner = get_manager().get_runner()
    return checkpoint.unbundle(LoadSaveContext(loader=get_object_loader(), loop=runner.loop, runner=runner))


@pytest.fixture
def builder(code):
    return engine.get_builder(
        code=code,
        structure=orm.StructureData(ase=rattled_alloy()),
        strains=None,
        task="relax",
        model=PAIR.partition(":")[2],
        settings=QUICK_RELAXATION,
        options={},
    )


@pytest.fixture
def killed_at_the_end(builder):
    """The checkpoint of a workchain that was killed when its outputs were linked, and its job."""
    (job,) = run(builder, lambda line: None).called
    process = instantiate_process(get_manager().get_runner(), AseWorkChain, **builder._inputs(prune=True))
    process.setup()
    process.ctx.update(children=[job], iteration=1, is_finished=True)
    checkpoint = checkpoint_of(process)
    process.results()
    process.update_outputs()
    assert not process.spec().outputs.validate(process.outputs)
    return checkpoint, job


def test_a_workchain_has_the_outputs_that_were_linked_before(killed_at_the_end):
    checkpoint, job = killed_at_the_end
    resumed = resumed_from(checkpoint)
    resumed.results()
    assert not resumed.spec().outputs.validate(resumed.outputs)
    assert {name: node.uuid for name, node in resumed.outputs.items()} == {
        link.link_label: link.node.uuid for link in job.base.links.get_outgoing().all()
    }
    resumed.update_outputs()  # links each once


def test_aiida_forgets_linked_outputs(killed_at_the_end):
    """When this fails, ResumableRestartWorkChain can be dropped."""
    checkpoint, job = killed_at_the_end
    resumed = resumed_from(checkpoint)
    BaseRestartWorkChain._attach_outputs(resumed, job)
    assert "required" in str(resumed.spec().outputs.validate(resumed.outputs))


@pytest.fixture
def killed_after_the_upload(builder):
    """The checkpoint of a job that was killed when its files were uploaded, and the job as it was then."""
    inputs = builder.ase._inputs(prune=True)
    process = instantiate_process(get_manager().get_runner(), AseCalculation, **inputs)
    process.node.set_state(CalcJobState.UPLOADING)
    checkpoint = checkpoint_of(process)
    process.node.set_remote_workdir("/work/of/the/job")
    process.node.set_state(CalcJobState.UNSTASHING)
    return checkpoint, process


def test_a_job_hands_over_its_folder(killed_after_the_upload):
    checkpoint, _ = killed_after_the_upload
    resumed = resumed_from(checkpoint)
    resumed.update_outputs()
    assert resumed.node.outputs[FOLDER].get_remote_path() == "/work/of/the/job"
    assert resumed.node.outputs[FOLDER].computer.uuid == resumed.node.computer.uuid


def test_a_job_hands_over_the_folder_that_was_linked(killed_after_the_upload):
    checkpoint, process = killed_after_the_upload
    process.out(FOLDER, orm.RemoteData(computer=process.node.computer, remote_path="/work/of/the/job"))
    process.update_outputs()
    resumed = resumed_from(checkpoint)
    assert resumed.outputs[FOLDER].uuid == process.node.outputs[FOLDER].uuid
    resumed.update_outputs()  # links it once


def test_aiida_forgets_the_folder(killed_after_the_upload, monkeypatch):
    """When this fails, ResumableCalcJob can be dropped."""
    monkeypatch.delattr(ResumableCalcJob, "load_instance_state")
    checkpoint, _ = killed_after_the_upload
    resumed = resumed_from(checkpoint)
    asyncio.run(asyncio.wait_for(task_upload_job(resumed, None, None), 10))
    assert FOLDER not in resumed.outputs
