"""What an entry says against what follows from its own tensor, and from the strained cells that it was fitted to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from aiida.common.exceptions import AiidaException
from aiida.common.links import LinkType
from aiida.orm import Node, QueryBuilder

from aiida_hardcoat.calculations.elastic import elastic_entry, level_fingerprint, tensor_fields
from aiida_hardcoat.calculations.prediction import repeated_values
from aiida_hardcoat.catalogue.bundle.findings import Finding
from aiida_hardcoat.data.elastic import ElasticData, entry_label
from aiida_hardcoat.data.flat import FlatData
from aiida_hardcoat.data.prediction import PredictionData
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.composition import parse_composition
from aiida_hardcoat.physics.properties import elastic_properties
from aiida_hardcoat.physics.prototypes import CRYSTAL_CLASSES
from hardcoat_ml.errors import InputError as ModelInputError

Made = TypeVar("Made", bound=FlatData)

AT_ONCE = 100
"""Nodes whose calculations are fetched by one query; to ask for each by itself takes as long as all other checks."""

RELATIVE, ABSOLUTE = 1e-6, 1e-7
"""Numbers derived again by the same formulas differ by rounding, 1e-12 of themselves at most; other versions of the
linear algebra and of the search for extremes add a little. An anisotropy that is zero comes as the root of a rounding
error, up to 1e-8, hence the absolute part. Every error of a fit is thousands of times larger."""

UNFIT = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, OSError, AiidaException)
"""What inputs that were tampered with raise in the fit."""

NOT_DERIVED = ("hardcoat_version", "schema_version", "source")

MODEL_FIELDS = {
    "model_name": "name",
    "model_version": "version",
    "model_sha256": "sha256",
    "model_fingerprint": "fingerprint",
    "training_data": "training_data",
}
"""Fields of a prediction, by what its model's node calls them."""


@dataclass(frozen=True)
class Origin:
    """What a node was calculated from; nothing for one that no calculation made.

    :ivar process_type: of the calculation.
    :ivar inputs: of the calculation, by label.
    """

    process_type: str = ""
    inputs: dict[str, Node] = field(default_factory=dict)


def with_origins(nodes: Iterable[Made]) -> Iterator[tuple[Made, Origin]]:
    """Nodes of one storage, each with what it was calculated from."""
    remaining = iter(nodes)
    while batch := list(islice(remaining, AT_ONCE)):
        found = origins_of(batch)
        yield from ((node, found.get(node.uuid, Origin())) for node in batch)


def origins_of(nodes: Sequence[FlatData]) -> dict[str, Origin]:
    """What nodes were calculated from, by UUID."""
    query = QueryBuilder(backend=nodes[0].backend)
    query.append(Node, filters={"uuid": {"in": [node.uuid for node in nodes]}}, tag="made", project="uuid")
    create, take = ({"type": kind.value} for kind in (LinkType.CREATE, LinkType.INPUT_CALC))
    query.append(Node, with_outgoing="made", edge_filters=create, tag="maker", project="process_type")
    query.append(Node, with_outgoing="maker", edge_filters=take, edge_project="label", project="*")
    found: dict[str, Origin] = {}
    for uuid, process_type, node, label in query.iterall():
        found.setdefault(uuid, Origin(process_type or "")).inputs[label] = node
    return found


def entry_findings(entry: ElasticData) -> list[Finding]:
    """Fields of an entry that do not follow from its fitted tensor, formula and level of theory."""
    found = list(schema_findings(entry))
    if found:
        return found  # what lacks fields cannot be derived from
    values = entry.base.attributes.all
    level = values["level_of_theory"]
    facts = {
        "level": f"{level.get('engine')}:{level.get('model')}",
        "level_fingerprint": level_fingerprint(level),
    }
    found += differences(entry, facts, "does not follow from level_of_theory")
    try:
        properties = elastic_properties(
            values["tensor_fitted"],
            CRYSTAL_CLASSES[values["structure_type"]],
            density=values["density"],
            atoms_per_volume=values["number_of_atoms"]
            / (values["volume_per_formula"] * values["number_of_formula_units"]),
        )
        formula = parse_composition(values["formula"])
    except (InputError, KeyError, ArithmeticError) as error:
        return [*found, Finding(entry.label, f"nothing can be derived from it: {error}", entry.uuid)]
    derived = {**tensor_fields(properties), "crystal_class": properties["symmetry"]}
    found += differences(entry, derived, "does not follow from the fitted tensor")
    composition = {
        "system": formula.system,
        "elements": sorted(formula.elements),
        "fractions": {metal: float(fraction) for metal, fraction in formula.fractions},
        "x": formula.x,
    }
    found += differences(entry, composition, "does not follow from the formula")
    return found or consistency_findings(entry)


