"""Results of many structures as one trajectory, whatever engine they come from.

A record is what an engine says of one structure: ``index`` (its place among the strains asked for), ``status`` (``ok``
or ``not_converged``), ``energy`` (eV), ``forces`` (eV/Angstrom), ``stress`` (3x3, GPa, tension positive), ``cell``,
``positions`` (Angstrom), ``largest_force``, ``force_threshold`` (as reached, or None), ``evaluations``, ``seconds``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm

UNITS = {"energy": "eV", "force": "eV/Angstrom", "stress": "GPa", "length": "Angstrom"}


def make_trajectory(symbols: list[str], records: list[dict[str, Any]]) -> orm.TrajectoryData:
    """One trajectory of all structures, its step ids being their places among the strains asked for."""
    trajectory = orm.TrajectoryData()
    trajectory.set_trajectory(
        symbols=symbols,
        positions=np.array([record["positions"] for record in records]),
        stepids=np.array([record["index"] for record in records]),
        cells=np.array([record["cell"] for record in records]),
        pbc=(True, True, True),
    )
    for name, values in {
        "energies": [record["energy"] for record in records],
        "forces": [record["forces"] for record in records],
        "stresses": [record["stress"] for record in records],
        "largest_forces": [record["largest_force"] for record in records],
        "converged": [int(record["status"] == "ok") for record in records],
        # 0 where no threshold was reached, or none was asked for (static).
        "force_thresholds": [record["force_threshold"] or 0.0 for record in records],
        "evaluations": [record["evaluations"] for record in records],
        "seconds": [record["seconds"] for record in records],
    }.items():
        trajectory.set_array(name, np.array(values))
    return trajectory


def records_of(trajectory: orm.TrajectoryData) -> list[dict[str, Any]]:
    """The records that :func:`make_trajectory` was given."""
    positions, cells = trajectory.get_array("positions"), trajectory.get_array("cells")
    thresholds = trajectory.get_array("force_thresholds")
    converged = trajectory.get_array("converged")
    return [
        {
            "index": int(index),
            "status": "ok" if converged[row] else "not_converged",
            "force_threshold": float(thresholds[row]) or None,
            "energy": float(trajectory.get_array("energies")[row]),
            "forces": trajectory.get_array("forces")[row].tolist(),
            "stress": trajectory.get_array("stresses")[row].tolist(),
            "cell": cells[row].tolist(),
            "positions": positions[row].tolist(),
            "largest_force": float(trajectory.get_array("largest_forces")[row]),
            "evaluations": int(trajectory.get_array("evaluations")[row]),
            "seconds": float(trajectory.get_array("seconds")[row]),
        }
        for row, index in enumerate(trajectory.get_stepids())
    ]


def with_geometry(structure: orm.StructureData, cell: Any, positions: Any) -> orm.StructureData:
    """A structure with the kinds and sites of another, in another cell (rows, Angstrom) and at other positions."""
    changed = orm.StructureData(cell=np.asarray(cell).tolist(), pbc=(True, True, True))
    for kind in structure.kinds:
        changed.append_kind(kind)
    for site, position in zip(structure.sites, positions, strict=True):
        changed.append_site(orm.Site(kind_name=site.kind_name, position=tuple(map(float, position))))
    return changed


def summarise(
    records: list[dict[str, Any]], *, level: dict[str, Any], task: str, asked: int, **more: Any
) -> dict[str, Any]:
    """The summary that goes with a trajectory: level of theory, convergence, cost."""
    return {
        "level_of_theory": level,
        "task": task,
        "asked": asked,
        "finished": sum(record["status"] == "ok" for record in records),
        "statuses": {str(record["index"]): record["status"] for record in records},
        "evaluations": sum(record["evaluations"] for record in records),
        "seconds": sum(record["seconds"] for record in records),
        "units": UNITS,
        **more,
    }
