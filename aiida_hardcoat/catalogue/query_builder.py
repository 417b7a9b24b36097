"""The search as a plain QueryBuilder query: what the index is measured by.

It reads every entry that matches from AiiDA's storage. The index gives the same rows sooner.
"""

from __future__ import annotations

from datetime import UTC
from typing import Any

from aiida.orm import QueryBuilder

from aiida_hardcoat.catalogue.criteria import FIELDS, FLAGS, Criteria, with_known_level
from aiida_hardcoat.catalogue.predictions import LEARNED, learned_columns, predictions_of
from aiida_hardcoat.data.catalogue import CatalogueGroup
from aiida_hardcoat.data.elastic import ElasticData


def select(criteria: Criteria) -> list[dict[str, Any]]:
    """The rows that match."""
    if criteria.level is not None or criteria.fingerprint is not None:
        criteria = with_known_level(criteria, levels(criteria.label))
    fields = [name for name in dict.fromkeys((*criteria.columns, criteria.order)) if name in FIELDS]
    projections = {"pk": "id", "uuid": "uuid", "label": "label", "ctime": "ctime"}
    projections |= {name: f"attributes.{name}" for name in fields}
    query = entries_of(criteria.label)
    filters = attribute_filters(criteria)
    query.append(
        ElasticData,
        with_group="group",
        filters={"and": filters} if filters else {},
        project=list(projections.values()),
    )
    rows = [dict(zip(projections, row, strict=True)) for row in query.iterall()]
    for row in rows:
        row["ctime"] = row["ctime"].astimezone(UTC).isoformat(timespec="microseconds")
        row.update({name: bool(row[name]) for name in FLAGS if name in row})  # SQLite has no booleans
    if criteria.learned:
        predictions = predictions_of([row["pk"] for row in rows])
        rows = [{**row, **learned_columns(row, predictions.get(row["pk"], ()))} for row in rows]
        for name in LEARNED:
            rows = [row for row in rows if within(row[name], *criteria.ranges.get(name, (None, None)))]
    # Sorted here, since SQLite would compare JSON numbers as text.
    order = criteria.order
    rows.sort(key=lambda row: (row["structure_type"], row["x"], row["pk"]))
    known = [row for row in rows if row[order] is not None]
    known.sort(key=lambda row: row[order], reverse=criteria.falling)
    ordered = [*known, *(row for row in rows if row[order] is None)][: criteria.limit]
    return [{name: row[name] for name in ("pk", "uuid", "label", *criteria.columns)} for row in ordered]


def levels(label: str) -> set[tuple[str, str]]:
    """Level and fingerprint of the levels of theory in the group."""
    query = entries_of(label).append(
        ElasticData, with_group="group", project=["attributes.level", "attributes.level_fingerprint"]
    )
    return {(level, fingerprint) for level, fingerprint in query.iterall()}


def entries_of(label: str) -> QueryBuilder:
    return QueryBuilder().append(CatalogueGroup, filters={"label": label}, tag="group")


def attribute_filters(criteria: Criteria) -> list[dict[str, Any]]:
    """All but those on predictions, which are other nodes."""
    filters: list[dict[str, Any]] = []
    equal = {**criteria.equal, "level": criteria.level, "level_fingerprint": criteria.fingerprint}
    filters += [{f"attributes.{name}": value} for name, value in equal.items() if value is not None]
    if criteria.elements:
        filters.append({"attributes.elements": {"contains": list(criteria.elements)}})
    for name, bounds in criteria.ranges.items():
        if name not in LEARNED:
            limits = zip((">=", "<="), bounds, strict=True)
            filters += [{f"attributes.{name}": {sign: bound}} for sign, bound in limits if bound is not None]
    return filters


def within(value: float | None, low: float | None, high: float | None) -> bool:
    """Whether a value is in a range; one that is not known is in the unlimited range only."""
    if value is None:
        return low is None and high is None
    return (low is None or value >= low) and (high is None or value <= high)
