"""Alloys of metals that share one sublattice: tables of their moduli, end members, Vegard's rule, and judgement of
predictors by leaving out pairs of metals.

A predictor is a function that learns from some alloys and predicts others: ``fit_predict(learn, asked)`` returns bulk
and shear modulus ``(len(asked), 2)`` in GPa. What it learns from always holds the end members.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hardcoat_ml.elements import SYMBOLS
from hardcoat_ml.errors import InputError
from hardcoat_ml.files import read_json
from hardcoat_ml.metrics import FloatArray

IONS = ("relaxed", "clamped")
ANIONS = frozenset(("H", "C", "N", "O", "F", "P", "S", "Cl", "As", "Se", "Br", "Te", "I", "Sb"))
"""Elements that may fill the anions' sublattice."""

Pair = tuple[str, str]
Predictor = Callable[[Sequence["Alloy"], Sequence["Alloy"]], FloatArray]

_SPECIES = re.compile(r"([A-Z][a-z]?)(\d+(?:\.\d*)?(?:/\d+)?|\.\d+)?")
_COLUMNS = {
    "formula": ("alloy", "formula"),
    "structure": ("relaxed_structure_type", "structure_type", "structure"),
    "bulk_modulus": ("bulk_modulus", "B"),
    "shear_modulus": ("shear_modulus", "G"),
}
"""Names that a column may have; of several that are there the first counts."""


class Setting(NamedTuple):
    """What an alloy and its end members must share for their moduli to be compared."""

    level: str
    """Level of theory: the name of a method, or the DOI of the table."""
    structure: str
    anion: str
    ions: str
    """``relaxed`` or ``clamped`` while the cell is strained."""

    def __str__(self) -> str:
        return f"{self.structure}, ions {self.ions}, {self.level}"

    def is_level(self, text: str | None) -> bool:
        """Whether a user who writes ``text`` means this level: all of it, or its first word; None means any."""
        return text in (None, self.level, self.level.partition(" ")[0])


