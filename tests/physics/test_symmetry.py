"""Strain sets reduced by the symmetry of a crystal, against the full sets."""

import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.composition import parse_composition
from aiida_hardcoat.physics.elasticity import fit_tensor, require_strains
from aiida_hardcoat.physics.moduli import moduli, moduli_errors
from aiida_hardcoat.physics.projection import point_group, project, rotate_tensor
from aiida_hardcoat.physics.prototypes import parent
from aiida_hardcoat.physics.quasirandom import find_structure
from aiida_hardcoat.physics.strain import strain_set, strain_to_matrix, stress_to_matrix, stress_to_voigt
from aiida_hardcoat.physics.symmetry import (
    crystal_symmetry,
    expand_stresses,
    expansion_matrix,
    reduce_strains,
)

STRAINS = strain_set()
HEXAGONAL = [90, 90, 120]

# A crystal of each class whose rotations are those of the class in its standard frame, with its space group.
CRYSTALS = {
    "cubic": crystal("TiN", [(0, 0, 0), (0.5, 0.5, 0.5)], spacegroup=225, cellpar=[4.24] * 3 + [90] * 3),
    "hexagonal": crystal(
        "AlN", [(1 / 3, 2 / 3, 0), (1 / 3, 2 / 3, 0.38)], spacegroup=186, cellpar=[3.11, 3.11, 4.98, *HEXAGONAL]
    ),
    "trigonal": crystal(
        "AlO", [(0, 0, 0.352), (0.306, 0, 0.25)], spacegroup=167, cellpar=[4.76, 4.76, 12.99, *HEXAGONAL]
    ),
    "trigonal_y": crystal("SiO", [(0.1, 0.3, 0.2), (0.4, 0.25, 0.1)], spacegroup=149, cellpar=[5, 5, 5.4, *HEXAGONAL]),
    "trigonal_low": crystal(
        "TiO", [(0, 0, 0.15), (0.31, 0.05, 0.23)], spacegroup=148, cellpar=[5.0, 5.0, 13.8, *HEXAGONAL]
    ),
    "tetragonal": crystal("TiO", [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.6, 4.6, 2.96, 90, 90, 90]),
    "tetragonal_low": crystal(
        "WO", [(0, 0.25, 0.125), (0.23, 0.1, 0.05)], spacegroup=88, cellpar=[5.2, 5.2, 11.4, 90, 90, 90]
    ),
    "orthorhombic": crystal(
        "MgO", [(0.1, 0.2, 0.3), (0.4, 0.15, 0.7)], spacegroup=47, cellpar=[4.1, 5.2, 3.3, 90, 90, 90]
    ),
    "monoclinic": crystal(
        "ZrO", [(0.28, 0.04, 0.21), (0.07, 0.33, 0.34)], spacegroup=14, cellpar=[5.15, 5.21, 5.32, 90, 99.2, 90]
    ),
    "triclinic": Atoms(
        "VSO",
        scaled_positions=[(0, 0, 0), (0.3, 0.4, 0.2), (0.7, 0.1, 0.6)],
        cell=[[3.2, 0, 0], [0.6, 4.1, 0], [0.9, 0.4, 5.3]],
        pbc=True,
    ),
}
# Whole degrees: an axis off by less than the tolerance of the reduction would count as exact.
angles = st.tuples(*[st.integers(-180, 180)] * 3)
seeds = st.integers(0, 2**31)


def symmetry_of(atoms, tolerance=1e-3):
    return crystal_symmetry(atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers, tolerance)


def reduced_for(atoms, strains=STRAINS):
    return reduce_strains(strains, symmetry_of(atoms).rotations)


def turned(atoms, rotation):
    return Atoms(atoms.numbers, positions=atoms.positions @ rotation.T, cell=atoms.cell.array @ rotation.T, pbc=True)


def prototype(structure_type, formula="AlN"):
    ideal = parent(structure_type, parse_composition(formula))
    sites = np.vstack([ideal.metal_sites, ideal.anion_sites])
    metal = formula.removesuffix("N")
    symbols = [metal] * len(ideal.metal_sites) + ["N"] * len(ideal.anion_sites)
    return Atoms(symbols, cell=ideal.cell, scaled_positions=sites, pbc=True)


