"""Chemical compositions of disordered nitrides, kept as exact fractions of the metal sublattice."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from itertools import pairwise

from ase.data import atomic_numbers

from aiida_hardcoat.errors import InputError

NON_METALS = frozenset(
    (
        "H",
        "He",
        "C",
        "N",
        "O",
        "F",
        "Ne",
        "P",
        "S",
        "Cl",
        "Ar",
        "Se",
        "Br",
        "Kr",
        "I",
        "Xe",
        "At",
        "Rn",
        "Ts",
        "Og",
    )
)
"""Elements refused on the metal sublattice; metalloids such as B, Si and Ge are let through."""

_SPECIES = re.compile(r"([A-Z][a-z]?)(\d+(?:\.\d*)?(?:/\d+)?|\.\d+)?")
_EXAMPLE = "write for example Ti0.5Al0.5N"


@dataclass(frozen=True)
class Composition:
    """Metals that share one sublattice, with the anion that fills the other.

    `fractions` holds (symbol, fraction) pairs, alphabetical, each fraction above 0, the sum exactly 1.
    """

    fractions: tuple[tuple[str, Fraction], ...]
    anion: str = "N"

    def __post_init__(self) -> None:
        if any(first >= second for (first, _), (second, _) in pairwise(self.fractions)):
            raise InputError(f"metals must be distinct and alphabetical, not {', '.join(self.metals)}")
        if any(value <= 0 for _, value in self.fractions) or sum(v for _, v in self.fractions) != 1:
            raise InputError("metal fractions must each be above 0 and add up to exactly 1")

    @property
    def metals(self) -> tuple[str, ...]:
        """Symbols of the metals, alphabetical."""
        return tuple(symbol for symbol, _ in self.fractions)

    @property
    def elements(self) -> tuple[str, ...]:
        """Symbols of all elements, alphabetical, the anion included."""
        return tuple(sorted((*self.metals, self.anion)))

    @property
    def system(self) -> str:
        """The chemical system, metals alphabetical and the anion last: `Al-Ti-N`."""
        return "-".join((*self.metals, self.anion))

    @property
    def formula(self) -> str:
        """The canonical formula, which `parse_composition` reads back exactly: `Al0.5Ti0.5N`, `TiN`."""
        return _formula(self.fractions, self.anion)

    @property
    def x(self) -> float:
        """Fraction of the alphabetically first metal, 1.0 for a single metal.

        For Al-Ti, Al-Zr, Al-Hf and Ti-Zr this is the x of Levämäki et al., npj Comput. Mater. 8, 17 (2022).
        """
        return float(self.fractions[0][1])


def parse_composition(text: str, anion: str = "N") -> Composition:
    """Read a formula such as `Ti0.5Al0.5N`, `(Ti1/3Al2/3)N` or `TiAlN2`, elements in any order.

    Amounts are exact: 0.333 is 333/1000. A formula unit may be written any number of times as long as the
    anion's amount equals the sum of the metals'. Metals of amount 0 are dropped.

    Raises InputError for anything else, with the nearest formula that can be read where there is one.
    """
    amounts = _amounts(text)
    if anion not in amounts:
        kind = "nitride" if anion == "N" else f"compound of {anion}"
        raise InputError(f"{text} is no {kind}: end the formula with {anion}; {_EXAMPLE}")
    anions = amounts.pop(anion)
    metals = {symbol: amount for symbol, amount in sorted(amounts.items()) if amount}
    for symbol in amounts:
        if symbol in NON_METALS:
            raise InputError(f"{symbol} in {text} is no metal: name metals and {anion} only; {_EXAMPLE}")
    if not metals:
        raise InputError(f"{text} holds no metal: name at least one, for example Ti{anion}")
    total = sum(metals.values(), Fraction(0))
    if anions != total or not anions:
        raise InputError(
            f"the metal fractions of {text} sum to {_number(total)} for {_number(anions)} {anion}: "
            f"they must sum to 1 for each {anion}, for example {_mended(metals, anion)}"
        )
    return Composition(tuple((symbol, amount / total) for symbol, amount in metals.items()), anion)


def canonical_system(text: str) -> str:
    """``Ti-Al-N`` as the catalogue writes it: metals in alphabetical order, then nitrogen.

    :raises InputError: for what names no metal, or no nitrogen.
    """
    parts = [part for part in text.replace(",", "-").split("-") if part]
    metals = sorted(part for part in parts if part != "N")
    if len(metals) == len(parts) or not metals:
        raise InputError(f"'{text}' is no system of metals and nitrogen: write it like Al-Ti-N")
    return "-".join([*metals, "N"])


def metal_counts(composition: Composition, sites: int) -> dict[str, int]:
    """Whole numbers of atoms of each metal on `sites` metal sites.

    Raises InputError where the fractions do not give whole numbers, with the nearest composition that the
    cell holds and the nearest cell that holds the composition.
    """
    if sites < 1:
        raise InputError(f"a cell needs at least one metal site, not {sites}")
    exact = {symbol: value * sites for symbol, value in composition.fractions}
    if all(amount.denominator == 1 for amount in exact.values()):
        return {symbol: int(amount) for symbol, amount in exact.items()}
    unit = math.lcm(*(value.denominator for _, value in composition.fractions))
    size = unit * max(1, round(sites / unit))
    remedy = f"take a cell of {size} metal sites ({2 * size} atoms)"
    if len(exact) <= sites:
        counts = _nearest_counts(exact, sites)
        nearest = tuple((symbol, Fraction(count, sites)) for symbol, count in counts.items())
        remedy = f"take {_formula(nearest, composition.anion)} or {remedy[5:]}"
    raise InputError(f"{composition.formula} does not fill {sites} metal sites with whole atoms: {remedy}")


def _amounts(text: str) -> dict[str, Fraction]:
    compact = re.sub(r"^\(([^()]*)\)(?=[A-Z])", r"\1", "".join(text.split()))
    if not compact:
        raise InputError(f"the composition is empty: {_EXAMPLE}")
    amounts: dict[str, Fraction] = {}
    position = 0
    while position < len(compact):
        match = _SPECIES.match(compact, position)
        if match is None:
            if compact[position] in "-−":
                raise InputError(f"{text} holds a negative amount: fractions lie between 0 and 1; {_EXAMPLE}")
            raise InputError(f"cannot read {compact[position:]!r} in {text!r}: {_EXAMPLE}")
        symbol, amount = match.group(1), match.group(2) or "1"
        if atomic_numbers.get(symbol, 0) == 0:
            raise InputError(f"{symbol} in {text} is no element{_similar(symbol)}: use chemical symbols")
        if symbol in amounts:
            raise InputError(f"{symbol} appears twice in {text}: name each element once")
        try:
            numerator, _, denominator = amount.partition("/")
            amounts[symbol] = Fraction(numerator) / Fraction(denominator or 1)
        except ZeroDivisionError:
            raise InputError(f"{amount} in {text} divides by zero: {_EXAMPLE}") from None
        position = match.end()
    return amounts


def _similar(symbol: str) -> str:
    close = difflib.get_close_matches(symbol, [name for name in atomic_numbers if name != "X"], 1, 0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def _mended(metals: dict[str, Fraction], anion: str) -> str:
    """A formula near `metals` that sums to 1: the last metal takes what is left, else all are scaled."""
    *others, last = metals
    left = 1 - sum((metals[symbol] for symbol in others), Fraction(0))
    total = sum(metals.values(), Fraction(0))
    if left > 0:
        return _formula((*((symbol, metals[symbol]) for symbol in others), (last, left)), anion)
    return _formula(tuple((symbol, amount / total) for symbol, amount in metals.items()), anion)


def _nearest_counts(exact: dict[str, Fraction], sites: int) -> dict[str, int]:
    """Largest-remainder rounding that leaves every metal at least one atom."""
    counts = {symbol: max(1, math.floor(amount)) for symbol, amount in exact.items()}
    while (missing := sites - sum(counts.values())) != 0:
        step = 1 if missing > 0 else -1
        movable = [symbol for symbol in counts if counts[symbol] + step >= 1]
        counts[max(movable, key=lambda symbol: step * (exact[symbol] - counts[symbol]))] += step
    return counts


def _formula(fractions: tuple[tuple[str, Fraction], ...], anion: str) -> str:
    return "".join(symbol + ("" if value == 1 else _number(value)) for symbol, value in fractions) + anion


def _number(value: Fraction) -> str:
    """A decimal where it is exact and short, else a quotient."""
    decimal = Context(prec=12).divide(Decimal(value.numerator), Decimal(value.denominator))
    if Fraction(decimal) == value:
        return f"{decimal.normalize():f}"
    return f"{value.numerator}/{value.denominator}"
