"""A workchain that is killed at its very end, and goes on from its last checkpoint."""

import pytest
from aiida import orm
from aiida.engine import BaseRestartWorkChain
from aiida.engine.persistence import get_object_loader
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from conftest import PAIR, QUICK_RELAXATION, rattled_alloy
from plumpy.persistence import Bundle, LoadSaveContext

from aiida_hardcoat.engines import ase as engine
from aiida_hardcoat.workflows.ase import AseWorkChain
from aiida_hardcoat.workflows.launch import run

pytestmark = pytest.mark.jobs


@pytest.fixture
def killed_and_resumed(code):
    """A process that was killed when its outputs were linked, before it could write that to its checkpoint."""
    builder = engine.get_builder(
        code=code,
        structure=orm.StructureData(ase=rattled_alloy()),
        strains=None,
        task="relax",
        model=PAIR.partition(":")[2],
        settings=QUICK_RELAXATION,
        options={},
    )
    (job,) = run(builder, lambda line: None).called
    context = LoadSaveContext(loader=get_object_loader())
    runner = get_manager().get_runner()
    process = instantiate_process(runner, AseWorkChain, **builder._inputs(prune=True))
    process.setup()
    process.ctx.update(children=[job], iteration=1, is_finished=True)
    checkpoint = Bundle(process, context)
    process.results()
    process.update_outputs()
    assert not process.spec().outputs.validate(process.outputs)
    resumed = checkpoint.unbundle(LoadSaveContext(loader=get_object_loader(), loop=runner.loop, runner=runner))
    assert resumed.node.uuid == process.node.uuid
    return resumed, job


def test_it_has_the_outputs_that_were_linked_before(killed_and_resumed):
    resumed, job = killed_and_resumed
    resumed.results()
    assert not resumed.spec().outputs.validate(resumed.outputs)
    assert {name: node.uuid for name, node in resumed.outputs.items()} == {
        link.link_label: link.node.uuid for link in job.base.links.get_outgoing().all()
    }
    resumed.update_outputs()  # links each once


def test_aiida_forgets_them(killed_and_resumed):
    """When this fails, ResumableRestartWorkChain can be dropped."""
    resumed, job = killed_and_resumed
    BaseRestartWorkChain._attach_outputs(resumed, job)
    assert "required" in str(resumed.spec().outputs.validate(resumed.outputs))
