"""The quasirandom structure as a node, with everything that is known of its quality."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction


@calcfunction
def generate_sqs(parameters: orm.Dict) -> dict[str, orm.Data]:
    """Search the special quasirandom structure that ``parameters`` describe.

    :param parameters: ``composition``, ``structure_type``, ``atoms``, ``shape``, ``seed``, ``restarts``, ``steps``.
    :returns: ``structure``, sites sorted by species, and ``report``, the quality of the structure.
    """
    from aiida_hardcoat.physics.quasirandom import find_structure

    sqs = find_structure(parameters.get_dict())
    return {"structure": orm.StructureData(ase=sqs.atoms), "report": orm.Dict(sqs.report)}
