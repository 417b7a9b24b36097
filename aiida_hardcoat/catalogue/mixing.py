"""Mixing energies among entries of one level of theory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.thermodynamics import mixing_energy

SAME = ("structure_type", "ions", "level_fingerprint")
"""What an alloy and its end members must share."""


def mixing_energies(entries: Iterable[Any]) -> dict[int, float]:
    """Mixing energy of each entry by PK, eV per formula unit, from the end members among the entries.

    :param entries: nodes, or dicts with ``pk``, ``fractions``, ``energy_per_formula`` and :data:`SAME`.
    :raises InputError: naming the first end member that is missing at the same level of theory.
    """
    values = [as_row(entry) for entry in entries]
    # Of several equal end members the newest counts.
    newest = sorted(values, key=lambda row: row["pk"])
    ends = {(*key(row), next(iter(row["fractions"]))): row["energy_per_formula"] for row in newest if is_end(row)}
    return {
        row["pk"]: mixing_energy(row["energy_per_formula"], row["fractions"], end_members(row, ends)) for row in values
    }


def end_members(row: dict[str, Any], ends: dict[tuple[str, ...], float]) -> dict[str, float]:
    missing = [metal for metal in row["fractions"] if (*key(row), metal) not in ends]
    if missing:
        raise InputError(
            f"the mixing energy of {row['formula']} needs {missing[0]}N in {row['structure_type']} at the same level of"
            f" theory: run `hardcoat run {missing[0]}N -s {row['structure_type']}` with the same engine"
        )
    return {metal: ends[(*key(row), metal)] for metal in row["fractions"]}


def key(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in SAME)


def is_end(row: dict[str, Any]) -> bool:
    return len(row["fractions"]) == 1


def as_row(entry: Any) -> dict[str, Any]:
    if isinstance(entry, dict):
        return entry
    return {"pk": entry.pk, **entry.base.attributes.all}
