"""manifest.json: what a bundle holds, counted from its archive."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aiida.orm import Node, QueryBuilder
from aiida.orm.implementation import StorageBackend
from aiida.tools.archive.abstract import get_format

from aiida_hardcoat import __version__
from aiida_hardcoat.calculations.elastic import PASSING_DETAILS
from aiida_hardcoat.catalogue.bundle.archive import entries_of, predictions_of
from aiida_hardcoat.catalogue.bundle.containers import no_bundle
from aiida_hardcoat.catalogue.bundle.findings import Finding
from aiida_hardcoat.catalogue.bundle.fingerprint import entries_fingerprint
from aiida_hardcoat.catalogue.bundle.layout import MANIFEST, SCHEMA, SCHEMA_VERSION
from aiida_hardcoat.catalogue.bundle.tables import Row
from aiida_hardcoat.errors import InputError

Manifest = dict[str, Any]


def describe(backend: StorageBackend, rows: list[Row], fingerprint: str) -> Manifest:
    """All of a manifest that follows from the archive."""
    entries, predictions = list(entries_of(backend, members=True)), list(predictions_of(backend, members=True))
    return {
        "fingerprint": fingerprint,
        "entries_fingerprint": entries_fingerprint([*entries, *predictions]),
        "entries": len(entries),
        "predictions": len(predictions),
        "nodes": QueryBuilder(backend=backend).append(Node).count(),
        "counts": counts(rows),
        "levels": levels(entries),
        "models": models(predictions),
    }


def counts(rows: list[Row]) -> list[dict[str, Any]]:
    """Entries, and those with a prediction, by structure type, ions and level of theory."""
    columns = ("structure_type", "ions", "level", "level_fingerprint")
    places = [tuple(row[name] for name in columns) for row in rows]
    learned = Counter(place for place, row in zip(places, rows, strict=True) if row["learned_uuid"] is not None)
    return [
        {**dict(zip(columns, place, strict=True)), "entries": number, "with_prediction": learned[place]}
        for place, number in sorted(Counter(places).items())
    ]


def levels(entries: list[Any]) -> list[dict[str, Any]]:
    """Each level of theory: what decides its numbers, and the versions and devices that were met with it."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for entry in entries:
        found[entry.level, entry.level_fingerprint].append(entry.level_of_theory)
    return [
        {
            "level": level,
            "level_fingerprint": fingerprint,
            "entries": len(details),
            "details": {key: value for key, value in details[0].items() if key not in PASSING_DETAILS},
            "computed_with": distinct([{key: d[key] for key in PASSING_DETAILS if key in d} for d in details]),
        }
        for (level, fingerprint), details in sorted(found.items(), key=lambda item: item[0])
    ]


def distinct(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [json.loads(text) for text in sorted({json.dumps(item, sort_keys=True) for item in items})]


def models(predictions: list[Any]) -> list[dict[str, Any]]:
    names = ("model_name", "model_version", "model_sha256", "model_fingerprint", "training_data")
    numbers = Counter(tuple(getattr(prediction, name) for name in names) for prediction in predictions)
    columns = [name.removeprefix("model_") for name in names]
    return [
        {**dict(zip(columns, model, strict=True)), "predictions": number} for model, number in sorted(numbers.items())
    ]


def versions() -> dict[str, str]:
    return {
        "aiida-hardcoat": __version__,
        "aiida-core": version("aiida-core"),
        "archive_format": get_format().latest_version,
    }


def write_manifest(manifest: Manifest, folder: Path) -> None:
    whole = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **manifest}
    (folder / MANIFEST).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """:raises InputError: for a folder that is no bundle, or one of a newer version of this package."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise no_bundle(folder, f"its {MANIFEST} cannot be read") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise no_bundle(folder, f"its {MANIFEST} is not of the schema '{SCHEMA}'")
    number = manifest.get("schema_version")
    if not isinstance(number, int) or number > SCHEMA_VERSION:
        raise InputError(
            f"the bundle is of version {number}, newer than {SCHEMA_VERSION}: pip install -U aiida-hardcoat"
        )
    for name, kind in (("title", str), ("authors", list), ("licence", str), ("versions", dict), ("fingerprint", str)):
        if not isinstance(manifest.get(name), kind):
            raise no_bundle(folder, f"its {MANIFEST} has no valid '{name}'")
    texts = [*manifest["authors"], *(manifest["versions"].get(name) for name in versions())]
    if not all(isinstance(text, str) for text in texts):
        raise no_bundle(folder, f"its {MANIFEST} has authors or versions that are no text")
    return manifest


def manifest_findings(manifest: Manifest, derived: Manifest) -> Iterator[Finding]:
    for name, value in derived.items():
        # Through JSON, as the manifest itself went.
        if manifest.get(name) != json.loads(json.dumps(value)):
            yield Finding(MANIFEST, "is not what the archive gives", None, name, manifest.get(name), value)
