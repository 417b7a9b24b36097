"""The catalogue's entry: an elastic tensor with all that was derived from it, flat and queryable.

Importing this module needs neither torch nor pymatgen, so that a shared archive opens anywhere AiiDA does.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from aiida_hardcoat.data.flat import TOLERANCE, FlatData, check_composition, close, field

Matrix = list[list[float]]

INDEPENDENT_CONSTANTS = {
    "cubic": ("c11", "c12", "c44"),
    "hexagonal": ("c11", "c12", "c13", "c33", "c44"),
}
"""The fields of the independent elastic constants, by crystal class."""


class ElasticData(FlatData):
    """Elastic tensor of one alloy in one structure at one level of theory. GPa unless another unit is named."""

    SCHEMA_VERSION = 2
    """2 added ``number_of_equivalent_strains`` and ``space_group``; entries of version 1 used no symmetry."""

    # Two runs of one calculation are one entry, however long each took.
    _hash_ignored_attributes = ("evaluations", "seconds")

    class AttributesModel(FlatData.AttributesModel):
        # what became of it, and how it was strained
        relaxed_structure_type: str = field("What the parent became on relaxation, e.g. Bk for a B4 that flattened")
        crystal_class: str = field("Crystal class that the tensor was projected onto")
        ions: Literal["relaxed", "clamped"] = field("Whether ions relaxed under strain, or moved with the cell")
        number_of_formula_units: int = field("Formula units in the cell")

        # level of theory
        level: str = field("Engine and model or functional, e.g. ase:7net-l3i5")
        level_fingerprint: str = field("Short hash of the level of theory: entries are comparable where it is equal")
        level_of_theory: dict[str, Any] = field("Engine, model, versions, hash of the weights")

        # state
        energy_per_formula: float = field("Energy of the unstrained cell, eV per formula unit")
        volume_per_formula: float = field("Volume of the unstrained cell, cubic Angstrom per formula unit")
        density: float = field("kg/m^3")
        lattice_a: float = field("Lattice parameter a of the parent lattice that fits the cell best, Angstrom")
        c_over_a: float | None = field("c/a of hexagonal parents", None)
        u: float | None = field("Mean internal parameter of wurtzite, in units of c", None)
        u_spread: float | None = field("Standard deviation of u over the cell", None)

        # tensor
        tensor: Matrix = field("6x6 tensor projected onto the crystal class, Voigt order, frame of the parent, GPa")
        tensor_fitted: Matrix = field("6x6 tensor as fitted, before projection, GPa")
        standard_errors: Matrix = field("Standard error of each fitted constant, GPa")
        projected_away: float = field("Norm of what the projection removed, relative to the fitted tensor")
        r_squared: float = field("Coefficient of determination of the fit")
        residual: float = field("Root mean square residual stress of the fit, GPa")
        largest_residual: float = field("Largest residual stress of the fit, GPa")
        reference_stress: float = field("Largest stress component of the unstrained cell, GPa")
        number_of_strains: int = field("Strained cells that were computed and entered the fit")
        number_of_equivalent_strains: int = field("Strains in the fit whose stress follows from those by symmetry", 0)
        space_group: str | None = field("Of the relaxed cell, where its symmetry made strained cells superfluous", None)
        force_threshold: float | None = field("Loosest force threshold that a strained cell reached, eV/Angstrom", None)
        c11: float = field("Of the projected tensor, GPa")
        c12: float = field("Of the projected tensor, GPa")
        c13: float = field("Of the projected tensor, GPa")
        c33: float = field("Of the projected tensor, GPa")
        c44: float = field("Of the projected tensor, GPa")
        c66: float = field("Of the projected tensor, GPa")

        # moduli of the projected tensor; None where an unstable tensor has none
        bulk_modulus: float | None = field("Hill average, GPa", None)
        bulk_modulus_voigt: float = field("GPa")
        bulk_modulus_reuss: float | None = field("GPa", None)
        shear_modulus: float | None = field("Hill average, GPa", None)
        shear_modulus_voigt: float = field("GPa")
        shear_modulus_reuss: float | None = field("GPa", None)
        youngs_modulus: float | None = field("From the Hill averages, GPa", None)
        poisson_ratio: float | None = field("From the Hill averages", None)
        bulk_modulus_error: float | None = field("Standard error propagated from the fit, GPa", None)
        shear_modulus_error: float | None = field("Standard error propagated from the fit, GPa", None)
        youngs_modulus_error: float | None = field("Standard error propagated from the fit, GPa", None)
        poisson_ratio_error: float | None = field("Standard error propagated from the fit", None)
        pugh_ratio: float | None = field("Bulk over shear modulus", None)
        cauchy_pressure: float | None = field("c12 - c44 (cubic) or c13 - c44 (hexagonal), GPa", None)
        youngs_modulus_min: float | None = field("Smallest directional Young's modulus, GPa", None)
        youngs_modulus_max: float | None = field("Largest directional Young's modulus, GPa", None)
        universal_anisotropy: float | None = field("Ranganathan and Ostoja-Starzewski 2008", None)
        log_euclidean_anisotropy: float | None = field("Kube 2016", None)
        zener_anisotropy: float | None = field("2 c44 / (c11 - c12), cubic only", None)

        # stability and hardness
        stable: bool = field("Born: every eigenvalue of the projected tensor is positive")
        stable_with_tolerance: bool = field("Born conditions with the tolerance 1.1")
        smallest_eigenvalue: float = field("Smallest Kelvin eigenvalue of the projected tensor, GPa")
        hardness_chen_2011: float | None = field("GPa", None)
        hardness_tian_2012: float | None = field("GPa", None)
        hardness_teter_1998: float | None = field("GPa", None)
        hardness_mazhnik_oganov_2019: float | None = field("GPa", None)
        debye_temperature: float | None = field("K", None)
        sound_velocity_longitudinal: float | None = field("m/s", None)
        sound_velocity_transverse: float | None = field("m/s", None)
        sound_velocity_mean: float | None = field("m/s", None)

        # quasirandom structure
        cell_shape: str | None = field("Name of the supercell's shape", None)
        sqs_seed: int | None = field("Seed of the search", None)
        sqs_objective: float | None = field("Correlation mismatch that the search minimised", None)
        sqs_percentile: float | None = field("Share of random cells that are as good, in percent", None)
        sqs_occupation_hash: str | None = field("Hash of the occupation", None)

        # cost and version
        evaluations: int = field("Engine evaluations of the strained cells and, where known, of the relaxation")
        seconds: float = field("Engine time of those evaluations, s")
        hardcoat_version: str = field("Version of aiida-hardcoat that made the entry")
        schema_version: int = field("Version of this schema")

    @property
    def tensor_gpa(self) -> np.ndarray:
        """The projected tensor as a (6, 6) array, GPa."""
        return np.array(self.base.attributes.get("tensor"))

    @staticmethod
    def check_consistency(values: dict[str, Any]) -> None:
        """The tensors among themselves, the moduli and the composition.

        :raises ValueError: naming the first relation that does not hold.
        """
        for name in ("tensor", "tensor_fitted", "standard_errors"):
            if [len(row) for row in values[name]] != [6] * 6 or not np.all(np.isfinite(values[name])):
                raise ValueError(f"{name} must be 6x6 and finite")
            matrix = np.array(values[name])
            if not np.allclose(matrix, matrix.T, rtol=TOLERANCE, atol=TOLERANCE):
                raise ValueError(f"{name} must be symmetric")
        tensor = np.array(values["tensor"])
        for name in ("c11", "c12", "c13", "c33", "c44", "c66"):
            if not close(values[name], tensor[int(name[1]) - 1, int(name[2]) - 1]):
                raise ValueError(f"{name} is not that of the tensor")
        if values["bulk_modulus"] is not None and values["shear_modulus"] is not None:
            for name in ("bulk_modulus", "shear_modulus"):
                reuss, hill, voigt = (values[f"{name}{kind}"] for kind in ("_reuss", "", "_voigt"))
                slack = TOLERANCE * abs(hill)
                if not reuss - slack <= hill <= voigt + slack:
                    raise ValueError(f"{name} breaks Reuss <= Hill <= Voigt")
        check_composition(values)


def entry_label(structure_type: str, system: str, x: float) -> str:
    """The label of an entry, an indexed column to search by: ``B1/Al-Ti-N/0.500000``."""
    return f"{structure_type}/{system}/{x:.6f}"
