"""What a search can ask for, and what it may not: the same for the index and for the plain query."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aiida_hardcoat.catalogue.predictions import LEARNED
from aiida_hardcoat.data.catalogue import DEFAULT_LABEL
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.errors import InputError, nearest
from aiida_hardcoat.physics.composition import canonical_system
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
"""Columns of every row."""

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

NODE = ("pk", "uuid", "label", "ctime")
"""What a row can hold of the node itself; ``ctime`` in UTC, as ISO 8601."""

FLAGS = ("stable", "stable_with_tolerance")
NESTED = ("elements", "fractions")
ALL_COLUMNS = (*NODE, *FIELDS, *LEARNED)
SORTABLE = tuple(name for name in ALL_COLUMNS if name not in NESTED)

X_SLACK = 1e-6
"""A composition typed with a few digits is found all the same."""

SHORTEST_FINGERPRINT = 4
"""A level of theory may be named by that many digits of its fingerprint."""

Range = tuple[float | None, float | None]


@dataclass(frozen=True)
class Criteria:
    """A search that was found to make sense.

    :ivar equal: values that fields must have.
    :ivar elements: elements that an entry must hold.
    :ivar ranges: smallest and largest value by field, floats; a value that is not known is in no limited range.
    :ivar level: as it was asked for, and so ``fingerprint``; exact after :func:`with_known_level`.
    :ivar order: the column to sort by, ``falling`` or rising, missing values last.
    :ivar columns: of a row, beside ``pk``, ``uuid`` and ``label``.
    :ivar label: of the group.
    """

    equal: Mapping[str, Any]
    elements: tuple[str, ...]
    ranges: Mapping[str, Range]
    level: str | None
    fingerprint: str | None
    order: str
    falling: bool
    limit: int | None
    columns: tuple[str, ...]
    label: str

    @property
    def learned(self) -> bool:
        """Whether predictions are needed."""
        return not {*self.ranges, self.order, *self.columns}.isdisjoint(LEARNED)


def check_criteria(
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
) -> Criteria:
    """The arguments of :func:`aiida_hardcoat.catalogue.query.search`, checked.

    :raises InputError: for a column that does not exist, an empty range, or a value that no entry can have.
    """
    if structure_type is not None:
        check_structure_type(structure_type)
    equal = {
        "system": None if system is None else canonical_system(system),
        "structure_type": structure_type,
        "ions": ions,
        "stable": stable,
    }
    ranges = {"x": x, **(ranges or {})}
    for name, (low, high) in ranges.items():
        check_range(name, low, high)
    order = sort.removeprefix("-")
    if order not in SORTABLE:
        raise InputError(f"cannot sort by '{order}': {nearest(order, SORTABLE)}")
    check_columns(columns)
    if limit is not None and limit < 0:
        raise InputError(f"a limit of {limit} rows makes no sense: give 0 or more")
    learned = learned or order in LEARNED or any(name in LEARNED for name in ranges)
    wanted = dict.fromkeys((*COLUMNS, *columns, *(LEARNED if learned else ())))
    return Criteria(
        equal={name: value for name, value in equal.items() if value is not None},
        elements=tuple(elements),
        ranges={name: as_floats(name, *bounds) for name, bounds in ranges.items() if bounds != (None, None)},
        level=level,
        fingerprint=fingerprint,
        order=order,
        falling=sort.startswith("-"),
        limit=limit,
        columns=tuple(name for name in wanted if name not in ("pk", "uuid", "label")),
        label=label,
    )


def check_columns(columns: Sequence[str]) -> None:
    """:raises InputError: for a name that is no column."""
    for name in columns:
        if name not in ALL_COLUMNS:
            raise InputError(f"entries have no column '{name}': {nearest(name, ALL_COLUMNS)}")


def check_range(name: str, low: float | None, high: float | None) -> None:
    """Refuse a range of what is no number of an entry, or one that nothing can be in."""
    if name not in (*NUMBERS, *LEARNED):
        raise InputError(f"cannot search by '{name}': {nearest(name, [*NUMBERS, *LEARNED])}")
    if any(bound is not None and math.isnan(bound) for bound in (low, high)):
        raise InputError(f"the range {low}:{high} of {name} has a bound that is no number")
    if low is not None and high is not None and low > high:
        raise InputError(f"the range {low}:{high} of {name} is empty: give the smaller number first")


def as_floats(name: str, low: float | None, high: float | None) -> Range:
    """Always floats: AiiDA on SQLite casts what it compares to the type of the filter's value."""
    slack = X_SLACK if name == "x" else 0.0
    return None if low is None else float(low) - slack, None if high is None else float(high) + slack


def with_known_level(criteria: Criteria, known: Collection[tuple[str, str]]) -> Criteria:
    """The criteria with the exact level and fingerprint, out of those that the catalogue has.

    A level is given by its name or by the start of its fingerprint. Nothing is wrong in an empty catalogue.

    :param known: pairs of level and fingerprint.
    :raises InputError: for a level that no entry has, or the start of several fingerprints.
    """
    level, start = criteria.level, criteria.fingerprint
    if not known or (level is None and start is None):
        return criteria
    names = sorted({name for name, _ in known})
    if level is not None and level not in names:
        if len(level) < SHORTEST_FINGERPRINT or not any(digits.startswith(level) for _, digits in known):
            raise InputError(f"no entry of level '{level}': {nearest(level, names)}")
        known = [pair for pair in known if pair[1].startswith(level)]
        start, level = start if start is not None else level, None
    if start is None:
        return criteria
    of_level = [digits for name, digits in known if level in (None, name)]
    matches = sorted({digits for digits in of_level if digits.startswith(start)})
    if not matches:
        raise InputError(f"no entry of level fingerprint '{start}': {nearest(start, sorted({d for _, d in known}))}")
    if len(matches) > 1:
        raise InputError(f"several levels of theory start with '{start}': choose one of {', '.join(matches)}")
    return replace(criteria, level=level, fingerprint=matches[0])
