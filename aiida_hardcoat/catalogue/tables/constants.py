"""Table 2: all elastic constants and moduli, beside published ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiida_hardcoat.catalogue.levels import deviation
from aiida_hardcoat.catalogue.references import STUDY, Material, ReferenceTable, read_table, tables_with
from aiida_hardcoat.catalogue.selection import one_level
from aiida_hardcoat.catalogue.tables.series import (
    CONSTANTS,
    IONS,
    MODULI,
    PLACE,
    constants_of,
    frame,
    missing_materials,
    series,
)
from aiida_hardcoat.data.catalogue import DEFAULT_LABEL

DERIVED = ("pugh_ratio", "hardness_chen_2011")
VALUES = (*CONSTANTS, *MODULI, *DERIVED)
COMPARED = (*CONSTANTS, *MODULI)
"""What published tables tell."""
STABILITY = ("stable", "stable_with_tolerance")


def constants_table(
    level: str | None = None,
    *,
    ions: str = IONS[0],
    system: str | None = None,
    reference_file: str | Path | None = None,
    label: str = DEFAULT_LABEL,
) -> dict[str, Any]:
    """Elastic constants and moduli of every material, sorted by system, structure type and x.

    ``rows`` have the material, :data:`VALUES` (GPa; Poisson's ratio and B/G 1; None where an unstable crystal has
    none, or a constant is not independent), whether it is stable by the conditions of Born, plainly and with the
    study's tolerance, ``spread`` (standard deviations over ``n`` quasirandom structures), the ``uuids`` of the entries,
    and by name of a published table ``references`` and ``deviations`` from them, (value - reference) / \\|reference\\|.
    ``references`` of the table tell where they are from; ``missing`` is what the study's grid has beyond.

    :param level: see :func:`aiida_hardcoat.catalogue.selection.one_level`.
    :param ions: ``relaxed`` or ``clamped``.
    :param system: e.g. ``Al-Ti-N``, with its end members.
    :param reference_file: see :func:`aiida_hardcoat.catalogue.references.read_table`.
    :raises InputError: where no single level is chosen, there is no entry, or the file cannot be used.
    """
    tables = published(reference_file)
    one = one_level(level, label=label)
    columns = (*VALUES, *STABILITY)
    found = series(one, columns=columns, system=system, ions=ions, label=label)
    rows = [constants_row(row, tables) for row in found]
    used = [table for table in tables if any(table.name in row["references"] for row in rows)]
    return {
        **frame(2, f"Elastic constants and moduli, ions {ions}", one, found, system),
        "ions": ions,
        "references": [
            {"name": table.name, "source": table.source, "doi": table.doi, "method": table.method} for table in used
        ],
        "rows": rows,
        "missing": missing_materials(found, one, system=system, ions=[ions]),
    }


def published(reference_file: str | Path | None) -> list[ReferenceTable]:
    """The study's table and one more; a file with the study's DOI adds to the study's."""
    more = None if reference_file is None else read_table(reference_file)
    return [table for table in tables_with(more) if table.doi == STUDY.doi or (more and table.name == more.name)]


def constants_row(row: dict[str, Any], tables: Sequence[ReferenceTable]) -> dict[str, Any]:
    own = (*constants_of(row["structure_type"]), *MODULI, *DERIVED)
    values = {name: row[name] if name in own else None for name in VALUES}
    material = Material(row["formula"], row["structure_type"], row["ions"])
    references = {table.name: dict(table.rows[material]) for table in tables if material in table.rows}
    return {
        **{name: row[name] for name in PLACE},
        **values,
        **{name: row[name] for name in STABILITY},
        "spread": {name: row["spread"][name] for name in own},
        "uuids": row["uuids"],
        "references": references,
        "deviations": {
            name: {quantity: deviation(values[quantity], known) for quantity, known in reference.items()}
            for name, reference in references.items()
        },
    }
