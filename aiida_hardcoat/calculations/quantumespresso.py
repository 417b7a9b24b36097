"""From the results of pw.x, as aiida-quantumespresso parses them, to the records of this package."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_hardcoat.calculations.dft import assemble, by_index
from aiida_hardcoat.engines.quantumespresso_settings import level_settings

PSEUDO = "pseudo_"


@calcfunction
def gather_pw(
    structure: orm.StructureData, settings: orm.Dict, strains: orm.List | None = None, **nodes: orm.Data
) -> dict[str, orm.Data]:
    """Trajectory and summary of calculations of pw.x.

    :param structure: the unstrained structure.
    :param nodes: ``trajectory_INDEX`` and ``parameters_INDEX``, outputs of each calculation by aiida-quantumespresso,
        and ``pseudo_ELEMENT``, the potentials.
    :raises InputError: for calculations at different levels of theory.
    """
    potentials = {name.removeprefix(PSEUDO): node for name, node in nodes.items() if name.startswith(PSEUDO)}
    results = by_index({name: node for name, node in nodes.items() if not name.startswith(PSEUDO)})
    values = settings.get_dict()
    records, levels = [], []
    for index, result in results.items():
        trajectory = {name: result["trajectory"].get_array(name) for name in ARRAYS}
        parameters = result["parameters"].get_dict()
        records.append({"index": index, **record(trajectory, parameters, values)})
        levels.append(level_of_theory(values, parameters, potentials))
    asked = 1 if strains is None else len(strains.get_list())
    # Strained copies have the bands of the crystal that was relaxed: they need no look of their own.
    findings = {"occupations": parameters["occupations"]} if strains is None else {}
    return assemble(structure, values, strains, asked, records, levels, findings)


ARRAYS = ("energy", "forces", "stress", "cells", "positions")


def record(trajectory: dict[str, np.ndarray], parameters: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """What a calculation of pw.x says of its last geometry.

    :param trajectory: per step ``energy`` (eV), ``forces`` (eV/Angstrom), ``stress`` (GPa, compression positive),
        ``cells``, ``positions`` (Angstrom). With smearing the energy is the free energy, whose derivatives are forces
        and stress.
    :param parameters: the parsed parameters.
    :return: a record as in :mod:`~aiida_hardcoat.calculations.records`; the stress with tension positive.
    """
    forces = trajectory["forces"][-1]
    largest = float(np.linalg.norm(forces, axis=1).max())
    relaxed = settings["task"] in ("relax", "relax_ions")
    reached = [threshold for threshold in settings["force_thresholds"] if largest <= threshold]
    return {
        "status": "ok" if reached or not relaxed else "not_converged",
        "energy": float(trajectory["energy"][-1]),
        "forces": forces.tolist(),
        "stress": (-trajectory["stress"][-1]).tolist(),
        "cell": trajectory["cells"][-1].tolist(),
        "positions": trajectory["positions"][-1].tolist(),
        "largest_force": largest,
        "force_threshold": reached[0] if reached and relaxed else None,
        "evaluations": len(trajectory["energy"]),
        "seconds": float(parameters["wall_time_seconds"]),
    }


def level_of_theory(settings: dict[str, Any], parameters: dict[str, Any], potentials: dict[str, Any]) -> dict[str, Any]:
    """Program, functional, and every setting that decides the numbers."""
    return {
        "engine": "quantumespresso",
        "model": settings["model"],
        "version": str(parameters["creator_version"]),
        **level_settings(settings),
        "potentials": {
            element: {"label": pseudo.filename, "md5": pseudo.md5} for element, pseudo in sorted(potentials.items())
        },
    }
