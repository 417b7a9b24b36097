"""The learned model as the catalogue uses it: loaded once for a process, told apart by its content, its answers flat.

AiiDA is not needed here, and torch only when a model is loaded.
"""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hardcoat_ml.crystal import Crystal
    from hardcoat_ml.ensemble import Ensemble
    from hardcoat_ml.prediction import Prediction


_LOADING = threading.Lock()


def load_ensemble(path: Path | None = None) -> Ensemble:
    """The ensemble of a file, the shipped one by default; read again only if the file has changed since.

    :raises hardcoat_ml.errors.InputError: when there is none, or its weights are not those of its card.
    """
    card = None if path is None else path.with_suffix(".json")
    with _LOADING:  # a second caller waits for the first rather than load it again
        return _load(path, card.stat().st_mtime_ns if card is not None and card.exists() else None)


@functools.cache
def _load(path: Path | None, changed: int | None) -> Ensemble:
    from hardcoat_ml.ensemble import Ensemble

    return Ensemble.load(path)


def model_identity(ensemble: Ensemble) -> dict[str, str]:
    """Name, version, sha256 of the weights, fingerprint of the training data, and a short hash of it all.

    Weights alone do not decide an answer: the calibration of the intervals is on the card.
    """
    card = ensemble.card
    everything = json.dumps({"sha256": ensemble.sha256, "card": card}, sort_keys=True)
    return {
        "name": str(card["name"]),
        "version": str(card["version"]),
        "sha256": ensemble.sha256,
        "training_data": str(card["data"]["fingerprint"]),
        "fingerprint": hashlib.sha256(everything.encode()).hexdigest()[:16],
    }


def prediction_values(ensemble: Ensemble, crystal: Crystal, prediction: Prediction) -> dict[str, float | bool]:
    """What an ensemble says of a crystal, flat: ``bulk_modulus``, ``bulk_modulus_spread``, ``bulk_modulus_low`` ..."""
    from hardcoat_ml.crystal import formula_of

    values: dict[str, float | bool] = {}
    for name, (low, high) in prediction.interval.items():
        values[name] = float(getattr(prediction, name))
        values[f"{name}_spread"] = float(prediction.spread[name])
        values[f"{name}_low"], values[f"{name}_high"] = float(low), float(high)
    return {
        **values,
        "distance": float(prediction.distance),
        "far": bool(prediction.far),
        "in_training_data": bool(ensemble.saw(formula_of(crystal.numbers))),
    }


def unseen_elements(ensemble: Ensemble, crystal: Crystal) -> str | None:
    """Why the ensemble cannot answer for a crystal, if it cannot."""
    symbols = ensemble.unseen(crystal)
    return f"the model has seen no crystal with {', '.join(symbols)}" if symbols else None
