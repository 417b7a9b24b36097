"""B4 against Bk."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.phases import (
    classify_wurtzite,
    internal_parameters,
    planarity,
    relaxed_structure_type,
)
from aiida_hardcoat.physics.strain import strain_cell


def supercell(a, c, u, matrix):
    """Cell, metals and anions of a wurtzite supercell, every atom once."""
    parent = np.array([[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, c]])
    metals = np.array([[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5]])
    inverse = np.linalg.inv(matrix)
    reach = range(-12, 13)
    shifts = np.array([(i, j, k) for i in reach for j in reach for k in reach])
    inside = (shifts @ inverse + 1e-9) % 1.0
    shifts = shifts[np.unique(np.round(inside, 6), axis=0, return_index=True)[1]]
    metal = (metals[None] + shifts[:, None]).reshape(-1, 3)
    anion = metal + np.array([0, 0, u])
    cell = matrix @ parent
    wrap = [((sites @ inverse) % 1.0) @ cell for sites in (metal, anion)]
    return cell, *wrap


@pytest.mark.parametrize(
    ("u", "ratio", "kind"),
    [
        (0.375, 1.633, "B4"),
        (0.382, 1.60, "B4"),  # AlN
        (0.377, 1.626, "B4"),  # GaN
        (0.5, 1.20, "Bk"),
        (0.5, 1.30, "Bk"),
        (0.44, 1.42, "intermediate"),
    ],
)
def test_classes(u, ratio, kind):
    assert classify_wurtzite(u, ratio) == kind
    assert classify_wurtzite(1 - u, ratio) == kind
    if kind != "intermediate":
        assert relaxed_structure_type(u, ratio) == kind


@given(st.floats(0.3, 0.7), st.floats(1.0, 1.8))
def test_every_crystal_gets_a_stored_type_that_agrees_with_its_class(u, ratio):
    kind = classify_wurtzite(u, ratio)
    stored = relaxed_structure_type(u, ratio)
    assert stored in ("B4", "Bk")
    if kind != "intermediate":
        assert stored == kind


def test_planarity_runs_from_wurtzite_to_bk():
    assert planarity(3 / 8, np.sqrt(8 / 3)) == pytest.approx(0)
    assert planarity(0.5, 1.2) == pytest.approx(1)
    with pytest.raises(InputError):
        planarity(float("nan"), 1.6)
    with pytest.raises(InputError):
        planarity(0.38, -1)


MATRICES = [
    np.diag([4, 3, 2]),
    np.array([[2, 0, 1], [0, 2, -1], [-1, 1, 2]]),
    np.array([[3, 1, 0], [-1, 3, 1], [1, 0, 2]]),
]


@settings(max_examples=25, deadline=None)
@given(
    st.floats(2.9, 3.6),
    st.floats(1.15, 1.7),
    st.floats(0.36, 0.5),
    st.sampled_from(range(len(MATRICES))),
    st.tuples(*[st.floats(-180, 180)] * 3),
)
def test_a_perfect_supercell_gives_back_its_parameters_in_any_frame(a, ratio, u, number, turn):
    matrix = MATRICES[number]
    cell, metals, anions = supercell(a, ratio * a, u, matrix)
    rotation = Rotation.from_euler("zxz", turn, degrees=True).as_matrix().T
    found = internal_parameters(cell @ rotation, metals @ rotation, anions[::-1] @ rotation, matrix)
    assert found.a == pytest.approx(a)
    assert found.c_over_a == pytest.approx(ratio)
    assert found.u == pytest.approx(u)
    assert found.u_spread == pytest.approx(0, abs=1e-9)


def test_scattered_atoms_average_out_and_show_in_the_spread():
    rng = np.random.default_rng(3)
    cell, metals, anions = supercell(3.2, 5.1, 0.39, np.diag([4, 3, 2]))
    shifts = rng.normal(0, 0.02, len(metals))
    anions = anions + np.outer(shifts, [0, 0, 5.1]) + rng.normal(0, 0.05, anions.shape) * [1, 1, 0]
    found = internal_parameters(cell, metals, anions, [4, 3, 2])
    assert found.u == pytest.approx(0.39 + shifts.mean())
    assert found.u_spread == pytest.approx(shifts.std())


def test_a_small_shear_of_the_cell_does_no_harm():
    cell, metals, anions = supercell(3.2, 5.1, 0.38, np.diag([4, 3, 2]))
    sheared = strain_cell(cell, [0.0, 0.0, 0.0, 0.01, -0.02, 0.01])
    follow = np.linalg.solve(cell, sheared)
    found = internal_parameters(sheared, metals @ follow, anions @ follow, [4, 3, 2])
    assert found.u == pytest.approx(0.38)
    assert found.c_over_a == pytest.approx(5.1 / 3.2, rel=1e-3)


def test_what_is_no_wurtzite_supercell_is_refused():
    cell, metals, anions = supercell(3.2, 5.1, 0.38, np.diag([2, 2, 2]))
    with pytest.raises(InputError, match="integers"):
        internal_parameters(cell, metals, anions, [2, 2, 1.5])
    with pytest.raises(InputError, match="as many metals"):
        internal_parameters(cell, metals, anions[:-1], [2, 2, 2])
    parent = cell / 2
    beside = np.array([[0, 0, 1.9], [0, 0, 4.45]])  # neither column of metals
    with pytest.raises(InputError, match="no anions above"):
        internal_parameters(parent, [[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5]] @ parent, beside, [1, 1, 1])
