"""A learned excess for use: predictions with intervals, scores from pairs of metals left out, and its JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hardcoat_ml.alloy_comparison import compare
from hardcoat_ml.alloys import (
    Alloy,
    Predictor,
    Setting,
    Table,
    end_members,
    fingerprint,
    leave_one_pair_out,
    mixtures,
    parse_formula,
    predict_mean,
    predict_vegard,
    vegard,
    with_end_members,
)
from hardcoat_ml.errors import InputError
from hardcoat_ml.excess import (
    DESCRIPTORS,
    MODULI,
    SYMMETRIC,
    Excess,
    apply_excess,
    learn_excess,
    lesson,
    mixing_weight,
    predict_excess,
    predict_pooled_excess,
    symmetric_descriptors,
)
from hardcoat_ml.files import read_json, write_whole
from hardcoat_ml.intervals import BOUNDS
from hardcoat_ml.metrics import PROPERTIES, FloatArray, Scores, properties_of

FORMAT = "hardcoat excess 1"
LEVEL = 0.9
"""Probability of the intervals, where there are enough sets of metals for it."""
PREDICTORS: dict[str, Predictor] = {
    "mean": predict_mean,
    "Vegard": predict_vegard,
    "excess": predict_excess,
    "excess, pooled": predict_pooled_excess,
}
"""What every model is judged beside, the simplest first. Pooled: one excess for all structure types."""


@dataclass(frozen=True)
class Interval:
    """Half the width of an interval is ``quantile`` times `mixing_weight`.

    Conformal over sets of metals: the score of one is its largest error when left out, over the weight of the alloy,
    and the ceil((k + 1) level)-th smallest of k bounds a new set, all its compositions together, with probability
    ``level`` as far as sets are exchangeable. With fewer than nine the largest stands in, which can claim k / (k + 1).
    """

    quantile: float
    level: float


@dataclass(frozen=True, eq=False)
class SettingModel:
    """What is known of one structure type, anion, treatment of ions and level of theory.

    :ivar ends: (bulk, shear) modulus of the end members in GPa, by metal.
    :ivar systems: sets of metals of the mixed alloys, ``Al-Ti``; ``n`` alloys of them.
    :ivar lesson: structure types that the excess was learned from.
    :ivar reach: (2, symmetric descriptors): the largest of each that was learned from.
    :ivar scores: with pairs left out, by predictor and property.
    :ivar intervals: by property; empty where there is no mixed alloy to judge by.
    """

    setting: Setting
    ends: dict[str, tuple[float, float]]
    systems: tuple[str, ...]
    n: int
    lesson: tuple[str, ...]
    excess: tuple[Excess, Excess]
    reach: FloatArray
    scores: dict[str, dict[str, Scores]]
    intervals: dict[str, Interval]

    def end_members(self) -> dict[tuple[Setting, str], Alloy]:
        """As `hardcoat_ml.alloys.end_members` gives them."""
        return end_members(
            Alloy(parse_formula(metal + self.setting.anion)[0], self.setting, *moduli)
            for metal, moduli in self.ends.items()
        )


@dataclass(frozen=True)
class ExcessPrediction:
    """Moduli of an alloy: GPa, and 1 for Poisson's ratio, which with Young's modulus follows from the other two.

    :ivar vegard: the same four by Vegard's rule.
    :ivar interval: by property; empty where nothing is known of the errors.
    :ivar level: probability that the intervals claim for metals that were not learned from together.
    :ivar notes: where Vegard's rule was used, what was extrapolated, what the intervals can claim.
    """

    formula: str
    setting: Setting
    bulk_modulus: float
    shear_modulus: float
    youngs_modulus: float
    poisson_ratio: float
    vegard: dict[str, float]
    interval: dict[str, tuple[float, float]]
    level: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ExcessModel:
    """Learned excesses with all that is needed to predict from them and to judge them.

    :ivar sources: what is known of ``file``, ``source``, ``doi`` and ``licence`` of each table.
    :ivar fingerprint: of all alloys that were learned from.
    :ivar version: of the program.
    """

    settings: tuple[SettingModel, ...]
    sources: tuple[dict[str, str], ...]
    fingerprint: str
    version: str

    def predict(
        self, formula: str, structure: str, ions: str | None = None, level: str | None = None
    ) -> ExcessPrediction:
        """Moduli of an alloy of any number of metals.

        :param ions: ``relaxed`` or ``clamped``; needed, as is ``level``, where the model knows several.
        :raises InputError: for a formula, structure or end member that the model does not know.
        """
        fractions, anion = parse_formula(formula)
        known = self._setting(structure, anion, ions, level)
        alloy = Alloy(fractions, known.setting, math.nan, math.nan)
        missing = [metal + anion for metal in alloy.metals if metal not in known.ends]
        if missing:
            raise InputError(
                f"the model has no {missing[0]} ({known.setting}), an end member of {alloy.formula}: "
                "add it to the table and learn again"
            )
        ends = known.end_members()
        moduli = apply_excess(alloy, ends, known.excess)
        if not (moduli > 0).all():
            raise InputError(f"{alloy.formula} is too far from what was learned: its excess leaves no modulus above 0")
        values = _four(moduli)
        weight = mixing_weight(alloy)
        interval = {name: _around(name, values[name], each.quantile * weight) for name, each in known.intervals.items()}
        notes = [*_method_notes(known), *_reach_notes(known, alloy), *_interval_notes(known)]
        return ExcessPrediction(
            formula=alloy.formula,
            setting=known.setting,
            **values,
            vegard=_four(vegard(alloy, ends)),
            interval=interval,
            level=min((each.level for each in known.intervals.values()), default=None),
            notes=() if alloy.is_end_member else tuple(notes),
        )

    def _setting(self, structure: str, anion: str, ions: str | None, level: str | None) -> SettingModel:
        fitting = [
            known
            for known in self.settings
            if (known.setting.structure, known.setting.anion) == (structure, anion)
            and ions in (None, known.setting.ions)
            and known.setting.is_level(level)
        ]
        if not fitting:
            there = "; ".join(f"{known.setting.anion} in {known.setting}" for known in self.settings)
            raise InputError(f"the model knows nothing of {anion} in {structure} as asked: it knows {there}")
        if len({known.setting.ions for known in fitting}) > 1:
            raise InputError(f"the model knows {structure} with relaxed and with clamped ions: choose one")
        if len(fitting) > 1:
            levels = ", ".join(f"'{known.setting.level}'" for known in fitting)
            raise InputError(f"the model knows {structure} at several levels of theory: choose one of {levels}")
        return fitting[0]


def _four(moduli: FloatArray) -> dict[str, float]:
    return {name: float(each) for name, each in properties_of(moduli).items()}


def _around(name: str, value: float, half: float) -> tuple[float, float]:
    lower, upper = BOUNDS[name]
    return max(lower, value - half), value + half if upper is None else min(upper, value + half)


def _method_notes(known: SettingModel) -> list[str]:
    """Which moduli come from Vegard's rule alone, and why; and whether other structure types had a say."""
    reasons: dict[str, list[str]] = {}
    for name, each in zip(MODULI, known.excess, strict=True):
        if each.why:
            reasons.setdefault(each.why, []).append(name.replace("_", " "))
    notes = [f"{' and '.join(names)} by Vegard's rule: {why}" for why, names in reasons.items()]
    if set(known.lesson) - {known.setting.structure}:
        notes.append(f"the excess was learned from {' and '.join(known.lesson)} together")
    return notes


