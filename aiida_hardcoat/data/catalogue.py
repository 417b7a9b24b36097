"""The group that holds the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from aiida.orm import Group, Node, QueryBuilder

from aiida_hardcoat.data.elastic import ElasticData

DEFAULT_LABEL = "catalogue"


class CatalogueGroup(Group):
    """Finished entries; it refuses nodes of other types."""

    allowed_types: tuple[type[Node], ...] = (ElasticData,)

    def add_nodes(self, nodes: Node | Sequence[Node]) -> None:
        """Add entries.

        :raises TypeError: for a node that is no entry.
        """
        for node in [nodes] if isinstance(nodes, Node) else nodes:
            if not isinstance(node, self.allowed_types):
                raise TypeError(f"{node} is no entry of the catalogue")
        super().add_nodes(nodes)


def catalogue(label: str = DEFAULT_LABEL) -> CatalogueGroup:
    """The group of that label, made at its first use."""
    group, _ = CatalogueGroup.collection.get_or_create(label=label)
    return cast(CatalogueGroup, group)


def find_equal(group: CatalogueGroup, entry: ElasticData) -> ElasticData | None:
    """The entry of equal content that the group holds: of a cached run, the one that was computed."""
    query = QueryBuilder().append(CatalogueGroup, filters={"id": group.pk}, tag="group")
    content = {"extras._aiida_hash": entry.base.caching.get_hash()}
    query.append(ElasticData, with_group="group", filters=content, project="*")
    row = query.first()
    return row[0] if row else None
