"""OPTIMADE and chemiscope files of a bundle."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aiida_hardcoat.catalogue.bundle.findings import Finding
from aiida_hardcoat.catalogue.bundle.layout import CHEMISCOPE, OPTIMADE_CONFIG, OPTIMADE_DATA
from aiida_hardcoat.data.elastic import ElasticData


def write_views(entries: Sequence[ElasticData], folder: Path) -> None:
    """:raises InputError: for an entry without a structure."""
    from aiida_hardcoat.catalogue.chemiscope import write_chemiscope
    from aiida_hardcoat.catalogue.optimade.files import write_optimade

    write_optimade(entries, folder)
    write_chemiscope(entries, folder / CHEMISCOPE)


def view_findings(archive: Path, folder: Path) -> Iterator[Finding]:
    """Where the files differ from those that the archive gives.

    They are made again in a process of its own, whose profile is the archive: a process has one profile at a time, and
    that of the user stays as it is.
    """
    with tempfile.TemporaryDirectory(prefix="hardcoat-views-") as temporary:
        done = subprocess.run(
            [sys.executable, "-m", __name__, archive.resolve(), temporary], capture_output=True, text=True
        )
        if done.returncode != 0:
            problem = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            yield Finding(OPTIMADE_DATA, f"cannot be made again from the archive: {problem}")
            return
        for name in (OPTIMADE_CONFIG, OPTIMADE_DATA, CHEMISCOPE):
            try:
                yield from content_findings(name, content(folder / name), content(Path(temporary) / name))
            except (OSError, EOFError, zlib.error, UnicodeDecodeError):
                yield Finding(name, "cannot be read")


def content(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


def content_findings(name: str, stored: str, derived: str) -> Iterator[Finding]:
    """The lines that differ; of a line that holds a structure, its id and the attributes."""
    if stored == derived:
        return
    pairs = list(zip(stored.splitlines(), derived.splitlines(), strict=False))
    changed = [(one, other) for one, other in pairs if one != other]
    if name != OPTIMADE_DATA or not changed:
        yield Finding(name, "is not what the archive gives")
        return
    for one, other in changed:
        yield from attribute_findings(name, one, json.loads(other))


def attribute_findings(name: str, stored: str, derived: dict[str, Any]) -> Iterator[Finding]:
    uuid, attributes = derived.get("id"), derived.get("attributes", {})
    try:
        kept = json.loads(stored)["attributes"]
        changed = [key for key in attributes if kept.get(key) != attributes[key]]
    except (ValueError, KeyError, TypeError, AttributeError):
        changed = []
    for key in changed:
        yield Finding(name, "is not that of the archive", uuid, key, kept.get(key), attributes[key])
    if not changed:
        yield Finding(name, "is not what the archive gives", uuid)


def main(archive: str, folder: str) -> None:
    """Make the files of an archive, as the only profile of this process."""
    from aiida.manage import get_manager
    from aiida.storage.sqlite_zip.backend import SqliteZipBackend

    from aiida_hardcoat.data.catalogue import CatalogueGroup

    get_manager().load_profile(SqliteZipBackend.create_profile(archive))
    [group] = CatalogueGroup.collection.all()
    write_views(group.entries(), Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
