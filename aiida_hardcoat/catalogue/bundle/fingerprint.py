"""A hash of nodes that is equal where their content is, wherever and whenever they were exported.

A line for each node holds the sha256 of its canonical content: UUID, type, label, description, time of creation,
attributes, names and hashes of its files, computer, and the links that come in, each with the UUID of its source.
Left out is what a storage or an export chooses: primary keys, extras, time of change, users, names of computers. The
fingerprint is the sha256 of all lines, ordered by UUID, so that `sha256sum nodes.sha256` shows it.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC
from typing import Any

from aiida.orm import Computer, Node, ProcessNode, QueryBuilder
from aiida.orm.implementation import StorageBackend
from aiida.tools.graph.graph_traversers import get_nodes_export

from aiida_hardcoat.data.catalogue import CatalogueGroup

BATCH = 500

VOLATILE = (ProcessNode.CHECKPOINT_KEY,)
"""Attributes that AiiDA strips at export."""

ENTRY_VOLATILE = ("level_of_theory", "evaluations", "seconds", "hardcoat_version", "schema_version", "source")
"""Fields of entries and predictions that two runs of one calculation need not share. What matters of the level of
theory is in ``level_fingerprint``; the rest are versions."""


def node_lines(backend: StorageBackend, pks: Collection[int] | None = None) -> Iterator[str]:
    """A line for each node by UUID.

    :param pks: the nodes to take, all by default; links from other nodes do not count.
    """
    for some in batches(backend, pks):
        links = links_into(backend, [pk for _, pk in some], None if pks is None else set(pks))
        contents = sorted(node_contents(backend, dict(some)).items())
        yield from (f"{digest({**content, 'links': links[uuid]})}  {uuid}\n" for uuid, content in contents)


def batches(backend: StorageBackend, pks: Collection[int] | None) -> Iterator[list[tuple[str, int]]]:
    """UUIDs and primary keys by UUID, some at a time."""
    query = QueryBuilder(backend=backend).append(Node, project=["uuid", "id"])
    chosen = None if pks is None else set(pks)
    order = sorted((uuid, pk) for uuid, pk in query.iterall(batch_size=10_000) if chosen is None or pk in chosen)
    yield from (order[start : start + BATCH] for start in range(0, len(order), BATCH))


def links_into(backend: StorageBackend, pks: list[int], known: set[int] | None) -> dict[str, list[tuple[str, ...]]]:
    """Links that come into nodes, by UUID: UUID of the source, type and label, sorted."""
    links = defaultdict(list)
    query = QueryBuilder(backend=backend).append(Node, filters={"id": {"in": pks}}, tag="node", project="uuid")
    query.append(Node, with_outgoing="node", project=["id", "uuid"], edge_project=["type", "label"])
    for uuid, source, *link in query.all():
        if known is None or source in known:
            links[uuid].append(tuple(link))
    for some in links.values():
        some.sort()
    return links


def node_contents(backend: StorageBackend, pks: dict[str, int]) -> dict[str, dict[str, Any]]:
    """What nodes are but for their links, by UUID."""
    machines = dict(QueryBuilder(backend=backend).append(Computer, project=["id", "uuid"]).all())
    columns = ("uuid", "node_type", "process_type", "label", "description", "ctime", "attributes")
    query = QueryBuilder(backend=backend)
    query.append(
        Node, filters={"id": {"in": list(pks.values())}}, project=["dbcomputer_id", "repository_metadata", *columns]
    )
    contents = {}
    for machine, files, *values in query.all():
        content = dict(zip(columns, values, strict=True))
        content["process_type"] = content["process_type"] or ""
        content["ctime"] = content["ctime"].astimezone(UTC).isoformat(timespec="microseconds")
        content["attributes"] = {key: value for key, value in content["attributes"].items() if key not in VOLATILE}
        contents[content["uuid"]] = content | {"computer": machines.get(machine), "files": sorted(file_keys(files))}
    return contents


def group_line(backend: StorageBackend, uuids: Iterable[str] | None = None) -> str:
    """The line of the catalogue's members: those of the archive's only group, or the given."""
    if uuids is None:
        query = QueryBuilder(backend=backend).append(CatalogueGroup, tag="group")
        uuids = query.append(Node, with_group="group", project="uuid").all(flat=True)
    return f"{digest(sorted(set(uuids)))}  catalogue\n"


def file_keys(folder: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Path and hash of every file in a node's repository."""
    for name, item in folder.get("o", {}).items():
        place = f"{path}/{name}"
        if "k" in item:
            yield place, item["k"]
        else:
            yield place, ""
            yield from file_keys(item, place)


def digest(content: Any) -> str:
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def canonical(content: Any) -> str:
    """JSON in one form. Storages write a whole number as 500 or 500.0; both are 500 here."""
    return json.dumps(plain(content), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def plain(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [plain(value) for value in content]
    if isinstance(content, float) and content.is_integer():
        return int(content)
    return content


def fingerprint(lines: Iterable[str]) -> str:
    """The hash of all lines of :func:`node_lines` and :func:`group_line`."""
    total = hashlib.sha256()
    for line in lines:
        total.update(line.encode())
    return total.hexdigest()


def archive_lines(backend: StorageBackend) -> Iterator[str]:
    """All lines of an archive, in bounded memory but for the UUIDs."""
    yield from node_lines(backend)
    yield group_line(backend)


def profile_lines(members: Iterable[Node]) -> Iterator[str]:
    """The lines that an export of these entries and predictions would have, from the profile itself."""
    nodes = list(members)
    backend = nodes[0].backend
    pks = get_nodes_export(starting_pks=[node.pk for node in nodes if node.pk is not None])["nodes"]
    yield from node_lines(backend, pks)
    yield group_line(backend, (node.uuid for node in nodes))


def entries_fingerprint(nodes: Iterable[Node]) -> str:
    """The hash of what entries and predictions say, whoever computed them: no UUIDs, cost or versions."""
    contents = (
        {name: value for name, value in node.base.attributes.all.items() if name not in ENTRY_VOLATILE}
        | {"node_type": node.node_type}
        for node in nodes
    )
    return fingerprint(sorted(f"{digest(content)}\n" for content in contents))
