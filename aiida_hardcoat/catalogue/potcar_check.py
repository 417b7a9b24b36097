"""Find POTCAR files before an archive is shared: VASP's licence forbids to pass them on.

``python -m aiida_hardcoat.catalogue.potcar_check ARCHIVE.aiida`` tells, with exit code 1 where there are any.
"""

from __future__ import annotations

import gzip
import io
import sys
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aiida import orm
from aiida.common.exceptions import CorruptStorage, IncompatibleStorageSchema, UnreachableStorage
from aiida.tools.archive.abstract import get_format
from aiida_vasp.data.potcar import PotcarFileData

from aiida_hardcoat.errors import InputError

SIGNS = (b"TITEL", b"END of PSCTR")
"""What every POTCAR holds. VASP copies its first lines into OUTCAR, but not the second sign."""


UNREADABLE = (UnreachableStorage, CorruptStorage, IncompatibleStorageSchema)


@dataclass(frozen=True)
class LicensedNode:
    """A node that must not be shared.

    :param uuid: of the node.
    :param what: its type, or the file within it that holds a potential.
    """

    uuid: str
    what: str


def licensed_nodes(source: str | Path | Iterable[str]) -> list[LicensedNode]:
    """The nodes that hold a POTCAR: aiida-vasp's own kind, or any with such a file, also in a tar or gzip.

    :param source: the path of an archive, or UUIDs of nodes in the profile.
    :raises InputError: for a path that is no archive of AiiDA's present format.
    """
    if isinstance(source, (str, Path)):
        try:
            with get_format().open(source, mode="r") as archive:
                return sorted_findings(archive.querybuilder().append(orm.Node).all(flat=True))
        except UNREADABLE as error:
            raise InputError(f"'{source}' cannot be read as an archive of AiiDA: {error}") from None
    query = orm.QueryBuilder().append(orm.Node, filters={"uuid": {"in": list(source)}})
    return sorted_findings(query.all(flat=True))


def sorted_findings(nodes: Iterable[orm.Node]) -> list[LicensedNode]:
    return sorted((found for node in nodes if (found := inspect(node)) is not None), key=lambda found: found.uuid)


def inspect(node: orm.Node) -> LicensedNode | None:
    """What is licensed in a node; None for one that may be shared."""
    if isinstance(node, PotcarFileData):
        return LicensedNode(node.uuid, f"PotcarFileData of {node.symbol}")
    repository = node.base.repository
    for folder, _, names in repository.walk():
        for name in names:
            if holds_potential(repository.get_object_content(str(folder / name), "rb")):
                return LicensedNode(node.uuid, str(folder / name))
    return None


def holds_potential(content: bytes) -> bool:
    """Whether the bytes of a file, or of the files packed in it, are a POTCAR."""
    return any(all(sign in text for sign in SIGNS) for text in unpacked(content))


def unpacked(content: bytes) -> Iterator[bytes]:
    """The content itself and, of a gzip or tar, what is in it."""
    yield content
    try:
        content = gzip.decompress(content)
        yield content
    except (OSError, EOFError, zlib.error):
        pass
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive:
                if (file := archive.extractfile(member)) is not None:
                    yield file.read()
    except tarfile.TarError:
        pass


def main(paths: list[str]) -> int:
    """Report on archives; neither a profile of one's own nor the archive is changed."""
    from aiida_hardcoat.engines.dry_profile import some_profile

    if not paths:
        print("name one archive or more", file=sys.stderr)
        return 2
    try:
        with some_profile():
            found = [(path, node) for path in paths for node in licensed_nodes(path)]
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    for path, node in found:
        print(f"{path}: {node.uuid} holds a POTCAR ({node.what}): do not share")
    if not found:
        print("no POTCAR found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