class Material:
    """Stresses of a made-up crystal: Hooke's law and terms of second and third order, all of its own symmetry."""

    def __init__(self, crystal_class, rotation, seed):
        random = np.random.default_rng(seed)
        matrix = random.normal(size=(6, 6))
        self.group = rotation @ point_group(crystal_class) @ rotation.T
        self.tensor = rotate_tensor(project(200 * np.eye(6) + 40 * (matrix + matrix.T), crystal_class).tensor, rotation)
        self.second, self.third = random.normal(size=(6, 6, 6)), random.normal(size=(6, 6))

    def stresses(self, strains):
        """``(n, 3, 3)``: an arbitrary function of the strain, averaged over the rotations of the crystal."""
        strain = strain_to_matrix(strains)[:, None]
        images = stress_to_voigt(self.group @ strain @ self.group.transpose(0, 2, 1))
        beyond = 500 * np.einsum("ijk,ngj,ngk->ngi", self.second, images, images) + 4000 * images**3 @ self.third
        back = self.group.transpose(0, 2, 1) @ stress_to_matrix(beyond) @ self.group
        return back.mean(axis=1) + stress_to_matrix(strains @ self.tensor)


# --- the reduced set stands for the full one --------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(CRYSTALS)), angles, seeds, st.booleans(), st.booleans())
def test_reduced_and_expanded_is_the_full_set_in_any_orientation_and_cell(name, turn, seed, upright, primitive):
    rotation = np.eye(3) if upright else Rotation.from_euler("zxz", turn, degrees=True).as_matrix()
    atoms = turned(CRYSTALS[name], rotation)
    if primitive:
        cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
        lattice, positions, numbers = spglib.standardize_cell(cell, to_primitive=True, no_idealize=True)
        atoms = Atoms(numbers, cell=lattice, scaled_positions=positions, pbc=True)
    material, reduced = Material(name, rotation, seed), reduced_for(atoms)
    full = material.stresses(STRAINS)
    expanded = expand_stresses(reduced, material.stresses(reduced.strains))
    np.testing.assert_allclose(expanded, stress_to_voigt(full), atol=1e-9)
    one, other = fit_tensor(STRAINS, full), fit_tensor(STRAINS, expanded, expansion=expansion_matrix(reduced))
    np.testing.assert_allclose(other.tensor, one.tensor, atol=1e-9)
    np.testing.assert_allclose(other.residuals, one.residuals, atol=1e-9)
    # In the linear limit nothing is left but the tensor itself: no C44 / 3, no other axis.
    linear = expand_stresses(reduced, reduced.strains @ material.tensor)
    np.testing.assert_allclose(fit_tensor(STRAINS, linear).tensor, material.tensor, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(CRYSTALS)), angles, st.integers(0, 5))
def test_computed_strains_are_turned_into_those_asked_for(name, turn, shuffle):
    atoms = turned(CRYSTALS[name], Rotation.from_euler("zxz", turn, degrees=True).as_matrix())
    strains = np.random.default_rng(shuffle).permutation(STRAINS)
    reduced = reduced_for(atoms, strains)
    np.testing.assert_array_equal(reduced.asked, strains)
    sources = strain_to_matrix(reduced.strains[list(reduced.source)])
    images = reduced.rotations @ sources @ reduced.rotations.transpose(0, 2, 1)
    np.testing.assert_allclose(images, strain_to_matrix(strains), atol=1e-8)
    for place, row in enumerate(reduced.computed):
        assert reduced.source[row] == place
        np.testing.assert_array_equal(reduced.rotations[row], np.eye(3))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(CRYSTALS)), angles, seeds)
def test_the_matrix_of_the_expansion_does_what_the_expansion_does(name, turn, seed):
    reduced = reduced_for(turned(CRYSTALS[name], Rotation.from_euler("zxz", turn, degrees=True).as_matrix()))
    stresses = np.random.default_rng(seed).normal(size=(len(reduced.computed), 6))
    column = expansion_matrix(reduced) @ stresses.reshape(-1)
    np.testing.assert_allclose(column.reshape(-1, 6), expand_stresses(reduced, stresses), atol=1e-12)
    np.testing.assert_allclose(expand_stresses(reduced, stress_to_matrix(stresses)), column.reshape(-1, 6), atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(CRYSTALS)), angles)
def test_rotations_are_those_of_the_class_turned_with_the_crystal(name, turn):
    rotation = Rotation.from_euler("zxz", turn, degrees=True).as_matrix()
    found = symmetry_of(turned(CRYSTALS[name], rotation)).rotations
    expected = rotation @ point_group(name) @ rotation.T
    assert len(found) == len(expected)
    for element in expected:
        assert np.abs(found - element).max(axis=(1, 2)).min() < 1e-9
    np.testing.assert_array_equal(found[0], np.eye(3))


