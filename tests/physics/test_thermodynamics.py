"""Mixing energies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.thermodynamics import linear_interpolation, mixing_energy, structural_stability

ENDS = {"Ti": -19.5, "Al": -15.0, "Zr": -20.5}


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_mixture_on_the_line_of_its_end_members_has_no_mixing_energy(first, second):
    fractions = {"Ti": first * (1 - second), "Al": (1 - first) * (1 - second), "Zr": second}
    energy = sum(fractions[metal] * ENDS[metal] for metal in ENDS)
    assert mixing_energy(energy, fractions, ENDS) == pytest.approx(0, abs=1e-9)
    assert mixing_energy(energy + 0.1, fractions, ENDS) == pytest.approx(0.1)


def test_pure_end_members_need_only_themselves():
    assert mixing_energy(-19.5, {"Ti": 1.0, "Hf": 0.0}, {"Ti": -19.5}) == 0


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"Ti": 0.5, "Hf": 0.5}, "No end member for Hf"),
        ({"Ti": 0.5, "Al": 0.4}, "sum to 1"),
        ({"Ti": 1.5, "Al": -0.5}, "negative"),
    ],
)
def test_what_cannot_be_interpolated_is_refused(fractions, message):
    with pytest.raises(InputError, match=message):
        linear_interpolation(fractions, ENDS)


def test_structural_stability_is_negative_below_rocksalt():
    assert structural_stability(-19.7, -19.5) == pytest.approx(-0.2)
