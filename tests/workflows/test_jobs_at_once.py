"""How many structures an engine that takes one at a time computes side by side."""

import pytest
from aiida import orm
from aiida.engine import calcfunction
from conftest import rattled_alloy

from aiida_hardcoat.calculations.records import make_trajectory, records_of
from aiida_hardcoat.engines import ase
from aiida_hardcoat.workflows import dft
from aiida_hardcoat.workflows.launch import run

pytestmark = pytest.mark.jobs

STRAINS = [[0.01, 0, 0, 0, 0, 0], [-0.01, 0, 0, 0, 0, 0], [0, 0, 0, 0.02, 0, 0]]


@calcfunction
def gather(**trajectories):
    records = [
        {**records_of(trajectories[name])[0], "index": int(name.rpartition("_")[2])} for name in sorted(trajectories)
    ]
    return {
        "trajectory": make_trajectory(trajectories[next(iter(trajectories))].symbols, records),
        "summary": orm.Dict(),
    }


class OneAtATime(dft.DftWorkChain):
    """As for a DFT code, with the pair potential in its place."""

    def structure_builder(self, structure):
        return ase.get_builder(
            code=self.inputs.code,
            structure=structure,
            strains=None,
            task="static",
            model="calculators:PairPotential",
            settings={"force_thresholds": [0.1], "stress_threshold": 1.0, "max_steps": 1},
            options={},
        )

    def results_of(self, process):
        return {"trajectory": process.outputs.trajectory}

    def gather(self, structure, settings, strains, **results):
        return gather(**results)


@pytest.mark.parametrize(("asked", "side_by_side"), [(0, 3), (1, 1), (2, 2), (7, 3)])
def test_no_more_than_asked_run_side_by_side(code, monkeypatch, asked, side_by_side):
    monkeypatch.setattr(dft, "jobs_at_once", lambda *_: 3)
    builder = OneAtATime.get_builder()
    builder.code = code
    builder.structure = orm.StructureData(ase=rattled_alloy())
    builder.strains = orm.List(STRAINS)
    builder.settings = orm.Dict({"task": "static"})
    builder.jobs_at_once = asked
    node = run(builder, lambda line: None)
    assert node.is_finished_ok, node.exit_message
    assert list(node.outputs.trajectory.get_stepids()) == [0, 1, 2]
    spans = [(process.ctime, process.mtime) for process in node.called if process.process_label == "AseWorkChain"]
    assert len(spans) == 3
    assert max(sum(start <= other <= end for start, end in spans) for other, _ in spans) == side_by_side
