"""Table 3: learned against computed moduli, on the test set of the model and on the alloys of the catalogue."""

from __future__ import annotations

import json
import shlex
import statistics
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

from aiida.orm import CalcFunctionNode, Dict, QueryBuilder

from aiida_hardcoat.catalogue.compare import ALL, chosen_predictions
from aiida_hardcoat.catalogue.predictions import MODEL, predictions_of
from aiida_hardcoat.catalogue.selection import Level, one_level
from aiida_hardcoat.catalogue.tables.series import IONS, PLACE, frame, missing_materials, series
from aiida_hardcoat.data.catalogue import DEFAULT_LABEL
from aiida_hardcoat.data.prediction import PROPERTIES, PredictionData
from aiida_hardcoat.errors import InputError
from hardcoat_ml.metrics import scores

EMPTY = "no entry at {level} has learned moduli: `hardcoat ml predict --all --store` adds them"
DEFAULT_MODEL = "cgcnn"
"""The model that `hardcoat ml predict` takes where none is named."""
TEST_SET = "test set"
SETS = {"B1": ("B1",), "B3": ("B3",), "B1+B3": ("B1", "B3"), "B4": ("B4",)}
"""Sets of alloys by their structure types; the study has the first three."""
ALWAYS = ("B1", "B3", "B1+B3")


def learned_table(
    level: str | None = None,
    *,
    ions: str | None = None,
    model: str | None = None,
    system: str | None = None,
    label: str = DEFAULT_LABEL,
) -> dict[str, Any]:
    """Errors of the moduli that one model learned, with respect to the computed ones.

    ``rows`` have ``set``, ``ions`` (None for the model's own test set), ``quantity``, ``n``, ``left_out`` (materials
    whose formula was in the training data, which is no test), ``mae`` (GPa, Poisson's ratio 1) and ``mare`` (mean of
    \\|learned - computed\\| / \\|computed\\|, a fraction). ``model`` is the model, ``alloys`` the materials
    behind the rows, ``left_out`` those that the model has seen, ``notes`` what the model's card lacks, and
    ``missing`` what could be computed or predicted.

    :param level: see :func:`aiida_hardcoat.catalogue.selection.one_level`.
    :param ions: ``relaxed`` or ``clamped``; both by default.
    :param model: name, fingerprint or start of the sha256 of a model; by default that of the newest prediction.
    :param system: e.g. ``Al-Ti-N``, with its end members.
    :raises InputError: where no single level is chosen, there is no entry, or none has a prediction of the model.
    """
    found = predicted_series(level, system=system, ions=ions, model=model, label=label)
    alloys = [alloy_row(row, predictions) for row, predictions in found.known]
    tested, notes = test_rows(found.card, found.model)
    chosen = IONS if ions is None else (ions,)
    seen = [alloy for alloy in alloys if alloy["in_training_data"]]
    return {
        **frame(3, "Learned against computed moduli", found.level, found.materials, system),
        "ions": ions,
        "model": found.model,
        "rows": [*tested, *(row for each in chosen for row in set_rows(alloys, each))],
        "alloys": [alloy for alloy in alloys if alloy not in seen],
        "left_out": [{name: alloy[name] for name in ("formula", "structure_type", "ions")} for alloy in seen],
        "notes": notes,
        "missing": [
            *found.not_predicted,
            *missing_materials(found.materials, found.level, system=system, ions=chosen),
        ],
    }


class PredictedSeries(NamedTuple):
    """The materials at a level of theory, and what one model says of them.

    ``known`` are those of which every entry has a prediction, each with its predictions; ``not_predicted`` the others,
    each with the command that predicts it.
    """

    level: Level
    materials: list[dict[str, Any]]
    model: dict[str, str]
    card: dict[str, Any]
    known: list[tuple[dict[str, Any], list[dict[str, Any]]]]
    not_predicted: list[dict[str, Any]]


def predicted_series(
    level: str | None, *, system: str | None, ions: str | None, model: str | None, label: str
) -> PredictedSeries:
    """The same arguments as `learned_table`.

    :raises InputError: where no single level is chosen, there is no entry, or none has a prediction of the model.
    """
    one = one_level(level, label=label)
    rows = series(one, columns=PROPERTIES, system=system, ions=ions, label=label)
    predictions = predictions_of([pk for row in rows for pk in row["pks"]])
    if not predictions:
        raise InputError(EMPTY.format(level=one.level))
    identity, by_entry = one_model(predictions, model)
    complete = [row for row in rows if all(pk in by_entry for pk in row["pks"])]
    return PredictedSeries(
        level=one,
        materials=rows,
        model=identity,
        card=card_of([prediction["pk"] for prediction in by_entry.values()], identity["model_sha256"]),
        known=[(row, [by_entry[pk] for pk in row["pks"]]) for row in complete],
        not_predicted=[not_predicted(row, identity) for row in rows if row not in complete],
    )


