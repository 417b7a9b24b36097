"""Parents have the coordination, the space group and the frame of their structure type."""

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.composition import parse_composition
from aiida_hardcoat.physics.prototypes import (
    CRYSTAL_CLASSES,
    FORMULA_UNITS,
    LATTICE_PARAMETERS,
    STRUCTURE_TYPES,
    check_structure_type,
    parent,
)

TIALN = parse_composition("Ti0.5Al0.5N")


def atoms_of(structure):
    positions = np.concatenate([structure.metal_sites, structure.anion_sites])
    symbols = ["Ti"] * len(structure.metal_sites) + ["N"] * len(structure.anion_sites)
    return Atoms(symbols, scaled_positions=positions, cell=structure.cell, pbc=True)


@pytest.mark.parametrize(("structure_type", "number"), [("B1", 225), ("B3", 216), ("B4", 186), ("Bk", 194)])
def test_space_group(structure_type, number):
    structure = AseAtomsAdaptor.get_structure(atoms_of(parent(structure_type, TIALN)))
    assert SpacegroupAnalyzer(structure).get_space_group_number() == number


@pytest.mark.parametrize(("structure_type", "neighbours"), [("B1", 6), ("B3", 4), ("B4", 4), ("Bk", 5)])
def test_coordination(structure_type, neighbours):
    atoms = atoms_of(parent(structure_type, TIALN))
    nearest = neighbor_list("d", atoms, 10.0).min()
    first, second = neighbor_list("ij", atoms, 1.2 * nearest)
    assert np.all(np.bincount(first) == neighbours)
    assert np.all(atoms.numbers[first] != atoms.numbers[second])


@pytest.mark.parametrize("structure_type", STRUCTURE_TYPES)
def test_frame_and_contents(structure_type):
    structure = parent(structure_type, TIALN)
    assert structure.crystal_class == CRYSTAL_CLASSES[structure_type]
    assert len(structure.metal_sites) == len(structure.anion_sites) == FORMULA_UNITS[structure_type]
    assert np.linalg.det(structure.cell) > 0
    if structure.crystal_class == "hexagonal":
        np.testing.assert_allclose(structure.cell[2], [0, 0, structure.a * structure.c_over_a])
        np.testing.assert_allclose(structure.cell[0], [structure.a, 0, 0])
        assert structure.cell[1] @ structure.cell[0] == pytest.approx(-(structure.a**2) / 2)
    else:
        conventional = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) @ structure.cell
        np.testing.assert_allclose(conventional, structure.a * np.eye(3), atol=1e-12)


@pytest.mark.parametrize("structure_type", STRUCTURE_TYPES)
def test_lattice_parameters_mix_linearly(structure_type):
    ends = [parent(structure_type, parse_composition(text)) for text in ("AlN", "TiN")]
    mixed = parent(structure_type, parse_composition("Ti0.75Al0.25N"))
    np.testing.assert_allclose(mixed.cell, 0.25 * ends[0].cell + 0.75 * ends[1].cell)
    assert "linearly" in mixed.source
    assert "AlN" in mixed.source
    assert "TiN" in mixed.source


def test_estimates_are_marked_and_agree_with_the_tables():
    assert "estimated" in parent("B1", parse_composition("MoN")).source
    assert "estimated" not in parent("B1", TIALN).source
    # Volume ratios of AlN carry over to other nitrides: tabulated zincblende against its own estimate.
    for compound, (a, _, _) in LATTICE_PARAMETERS["B3"].items():
        rocksalt = LATTICE_PARAMETERS["B1"][compound][0]
        estimate = LATTICE_PARAMETERS["B3"]["AlN"][0] * rocksalt / LATTICE_PARAMETERS["B1"]["AlN"][0]
        assert estimate == pytest.approx(a, rel=0.02)


def test_estimated_rocksalt_is_near_the_measured_one():
    # UN 4.889 and ThN 5.16 Angstrom: Wyckoff, Crystal Structures vol. 1 (1963)
    assert parent("B1", parse_composition("UN")).a == pytest.approx(4.889, rel=0.06)
    assert parent("B1", parse_composition("ThN")).a == pytest.approx(5.16, rel=0.06)


def test_internal_parameter():
    assert parent("B4", TIALN).u == 0.38
    assert parent("Bk", TIALN).u == 0.5
    wurtzite = parent("B4", TIALN, u=0.4)
    np.testing.assert_allclose(wurtzite.anion_sites[0] - wurtzite.metal_sites[0], [0, 0, 0.4])
    with pytest.raises(InputError, match="has none"):
        parent("B1", TIALN, u=0.4)
    with pytest.raises(InputError, match="by symmetry"):
        parent("Bk", TIALN, u=0.4)
    with pytest.raises(InputError, match="outside"):
        parent("B4", TIALN, u=1.4)


@pytest.mark.parametrize(
    ("text", "nearest"), [("b1", "B1"), ("wurzite", "B4"), ("rock salt", "B1"), ("zinc-blende", "B3")]
)
def test_unknown_structure_type_names_the_nearest(text, nearest):
    with pytest.raises(InputError, match=f"did you mean {nearest}"):
        check_structure_type(text)
