"""Numbers that VASP itself printed, through the way that the results of a run take."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from aiida_vasp.parsers.content_parsers.outcar import OutcarParser
from aiida_vasp.parsers.content_parsers.vasprun import VasprunParser
from ase.io import read

from aiida_hardcoat.calculations.vasp_results import record
from aiida_hardcoat.physics.elasticity import fit_tensor
from aiida_hardcoat.physics.properties import elastic_properties
from aiida_hardcoat.physics.strain import vasp_moduli
from vasp.stand_in_vasp import calculation_xml, head_xml, outcar, tail_xml

pytestmark = pytest.mark.vasp

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors"
STRESSES = VECTORS / "ti_hcp_vasp_stress.json"
MODULI = VECTORS / "aiida-vasp" / "OUTCAR_elastic_block.txt"


def matrix(in_kilobar):
    """The 3x3 matrix that vasprun.xml holds of the line "in kB" of OUTCAR (XX YY ZZ XY YZ ZX)."""
    xx, yy, zz, xy, yz, zx = in_kilobar
    return np.array([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]])


@pytest.mark.skipif(not STRESSES.is_file(), reason="the reference vectors are not beside the checkout")
def test_stresses_of_titanium_become_its_elastic_constants():
    """Hexagonal titanium, PBE: C11 175, C12 85, C13 77, C33 190, C44 42, bulk modulus 113, shear modulus 46 GPa."""
    data = json.loads(STRESSES.read_text())
    atoms = read(io.StringIO(data["poscar_relaxed"]), format="vasp")
    place = {"cell": atoms.cell.array, "positions": atoms.get_scaled_positions(), "forces": np.zeros((2, 3))}
    stresses = []
    for run in data["runs"]:
        ionic = [
            {**place, "stress": matrix(run[name]), "energy": run["energy"]} for name in ("in_kB_first", "in_kB_last")
        ]
        xml = head_xml(atoms, {"nsw": "40"}, [1, 1, 1]) + "".join(map(calculation_xml, ionic)) + tail_xml(ionic[-1])
        parser = VasprunParser(handler=io.BytesIO(xml.encode()), settings={"energy_type": ["energy_free"]})
        misc = {name: getattr(parser, name) for name in ("stress", "forces", "total_energies")}
        entry = record(misc, atoms.cell, atoms.positions, task="relax_ions", thresholds=[0.01], earlier=[])
        assert entry["energy"] == pytest.approx(run["energy"])
        stresses.append(entry["stress"])
    strains = [run["strain_voigt"] for run in data["runs"]]
    properties = elastic_properties(
        fit_tensor(strains, stresses).tensor, "hexagonal", density=4500, atoms_per_volume=0.06
    )
    projected = np.array(properties["projected"])
    np.testing.assert_allclose(projected, data["expected_httk"]["C_projected_int"], atol=0.51)
    assert properties["bulk_modulus"] == pytest.approx(113, abs=0.51)
    assert properties["shear_modulus"] == pytest.approx(46, abs=0.51)


@pytest.mark.skipif(not MODULI.is_file(), reason="the reference vectors are not beside the checkout")
def test_moduli_that_vasp_prints_are_read_in_its_own_order():
    # The block is of the middle of an OUTCAR: what stands around it is the stand-in's.
    parser = OutcarParser(handler=io.StringIO(outcar({}, 1, 5, False) + MODULI.read_text() + outcar({}, 1, 5, True)))
    tensor = vasp_moduli(np.array(parser.elastic_moduli["total"]))
    np.testing.assert_allclose(np.diag(tensor), [167.45786] * 3 + [77.58054] * 3, atol=1e-4)
    assert tensor[0, 1] == pytest.approx(70.4739, abs=1e-4)