@dataclass(frozen=True)
class Alloy:
    """Moduli of one composition in one structure; a single metal makes an end member.

    :ivar fractions: (symbol, share of the metal sublattice), alphabetical, above 0, of sum 1.
    :ivar bulk_modulus: GPa, and so is ``shear_modulus``; Hill averages.
    :ivar identifier: what the table calls the row.
    """

    fractions: tuple[tuple[str, Fraction], ...]
    setting: Setting
    bulk_modulus: float
    shear_modulus: float
    identifier: str = ""

    @property
    def metals(self) -> tuple[str, ...]:
        return tuple(metal for metal, _ in self.fractions)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Every two of its metals, alphabetical."""
        return tuple(combinations(self.metals, 2))

    @property
    def is_end_member(self) -> bool:
        return len(self.fractions) == 1

    @property
    def formula(self) -> str:
        """For one anion, metals alphabetical: ``Al0.5Ti0.5N``."""
        shares = "".join(metal + ("" if share == 1 else _number(share)) for metal, share in self.fractions)
        return shares + self.setting.anion

    @property
    def moduli(self) -> FloatArray:
        """(2,): bulk and shear modulus, GPa."""
        return np.array([self.bulk_modulus, self.shear_modulus])


@dataclass(frozen=True)
class Table:
    """Alloys with where they come from.

    :ivar source: what is known of ``file``, ``source``, ``doi`` and ``licence``.
    :ivar left_out: a line for each row that has no moduli.
    """

    alloys: tuple[Alloy, ...]
    source: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


# --- reading ----------------------------------------------------------------------------------------------------------


def parse_formula(text: str) -> tuple[tuple[tuple[str, Fraction], ...], str]:
    """Shares of the metals, alphabetical, and the anion of ``Ti0.5Al0.5N``, ``TiAlN2`` or ``(Al1/3Ti2/3)C``: the anion
    comes last, and its amount is the metals' sum.

    :raises InputError: for anything else.
    """
    compact = re.sub(r"^\(([^()]*)\)", r"\1", "".join(str(text).split()))
    amounts: dict[str, Fraction] = {}
    position = 0
    while position < len(compact):
        match = _SPECIES.match(compact, position)
        if match is None:
            raise InputError(f"cannot read {compact[position:]!r} in the formula {text!r}: write it like Ti0.5Al0.5N")
        symbol, amount = match.group(1), match.group(2) or "1"
        if symbol not in SYMBOLS[1:] or symbol in amounts:
            wrong = "appears twice" if symbol in amounts else "is no element"
            raise InputError(f"{symbol} {wrong} in the formula {text!r}: write it like Ti0.5Al0.5N")
        above, _, below = amount.partition("/")
        if below and not int(below):
            raise InputError(f"{amount} in the formula {text!r} divides by zero: write it like Ti0.5Al0.5N")
        amounts[symbol] = Fraction(above) / Fraction(below or 1)
        position = match.end()
    *metals, anion = amounts or ("",)
    if anion not in ANIONS or not metals:
        raise InputError(f"the formula {text!r} does not end with one anion after its metals, as Ti0.5Al0.5N does")
    wrong_metals = [metal for metal in metals if metal in ANIONS - {"Sb", "Te"}]
    if wrong_metals:
        raise InputError(f"{wrong_metals[0]} in the formula {text!r} is no metal: one anion alone is understood")
    total = sum((amounts[metal] for metal in metals), Fraction(0))
    # Shares written with a few digits, as 0.333, are taken as they are, relative to their sum.
    if not total or abs(float(amounts[anion] / total) - 1) > 0.005:
        raise InputError(f"the metals of {text!r} sum to {float(total):g} for {float(amounts[anion]):g} {anion}")
    return tuple((metal, amounts[metal] / total) for metal in sorted(metals) if amounts[metal]), anion


def load_table(path: str | Path) -> Table:
    """Read a reference table: JSON with ``rows`` and, beside them, ``source``, ``doi``, ``licence``, ``method``,
    ``units``, ``ions``, ``level``; or a bare list of rows, as ``hardcoat list --format json`` prints them.

    A row has a formula (``alloy`` or ``formula``), ``structure``, ``B`` and ``G`` in GPa, or the catalogue's names for
    them, and may have ``ions``. The level of theory is ``level``, else the DOI, the source, the file's name.

    :raises InputError: the file cannot be read, is of another format, or a row is wrong; the row's number is named.
    """
    file = Path(path)
    content = read_json(file, "is not whole JSON, which a table of alloys must be: mend it.")
    about: dict[str, Any] = content if isinstance(content, dict) else {}
    rows = about.get("rows") if isinstance(content, dict) else content
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{file} has no rows: a table of alloys has rows of alloy, structure, B and G.")
    units = about.get("units") or {}
    for column in (*_COLUMNS["bulk_modulus"], *_COLUMNS["shear_modulus"]):
        if units.get(column, "GPa") != "GPa":
            raise InputError(f"{file} gives {column} in {units[column]}: convert it to GPa.")
    source = {key: str(about[key]) for key in ("source", "doi", "licence") if about.get(key)}
    level = str(about.get("level") or about.get("doi") or about.get("source") or file.stem)
    ions = str(about.get("ions") or ("clamped" if "clamped" in str(about.get("method")) else "relaxed"))
    try:
        return table_of_rows(rows, {"file": file.name, **source}, level, ions)
    except InputError as error:
        raise InputError(f"{file}, {error}.") from None


def table_of_rows(
    rows: Iterable[Mapping[str, Any]], source: Mapping[str, str], level: str = "", ions: str = "relaxed"
) -> Table:
    """Alloys from rows of a reference table or of the catalogue.

    :param level: of rows that do not name theirs; so with ``ions``.
    :raises InputError: naming the row.
    """
    alloys, left_out = [], []
    for number, row in enumerate(rows, start=1):
        try:
            alloy = _alloy(row, level, ions)
        except InputError as error:
            raise InputError(f"row {number}: {error}") from None
        if alloy is None:
            left_out.append(f"row {number} ({_column(row, 'formula')} in {_column(row, 'structure')}) has no moduli")
        else:
            alloys.append(alloy)
    return Table(tuple(alloys), source, tuple(left_out))


def _alloy(row: Mapping[str, Any], level: str, ions: str) -> Alloy | None:
    for name in ("formula", "structure"):
        if not isinstance(_column(row, name), str):
            raise InputError(f"there is no {name}: give it as '{_COLUMNS[name][-1]}'")
    fractions, anion = parse_formula(_column(row, "formula"))
    values = [_column(row, name) for name in ("bulk_modulus", "shear_modulus")]
    if any(value is None for value in values):
        if not any(set(_COLUMNS[name]) & set(row) for name in ("bulk_modulus", "shear_modulus")):
            raise InputError("there is no bulk and no shear modulus: give them as 'B' and 'G' in GPa")
        return None  # mechanically unstable
    for name, value in zip(("bulk", "shear"), values, strict=True):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise InputError(f"the {name} modulus is {json.dumps(value)[:40]}: it must be a positive number of GPa")
    ions = str(row.get("ions") or ions)
    if ions not in IONS:
        raise InputError(f"ions are '{ions}': they are relaxed or clamped")
    own = " ".join(str(row[key]) for key in ("level", "level_fingerprint") if row.get(key))
    setting = Setting(own or level, _column(row, "structure"), anion, ions)
    identifier = str(row.get("pk", row.get("alloy", row.get("formula"))))
    return Alloy(fractions, setting, float(values[0]), float(values[1]), identifier)


def _column(row: Mapping[str, Any], name: str) -> Any:
    return next((row[key] for key in _COLUMNS[name] if row.get(key) is not None), None)


def _number(share: Fraction) -> str:
    decimal = f"{float(share):.6g}"
    return decimal if Fraction(decimal) == share else f"{share.numerator}/{share.denominator}"


def fingerprint(alloys: Iterable[Alloy]) -> str:
    """sha256 of formulas, settings and moduli; the order of the rows does not matter."""
    rows = sorted([alloy.formula, *alloy.setting, alloy.bulk_modulus, alloy.shear_modulus] for alloy in alloys)
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


# --- end members and Vegard's rule ------------------------------------------------------------------------------------

EndMembers = Mapping[tuple[Setting, str], Alloy]


def end_members(alloys: Iterable[Alloy]) -> dict[tuple[Setting, str], Alloy]:
    """End members by setting and metal; of several the last counts."""
    return {(alloy.setting, alloy.metals[0]): alloy for alloy in alloys if alloy.is_end_member}


def missing_end_member(alloy: Alloy, ends: EndMembers) -> str | None:
    """The first end member that an alloy lacks, e.g. ``TiN``."""
    return next(
        (metal + alloy.setting.anion for metal in alloy.metals if (alloy.setting, metal) not in ends),
        None,
    )


def with_end_members(alloys: Sequence[Alloy]) -> tuple[list[Alloy], list[str]]:
    """The alloys whose end members are all there, and a line for each of the others.

    :raises InputError: when no mixed alloy is left, naming an end member that is missing.
    """
    ends = end_members(alloys)
    missing = [missing_end_member(alloy, ends) for alloy in alloys]
    lines = [
        f"{alloy.formula} ({alloy.setting}) needs {name} in the same setting"
        for alloy, name in zip(alloys, missing, strict=True)
        if name is not None
    ]
    complete = [alloy for alloy, name in zip(alloys, missing, strict=True) if name is None]
    if not mixtures(complete):
        raise InputError(f"{lines[0]}: add it" if lines else "there is no alloy of two metals or more: add some")
    return complete, lines


def mixtures(alloys: Iterable[Alloy]) -> list[Alloy]:
    """The alloys of two metals or more, in their order."""
    return [alloy for alloy in alloys if not alloy.is_end_member]


def vegard(alloy: Alloy, ends: EndMembers) -> FloatArray:
    """(2,): bulk and shear modulus in GPa, linear in the fractions between the end members of the same setting.

    Vegard, Z. Phys. 5, 17 (1921), carried over from lattice parameters to moduli.

    :raises InputError: naming an end member that is missing.
    """
    missing = missing_end_member(alloy, ends)
    if missing is not None:
        raise InputError(f"{alloy.formula} needs the end member {missing} ({alloy.setting}): add it to the table")
    shares = np.array([float(share) for _, share in alloy.fractions])
    return np.asarray(shares @ [ends[alloy.setting, metal].moduli for metal in alloy.metals])


# --- leave one pair out -----------------------------------------------------------------------------------------------


Fold = tuple[NDArray[np.bool_], NDArray[np.bool_]]
"""What is learned from and what is asked, as masks ``(n,)``."""


def pair_folds(alloys: Sequence[Alloy]) -> Iterator[Fold]:
    """(learn, asked): for each set of metals, the alloys that share no pair of them, and its own.

    Two metals make one pair, so a fold leaves out every alloy that holds both, in all structures and compositions,
    among them alloys of more metals. An alloy of more metals is asked where none of its pairs was learned.
    """
    systems, number = np.unique(["-".join(alloy.metals) for alloy in alloys], return_inverse=True)
    pairs = [frozenset(combinations(system.split("-"), 2)) for system in systems.tolist()]
    for asked, unseen in enumerate(pairs):
        if unseen:
            apart = np.array([unseen.isdisjoint(each) for each in pairs])
            yield apart[number], number == asked


def leave_one_pair_out(alloys: Sequence[Alloy], fit_predict: Predictor) -> FloatArray:
    """(n, 2): every mixed alloy predicted, GPa, by what was learned from alloys with none of its pairs of metals.

    End members are always learned from; their own rows are NaN.
    """
    predicted = np.full((len(alloys), 2), np.nan)
    for learn, asked in pair_folds(alloys):
        predicted[asked] = fit_predict(_chosen(alloys, learn), _chosen(alloys, asked))
    return predicted


def _chosen(alloys: Sequence[Alloy], mask: NDArray[np.bool_]) -> list[Alloy]:
    return [alloy for alloy, keep in zip(alloys, mask, strict=True) if keep]


def predict_mean(learn: Sequence[Alloy], asked: Sequence[Alloy]) -> FloatArray:
    """The mean of what was learned in the same setting."""
    means = {
        setting: np.mean([alloy.moduli for alloy in learn if alloy.setting == setting], axis=0)
        for setting in {alloy.setting for alloy in asked}
    }
    return np.array([means[alloy.setting] for alloy in asked])


def predict_vegard(learn: Sequence[Alloy], asked: Sequence[Alloy]) -> FloatArray:
    """Vegard's rule; nothing is learned beyond the end members."""
    ends = end_members(learn)
    return np.array([vegard(alloy, ends) for alloy in asked])
