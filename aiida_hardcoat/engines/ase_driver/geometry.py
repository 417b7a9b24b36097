"""Strained cells, and what their internal displacements have in common."""

from __future__ import annotations

import numpy as np

GPA = 160.21766208  # GPa in 1 eV/Angstrom^3


def strain_matrix(strain) -> np.ndarray:
    """3x3 small strain from Voigt components xx, yy, zz, yz, xz, xy with engineering shear."""
    xx, yy, zz, yz, xz, xy = strain
    return np.array([[xx, xy / 2, xz / 2], [xy / 2, yy, yz / 2], [xz / 2, yz / 2, zz]])


def strained_copy(parent, strain):
    """The parent under the symmetric deformation I + eps, fractional coordinates kept."""
    atoms = parent.copy()
    atoms.set_cell(parent.cell.array @ (np.eye(3) + strain_matrix(strain)), scale_atoms=True)
    return atoms


def remove_rotation(atoms, reference_cell: np.ndarray) -> None:
    """Turn ``atoms`` so that its cell is a symmetric stretch of the reference cell."""
    gradient = np.linalg.solve(reference_cell, atoms.cell.array)
    left, _, right = np.linalg.svd(gradient)
    rotation = left @ right  # gradient = stretch @ rotation for row vectors
    atoms.set_cell(atoms.cell.array @ rotation.T, scale_atoms=True)


def symmetric_stress(atoms) -> np.ndarray:
    return atoms.get_stress(voigt=False) * GPA


def largest_force(atoms) -> float:
    return float(np.sqrt((atoms.get_forces() ** 2).sum(axis=1)).max())


def is_exploded(atoms, start_volume: float) -> bool:
    """Volume changed by more than half, or two atoms closer than 0.6 Angstrom."""
    if not 0.5 < atoms.get_volume() / start_volume < 2.0:
        return True
    from ase.neighborlist import neighbor_list

    return len(neighbor_list("d", atoms, 0.6)) > 0


def amplitude_along(strain) -> tuple[tuple[float, ...], float]:
    """A strain as (direction with its first non-zero component positive, signed amplitude)."""
    strain = np.asarray(strain, dtype=float)
    norm = np.linalg.norm(strain)
    if norm == 0:
        return (0.0,) * 6, 0.0
    unit = strain / norm
    sign = 1.0 if unit[np.flatnonzero(np.abs(unit) > 1e-12)[0]] > 0 else -1.0
    return tuple(np.round(sign * unit, 9) + 0.0), float(sign * norm)


def running_order(strains) -> list[int]:
    """Indices such that the strains of one direction follow each other, smallest amplitudes first."""
    keys = [amplitude_along(strain) for strain in strains]
    directions = list(dict.fromkeys(direction for direction, _ in keys))
    return sorted(range(len(strains)), key=lambda i: (directions.index(keys[i][0]), abs(keys[i][1]), -keys[i][1]))


def predicted_displacement(known: dict[float, np.ndarray], amplitude: float):
    """Internal displacements (fractional, from the affine positions) expected at ``amplitude``.

    They vanish without strain and are nearly linear in it. The neighbours found so far give the linear part and, from a
    pair of opposite strains, the even part; higher orders would magnify what the relaxations left undone.
    """
    if not known:
        return None
    nearest = min(known, key=lambda a: (abs(abs(a) - abs(amplitude)), abs(a - amplitude)))
    pair = next((a for a in sorted(known, key=abs) if -a in known and a > 0), None)
    odd_part, even_part = known[nearest] / nearest, 0.0
    if pair is not None:
        even_part = (known[pair] + known[-pair]) / (2 * pair**2)
        odd_part = (known[nearest] - even_part * nearest**2) / nearest
    return odd_part * amplitude + even_part * amplitude**2


def last_step(record: dict, curvature: np.ndarray | None) -> np.ndarray:
    """The step that the forces left at the threshold still ask for: it costs no evaluation and sharpens predictions."""
    forces = np.array(record["forces"])
    if curvature is None:
        return np.zeros_like(forces)
    return np.linalg.solve(curvature, forces.ravel()).reshape(-1, 3)
