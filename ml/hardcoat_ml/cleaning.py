"""Cleaning of a data set by stated rules, each with the count of what it removed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardcoat_ml.crystal import CLOSEST, nearest_pair
from hardcoat_ml.data import Entry, averages_of, digest

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Rule:
    """A reason to leave entries out.

    :ivar why: what such an entry is, with ``{limit}`` where the limit belongs.
    :ivar remove: which of the entries to leave out, given the limit.
    """

    name: str
    why: str
    limit: float
    remove: Callable[[Sequence[Entry], float], Flags]

    def __str__(self) -> str:
        return self.why.format(limit=f"{self.limit:g}")


def _each(test: Callable[[Entry, float], bool]) -> Callable[[Sequence[Entry], float], Flags]:
    """A rule's function from a test of one entry."""
    return lambda entries, limit: np.array([test(entry, limit) for entry in entries], dtype=bool)


def _not_finite(entry: Entry, limit: float) -> bool:
    return not (math.isfinite(entry.bulk_modulus) and math.isfinite(entry.shear_modulus))


def _not_positive(entry: Entry, limit: float) -> bool:
    return min(entry.bulk_modulus, entry.shear_modulus, *(entry.voigt_reuss or {}).values(), math.inf) <= limit


def _bulk_beyond(entry: Entry, limit: float) -> bool:
    return entry.bulk_modulus > limit


def _shear_beyond(entry: Entry, limit: float) -> bool:
    return entry.shear_modulus > limit


def _own_tensor(entry: Entry) -> list[list[float]] | None:
    """The tensor that the moduli are from; that of another release says nothing about them."""
    return entry.elastic_tensor if entry.tensor_source == entry.source else None


def _unstable(entry: Entry, limit: float) -> bool:
    """Definiteness does not depend on how shear is scaled (Sylvester), so the Voigt matrix does as it is."""
    if (own := _own_tensor(entry)) is None:
        return False
    tensor = np.array(own)
    return bool(np.linalg.eigvalsh((tensor + tensor.T) / 2)[0] <= limit)


def _reuss_above_voigt(entry: Entry, limit: float) -> bool:
    own = _own_tensor(entry)
    averages = entry.voigt_reuss or (averages_of(own) if own else None)
    return averages is not None and any(
        averages[f"{modulus}_reuss"] > averages[f"{modulus}_voigt"] * (1 + limit) for modulus in "KG"
    )


def _contradicts_tensor(entry: Entry, limit: float) -> bool:
    """One GPa is let pass in any case: that much comes from tensors stored in whole GPa."""
    if (own := _own_tensor(entry)) is None:
        return False
    averages = averages_of(own)
    hill = [(averages[f"{modulus}_voigt"] + averages[f"{modulus}_reuss"]) / 2 for modulus in "KG"]
    stated = entry.bulk_modulus, entry.shear_modulus
    return any(abs(found - said) > max(1.0, limit * said) for found, said in zip(hill, stated, strict=True))


def _atoms_coincide(entry: Entry, limit: float) -> bool:
    return nearest_pair(entry.crystal, limit) is not None


def _repeated(key: Callable[[Entry, float], Any]) -> Callable[[Sequence[Entry], float], Flags]:
    """All but one of the entries of equal key; what stays does not depend on their order."""

    def worth(entry: Entry) -> tuple[bool, bool, bytes, str, str]:
        lacks = entry.elastic_tensor is None, entry.identifier is None
        return *lacks, digest(entry), entry.identifier or "", entry.source

    def remove(entries: Sequence[Entry], limit: float) -> Flags:
        order = sorted(range(len(entries)), key=lambda index: worth(entries[index]))
        seen: set[Any] = set()
        flags = np.zeros(len(entries), dtype=bool)
        for index in order:
            own = key(entries[index], limit)
            flags[index] = own is not None and own in seen
            seen.add(own)
        return flags

    return remove


def _identifier(entry: Entry, limit: float) -> str | None:
    return entry.identifier


def _crystal(entry: Entry, limit: float) -> tuple[bytes, ...]:
    lattice, numbers, fractional = entry.crystal
    steps = limit / np.linalg.norm(lattice, axis=1)
    cells = np.rint(lattice / limit).astype(np.int64), np.rint(fractional / steps).astype(np.int64)
    return cells[0].tobytes(), numbers.tobytes(), cells[1].tobytes()


RULES = (
    Rule("not finite", "a modulus is not a finite number", math.inf, _each(_not_finite)),
    Rule("not positive", "a modulus, or a bound of it, is {limit} GPa or less", 0.0, _each(_not_positive)),
    Rule("bulk beyond limit", "K is above {limit} GPa (diamond, the stiffest: 436)", 600.0, _each(_bulk_beyond)),
    Rule("shear beyond limit", "G is above {limit} GPa (diamond, the stiffest: 525)", 700.0, _each(_shear_beyond)),
    Rule("unstable", "an eigenvalue of the entry's own tensor is {limit} or less", 0.0, _each(_unstable)),
    Rule(
        "Reuss above Voigt",
        "a lower bound is above its upper bound by a share of {limit}",
        1e-4,
        _each(_reuss_above_voigt),
    ),
    Rule(
        "contradicts tensor",
        "K or G differs by a share of {limit} (and 1 GPa) from what the entry's own tensor gives",
        0.05,
        _each(_contradicts_tensor),
    ),
    Rule("atoms coincide", "two atoms are nearer than {limit} Angstrom", CLOSEST, _each(_atoms_coincide)),
    Rule("repeated identifier", "another entry has the same identifier", 0.0, _repeated(_identifier)),
    Rule("repeated crystal", "another entry is the same crystal to {limit} Angstrom", 1e-4, _repeated(_crystal)),
)
"""In this order; each sees what those before it left."""


def clean(entries: Sequence[Entry], rules: Sequence[Rule] = RULES) -> tuple[list[Entry], dict[str, int]]:
    """Entries that no rule removes, in their order, and how many each rule removed, by its name."""
    kept = list(entries)
    removed = {}
    for rule in rules:
        flags = rule.remove(kept, rule.limit)
        removed[rule.name] = int(flags.sum())
        kept = [entry for entry, flag in zip(kept, flags, strict=True) if not flag]
    return kept, removed
