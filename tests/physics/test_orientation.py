"""The IEEE frame of crystals."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.spacegroup import crystal
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.orientation import crystal_frame, crystal_system, ieee_rotation, to_ieee
from aiida_hardcoat.physics.projection import (
    CRYSTAL_CLASSES,
    project,
    project_onto_group,
    rank4_to_voigt,
    rotate_tensor,
)

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors"
angles = st.tuples(*[st.floats(-180, 180)] * 3)

CRYSTALS = {
    "cubic": crystal("TiN", [(0, 0, 0), (0.5, 0.5, 0.5)], spacegroup=225, cellpar=[4.24] * 3 + [90] * 3),
    "hexagonal": crystal(
        "AlN",
        [(1 / 3, 2 / 3, 0), (1 / 3, 2 / 3, 0.38)],
        spacegroup=186,
        cellpar=[3.11, 3.11, 4.98, 90, 90, 120],
    ),
    "trigonal": crystal(
        "AlO", [(0, 0, 0.352), (0.306, 0, 0.25)], spacegroup=167, cellpar=[4.76, 4.76, 12.99, 90, 90, 120]
    ),
    "tetragonal": crystal(
        "TiO", [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.59, 4.59, 2.96, 90, 90, 90]
    ),
    "orthorhombic": crystal(
        "MgO", [(0.1, 0.2, 0.3), (0.4, 0.15, 0.7)], spacegroup=47, cellpar=[4.1, 5.2, 3.3, 90, 90, 90]
    ),
    "monoclinic": crystal(
        "ZrO",
        [(0.28, 0.04, 0.21), (0.07, 0.33, 0.34)],
        spacegroup=14,
        cellpar=[5.15, 5.21, 5.32, 90, 99.2, 90],
    ),
    "triclinic": Atoms(
        "VSO",
        scaled_positions=[(0, 0, 0), (0.3, 0.4, 0.2), (0.7, 0.1, 0.6)],
        cell=[[3.2, 0, 0], [0.6, 4.1, 0], [0.9, 0.4, 5.3]],
        pbc=True,
    ),
}


def _tensor(seed: int) -> np.ndarray:
    matrix = np.random.default_rng(seed).normal(size=(6, 6))
    return 100 * np.eye(6) + 20 * (matrix + matrix.T)


def _turned(atoms: Atoms, rotation: np.ndarray) -> Atoms:
    return Atoms(atoms.numbers, positions=atoms.positions @ rotation.T, cell=atoms.cell.array @ rotation.T, pbc=True)


@pytest.mark.parametrize("name", CRYSTALS)
def test_the_class_is_found_and_the_frame_is_standard(name):
    frame = crystal_frame(CRYSTALS[name])
    assert frame.crystal_class == name
    assert crystal_system(frame.spacegroup) == frame.crystal_system == name
    np.testing.assert_allclose(frame.rotation @ frame.rotation.T, np.eye(3), atol=1e-12)
    # Averaging over the crystal's own rotations and then turning it: the class projection of the turned one.
    own = rotate_tensor(project_onto_group(_tensor(1), frame.point_rotations), frame.rotation)
    np.testing.assert_allclose(own, project(rotate_tensor(_tensor(1), frame.rotation), name).tensor, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(angles, st.sampled_from(sorted(CRYSTALS)))
def test_the_ieee_tensor_does_not_depend_on_how_the_crystal_is_turned(turn, name):
    rotation = Rotation.from_euler("zxz", turn, degrees=True).as_matrix()
    atoms, tensor = CRYSTALS[name], _tensor(2)
    turned = to_ieee(rotate_tensor(tensor, rotation), _turned(atoms, rotation))
    np.testing.assert_allclose(turned, to_ieee(tensor, atoms), atol=1e-4)


@pytest.mark.parametrize("name", ["cubic", "hexagonal", "trigonal", "tetragonal", "orthorhombic", "monoclinic"])
def test_the_ieee_tensor_does_not_depend_on_the_choice_of_cell(name):
    atoms = CRYSTALS[name]
    other = Atoms(
        atoms.numbers,
        positions=atoms.positions,
        cell=[[0, 1, 0], [0, 0, 1], [1, 0, 0]] @ atoms.cell.array,
        pbc=True,
    )
    np.testing.assert_allclose(to_ieee(_tensor(3), other), to_ieee(_tensor(3), atoms), atol=1e-4)


def test_twofold_axes_of_the_other_trigonal_setting_are_told_apart():
    atoms = crystal("SiO", [(0.1, 0.3, 0.2), (0.4, 0.25, 0.1)], spacegroup=149, cellpar=[5, 5, 5.4, 90, 90, 120])
    assert crystal_frame(atoms).crystal_class == "trigonal_y"
    tensor = to_ieee(_tensor(4), atoms)
    assert abs(tensor[0, 3]) < 1e-6 < abs(tensor[0, 4])


def test_frames_of_conventional_cells():
    np.testing.assert_allclose(ieee_rotation(np.diag([4.0, 5.0, 3.0]), "orthorhombic"), np.eye(3))
    np.testing.assert_allclose(np.abs(ieee_rotation(np.diag([3.0, 5.0, 4.0]), "orthorhombic")), np.eye(3)[[2, 1, 0]])
    with pytest.raises(InputError, match="crystal system"):
        ieee_rotation(np.eye(3), "quasicrystal")
    with pytest.raises(InputError, match="1 to 230"):
        crystal_system(231)


def test_overlapping_atoms_have_no_frame():
    with pytest.raises(InputError, match="space group"):
        crystal_frame(Atoms("Ti2", positions=[(0, 0, 0), (0, 0, 0.001)], cell=np.diag([4.0] * 3), pbc=True))


@pytest.mark.skipif(not VECTORS.is_dir(), reason="the reference vectors are not beside the checkout")
def test_ieee_vectors_of_pymatgen():
    from pymatgen.core import Structure
    from pymatgen.io.ase import AseAtomsAdaptor

    for case in json.loads((VECTORS / "pymatgen" / "ieee_conversion_data.json").read_text()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            atoms = AseAtomsAdaptor.get_atoms(Structure.from_dict(case["structure"]))
        original, expected = (_array(case[key]) for key in ("original_tensor", "ieee_tensor"))
        frame = crystal_frame(atoms)
        assert frame.crystal_class in CRYSTAL_CLASSES
        if original.ndim == 4:
            converted = to_ieee(rank4_to_voigt(original), atoms)
            np.testing.assert_allclose(converted, rank4_to_voigt(expected), atol=5e-3)
        else:
            group, axes = frame.point_rotations, frame.rotation
            averaged = np.mean(group @ original @ np.swapaxes(group, 1, 2), axis=0)
            np.testing.assert_allclose(axes @ averaged @ axes.T, expected, atol=5e-4)


def _array(stored: object) -> np.ndarray:
    return np.array(stored["data"] if isinstance(stored, dict) else stored)
