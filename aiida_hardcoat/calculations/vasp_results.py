"""What VASP's results mean: one record of each structure in common units and signs, and the level of theory."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from aiida_vasp.data.potcar import PotcarData

from aiida_hardcoat.calculations.dft import assemble, by_index
from aiida_hardcoat.engines.vasp_settings import level_settings, level_tags, step_parameters
from aiida_hardcoat.errors import InputError

GPA_PER_KBAR = 0.1
OF_RESTARTS = ("istart", "icharg")
ROUNDING = 1e-6
"""eV/Angstrom; a force that VASP took for small enough is printed with eight digits."""


@calcfunction
def kpoints_mesh(structure: orm.StructureData, settings: orm.Dict) -> orm.KpointsData:
    """The mesh of a structure, which its strained copies share."""
    return make_mesh(structure, settings.get_dict())


def make_mesh(structure: orm.StructureData, settings: dict[str, Any]) -> orm.KpointsData:
    """The mesh that the settings name, or the one with their spacing (2 pi/Angstrom), centred on Gamma."""
    kpoints = orm.KpointsData()
    kpoints.set_cell_from_structure(structure)
    if settings["kpoints_mesh"] is not None:
        kpoints.set_kpoints_mesh(settings["kpoints_mesh"])
    else:
        kpoints.set_kpoints_mesh_from_density(2 * np.pi * settings["kpoints_spacing"])
    return kpoints


def record(
    misc: dict[str, Any],
    cell: Any,
    positions: Any,
    *,
    task: str,
    thresholds: list[float],
    earlier: list[dict[str, Any]],
) -> dict[str, Any]:
    """One structure in eV, Angstrom and GPa, tension positive.

    The energy is VASP's free energy (``free energy TOTEN``, ``e_fr_energy``): forces and stress are its derivatives,
    those of the energy extrapolated to zero smearing are not. VASP's stress is that of its last ionic step, in kbar,
    and positive where the crystal pushes outwards.

    :param misc: what aiida-vasp reads of a run.
    :param earlier: the same of the runs before it, which count as cost only.
    """
    forces = np.array(misc["forces"], dtype=float)
    largest = float(np.linalg.norm(forces, axis=1).max())
    reached = next((value for value in thresholds if largest <= value + ROUNDING), None)
    moves = task in ("relax", "relax_ions")
    runs = [*earlier, misc]
    return {
        "status": "not_converged" if moves and reached is None else "ok",
        "energy": float(misc["total_energies"]["energy_free"]),
        "forces": forces.tolist(),
        "stress": (-GPA_PER_KBAR * np.array(misc["stress"], dtype=float)).tolist(),
        "cell": np.asarray(cell).tolist(),
        "positions": np.asarray(positions).tolist(),
        "largest_force": largest,
        "force_threshold": reached if moves else None,
        "evaluations": sum(ionic_steps(run) for run in runs),
        "seconds": sum(float(run.get("run_stats", {}).get("elapsed_time") or 0.0) for run in runs),
    }


def ionic_steps(misc: dict[str, Any]) -> int:
    """How many energies, forces and stresses a run computed."""
    last = misc.get("run_status", {}).get("last_iteration_index")
    return int(last[0]) if last else 0


def level_of_theory(
    misc: dict[str, Any], settings: dict[str, Any], potentials: dict[str, PotcarData]
) -> dict[str, Any]:
    """Program, functional and all settings that decide the numbers.

    Results that were not written by VASP are never called so.
    """
    return {
        "engine": "vasp" if misc.get("program") == "vasp" else "stand-in",
        "model": settings["model"],
        "version": misc.get("version", ""),
        **level_settings(settings),
        "potentials": {
            potential.element: {"label": potential.full_name, "sha512": potential.sha512[:16]}
            for potential in potentials.values()
        },
    }


def changed_tags(parameters: dict[str, Any], asked: dict[str, Any]) -> dict[str, list[Any]]:
    """The INCAR tags that repairs changed: asked for and used."""
    used = {name.lower(): value for name, value in parameters.items() if name.lower() not in OF_RESTARTS}
    return {
        name: [asked.get(name), used.get(name)] for name in sorted({*asked, *used}) if used.get(name) != asked.get(name)
    }


def check_level(
    index: int, incar: dict[str, Any], mesh: list[int], asked: dict[str, Any], asked_mesh: list[int]
) -> None:
    """Refuse a result that a repair moved to another level of theory than the others'.

    :raises InputError: naming the tag, and how to have all structures computed with it.
    """
    used, wanted = level_tags(incar), level_tags(asked)
    for name in sorted({*used, *wanted}):
        if used.get(name) != wanted.get(name):
            value = str(used.get(name)).lower()
            raise InputError(
                f"structure {index} could be computed only with {name.upper()} = {value}, which is another level of"
                f" theory: run the whole alloy so with -o engine.incar.{name}={value}"
            )
    if mesh != asked_mesh:
        raise InputError(
            f"structure {index} could be computed only with k-points {mesh} in place of {asked_mesh}, which is another"
            " level of theory: run the whole alloy with another engine.kpoints_spacing"
        )


def check_rest(entry: dict[str, Any], settings: dict[str, Any]) -> None:
    """Refuse a relaxed cell that is not at rest once its plane waves are those of its own volume.

    :raises InputError: with the forces or the stress, and what may help.
    """
    if entry["status"] != "ok":
        raise InputError(
            f"the relaxed cell still has forces up to {entry['largest_force']:.3f} eV/Angstrom, more than"
            f" {settings['force_thresholds'][-1]:g}: a higher ENCUT, or a looser last of relaxation.force_thresholds"
        )
    stress, threshold = float(np.abs(entry["stress"]).max()), settings["stress_threshold"]
    if stress > threshold:
        raise InputError(
            f"the relaxed cell still has a stress of {stress:.3f} GPa, more than {threshold:g}: a higher ENCUT, or a"
            " larger relaxation.stress_threshold"
        )


@calcfunction
def gather_vasp(
    structure: orm.StructureData, settings: orm.Dict, strains: orm.List | None = None, **results: orm.Data
) -> dict[str, orm.Data]:
    """Trajectory and summary of all structures that finished.

    :param structure: the unstrained structure, whose k-mesh all share.
    :param results: for each structure ``misc``, ``structure``, ``parameters``, ``kpoints``, the ``potential`` of each
        element and, where there were runs before, ``earlier`` ones.
    :raises InputError: for results of different levels of theory, or a relaxed cell under stress.
    """
    values, sites = settings.get_dict(), len(structure.sites)
    task = values["task"]
    step = "relax_ions" if task == "relax_ions" else "static"
    asked = step_parameters(values, step, sites)["incar"]
    mesh, shift = make_mesh(structure, values).get_kpoints_mesh()
    records, levels, changes = [], [], {}
    for index, nodes in by_index(results).items():
        misc, geometry = nodes["misc"].get_dict(), nodes["structure"]
        incar, points = nodes["parameters"].get_dict(), nodes["kpoints"].get_kpoints_mesh()
        check_level(index, incar, [*points[0], *points[1]], asked, [*mesh, *shift])
        earlier = [node.get_dict() for name, node in nodes.items() if name.startswith("earlier")]
        positions = [site.position for site in geometry.sites]
        thresholds = values["force_thresholds"]
        entry = record(misc, geometry.cell, positions, task=task, thresholds=thresholds, earlier=earlier)
        records.append({"index": index, **entry})
        potentials = {name: node for name, node in nodes.items() if name.startswith("potential")}
        levels.append(level_of_theory(misc, values, potentials))
        if changed := changed_tags(incar, asked):
            changes[str(index)] = changed
    if task in ("relax", "relax_cell"):
        check_rest(records[0], values)
    outputs = assemble(structure, values, strains, asked_for(strains), records, levels)
    outputs["summary"]["changes"] = changes
    return outputs


def asked_for(strains: orm.List | None) -> int:
    return 1 if strains is None else len(strains.get_list())
