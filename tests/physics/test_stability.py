"""Born stability."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from aiida_hardcoat.physics.projection import project, rotate_tensor
from aiida_hardcoat.physics.stability import (
    STUDY_TOLERANCE,
    eigenvalues,
    is_stable,
    is_stable_cubic,
    is_stable_hexagonal,
)

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors"

constants = st.floats(-300, 300, allow_subnormal=False).filter(lambda value: abs(value) > 1e-3)
factors = st.sampled_from([1.0, STUDY_TOLERANCE])


def tensor_of(c11, c12, c13, c33, c44, c66) -> np.ndarray:
    tensor = np.diag([c11, c11, c33, c44, c44, c66]).astype(float)
    tensor[0, 1] = tensor[1, 0] = c12
    tensor[:2, 2] = tensor[2, :2] = c13
    return tensor


@given(constants, constants, constants, factors)
def test_closed_form_and_eigenvalues_agree_for_cubic_crystals(c11, c12, c44, factor):
    tensor = tensor_of(c11, c12, c12, c11, c44, c44)
    smallest = min(factor * c11 - c12, factor * c11 + 2 * c12, c44)
    if abs(smallest) > 1e-6:
        assert is_stable(tensor, "cubic", factor) == is_stable_cubic(tensor, factor) == (smallest > 0)


@given(constants, constants, constants, constants, constants, factors)
def test_closed_form_and_eigenvalues_agree_for_hexagonal_crystals(c11, c12, c13, c33, c44, factor):
    tensor = tensor_of(c11, c12, c13, c33, c44, (c11 - c12) / 2)
    margin = factor * c33 * (factor * c11 + c12) - 2 * c13**2
    if min(abs(margin), abs(factor * c11 - abs(c12))) > 1e-3:
        assert is_stable(tensor, "hexagonal", factor) == is_stable_hexagonal(tensor, factor)


@given(
    arrays(float, (6, 6), elements=st.floats(-10, 10, allow_subnormal=False)),
    st.floats(-100, 400, allow_subnormal=False),
    st.tuples(*[st.floats(-180, 180, allow_subnormal=False)] * 3),
)
def test_stability_means_positive_energy_in_every_frame(matrix, shift, turn):
    tensor = matrix + matrix.T + shift * np.eye(6)
    turned = rotate_tensor(tensor, Rotation.from_euler("zxz", turn, degrees=True).as_matrix())
    scale = max(1.0, np.abs(tensor).max())
    np.testing.assert_allclose(eigenvalues(turned), eigenvalues(tensor), atol=1e-8 * scale)
    if eigenvalues(tensor)[0] > 1e-6 * scale:
        assert is_stable(tensor)
        strain = np.linalg.eigh(tensor)[1][:, 0]
        assert strain @ tensor @ strain > 0
    elif eigenvalues(tensor)[0] < -1e-6 * scale:
        assert not is_stable(tensor)


@given(
    arrays(float, (6, 6), elements=st.floats(-15, 15, allow_subnormal=False)),
    st.sampled_from(["cubic", "hexagonal", "trigonal", "isotropic"]),
)
def test_what_is_stable_stays_stable_with_tolerance(matrix, name):
    tensor = project(matrix @ matrix.T + 10 * np.eye(6), name).tensor
    assert is_stable(tensor, name)
    assert is_stable(tensor, name, STUDY_TOLERANCE)


def test_the_tolerance_lets_through_what_just_misses():
    just, far = tensor_of(100, 105, 105, 100, 50, 50), tensor_of(100, 115, 115, 100, 50, 50)
    for check in (is_stable_cubic, lambda t, f: is_stable(t, "cubic", f)):
        assert not check(just, 1.0)
        assert check(just, STUDY_TOLERANCE)
        assert not check(far, STUDY_TOLERANCE)


def test_zero_modes_are_not_stable():
    assert not is_stable(tensor_of(100, 100, 100, 100, 50, 50))
    assert not is_stable(np.zeros((6, 6)) + np.diag([1, 1, 1, 1, 1, 0]))


@pytest.mark.skipif(not VECTORS.is_dir(), reason="the reference vectors are not beside the checkout")
def test_stability_flags_of_httk():
    for case in json.loads((VECTORS / "projection_vectors.json").read_text()):
        projected = project(case["C_in"], case["symmetry"]).tensor
        flags = case["averages"]
        assert is_stable(projected, case["symmetry"]) == bool(flags["mechanically_stable"])
        tolerant = is_stable(projected, case["symmetry"], STUDY_TOLERANCE)
        assert tolerant == bool(flags["mechanically_stable_with_tolerance"])
