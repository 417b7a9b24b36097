"""The alloys of a campaign: every composition of a grid in every structure type, in the order of their priority."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import combinations, product
from typing import Any

from aiida_hardcoat.errors import InputError, nearest
from aiida_hardcoat.physics.composition import Composition, canonical_system, parse_composition

STEPS = tuple(Fraction(number, 4) for number in range(5))
"""The study's grid of x."""

RULE_KEYS = ("system", "composition", "structure_type", "ions", "x", "priority")


def systems_of(elements: Sequence[str], metals: int) -> list[tuple[str, ...]]:
    """Every choice of so many of the metals: the pairs of Al, Ti, Zr, Hf.

    :raises InputError: where there are fewer than are to be mixed.
    """
    if not 1 <= metals <= len(set(elements)):
        raise InputError(f"metals: {metals} of {', '.join(elements)} cannot be mixed: take 1 to {len(set(elements))}")
    return list(combinations(sorted(set(elements)), metals))


def compositions_of(metals: Sequence[str], steps: Iterable[Fraction]) -> list[Composition]:
    """The compositions of a system: the fractions of all metals but the last on the grid, the last has the rest.

    For two metals the grid is x, the fraction of the alphabetically first. The ends of it are compositions of fewer
    metals.

    :raises InputError: for a metal that is none.
    """
    first, last = sorted(metals)[:-1], sorted(metals)[-1]
    found = {}
    for fractions in product(sorted(set(steps)), repeat=len(first)):
        rest = 1 - sum(fractions, Fraction(0))
        if rest < 0:
            continue
        amounts = [*zip(first, fractions, strict=True), (last, rest)]
        text = "".join(f"{metal}{amount}" for metal, amount in amounts if amount)
        composition = parse_composition(f"{text}N")
        found[composition.formula] = composition
    return list(found.values())


def alloys_of(
    compositions: Iterable[Composition], structure_types: Sequence[str], ions: Sequence[str], seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """Each composition once, with every structure type, choice of ions and seed of its quasirandom structure."""
    distinct = {composition.formula: composition for composition in compositions}
    return [
        {
            "composition": composition.formula,
            "system": composition.system,
            "x": composition.x,
            "structure_type": structure_type,
            "ions": choice,
            "seed": seed,
        }
        for composition in distinct.values()
        for structure_type, choice, seed in product(
            dict.fromkeys(structure_types), dict.fromkeys(ions), dict.fromkeys(seeds)
        )
    ]


def in_order(alloys: list[dict[str, Any]], rules: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The alloys by priority, the highest first and otherwise as given; the first rule that fits an alloy decides.

    :param rules: each with a ``priority`` and what it fits: ``system``, ``composition``, ``structure_type``, ``ions``,
        ``x``.
    :raises InputError: for a rule that cannot be, or that fits no alloy.
    """
    checked = [checked_rule(rule) for rule in rules]
    for rule, conditions in zip(rules, checked, strict=True):
        if not any(fits(alloy, conditions) for alloy in alloys):
            raise InputError(f"the priority {described(rule)} fits none of the alloys")

    def priority(alloy: dict[str, Any]) -> float:
        return next((float(rule["priority"]) for rule in checked if fits(alloy, rule)), 0.0)

    return sorted(alloys, key=lambda alloy: -priority(alloy))


def checked_rule(rule: Any) -> dict[str, Any]:
    if not isinstance(rule, dict) or not rule:
        raise InputError("each of the priorities is a mapping such as {system: Al-Ti-N, priority: 1}")
    for key in rule:
        if key not in RULE_KEYS:
            raise InputError(f"unknown key '{key}' of a priority: {nearest(str(key), RULE_KEYS)}")
    number = rule.get("priority")
    if not isinstance(number, (int, float)) or isinstance(number, bool):
        raise InputError(f"the priority {described(rule)} lacks a number, as in priority: 1")
    conditions = dict(rule)
    if "composition" in rule:
        conditions["composition"] = parse_composition(str(rule["composition"])).formula
    if "system" in rule:
        conditions["system"] = canonical_system(str(rule["system"]))
    if "x" in rule:
        conditions["x"] = float(fraction_of(rule["x"]))
    return conditions


def fits(alloy: dict[str, Any], conditions: dict[str, Any]) -> bool:
    return all(alloy[key] == value for key, value in conditions.items() if key != "priority")


def described(rule: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in rule.items())[:120] + "}"


def fraction_of(value: Any) -> Fraction:
    """A number or a text such as ``1/4``, exactly.

    :raises InputError: for anything else, or outside 0..1.
    """
    try:
        fraction = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        raise InputError(f"x is a number such as 0.25 or 1/4, not '{str(value)[:40]}'") from None
    if isinstance(value, bool) or not 0 <= fraction <= 1:
        raise InputError(f"x lies within 0..1, not {str(value)[:40]}")
    return fraction