def one_model(
    predictions: dict[int, list[dict[str, Any]]], model: str | None
) -> tuple[dict[str, str], dict[int, dict[str, Any]]]:
    """The model, and what it says by PK of the entry."""
    if model == ALL:
        raise InputError("Table 3 is of one model: name it, or leave it out for that of the newest prediction")
    candidates = chosen_predictions(predictions, ALL if model is None else model)
    rows = [row for members in candidates.values() for row in members]
    newest = newest_prediction(rows)
    by_entry = {
        pk: row
        for pk, members in candidates.items()
        for row in members
        if row["model_fingerprint"] == newest["model_fingerprint"]
    }
    return {name: str(newest[name]) for name in MODEL}, by_entry


def newest_prediction(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """By the time at which it was made, which an import keeps and the PK does not tell."""
    pks = {row["pk"] for row in rows}
    query = QueryBuilder().append(PredictionData, filters={"id": {"in": list(pks)}}, project=["id", "ctime"])
    made = dict(query.iterall())
    return max(rows, key=lambda row: (made[row["pk"]], row["uuid"]))


def alloy_row(row: dict[str, Any], predictions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A material with the mean of what the model says of its structures."""
    return {
        **{name: row[name] for name in (*PLACE, *PROPERTIES)},
        **{f"predicted_{name}": statistics.fmean(each[name] for each in predictions) for name in PROPERTIES},
        "in_training_data": any(each["in_training_data"] for each in predictions),
        "uuids": row["uuids"],
        "prediction_uuids": sorted(each["uuid"] for each in predictions),
    }


def set_rows(alloys: Iterable[dict[str, Any]], ions: str) -> list[dict[str, Any]]:
    """Rows of every set of alloys with such ions."""
    same = [alloy for alloy in alloys if alloy["ions"] == ions]
    found = []
    for name, kinds in SETS.items():
        members = [alloy for alloy in same if alloy["structure_type"] in kinds]
        if not members and name not in ALWAYS:
            continue
        tests = [alloy for alloy in members if not alloy["in_training_data"]]
        place = {"set": name, "ions": ions, "left_out": len(members) - len(tests)}
        found += [{**place, "quantity": quantity, **errors(tests, quantity)} for quantity in PROPERTIES]
    return found


def errors(alloys: Iterable[dict[str, Any]], quantity: str) -> dict[str, Any]:
    known = [alloy for alloy in alloys if alloy[quantity] is not None]
    if not known:
        return {"n": 0, "mae": None, "mare": None}
    found = scores([alloy[quantity] for alloy in known], [alloy[f"predicted_{quantity}"] for alloy in known])
    return {"n": len(known), "mae": found.mae, "mare": found.mare}


def test_rows(card: Mapping[str, Any], identity: Mapping[str, str]) -> tuple[list[dict[str, Any]], list[str]]:
    """What the card of a model says of its test set, and what it does not say."""
    test = card.get("test") or {}
    rows: list[dict[str, Any]] = []
    for quantity in PROPERTIES:
        found = test.get(quantity) or {}
        errors = {"n": test.get("n"), "mae": found.get("mae"), "mare": found.get("mare")}
        rows.append({"set": TEST_SET, "ions": None, "left_out": 0, "quantity": quantity, **errors})
    lacking = [row["quantity"] for row in rows if row["mae"] is None or row["mare"] is None]
    if not lacking:
        return rows, []
    what = "its test set" if len(lacking) == len(rows) else f"{', '.join(lacking)} on its test set"
    name = f"{identity['model_name']} {identity['model_version']} ({identity['model_sha256'][:8]})"
    return rows, [f"the card of {name} says nothing of {what}: `hardcoat ml evaluate DATA` judges a model"]


def card_of(predictions: Sequence[int], sha256: str) -> dict[str, Any]:
    """The card of the model behind predictions, from their provenance, else from the models that are shipped."""
    query = QueryBuilder().append(PredictionData, filters={"id": {"in": list(predictions)}}, tag="prediction")
    query.append(CalcFunctionNode, with_outgoing="prediction", tag="maker")
    query.append(Dict, with_outgoing="maker", edge_filters={"label": "model"}, project="*")
    models = query.first(flat=True)
    if models is not None:
        return dict(models.get("card", {}))
    return shipped_cards().get(sha256, {})


def shipped_cards() -> dict[str, dict[str, Any]]:
    """By sha256 of the weights."""
    files = resources.files("hardcoat_ml").joinpath("weights").iterdir()
    cards = [json.loads(file.read_text(encoding="utf8")) for file in files if file.name.endswith(".json")]
    return {card["sha256"]: card for card in cards}


def not_predicted(row: Mapping[str, Any], identity: Mapping[str, str]) -> dict[str, Any]:
    """A material of which an entry has no prediction of the model, with the command that makes it."""
    place = {name: row[name] for name in ("formula", "structure_type", "ions")}
    default = shipped_cards().get(identity["model_sha256"], {}).get("name") == DEFAULT_MODEL
    own = [] if default else ["--model", f"{identity['model_name']}.json"]
    return {**place, "command": shlex.join(["hardcoat", "ml", "predict", *row["uuids"], "--store", *own])}
