"""A quasirandom structure from what a user asks for: composition, structure type, number of atoms."""

from __future__ import annotations

from typing import Any

from aiida_hardcoat.physics.cells import supercell_matrix
from aiida_hardcoat.physics.composition import parse_composition
from aiida_hardcoat.physics.prototypes import parent
from aiida_hardcoat.physics.sqs import SQS, find_sqs


def find_structure(request: dict[str, Any]) -> SQS:
    """Search the special quasirandom structure of an alloy.

    :param request: ``composition``, ``structure_type``, ``atoms``, ``shape``, ``seed``, ``restarts``, ``steps``.
    :returns: the structure; its report names the shape as it was asked for.
    :raises InputError: for a composition, structure type, size or shape that cannot be.
    """
    composition = parse_composition(request["composition"])
    ideal = parent(request["structure_type"], composition)
    matrix = supercell_matrix(request["structure_type"], request["atoms"], request["shape"])
    search = {name: request[name] for name in ("seed", "restarts", "steps")}
    sqs = find_sqs(ideal, matrix, composition, **search)
    return SQS(sqs.atoms, {**sqs.report, "shape": request["shape"]})
