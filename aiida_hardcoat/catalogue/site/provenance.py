"""How entries were made, as small graphs: all that is above them, and the workchains that called the calculations.

Read for many entries at once, generation by generation, since a query costs more than what it returns.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiida.common.links import LinkType
from aiida.orm import Node, QueryBuilder

UPWARD = (LinkType.CREATE.value, LinkType.INPUT_CALC.value, LinkType.CALL_CALC.value, LinkType.CALL_WORK.value)
"""Who made what from what, and who called whom; what a workchain was given and returned says nothing more."""

BATCH = 5000
"""Nodes a query asks for; databases limit the number of parameters."""


class Link(NamedTuple):
    """From ``source`` to the node above which it is found."""

    source: int
    label: str
    type: str


class Described(NamedTuple):
    uuid: str
    type: str
    """Process label of a process, class of the data otherwise."""
    label: str
    kind: str
    """``data``, ``calculation`` or ``workchain``."""
    exit_status: int | None


@dataclass
class Ancestry:
    """Nodes by PK, and the links into each, ordered by label and uuid of the source."""

    nodes: dict[int, Described] = field(default_factory=dict)
    links: dict[int, list[Link]] = field(default_factory=dict)

    def sources(self, pk: int, link_type: LinkType) -> list[Link]:
        return [link for link in self.links.get(pk, []) if link.type == link_type.value]

    def above(self, pks: Iterable[int]) -> list[int]:
        """The nodes themselves and all above them, nearest first."""
        found = dict.fromkeys(pks)
        queue = list(found)
        for pk in queue:
            for link in self.links.get(pk, []):
                if link.source not in found:
                    found[link.source] = None
                    queue.append(link.source)
        return queue


def ancestry(pks: Collection[int]) -> Ancestry:
    """All that is above nodes."""
    found, frontier = Ancestry(), set(pks)
    known = set(frontier)
    while frontier:
        links = list(incoming(frontier))
        for child, link in links:
            found.links.setdefault(child, []).append(link)
        frontier = {link.source for _, link in links} - known
        known |= frontier
    found.nodes = dict(described(known))
    for links_of_one in found.links.values():
        links_of_one.sort(key=lambda link: (link.label, found.nodes[link.source].uuid))
    return found


def incoming(pks: Iterable[int]) -> Iterator[tuple[int, Link]]:
    """The links into nodes, each with the PK of the node that it enters."""
    for batch in batches(pks):
        query = QueryBuilder().append(Node, filters={"id": {"in": batch}}, tag="node", project="id")
        query.append(
            Node,
            with_outgoing="node",
            project="id",
            edge_filters={"type": {"in": list(UPWARD)}},
            edge_project=["label", "type"],
        )
        for child, source, label, link_type in query.iterall():
            yield child, Link(source, label, link_type)


def batches(pks: Iterable[int]) -> Iterator[list[int]]:
    ordered = sorted(pks)
    return (ordered[start : start + BATCH] for start in range(0, len(ordered), BATCH))


def described(pks: Iterable[int]) -> Iterator[tuple[int, Described]]:
    wanted = ["id", "uuid", "node_type", "label", "attributes.process_label", "attributes.exit_status"]
    for batch in batches(pks):
        query = QueryBuilder().append(Node, filters={"id": {"in": batch}}, project=wanted)
        for pk, uuid, node_type, label, process, exit_status in query.iterall():
            kind = "data"
            if node_type.startswith("process."):
                kind = "workchain" if node_type.startswith("process.workflow.") else "calculation"
            status = None if exit_status is None else int(exit_status)
            yield pk, Described(uuid, process or node_type.split(".")[-2], label, kind, status)


def graph(found: Ancestry, roots: Collection[int]) -> dict[str, Any]:
    """The graph above an entry and its predictions, with nodes in the same position drawn as one.

    Strained cells that are computed alike differ in nothing that a drawing could show: a node stands for all of a kind
    that have the same neighbours, and so have those.

    :return: ``nodes``, each ``[kind, type, label, uuid, exit status, number]``, the roots first, and ``links``, each
        ``[source, target, label, type]`` with the places of the two nodes.
    """
    pks = found.above(roots)
    links = [
        (link.source, child, digitless(link.label), link.type) for child in pks for link in found.links.get(child, [])
    ]
    groups = alike(pks, links, {pk: (found.nodes[pk].type, pk if pk in roots else None) for pk in pks})
    members: dict[int, list[int]] = {}
    for pk in pks:
        members.setdefault(groups[pk], []).append(pk)
    place = {group: index for index, group in enumerate(members)}
    nodes = []
    for group in members.values():
        first = min((found.nodes[pk] for pk in group), key=lambda node: node.uuid)
        nodes.append([first.kind, first.type, first.label, first.uuid, first.exit_status, len(group)])
    drawn = {(place[groups[source]], place[groups[child]], label, kind): None for source, child, label, kind in links}
    return {"nodes": nodes, "links": [list(link) for link in drawn]}


def alike(pks: Iterable[int], links: Iterable[tuple[int, int, str, str]], first: dict[int, Any]) -> dict[int, int]:
    """A number for each node that is the same for nodes of one kind with neighbours of the same numbers.

    The coarsest partition that is stable under refinement by neighbours (Paige and Tarjan, SIAM J. Comput. 16, 973
    (1987)), by plain iteration: graphs are small.
    """
    neighbours: dict[int, list[tuple[int, str]]] = {pk: [] for pk in pks}
    for source, child, label, _ in links:
        neighbours[source].append((child, f"to {label}"))
        neighbours[child].append((source, f"from {label}"))
    numbers = numbered(first)
    while True:
        finer = numbered(
            {pk: (numbers[pk], frozenset((way, numbers[other]) for other, way in neighbours[pk])) for pk in neighbours}
        )
        if len(set(finer.values())) == len(set(numbers.values())):
            return finer
        numbers = finer


def numbered(keys: dict[int, Any]) -> dict[int, int]:
    order: dict[Any, int] = {}
    return {pk: order.setdefault(key, len(order)) for pk, key in keys.items()}


def digitless(label: str) -> str:
    """``trajectory_3`` as ``trajectory``: one of many of a kind."""
    return re.sub(r"_\d+$", "", label)
