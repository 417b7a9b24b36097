"""SHA256SUMS: written for `sha256sum -c`, and checked without it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from aiida_hardcoat.catalogue.bundle.findings import Finding
from aiida_hardcoat.catalogue.bundle.layout import CHECKSUMS, CONTENT


def file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_checksums(folder: Path) -> None:
    lines = [f"{file_sha256(folder / name)}  {name}\n" for name in sorted(CONTENT)]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def checksum_findings(folder: Path) -> Iterator[Finding]:
    """Files that are missing, altered, or of no bundle."""
    noted = {}
    for number, line in enumerate((folder / CHECKSUMS).read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        value, separator, name = line.partition("  ")
        if not separator or name not in CONTENT or name in noted:
            yield Finding(CHECKSUMS, f"line {number} is none of a bundle's")
        noted[name] = value
    there = {item.name for item in folder.iterdir()}
    for name in sorted(there - {*CONTENT, CHECKSUMS}):
        yield Finding(name, "is no file of a bundle")
    for name in CONTENT:
        if name not in there or not (folder / name).is_file():
            yield Finding(name, "is missing")
        elif name not in noted:
            yield Finding(name, f"is not in {CHECKSUMS}")
        elif file_sha256(folder / name) != noted[name]:
            yield Finding(name, f"was altered: its sha256 is not that in {CHECKSUMS}")
