"""What the page shows: one index of all entries in columns, and one record for each entry, opened when it is asked for.

Nothing here belongs to one profile or day, such as a PK or a date: equal catalogues give equal pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from aiida.common.links import LinkType
from aiida.orm import Node, QueryBuilder, TrajectoryData

from aiida_hardcoat import __version__
from aiida_hardcoat.catalogue.levels import level_columns
from aiida_hardcoat.catalogue.mixing import is_end, key, mixing_energies
from aiida_hardcoat.catalogue.predictions import LEARNED, disagreement, inside, predictions_of
from aiida_hardcoat.catalogue.query import search
from aiida_hardcoat.catalogue.selection import search_some
from aiida_hardcoat.catalogue.site.provenance import Ancestry, ancestry, graph
from aiida_hardcoat.data.catalogue import DEFAULT_LABEL
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PROPERTIES
from aiida_hardcoat.physics.strain import stress_to_voigt
from aiida_hardcoat.physics.symmetry import ReducedStrains, expand_stresses

TEXTS = {
    "formula": "Formula",
    "system": "System",
    "structure_type": "Structure",
    "relaxed_structure_type": "After relaxation",
    "ions": "Ions",
    "level_name": "Level of theory",
    "cell_shape": "Cell shape",
}
"""Columns of words, with their titles."""

NUMBERS = {
    "x": ("x", "", 3),
    "number_of_atoms": ("Atoms", "", 0),
    "bulk_modulus": ("B", "GPa", 1),
    "shear_modulus": ("G", "GPa", 1),
    "youngs_modulus": ("E", "GPa", 1),
    "poisson_ratio": ("ν", "", 3),
    "hardness_chen_2011": ("H Chen", "GPa", 1),
    "hardness_tian_2012": ("H Tian", "GPa", 1),
    "hardness_teter_1998": ("H Teter", "GPa", 1),
    "hardness_mazhnik_oganov_2019": ("H Mazhnik–Oganov", "GPa", 1),
    "c11": ("C11", "GPa", 1),
    "c12": ("C12", "GPa", 1),
    "c13": ("C13", "GPa", 1),
    "c33": ("C33", "GPa", 1),
    "c44": ("C44", "GPa", 1),
    "c66": ("C66", "GPa", 1),
    "pugh_ratio": ("B/G", "", 3),
    "cauchy_pressure": ("Cauchy pressure", "GPa", 1),
    "universal_anisotropy": ("Universal anisotropy", "", 4),
    "youngs_modulus_min": ("Smallest E", "GPa", 1),
    "youngs_modulus_max": ("Largest E", "GPa", 1),
    "mixing_energy": ("Mixing energy", "eV/f.u.", 4),
    "energy_per_formula": ("Energy", "eV/f.u.", 4),
    "volume_per_formula": ("Volume", "Å³/f.u.", 3),
    "lattice_a": ("a", "Å", 4),
    "c_over_a": ("c/a", "", 4),
    "u": ("u", "", 4),
    "density": ("Density", "kg/m³", 0),
    "debye_temperature": ("Debye temperature", "K", 0),
    "sqs_objective": ("SQS objective", "", 4),
    "predicted_bulk_modulus": ("B learned", "GPa", 1),
    "predicted_shear_modulus": ("G learned", "GPa", 1),
    "predicted_youngs_modulus": ("E learned", "GPa", 1),
    "predicted_poisson_ratio": ("ν learned", "", 3),
    "predicted_bulk_modulus_spread": ("B learned, spread", "GPa", 1),
    "predicted_shear_modulus_spread": ("G learned, spread", "GPa", 1),
    "bulk_modulus_disagreement": ("B off", "half intervals", 2),
    "shear_modulus_disagreement": ("G off", "half intervals", 2),
    "distance": ("Distance from training data", "", 2),
}
"""Columns of numbers: title, unit, and the digits after the point that the page shows. All digits are in the file."""

FLAGS = {"stable": "Stable", "stable_with_tolerance": "Stable with tolerance 1.1"}

NOT_STORED = ("level_name", "mixing_energy", *LEARNED)
"""Columns that no entry has as a field of its own."""

CHUNK = 200
"""Entries that are read together."""

DECIMALS = 5
"""Of atomic positions (Angstrom), strains and stresses (GPa) that are drawn; numbers in words keep all digits."""


def find_rows(*, label: str = DEFAULT_LABEL, **filters: Any) -> list[dict[str, Any]]:
    """The entries to show, in an order that depends on their content only.

    :param filters: of :func:`aiida_hardcoat.catalogue.query.search`.
    :raises InputError: as the search; where the catalogue is empty, or nothing in it matches.
    """
    stored = [name for name in (*TEXTS, *NUMBERS, *FLAGS) if name not in NOT_STORED]
    columns = (*stored, "level", "level_fingerprint", "fractions")
    rows = search_some(label=label, learned=True, columns=columns, **filters)
    # The end members count also where the filters leave them out: their x is 1.
    ends = search(label=label, columns=("fractions",), x=(1.0, 1.0))
    mixing = known_mixing_energies([*rows, *ends])
    names = {column["level_fingerprint"]: column["name"] for column in level_columns(rows)}
    for row in rows:
        row["level_name"] = names[row["level_fingerprint"]]
        row["mixing_energy"] = mixing.get(row["pk"])
    return sorted(
        rows, key=lambda row: (row["system"], row["structure_type"], row["x"], row["level_name"], row["uuid"])
    )


def known_mixing_energies(rows: Iterable[dict[str, Any]]) -> dict[int, float]:
    """Mixing energies by PK, eV per formula unit, of alloys whose end members are there at their level of theory."""
    unique = {row["pk"]: row for row in rows}.values()
    ends = {(*key(row), *row["fractions"]) for row in unique if is_end(row)}
    complete = [row for row in unique if all((*key(row), metal) in ends for metal in row["fractions"])]
    energies = mixing_energies(complete)
    return {row["pk"]: energies[row["pk"]] for row in complete if not is_end(row)}


def index(
    rows: Sequence[Mapping[str, Any]], title: str, sort: str, structures: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """All entries in columns: words as places in a list of words, numbers with all digits, missing ones as null.

    :param sort: the column that the table starts with, with a minus in front for falling order.
    :param structures: of each structure that is behind entries, their rows.
    """
    descriptions = ElasticData.AttributesModel.model_fields
    return {
        "title": title,
        "version": __version__,
        "sort": known_sort(sort),
        "uuid": [row["uuid"] for row in rows],
        "label": [row["label"] for row in rows],
        "texts": {name: {"title": text, **coded([row[name] for row in rows])} for name, text in TEXTS.items()},
        "numbers": {
            name: {"title": text, "unit": unit, "digits": digits, "values": [row[name] for row in rows]}
            for name, (text, unit, digits) in NUMBERS.items()
            if any(row[name] is not None for row in rows)
        },
        "flags": {name: {"title": text, "values": [int(row[name]) for row in rows]} for name, text in FLAGS.items()},
        "shared": {uuid: places for uuid, places in structures.items() if len(places) > 1},
        "descriptions": {name: described.description for name, described in descriptions.items() if name != "source"},
    }


def known_sort(sort: str) -> str:
    """The order to start with, if it is by a column of the page."""
    name = sort.removeprefix("-")
    return sort if name in (*TEXTS, *NUMBERS, *FLAGS) else "system"


def coded(values: Sequence[str | None]) -> dict[str, Any]:
    """Each word once, in order, and for each entry the place of its own."""
    words = sorted({value for value in values if value is not None})
    places = {word: place for place, word in enumerate(words)}
    return {"words": words, "codes": [-1 if value is None else places[value] for value in values]}


def records(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The UUID and the record of each entry: fields, structures, stresses, predictions and provenance."""
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        predictions = predictions_of([row["pk"] for row in chunk])
        roots = {row["pk"]: [row["pk"], *(made["pk"] for made in predictions.get(row["pk"], ()))] for row in chunk}
        found = ancestry({pk for pks in roots.values() for pk in pks})
        sources = {row["pk"]: sources_of(found, row["pk"]) for row in chunk}
        content = read({pk for pks in sources.values() for pk in pks.values()} | roots.keys())
        for row in chunk:
            pk = row["pk"]
            made_from = {name: content[source] for name, source in sources[pk].items()}
            fields = {name: value for name, value in content[pk].items() if name != "source"}
            yield (
                row["uuid"],
                {
                    "label": row["label"],
                    "fields": fields,
                    "predictions": [beside(fields, made) for made in reversed(predictions.get(pk, ()))],
                    "before": structure(made_from.get("before")),
                    "after": structure(made_from.get("structure")),
                    "stresses": stresses(made_from),
                    "graph": graph(found, roots[pk]),
                },
            )


