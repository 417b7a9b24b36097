"""Settings of the engine ``ase``, checked before anything is stored."""

from __future__ import annotations

import math
import re
from typing import Any

from aiida_hardcoat.errors import InputError, nearest

TASKS = ("relax", "relax_cell", "relax_ions", "static")
NAMED_MODELS = ("7net-l3i5", "7net-0", "chgnet")
OPTIMISERS = ("BFGS", "FIRE")
IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

KEYS = ("task", "model", "model_options", "force_thresholds", "stress_threshold", "max_steps", "optimiser")


def validate_model(model: str) -> None:
    """A model shipped in a wheel, or the import path ``package.module:Class`` of an ASE calculator.

    :raises InputError: for anything else.
    """
    if model not in NAMED_MODELS and not IMPORT_PATH.fullmatch(model):
        raise InputError(
            f"unknown model '{model}' of engine ase: {nearest(model, NAMED_MODELS)}, or package.module:Class"
        )


def validate_ase_settings(settings: dict[str, Any]) -> None:
    """Check every key, type and range.

    :raises InputError: with the first thing that is wrong.
    """
    for key in settings:
        if key not in KEYS:
            raise InputError(f"unknown setting '{key}' of engine ase: {nearest(key, KEYS)}")
    missing = [key for key in KEYS if key not in settings]
    if missing:
        raise InputError(f"settings of engine ase lack {', '.join(missing)}")
    if settings["task"] not in TASKS:
        raise InputError(f"unknown task '{settings['task']}': {nearest(settings['task'], TASKS)}")
    validate_model(settings["model"])
    if settings["optimiser"] not in OPTIMISERS:
        optimiser = settings["optimiser"]
        raise InputError(f"unknown optimiser '{optimiser}': {nearest(optimiser, OPTIMISERS)}")
    if not isinstance(settings["model_options"], dict):
        raise InputError(f"model_options must be a mapping of options, not {settings['model_options']!r}")
    thresholds = settings["force_thresholds"]
    if (
        not isinstance(thresholds, (list, tuple))
        or not thresholds
        or not all(is_positive(value) for value in thresholds)
        or sorted(thresholds) != list(thresholds)
    ):
        raise InputError(
            f"force_thresholds must be positive and rise from tight to loose (eV/Angstrom), not {thresholds}"
        )
    if not is_positive(settings["stress_threshold"]):
        raise InputError(f"stress_threshold must be a positive number (GPa), not {settings['stress_threshold']!r}")
    if not isinstance(settings["max_steps"], int) or not is_positive(settings["max_steps"]):
        raise InputError(f"max_steps must be a whole number of at least 1, not {settings['max_steps']!r}")


def is_positive(value: Any) -> bool:
    """Whether a setting is a positive, finite number."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value > 0
