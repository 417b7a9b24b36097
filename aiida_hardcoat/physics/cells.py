"""Supercells: integer matrices whose rows are supercell vectors in units of the primitive vectors."""

from __future__ import annotations

import difflib
import math
import re
from functools import lru_cache
from itertools import product

import numpy as np
import spglib
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.prototypes import (
    CRYSTAL_CLASSES,
    FORMULA_UNITS,
    check_structure_type,
    unit_metal_lattice,
)

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

NAMED_SHAPES: dict[str, dict[str, IntArray]] = {
    # "study": the 96-atom cells of Levämäki et al., npj Comput. Mater. 8, 17 (2022).
    # "long-period": no short lattice period along any direction, so that fewer pairs of sites are tied to
    # each other by periodicity. The cubic one, [[6, 0, 0], [3, 4, 0], [1, 1, 2]] in normal form, repeats
    # after 2.345 a; the hexagonal one keeps the lattice.
    "study": {"cubic": np.diag([4, 4, 3]), "hexagonal": np.diag([4, 3, 2])},
    "long-period": {
        "cubic": np.array([[-1, -1, -2], [-1, -2, 4], [-3, 4, 0]]),
        "hexagonal": np.array([[4, 2, 0], [-2, 2, 0], [0, 0, 2]]),
    },
}
NAMED_ATOMS = 96
LARGEST_SEARCH = 256
"""Primitive cells up to which all lattices of a size are compared (about a second)."""

_BY_COUNTS = re.compile(r"(\d+)x(\d+)x(\d+)")


