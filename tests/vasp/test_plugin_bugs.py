"""The plugin's bugs that the engine works around.

Each test shows the plugin's own class failing beside ours. When it fails on the plugin's class, the plugin has been
mended and the repair can be dropped.
"""

from __future__ import annotations

import numpy as np
import pytest
from aiida.engine import run_get_node
from aiida_vasp.calcs.monitors import monitor_loop_time as plugin_monitor
from aiida_vasp.calcs.vasp import VaspCalculation
from aiida_vasp.data.potcar import PotcarData
from aiida_vasp.parsers.vasp import VaspParser
from aiida_vasp.workchains.v2.relax import VaspRelaxWorkChain as PluginRelaxWorkChain
from aiida_vasp.workchains.v2.vasp import VaspWorkChain

from aiida_hardcoat.calculations.vasp import functional_of, monitor_loop_time
from aiida_hardcoat.parsers.vasp import HardcoatVaspParser
from aiida_hardcoat.workflows.vasp_base import VaspBaseWorkChain
from aiida_hardcoat.workflows.vasp_relax import VaspRelaxWorkChain
from vasp.runs import CELL, IONS, STATIC, crystal, jobs_of, relax_inputs, run_base, says

pytestmark = pytest.mark.vasp


@pytest.mark.parametrize("process", [VaspWorkChain, VaspBaseWorkChain])
def test_restart_reads_wavefunctions(process, vasp_code, potential_family, faults):
    """The plugin asks whether a class is an instance of itself, and so never passes a folder to restart from."""
    faults("scf")
    node = run_base(vasp_code, potential_family, STATIC, process)
    assert node.is_finished_ok
    first, second = jobs_of(node)
    if process is VaspWorkChain:
        assert "restart_folder" not in second.inputs
        assert not says(second, "found WAVECAR")
    else:
        assert second.inputs.restart_folder.uuid == first.outputs.remote_folder.uuid
        assert says(second, "found WAVECAR")


def test_one_run_of_a_moving_cell_is_not_convergence(vasp_code, potential_family):
    """The plugin compares the volumes of the last two ionic steps unless told otherwise, and never energies."""
    atoms = crystal()
    status = {}
    for process in (PluginRelaxWorkChain, VaspRelaxWorkChain):
        inputs = relax_inputs(vasp_code, potential_family, atoms, convergence_max_iterations=1)
        node = run_get_node(process, **inputs).node
        status[process] = node.exit_status
        change = node.outputs.relax.structure.get_cell_volume() / atoms.get_volume() - 1
        assert abs(change) > inputs["relax_settings"]["convergence_volume"]
    assert status == {PluginRelaxWorkChain: 0, VaspRelaxWorkChain: 600}


@pytest.mark.parametrize("parser", [VaspParser, HardcoatVaspParser])
def test_truncated_output_makes_no_broken_structure(parser, parsed):
    """The plugin makes a structure of whatever numbers it finds in a file that is cut in the middle of a step."""
    run = parsed("mixed cell", CELL, parser)
    start, found = crystal(), run.outputs["structure"].get_ase()
    sound = len(found) == len(start) and np.allclose(found.cell, start.cell)
    assert (sound and np.allclose(found.positions, start.positions)) == (parser is HardcoatVaspParser)


@pytest.mark.parametrize("process", [VaspWorkChain, VaspBaseWorkChain])
def test_outputs_of_a_failed_run_can_be_kept(process, vasp_code, potential_family, faults):
    """The plugin's handler for this calls methods that do not exist."""
    faults("always scf")
    inputs = {"handler_overrides": {"handler_always_attach_outputs": {"enabled": True}}, "max_iterations": 1}
    if process is VaspWorkChain:
        with pytest.raises(AttributeError):
            run_base(vasp_code, potential_family, STATIC, process, **inputs)
    else:
        node = run_base(vasp_code, potential_family, STATIC, process, **inputs)
        assert node.exit_status == 701
        assert "misc" in node.outputs


def test_missing_contcar(parsed):
    """The plugin's parser raises an exception where CONTCAR is missing, needed or not."""
    with pytest.raises(RuntimeError, match="CONTCAR"):
        parsed("no contcar", IONS, VaspParser)
    run = parsed("no contcar", IONS)
    assert run.exit_code is None
    assert "structure" in run.outputs


def test_functional_of_a_potential(potential_family):
    """The plugin stores the attribute under a misspelt name."""
    potential = PotcarData.find_one(symbol="Ti_sv")
    with pytest.raises(AttributeError):
        _ = potential.functional
    assert functional_of(potential) == "PE"


class Remote:
    """A transport to a folder in which a job with slow electronic steps runs."""

    def exec_command_wait(self, command, **kwargs):
        slow = "      LOOP:  cpu time  900.0: real time  900.0\n"
        return (0, slow, "") if "/OUTCAR" in command else (2, "", "")


class Job:
    process_class = VaspCalculation

    def __init__(self):
        self.inputs = {"parameters": {}}

    def get_remote_workdir(self):
        return "/scratch/job"

    def get_option(self, name):
        return 3600


def test_monitor_of_slow_runs():
    """The plugin's monitor looks for a file `OURCAR` and so never stops a run."""
    assert plugin_monitor(Job(), Remote()) is None
    assert "900.00 seconds" in monitor_loop_time(Job(), Remote())


def test_calculation_that_did_not_execute(parsed):
    """The plugin declares an exit code for this, and never gives it."""
    assert parsed("nothing", STATIC, VaspParser).exit_code.status != 333
    assert parsed("nothing", STATIC).exit_code.status == 333
