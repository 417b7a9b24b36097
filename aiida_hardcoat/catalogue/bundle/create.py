"""Make a bundle of entries."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiida.common.exceptions import LicensingException
from aiida.orm import Node, QueryBuilder, User
from aiida.orm.entities import EntityTypes
from aiida.orm.implementation import StorageBackend
from aiida.tools.archive import create_archive
from aiida.tools.archive.abstract import get_format
from aiida.tools.archive.exceptions import ArchiveExportError

from aiida_hardcoat.catalogue.bundle.archive import opened
from aiida_hardcoat.catalogue.bundle.checksums import write_checksums
from aiida_hardcoat.catalogue.bundle.findings import RefusedBundleError
from aiida_hardcoat.catalogue.bundle.fingerprint import archive_lines, fingerprint
from aiida_hardcoat.catalogue.bundle.layout import ARCHIVE, FILES, NODES
from aiida_hardcoat.catalogue.bundle.manifest import Manifest, describe, read_manifest, versions, write_manifest
from aiida_hardcoat.catalogue.bundle.quiet import quiet
from aiida_hardcoat.catalogue.bundle.tables import table_rows, write_tables
from aiida_hardcoat.catalogue.bundle.texts import check_licence, write_texts
from aiida_hardcoat.catalogue.bundle.views import write_views
from aiida_hardcoat.catalogue.predictions import predictions_of
from aiida_hardcoat.catalogue.selection import search_some
from aiida_hardcoat.catalogue.whole_folder import replaced
from aiida_hardcoat.data.catalogue import DEFAULT_LABEL, CatalogueGroup
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PredictionData
from aiida_hardcoat.errors import InputError

TITLE = "Elastic constants of hard-coating alloys"
AUTHORS = ("anonymous",)
LICENCE = "CC-BY-4.0"

NAMESPACE = uuid.UUID("6f0bb7a1-6a7c-4f56-9d39-0f3a1a5f8a53")
"""A bundle's group has a UUID that follows from its members, so that equal bundles hold one group."""


def create_bundle(
    folder: Path,
    *,
    title: str = TITLE,
    authors: Sequence[str] = AUTHORS,
    licence: str = LICENCE,
    overwrite: bool = False,
    label: str = DEFAULT_LABEL,
    **filters: Any,
) -> Manifest:
    """Write a bundle of the entries that a search finds, with the newest prediction of each model for them.

    The folder is there whole or not at all.

    :param authors: persons as ``Family, Given``, or other names.
    :param licence: SPDX identifier, of :data:`~aiida_hardcoat.catalogue.bundle.texts.LICENCES`.
    :param filters: of :func:`aiida_hardcoat.catalogue.query.search`.
    :return: the manifest.
    :raises InputError: for a folder that is not ours, an empty selection, calculations that are not finished, a
        POTCAR, or nodes that no bundle may hold.
    """
    check_licence(licence)
    check_folder(folder, overwrite)
    pks = [row["pk"] for row in search_some(label=label, **filters)]
    entries = by_pk(ElasticData, pks)
    learned = by_pk(PredictionData, [row["pk"] for found in predictions_of(pks).values() for row in found])
    with replaced(folder) as temporary:
        write_archive([*entries, *learned], temporary / ARCHIVE, label)
        refuse_potcars(temporary / ARCHIVE)
        try:
            with quiet(), opened(temporary / ARCHIVE) as backend:
                manifest = write_tables_and_texts(
                    backend, temporary, {"title": title, "authors": list(authors), "licence": licence}
                )
        except RefusedBundleError as error:
            raise InputError(f"these entries cannot be bundled: {error}") from None
        write_views(entries, temporary)
        write_checksums(temporary)
    return manifest


def write_tables_and_texts(backend: StorageBackend, folder: Path, chosen: dict[str, Any]) -> Manifest:
    """Everything that is made from the archive alone, and what it was told of itself."""
    with (folder / NODES).open("w", encoding="utf-8") as stream:
        stream.writelines(archive_lines(backend))
    with (folder / NODES).open(encoding="utf-8") as stream:
        total = fingerprint(stream)
    rows = table_rows(backend)
    write_tables(rows, folder)
    manifest = {**chosen, "versions": versions(), **describe(backend, rows, total)}
    write_manifest(manifest, folder)
    write_texts(manifest, folder)
    return manifest


def by_pk(kind: type[Node], pks: Sequence[int]) -> list[Any]:
    query = QueryBuilder().append(kind, filters={"id": {"in": sorted(set(pks))}}, project="*", tag="node")
    return query.order_by({"node": "id"}).all(flat=True) if pks else []


def check_folder(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that holds anything but a bundle, and a bundle that is not to be replaced.

    :raises InputError: naming what is in the way.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir() or folder.is_symlink():
        raise InputError(f"'{folder}' is there and no folder: choose another name")
    names = sorted(item.name for item in folder.iterdir())
    if not names:
        return
    try:
        read_manifest(folder)
    except InputError:
        raise InputError(f"'{folder}' is there and no bundle (it holds {names[0]}): choose another folder") from None
    if strange := [name for name in names if name not in FILES]:
        raise InputError(f"'{folder}' holds {strange[0]}, which is no file of a bundle: move it away first")
    if not overwrite:
        raise InputError(f"'{folder}' is a bundle already: --overwrite replaces it")


def write_archive(members: Sequence[Node], path: Path, label: str) -> None:
    """The members of a catalogue with all that they came from, and the group that holds them.

    Comments and logs stay: they are remarks to oneself, and no provenance.
    """
    try:
        with quiet():
            create_archive(members, path, include_comments=False, include_logs=False)
            add_group(path, members, label)
    except (ArchiveExportError, LicensingException) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"cannot export the entries; wait until their calculations have ended: {reason}") from None


def add_group(path: Path, members: Sequence[Node], label: str) -> None:
    """Put the members into a catalogue within the archive; the profile's own may hold more."""
    uuids = sorted(node.uuid for node in members)
    with get_format().open(path, "r") as reader:
        query = QueryBuilder(backend=reader.get_backend())
        pks = query.append(Node, filters={"uuid": {"in": uuids}}, project="id").all(flat=True)
        [user, *_] = QueryBuilder(backend=reader.get_backend()).append(User, project="id").all(flat=True)
    group = {
        "id": 1,
        "uuid": str(uuid.uuid5(NAMESPACE, " ".join(uuids))),
        "label": label,
        "type_string": CatalogueGroup._type_string,
        "time": datetime.now(UTC),
        "description": "Entries of a bundle",
        "extras": {},
        "user_id": user,
    }
    with get_format().open(path, "a") as archive:
        archive.bulk_insert(EntityTypes.GROUP, [group])
        rows = [{"dbgroup_id": 1, "dbnode_id": pk} for pk in sorted(pks)]
        archive.bulk_insert(EntityTypes.GROUP_NODE, rows, allow_defaults=True)


def refuse_potcars(archive: Path) -> None:
    """:raises InputError: naming the first node that holds a POTCAR."""
    from aiida_hardcoat.catalogue.potcar_check import licensed_nodes

    if found := licensed_nodes(archive):
        raise InputError(
            f"node {found[0].uuid} holds a POTCAR ({found[0].what}), which VASP's licence forbids to share;"
            f" {len(found)} such nodes: leave their entries out"
        )


def personal_addresses(archive: Path) -> list[str]:
    """E-mail addresses in an archive that look like those of persons."""
    with get_format().open(archive, "r") as reader:
        addresses = QueryBuilder(backend=reader.get_backend()).append(User, project="email").all(flat=True)
    return sorted(address for address in addresses if not address.endswith("@localhost"))