def _reach_notes(known: SettingModel, alloy: Alloy) -> list[str]:
    """Which pairs of metals differ more than any that was learned from."""
    if all(each.why for each in known.excess):
        return []
    notes, ends = [], known.end_members()
    for first, second in alloy.pairs:
        beyond = symmetric_descriptors(first, second, alloy.setting, ends) > known.reach * (1 + 1e-9)
        what = ["size"] * bool(beyond[0, 0]) + [
            name.replace("_", " ") for name, far in zip(MODULI, beyond[:, 1], strict=True) if far
        ]
        if what:
            notes.append(
                f"{first} and {second} differ more in {' and '.join(what)} than any pair that was learned from"
            )
    return notes


def _interval_notes(known: SettingModel) -> list[str]:
    if not known.intervals:
        return ["there is no mixed alloy of this structure to judge by, so no interval"]
    level, number = known.intervals[PROPERTIES[0]].level, len(known.systems)
    if level < LEVEL:
        return [
            f"intervals are the largest error of {number} set{'s' * (number != 1)} of metals left out: with so few, "
            f"{level:.0%} is all they can claim for metals not learned from, not {LEVEL:.0%}"
        ]
    return [f"intervals of {level:.0%} from {number} sets of metals left out"]


# --- training ---------------------------------------------------------------------------------------------------------


