"""What is wrong with a bundle, and the errors of one that must not be touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiida_hardcoat.errors import InputError


class RefusedBundleError(InputError):
    """A bundle that cannot be read safely, or not at all; nothing relaxes this."""


@dataclass(frozen=True)
class Finding:
    """One thing that does not hold.

    :ivar where: file, or label of the entry.
    :ivar problem: what does not hold, one line.
    :ivar uuid: of the node, where it is one.
    :ivar field: of the node or of the table.
    :ivar stored: what the bundle says.
    :ivar derived: what follows from the rest of it.
    :ivar refused: whether the bundle must not be imported even when asked to.
    """

    where: str
    problem: str
    uuid: str | None = None
    field: str | None = None
    stored: Any = None
    derived: Any = None
    refused: bool = False

    def __str__(self) -> str:
        node = f" ({self.uuid})" if self.uuid is not None else ""
        field = f" {self.field}:" if self.field is not None else ""
        numbers = f", stored {self.stored!r}, derived {self.derived!r}" if self.derived != self.stored else ""
        return f"{self.where}{node}:{field} {self.problem}{numbers}"
