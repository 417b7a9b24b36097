"""One level of theory, and one row for each material in it.

Tables and figures show a material once: a formula in a structure type with its ions relaxed or clamped. Several
entries may be there for it. Of these the cells with the most atoms count, of equal cells with equal seeds the newest,
and what is left, quasirandom structures that differ in their seeds, is averaged, with its number and its standard
deviation beside the mean.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from aiida.orm import QueryBuilder

from aiida_hardcoat.catalogue.query import FLAGS, NUMBERS, search
from aiida_hardcoat.data.catalogue import DEFAULT_LABEL
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.errors import InputError, nearest

EMPTY = (
    "the catalogue is empty: `hardcoat demo` or `hardcoat run Ti0.5Al0.5N -s B1` computes first entries,"
    " `hardcoat bundle import DIR` brings in those of others"
)

MATERIAL = ("formula", "structure_type", "ions")
PLACE = ("system", "x", "fractions", "crystal_class", "level", "level_fingerprint")
"""What the entries of one material share at one level of theory."""
CELL = ("relaxed_structure_type", "number_of_atoms", "cell_shape", "sqs_seed")
"""What else decides how entries of one material are merged."""

MEASURED = (
    *("c11", "c12", "c13", "c33", "c44"),
    *("bulk_modulus", "shear_modulus", "youngs_modulus", "poisson_ratio", "pugh_ratio", "cauchy_pressure"),
    *("hardness_chen_2011", "energy_per_formula", "volume_per_formula"),
    *("stable", "stable_with_tolerance"),
)
"""Columns of a material where no others are asked for."""


class Level(NamedTuple):
    """A level of theory; entries are comparable where the fingerprint is equal."""

    level: str
    fingerprint: str


def one_level(level: str | None = None, *, label: str = DEFAULT_LABEL) -> Level:
    """The level of theory to show.

    :param level: as entries call it, e.g. ``ase:7net-l3i5``, or a fingerprint or the start of one; None where the
        catalogue has no choice.
    :raises InputError: for an empty catalogue, a level that no entry has, or one that could be several.
    """
    entries = search(columns=("level", "level_fingerprint"), label=label)
    counts = Counter(Level(entry["level"], entry["level_fingerprint"]) for entry in entries)
    if not counts:
        raise InputError(EMPTY)
    known = sorted(counts)
    found = known
    if level is not None:
        called = [one for one in known if one.level == level]
        found = called or [one for one in known if level and one.fingerprint.startswith(level)]
    if not found:
        raise InputError(f"no entry of level '{level}': {nearest(str(level), level_names(known))}")
    if len(found) > 1:
        many = ", ".join(f"{one.level} {one.fingerprint} ({entries_text(counts[one])})" for one in found)
        raise InputError(f"several levels of theory are there: {many}; choose one with --level {found[0].fingerprint}")
    return found[0]


def search_some(*, label: str = DEFAULT_LABEL, **filters: Any) -> list[dict[str, Any]]:
    """As :func:`aiida_hardcoat.catalogue.query.search`, where there must be something to find.

    :raises InputError: as the search; where the catalogue is empty, or nothing in it matches.
    """
    rows = search(label=label, **filters)
    if not rows:
        matching = "no entry matches these filters: `hardcoat list` shows all"
        raise InputError(matching if search(label=label, columns=(), limit=1) else EMPTY)
    return rows


def level_names(levels: Iterable[Level]) -> list[str]:
    """What a level may be called by, where the plain name is that of several by their fingerprints."""
    counts = Counter(one.level for one in levels)
    return sorted({one.level if counts[one.level] == 1 else one.fingerprint for one in levels})


def entries_text(number: int) -> str:
    return "1 entry" if number == 1 else f"{number} entries"


def materials(
    level: tuple[str, str],
    *,
    ions: str | None = None,
    structure_types: Collection[str] = (),
    columns: Sequence[str] = MEASURED,
    label: str = DEFAULT_LABEL,
    **filters: Any,
) -> list[dict[str, Any]]:
    """A row for each material at one level of theory, sorted by system, structure type, x and ions.

    A row has :data:`MATERIAL`, :data:`PLACE` and ``columns``: numbers are means, flags hold where they hold of every
    entry, and any other field is None where entries differ in it. Beside them are ``spread`` (the standard deviation
    of each number, None for one entry alone), ``n`` (how many entries the means are of), ``number_of_atoms``,
    ``relaxed_structure_type`` (several joined by a stroke), ``pks`` and ``uuids``.

    :param level: of :func:`one_level`.
    :param structure_types: all where none is named.
    :param columns: fields of an entry.
    :param filters: more of :func:`aiida_hardcoat.catalogue.query.search`, e.g. ``system``.
    :raises InputError: as the search.
    """
    name, fingerprint = level
    asked = dict.fromkeys((*MATERIAL, *PLACE, *CELL, *columns))
    rows = search(level=name, ions=ions, columns=tuple(asked), label=label, **filters)
    rows = [row for row in rows if row["level_fingerprint"] == fingerprint]
    if structure_types:
        rows = [row for row in rows if row["structure_type"] in structure_types]
    age = age_of(rows)
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[field] for field in MATERIAL), []).append(row)
    found = [material(members, columns, age) for members in groups.values()]
    return sorted(found, key=itemgetter("system", "structure_type", "x", "formula", "ions"))


def material(
    entries: Sequence[dict[str, Any]], columns: Sequence[str], age: Callable[[dict[str, Any]], Any]
) -> dict[str, Any]:
    """The row of one material."""
    mean = mean_entry(entries, [name for name in columns if name in NUMBERS], age)
    members = [entry for entry in entries if entry["pk"] in mean["pks"]]
    row = {field: members[0][field] for field in (*MATERIAL, *PLACE)}
    row["relaxed_structure_type"] = "/".join(mean["became"])
    for name in columns:
        if name in NUMBERS:
            row[name] = mean[name]
        elif name in FLAGS:
            row[name] = all(member[name] for member in members)
        elif name not in row:
            row[name] = members[0][name] if all(one[name] == members[0][name] for one in members) else None
    uuids = sorted(member["uuid"] for member in members)
    return {**row, **{name: mean[name] for name in ("spread", "n", "number_of_atoms", "pks")}, "uuids": uuids}


def mean_entry(
    entries: Sequence[dict[str, Any]],
    compared: Iterable[str],
    age: Callable[[dict[str, Any]], Any] = itemgetter("pk"),
) -> dict[str, Any]:
    """What one level of theory says of one material: see the module.

    :param age: sorts entries of equal cells and seeds, the newest last.
    """
    largest = max(entry["number_of_atoms"] for entry in entries)
    newest: dict[tuple[Any, ...], dict[str, Any]] = {}
    for entry in sorted(entries, key=age):
        if entry["number_of_atoms"] == largest:
            newest[entry["cell_shape"], entry["sqs_seed"]] = entry
    members = list(newest.values())
    found: dict[str, Any] = {}
    spread: dict[str, float | None] = {}
    for name in compared:
        values = [entry[name] for entry in members]
        complete = None not in values
        found[name] = statistics.fmean(values) if complete else None
        spread[name] = statistics.stdev(values) if complete and len(values) > 1 else None
    became = sorted({entry["relaxed_structure_type"] for entry in members})
    pks = [entry["pk"] for entry in members]
    return {**found, "spread": spread, "n": len(members), "number_of_atoms": largest, "became": became, "pks": pks}


def age_of(entries: Iterable[dict[str, Any]]) -> Callable[[dict[str, Any]], Any]:
    """A key that sorts entries by when they were made, which an import keeps and the PK does not tell."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for entry in entries:
        same = tuple(entry[field] for field in (*MATERIAL, "level_fingerprint", "number_of_atoms", "sqs_seed"))
        groups.setdefault(same, []).append(entry["pk"])
    doubtful = [pk for pks in groups.values() if len(pks) > 1 for pk in pks]
    query = QueryBuilder().append(ElasticData, filters={"id": {"in": doubtful}}, project=["id", "ctime"])
    made = {pk: time.isoformat() for pk, time in query.iterall()} if doubtful else {}
    return lambda entry: (made.get(entry["pk"], ""), entry["uuid"])
