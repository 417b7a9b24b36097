"""Strained cells over several jobs: the same results as from one, in the same places."""

import numpy as np
import pytest
from aiida import orm
from aiida.common.links import LinkType
from conftest import QUICK_STRAINS, rattled_alloy

from aiida_hardcoat.engines.ase import RESOURCES, complete_settings
from aiida_hardcoat.engines.ase_driver import amplitude_along
from aiida_hardcoat.physics.strain import strain_set
from aiida_hardcoat.workflows.ase import AseWorkChain
from aiida_hardcoat.workflows.ase_spread import AseSpreadWorkChain
from aiida_hardcoat.workflows.launch import run

pytestmark = pytest.mark.jobs

# In no order, so that places and parts differ.
STRAINS = np.random.default_rng(5).permutation(strain_set((0.01,), (0.02,))[[0, 1, 2, 3, 6, 7]]).tolist()


@pytest.fixture(scope="module")
def build(code):
    def make(process, model="calculators:PairPotential", options=None, **inputs):
        settings = {"stress_threshold": 1.0, **QUICK_STRAINS, "model_options": options or {}}
        builder = process.get_builder()
        builder.ase.code = code
        builder.ase.structure = orm.StructureData(ase=rattled_alloy())
        builder.ase.strains = orm.List(STRAINS)
        builder.ase.settings = orm.Dict(complete_settings("relax_ions", model, settings))
        builder.ase.metadata.options = {"resources": RESOURCES}
        for name, value in inputs.items():
            setattr(builder, name, value)
        return builder

    return make


def test_parts_together_are_the_whole(build):
    whole = run(build(AseWorkChain), lambda line: None)
    spread = run(build(AseSpreadWorkChain, parts=orm.Int(2), jobs_at_once=1), lambda line: None)
    assert spread.is_finished_ok, spread.exit_message
    one, other = whole.outputs.trajectory, spread.outputs.trajectory
    np.testing.assert_array_equal(other.get_stepids(), np.arange(len(STRAINS)))
    np.testing.assert_array_equal(other.get_array("strains"), STRAINS)
    np.testing.assert_allclose(other.get_array("cells"), one.get_array("cells"), atol=1e-12)
    np.testing.assert_allclose(other.get_array("stresses"), one.get_array("stresses"), atol=0.05)
    assert other.symbols == one.symbols

    summary = spread.outputs.summary
    assert summary["asked"] == summary["finished"] == len(STRAINS)
    assert summary["level_of_theory"] == whole.outputs.summary["level_of_theory"]
    parts = [part for part in spread.called if part.process_label == "AseWorkChain"]
    assert len(parts) == 2
    assert summary["evaluations"] == sum(part.outputs.summary["evaluations"] for part in parts)
    # One after the other where one job at a time may run.
    assert max(part.ctime for part in parts) > min(part.mtime for part in parts)
    # From the merged node a way leads back to every part.
    merge = spread.outputs.trajectory.creator
    inputs = merge.base.links.get_incoming(link_type=LinkType.INPUT_CALC).all_link_labels()
    assert {"trajectory_0", "summary_0", "trajectory_1", "summary_1", "strains"} <= set(inputs)


def test_a_part_that_fails_is_named_and_the_rest_is_kept(build, tmp_path):
    """The first part's calculator breaks after a while, once; the other part never sees the fault."""
    options = {"fault": "failure", "after": 4, "folder": str(tmp_path)}
    spread = run(build(AseSpreadWorkChain, "calculators:FaultyPotential", options, parts=orm.Int(2), jobs_at_once=1),
                 lambda line: None)  # fmt: skip
    assert spread.exit_status == AseSpreadWorkChain.exit_codes.ERROR_PARTS_FAILED.status
    assert "1 of 2 jobs" in spread.exit_message
    assert "[312]" in spread.exit_message
    labels = {"xx", "yy", "zz", "yz", "xz", "xy"}
    named = set(spread.exit_message.split("along ")[1].split(":")[0].split(", "))
    assert named
    assert named <= labels
    assert "{" not in spread.exit_message
    places = list(spread.outputs.trajectory.get_stepids())
    assert 0 < len(places) < len(STRAINS)
    assert spread.outputs.summary["finished"] == len(places)
    directions = {labels_of(STRAINS[place]) for place in range(len(STRAINS)) if place not in places}
    assert directions <= named


def labels_of(strain):
    direction = np.array(amplitude_along(strain)[0])
    return ("xx", "yy", "zz", "yz", "xz", "xy")[int(np.flatnonzero(direction)[0])]


def test_parts_of_different_levels_are_not_merged(aiida_profile):
    from aiida_hardcoat.calculations.ase_parts import merge_parts
    from aiida_hardcoat.errors import InputError

    summaries = {
        f"summary_{number}": orm.Dict(
            {"level_of_theory": {"engine": "ase", "sha256": digest}, "statuses": {}, "task": "static"}
        )
        for number, digest in enumerate("ab")
    }
    with pytest.raises(InputError, match="different levels"):
        merge_parts(orm.List(STRAINS), orm.Int(2), **summaries)
