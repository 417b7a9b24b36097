"""Computed against learned moduli, each row at one level of theory and from one model."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from aiida.orm import QueryBuilder

from aiida_hardcoat.catalogue import mixing
from aiida_hardcoat.catalogue.predictions import FLAGS, MODEL, disagreement, inside, predictions_of
from aiida_hardcoat.catalogue.query import search
from aiida_hardcoat.data.catalogue import DEFAULT_LABEL
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PROPERTIES
from aiida_hardcoat.errors import InputError, nearest
from aiida_hardcoat.physics.thermodynamics import linear_interpolation

ENTRY = ("pk", "uuid", "label", "formula", "structure_type", "x", "ions", "number_of_atoms", "level")
INTERPOLATED = ("bulk_modulus", "shear_modulus")
"""What Vegard's rule is applied to."""
POOLED = ("level", "level_fingerprint", "ions", "model_name", "model_version", "model_sha256", "model_fingerprint")
"""What the rows of one summary share."""
ALL = "all"


def compare(*, model: str | None = None, label: str = DEFAULT_LABEL, **filters: Any) -> list[dict[str, Any]]:
    """A row for each entry that has a prediction, in the order of the search.

    For each property: the computed value, ``predicted_*`` with spread, low and high end of the 90 % interval,
    ``*_difference`` (computed minus learned), ``*_disagreement`` (that in units of the half of the interval) and
    ``*_inside``; for the moduli of alloys also ``vegard_*``, between end members of the same level of theory.

    :param model: the name of a model or the start of its sha256; ``all`` for a row for each model. By default the
        newest prediction of each entry.
    :param filters: of :func:`aiida_hardcoat.catalogue.query.search`.
    :raises InputError: as the search, and for a model that predicted none of the entries.
    """
    entries = search(label=label, **filters)
    predictions = predictions_of([entry["pk"] for entry in entries])
    chosen = chosen_predictions(predictions, model)
    ends, fractions = end_moduli(label), metal_fractions(chosen)
    rows = []
    for entry in entries:
        for predicted in reversed(chosen.get(entry["pk"], [])):
            vegard = vegard_moduli(entry, fractions[entry["pk"]], ends)
            rows.append({**comparison(entry, predicted), **vegard})
    return rows


def chosen_predictions(
    predictions: dict[int, list[dict[str, Any]]], model: str | None
) -> dict[int, list[dict[str, Any]]]:
    if model is None:
        return {pk: rows[-1:] for pk, rows in predictions.items()}
    if model == ALL:
        return predictions
    chosen = {pk: [row for row in rows if is_model(row, model)] for pk, rows in predictions.items()}
    if predictions and not any(chosen.values()):
        known = {row["model_sha256"][:16] for rows in predictions.values() for row in rows}
        raise InputError(f"no prediction of a model '{model}': {nearest(model, [ALL, *sorted(known)])}")
    return chosen


def is_model(row: dict[str, Any], model: str) -> bool:
    return model in (row["model_name"], row["model_fingerprint"]) or row["model_sha256"].startswith(model)


def metal_fractions(entries: Collection[int]) -> dict[int, dict[str, float]]:
    if not entries:
        return {}
    query = QueryBuilder().append(
        ElasticData, filters={"id": {"in": list(entries)}}, project=["id", "attributes.fractions"]
    )
    return dict(query.iterall())


def end_moduli(label: str) -> dict[tuple[str, ...], dict[str, Any]]:
    """The newest end member of each metal, structure type, treatment of the ions and level of theory."""
    rows = sorted(search(x=(1.0, 1.0), label=label), key=lambda row: row["pk"])
    return {(*mixing.key(row), row["system"]): row for row in rows}


def comparison(entry: dict[str, Any], predicted: dict[str, Any]) -> dict[str, Any]:
    """Computed beside learned moduli."""
    row = {name: entry[name] for name in (*ENTRY, "level_fingerprint")}
    row.update({name: predicted[name] for name in (*MODEL, "distance", *FLAGS)})
    row["prediction_pk"], row["prediction_uuid"] = predicted["pk"], predicted["uuid"]
    for name in PROPERTIES:
        computed = entry[name]
        row[name] = computed
        row[f"predicted_{name}"] = predicted[name]
        row.update({f"predicted_{name}_{kind}": predicted[f"{name}_{kind}"] for kind in ("spread", "low", "high")})
        row[f"{name}_difference"] = None if computed is None else computed - predicted[name]
        row[f"{name}_disagreement"] = disagreement(computed, predicted, name)
        row[f"{name}_inside"] = inside(computed, predicted, name)
    return row


def vegard_moduli(
    entry: dict[str, Any], fractions: dict[str, float], ends: dict[tuple[str, ...], dict[str, Any]]
) -> dict[str, float | None]:
    """Vegard's rule; None for an end member itself, and where one is missing at the same level of theory."""
    anion = entry["system"].rpartition("-")[2]
    members = {metal: ends.get((*mixing.key(entry), f"{metal}-{anion}"), {}) for metal in fractions}
    row: dict[str, float | None] = {}
    for name in INTERPOLATED:
        known = {metal: end[name] for metal, end in members.items() if end.get(name) is not None}
        complete = len(fractions) > 1 and len(known) == len(fractions)
        row[f"vegard_{name}"] = linear_interpolation(fractions, known) if complete else None
    return row


def summaries(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Scores of each model at each level of theory; nothing is pooled across either."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in POOLED), []).append(row)
    return [
        {
            **dict(zip(POOLED, key, strict=True)),
            "n": len(members),
            "far": sum(row["far"] for row in members),
            "in_training_data": sum(row["in_training_data"] for row in members),
            **{name: scores(members, name) for name in PROPERTIES},
        }
        for key, members in groups.items()
    ]


def scores(rows: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """Mean absolute error and coverage of the 90 % interval; beside Vegard's rule where that is to be had."""
    known = [row for row in rows if row[name] is not None]
    found: dict[str, Any] = {
        "n": len(known),
        "mae": mean([abs(row[f"{name}_difference"]) for row in known]),
        "coverage_90": mean([float(row[f"{name}_inside"]) for row in known]),
    }
    if name in INTERPOLATED:
        alloys = [row for row in known if row[f"vegard_{name}"] is not None]
        found["alloys"] = {
            "n": len(alloys),
            "mae": mean([abs(row[f"{name}_difference"]) for row in alloys]),
            "vegard_mae": mean([abs(row[name] - row[f"vegard_{name}"]) for row in alloys]),
        }
    return found


def mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None
