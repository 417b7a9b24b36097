"""Strain sets, deformation gradients and Voigt notation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.strain import (
    deformation_gradient,
    green_lagrange_strain,
    second_piola_kirchhoff,
    small_strain,
    strain_cell,
    strain_set,
    strain_to_matrix,
    strain_to_voigt,
    stress_to_matrix,
    stress_to_voigt,
    vasp_moduli,
    vasp_stress,
)

six = arrays(float, 6, elements=st.floats(-0.1, 0.1, allow_subnormal=False))


def test_default_set_holds_both_signs_of_every_amplitude_of_every_component():
    strains = strain_set()
    assert strains.shape == (24, 6)
    assert (np.count_nonzero(strains, axis=1) == 1).all()
    for component in range(6):
        expected = [0.015, 0.03] if component < 3 else [0.03, 0.06]
        given_values = sorted(strains[strains[:, component] != 0, component])
        assert given_values == sorted([*expected, *(-value for value in expected)])


@pytest.mark.parametrize("amplitudes", [(), (0.0,), (-0.01,), (1.5,), (0.01, 0.01)])
def test_useless_amplitudes_are_refused(amplitudes):
    with pytest.raises(InputError):
        strain_set(normal=amplitudes)


def test_shear_is_engineering():
    gradient = deformation_gradient([0, 0, 0, 0, 0, 0.06])
    assert gradient[0, 1] == gradient[1, 0] == pytest.approx(0.03)


@given(six)
def test_voigt_round_trips(voigt):
    np.testing.assert_allclose(strain_to_voigt(strain_to_matrix(voigt)), voigt)
    np.testing.assert_allclose(stress_to_voigt(stress_to_matrix(voigt)), voigt)


@given(six, six)
def test_work_is_the_same_in_both_notations(strain, stress):
    work = np.sum(strain_to_matrix(strain) * stress_to_matrix(stress))
    assert strain @ stress == pytest.approx(work, abs=1e-12)


@given(six)
def test_small_strain_of_the_gradient_is_the_strain(strain):
    np.testing.assert_allclose(small_strain(deformation_gradient(strain)), strain, atol=1e-15)


def test_strained_cell_moves_every_vector_by_the_gradient():
    cell = np.array([[0, 2.1, 2.1], [2.1, 0, 2.1], [2.1, 2.1, 0]])
    strain = [0.01, -0.02, 0.03, 0.01, 0.02, -0.03]
    gradient = deformation_gradient(strain)
    for vector, strained in zip(cell, strain_cell(cell, strain), strict=True):
        np.testing.assert_allclose(strained, gradient @ vector)
    np.testing.assert_allclose(strain_cell(cell, np.zeros((4, 6))), [cell] * 4)


def test_finite_strain_is_blind_to_rotation():
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    gradient = deformation_gradient([0.01, 0.02, -0.01, 0.02, 0.03, -0.02])
    np.testing.assert_allclose(green_lagrange_strain(turn @ gradient), green_lagrange_strain(gradient), atol=1e-15)
    cauchy = np.array([[3.0, 1.0, 0.5], [1.0, -2.0, 0.2], [0.5, 0.2, 1.0]])
    np.testing.assert_allclose(
        second_piola_kirchhoff(turn @ cauchy @ turn.T, turn @ gradient),
        second_piola_kirchhoff(cauchy, gradient),
    )


def test_vasp_stress_changes_sign_unit_and_order():
    np.testing.assert_allclose(vasp_stress([10, 20, 30, 40, 50, 60]), [-1, -2, -3, -5, -6, -4])


def test_vasp_moduli_change_unit_and_order_of_both_axes():
    printed = np.arange(36.0).reshape(6, 6)
    printed += printed.T
    tensor = vasp_moduli(printed)
    vasp = ["xx", "yy", "zz", "xy", "yz", "xz"]
    ours = ["xx", "yy", "zz", "yz", "xz", "xy"]
    for row, first in enumerate(ours):
        for column, second in enumerate(ours):
            assert tensor[row, column] == printed[vasp.index(first), vasp.index(second)] / 10


def test_wrong_shape_is_named():
    with pytest.raises(InputError, match=r"shape \(5,\)"):
        stress_to_matrix(np.zeros(5))
