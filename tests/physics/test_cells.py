"""Supercell matrices: lattices, their normal form, and the choice of a shape."""

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.cells import (
    compact,
    hermite_normal_form,
    shortest_period,
    space_group,
    supercell_matrix,
)
from aiida_hardcoat.physics.prototypes import STRUCTURE_TYPES, unit_metal_lattice

FCC = unit_metal_lattice("B1")
matrices = arrays(np.int64, (3, 3), elements=st.integers(-6, 6))


@settings(deadline=None)
@given(matrices, st.lists(st.tuples(st.sampled_from(range(6)), st.integers(-3, 3)), max_size=8))
def test_normal_form_is_the_same_for_all_bases_of_a_lattice(matrix, row_operations):
    assume(round(np.linalg.det(matrix)) != 0)
    form = hermite_normal_form(matrix)
    assert np.array_equal(form, np.tril(form))
    assert np.all((form >= 0) & (form <= np.diag(form)))
    assert round(np.linalg.det(form)) == abs(round(np.linalg.det(matrix)))
    change = form @ np.linalg.inv(matrix)
    np.testing.assert_allclose(change, np.rint(change), atol=1e-9)
    other = matrix.copy()
    for number, factor in row_operations:
        i, j = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)][number]
        other[i] += factor * other[j]
    assert np.array_equal(hermite_normal_form(other[[1, 2, 0]]), form)


@pytest.mark.parametrize("matrix", [np.zeros((3, 3)), np.ones((3, 3)), np.eye(3) / 2])
def test_normal_form_refuses_what_spans_no_supercell(matrix):
    with pytest.raises(InputError, match="integer matrix"):
        hermite_normal_form(matrix)


@settings(deadline=None)
@given(matrices)
def test_shortest_period_and_compact_cell(matrix):
    assume(0 < abs(round(np.linalg.det(matrix))) <= 60)
    period = shortest_period(matrix, FCC)
    reduced = compact(matrix, FCC)
    assert np.linalg.det(reduced) > 0
    assert np.array_equal(hermite_normal_form(reduced), hermite_normal_form(matrix))
    combinations = np.array([n for n in product(range(-2, 3), repeat=3) if any(n)])
    lengths = np.linalg.norm(combinations @ reduced @ FCC, axis=1)
    assert period == pytest.approx(lengths.min())
    assert np.linalg.norm(reduced @ FCC, axis=1).min() == pytest.approx(period)


def normal_forms(size):
    for a, b in product(range(1, size + 1), repeat=2):
        if size % (a * b) == 0:
            for x, y, z in product(range(a), range(a), range(b)):
                yield np.array([[a, 0, 0], [x, b, 0], [y, z, size // (a * b)]])


@pytest.mark.parametrize("structure_type", ["B1", "B4"])
@pytest.mark.parametrize("cells", [2, 5, 6, 8])
def test_chosen_cell_has_the_longest_shortest_period(structure_type, cells):
    cell = unit_metal_lattice(structure_type)
    best = max(shortest_period(form, cell) for form in normal_forms(cells))
    matrix = supercell_matrix(structure_type, cells * 2 * (1 if structure_type == "B1" else 2))
    assert shortest_period(matrix, cell) == pytest.approx(best)


@pytest.mark.parametrize("structure_type", STRUCTURE_TYPES)
@pytest.mark.parametrize("atoms", [4, 16, 64, 96, 108, 256])
def test_any_size_is_right_handed_and_holds_its_atoms(structure_type, atoms):
    matrix = supercell_matrix(structure_type, atoms)
    primitive = 2 if structure_type in ("B1", "B3") else 4
    assert round(np.linalg.det(matrix)) * primitive == atoms
    assert np.array_equal(matrix, supercell_matrix(structure_type, atoms))


def test_named_shapes_of_96_atoms():
    assert np.array_equal(supercell_matrix("B1", 96, "study"), np.diag([4, 4, 3]))
    assert np.array_equal(supercell_matrix("B4", 96, "study"), np.diag([4, 3, 2]))
    cubic = supercell_matrix("B3", 96)
    assert np.array_equal(hermite_normal_form(cubic), [[6, 0, 0], [3, 4, 0], [1, 1, 2]])
    assert shortest_period(cubic, FCC) == pytest.approx(np.sqrt(5.5))
    # the hexagonal one keeps the lattice: all twelve rotations about c and its perpendiculars, with inversion
    hexagonal = unit_metal_lattice("B4")
    supercell = supercell_matrix("B4", 96) @ hexagonal
    assert len(space_group(supercell, np.zeros((1, 3)))[0]) == len(space_group(hexagonal, np.zeros((1, 3)))[0])


def test_a_cube_is_found_where_it_is_as_good_as_any():
    cube = np.array([[-2, 2, 2], [2, -2, 2], [2, 2, -2]])
    assert np.array_equal(hermite_normal_form(supercell_matrix("B1", 64)), hermite_normal_form(cube))


def test_shapes_by_counts():
    assert np.array_equal(supercell_matrix("B1", 36, "2x3x3"), np.diag([2, 3, 3]))
    assert np.array_equal(supercell_matrix("Bk", 96, "4x3x2"), np.diag([4, 3, 2]))


@pytest.mark.parametrize(
    ("structure_type", "atoms", "shape", "reason"),
    [
        ("B1", 7, "long-period", "6 or 8"),
        ("B4", 10, "long-period", "8 or 12"),
        ("B1", 0, "long-period", "take 2"),
        ("B1", -4, "long-period", "take 2"),
        ("B1", 96, "studdy", "did you mean study"),
        ("B1", 96, "longperiod", "did you mean long-period"),
        ("B1", 64, "study", "96 atoms"),
        ("B1", 96, "3x3x3", "holds 54"),
        ("B1", 96, "0x4x4", "holds 0"),
        ("B2", 96, "study", "unknown structure type"),
        ("B1", 5000, "long-period", "AxBxC"),
        ("B4", 5000, "long-period", "AxBxC"),
    ],
)
def test_refusals(structure_type, atoms, shape, reason):
    with pytest.raises(InputError, match=reason) as refusal:
        supercell_matrix(structure_type, atoms, shape)
    assert "\n" not in str(refusal.value)