def structures_behind(record: Mapping[str, Any]) -> Iterator[str]:
    """UUIDs of the structures in the graph of a record that stand for themselves alone."""
    return (uuid for _, kind, _, uuid, _, number in record["graph"]["nodes"] if kind == "StructureData" and number == 1)


def sources_of(found: Ancestry, entry: int) -> dict[str, int]:
    """PKs of the inputs that a record is drawn from, by name; ``before`` is the structure before relaxation."""
    made = found.sources(entry, LinkType.CREATE)
    inputs = {link.label: link.source for link in found.sources(made[0].source, LinkType.INPUT_CALC)} if made else {}
    wanted: dict[str, int] = {
        name: inputs[name] for name in ("structure", "reference", "strained", "symmetry") if name in inputs
    }
    if "structure" in wanted:
        first = first_structure(found, wanted["structure"])
        if first != wanted["structure"]:
            wanted["before"] = first
    return wanted


def first_structure(found: Ancestry, structure: int) -> int:
    """The structure that a structure was made from, and that from, up to one that was made from none."""
    for pk in reversed(found.above([structure])):
        if found.nodes[pk].type == "StructureData":
            return pk
    return structure


def read(pks: Iterable[int]) -> dict[int, Any]:
    """Attributes by PK; of a trajectory the node itself, because its numbers are in files."""
    query = QueryBuilder().append(Node, filters={"id": {"in": sorted(pks)}}, project=["id", "*"])
    # While the query lasts: a node that is looked at later asks the database for itself again.
    return {pk: node if isinstance(node, TrajectoryData) else node.base.attributes.all for pk, node in query.iterall()}


