"""Predictors of alloys side by side: errors of the four moduli, by structure type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hardcoat_ml.alloys import Alloy
from hardcoat_ml.metrics import PROPERTIES, FloatArray, Scores, properties_of, scores_by_property, standard_error


@dataclass(frozen=True)
class Line:
    """One predictor on one set of alloys.

    :ivar subset: structure types, ``B1`` or ``B1+B3``.
    :ivar n: alloys that it was judged on, of ``systems`` sets of metals.
    :ivar scores: by property.
    :ivar standard_errors: of the MAE, by property, from a bootstrap over sets of metals; None for a single one.
    :ivar kept: properties in which it beats every predictor named before it, on the alloys that both know, by more than
        a standard error of the difference.
    """

    subset: str
    ions: str
    predictor: str
    n: int
    systems: int
    scores: dict[str, Scores]
    standard_errors: dict[str, float | None]
    kept: tuple[str, ...]


def compare(alloys: Sequence[Alloy], predictions: Mapping[str, FloatArray]) -> list[Line]:
    """Scores for each structure type, and for all of them together where there are several.

    :param predictions: moduli ``(n, 2)`` in GPa by name, the simplest predictor first; rows of NaN are not judged.
    """
    lines: list[Line] = []
    for ions in sorted({alloy.setting.ions for alloy in alloys}, reverse=True):
        structures = sorted({alloy.setting.structure for alloy in alloys if alloy.setting.ions == ions})
        for subset in [[structure] for structure in structures] + ([structures] if len(structures) > 1 else []):
            rows = [k for k, a in enumerate(alloys) if a.setting.ions == ions and a.setting.structure in subset]
            chosen = {name: moduli[rows] for name, moduli in predictions.items()}
            lines += _lines([alloys[k] for k in rows], chosen, "+".join(subset), ions)
    return lines


def _lines(alloys: Sequence[Alloy], predictions: Mapping[str, FloatArray], subset: str, ions: str) -> Iterator[Line]:
    true = properties_of(np.array([alloy.moduli for alloy in alloys]))
    systems = np.array(["-".join(alloy.metals) for alloy in alloys])
    simpler: list[dict[str, FloatArray]] = []
    for predictor, moduli in predictions.items():
        judged = np.isfinite(moduli).all(axis=1)
        if not judged.any():
            continue
        predicted = properties_of(moduli)
        errors = {name: np.abs(predicted[name] - true[name]) for name in PROPERTIES}
        labels = systems[judged].tolist()
        yield Line(
            subset=subset,
            ions=ions,
            predictor=predictor,
            n=len(labels),
            systems=len(set(labels)),
            scores=scores_by_property(
                {p: true[p][judged] for p in PROPERTIES}, {p: predicted[p][judged] for p in PROPERTIES}
            ),
            standard_errors={p: standard_error(errors[p][judged], labels) for p in PROPERTIES},
            kept=tuple(
                p for p in PROPERTIES if simpler and all(_beats(errors[p], other[p], systems) for other in simpler)
            ),
        )
        simpler.append(errors)


def _beats(errors: FloatArray, others: FloatArray, systems: np.ndarray[tuple[int], np.dtype[np.str_]]) -> bool:
    both = np.isfinite(errors) & np.isfinite(others)
    if not both.any():
        return False
    gain = (others - errors)[both]
    noise = standard_error(gain, systems[both].tolist())
    return noise is not None and bool(gain.mean() > noise)
