"""Search of the catalogue with AiiDA's QueryBuilder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from aiida.orm import QueryBuilder

from aiida_hardcoat.catalogue.predictions import LEARNED, learned_columns, predictions_of
from aiida_hardcoat.data.catalogue import DEFAULT_LABEL, CatalogueGroup
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.errors import InputError, nearest
from aiida_hardcoat.physics.prototypes import check_structure_type

COLUMNS = (
    "system",
    "formula",
    "structure_type",
    "relaxed_structure_type",
    "x",
    "ions",
    "number_of_atoms",
    "level",
    "level_fingerprint",
    "c11",
    "c12",
    "c13",
    "c33",
    "c44",
    "c66",
    "bulk_modulus",
    "shear_modulus",
    "youngs_modulus",
    "poisson_ratio",
    "hardness_chen_2011",
    "hardness_tian_2012",
    "hardness_teter_1998",
    "hardness_mazhnik_oganov_2019",
    "universal_anisotropy",
    "energy_per_formula",
    "volume_per_formula",
    "stable",
    "stable_with_tolerance",
    "sqs_seed",
    "sqs_objective",
    "cell_shape",
)

NUMBERS = tuple(
    name
    for name, field in ElasticData.AttributesModel.model_fields.items()
    if field.annotation in (float, float | None, int, int | None)
)
"""Fields that can be searched by a range."""

FIELDS = tuple(
    name
    for name, field in ElasticData.AttributesModel.model_fields.items()
    if name not in ("source", "tensor", "tensor_fitted", "standard_errors", "level_of_theory")
)
"""Fields that a row can hold: every scalar of an entry, its elements and fractions."""

FLAGS = ("stable", "stable_with_tolerance")

X_SLACK = 1e-6
"""A composition typed with a few digits is found all the same."""

Range = tuple[float | None, float | None]


def search(
    *,
    system: str | None = None,
    elements: Sequence[str] = (),
    structure_type: str | None = None,
    x: Range = (None, None),
    ranges: Mapping[str, Range] | None = None,
    level: str | None = None,
    ions: str | None = None,
    stable: bool | None = None,
    sort: str = "system",
    limit: int | None = None,
    learned: bool = False,
    columns: Sequence[str] = COLUMNS,
    label: str = DEFAULT_LABEL,
) -> list[dict[str, Any]]:
    """Entries as rows of ``columns`` with ``pk``, ``uuid`` and ``label``.

    What a model learned is looked up where ``learned`` is set or a range or the sort names one of
    :data:`~aiida_hardcoat.catalogue.predictions.LEARNED`; it costs a longer query.

    :param system: metals and anion in any order, e.g. ``Ti-Al-N``.
    :param elements: elements that an entry must hold.
    :param ranges: smallest and largest value of any number in an entry, or of any in ``LEARNED``.
    :param sort: a column, with a minus in front for falling order.
    :param columns: fields of an entry, of :data:`FIELDS`.
    :param learned: add the columns ``LEARNED``, from the newest prediction for each entry.
    :raises InputError: for a column that does not exist, or an empty range.
    """
    if structure_type is not None:
        check_structure_type(structure_type)
    if level is not None:
        check_level(level, label)
    filters: list[dict[str, Any]] = []
    if system is not None:
        filters.append({"attributes.system": canonical_system(system)})
    if elements:
        filters.append({"attributes.elements": {"contains": list(elements)}})
    for name, value in (("structure_type", structure_type), ("level", level), ("ions", ions)):
        if value is not None:
            filters.append({f"attributes.{name}": value})
    if stable is not None:
        filters.append({"attributes.stable": stable})
    ranges = {"x": x, **(ranges or {})}
    for name, (low, high) in ranges.items():
        check_range(name, low, high)
        if name not in LEARNED:
            filters.extend(range_filters(name, low, high))

    order, direction = sort.removeprefix("-"), "desc" if sort.startswith("-") else "asc"
    if order not in (*COLUMNS, *LEARNED):
        raise InputError(f"cannot sort by '{order}': {nearest(order, [*COLUMNS, *LEARNED])}")
    for name in columns:
        if name not in FIELDS:
            raise InputError(f"entries have no column '{name}': {nearest(name, FIELDS)}")
    needed = tuple(dict.fromkeys((*COLUMNS, *columns)))
    query = QueryBuilder().append(CatalogueGroup, filters={"label": label}, tag="group")
    query.append(
        ElasticData,
        with_group="group",
        filters={"and": filters} if filters else {},
        project=["id", "uuid", "label", *(f"attributes.{name}" for name in needed)],
    )
    rows = [dict(zip(("pk", "uuid", "label", *needed), row, strict=True)) for row in query.iterall()]
    for row in rows:
        row.update({name: bool(row[name]) for name in FLAGS})  # SQLite has no booleans
    if learned or order in LEARNED or any(name in LEARNED for name in ranges):
        predictions = predictions_of([row["pk"] for row in rows])
        rows = [{**row, **learned_columns(row, predictions.get(row["pk"], ()))} for row in rows]
        for name in LEARNED:
            rows = [row for row in rows if within(row[name], *ranges.get(name, (None, None)))]
    # Sorted here, since SQLite would compare JSON numbers as text.
    rows.sort(key=lambda row: (row["structure_type"], row["x"], row["pk"]))
    known = [row for row in rows if row[order] is not None]
    known.sort(key=lambda row: row[order], reverse=direction == "desc")
    return [*known, *(row for row in rows if row[order] is None)][:limit]


def check_range(name: str, low: float | None, high: float | None) -> None:
    """Refuse a range of what is no number of an entry, or one that nothing can be in."""
    if name not in (*NUMBERS, *LEARNED):
        raise InputError(f"cannot search by '{name}': {nearest(name, [*NUMBERS, *LEARNED])}")
    if any(bound is not None and math.isnan(bound) for bound in (low, high)):
        raise InputError(f"the range {low}:{high} of {name} has a bound that is no number")
    if low is not None and high is not None and low > high:
        raise InputError(f"the range {low}:{high} of {name} is empty: give the smaller number first")


def within(value: float | None, low: float | None, high: float | None) -> bool:
    """Whether a value is in a range; one that is not known is in the unlimited range only."""
    if value is None:
        return low is None and high is None
    return (low is None or value >= low) and (high is None or value <= high)


def range_filters(name: str, low: float | None, high: float | None) -> list[dict[str, Any]]:
    """Filters of one range; always floats, because SQLite casts what it compares to the type of the filter."""
    slack = X_SLACK if name == "x" else 0.0
    filters: list[dict[str, Any]] = []
    if low is not None:
        filters.append({f"attributes.{name}": {">=": float(low) - slack}})
    if high is not None:
        filters.append({f"attributes.{name}": {"<=": float(high) + slack}})
    return filters


def check_level(level: str, label: str) -> None:
    """Refuse a level of theory that no entry has, rather than find nothing."""
    query = QueryBuilder().append(CatalogueGroup, filters={"label": label}, tag="group")
    query.append(ElasticData, with_group="group", project="attributes.level")
    levels = sorted(set(query.all(flat=True)))
    if levels and level not in levels:
        raise InputError(f"no entry of level '{level}': {nearest(level, levels)}")


def canonical_system(text: str) -> str:
    """``Ti-Al-N`` as the catalogue writes it: metals in alphabetical order, then nitrogen."""
    parts = [part for part in text.replace(",", "-").split("-") if part]
    metals = sorted(part for part in parts if part != "N")
    if len(metals) == len(parts) or not metals:
        raise InputError(f"'{text}' is no system of metals and nitrogen: write it like Al-Ti-N")
    return "-".join([*metals, "N"])
