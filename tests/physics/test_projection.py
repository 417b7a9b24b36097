"""Kelvin notation, rotations and projection onto crystal classes."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.projection import (
    CRYSTAL_CLASSES,
    crystal_class_name,
    detect_class,
    independent_constants,
    kelvin_to_voigt,
    point_group,
    project,
    project_onto_group,
    rank4_to_voigt,
    rotate_tensor,
    symmetric_basis,
    voigt_to_kelvin,
    voigt_to_rank4,
)

SHARED = Path(__file__).parents[2].parent / "shared"
CONSTANTS = {
    "triclinic": 21,
    "monoclinic": 13,
    "orthorhombic": 9,
    "tetragonal_low": 7,
    "tetragonal": 6,
    "trigonal_low": 7,
    "trigonal": 6,
    "hexagonal": 5,
    "cubic": 3,
    "isotropic": 2,
}
ORDERS = {"triclinic": 1, "orthorhombic": 4, "tetragonal": 8, "trigonal": 6, "hexagonal": 12, "cubic": 24}

tensors = arrays(float, (6, 6), elements=st.floats(-300, 300, allow_subnormal=False)).map(lambda a: a + a.T)
classes = st.sampled_from(CRYSTAL_CLASSES)
rotations = (
    arrays(float, 4, elements=st.floats(-1, 1, allow_subnormal=False))
    .filter(lambda q: np.linalg.norm(q) > 0.1)
    .map(lambda q: Rotation.from_quat(q / np.linalg.norm(q)).as_matrix())
)


@pytest.mark.parametrize(("name", "count"), CONSTANTS.items())
def test_number_of_independent_constants(name, count):
    assert independent_constants(name) == count


@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_groups_close(name, order):
    group = point_group(name)
    assert len(group) == order
    for first in group:
        for second in group:
            assert np.abs(group - first @ second).max(axis=(1, 2)).min() < 1e-10


@given(tensors, classes)
def test_projector_is_idempotent_orthogonal_and_keeps_its_norms(tensor, name):
    once = project(tensor, name)
    twice = project(once.tensor, name)
    scale = 1e-9 * max(1.0, np.abs(tensor).max())
    np.testing.assert_allclose(twice.tensor, once.tensor, atol=scale)
    whole = np.linalg.norm(voigt_to_kelvin(tensor))
    kept = np.linalg.norm(voigt_to_kelvin(once.tensor))
    assert whole**2 == pytest.approx(kept**2 + once.norm_removed**2, abs=1e-6 * max(1.0, whole**2))


@given(tensors, classes)
def test_projected_tensor_is_invariant_under_its_group(tensor, name):
    projected = project(tensor, name).tensor
    for rotation in point_group(name):
        np.testing.assert_allclose(rotate_tensor(projected, rotation), projected, atol=1e-8)


@given(tensors)
def test_closed_forms_of_the_cubic_and_hexagonal_projection(tensor):
    cubic = project(tensor, "cubic").tensor
    assert cubic[0, 0] == pytest.approx(np.mean(np.diag(tensor)[:3]), abs=1e-9)
    assert cubic[0, 1] == pytest.approx((tensor[0, 1] + tensor[0, 2] + tensor[1, 2]) / 3, abs=1e-9)
    assert cubic[3, 3] == pytest.approx(np.mean(np.diag(tensor)[3:]), abs=1e-9)
    c = project(tensor, "hexagonal").tensor
    mean = tensor[0, 0] + tensor[1, 1]
    assert c[0, 0] == pytest.approx(3 / 8 * mean + tensor[0, 1] / 4 + tensor[5, 5] / 2, abs=1e-9)
    assert c[0, 1] == pytest.approx(mean / 8 + 3 / 4 * tensor[0, 1] - tensor[5, 5] / 2, abs=1e-9)
    assert c[0, 2] == pytest.approx((tensor[0, 2] + tensor[1, 2]) / 2, abs=1e-9)
    assert c[2, 2] == pytest.approx(tensor[2, 2], abs=1e-9)
    assert c[3, 3] == pytest.approx((tensor[3, 3] + tensor[4, 4]) / 2, abs=1e-9)
    assert c[5, 5] == pytest.approx((c[0, 0] - c[0, 1]) / 2, abs=1e-9)


@given(tensors, rotations)
def test_projecting_a_turned_crystal_with_its_turned_group_turns_the_projection(tensor, rotation):
    group = rotation @ point_group("hexagonal") @ rotation.T
    turned = project_onto_group(rotate_tensor(tensor, rotation), group)
    np.testing.assert_allclose(turned, rotate_tensor(project(tensor, "hexagonal").tensor, rotation), atol=1e-8)


@given(tensors, rotations)
def test_rotation_is_that_of_the_rank_4_tensor(tensor, rotation):
    full = np.einsum("ia,jb,kc,ld,abcd->ijkl", *[rotation] * 4, voigt_to_rank4(tensor))
    np.testing.assert_allclose(rotate_tensor(tensor, rotation), rank4_to_voigt(full), atol=1e-8)


@given(tensors)
def test_notations_round_trip(tensor):
    np.testing.assert_allclose(kelvin_to_voigt(voigt_to_kelvin(tensor)), tensor, rtol=1e-14)
    np.testing.assert_allclose(rank4_to_voigt(voigt_to_rank4(tensor)), tensor, rtol=1e-14)
    rank4_norm = np.linalg.norm(voigt_to_rank4(tensor))
    assert np.linalg.norm(voigt_to_kelvin(tensor)) == pytest.approx(rank4_norm, rel=1e-12)


@pytest.mark.parametrize("name", CRYSTAL_CLASSES)
def test_basis_is_orthonormal_and_spans_what_the_projector_keeps(name):
    basis = symmetric_basis(name)
    kelvin = np.array([voigt_to_kelvin(tensor) for tensor in basis]).reshape(len(basis), -1)
    np.testing.assert_allclose(kelvin @ kelvin.T, np.eye(len(basis)), atol=1e-12)
    for tensor in basis:
        np.testing.assert_allclose(project(100 * tensor, name).tensor, 100 * tensor, atol=1e-9)


@settings(max_examples=20)
@given(tensors.filter(lambda t: np.linalg.norm(t) > 1), st.sampled_from(sorted(CONSTANTS)))
def test_detection_finds_a_class_that_the_tensor_obeys(tensor, name):
    projected = project(tensor, name).tensor
    if np.abs(projected).max() < 1:
        return
    found = detect_class(projected, 1e-6)
    assert project(projected, found).relative_norm_removed <= 1e-6
    assert independent_constants(found) <= independent_constants(name)


def test_monoclinic_axis_can_be_stated():
    tensor = np.arange(1.0, 37.0).reshape(6, 6)
    tensor += tensor.T
    for name, forbidden in {"monoclinic": (3, 5), "monoclinic_z": (3, 4), "monoclinic_x": (4, 5)}.items():
        projected = project(tensor, name).tensor
        assert not projected[np.ix_(range(3), forbidden)].any()
        assert np.count_nonzero(projected) == 20


def test_names():
    assert crystal_class_name("Rhombohedral") == "trigonal"
    assert crystal_class_name("m-3m") == "cubic"
    assert crystal_class_name("6/mmm") == "hexagonal"
    assert crystal_class_name("tetragonal-low") == "tetragonal_low"
    with pytest.raises(InputError, match="did you mean 'hexagonal'"):
        crystal_class_name("hexagnal")


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (np.eye(5), "6x6"),
        (np.full((6, 6), np.nan), "not finite"),
        (np.triu(np.full((6, 6), 100.0)), "not symmetric: C12"),
    ],
)
def test_what_is_no_elastic_tensor_is_refused(tensor, message):
    with pytest.raises(InputError, match=message):
        project(tensor, "cubic")


def test_a_matrix_that_is_no_rotation_is_refused():
    with pytest.raises(InputError, match="orthogonal"):
        rotate_tensor(np.eye(6), 2 * np.eye(3))


@pytest.mark.skipif(not (SHARED / "vectors").is_dir(), reason="the reference vectors are not beside the checkout")
def test_projection_vectors_of_httk():
    for case in json.loads((SHARED / "vectors/projection_vectors.json").read_text()):
        projected = project(case["C_in"], case["symmetry"]).tensor
        np.testing.assert_allclose(projected, case["C_projected"], atol=5.01e-4)
