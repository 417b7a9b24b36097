"""Mixing energy and structural stability, per formula unit.

Energies are only comparable when they come from the same level of theory; that is for the caller to see to.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isclose

from aiida_hardcoat.errors import InputError


def linear_interpolation(fractions: Mapping[str, float], end_members: Mapping[str, float]) -> float:
    """The concentration-weighted mean of the end members' values (Vegard's rule), for any number of metals.

    :param fractions: mole fraction of each metal on its sublattice; they sum to 1.
    :param end_members: value of each pure end member, such as eV per formula unit.
    :raises InputError: for a metal without an end member, a negative fraction, or a sum other than 1.
    """
    if any(fraction < 0 for fraction in fractions.values()):
        raise InputError(f"Mole fractions are not negative: {dict(fractions)}.")
    if not isclose(sum(fractions.values()), 1.0, abs_tol=1e-6):
        raise InputError(f"Mole fractions sum to 1, got {sum(fractions.values()):g} from {dict(fractions)}.")
    missing = [metal for metal, fraction in fractions.items() if fraction > 0 and metal not in end_members]
    if missing:
        raise InputError(f"No end member for {', '.join(missing)}: calculate it at the same level of theory first.")
    return sum(fraction * end_members[metal] for metal, fraction in fractions.items() if fraction > 0)


def mixing_energy(energy: float, fractions: Mapping[str, float], end_members: Mapping[str, float]) -> float:
    """E(alloy) - sum_i x_i E(i), all in the same structure type, eV per formula unit.

    Negative: the alloy is stable against decomposition into its end members at 0 K in that structure.
    """
    return energy - linear_interpolation(fractions, end_members)


def structural_stability(energy: float, rocksalt_energy: float) -> float:
    """E(structure) - E(B1) of one composition, eV per formula unit; negative: more stable than rocksalt."""
    return energy - rocksalt_energy