def train(tables: Sequence[Table], version: str, pooled: bool = False) -> tuple[ExcessModel, list[str]]:
    """Learn from tables; and a line for each alloy that lacks an end member.

    :param version: of the program, for the record.
    :param pooled: one excess for all structure types of a level, anion and treatment of ions; else one for each.
    :raises InputError: where no mixed alloy has its end members; one of them is named.
    """
    alloys, left_out = with_end_members([alloy for table in tables for alloy in table.alloys])
    predicted = {name: leave_one_pair_out(alloys, each) for name, each in PREDICTORS.items()}
    model = ExcessModel(
        settings=tuple(
            _train_setting(alloys, setting, predicted, pooled) for setting in sorted({a.setting for a in alloys})
        ),
        sources=tuple(dict(table.source) for table in tables),
        fingerprint=fingerprint(alloys),
        version=version,
    )
    return model, left_out


def _train_setting(
    alloys: Sequence[Alloy], setting: Setting, predicted: Mapping[str, FloatArray], pooled: bool
) -> SettingModel:
    rows = [k for k, alloy in enumerate(alloys) if alloy.setting == setting]
    own = [alloys[k] for k in rows]
    mixed, learned = mixtures(own), lesson(alloys, setting, pooled)
    ends = end_members(alloys)
    seen = [symmetric_descriptors(*pair, alloy.setting, ends) for alloy in learned for pair in alloy.pairs]
    in_use = predicted["excess, pooled" if pooled else "excess"][rows]
    return SettingModel(
        setting=setting,
        ends={alloy.metals[0]: (alloy.bulk_modulus, alloy.shear_modulus) for alloy in end_members(own).values()},
        systems=tuple(sorted({"-".join(alloy.metals) for alloy in mixed})),
        n=len(mixed),
        lesson=tuple(sorted({alloy.setting.structure for alloy in learned})),
        excess=learn_excess(learned, ends),
        reach=np.max([np.zeros((len(MODULI), len(SYMMETRIC))), *seen], axis=0),
        scores={line.predictor: line.scores for line in compare(own, {n: p[rows] for n, p in predicted.items()})},
        intervals=conformal(own, in_use) if mixed else {},
    )


def conformal(alloys: Sequence[Alloy], predicted: FloatArray) -> dict[str, Interval]:
    """Intervals by property from moduli (n, 2) in GPa that were predicted with pairs left out; see `Interval`."""
    mixed = mixtures(alloys)
    metals = np.array(["-".join(alloy.metals) for alloy in mixed])
    weights = np.array([mixing_weight(alloy) for alloy in mixed])
    true = properties_of(np.array([alloy.moduli for alloy in mixed]))
    found = properties_of(predicted[[not alloy.is_end_member for alloy in alloys]])
    systems = np.unique(metals)
    rank = math.ceil(round((len(systems) + 1) * LEVEL, 9))
    level = LEVEL if rank <= len(systems) else len(systems) / (len(systems) + 1)
    intervals = {}
    for name in PROPERTIES:
        errors = np.abs(found[name] - true[name]) / weights
        largest = sorted(float(errors[metals == system].max()) for system in systems)
        intervals[name] = Interval(largest[min(rank, len(systems)) - 1], level)
    return intervals


# --- file -------------------------------------------------------------------------------------------------------------


