"""Everything that follows from one elastic tensor, under stable names.

`elastic_properties` is what the command line prints and what a catalogue entry stores. All keys are always
there; a value is None where the quantity is undefined, such as the hardness of a crystal that is not stable,
or Zener's ratio outside the cubic class.
"""

from __future__ import annotations

from dataclasses import asdict
from math import isfinite
from typing import Any

from numpy.typing import ArrayLike

from aiida_hardcoat.physics import acoustics, anisotropy, hardness, stability
from aiida_hardcoat.physics.moduli import Moduli, cauchy_pressures, moduli
from aiida_hardcoat.physics.projection import project
from aiida_hardcoat.physics.strain import FloatArray


def elastic_properties(
    tensor: ArrayLike,
    crystal_class: str,
    *,
    density: float | None = None,
    atoms_per_volume: float | None = None,
) -> dict[str, Any]:
    """Project a tensor onto its class and derive all that the other modules of physics know of it.

    :param tensor: ``(6, 6)`` Voigt stiffness, GPa, in the standard frame of the class.
    :param crystal_class: a name of `projection.CRYSTAL_CLASSES` or a Laue symbol.
    :param density: kg/m^3; sound velocities (m/s) need it.
    :param atoms_per_volume: atoms per Angstrom^3; the Debye temperature (K, with the density) and fracture
        toughness (MPa m^(1/2)) need it.
    :return: plain floats, booleans, strings, lists and None. Moduli, hardness and eigenvalues in GPa.
    :raises InputError: for a tensor that is not 6x6, finite and symmetric, or an unknown class.
    """
    projection = project(tensor, crystal_class)
    c, name = projection.tensor, projection.crystal_class
    averages = moduli(c)
    values: dict[str, Any] = {
        "symmetry": name,
        "projected": c.tolist(),
        "projected_away": projection.relative_norm_removed,
        "projected_away_norm": projection.norm_removed,
        **{f"c{row + 1}{column + 1}": float(c[row, column]) for row in range(6) for column in range(row, 6)},
        **asdict(averages),
        **_cauchy(c, name),
        "stable": stability.is_stable(c, name),
        "stable_with_tolerance": stability.is_stable(c, name, stability.STUDY_TOLERANCE),
        "eigenvalues": stability.eigenvalues(c).tolist(),
        **_anisotropies(c, name, averages),
        **_hardnesses(averages, atoms_per_volume),
        **_acoustics(averages, density, atoms_per_volume),
    }
    return {key: None if isinstance(value, float) and not isfinite(value) else value for key, value in values.items()}


def _cauchy(c: FloatArray, crystal_class: str) -> dict[str, float | None]:
    pressures = (*cauchy_pressures(c, crystal_class), None, None)
    return {"cauchy_pressure": pressures[0], "cauchy_pressure_basal": pressures[1]}


def _anisotropies(c: FloatArray, crystal_class: str, averages: Moduli) -> dict[str, float | None]:
    bulk, shear = anisotropy.percent_anisotropy(averages)
    low = high = None
    if stability.is_stable(c):
        extremes = anisotropy.youngs_modulus_extremes(c)
        low, high = extremes.minimum, extremes.maximum
    return {
        "universal_anisotropy": anisotropy.universal_anisotropy(averages),
        "log_euclidean_anisotropy": anisotropy.log_euclidean_anisotropy(averages),
        "percent_anisotropy_bulk": bulk,
        "percent_anisotropy_shear": shear,
        "zener_anisotropy": anisotropy.zener_anisotropy(c) if crystal_class in ("cubic", "isotropic") else None,
        "youngs_modulus_min": low,
        "youngs_modulus_max": high,
    }


def _hardnesses(averages: Moduli, atoms_per_volume: float | None) -> dict[str, float | None]:
    bulk, shear = averages.bulk_modulus, averages.shear_modulus
    defined = bulk > 0 and shear > 0
    values: dict[str, float | None] = {
        f"hardness_{name}": model(bulk, shear) if defined else None for name, model in hardness.HARDNESS_MODELS.items()
    }
    for name, toughness in hardness.FRACTURE_TOUGHNESS_MODELS.items():
        key = f"fracture_toughness_{name}"
        values[key] = toughness(bulk, shear, 1 / atoms_per_volume) if defined and atoms_per_volume else None
    return values


def _acoustics(averages: Moduli, density: float | None, atoms_per_volume: float | None) -> dict[str, float | None]:
    values: dict[str, float | None] = dict.fromkeys(
        (
            "sound_velocity_longitudinal",
            "sound_velocity_transverse",
            "sound_velocity_mean",
            "debye_temperature",
        )
    )
    bulk, shear = averages.bulk_modulus, averages.shear_modulus
    if density is not None and bulk > 0 and shear > 0:
        velocities = acoustics.sound_velocities(bulk, shear, density)
        values |= {f"sound_velocity_{kind}": velocity for kind, velocity in asdict(velocities).items()}
        if atoms_per_volume is not None:
            values["debye_temperature"] = acoustics.debye_temperature(velocities.mean, atoms_per_volume)
    return values
