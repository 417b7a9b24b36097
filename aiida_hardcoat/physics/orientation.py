"""The IEEE frame of a crystal, and elastic tensors brought into it.

IEEE Std 176-1987 fixes the Cartesian axes to the conventional cell, so that tensors of one material can be
compared however its cell was drawn. The rules, as the Materials Project applies them (de Jong et al., Sci.
Data 2, 150009 (2015)), z = c and so on being directions of conventional lattice vectors:

- cubic: x, y, z = a, b, c
- tetragonal, trigonal, hexagonal: z = the principal axis, x = a
- orthorhombic: |c| < |a| < |b|; x, y, z = a, b, c
- monoclinic: y = the unique axis b, z = the shorter of the two others
- triclinic: z = the longest vector, y at right angles to the plane of the longest and the shortest one

The symmetry is found by spglib in the crystal as it stands, so the frame turns with the crystal. Inversion
acts on no elastic tensor; a frame of either hand is as good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.projection import point_group, project_onto_group, rotate_tensor
from aiida_hardcoat.physics.strain import FloatArray

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class CrystalFrame:
    """The symmetry of a crystal and its IEEE axes.

    :ivar spacegroup: number of the space group.
    :ivar crystal_system: triclinic, monoclinic, orthorhombic, tetragonal, trigonal, hexagonal or cubic.
    :ivar crystal_class: the Laue class under the name that `projection.CRYSTAL_CLASSES` gives it in the IEEE
        frame.
    :ivar rotation: ``(3, 3)``, rows are the IEEE axes in the crystal's own Cartesian frame.
    :ivar point_rotations: ``(n, 3, 3)`` the proper rotations of the Laue class in the crystal's own Cartesian
        frame. A lattice that obeys its symmetry only nearly gives nearly orthogonal ones.
    """

    spacegroup: int
    crystal_system: str
    crystal_class: str
    rotation: FloatArray
    point_rotations: FloatArray


def crystal_frame(atoms: Atoms, tolerance: float = 0.01) -> CrystalFrame:
    """Symmetry and IEEE axes of a crystal.

    :param atoms: the structure, periodic in three directions.
    :param tolerance: distance within which atoms count as equivalent, Angstrom.
    :raises InputError: when no symmetry can be found, as for atoms on top of each other.
    """
    import spglib

    lattice = np.asarray(atoms.cell.array, dtype=np.float64)
    fractional = np.linalg.solve(lattice.T, np.asarray(atoms.positions).T).T
    cell = (lattice.tolist(), fractional.tolist(), atoms.numbers.tolist())
    dataset = spglib.get_symmetry_dataset(cell, symprec=tolerance, angle_tolerance=5.0)
    if dataset is None:
        raise InputError("No space group was found: check that the cell is not flat and no atoms overlap.")
    # spglib: (a b c) = (a_s b_s c_s) P with lattice vectors as columns.
    conventional = np.linalg.solve(np.asarray(dataset.transformation_matrix).T, lattice)
    system = crystal_system(dataset.number)
    rotations = _cartesian_rotations(np.asarray(dataset.rotations, dtype=np.float64), lattice)
    frame = ieee_rotation(conventional, system)
    return CrystalFrame(
        spacegroup=int(dataset.number),
        crystal_system=system,
        crystal_class=_class_in_frame(int(dataset.number), frame @ rotations @ frame.T),
        rotation=frame,
        point_rotations=rotations,
    )


def to_ieee(tensor: ArrayLike, atoms: Atoms, tolerance: float = 0.01) -> FloatArray:
    """The Voigt tensor ``(6, 6)`` of a crystal, given in the Cartesian frame of `atoms`, in its IEEE frame.

    The tensor is first averaged over the crystal's own rotations: which of its equivalent axes is called a is
    a matter of chance, and only a tensor that obeys the symmetry does not tell.
    """
    frame = crystal_frame(atoms, tolerance)
    return rotate_tensor(project_onto_group(tensor, frame.point_rotations), frame.rotation)


def crystal_system(spacegroup: int) -> str:
    """The crystal system of a space group number."""
    limits = (2, 15, 74, 142, 167, 194, 230)
    names = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
    if not 1 <= spacegroup <= 230:
        raise InputError(f"Space groups are numbered 1 to 230, got {spacegroup}.")
    return next(name for limit, name in zip(limits, names, strict=True) if spacegroup <= limit)


def ieee_rotation(conventional: ArrayLike, system: str) -> FloatArray:
    """The IEEE axes of a conventional cell.

    :param conventional: ``(3, 3)``, rows are the conventional lattice vectors, Angstrom, in any orientation;
        rhombohedral crystals in hexagonal axes, monoclinic ones with the unique axis wherever the cell has
        it.
    :param system: crystal system.
    :return: ``(3, 3)``, rows x, y, z, orthonormal; a cell that is not quite right-angled is met by its
        nearest frame.
    :raises InputError: for an unknown system.
    """
    vectors = np.asarray(conventional, dtype=np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    a, b, c = vectors / lengths[:, None]
    if system == "cubic":
        axes = np.array([a, b, c])
    elif system == "orthorhombic":
        shortest, middle, longest = np.argsort(lengths, kind="stable")
        axes = np.array([a, b, c])[[middle, longest, shortest]]
    elif system in ("tetragonal", "trigonal", "hexagonal"):
        axes = _from_z_and_x(c, a)
    elif system == "monoclinic":
        unique = _unique_axis(vectors)
        others = [axis for axis in range(3) if axis != unique]
        z = np.array([a, b, c])[min(others, key=lambda axis: lengths[axis])]
        y = np.array([a, b, c])[unique]
        axes = np.array([np.cross(y, z), y, z])
    elif system == "triclinic":
        shortest, _, longest = np.argsort(lengths, kind="stable")
        axes = _from_z_and_x(np.array([a, b, c])[longest], np.array([a, b, c])[shortest])
    else:
        raise InputError(f"Unknown crystal system '{system}': give one of the seven, such as cubic or hexagonal.")
    left, _, right = np.linalg.svd(axes)
    return np.asarray(left @ right)


def _from_z_and_x(z: FloatArray, x: FloatArray) -> FloatArray:
    y = np.cross(z, x)
    y = y / np.linalg.norm(y)
    return np.array([np.cross(y, z), y, z])


def _unique_axis(vectors: FloatArray) -> int:
    a, b, c = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    cosines = np.abs([b @ c, c @ a, a @ b])
    return int(cosines.argmax())


def _cartesian_rotations(rotations: FloatArray, lattice: FloatArray) -> FloatArray:
    """Proper Cartesian rotations of integer operations x' = W x on fractional coordinates, each once."""
    columns = lattice.T
    cartesian = columns @ rotations @ np.linalg.inv(columns)
    unique: list[FloatArray] = []
    for matrix in cartesian * np.sign(np.linalg.det(cartesian))[:, None, None]:  # rotoinversions stand for rotations
        if not any(np.allclose(matrix, known, atol=1e-3) for known in unique):
            unique.append(matrix)
    return np.array(unique)


def _class_in_frame(spacegroup: int, rotations: FloatArray) -> str:
    system = crystal_system(spacegroup)
    candidates = {
        "tetragonal": ("tetragonal_low", "tetragonal"),
        "trigonal": ("trigonal_low", "trigonal", "trigonal_y"),
    }.get(system, (system,))
    fitting = [name for name in candidates if _within(rotations, point_group(name))]
    # Cubic m-3 and hexagonal 6/m are proper subgroups of the group that their elastic tensors obey.
    return fitting[0] if fitting else system


def _within(rotations: FloatArray, group: FloatArray) -> bool:
    return all(np.abs(group - rotation).max(axis=(1, 2)).min() < 0.05 for rotation in rotations)
