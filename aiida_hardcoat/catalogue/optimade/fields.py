"""What an entry offers beyond its structure, with types, units and descriptions, taken from the nodes' own models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from aiida_hardcoat.catalogue.predictions import MODULI, PROJECTED
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PredictionData

PREFIX = "hardcoat"
"""The provider prefix: fields are called ``_hardcoat_bulk_modulus`` and so on."""

LEFT_OUT = ("source", "elements")
"""Fields of an entry that are AiiDA's or OPTIMADE's own."""

UNITS = {
    "GPa": "GPa",
    "K": "K",
    "s": "s",
    "m/s": "m/s",
    "kg/m^3": "kg/m^3",
    "Angstrom": "angstrom",
    "eV/Angstrom": "eV/angstrom",
    "eV per formula unit": "eV",
    "cubic Angstrom per formula unit": "angstrom^3",
    "in percent": "percent",
}
"""Units as descriptions end in them, and as they are called in OPTIMADE."""

TYPES = {str: "string", float: "float", int: "integer", bool: "boolean", list: "list", dict: "dictionary"}
SCALARS = ("string", "float", "integer", "boolean")


@dataclass(frozen=True)
class Field:
    """A provider field, its name without the prefix."""

    name: str
    type: str
    unit: str | None
    description: str

    @property
    def property_name(self) -> str:
        return f"_{PREFIX}_{self.name}"

    def definition(self) -> dict[str, str]:
        """What OPTIMADE's info endpoint says of the field."""
        unit = {} if self.unit is None else {"unit": self.unit}
        return {"description": self.description, "type": self.type, **unit}


def described(name: str, info: FieldInfo) -> Field:
    """The field that a node's model describes."""
    text = info.description or ""
    words = name.replace("_", " ")
    unit = UNITS.get(text.rpartition(", ")[2])
    return Field(name, optimade_type(info.annotation), unit, f"{words[0].upper()}{words[1:]}: {text}")


def optimade_type(annotation: Any) -> str:
    """The name of a type of a model's field in OPTIMADE, where anything may be unknown."""
    if get_origin(annotation) is Literal:
        return TYPES[type(get_args(annotation)[0])]
    known = [kind for kind in get_args(annotation) if kind is not NoneType]
    if NoneType in get_args(annotation) and len(known) == 1:
        return optimade_type(known[0])
    return TYPES[get_origin(annotation) or annotation]


def predicted_name(name: str) -> str:
    """What a number of a prediction is called beside those of the entry."""
    return f"predicted_{name}" if name in MODULI else f"prediction_{name.removeprefix('prediction_')}"


def all_fields() -> tuple[Field, ...]:
    entry, prediction = ElasticData.AttributesModel.model_fields, PredictionData.AttributesModel.model_fields
    return (
        Field("structure_uuid", "string", None, "UUID of the AiiDA node of this structure"),
        *(described(name, info) for name, info in entry.items() if name not in LEFT_OUT),
        *(described(predicted_name(name), prediction[name]) for name in PROJECTED),
    )


FIELDS = all_fields()
"""Every provider field: the node of the structure, the entry, and the newest prediction for the structure."""


def field_values(
    attributes: Mapping[str, Any], structure_uuid: str, prediction: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The values of :data:`FIELDS` by name; None for what is not defined or not known.

    :param attributes: of an `ElasticData`.
    :param prediction: a row of :func:`aiida_hardcoat.catalogue.predictions.predictions_of`.
    """
    known = {
        "structure_uuid": structure_uuid,
        **with_defaults(attributes),
        **{predicted_name(name): value for name, value in (prediction or {}).items() if name in PROJECTED},
    }
    return {field.name: known.get(field.name) for field in FIELDS}


def with_defaults(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of an entry, with those that its version of the schema did not have."""
    fields: Iterable[tuple[str, FieldInfo]] = ElasticData.AttributesModel.model_fields.items()
    defaults = {name: info.get_default() for name, info in fields if not info.is_required()}
    return {**defaults, **attributes}
