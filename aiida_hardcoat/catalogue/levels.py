"""One material at several levels of theory, side by side and never pooled.

A material is a formula in a structure type with its ions relaxed or clamped; a column is one level of theory, that is
one fingerprint, or one published table. Several entries of one material in one column are merged as
:mod:`aiida_hardcoat.catalogue.selection` says.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from aiida_hardcoat.catalogue.query import search
from aiida_hardcoat.catalogue.references import STUDY, Material, ReferenceTable, read_table, tables_with
from aiida_hardcoat.catalogue.selection import age_of, mean_entry
from aiida_hardcoat.data.catalogue import DEFAULT_LABEL
from aiida_hardcoat.data.elastic import INDEPENDENT_CONSTANTS
from aiida_hardcoat.errors import InputError, nearest
from aiida_hardcoat.physics.prototypes import CRYSTAL_CLASSES

COMPARED = {
    crystal_class: (*constants, "bulk_modulus", "shear_modulus")
    for crystal_class, constants in INDEPENDENT_CONSTANTS.items()
}
"""What is set side by side, by crystal class; GPa."""


def compare_levels(
    *,
    reference: str = STUDY.name,
    reference_file: str | Path | None = None,
    limit: int | None = None,
    label: str = DEFAULT_LABEL,
    **filters: Any,
) -> dict[str, Any]:
    """Materials by columns, with the relative deviation of each column from the reference.

    :param reference: the column to measure by: ``study``, ``experiment``, the stem of the reference file, or a level.
    :param reference_file: see :func:`aiida_hardcoat.catalogue.references.read_table`.
    :param limit: number of materials.
    :param filters: of :func:`aiida_hardcoat.catalogue.query.search`, as is the order.
    :return: ``reference`` (name of its column), ``columns``, ``materials`` with ``values`` and ``deviations`` by
        column (None where one of the two is not known), and ``summary``, a mean absolute deviation for each column.
    :raises InputError: as the search, for a reference that is no column, or a file that cannot be used.
    """
    tables = tables_with(None if reference_file is None else read_table(reference_file))
    entries = search(label=label, **filters)
    columns = level_columns(entries)
    names = [*(table.name for table in tables), *(column["name"] for column in columns)]
    check_reference(reference, names, columns)
    materials = material_rows(entries, columns, tables)[:limit]
    for row in materials:
        row["deviations"] = deviations(row["values"], reference)
    used = {name for row in materials for name in row["values"]}
    shown = [column for column in [*map(table_column, tables), *columns] if column["name"] in {reference, *used}]
    shown.sort(key=lambda column: column["name"] != reference)  # stable: the reference first
    others = [column["name"] for column in shown if column["name"] != reference]
    return {
        "reference": reference,
        "columns": shown,
        "materials": materials,
        "summary": [summary(name, materials) for name in others],
    }


def level_columns(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """A column for each fingerprint; it has part of it in its name where another one has the same level."""
    levels = sorted({(entry["level"], entry["level_fingerprint"]) for entry in entries})
    labels = [level for level, _ in levels]
    return [
        {
            "name": level if labels.count(level) == 1 else f"{level} {fingerprint[:8]}",
            "level": level,
            "level_fingerprint": fingerprint,
        }
        for level, fingerprint in levels
    ]


def table_column(table: ReferenceTable) -> dict[str, Any]:
    return {"name": table.name, "source": table.source, "doi": table.doi, "method": table.method}


def check_reference(reference: str, names: Sequence[str], columns: Sequence[dict[str, Any]]) -> None:
    if reference in names:
        return
    same = [column["name"] for column in columns if column["level"] == reference]
    if same:
        raise InputError(f"several levels of theory are called '{reference}': choose one of {', '.join(same)}")
    raise InputError(f"no reference '{reference}': {nearest(reference, names)}")


def material_rows(
    entries: Collection[dict[str, Any]], columns: Iterable[dict[str, Any]], tables: Sequence[ReferenceTable]
) -> list[dict[str, Any]]:
    """A row for each material of the entries, in their order."""
    names = {column["level_fingerprint"]: column["name"] for column in columns}
    groups: dict[Material, dict[str, list[dict[str, Any]]]] = {}
    age = age_of(entries)
    for entry in entries:
        material = Material(entry["formula"], entry["structure_type"], entry["ions"])
        groups.setdefault(material, {}).setdefault(names[entry["level_fingerprint"]], []).append(entry)
    rows = []
    for material, levels in groups.items():
        first = next(iter(levels.values()))[0]
        crystal_class = CRYSTAL_CLASSES[material.structure_type]
        compared = COMPARED[crystal_class]
        published = {table.name: table.rows[material] for table in tables if material in table.rows}
        values: dict[str, dict[str, Any]] = {
            name: {quantity: row.get(quantity) for quantity in compared} for name, row in published.items()
        }
        values |= {name: mean_entry(members, compared, age) for name, members in sorted(levels.items())}
        place = {"system": first["system"], "x": first["x"], "crystal_class": crystal_class}
        rows.append({**material._asdict(), **place, "values": values})
    return rows


def deviations(values: dict[str, dict[str, Any]], reference: str) -> dict[str, dict[str, float | None]]:
    """Of each column but the reference: (value - reference) / |reference|."""
    by = values.get(reference, {})
    return {
        name: {quantity: deviation(row[quantity], by.get(quantity)) for quantity in row if is_quantity(quantity)}
        for name, row in values.items()
        if name != reference
    }


def is_quantity(name: str) -> bool:
    return name in COMPARED["hexagonal"]


def deviation(value: float | None, reference: float | None) -> float | None:
    return None if value is None or not reference else (value - reference) / abs(reference)


def summary(name: str, materials: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Number of materials and mean absolute relative deviation of each quantity of one column."""
    rows = [row["deviations"][name] for row in materials if name in row["deviations"]]
    found: dict[str, Any] = {"column": name}
    for quantity in COMPARED["hexagonal"]:
        known = [abs(row[quantity]) for row in rows if row.get(quantity) is not None]
        found[quantity] = {"n": len(known), "mean_absolute_deviation": statistics.fmean(known) if known else None}
    return found
