"""Search of the catalogue: fast from a disposable index, or with AiiDA's QueryBuilder, the rows being the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiida.manage import get_manager

from aiida_hardcoat.catalogue import index, query_builder
from aiida_hardcoat.catalogue.criteria import (
    ALL_COLUMNS,
    COLUMNS,
    FIELDS,
    FLAGS,
    NUMBERS,
    SORTABLE,
    X_SLACK,
    Range,
    check_columns,
    check_criteria,
    check_range,
    with_known_level,
)
from aiida_hardcoat.data.catalogue import DEFAULT_LABEL

__all__ = (
    "ALL_COLUMNS",
    "COLUMNS",
    "FIELDS",
    "FLAGS",
    "NUMBERS",
    "SORTABLE",
    "X_SLACK",
    "Range",
    "check_columns",
    "check_level",
    "check_range",
    "levels_of_theory",
    "search",
    "search_with_query_builder",
)


def search(
    *,
    system: str | None = None,
    elements: Sequence[str] = (),
    structure_type: str | None = None,
    x: Range = (None, None),
    ranges: Mapping[str, Range] | None = None,
    level: str | None = None,
    fingerprint: str | None = None,
    ions: str | None = None,
    stable: bool | None = None,
    sort: str = "system",
    limit: int | None = None,
    learned: bool = False,
    columns: Sequence[str] = COLUMNS,
    label: str = DEFAULT_LABEL,
) -> list[dict[str, Any]]:
    """Entries as rows with ``pk``, ``uuid``, ``label``, :data:`COLUMNS` and more ``columns``.

    Rows of equal rank are in the order of structure type, x and PK; what has no value to sort by stands last.

    :param system: metals and anion in any order, e.g. ``Ti-Al-N``.
    :param elements: elements that an entry must hold.
    :param x: smallest and largest fraction of the alphabetically first metal.
    :param ranges: smallest and largest value of any number in an entry, or of any in
        :data:`~aiida_hardcoat.catalogue.predictions.LEARNED`; None for no limit.
    :param level: level of theory by its name, or by the start of its fingerprint.
    :param fingerprint: level of theory by its fingerprint, or the start of it.
    :param sort: a column, with a minus in front for falling order.
    :param columns: any of :data:`ALL_COLUMNS`.
    :param learned: add the columns ``LEARNED``, from the newest prediction for each entry; so does a range of one of
        them, or to sort by one.
    :param label: of the group that holds the catalogue.
    :raises InputError: for a column that does not exist, an empty range, a level that no entry has, or the start of
        several fingerprints.
    """
    criteria = check_criteria(
        system=system,
        elements=elements,
        structure_type=structure_type,
        x=x,
        ranges=ranges,
        level=level,
        fingerprint=fingerprint,
        ions=ions,
        stable=stable,
        sort=sort,
        limit=limit,
        learned=learned,
        columns=columns,
        label=label,
    )
    # What a transaction has not committed yet may never come to be, and is not for the index.
    unsettled = get_manager().get_profile_storage().in_transaction
    return query_builder.select(criteria) if unsettled else index.select(criteria)


def search_with_query_builder(**filters: Any) -> list[dict[str, Any]]:
    """The same rows as :func:`search` gives, from one QueryBuilder query: slower, and what the index is tested by.

    :param filters: as those of :func:`search`.
    """
    return query_builder.select(check_criteria(**filters))


def levels_of_theory(label: str = DEFAULT_LABEL) -> list[tuple[str, str]]:
    """Level and fingerprint of every level of theory that the catalogue has; none where it is empty."""
    return index.levels(label)


def check_level(level: str, label: str = DEFAULT_LABEL) -> None:
    """Refuse a level of theory that no entry has, rather than find nothing.

    :raises InputError: offering the nearest.
    """
    with_known_level(check_criteria(level=level, label=label), levels_of_theory(label))
