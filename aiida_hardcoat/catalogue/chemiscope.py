"""The catalogue as a file for chemiscope (https://chemiscope.org): a map of any two numbers, linked to the structures.

The format is that of https://chemiscope.org/docs/json-format.html, gzipped. Materials Cloud shows a file of an archive
whose name ends in ``chemiscope.json.gz``.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiida.orm import StructureData

from aiida_hardcoat.catalogue.optimade.fields import FIELDS, SCALARS, Field
from aiida_hardcoat.catalogue.optimade.records import records
from aiida_hardcoat.data.elastic import ElasticData
from hardcoat_ml.files import write_whole

SHOWN = {"x": "x", "y": "bulk_modulus", "color": "shear_modulus"}
"""What the map shows at first."""

DESCRIPTION = (
    "Relaxed quasirandom structures of hard-coating alloys, and what was computed for them. Values of different "
    "level_fingerprint must not be compared or pooled."
)
REFERENCE = "H. Levämäki et al., npj Comput. Mater. 8, 17 (2022), doi 10.1038/s41524-022-00698-7"


def write_chemiscope(entries: Sequence[ElasticData], path: Path) -> Path:
    """Write a gzipped chemiscope file: equal bytes for equal entries, in whichever order they come.

    :param path: by custom ``*.chemiscope.json.gz``.
    :raises InputError: for an entry whose calculation is not in the profile.
    """
    text = json.dumps(chemiscope_data(entries), ensure_ascii=False, separators=(",", ":"))
    path.parent.mkdir(parents=True, exist_ok=True)
    # A time or a name in the header would make equal content unequal.
    write_whole(path, gzip.compress(text.encode(), mtime=0))
    return path


def chemiscope_data(entries: Sequence[ElasticData]) -> dict[str, Any]:
    """The content of a chemiscope file: relaxed structures, and every scalar of an entry as a property of them."""
    found = list(records(sorted(entries, key=lambda entry: entry.uuid)))
    rows = [record.values for record in found]
    uuids = {"target": "structure", "values": [record.entry.uuid for record in found], "description": "Of the entry"}
    columns = {
        field.name: chemiscope_property(field, [row[field.name] for row in rows])
        for field in FIELDS
        if field.type in SCALARS and any(row[field.name] is not None for row in rows)
    }
    return {
        "meta": {"name": "aiida-hardcoat", "description": DESCRIPTION, "references": [REFERENCE]},
        "structures": [chemiscope_structure(record.structure) for record in found],
        "properties": {"uuid": uuids, **columns},
        "settings": settings(rows),
    }


def chemiscope_structure(structure: StructureData) -> dict[str, Any]:
    """Positions and cell in Angstrom."""
    atoms = structure.get_ase()
    x, y, z = atoms.positions.T.tolist()
    names = atoms.get_chemical_symbols()
    return {"size": len(names), "names": names, "x": x, "y": y, "z": z, "cell": atoms.cell.array.ravel().tolist()}


def chemiscope_property(field: Field, values: Sequence[Any]) -> dict[str, Any]:
    """A property, all its values numbers or all text, as chemiscope asks; a number that is not known is NaN."""
    if field.type in ("string", "boolean"):
        values = ["" if value is None else str(value) for value in values]
    else:
        values = [math.nan if value is None else float(value) for value in values]
    unit = {} if field.unit is None else {"units": field.unit}
    return {"target": "structure", "values": values, "description": field.description, **unit}


def settings(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is shown at first: levels of theory by their symbols where there are several, else structure types."""
    levels = {row["level_fingerprint"] for row in rows}
    axes = {axis: {"property": name} for axis, name in SHOWN.items() if any(row[name] is not None for row in rows)}
    symbol = "level_fingerprint" if len(levels) > 1 else "structure_type"
    return {
        "target": "structure",
        "map": {**axes, "symbol": symbol},
        "structure": [{"unitCell": True, "supercell": [1, 1, 1]}],
    }
