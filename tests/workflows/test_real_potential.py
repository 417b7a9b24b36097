"""The whole chain with a real potential in full-sized cells: minutes each, `make test-slow`."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_hardcoat.workflows.alloy import AlloyWorkChain
from aiida_hardcoat.workflows.launch import run

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _unhurried(computer):
    """Looking at the queue without a pause would take a core from the jobs."""
    computer.set_minimum_job_poll_interval(1)


def entry(code, composition, structure_type, engine, overrides=None):
    builder = AlloyWorkChain.get_builder_from_protocol(
        code, composition, structure_type, "balanced", overrides, engine=engine
    )
    node = run(builder, lambda line: None)
    assert node.is_finished_ok, node.exit_message
    return node.outputs.entry


def test_an_ordered_compound_is_the_same_in_every_cell(code):
    """TiN in 8, 54 and 96 atoms: the lattice of copies is no physics."""
    cells = [{"atoms": 8}, {"atoms": 54, "shape": "3x3x3"}, {"atoms": 96, "shape": "study"}]
    entries = [entry(code, "TiN", "B1", "ase:7net-0", {"sqs": cell}) for cell in cells]
    for other in entries[1:]:
        np.testing.assert_allclose(other.tensor_gpa, entries[0].tensor_gpa, atol=0.5)
        assert other.energy_per_formula == pytest.approx(entries[0].energy_per_formula, abs=1e-3)


def test_the_alloy_of_the_study(code):
    """Ti0.5Al0.5N: the bulk modulus, which the potential has right for the end members, within 5 % of the PBE value.

    268 GPa: Levämäki et al., npj Comput. Mater. 8, 17 (2022), Table 2.
    """
    alloy = entry(code, "Ti0.5Al0.5N", "B1", "ase:7net-l3i5")
    assert alloy.number_of_atoms == 96
    assert alloy.number_of_strains == 24
    assert alloy.bulk_modulus == pytest.approx(268, rel=0.05)
    assert alloy.projected_away < 0.02
    assert alloy.stable
