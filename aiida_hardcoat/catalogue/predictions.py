"""Learned moduli beside the computed ones: found through the structure that both were made from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aiida.orm import CalcFunctionNode, QueryBuilder, StructureData

from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PROPERTIES, PredictionData

MODULI = tuple(f"{name}{kind}" for name in PROPERTIES for kind in ("", "_spread", "_low", "_high"))
MODEL = ("model_name", "model_version", "model_sha256", "model_fingerprint")
FLAGS = ("far", "in_training_data")
PROJECTED = (*MODEL, *MODULI, "distance", *FLAGS)

LEARNED = (
    *(f"predicted_{name}" for name in PROPERTIES),
    *(f"predicted_{name}_spread" for name in PROPERTIES),
    *(f"{name}_disagreement" for name in PROPERTIES),
    "distance",
)
"""Numbers that a search can add to an entry, from the newest prediction for its structure."""


def predictions_of(entries: Collection[int]) -> dict[int, list[dict[str, Any]]]:
    """Predictions for the structures of entries, by PK of the entry, oldest first: the newest of each model.

    Each is a row of :data:`PROJECTED` with ``pk`` and ``uuid``. Entries without a prediction are left out.
    """
    if not entries:
        return {}
    query = QueryBuilder()
    query.append(ElasticData, filters={"id": {"in": list(entries)}}, tag="entry", project="id")
    query.append(CalcFunctionNode, with_outgoing="entry", tag="fit")
    query.append(StructureData, with_outgoing="fit", tag="structure")
    query.append(CalcFunctionNode, with_incoming="structure", tag="predict")
    attributes = [f"attributes.{name}" for name in PROJECTED]
    query.append(
        PredictionData, with_incoming="predict", tag="prediction", project=["ctime", "id", "uuid", *attributes]
    )
    found: dict[int, dict[str, dict[str, Any]]] = {}
    for entry, _, *values in sorted(query.all(), key=lambda row: row[1:3]):
        row = dict(zip(("pk", "uuid", *PROJECTED), values, strict=True))
        row.update({name: bool(row[name]) for name in FLAGS})  # SQLite has no booleans
        models = found.setdefault(entry, {})
        models.pop(row["model_fingerprint"], None)
        models[row["model_fingerprint"]] = row
    return {entry: list(models.values()) for entry, models in found.items()}


def predictions_of_entry(entry: ElasticData) -> list[dict[str, Any]]:
    """Predictions for the structure of one entry, oldest first."""
    return [] if entry.pk is None else predictions_of([entry.pk]).get(entry.pk, [])


def inside(computed: float | None, predicted: Mapping[str, Any], name: str) -> bool | None:
    """Whether the computed value is within the 90 % interval; None where it is not defined."""
    return None if computed is None else bool(predicted[f"{name}_low"] <= computed <= predicted[f"{name}_high"])


def disagreement(computed: float | None, predicted: Mapping[str, Any], name: str) -> float | None:
    """Distance of the computed value from the learned one, in units of the half of the 90 % interval on its side.

    Above 1 the computed value is outside the interval. None where either value is not defined.
    """
    if computed is None:
        return None
    learned = predicted[name]
    half = predicted[f"{name}_high"] - learned if computed > learned else learned - predicted[f"{name}_low"]
    return abs(computed - learned) / half if half > 0 else None


def learned_columns(row: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """:data:`LEARNED` of an entry, from the newest of its predictions."""
    if not predictions:
        return dict.fromkeys(LEARNED)
    newest = predictions[-1]
    return {
        **{f"predicted_{name}": newest[name] for name in PROPERTIES},
        **{f"predicted_{name}_spread": newest[f"{name}_spread"] for name in PROPERTIES},
        **{f"{name}_disagreement": disagreement(row[name], newest, name) for name in PROPERTIES},
        "distance": newest["distance"],
    }