def save(model: ExcessModel, path: str | Path) -> None:
    """Write a model as JSON, whole or not at all.

    :raises InputError: where the file cannot be written.
    """
    content = {
        "format": FORMAT,
        "version": model.version,
        "descriptors": list(DESCRIPTORS),
        "units": {name: "1" if name == "poisson_ratio" else "GPa" for name in PROPERTIES},
        "sources": list(model.sources),
        "fingerprint": model.fingerprint,
        "settings": [_to_json(known) for known in model.settings],
    }
    file = Path(path)
    try:
        write_whole(file, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    except OSError as error:
        raise InputError(f"Cannot write {file}: {error.strerror or error}.") from None


def _to_json(known: SettingModel) -> dict[str, Any]:
    return {
        **known.setting._asdict(),
        "end_members": {metal: dict(zip(MODULI, moduli, strict=True)) for metal, moduli in known.ends.items()},
        "systems": list(known.systems),
        "alloys": known.n,
        "learned_from": list(known.lesson),
        "excess": {name: _excess_to_json(each) for name, each in zip(MODULI, known.excess, strict=True)},
        "largest_descriptors": {
            name: dict(zip(SYMMETRIC, row, strict=True)) for name, row in zip(MODULI, known.reach.tolist(), strict=True)
        },
        "leave_one_pair_out": {
            predictor: {name: asdict(each) for name, each in scores.items()}
            for predictor, scores in known.scores.items()
        },
        "intervals": {name: asdict(each) for name, each in known.intervals.items()},
    }


def _excess_to_json(excess: Excess) -> dict[str, Any]:
    if excess.why:
        return {"vegard_because": excess.why}
    return {
        "coefficients": dict(zip(DESCRIPTORS, excess.coefficients.tolist(), strict=True)),
        "penalty": excess.penalty,
    }


def load(path: str | Path) -> ExcessModel:
    """Read a model.

    :raises InputError: the file cannot be read, is no such model, is of another version, or holds what cannot be.
    """
    file = Path(path)
    content = read_json(file, "is not whole JSON: learn the model again.")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{file} is no model of alloys that this version reads ('{FORMAT}'): learn it again.")
    try:
        if content["descriptors"] != list(DESCRIPTORS):
            raise ValueError(f"its descriptors are {content['descriptors']}")
        return ExcessModel(
            settings=tuple(_from_json(known) for known in content["settings"]),
            sources=tuple({str(key): str(value) for key, value in each.items()} for each in content["sources"]),
            fingerprint=str(content["fingerprint"]),
            version=str(content["version"]),
        )
    except KeyError as error:
        raise InputError(f"{file} is damaged ({error} is missing): learn it again.") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{file} is damaged ({' '.join(str(error).split())}): learn it again.") from None


def _from_json(values: Mapping[str, Any]) -> SettingModel:
    largest = values["largest_descriptors"]
    bulk, shear = (_excess_from_json(values["excess"][name]) for name in MODULI)
    return SettingModel(
        setting=Setting(**{name: str(values[name]) for name in Setting._fields}),
        ends={
            str(metal): (_positive(moduli["bulk_modulus"]), _positive(moduli["shear_modulus"]))
            for metal, moduli in values["end_members"].items()
        },
        systems=tuple(map(str, values["systems"])),
        n=int(values["alloys"]),
        lesson=tuple(map(str, values["learned_from"])),
        excess=(bulk, shear),
        reach=np.array([[_finite(largest[name][each]) for each in SYMMETRIC] for name in MODULI]),
        scores={
            str(predictor): {name: Scores(**each[name]) for name in PROPERTIES}
            for predictor, each in values["leave_one_pair_out"].items()
        },
        intervals={
            name: Interval(_finite(values["intervals"][name]["quantile"]), _finite(values["intervals"][name]["level"]))
            for name in (PROPERTIES if values["intervals"] else ())
        },
    )


def _excess_from_json(values: Mapping[str, Any]) -> Excess:
    if "vegard_because" in values:
        return Excess(np.zeros(0), math.inf, str(values["vegard_because"]))
    coefficients = [_finite(values["coefficients"][name]) for name in DESCRIPTORS]
    return Excess(np.array(coefficients), _positive(values["penalty"]))


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{json.dumps(value)[:40]} is no finite number")
    return float(value)


def _positive(value: Any) -> float:
    if _finite(value) <= 0:
        raise ValueError(f"{value} is not above 0")
    return float(value)
