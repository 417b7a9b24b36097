"""Nodes whose content is a flat, typed model: every field an attribute of its own, checked when the node is stored."""

from __future__ import annotations

from typing import Any

from aiida.common.exceptions import ValidationError
from aiida.orm import Data
from aiida.orm.pydantic import OrmMetadataField
from pydantic import ValidationError as ModelError


def field(description: str, default: Any = ...) -> Any:
    if default is ...:
        return OrmMetadataField(description=description)
    return OrmMetadataField(default, description=description)


class FlatData(Data):
    """Base of the catalogue's nodes, of one alloy each; a subclass adds its fields and names its ``SCHEMA_VERSION``.

    Every scalar is an attribute of its own, because a filter on a list element works on PostgreSQL only. Numbers are
    stored as floats: pass floats to filters too, since SQLite compares with the type of the filter's value.
    """

    SCHEMA_VERSION = 1

    class AttributesModel(Data.AttributesModel):
        system: str = field("Metals in alphabetical order, then the anion, e.g. Al-Ti-N")
        formula: str = field("Composition for one anion, e.g. Al0.5Ti0.5N")
        elements: list[str] = field("Elements in alphabetical order")
        fractions: dict[str, float] = field("Fraction of each metal on the metal sublattice")
        x: float = field("Fraction of the alphabetically first metal, as realised in the cell")
        structure_type: str = field("Parent structure: B1, B3, B4 or Bk")
        number_of_atoms: int = field("Atoms in the cell")

    def __init__(self, **values: Any) -> None:
        """:raises ValueError: for a field that is unknown, missing or of the wrong type."""
        keep = {key: values.pop(key) for key in ("label", "description", "user", "extras") if key in values}
        super().__init__(**keep)
        if values:
            model = self.AttributesModel.model_validate({"schema_version": self.SCHEMA_VERSION, **values})
            # Through the model, so that an integer given for a float is stored as a float.
            self.base.attributes.set_many(model.model_dump(exclude={"source"}))

    def _validate(self) -> bool:
        super()._validate()
        attributes = self.base.attributes.all
        try:
            self.AttributesModel.model_validate(attributes)
        except ModelError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ValidationError(f"{type(self).__name__}: {where}: {first['msg']}") from error
        try:
            self.check_consistency(attributes)
        except ValueError as error:
            raise ValidationError(f"{type(self).__name__}: {error}") from None
        return True

    @staticmethod
    def check_consistency(values: dict[str, Any]) -> None:
        """What must hold between the fields.

        :raises ValueError: naming the first relation that does not.
        """

    def __getattr__(self, name: str) -> Any:
        """Fields read as attributes of the node, e.g. ``entry.bulk_modulus``.

        A node of an earlier schema has the defaults of the fields that were added since.
        """
        if not name.startswith("_") and name in type(self).AttributesModel.model_fields:
            described = type(self).AttributesModel.model_fields[name]
            if described.is_required():
                return self.base.attributes.get(name)
            return self.base.attributes.get(name, described.get_default())
        return super().__getattr__(name)


TOLERANCE = 1e-6
"""Relative tolerance of the consistency checks at storing."""


def close(one: float, other: float) -> bool:
    return abs(one - other) <= TOLERANCE * max(1.0, abs(one), abs(other))


def check_composition(values: dict[str, Any]) -> None:
    """That elements, system, fractions and x agree.

    :raises ValueError: naming what does not.
    """
    if sorted(values["elements"]) != values["elements"] or set(values["system"].split("-")) != set(values["elements"]):
        raise ValueError("elements must be sorted and be those of the system")
    if not close(sum(values["fractions"].values()), 1.0):
        raise ValueError("the fractions of the metals must sum to 1")
    if not close(values["x"], values["fractions"][sorted(values["fractions"])[0]]):
        raise ValueError("x must be the fraction of the alphabetically first metal")
