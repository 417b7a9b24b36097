"""The two files that an archive holds to be found by OPTIMADE clients: ``optimade.yaml`` and ``optimade.jsonl``.

Materials Cloud and optimade-maker read the first, which points to the second. That is in OPTIMADE's format for the
exchange of databases: a header, a line that describes the provider fields, a line for each structure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from aiida_hardcoat.catalogue.optimade.fields import FIELDS
from aiida_hardcoat.catalogue.optimade.records import optimade_structures
from aiida_hardcoat.data.elastic import ElasticData
from hardcoat_ml.files import write_whole

CONFIG, JSONL = "optimade.yaml", "optimade.jsonl"
API_VERSION = "1.2.0"
CONFIG_VERSION = "0.1.0"
"""Of ``optimade.yaml``: the oldest that can point to a JSONL file, which every reader knows."""

DESCRIPTION = (
    "Elastic constants, moduli and energies of hard-coating alloys in quasirandom structures, each traceable to the "
    "calculations that made it. Values of different _hardcoat_level_fingerprint must not be compared or pooled."
)


def write_optimade(entries: Sequence[ElasticData], folder: Path) -> list[Path]:
    """Write ``optimade.yaml`` and ``optimade.jsonl``: equal bytes for equal entries, in whichever order they come.

    :raises InputError: for an entry whose calculation is not in the profile.
    """
    config = {
        "config_version": CONFIG_VERSION,
        "database_description": DESCRIPTION,
        "entries": {"jsonl_path": JSONL},
    }
    contents = {
        folder / CONFIG: yaml.safe_dump(config, sort_keys=False, width=100),
        folder / JSONL: "".join(jsonl_lines(sorted(entries, key=lambda entry: entry.uuid))),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in contents.items():
        write_whole(path, text.encode())
    return list(contents)


def jsonl_lines(entries: Iterable[ElasticData]) -> Iterator[str]:
    yield line({"x-optimade": {"meta": {"api_version": API_VERSION}}})
    yield line(structures_info())
    for structure in optimade_structures(entries):
        modified = {"$date": structure["attributes"]["last_modified"]}  # which loads as a date, not as text
        yield line({**structure, "attributes": {**structure["attributes"], "last_modified": modified}})


def structures_info() -> dict[str, Any]:
    """What the info endpoint says of the provider fields."""
    return {
        "type": "info",
        "id": "structures",
        "description": "Relaxed structures, and what was computed for them",
        "formats": ["json"],
        "properties": {field.property_name: field.definition() for field in FIELDS},
        "output_fields_by_format": {"json": [field.property_name for field in FIELDS]},
    }


def line(content: dict[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, allow_nan=False) + "\n"
