"""How well an ensemble does on data: scores beside predicting the mean, coverage of intervals, and where they break.

Rows whose formula the ensemble was trained or validated on are no test of it and are left out, unless asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hardcoat_ml.elements import SYMBOLS
from hardcoat_ml.errors import InputError
from hardcoat_ml.intervals import coverage
from hardcoat_ml.metrics import PROPERTIES, FloatArray, paired, properties_of, scores_by_property, standard_error

if TYPE_CHECKING:
    from hardcoat_ml.data import Entry
    from hardcoat_ml.ensemble import Ensemble

ANIONS = ("F", "O", "Cl", "N", "Br", "I", "S", "Se", "C", "H", "P", "As", "Te", "Sb", "B", "Ge", "Si")
"""Elements that can be the anion of a compound, from the most electronegative on Pauling's scale."""

_CRYSTAL_SYSTEMS = (
    (2, "triclinic"),
    (15, "monoclinic"),
    (74, "orthorhombic"),
    (142, "tetragonal"),
    (167, "trigonal"),
    (194, "hexagonal"),
    (230, "cubic"),
)
"""Last space group of each crystal system."""

_SYMMETRY_TOLERANCE = 0.01
"""Angstrom, for crystals whose space group is not stated."""


@dataclass(frozen=True, eq=False)
class Judged:
    """Entries beside what the ensemble says of them; every array has one row for each entry that it was asked about.

    :ivar true: by property ``(n,)``, GPa and 1; so are ``predicted``, and ``low`` and ``high``, the 90 % intervals.
    :ivar far: whether the crystal is far from the training data.
    :ivar n_in_training: entries whose formula was in training or validation.
    :ivar refused: elements that the ensemble has not seen, with the number of entries that hold each.
    :ivar n_refused: entries with such elements; they have no row.
    """

    formulas: NDArray[np.str_]
    crystal_systems: NDArray[np.str_]
    numbers_of_elements: NDArray[np.int64]
    true: dict[str, FloatArray]
    predicted: dict[str, FloatArray]
    low: dict[str, FloatArray]
    high: dict[str, FloatArray]
    far: NDArray[np.bool_]
    n_in_training: int
    includes_training: bool
    refused: dict[str, int]
    n_refused: int


def judge(ensemble: Ensemble, entries: Sequence[Entry], include_training: bool = False, progress: Any = None) -> Judged:
    """Predict every entry that can be a test.

    :param include_training: keep entries whose formula was in training or validation.
    :param progress: handed to `Ensemble.predict`.
    :raises InputError: for moduli that are not positive, or when no entry is left.
    """
    for entry in entries:
        if not (0 < entry.bulk_modulus < np.inf and 0 < entry.shear_modulus < np.inf):
            raise InputError(f"{entry.identifier or entry.formula} has a modulus that is not positive: clean the data.")
    unseen = [ensemble.unseen(entry.crystal) for entry in entries]
    refused = Counter(symbol for symbols in unseen for symbol in symbols)
    known = [entry for entry, symbols in zip(entries, unseen, strict=True) if not symbols]
    new = [entry for entry in known if not ensemble.saw(entry.formula)]
    rows = known if include_training else new
    if not known:
        raise InputError(
            f"No entry is left: all hold elements that the model has not seen ({', '.join(sorted(refused))})."
            if entries
            else "There are no entries to judge."
        )
    if not rows:
        raise InputError(
            f"All {len(known)} entries have formulas of the training data, which is no test: "
            "give other data, or --include-training to see the scores all the same."
        )
    predictions = ensemble.predict([entry.crystal for entry in rows], progress=progress)
    ends = {name: np.array([answer.interval[name] for answer in predictions], dtype=np.float64) for name in PROPERTIES}
    return Judged(
        formulas=np.array([entry.formula for entry in rows]),
        crystal_systems=np.array([crystal_system(entry) for entry in rows]),
        numbers_of_elements=np.array([len(set(entry.crystal.numbers.tolist())) for entry in rows]),
        true=properties_of([[entry.bulk_modulus, entry.shear_modulus] for entry in rows]),
        predicted={
            name: np.array([getattr(answer, name) for answer in predictions], dtype=np.float64) for name in PROPERTIES
        },
        low={name: ends[name][:, 0] for name in PROPERTIES},
        high={name: ends[name][:, 1] for name in PROPERTIES},
        far=np.array([answer.far for answer in predictions], dtype=bool),
        n_in_training=len(known) - len(new),
        includes_training=include_training,
        refused=dict(sorted(refused.items())),
        n_refused=len(entries) - len(known),
    )


def report(judged: Judged, ensemble: Ensemble) -> dict[str, Any]:
    """Scores as JSON: GPa, fractions, and null where a score is not defined.

    ``mae_standard_error`` and those of the coverage come from a bootstrap over formulas; ``predict_the_mean`` has the
    scores of the constant that ``predict_the_mean_of`` names.
    """
    everything = np.ones(len(judged.formulas), dtype=bool)
    training_mean = ensemble.card.get("training_mean")
    means = training_mean or {name: float(judged.true[name].mean()) for name in PROPERTIES}
    constants = {name: np.full_like(judged.true[name], means[name]) for name in PROPERTIES}
    intervals = {
        name: coverage_report(judged.true[name], judged.low[name], judged.high[name], judged.formulas.tolist())
        for name in PROPERTIES
    }
    return {
        "n": len(judged.formulas),
        "n_formulas": len(np.unique(judged.formulas)),
        "n_in_training": judged.n_in_training,
        "includes_training": judged.includes_training,
        "n_refused": judged.n_refused,
        "refused": judged.refused,
        **_scores(judged.true, judged.predicted, everything),
        "mae_standard_error": {
            name: standard_error(np.abs(judged.predicted[name] - judged.true[name]), judged.formulas.tolist())
            for name in PROPERTIES
        },
        "coverage_90": {name: intervals[name]["coverage"] for name in PROPERTIES},
        "intervals_90": intervals,
        "predict_the_mean": _scores(judged.true, constants, everything),
        "predict_the_mean_of": "training data" if training_mean else "these data",
        "by_crystal_system": {
            system: _group(judged, judged.crystal_systems == system)
            for system in [*(name for _, name in _CRYSTAL_SYSTEMS), "unknown"]
            if system in judged.crystal_systems
        },
        "by_number_of_elements": {
            str(number): _group(judged, judged.numbers_of_elements == number)
            for number in np.unique(judged.numbers_of_elements)
        },
        "far": {"n": int(judged.far.sum()), "outside": _side(judged, judged.far), "inside": _side(judged, ~judged.far)},
        "model_sha256": ensemble.sha256,
    }


