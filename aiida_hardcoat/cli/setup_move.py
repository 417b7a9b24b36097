"""Everything of one profile into another, through an AiiDA archive, and the proof that nothing was lost."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiida_hardcoat.errors import InputError, nearest

if TYPE_CHECKING:
    from aiida.orm.implementation import StorageBackend

Groups = dict[tuple[str, str], tuple[str, list[str]]]
"""UUID and members, by type and label."""


@dataclass(frozen=True)
class Content:
    """What a profile holds: how many of each, and one hash of all of it."""

    counts: dict[str, int]
    fingerprint: str


def check_source(name: str, target: str) -> None:
    """That a profile can be moved.

    :raises InputError: for one that does not exist, is the target itself, or has processes that have not ended.
    """
    from aiida.manage import get_config
    from aiida.manage.configuration import profile_context
    from aiida.orm import ProcessNode, QueryBuilder

    names = get_config().profile_names
    if name not in names:
        raise InputError(f"no profile '{name}' to move from: {nearest(name, names) if names else 'there is none'}")
    if name == target:
        raise InputError(
            f"profile '{name}' cannot be moved into itself: choose another name, `hardcoat -p NAME setup ...`"
        )
    with profile_context(name, allow_switch=True):
        unsealed = {"or": [{"attributes.sealed": False}, {"attributes": {"!has_key": "sealed"}}]}
        running = QueryBuilder().append(ProcessNode, filters=unsealed).count()
    if running:
        raise InputError(
            f"{running} processes of profile '{name}' have not ended: let them (`verdi -p {name} process list`), or"
            f" `verdi -p {name} process kill PK`, and `verdi -p {name} node delete PK` what is left of a crash"
        )


def move(source: str, target: str) -> tuple[Content, Content]:
    """Copy everything of the source into the target, where it is added to what is there. The source stays as it is.

    AiiDA's caching knows the copies, too.

    :return: what the source holds, and what the target holds of it.
    """
    from aiida.manage import get_manager
    from aiida.manage.configuration import profile_context
    from aiida.tools.archive import create_archive, import_archive

    from aiida_hardcoat.catalogue.bundle.importing import make_cacheable
    from aiida_hardcoat.catalogue.bundle.quiet import quiet

    with tempfile.TemporaryDirectory(prefix="hardcoat-move-") as folder:
        archive = Path(folder) / "everything.aiida"
        with profile_context(source, allow_switch=True), quiet():
            backend = get_manager().get_profile_storage()
            uuids = node_uuids(backend)
            groups = groups_of(backend, set(uuids))
            before = content_of(backend, uuids, groups)
            create_archive(None, filename=archive, strip_checkpoints=False)
        with profile_context(target, allow_switch=True), quiet():
            backend = get_manager().get_profile_storage()
            import_archive(archive, create_group=False, merge_extras=("k", "c", "l"))
            join_groups(groups)
            make_cacheable(uuids)  # an import leaves the hashes out
            after = content_of(backend, uuids, groups_of(backend, set(uuids), known=groups))
    return before, after


def node_uuids(backend: StorageBackend) -> list[str]:
    from aiida.orm import Node, QueryBuilder

    return sorted(QueryBuilder(backend=backend).append(Node, project="uuid").all(flat=True))


def groups_of(backend: StorageBackend, uuids: set[str], known: Groups | None = None) -> Groups:
    """The groups of a storage, or those of them that are known, with their members among these nodes."""
    from aiida.orm import Group, Node, QueryBuilder

    groups: Groups = {}
    for pk, uuid, *name in (
        QueryBuilder(backend=backend).append(Group, project=["id", "uuid", "type_string", "label"]).iterall()
    ):
        kind, label = name
        if known is None or (kind, label) in known:
            query = QueryBuilder(backend=backend).append(Group, filters={"id": pk}, tag="group")
            inside = query.append(Node, with_group="group", project="uuid").all(flat=True)
            groups[kind, label] = uuid, sorted(uuids.intersection(inside))
    return groups


def join_groups(groups: Groups) -> None:
    """An import gives a group another label where the profile has one of that label: make them one."""
    from aiida.orm import Group, Node, QueryBuilder

    for (kind, label), (uuid, _) in groups.items():
        brought = QueryBuilder().append(Group, filters={"uuid": uuid}).first(flat=True)
        if brought is None or brought.label == label:
            continue
        own: Any = QueryBuilder().append(Group, filters={"type_string": kind, "label": label}).first(flat=True)
        query = QueryBuilder().append(Group, filters={"id": brought.pk}, tag="group")
        own.add_nodes(query.append(Node, with_group="group").all(flat=True))
        Group.collection.delete(brought.pk)


def content_of(backend: StorageBackend, uuids: list[str], groups: Groups) -> Content:
    """What a storage holds of these nodes, and of the groups that they are in."""
    from aiida.orm import Comment, Log, QueryBuilder

    from aiida_hardcoat.catalogue.bundle.fingerprint import digest, fingerprint, node_lines
    from aiida_hardcoat.catalogue.bundle.importing import pks_of
    from aiida_hardcoat.data.elastic import ElasticData

    pks = set(pks_of(backend, uuids).values())

    def count(kind: Any, node: str) -> int:
        return sum(pk in pks for [pk] in QueryBuilder(backend=backend).append(kind, project=node).iterall())

    counts = {
        "nodes": len(pks),
        "entries": count(ElasticData, "id"),
        "groups": len(groups),
        "members of groups": sum(len(members) for _, members in groups.values()),
        "logs": count(Log, "dbnode_id"),
        "comments": count(Comment, "dbnode_id"),
    }
    lines = sorted(f"{digest([*name, members])}  group\n" for name, (_, members) in groups.items())
    return Content(counts, fingerprint(chain(node_lines(backend, pks), lines)))