def beside(fields: Mapping[str, Any], prediction: Mapping[str, Any]) -> dict[str, Any]:
    """A prediction with what the computed values are in its intervals."""
    return {
        **{name: value for name, value in prediction.items() if name != "pk"},
        "inside": {name: inside(fields.get(name), prediction, name) for name in PROPERTIES},
        "disagreement": {name: disagreement(fields.get(name), prediction, name) for name in PROPERTIES},
    }


def structure(attributes: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Cell (rows, Angstrom), elements, and for each atom the place of its element and its position (Angstrom)."""
    if attributes is None or "sites" not in attributes:
        return None
    symbols = {kind["name"]: kind["symbols"][0] for kind in attributes["kinds"]}
    elements = sorted(set(symbols.values()))
    return {
        "cell": attributes["cell"],
        "elements": elements,
        "atoms": [elements.index(symbols[site["kind_name"]]) for site in attributes["sites"]],
        "positions": rounded([site["position"] for site in attributes["sites"]]),
    }


def stresses(made_from: Mapping[str, Any]) -> dict[str, Any] | None:
    """Strains (n, 6) and stresses (n, 6), GPa, that the tensor was fitted to, as the fit took them.

    :return: also ``computed``, 1 for a strained cell that was computed and 0 for one that follows from it by symmetry,
        and ``reference`` (6), GPa, the stress of the unstrained cell. None where these are not in the profile.
    """
    strained, reference = made_from.get("strained"), made_from.get("reference")
    if not isinstance(strained, TrajectoryData) or not isinstance(reference, TrajectoryData):
        return None
    kept = strained.get_array("converged").astype(bool)
    strains = strained.get_array("strains")[kept]
    found = stress_to_voigt(strained.get_array("stresses")[kept])
    computed = np.ones(len(strains), dtype=int)
    said = made_from.get("symmetry")
    if said is not None:
        strains = np.array(said["asked"])
        reduced = ReducedStrains(strains, tuple(said["computed"]), tuple(said["source"]), np.array(said["rotations"]))
        found = expand_stresses(reduced, found)
        computed = np.isin(np.arange(len(strains)), said["computed"]).astype(int)
    return {
        "strains": rounded(strains),
        "stresses": rounded(found),
        "computed": computed.tolist(),
        "reference": rounded(stress_to_voigt(reference.get_array("stresses")[-1])),
    }


def rounded(values: Any) -> Any:
    # Adding zero makes -0.0 a zero.
    return (np.round(np.asarray(values, dtype=float), DECIMALS) + 0.0).tolist()
