"""Published elastic constants to set computed ones beside: single figures, each table with its DOI.

A table is at one level of theory, or an experiment, and is never mixed with entries or with another table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.composition import parse_composition
from aiida_hardcoat.physics.moduli import moduli
from aiida_hardcoat.physics.prototypes import check_structure_type
from hardcoat_ml.files import read_json

CONSTANTS = ("c11", "c12", "c13", "c33", "c44")
QUANTITIES = (*CONSTANTS, "bulk_modulus", "shear_modulus", "youngs_modulus", "poisson_ratio")
"""What a table may tell of a material; GPa, Poisson's ratio 1."""

FILE_KEYS = {"B": "bulk_modulus", "G": "shear_modulus", "E": "youngs_modulus", "nu": "poisson_ratio"}
"""Keys of a reference file that are not the names of the catalogue."""


class Material(NamedTuple):
    """What must be equal for numbers to be comparable, but for the level of theory."""

    formula: str
    structure_type: str
    ions: str = "relaxed"


Values = Mapping[str, float]


@dataclass(frozen=True)
class ReferenceTable:
    """Values of one publication.

    :ivar name: how columns and options call it.
    :ivar method: how the values were found.
    :ivar rows: by material, some of :data:`QUANTITIES`.
    """

    name: str
    source: str
    doi: str
    method: str
    rows: Mapping[Material, Values]


def _row(*values: float) -> dict[str, float]:
    """C11, C12, C44, B, G and, where they are quoted too, E and nu of a cubic material."""
    names = ("c11", "c12", "c44", "bulk_modulus", "shear_modulus", "youngs_modulus", "poisson_ratio")
    return dict(zip(names, values, strict=False))


def _hexagonal(c11: float, c12: float, c13: float, c33: float, c44: float) -> dict[str, float]:
    """Five constants, with Hill's averages of them."""
    tensor = np.diag([c11, c11, c33, c44, c44, (c11 - c12) / 2])
    tensor[[0, 1], [1, 0]] = c12
    tensor[[0, 1, 2, 2], [2, 2, 0, 1]] = c13
    hill = moduli(tensor)
    constants = dict(zip(CONSTANTS, (c11, c12, c13, c33, c44), strict=True))
    return constants | {name: getattr(hill, name) for name in FILE_KEYS.values()}


STUDY = ReferenceTable(
    name="study",
    source="Levämäki et al., npj Comput. Mater. 8, 17 (2022), Table 2 (CC BY 4.0)",
    doi="10.1038/s41524-022-00698-7",
    method="VASP PBE, 96-atom SQS, atoms relaxed, cubic projection, Hill averages",
    rows={
        Material("TiN", "B1"): _row(584.0, 136.0, 166.0, 285.0, 187.0, 460.0, 0.231),
        Material("Al0.5Ti0.5N", "B1"): _row(492.0, 155.0, 214.0, 268.0, 194.0, 469.0, 0.208),
        Material("AlN", "B1"): _row(432.0, 167.0, 307.0, 256.0, 219.0, 511.0, 0.167),
        Material("ZrN", "B1"): _row(544.0, 110.0, 125.0, 255.0, 156.0),
        Material("HfN", "B1"): _row(598.0, 112.0, 129.0, 274.0, 166.0),
        Material("AlN", "B3"): _row(285.0, 152.0, 178.0, 196.0, 120.0),
    },
)

EXPERIMENT = ReferenceTable(
    name="experiment",
    source="McNeil, Grimsditch and French, J. Am. Ceram. Soc. 76, 1132 (1993)",
    doi="10.1111/j.1151-2916.1993.tb03730.x",
    method="Brillouin scattering at room temperature; B and G are Hill's averages of the five constants",
    rows={Material("AlN", "B4"): _hexagonal(410.0, 148.5, 98.9, 388.5, 124.6)},
)

TABLES = (STUDY, EXPERIMENT)


def read_table(path: str | Path) -> ReferenceTable:
    """A table from a JSON file with ``doi``, ``source`` and ``rows``.

    A row has ``alloy`` (any formula), ``structure`` and, in GPa, some of c11, c12, c13, c33, c44, B, G, E and nu; with
    ``ions`` where they are not relaxed. The table is called as the file is.

    :raises InputError: for a file that cannot be read or is not like that, naming the row.
    """
    target = Path(path)
    content = read_json(target, "is no JSON: a reference file has the keys doi, source and rows.")
    absent = [key for key in ("doi", "source", "rows") if not isinstance(content, dict) or not content.get(key)]
    if absent:
        raise InputError(f"{target} lacks {', '.join(absent)}: a reference file has the keys doi, source and rows")
    rows: dict[Material, Values] = {}
    for number, row in enumerate(content["rows"], start=1):
        try:
            material, values = _read_row(row)
            if material in rows:
                raise InputError(f"{' in '.join(material[:2])} is there twice")
        except InputError as error:
            raise InputError(f"row {number} of {target}: {error}") from None
        rows[material] = values
    return ReferenceTable(
        target.stem, str(content["source"]), str(content["doi"]), str(content.get("method", "")), rows
    )


def _read_row(row: Any) -> tuple[Material, Values]:
    if not isinstance(row, dict) or not {"alloy", "structure"} <= row.keys():
        raise InputError("a row needs alloy and structure")
    ions = row.get("ions", "relaxed")
    if ions not in ("relaxed", "clamped"):
        raise InputError(f"ions are relaxed or clamped, not {ions!r}")
    formula, structure_type = parse_composition(str(row["alloy"])).formula, check_structure_type(str(row["structure"]))
    values = {}
    for key, value in row.items():
        name = FILE_KEYS.get(key, key)
        if name not in QUANTITIES or value is None:
            continue
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
            raise InputError(f"{key} must be a number, not {value!r}")
        values[name] = float(value)
    return Material(formula, structure_type, ions), values


def tables_with(more: ReferenceTable | None) -> tuple[ReferenceTable, ...]:
    """The built-in tables and one more. A file with the DOI of one of them adds to it, its rows going first.

    :raises InputError: for another publication under the name of a built-in table.
    """
    if more is None:
        return TABLES
    for table in TABLES:
        if table.doi == more.doi:
            wider = replace(table, rows={**table.rows, **more.rows})
            return tuple(wider if known is table else known for known in TABLES)
        if table.name == more.name:
            raise InputError(f"'{more.name}' is the name of {table.source}: call the reference file something else")
    return (*TABLES, more)