# --- how many -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("atoms", "number", "count"),
    [
        # Cubic: four normal strains along x; one shear of each amplitude, since a half turn changes its sign.
        (prototype("B1"), 225, 6),
        (bulk("TiN", "rocksalt", a=4.25, cubic=True), 225, 6),
        (prototype("B3"), 216, 6),
        # Hexagonal: no sixfold rotation turns x into y, but half turns change the sign of each shear.
        (prototype("B4"), 186, 18),
        (prototype("Bk"), 194, 18),
        (bulk("Ti"), 194, 18),
        (bulk("AlN", "wurtzite", a=3.11, c=4.98, orthorhombic=True), 186, 18),
        # 4/mmm: x and y are alike, and so are the shears yz and xz.
        (CRYSTALS["tetragonal"], 136, 12),
        # -3m with a twofold axis along x: both signs of yz.
        (CRYSTALS["trigonal"], 167, 20),
        (CRYSTALS["triclinic"], 1, 24),
    ],
)
def test_how_many_strains_are_left_of_24(atoms, number, count):
    assert symmetry_of(atoms).number == number
    assert len(reduced_for(atoms).computed) == count


@pytest.mark.parametrize("structure_type", ["B1", "B3", "B4"])
@pytest.mark.parametrize("repeat", [(2, 1, 1), (1, 3, 2), (5, 1, 1)])
def test_a_supercell_of_any_shape_has_the_symmetry_of_its_crystal(structure_type, repeat):
    atoms = prototype(structure_type)
    assert len(symmetry_of(atoms * repeat).rotations) == len(symmetry_of(atoms).rotations)
    assert reduced_for(atoms * repeat).source == reduced_for(atoms).source


def test_a_quasirandom_alloy_needs_every_strain():
    search = {"composition": "Ti0.5Al0.5N", "structure_type": "B1", "atoms": 48, "shape": "long-period", "seed": 0}
    atoms = find_structure({**search, "restarts": 1, "steps": 20}).atoms
    reduced = reduced_for(atoms)
    np.testing.assert_array_equal(reduced.strains, STRAINS)
    np.testing.assert_array_equal(reduced.rotations, np.tile(np.eye(3), (24, 1, 1)))
    np.testing.assert_array_equal(expansion_matrix(reduced), np.eye(144))


def test_the_sign_of_a_shear_is_nothing_to_a_cubic_crystal_but_something_to_a_trigonal_one():
    shears = np.array([[0, 0, 0, 0.03, 0, 0], [0, 0, 0, -0.03, 0, 0]])
    assert reduced_for(CRYSTALS["cubic"], shears).source == (0, 0)
    assert reduced_for(CRYSTALS["trigonal"], shears).source == (0, 1)
    material = Material("trigonal", np.eye(3), 3)
    stress = stress_to_voigt(material.stresses(shears))
    # C14: the shear stretches the crystal along x, or presses it.
    assert stress[0, 0] * stress[1, 0] < 0
    assert abs(stress[0, 0]) > 0.1


def test_a_cubic_crystal_whose_axes_are_not_those_of_the_strains_has_fewer_equal_strains():
    rotation = Rotation.from_euler("zxz", (10, 20, 30), degrees=True).as_matrix()
    assert len(reduced_for(turned(CRYSTALS["cubic"], rotation)).computed) == 24
    about_z = Rotation.from_euler("z", 45, degrees=True).as_matrix()
    reduced = reduced_for(turned(CRYSTALS["cubic"], about_z))
    # x and y are alike, z is not; xz and yz are alike, and every shear may change its sign.
    assert len(reduced.computed) == 4 + 4 + 2 + 2


def test_a_set_that_lacks_the_images_is_not_made_larger():
    along_x = STRAINS[STRAINS[:, 0] != 0]
    reduced = reduced_for(CRYSTALS["cubic"], along_x)
    assert reduced.source == (0, 1, 2, 3)
    np.testing.assert_array_equal(reduced.strains, along_x)


def test_kinds_that_differ_break_the_symmetry():
    """As where the spins of one element alternate along z: x and z are alike no longer."""
    atoms = bulk("CrN", "rocksalt", a=4.15, cubic=True)
    assert len(reduced_for(atoms).computed) == 6
    atoms.numbers[(atoms.symbols == "Cr") & (atoms.positions[:, 2] > 1)] = 99
    assert len(reduced_for(atoms).computed) == 12


