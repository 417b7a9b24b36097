"""Settings of the engine ``ase``, checked before anything is stored."""

from __future__ import annotations

import re
from typing import Any

from aiida_hardcoat.engines.checks import COMMON_KEYS, check_common
from aiida_hardcoat.errors import InputError, nearest

NAMED_MODELS = ("7net-l3i5", "7net-0", "chgnet")
OPTIMISERS = ("BFGS", "FIRE")
IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

KEYS = (*COMMON_KEYS, "model_options", "optimiser")


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
    check_common("ase", settings, KEYS)
    validate_model(settings["model"])
    if settings["optimiser"] not in OPTIMISERS:
        optimiser = settings["optimiser"]
        raise InputError(f"unknown optimiser '{optimiser}': {nearest(optimiser, OPTIMISERS)}")
    if not isinstance(settings["model_options"], dict):
        raise InputError(f"model_options must be a mapping of options, not {settings['model_options']!r}")
