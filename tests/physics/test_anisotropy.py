"""Anisotropy measures and directional Young's modulus."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.anisotropy import (
    directional_youngs_modulus,
    log_euclidean_anisotropy,
    percent_anisotropy,
    universal_anisotropy,
    youngs_modulus_extremes,
    zener_anisotropy,
)
from aiida_hardcoat.physics.moduli import moduli
from aiida_hardcoat.physics.projection import project, rotate_tensor

tensors = arrays(float, (6, 6), elements=st.floats(-12, 12, allow_subnormal=False)).map(
    lambda a: a @ a.T + 20 * np.eye(6)
)
directions = arrays(float, 3, elements=st.floats(-1, 1, allow_subnormal=False)).filter(
    lambda n: np.linalg.norm(n) > 0.1
)


@given(tensors)
def test_an_isotropic_crystal_has_no_anisotropy(tensor):
    isotropic = project(tensor, "isotropic").tensor
    averages = moduli(isotropic)
    assert universal_anisotropy(averages) == pytest.approx(0, abs=1e-9)
    assert log_euclidean_anisotropy(averages) == pytest.approx(0, abs=1e-7)
    assert percent_anisotropy(averages) == pytest.approx((0, 0), abs=1e-9)
    assert zener_anisotropy(isotropic) == pytest.approx(1)
    extremes = youngs_modulus_extremes(isotropic)
    assert extremes.minimum == pytest.approx(averages.youngs_modulus)
    assert extremes.maximum == pytest.approx(averages.youngs_modulus)


@given(tensors)
def test_measures_are_not_negative(tensor):
    averages = moduli(tensor)
    assert universal_anisotropy(averages) >= -1e-9
    assert log_euclidean_anisotropy(averages) >= 0
    assert min(percent_anisotropy(averages)) >= -1e-9


@given(tensors, directions)
def test_pulling_a_turned_crystal_along_a_turned_direction(tensor, direction):
    rotation = Rotation.from_euler("zxz", [20, 50, 70], degrees=True).as_matrix()
    turned = directional_youngs_modulus(rotate_tensor(tensor, rotation), rotation @ direction)
    assert turned == pytest.approx(directional_youngs_modulus(tensor, direction), rel=1e-7)


@given(tensors)
def test_pulling_along_an_axis_is_the_inverse_compliance(tensor):
    values = directional_youngs_modulus(tensor, np.eye(3))
    np.testing.assert_allclose(values, 1 / np.diag(np.linalg.inv(tensor))[:3])


@settings(deadline=None, max_examples=25)
@given(tensors, arrays(float, (50, 3), elements=st.floats(-1, 1, allow_subnormal=False)))
def test_no_direction_lies_beyond_the_extremes(tensor, many):
    many = many[np.linalg.norm(many, axis=1) > 0.1]
    extremes = youngs_modulus_extremes(tensor)
    if len(many):
        values = directional_youngs_modulus(tensor, many)
        assert extremes.minimum <= values.min() * (1 + 1e-6)
        assert extremes.maximum >= values.max() * (1 - 1e-6)
    for value, direction in (
        (extremes.minimum, extremes.minimum_direction),
        (extremes.maximum, extremes.maximum_direction),
    ):
        assert np.linalg.norm(direction) == pytest.approx(1)
        assert directional_youngs_modulus(tensor, direction) == pytest.approx(value)


@given(st.floats(100, 600, allow_subnormal=False), st.floats(0, 0.8), st.floats(10, 300))
def test_extremes_of_a_cubic_crystal_lie_along_its_cube_edge_and_diagonal(c11, ratio, c44):
    tensor = np.diag([c11] * 3 + [c44] * 3)
    tensor[:3, :3] += ratio * c11 * (1 - np.eye(3))
    ends = sorted(directional_youngs_modulus(tensor, [[1, 0, 0], [1, 1, 1]]))
    extremes = youngs_modulus_extremes(tensor)
    assert [extremes.minimum, extremes.maximum] == pytest.approx(ends, rel=1e-6)


def test_copper():
    # Overton and Gaffney (1955), GPa; textbook extremes 66.7 along [100] and 191.1 along [111].
    copper = np.diag([168.4] * 3 + [75.4] * 3)
    copper[:3, :3] += 121.4 * (1 - np.eye(3))
    assert zener_anisotropy(copper) == pytest.approx(3.21, abs=0.01)
    assert universal_anisotropy(moduli(copper)) == pytest.approx(
        6 / 5 * (np.sqrt(3.2085) - 1 / np.sqrt(3.2085)) ** 2, abs=1e-3
    )
    extremes = youngs_modulus_extremes(copper)
    assert extremes.minimum == pytest.approx(66.7, abs=0.3)
    assert extremes.maximum == pytest.approx(191.1, abs=0.5)


def test_what_has_no_directional_modulus_is_refused():
    with pytest.raises(InputError, match="not positive definite"):
        youngs_modulus_extremes(np.diag([1.0, 1, 1, 1, 1, -1]))
    with pytest.raises(InputError, match="not all zero"):
        directional_youngs_modulus(np.eye(6), [0, 0, 0])
    with pytest.raises(InputError, match="singular"):
        directional_youngs_modulus(np.diag([1.0, 1, 1, 1, 1, 0]), [1, 0, 0])
