"""What the DFT engines need between their calculations: strained copies of a crystal, many results as one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_hardcoat.calculations.records import make_trajectory, summarise, with_geometry
from aiida_hardcoat.errors import InputError


@calcfunction
def sorted_structure(structure: orm.StructureData) -> orm.StructureData:
    """The structure with its sites grouped by kind, in the order in which the kinds first occur."""
    kinds = [site.kind_name for site in structure.sites]
    result = orm.StructureData(cell=structure.cell, pbc=structure.pbc)
    for kind in structure.kinds:
        result.append_kind(kind)
    for number in sorted(range(len(kinds)), key=lambda i: kinds.index(kinds[i])):
        result.append_site(structure.sites[number])
    return result


def is_sorted(structure: orm.StructureData) -> bool:
    """Whether the sites of a kind stand together."""
    kinds = [site.kind_name for site in structure.sites]
    return sum(one != other for one, other in pairwise(kinds)) == len(set(kinds)) - 1


@calcfunction
def strained_structures(structure: orm.StructureData, strains: orm.List) -> dict[str, orm.StructureData]:
    """Copies of a structure under each strain, F = I + eps: ``strained_0``, ``strained_1``, ...

    :param strains: rows of Voigt strains (xx, yy, zz, yz, xz, xy; engineering shear).
    """
    from aiida_hardcoat.physics.strain import deformation_gradient

    cell, positions = np.array(structure.cell), positions_of(structure)
    copies = {}
    for index, strain in enumerate(strains.get_list()):
        gradient = deformation_gradient(strain)
        copies[f"strained_{index}"] = with_geometry(structure, cell @ gradient, positions @ gradient)
    return copies


@calcfunction
def relaxed_parent(parent: orm.StructureData, relaxed: orm.StructureData) -> orm.StructureData:
    """The relaxed structure with the parent's kinds, turned so that its cell is a pure stretch of the parent's.

    Codes may turn a cell while they relax it; the elastic tensor is projected in the frame of the parent.
    """
    cell, positions = pure_stretch(np.array(parent.cell), np.array(relaxed.cell), positions_of(relaxed))
    return with_geometry(parent, cell, positions)


def pure_stretch(reference: np.ndarray, cell: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cell (rows) and positions turned such that the cell is a symmetric stretch of the reference cell."""
    left, _, right = np.linalg.svd(np.linalg.solve(reference, cell))
    turn_back = (left @ right).T  # gradient = stretch @ rotation for row vectors
    return cell @ turn_back, positions @ turn_back


def positions_of(structure: orm.StructureData) -> np.ndarray:
    return np.array([site.position for site in structure.sites])


def by_index(results: dict[str, orm.Data]) -> dict[int, dict[str, orm.Data]]:
    """Nodes named ``misc_0``, ``structure_0``, ``misc_1``, ... by number, then by name."""
    grouped: dict[int, dict[str, orm.Data]] = {}
    for label, node in results.items():
        name, _, index = label.rpartition("_")
        grouped.setdefault(int(index), {})[name] = node
    return dict(sorted(grouped.items()))


def assemble(
    structure: orm.StructureData,
    settings: dict[str, Any],
    strains: orm.List | None,
    asked: int,
    records: list[dict[str, Any]],
    levels: list[dict[str, Any]],
    findings: dict[str, Any] | None = None,
) -> dict[str, orm.Data]:
    """Trajectory, summary and, without strains, the structure that was computed.

    :param records: one for each structure that finished, with its ``index``.
    :param levels: the level of theory that each calculation says it was done at.
    :param findings: settings that follow from the results, and that strained copies of the structure share.
    :raises InputError: where they differ: such stresses are not comparable.
    """
    if any(level != levels[0] for level in levels):
        raise InputError("the calculations were done at different levels of theory: was the code changed meanwhile?")
    trajectory = make_trajectory([site.kind_name for site in structure.sites], records)
    if strains is not None:
        rows = np.array(strains.get_list(), dtype=float)
        trajectory.set_array("strains", rows[[record["index"] for record in records]])
    summary = summarise(records, level=levels[0], task=settings["task"], asked=asked)
    outputs: dict[str, orm.Data] = {
        "trajectory": trajectory,
        "summary": orm.Dict({**summary, "findings": findings} if findings else summary),
    }
    return outputs
