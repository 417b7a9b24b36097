"""Bring the entries of a bundle into a profile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aiida.common.exceptions import AiidaException
from aiida.manage import get_manager
from aiida.orm import Group, Node, QueryBuilder
from aiida.orm.implementation import StorageBackend
from aiida.tools.archive import import_archive
from aiida.tools.archive.abstract import get_format

from aiida_hardcoat.catalogue.bundle.archive import readable
from aiida_hardcoat.catalogue.bundle.containers import unpacked
from aiida_hardcoat.catalogue.bundle.findings import Finding, RefusedBundleError
from aiida_hardcoat.catalogue.bundle.fingerprint import BATCH, digest, node_contents
from aiida_hardcoat.catalogue.bundle.layout import ARCHIVE
from aiida_hardcoat.catalogue.bundle.quiet import quiet
from aiida_hardcoat.catalogue.bundle.verify import verify_folder
from aiida_hardcoat.data.catalogue import DEFAULT_LABEL, CatalogueGroup, catalogue
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.errors import InputError

LASTING = ("node_type", "attributes", "files")
"""What no user changes of a stored node."""


@dataclass(frozen=True)
class Imported:
    """What an import did.

    :ivar new_nodes: nodes that the profile did not hold.
    :ivar new_entries: entries that the catalogue did not hold.
    :ivar new_members: entries and predictions that it did not hold.
    :ivar cacheable: nodes that calculations to come may be answered from.
    :ivar overlooked: what was wrong and imported all the same.
    """

    label: str
    nodes: int
    new_nodes: int
    new_entries: int
    new_members: int
    cacheable: int
    overlooked: tuple[Finding, ...]


def import_bundle(
    path: Path, *, force: bool = False, label: str = DEFAULT_LABEL, use_as_cache: bool = False
) -> Imported:
    """Verify a bundle and import it. A second time adds nothing.

    All nodes arrive in one transaction, or none. They are put into the catalogue in a second one; should that be cut
    off, another import completes it.

    :param force: import a bundle whose checksums, fingerprint or numbers do not hold. What cannot be read safely stays
        refused.
    :param use_as_cache: let AiiDA's caching answer calculations from the imported ones: trust them as one's own.
    :raises InputError: for a bundle that was altered, or nodes that the profile holds with other content;
        `RefusedBundleError` for one that must not be read.
    """
    with unpacked(path) as folder, quiet():
        report = verify_folder(folder)
        for finding in report.findings:
            if finding.refused:
                raise RefusedBundleError(f"'{path}' is not imported: {finding}")
        if report.findings and not force:
            more = f" (and {len(report.findings) - 1} more)" if len(report.findings) > 1 else ""
            raise InputError(
                f"'{path}' was altered and is not imported: {report.findings[0]}{more}; `hardcoat bundle verify` tells"
                " all, --force imports it as it is"
            )
        with readable(folder / ARCHIVE) as archive:
            return import_checked(archive, label, use_as_cache, tuple(report.findings))


def import_checked(archive: Path, label: str, use_as_cache: bool, overlooked: tuple[Finding, ...]) -> Imported:
    """Import an archive that was verified, and put its members into the catalogue of that label."""
    storage = get_manager().get_profile_storage()
    with get_format().open(archive, "r") as reader:
        there = reader.get_backend()
        uuids = QueryBuilder(backend=there).append(Node, project="uuid").all(flat=True)
        query = QueryBuilder(backend=there).append(CatalogueGroup, tag="group", project="uuid")
        members = query.append(Node, with_group="group", project="uuid").all()
        known = pks_of(storage, uuids)
        if not overlooked:
            refuse_other_content(there, storage, known)
    group_uuid = members[0][0]
    had_group = bool(QueryBuilder().append(Group, filters={"uuid": group_uuid}).count())
    if len(known) < len(uuids):
        try:
            import_archive(archive, import_new_extras=False, merge_extras=("k", "n", "l"), create_group=False)
        except (AiidaException, ValueError) as error:
            raise InputError(f"the bundle is not imported: {' '.join(str(error).split())}") from None
    target = catalogue(label)
    held = {node.uuid for node in target.nodes}
    new = [uuid for _, uuid in members if uuid not in held]
    nodes = QueryBuilder().append(Node, filters={"uuid": {"in": new}}).all(flat=True) if new else []
    target.add_nodes(nodes)
    if not had_group:
        for [brought] in QueryBuilder().append(Group, filters={"uuid": group_uuid}).all():
            if brought.pk != target.pk:
                Group.collection.delete(brought.pk)
    return Imported(
        label=label,
        nodes=len(uuids),
        new_nodes=len(uuids) - len(known),
        new_entries=sum(isinstance(node, ElasticData) for node in nodes),
        new_members=len(nodes),
        cacheable=make_cacheable(uuids) if use_as_cache else 0,
        overlooked=overlooked,
    )


def pks_of(storage: StorageBackend, uuids: list[str]) -> dict[str, int]:
    """Primary keys of the nodes that a storage holds, by UUID."""
    found: dict[str, int] = {}
    for some in some_of(uuids):
        query = QueryBuilder(backend=storage).append(Node, filters={"uuid": {"in": some}}, project=["uuid", "id"])
        found.update(dict(query.all()))
    return found


def refuse_other_content(there: StorageBackend, storage: StorageBackend, known: dict[str, int]) -> None:
    """AiiDA keeps a node that it has, whatever an archive says of it.

    :raises InputError: naming a node that the profile holds with another content.
    """
    for uuids in some_of(sorted(known)):
        ours = node_contents(storage, {uuid: known[uuid] for uuid in uuids})
        for uuid, theirs in node_contents(there, pks_of(there, uuids)).items():
            if any(digest(theirs[part]) != digest(ours[uuid][part]) for part in LASTING):
                raise InputError(
                    f"the profile holds node {uuid} ({theirs['label'] or theirs['node_type']}) with another content "
                    f"than the bundle: delete it first (verdi node delete {uuid}), or import into another profile"
                )


def some_of(uuids: list[str]) -> Iterator[list[str]]:
    return (uuids[start : start + BATCH] for start in range(0, len(uuids), BATCH))


def make_cacheable(uuids: list[str]) -> int:
    """Give nodes the hashes by which AiiDA finds what was computed before; an import leaves them out."""
    for some in some_of(uuids):
        for [node] in QueryBuilder().append(Node, filters={"uuid": {"in": some}}).all():
            node.base.caching.rehash()
    return len(uuids)
