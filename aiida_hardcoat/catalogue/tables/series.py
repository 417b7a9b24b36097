"""The materials of a table at one level of theory, and those that the study's grid has and the catalogue lacks."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from aiida_hardcoat.catalogue.references import Material
from aiida_hardcoat.catalogue.selection import Level, materials
from aiida_hardcoat.data.elastic import INDEPENDENT_CONSTANTS
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.composition import Composition, canonical_system, parse_composition
from aiida_hardcoat.physics.prototypes import CRYSTAL_CLASSES

CONSTANTS = INDEPENDENT_CONSTANTS["hexagonal"]
MODULI = ("bulk_modulus", "shear_modulus", "youngs_modulus", "poisson_ratio")

STRUCTURE_TYPES = ("B1", "B3", "B4")
FRACTIONS = (Fraction(1, 4), Fraction(1, 2), Fraction(3, 4))
IONS = ("relaxed", "clamped")
ATOMS = 96
"""The grid of the study: every alloy and its end members in these structures, in cells of so many atoms."""

PLACE = ("system", "formula", "x", "structure_type", "relaxed_structure_type", "ions", "number_of_atoms", "n")
"""What a table's row says of its material before any value."""


def series(
    level: Level, *, columns: Sequence[str], system: str | None = None, ions: str | None = None, label: str
) -> list[dict[str, Any]]:
    """The materials at a level of theory; of a system those that hold no other metal, so its end members too.

    :raises InputError: where there are none.
    """
    found = materials(level, ions=ions, columns=columns, label=label)
    if system is not None:
        metals = metals_of(system)
        found = [row for row in found if metals >= row["fractions"].keys()]
    if not found:
        wanted = Material("Al0.5Ti0.5N" if system is None else equal_shares(system), "B1", ions or IONS[0])
        raise InputError(
            f"no entry{'' if system is None else ' of ' + canonical_system(system)} with {ions or 'any'} ions at "
            f"{level.level}: `{run_command(wanted, level)}` computes one"
        )
    return found


def equal_shares(system: str) -> str:
    """The formula with as much of each metal of a system.

    :raises InputError: for what is no element.
    """
    return parse_composition("".join(sorted(metals_of(system))) + f"N{len(metals_of(system))}").formula


def metals_of(system: str) -> set[str]:
    return set(canonical_system(system).split("-")[:-1])


def changed(row: Mapping[str, Any]) -> bool:
    """Whether a material relaxed into another structure type, as B4 does into Bk."""
    return bool(row["relaxed_structure_type"] != row["structure_type"])


def constants_of(structure_type: str) -> tuple[str, ...]:
    """The independent elastic constants of a structure type."""
    return INDEPENDENT_CONSTANTS[CRYSTAL_CLASSES[structure_type]]


def grid(systems: Iterable[str], ions: Iterable[str] = IONS) -> list[Material]:
    """The study's materials of systems of one or two metals; of more it has none but the end members."""
    compositions = {composition for system in systems for composition in grid_compositions(sorted(metals_of(system)))}
    ordered = sorted(compositions, key=lambda one: (one.system, one.x))
    return [Material(one.formula, kind, each) for one in ordered for kind in STRUCTURE_TYPES for each in ions]


def grid_compositions(metals: Sequence[str]) -> list[Composition]:
    ends = [Composition(((metal, Fraction(1)),)) for metal in metals]
    if len(metals) != 2:
        return ends
    first, second = metals
    return [*ends, *(Composition(((first, x), (second, 1 - x))) for x in FRACTIONS)]


def missing_materials(
    rows: Sequence[dict[str, Any]], level: Level, *, system: str | None = None, ions: Iterable[str] = IONS
) -> list[dict[str, Any]]:
    """What is not there, with the command that computes it: other halves of pairs first, then the study's grid.

    :param rows: the materials that are there, of all ``ions``.
    :param system: the system whose grid is wanted, by default every one that the rows touch.
    """
    atoms = {(row["formula"], row["structure_type"]): row["number_of_atoms"] for row in rows}
    there = {Material(row["formula"], row["structure_type"], row["ions"]) for row in rows}
    halves = [Material(*place, each) for place in atoms for each in ions]
    systems = [system] if system is not None else sorted({row["system"] for row in rows})
    wanted = dict.fromkeys([*halves, *grid(systems, ions)])
    return [
        {**one._asdict(), "command": run_command(one, level, atoms.get(one[:2], ATOMS))}
        for one in wanted
        if one not in there
    ]


def run_command(material: Material, level: Level, atoms: int = ATOMS) -> str:
    """The command that computes a material with the engine of a level, in the default cell unless told otherwise."""
    formula, structure_type, ions = material
    cell = [] if atoms == ATOMS else ["--atoms", str(atoms)]
    engine = ["--ions", ions, "--engine", level.level]
    return shlex.join(["hardcoat", "run", formula, "-s", structure_type, *engine, *cell])


def frame(number: int, title: str, level: Level, rows: Sequence[dict[str, Any]], system: str | None) -> dict[str, Any]:
    """What every table says of itself: which one it is, its level of theory, how much it is made from."""
    return {
        "table": number,
        "title": title,
        "level": level.level,
        "level_fingerprint": level.fingerprint,
        "system": None if system is None else canonical_system(system),
        "entries": sum(row["n"] for row in rows),
        "materials": len(rows),
    }
