"""Sound velocities, density and Debye temperature."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.acoustics import debye_temperature, density, sound_velocities


def test_aluminium():
    # a = 4.0496 A, B = 76 GPa, G = 26 GPa: handbook density 2.70 g/cm3, 6.4 and 3.1 km/s, 394-428 K.
    volume = 4.0496**3
    mass_density = density([26.9815] * 4, volume)
    assert mass_density == pytest.approx(2700, rel=2e-3)
    velocities = sound_velocities(76.0, 26.0, mass_density)
    assert velocities.longitudinal == pytest.approx(6400, rel=0.01)
    assert velocities.transverse == pytest.approx(3100, rel=0.01)
    assert 390 < debye_temperature(velocities.mean, 4 / volume) < 430


@given(st.floats(1, 500), st.floats(1, 500), st.floats(500, 20000))
def test_velocities_are_ordered_and_follow_the_moduli(bulk, shear, mass_density):
    velocities = sound_velocities(bulk, shear, mass_density)
    assert velocities.transverse < velocities.mean < velocities.longitudinal
    stiffer = sound_velocities(4 * bulk, 4 * shear, mass_density)
    assert stiffer.mean == pytest.approx(2 * velocities.mean)


@pytest.mark.parametrize("values", [(0, 1, 1), (1, -1, 1), (1, 1, 0)])
def test_velocities_need_positive_input(values):
    with pytest.raises(InputError, match="positive"):
        sound_velocities(*values)


def test_volumes_are_positive():
    with pytest.raises(InputError):
        density([1.0], 0.0)
    with pytest.raises(InputError):
        debye_temperature(5000.0, 0.0)
