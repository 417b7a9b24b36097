"""Entries as OPTIMADE structure resources (https://specs.optimade.org, version 1.2)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC
from itertools import islice
from string import ascii_uppercase
from typing import Any, NamedTuple

from aiida.orm import CalcFunctionNode, QueryBuilder, StructureData

from aiida_hardcoat.catalogue.optimade.fields import FIELDS, field_values
from aiida_hardcoat.catalogue.predictions import predictions_of
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.errors import InputError

AT_ONCE = 500
"""Entries whose structures and predictions are fetched by one query."""


class Record(NamedTuple):
    """An entry with the structure that was strained, and what the newest prediction says of it."""

    entry: ElasticData
    structure: StructureData
    values: dict[str, Any]
    """Of :data:`~aiida_hardcoat.catalogue.optimade.fields.FIELDS`, by name."""


def records(entries: Iterable[ElasticData]) -> Iterator[Record]:
    """Entries with their structures and values, in the order given.

    :raises InputError: for an entry whose calculation is not in the profile.
    """
    remaining = iter(entries)
    while batch := list(islice(remaining, AT_ONCE)):
        pks = [entry.pk for entry in batch if entry.pk is not None]
        structures, predictions = structures_of(pks), predictions_of(pks)
        for entry in batch:
            if entry.pk not in structures:
                raise InputError(f"entry {entry.pk} has no structure: its calculation is not in this profile")
            structure, newest = structures[entry.pk], predictions[entry.pk][-1] if entry.pk in predictions else None
            yield Record(entry, structure, field_values(entry.base.attributes.all, structure.uuid, newest))


def structures_of(entries: Collection[int]) -> dict[int, StructureData]:
    """The structure that was strained, by PK of the entry."""
    query = QueryBuilder().append(ElasticData, filters={"id": {"in": list(entries)}}, tag="entry", project="id")
    query.append(CalcFunctionNode, with_outgoing="entry", tag="fit")
    query.append(StructureData, with_outgoing="fit", edge_filters={"label": "structure"}, project="*")
    return dict(query.all())


def optimade_structures(entries: Iterable[ElasticData]) -> Iterator[dict[str, Any]]:
    """Resources of the type ``structures``: the relaxed structures, with the entries' fields as ``_hardcoat_*``.

    The id is the UUID of the entry, which no import changes.

    :raises InputError: for an entry whose calculation is not in the profile.
    """
    for record in records(entries):
        uuid = record.entry.uuid
        attributes = {
            "immutable_id": uuid,
            "last_modified": record.entry.ctime.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            **structure_attributes(record.structure),
            "chemical_formula_descriptive": record.values["formula"],
            **{field.property_name: record.values[field.name] for field in FIELDS},
        }
        yield {"id": uuid, "type": "structures", "attributes": attributes}


def structure_attributes(structure: StructureData) -> dict[str, Any]:
    """The attributes that OPTIMADE defines, for a structure with one element on each site. Lengths in Angstrom."""
    atoms = structure.get_ase()
    symbols = atoms.get_chemical_symbols()
    counts = dict(sorted(Counter(symbols).items()))
    periodic = [int(along) for along in atoms.pbc]
    return {
        "elements": list(counts),
        "nelements": len(counts),
        "elements_ratios": [count / len(symbols) for count in counts.values()],
        "chemical_formula_reduced": reduced_formula(counts),
        "chemical_formula_anonymous": anonymous_formula(counts),
        "dimension_types": periodic,
        "nperiodic_dimensions": sum(periodic),
        "lattice_vectors": atoms.cell.array.tolist(),
        "cartesian_site_positions": atoms.positions.tolist(),
        "nsites": len(symbols),
        "species": [{"name": element, "chemical_symbols": [element], "concentration": [1.0]} for element in counts],
        "species_at_sites": symbols,
        "structure_features": [],
    }


def reduced_formula(counts: Mapping[str, int]) -> str:
    """Elements in alphabetical order with the smallest whole numbers, e.g. ``AlN2Ti``."""
    return formula(dict(sorted(counts.items())))


def anonymous_formula(counts: Mapping[str, int]) -> str:
    """Letters in the place of elements, the most frequent first, e.g. ``A2BC``."""
    return formula(dict(zip(ascii_uppercase, sorted(counts.values(), reverse=True), strict=False)))


def formula(counts: Mapping[str, int]) -> str:
    common = math.gcd(*counts.values())
    return "".join(f"{name}{count // common if count > common else ''}" for name, count in counts.items())
