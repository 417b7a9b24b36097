"""The quasirandom structure as a node, with everything that is known of its quality."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import calcfunction


@calcfunction
def generate_sqs(parameters: orm.Dict) -> dict[str, orm.Data]:
    """Search the special quasirandom structure that ``parameters`` describe.

    :param parameters: ``composition``, ``structure_type``, ``atoms``, ``shape``, ``seed``, ``restarts``, ``steps``.
    :returns: ``structure``, sites sorted by species, and ``report``, the quality of the structure.
    """
    sqs = find_structure(parameters.get_dict())
    return {"structure": orm.StructureData(ase=sqs.atoms), "report": orm.Dict(sqs.report)}


def find_structure(parameters: dict[str, Any]) -> Any:
    """The search behind :func:`generate_sqs`, also used to show a structure without storing it.

    :raises InputError: for a composition, size or shape that cannot be.
    """
    from aiida_hardcoat.physics.cells import supercell_matrix
    from aiida_hardcoat.physics.composition import metal_counts, parse_composition
    from aiida_hardcoat.physics.prototypes import parent
    from aiida_hardcoat.physics.sqs import find_sqs

    composition = parse_composition(parameters["composition"])
    ideal = parent(parameters["structure_type"], composition)
    matrix = supercell_matrix(parameters["structure_type"], parameters["atoms"], parameters["shape"])
    metal_counts(composition, parameters["atoms"] // 2)
    sqs = find_sqs(
        ideal,
        matrix,
        composition,
        seed=parameters["seed"],
        restarts=parameters["restarts"],
        steps=parameters["steps"],
    )
    sqs.report["shape"] = parameters["shape"]
    return sqs
