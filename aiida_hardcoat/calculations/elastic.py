"""Which strains to compute, and from their stresses to an entry: fit, projection, averages."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_hardcoat import __version__
from aiida_hardcoat.data.elastic import ElasticData, entry_label
from aiida_hardcoat.errors import InputError

PASSING_DETAILS = ("ase_version", "torch_version", "device", "potentials")
"""Parts of a level of theory that change its numbers by rounding only, or belong to the elements of one entry: the
family of potentials and the exceptions from it count, not which of them an alloy happens to need."""


def level_fingerprint(level_of_theory: dict[str, Any]) -> str:
    """Short hash of what decides the numbers of a level of theory: model, version, weights, options."""
    kept = {key: value for key, value in level_of_theory.items() if key not in PASSING_DETAILS}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def strain_reduction(structure: orm.StructureData, settings: dict[str, Any]) -> tuple[Any, Any]:
    """The symmetry of a structure, and the strains that it leaves to be computed.

    Atoms count as equal where their kinds are, so that kinds may carry an order that positions do not show.

    :param settings: ``normal``, ``shear`` and ``symmetry_tolerance`` (Angstrom; 0 or missing: no symmetry is used).
    :return: `CrystalSymmetry`, or None where none is used, and `ReducedStrains`.
    """
    from aiida_hardcoat.physics.strain import strain_set
    from aiida_hardcoat.physics.symmetry import crystal_symmetry, reduce_strains

    asked, tolerance = strain_set(settings["normal"], settings["shear"]), settings.get("symmetry_tolerance", 0)
    if not tolerance:
        return None, reduce_strains(asked, np.eye(3)[None])
    atoms, kinds = structure.get_ase(), structure.get_kind_names()
    numbers = [kinds.index(site.kind_name) for site in structure.sites]
    symmetry = crystal_symmetry(atoms.cell.array, atoms.get_scaled_positions(), numbers, tolerance)
    return symmetry, reduce_strains(asked, symmetry.rotations)


@calcfunction
def reduce_strains(structure: orm.StructureData, settings: orm.Dict) -> dict[str, orm.Data]:
    """The strains to compute, and how the others that the settings ask for follow from them by symmetry.

    :param structure: the relaxed structure, whose symmetry it is.
    :param settings: ``strains`` of the protocol.
    :return: ``strains`` (List), rows of Voigt strains; ``symmetry`` (Dict): ``space_group`` and its number,
        ``tolerance`` (Angstrom), the proper ``point_rotations``; the strains ``asked``; the rows of these that are
        ``computed``; for each strain asked the place of its ``source`` in ``strains``, and among ``rotations`` the R
        that turns the stress of the source into its own, R sigma R^T. All in the Cartesian frame of the structure.
    """
    symmetry, reduced = strain_reduction(structure, settings.get_dict())
    description = {
        "space_group": symmetry.symbol,
        "space_group_number": symmetry.number,
        "tolerance": settings["symmetry_tolerance"],
        "point_rotations": symmetry.rotations.tolist(),
        "asked": reduced.asked.tolist(),
        "computed": list(reduced.computed),
        "source": list(reduced.source),
        "rotations": reduced.rotations.tolist(),
    }
    return {"strains": orm.List(reduced.strains.tolist()), "symmetry": orm.Dict(description)}


@calcfunction
def elastic_entry(
    structure: orm.StructureData,
    reference: orm.TrajectoryData,
    reference_summary: orm.Dict,
    strained: orm.TrajectoryData,
    strained_summary: orm.Dict,
    strains: orm.List,
    description: orm.Dict,
    ions: orm.Str,
    sqs: orm.Dict | None = None,
    symmetry: orm.Dict | None = None,
) -> ElasticData:
    """Fit the elastic tensor, project it onto the crystal class of the parent and average it.

    :param structure: the unstrained cell, in the frame of the parent.
    :param reference: its energy and stress; ``reference_summary`` says at which level of theory.
    :param strained: the strained cells; ``strains`` are those that were to be computed, Voigt.
    :param description: ``composition`` and ``structure_type``.
    :param sqs: quality of the quasirandom structure.
    :param symmetry: how more strains follow from those, of :func:`reduce_strains`.
    :raises InputError: when strained cells are missing or reference and strains differ in level of theory.
    """
    cost = {
        name: sum(summary.get(name, 0) for summary in (reference_summary, strained_summary))
        for name in ("evaluations", "seconds")
    }
    values = entry_values(
        atoms=structure.get_ase(),
        reference={name: reference.get_array(name) for name in ("energies", "stresses")},
        strained={name: strained.get_array(name) for name in ("strains", "stresses", "converged", "force_thresholds")},
        expected_strains=np.array(strains.get_list()),
        levels=(reference_summary["level_of_theory"], strained_summary["level_of_theory"]),
        description=description.get_dict(),
        ions=ions.value,
        sqs=sqs.get_dict() if sqs is not None else None,
        symmetry=symmetry.get_dict() if symmetry is not None else None,
    )
    entry = ElasticData(**values, **cost, hardcoat_version=__version__)
    entry.label = entry_label(values["structure_type"], values["system"], values["x"])
    return entry


def entry_values(
    *,
    atoms: Any,
    reference: dict[str, np.ndarray],
    strained: dict[str, np.ndarray],
    expected_strains: np.ndarray,
    levels: tuple[dict[str, Any], dict[str, Any]],
    description: dict[str, Any],
    ions: str,
    sqs: dict[str, Any] | None,
    symmetry: dict[str, Any] | None,
) -> dict[str, Any]:
    """Everything in an entry that follows from the inputs of :func:`elastic_entry`."""
    from aiida_hardcoat.physics.acoustics import density
    from aiida_hardcoat.physics.elasticity import fit_tensor, require_strains
    from aiida_hardcoat.physics.moduli import moduli_errors
    from aiida_hardcoat.physics.properties import elastic_properties
    from aiida_hardcoat.physics.prototypes import CRYSTAL_CLASSES
    from aiida_hardcoat.physics.strain import stress_to_voigt
    from aiida_hardcoat.physics.symmetry import ReducedStrains, expand_stresses, expansion_matrix

    level, fingerprint = levels[1], level_fingerprint(levels[1])
    if level_fingerprint(levels[0]) != fingerprint:
        raise InputError("the unstrained and the strained cells were computed at different levels of theory")
    converged = strained["converged"].astype(bool)
    strains, stresses, expansion = strained["strains"][converged], strained["stresses"][converged], None
    if symmetry is not None:
        computed = require_strains(strains, expected_strains)
        asked, rotations = np.array(symmetry["asked"]), np.array(symmetry["rotations"])
        reduced = ReducedStrains(asked, tuple(symmetry["computed"]), tuple(symmetry["source"]), rotations)
        strains, stresses, expected_strains = asked, expand_stresses(reduced, stresses[computed]), asked
        expansion = expansion_matrix(reduced)
    fit = fit_tensor(
        strains,
        stresses,
        reference_stress=stress_to_voigt(reference["stresses"][-1]),
        expected=expected_strains,
        expansion=expansion,
    )

    structure_type = description["structure_type"]
    crystal_class = CRYSTAL_CLASSES[structure_type]
    volume = atoms.get_volume()
    mass_density = density(atoms.get_masses(), volume)
    properties = elastic_properties(
        fit.tensor, crystal_class, density=mass_density, atoms_per_volume=len(atoms) / volume
    )
    errors = moduli_errors(fit.tensor, fit.covariance, crystal_class)
    composition, units = realised_composition(atoms)
    thresholds = strained["force_thresholds"][converged]
    return {
        **composition,
        "structure_type": structure_type,
        "crystal_class": crystal_class,
        "ions": ions,
        "number_of_atoms": len(atoms),
        "number_of_formula_units": units,
        "level": f"{level['engine']}:{level['model']}",
        "level_fingerprint": fingerprint,
        "level_of_theory": level,
        "energy_per_formula": float(reference["energies"][-1]) / units,
        "volume_per_formula": volume / units,
        "density": mass_density,
        **lattice_parameters(atoms, structure_type, sqs),
        "tensor_fitted": fit.tensor.tolist(),
        "standard_errors": fit.standard_errors.tolist(),
        "r_squared": fit.r_squared,
        "residual": fit.root_mean_square_residual,
        "largest_residual": float(np.abs(fit.residuals).max()),
        "reference_stress": float(np.abs(reference["stresses"][-1]).max()),
        "number_of_strains": int(converged.sum()),
        "number_of_equivalent_strains": len(strains) - int(converged.sum()),
        "space_group": None if symmetry is None else symmetry["space_group"],
        "force_threshold": float(thresholds.max()) if thresholds.max() > 0 else None,
        **tensor_fields(properties),
        **error_fields(errors),
        **sqs_fields(sqs),
    }


ENTRY_FIELDS = set(ElasticData.AttributesModel.model_fields)


def tensor_fields(properties: dict[str, Any]) -> dict[str, Any]:
    """What an entry keeps of the derived properties."""
    kept = {name: value for name, value in properties.items() if name in ENTRY_FIELDS}
    return {**kept, "tensor": properties["projected"], "smallest_eigenvalue": min(properties["eigenvalues"])}


def error_fields(errors: Any) -> dict[str, float | None]:
    """Standard errors of the moduli, None where the modulus itself is not defined."""
    names = ("bulk_modulus", "shear_modulus", "youngs_modulus", "poisson_ratio")
    values = {f"{name}_error": getattr(errors, name) for name in names}
    return {name: value if np.isfinite(value) else None for name, value in values.items()}


def realised_composition(atoms: Any) -> tuple[dict[str, Any], int]:
    """What the cell really holds: system, formula, fractions and x; and its number of formula units."""
    from aiida_hardcoat.physics.composition import parse_composition

    counts = {symbol: list(atoms.symbols).count(symbol) for symbol in sorted(set(atoms.symbols))}
    composition = parse_composition("".join(f"{symbol}{count}" for symbol, count in counts.items()))
    return {
        "system": composition.system,
        "formula": composition.formula,
        "elements": sorted(composition.elements),
        "fractions": {metal: float(fraction) for metal, fraction in composition.fractions},
        "x": composition.x,
    }, counts[composition.anion]


def lattice_parameters(atoms: Any, structure_type: str, sqs: dict[str, Any] | None) -> dict[str, Any]:
    """Lattice parameters of the parent lattice, and what a wurtzite has become on relaxation."""
    from aiida_hardcoat.physics.phases import internal_parameters, relaxed_structure_type

    if structure_type in ("B1", "B3"):
        per_formula = atoms.get_volume() / list(atoms.symbols).count("N")
        return {"lattice_a": float((4 * per_formula) ** (1 / 3)), "relaxed_structure_type": structure_type}
    is_anion = np.array([symbol == "N" for symbol in atoms.symbols])
    matrix = sqs["matrix"] if sqs is not None else [1, 1, 1]
    geometry = internal_parameters(atoms.cell.array, atoms.positions[~is_anion], atoms.positions[is_anion], matrix)
    return {
        "lattice_a": geometry.a,
        "c_over_a": geometry.c_over_a,
        "u": geometry.u,
        "u_spread": geometry.u_spread,
        "relaxed_structure_type": relaxed_structure_type(geometry.u, geometry.c_over_a),
    }


def sqs_fields(sqs: dict[str, Any] | None) -> dict[str, Any]:
    """What an entry repeats of its structure's quality, to be searched by."""
    if sqs is None:
        return {}
    return {
        "cell_shape": sqs["shape"],
        "sqs_seed": sqs["seed"],
        "sqs_objective": sqs["objective"],
        "sqs_percentile": sqs["random_cells"]["percentile"],
        "sqs_occupation_hash": sqs["hash"],
    }