def evaluate(
    ensemble: Ensemble, entries: Sequence[Entry], include_training: bool = False, progress: Any = None
) -> dict[str, Any]:
    """`judge`, then `report`.

    :raises InputError: as `judge`.
    """
    return report(judge(ensemble, entries, include_training, progress), ensemble)


def coverage_report(
    true: ArrayLike, low: ArrayLike, high: ArrayLike, formulas: Sequence[str] | None = None
) -> dict[str, float | None]:
    """How intervals ``(n,)`` of one property did, inside the domain of the training data or out of it.

    :return: number of rows ``n``, ``coverage`` and its ``standard_error`` (bootstrap over formulas), the fractions of
        truths ``below`` and ``above``, and ``mean_width`` and ``median_width`` in the unit of the property.
    :raises InputError: for no rows, unequal lengths, or numbers that are not finite.
    """
    t, a, b = paired(true, low, high)
    return {
        "n": len(t),
        "coverage": coverage(t, a, b),
        "standard_error": standard_error((a <= t) & (t <= b), formulas),
        "below": float((t < a).mean()),
        "above": float((t > b).mean()),
        "mean_width": float((b - a).mean()),
        "median_width": float(np.median(b - a)),
    }


def crystal_system(entry: Entry) -> str:
    """Crystal system by the space group of the entry, or by spglib where none is stated; else ``unknown``."""
    number = entry.spacegroup
    if number is None:
        import spglib

        lattice, numbers, fractional = (array.tolist() for array in entry.crystal)
        found = spglib.get_symmetry_dataset((lattice, fractional, numbers), symprec=_SYMMETRY_TOLERANCE)
        if found is None:
            return "unknown"
        number = found.number
    return next(name for last, name in _CRYSTAL_SYSTEMS if number <= last)


# Splits that test a network outside the domain of its training.

Predicate = Callable[["Entry"], bool]


def held_out(entries: Sequence[Entry], predicate: Predicate) -> tuple[list[Entry], list[Entry]]:
    """Entries to learn from, and those that ``predicate`` keeps out.

    :raises InputError: when one of the two is empty.
    """
    out = [entry for entry in entries if predicate(entry)]
    kept = [entry for entry in entries if not predicate(entry)]
    if not out or not kept:
        raise InputError(f"Holding out leaves {len(kept)} of {len(entries)} entries: choose another part of the data.")
    return kept, out


def has_anion(symbol: str) -> Predicate:
    """Compounds in which ``symbol`` is the most electronegative element: "N" for nitrides but not for nitrates.

    What is left still shows the element to the network, which refuses those that it has never seen.

    :raises InputError: for an element that is no anion.
    """
    if symbol not in ANIONS:
        raise InputError(f"'{symbol}' is no anion: choose one of {', '.join(ANIONS)}.")
    stronger = set(ANIONS[: ANIONS.index(symbol)])
    return lambda entry: symbol in (held := _symbols(entry)) and len(held) > 1 and not held & stronger


def has_all(*symbols: str) -> Predicate:
    """Compounds that hold every one of the elements."""
    return lambda entry: _symbols(entry).issuperset(symbols)


def in_system(*symbols: str) -> Predicate:
    """Compounds, not elements, of the chemical system and of the smaller ones in it: AlN is in Al-Ti-N."""
    return lambda entry: len(held := _symbols(entry)) > 1 and held.issubset(symbols)


def _symbols(entry: Entry) -> set[str]:
    return {SYMBOLS[number] for number in entry.crystal.numbers}


def _scores(
    true: Mapping[str, FloatArray], predicted: Mapping[str, FloatArray], rows: NDArray[np.bool_]
) -> dict[str, dict[str, float | None]]:
    found = scores_by_property(
        {name: true[name][rows] for name in PROPERTIES}, {name: predicted[name][rows] for name in PROPERTIES}
    )
    return {name: asdict(each) for name, each in found.items()}


def _group(judged: Judged, rows: NDArray[np.bool_]) -> dict[str, Any]:
    return {"n": int(rows.sum()), **_scores(judged.true, judged.predicted, rows)}


def _side(judged: Judged, rows: NDArray[np.bool_]) -> dict[str, dict[str, float]] | None:
    """MAE and coverage on one side of the flag; None where there are no rows."""
    if not rows.any():
        return None
    return {
        "mae": {name: float(np.abs(judged.predicted[name] - judged.true[name])[rows].mean()) for name in PROPERTIES},
        "coverage_90": {
            name: coverage(judged.true[name][rows], judged.low[name][rows], judged.high[name][rows])
            for name in PROPERTIES
        },
    }