def consistency_findings(node: FlatData) -> list[Finding]:
    """The first relation between fields that storing the node would refuse."""
    try:
        node.check_consistency(node.base.attributes.all)
    except ValueError as error:
        return [Finding(node.label, str(error), node.uuid)]
    return []


def schema_findings(node: FlatData) -> Iterator[Finding]:
    """Fields of the wrong type, and a label that is not that of the other fields."""
    values = node.base.attributes.all
    if isinstance(version := values.get("schema_version"), int) and version > node.SCHEMA_VERSION:
        problem = "of a newer aiida-hardcoat: pip install -U aiida-hardcoat"
        yield Finding(node.label, problem, node.uuid, "schema_version", version, node.SCHEMA_VERSION)
        return
    try:
        type(node).AttributesModel.model_validate(values)
    except ValueError as error:
        yield Finding(node.label, " ".join(str(error).split())[:200], node.uuid)
        return
    label = entry_label(values["structure_type"], values["system"], values["x"])
    if node.label != label:
        yield Finding(node.label, "is not that of structure_type, system and x", node.uuid, "label", node.label, label)


def refit_findings(entry: ElasticData, origin: Origin) -> Iterator[Finding] | None:
    """Fields that a new fit to the archived strained cells gives otherwise; None where these are not there."""
    if not origin.process_type.endswith(".elastic_entry") or "strained" not in origin.inputs:
        return None
    try:
        fitted = elastic_entry.__wrapped__(**origin.inputs)  # type: ignore[attr-defined]
    except UNFIT as error:
        return iter([Finding(entry.label, f"its inputs cannot be fitted: {' '.join(str(error).split())}", entry.uuid)])
    return differences(entry, fitted.base.attributes.all, "is not what a new fit to the archived cells gives")


def prediction_findings(prediction: PredictionData, origin: Origin) -> list[Finding]:
    """Fields of a prediction that do not follow from its moduli, composition and model."""
    found = list(schema_findings(prediction)) or consistency_findings(prediction)
    model = origin.inputs.get("model")
    if model is not None and not found:
        facts = {name: model.base.attributes.get(key, None) for name, key in MODEL_FIELDS.items()}
        found += differences(prediction, facts, "is not that of the model's node")
    return found


def repeated_findings(prediction: PredictionData, origin: Origin) -> Iterator[Finding] | None:
    """Values that the model does not give again for the archived structure; None where it is not at hand."""
    inputs = origin.inputs
    if "structure" not in inputs or "model" not in inputs:
        return None
    try:
        values = repeated_values(inputs["structure"], inputs["model"], inputs.get("weights"))  # type: ignore[arg-type]
    except (InputError, ModelInputError):
        return None
    return differences(prediction, values, "is not what the model says of the archived structure")


def differences(node: FlatData, derived: Mapping[str, Any], problem: str) -> Iterator[Finding]:
    """Fields that differ from their derived values by more than rounding; elements of a tensor by themselves."""
    stored = node.base.attributes.all
    for name, value in derived.items():
        if name in NOT_DERIVED:
            continue
        kept: Any = stored.get(name)
        if isinstance(value, list) and np.shape(value) == np.shape(kept) == (6, 6):
            for i, j in np.ndindex(6, 6):
                if not same(kept[i][j], value[i][j]):
                    yield Finding(node.label, problem, node.uuid, f"{name}[{i}][{j}]", kept[i][j], value[i][j])
        elif name not in stored and type(node).AttributesModel.model_fields[name].get_default() == value:
            continue  # an entry of an earlier schema
        elif not same(kept, value):
            yield Finding(node.label, problem, node.uuid, name, kept, value)


def same(stored: Any, derived: Any) -> bool:
    numbers = (int, float)
    if isinstance(stored, bool) or isinstance(derived, bool):
        return stored is derived
    if isinstance(stored, numbers) and isinstance(derived, numbers):
        return abs(stored - derived) <= ABSOLUTE + RELATIVE * max(abs(stored), abs(derived))
    if isinstance(stored, dict) and isinstance(derived, dict):
        return stored.keys() == derived.keys() and all(same(stored[key], derived[key]) for key in stored)
    if isinstance(stored, list) and isinstance(derived, list):
        return len(stored) == len(derived) and all(map(same, stored, derived))
    return bool(stored == derived)