# --- cells that are nearly symmetric ----------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from(["B1", "B3", "B4"]))
def test_a_relaxed_cell_that_misses_its_symmetry_by_a_little_has_all_of_it(seed, structure_type):
    random = np.random.default_rng(seed)
    atoms = prototype(structure_type)
    strain = 2e-5 * random.normal(size=(3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
    atoms.positions += 5e-5 * random.normal(size=atoms.positions.shape)
    rotations = symmetry_of(atoms).rotations
    np.testing.assert_allclose(
        rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (len(rotations), 1, 1)), atol=1e-12
    )
    for product in (rotations[:, None] @ rotations).reshape(-1, 3, 3):
        assert np.abs(rotations - product).max(axis=(1, 2)).min() < 1e-9
    assert reduced_for(atoms).source == reduced_for(prototype(structure_type)).source


def test_the_tolerance_is_a_distance():
    atoms = bulk("TiN", "rocksalt", a=4.25, cubic=True)
    atoms.positions[0, 2] += 0.005
    assert symmetry_of(atoms, 0.02).number == 225
    assert symmetry_of(atoms, 0.001).number == 99
    assert len(reduced_for(atoms).computed) == 12


@pytest.mark.parametrize("tolerance", [0.0, -0.001, float("nan"), float("inf")])
def test_a_tolerance_that_is_no_distance_is_refused(tolerance):
    with pytest.raises(InputError, match="positive distance"):
        symmetry_of(CRYSTALS["cubic"], tolerance)


def test_what_has_no_space_group_has_no_symmetry():
    atoms = Atoms("Ti2", positions=[(0, 0, 0), (0, 0, 0.0001)], cell=np.diag([4.0] * 3), pbc=True)
    found = symmetry_of(atoms)
    assert (found.number, found.symbol, len(found.rotations)) == (1, "P1", 1)


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cubic", "hexagonal", "trigonal"])
def test_standard_errors_are_the_scatter_that_noise_in_the_computed_cells_makes(name):
    random = np.random.default_rng(11)
    reduced, tensor = reduced_for(CRYSTALS[name]), Material(name, np.eye(3), 5).tensor
    matrix, computed = expansion_matrix(reduced), reduced.strains @ tensor
    fits, naive = [], []
    for _ in range(300):
        stresses = expand_stresses(reduced, computed + random.normal(0, 0.1, computed.shape))
        fits.append(fit_tensor(STRAINS, stresses, expansion=matrix))
        naive.append(fit_tensor(STRAINS, stresses))
    scatter = np.std([fit.tensor for fit in fits], axis=0)
    claimed = np.sqrt(np.mean([fit.standard_errors**2 for fit in fits], axis=0))
    np.testing.assert_allclose(claimed, scatter, rtol=0.2, atol=1e-12)
    spread = np.std([moduli(project(fit.tensor, name).tensor).bulk_modulus for fit in fits])
    errors = [moduli_errors(fit.tensor, fit.covariance, name).bulk_modulus for fit in fits[:40]]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(spread, rel=0.25)
    if name == "cubic":
        # Copies taken for evidence would promise too much: half of the shears, and two of the three axes, are copies.
        assert np.mean([fit.standard_errors[3, 3] for fit in naive]) < 0.8 * scatter[3, 3]
        assert moduli_errors(fits[0].tensor, naive[0].standard_errors, name).bulk_modulus < 0.8 * spread


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_without_symmetry_the_errors_are_those_of_the_plain_fit(seed):
    stresses = STRAINS @ Material("triclinic", np.eye(3), seed).tensor
    stresses += np.random.default_rng(seed).normal(0, 0.1, stresses.shape)
    plain = fit_tensor(STRAINS, stresses)
    same = fit_tensor(STRAINS, stresses, expansion=np.eye(144))
    np.testing.assert_allclose(same.standard_errors, plain.standard_errors, rtol=1e-9)
    np.testing.assert_allclose(
        np.sqrt(np.diag(plain.covariance))[[0, 1, 20]], plain.standard_errors[[0, 0, 5], [0, 1, 5]]
    )
    # The set strains one component at a time, so that the constants are independent of each other.
    np.testing.assert_allclose(
        moduli_errors(plain.tensor, plain.covariance).shear_modulus_voigt,
        moduli_errors(plain.tensor, plain.standard_errors).shear_modulus_voigt,
    )


def test_as_many_stresses_as_computed_strains_are_needed():
    reduced = reduced_for(CRYSTALS["cubic"])
    with pytest.raises(InputError, match="6 strains were to be computed, got 5"):
        expand_stresses(reduced, np.zeros((5, 6)))
    with pytest.raises(InputError, match="144 rows"):
        fit_tensor(STRAINS, np.zeros((24, 6)), expansion=np.eye(36))


def test_missing_computed_strains_are_named():
    reduced = reduced_for(CRYSTALS["cubic"])
    with pytest.raises(InputError, match=r"1 of 6 strains are missing: xx=\+0.03"):
        require_strains(reduced.strains[[0, 1, 2, 4, 5]], reduced.strains)
    assert require_strains(STRAINS[::-1], STRAINS[:3]) == [23, 22, 21]
