"""Sound velocities and the Debye temperature of a polycrystal from its moduli.

Anderson, J. Phys. Chem. Solids 24, 909 (1963).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi, sqrt

from scipy.constants import Boltzmann, atomic_mass, hbar

from aiida_hardcoat.errors import InputError


@dataclass(frozen=True)
class SoundVelocities:
    """Longitudinal, transverse and Debye-mean velocity of sound, m/s."""

    longitudinal: float
    transverse: float
    mean: float


def density(masses: Sequence[float], volume: float) -> float:
    """Density in kg/m^3 of atoms of given masses (atomic mass units) in a volume (Angstrom^3)."""
    if not volume > 0:
        raise InputError(f"The volume of a cell is a positive number of cubic Angstrom, got {volume}.")
    return float(sum(masses) * atomic_mass / (volume * 1e-30))


def sound_velocities(bulk: float, shear: float, density: float) -> SoundVelocities:
    """Velocities from bulk and shear modulus (GPa) and density (kg/m^3).

    :raises InputError: unless all three are positive.
    """
    if not (bulk > 0 and shear > 0 and density > 0):
        raise InputError("Sound velocities need a positive bulk modulus, shear modulus and density.")
    longitudinal = sqrt((bulk + 4 * shear / 3) * 1e9 / density)
    transverse = sqrt(shear * 1e9 / density)
    mean = ((2 / transverse**3 + 1 / longitudinal**3) / 3) ** (-1 / 3)
    return SoundVelocities(longitudinal, transverse, mean)


def debye_temperature(mean_velocity: float, atoms_per_volume: float) -> float:
    """Debye temperature in K from the mean velocity of sound (m/s) and the number of atoms per Angstrom^3."""
    if not atoms_per_volume > 0:
        raise InputError(f"The number of atoms per cubic Angstrom is positive, got {atoms_per_volume}.")
    wave_number = (6 * pi**2 * atoms_per_volume * 1e30) ** (1 / 3)
    return float(hbar * wave_number * mean_velocity / Boltzmann)
