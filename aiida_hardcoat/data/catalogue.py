"""The group that holds the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from aiida.common.exceptions import IntegrityError
from aiida.orm import CalcFunctionNode, Group, Node, QueryBuilder

from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PredictionData

DEFAULT_LABEL = "catalogue"


class CatalogueGroup(Group):
    """Finished entries and what models learned to say of their structures; it refuses nodes of other types."""

    allowed_types: tuple[type[Node], ...] = (ElasticData, PredictionData)

    def add_nodes(self, nodes: Node | Sequence[Node]) -> None:
        """Add entries and predictions.

        :raises TypeError: for a node that is neither.
        """
        for node in [nodes] if isinstance(nodes, Node) else nodes:
            if not isinstance(node, self.allowed_types):
                raise TypeError(f"{node} is no entry of the catalogue")
        super().add_nodes(nodes)

    def entries(self) -> list[ElasticData]:
        """The entries alone, oldest first."""
        return self._members(ElasticData, "*").order_by({ElasticData: "id"}).all(flat=True)

    def count_entries(self) -> int:
        return self._members(ElasticData, "id").count()

    def member_pks(self) -> set[int]:
        """Of entries and predictions, without loading them."""
        return set(self._members(Node, "id").all(flat=True))

    def _members(self, kind: type[Node], project: str) -> QueryBuilder:
        query = QueryBuilder().append(CatalogueGroup, filters={"id": self.pk}, tag="group")
        return query.append(kind, with_group="group", project=project)


def catalogue(label: str = DEFAULT_LABEL) -> CatalogueGroup:
    """The group of that label, made at its first use."""
    try:
        group, _ = CatalogueGroup.collection.get_or_create(label=label)
    except IntegrityError:  # another worker of the daemon has made it a moment before
        group = CatalogueGroup.collection.get(label=label)
    return cast(CatalogueGroup, group)


def find_equal(group: CatalogueGroup, entry: ElasticData) -> ElasticData | None:
    """The entry of equal content that the group holds: of a cached run, the one that was computed."""
    query = QueryBuilder().append(CatalogueGroup, filters={"id": group.pk}, tag="group")
    content = {"extras._aiida_hash": entry.base.caching.get_hash()}
    query.append(ElasticData, with_group="group", filters=content, project="*")
    row = query.first()
    return row[0] if row else None


def find_prediction(structure: Node, model_fingerprint: str) -> PredictionData | None:
    """What that model said of that structure before."""
    query = QueryBuilder().append(Node, filters={"id": structure.pk}, tag="structure")
    query.append(CalcFunctionNode, with_incoming="structure", tag="maker")
    model = {"attributes.model_fingerprint": model_fingerprint}
    query.append(PredictionData, with_incoming="maker", filters=model, project="*")
    row = query.first()
    return row[0] if row else None