def supercell_matrix(structure_type: str, atoms: int, shape: str = "long-period") -> IntArray:
    """Integer (3, 3) matrix, right-handed, of the supercell with `atoms` atoms.

    `shape` is "study" (96 atoms), "AxBxC" primitive cells, or "long-period": the 96-atom cell named in
    NAMED_SHAPES, and for other sizes the lattice whose shortest period is longest.

    Raises InputError for a size that holds no whole number of primitive cells, for unknown shapes and for
    shapes of another size.
    """
    check_structure_type(structure_type)
    unit = 2 * FORMULA_UNITS[structure_type]
    if atoms < 1 or atoms % unit:
        sizes = sorted({max(unit, atoms - atoms % unit), max(unit, atoms + -atoms % unit)})
        raise InputError(
            f"{structure_type} repeats {unit} atoms, no cell has {atoms}: take {' or '.join(map(str, sizes))}"
        )
    if counts := _BY_COUNTS.fullmatch(shape.replace("×", "x").replace(" ", "")):
        matrix = np.diag([int(count) for count in counts.groups()])
        held = unit * math.prod(int(count) for count in counts.groups())
        if held != atoms:
            raise InputError(f"shape {shape} of {structure_type} holds {held} atoms, not {atoms}: ask for one of them")
        return matrix
    if shape not in NAMED_SHAPES:
        close = difflib.get_close_matches(shape.lower(), list(NAMED_SHAPES), 1, 0.3)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InputError(f"unknown shape {shape!r}: {hint}choose {', '.join(NAMED_SHAPES)} or AxBxC such as 4x4x3")
    crystal_class = CRYSTAL_CLASSES[structure_type]
    if atoms == NAMED_ATOMS:
        return NAMED_SHAPES[shape][crystal_class].copy()
    if shape == "study":
        raise InputError(f"shape study has {NAMED_ATOMS} atoms, not {atoms}: take long-period or AxBxC")
    if atoms > unit * LARGEST_SEARCH:
        raise InputError(f"{atoms} atoms are too many to compare all cells: give the shape as AxBxC")
    return _longest_period(structure_type, atoms // unit).copy()


def hermite_normal_form(matrix: IntArray) -> IntArray:
    """Row-style Hermite normal form: lower triangular, 0 <= h[i, j] < h[j, j] below the diagonal.

    Two matrices have the same form if and only if their rows span the same lattice.
    Raises InputError for a singular or non-integer matrix.
    """
    rows = [[int(value) for value in row] for row in matrix]
    if not np.array_equal(rows, matrix) or round(np.linalg.det(np.array(rows))) == 0:
        raise InputError("a supercell needs an integer matrix with a determinant other than 0")
    for column in (2, 1, 0):
        # Euclid's algorithm on rows 0..column leaves one non-zero entry of this column, on the diagonal.
        while sum(rows[i][column] != 0 for i in range(column + 1)) > 1:
            pivot = min((i for i in range(column + 1) if rows[i][column]), key=lambda i: abs(rows[i][column]))
            for i in range(column + 1):
                if i != pivot:
                    quotient = rows[i][column] // rows[pivot][column]
                    rows[i] = _less(rows[i], quotient, rows[pivot])
        pivot = next(i for i in range(column + 1) if rows[i][column])
        rows[pivot], rows[column] = rows[column], rows[pivot]
        if rows[column][column] < 0:
            rows[column] = [-value for value in rows[column]]
    for i in range(1, 3):
        for j in range(i - 1, -1, -1):
            quotient = rows[i][j] // rows[j][j]
            rows[i] = _less(rows[i], quotient, rows[j])
    return np.array(rows)


def space_group(cell: FloatArray, sites: FloatArray) -> tuple[IntArray, FloatArray]:
    """Rotations (n, 3, 3) and translations (n, 3) that map like sites (m, 3) of a lattice onto one another.

    They act on columns of fractional coordinates; found to 1e-5 Angstrom by spglib (Togo, Shinohara,
    Tanaka, Sci. Technol. Adv. Mater.: Methods 4, 2384822 (2024)).
    """
    dataset = spglib.get_symmetry_dataset((cell.tolist(), sites.tolist(), [1] * len(sites)), symprec=1e-5)
    if dataset is None:
        raise InputError("no symmetry can be found: the sites coincide or the cell is flat")
    return np.asarray(dataset.rotations, dtype=np.int64), np.asarray(dataset.translations)


def shortest_period(matrix: IntArray, cell: FloatArray) -> float:
    """Length of the shortest lattice vector of the supercell `matrix` @ `cell`, in the unit of `cell`."""
    reduced, _ = minkowski_reduce(np.asarray(matrix) @ cell)  # type: ignore[no-untyped-call]
    return float(np.linalg.norm(reduced, axis=1).min())


def compact(matrix: IntArray, cell: FloatArray) -> IntArray:
    """A right-handed matrix that spans the same lattice with vectors that are as short as can be."""
    reduced, operation = minkowski_reduce(np.asarray(matrix) @ cell)  # type: ignore[no-untyped-call]
    lengths = np.linalg.norm(np.asarray(matrix) @ cell, axis=1)
    if lengths.sum() <= np.linalg.norm(reduced, axis=1).sum() * (1 + 1e-9):
        operation = np.eye(3)  # as short already: keep the vectors as they were given
    result: IntArray = np.rint(operation @ matrix).astype(np.int64)
    return result if np.linalg.det(result) > 0 else -result


@lru_cache(maxsize=64)
def _longest_period(structure_type: str, size: int) -> IntArray:
    """Compact matrix of the lattice of `size` primitive cells whose shortest period is longest.

    Ties are broken by the number of parent rotations that the lattice keeps, then by compactness, then by
    the order of the Hermite normal forms.
    """
    cell = unit_metal_lattice(structure_type)
    forms = _hermite_normal_forms(size)
    for vectors in _vector_shells(cell, size):
        kept = forms[~_contains_any(forms, vectors)]
        if not len(kept):
            break
        forms = kept
    kept_rotations = _kept_rotations(forms, space_group(cell, np.zeros((1, 3)))[0])
    forms = forms[kept_rotations == kept_rotations.max()]
    matrices = [compact(form, cell) for form in forms]
    spreads = [round(float(np.sum((matrix @ cell) ** 2)), 6) for matrix in matrices]
    return matrices[int(np.argmin(spreads))]


def _less(row: list[int], quotient: int, other: list[int]) -> list[int]:
    return [value - quotient * base for value, base in zip(row, other, strict=True)]


def _hermite_normal_forms(size: int) -> IntArray:
    """All (n, 3, 3) row-style Hermite normal forms of determinant `size`."""
    blocks = []
    divisors = [n for n in range(1, size + 1) if size % n == 0]
    for first, second in product(divisors, divisors):
        if size % (first * second):
            continue
        third = size // (first * second)
        below = np.array(list(product(range(first), range(first), range(second))))
        block = np.zeros((len(below), 3, 3), dtype=np.int64)
        block[:, [0, 1, 2], [0, 1, 2]] = first, second, third
        block[:, [1, 2, 2], [0, 0, 1]] = below
        blocks.append(block)
    return np.concatenate(blocks)


def _contains_any(forms: IntArray, vectors: IntArray) -> NDArray[np.bool_]:
    """For each form, whether its lattice holds one of the integer `vectors`."""
    found = np.zeros(len(forms), dtype=bool)
    for x, y, z in vectors:
        k, rest_z = np.divmod(z, forms[:, 2, 2])
        j, rest_y = np.divmod(y - k * forms[:, 2, 1], forms[:, 1, 1])
        rest_x = (x - k * forms[:, 2, 0] - j * forms[:, 1, 0]) % forms[:, 0, 0]
        found |= (rest_x == 0) & (rest_y == 0) & (rest_z == 0)
    return found


def _vector_shells(cell: FloatArray, size: int) -> list[IntArray]:
    """Vectors of the primitive lattice, one of each +-pair, in shells of rising length.

    They reach beyond the longest period that a lattice of `size` cells can have (Gauss: that of fcc).
    """
    volume = abs(float(np.linalg.det(cell))) * size
    reach = (math.sqrt(2) * volume) ** (1 / 3) * 1.001
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    limits = [math.ceil(reach / height) for height in heights]
    grid = np.array(list(product(*(range(-limit, limit + 1) for limit in limits))))
    grid = grid[len(grid) // 2 + 1 :]  # the later half in this order: one of each pair, without 0
    lengths = np.linalg.norm(grid @ cell, axis=1)
    grid, lengths = grid[lengths <= reach], lengths[lengths <= reach]
    order = np.argsort(lengths, kind="stable")
    breaks = np.flatnonzero(np.diff(lengths[order]) > 1e-6) + 1
    return np.split(grid[order], breaks)


def _kept_rotations(forms: IntArray, rotations: IntArray) -> IntArray:
    """How many rotations map each lattice onto itself."""
    inverse = np.linalg.inv(forms)
    kept = np.zeros(len(forms), dtype=np.int64)
    for rotation in rotations:
        images = forms @ rotation.T @ inverse
        kept += (np.abs(images - np.rint(images)) < 1e-6).all(axis=(1, 2))
    return kept
