"""Table 1: what clamping the ions does to elastic constants and moduli."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from aiida_hardcoat.catalogue.selection import one_level
from aiida_hardcoat.catalogue.tables.series import (
    CONSTANTS,
    IONS,
    MODULI,
    changed,
    constants_of,
    frame,
    missing_materials,
    series,
)
from aiida_hardcoat.data.catalogue import DEFAULT_LABEL
from hardcoat_ml.metrics import scores

HARDNESS = "hardness_chen_2011"
QUANTITIES = (*CONSTANTS, *MODULI, HARDNESS)
ALL = "all"

Pair = tuple[dict[str, Any], dict[str, Any]]
"""The material with relaxed and with clamped ions."""


def relaxation_table(
    level: str | None = None, *, system: str | None = None, label: str = DEFAULT_LABEL
) -> dict[str, Any]:
    """Errors of clamped with respect to relaxed ions, by structure type and quantity.

    ``rows`` have ``structure_type`` (the last ones ``all``), ``quantity``, ``n`` (pairs in which both are known),
    ``mae`` (GPa, Poisson's ratio 1), ``mare`` (mean of \\|clamped - relaxed\\| / \\|relaxed\\|, a fraction) and
    ``mean_difference`` (clamped minus relaxed). ``pairs`` are the materials behind them, with the values of both;
    ``left_out`` names those that relaxed into another structure, such as B4 into Bk, with relaxed or clamped ions;
    ``missing`` what would complete a pair or the study's grid.

    :param level: see :func:`aiida_hardcoat.catalogue.selection.one_level`.
    :param system: e.g. ``Al-Ti-N``, with its end members.
    :raises InputError: where no single level is chosen, or there is no entry.
    """
    one = one_level(level, label=label)
    rows = series(one, columns=QUANTITIES, system=system, label=label)
    pairs, left_out = paired_materials(rows)
    kinds = sorted({relaxed["structure_type"] for relaxed, _ in pairs})
    groups = {kind: [pair for pair in pairs if pair[0]["structure_type"] == kind] for kind in kinds}
    return {
        **frame(1, "Clamped against relaxed ions", one, rows, system),
        "rows": [row for kind, members in [*groups.items(), (ALL, pairs)] for row in score_rows(kind, members)],
        "pairs": [pair_row(*pair) for pair in pairs],
        "left_out": left_out,
        "missing": missing_materials(rows, one, system=system),
    }


def paired_materials(rows: Sequence[dict[str, Any]]) -> tuple[list[Pair], list[dict[str, Any]]]:
    """Pairs of which both halves are there and kept their structure, and those that did not keep it."""
    halves: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in rows:
        halves.setdefault((row["formula"], row["structure_type"]), {})[row["ions"]] = row
    pairs, left_out = [], []
    for (formula, structure_type), both in halves.items():
        became = {ions: row["relaxed_structure_type"] for ions, row in both.items() if changed(row)}
        if became:
            left_out.append({"formula": formula, "structure_type": structure_type, "became": became})
        elif len(both) == len(IONS):
            pairs.append((both["relaxed"], both["clamped"]))
    return pairs, left_out


def score_rows(structure_type: str, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """A row for each quantity that any of the pairs can have."""
    found = []
    for quantity in QUANTITIES:
        members = [pair for pair in pairs if quantity in quantities_of(pair[0]["structure_type"])]
        if members:
            found.append({"structure_type": structure_type, "quantity": quantity, **differences(members, quantity)})
    return found


def quantities_of(structure_type: str) -> tuple[str, ...]:
    return (*constants_of(structure_type), *MODULI, HARDNESS)


def differences(pairs: Sequence[Pair], quantity: str) -> dict[str, Any]:
    values = [(relaxed[quantity], clamped[quantity]) for relaxed, clamped in pairs]
    known = [value for value in values if None not in value]
    if not known:
        return {"n": 0, "mae": None, "mare": None, "mean_difference": None}
    found = scores([relaxed for relaxed, _ in known], [clamped for _, clamped in known])
    difference = statistics.fmean(clamped - relaxed for relaxed, clamped in known)
    return {"n": len(known), "mae": found.mae, "mare": found.mare, "mean_difference": difference}


def pair_row(relaxed: dict[str, Any], clamped: dict[str, Any]) -> dict[str, Any]:
    """Both halves of a pair side by side."""
    return {
        **{name: relaxed[name] for name in ("formula", "system", "x", "structure_type")},
        **{
            ions: {
                **{name: half[name] for name in quantities_of(half["structure_type"])},
                **{name: half[name] for name in ("n", "number_of_atoms", "uuids")},
            }
            for ions, half in (("relaxed", relaxed), ("clamped", clamped))
        },
    }
