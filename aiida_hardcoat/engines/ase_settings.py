"""Settings of the engine ``ase``, checked before anything is stored."""

from __future__ import annotations

import re
from typing import Any

from aiida_hardcoat.engines.checks import COMMON_KEYS, check_common
from aiida_hardcoat.errors import InputError, nearest

NAMED_MODELS = ("7net-l3i5", "7net-0", "chgnet")
OPTIMISERS = ("BFGS", "FIRE")
IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")

OPTIONAL_KEYS = ("device",)
KEYS = (*COMMON_KEYS, "model_options", "optimiser", *OPTIONAL_KEYS)


def validate_model(model: str) -> None:
    """A model shipped in a wheel, or the import path ``package.module:Class`` of an ASE calculator.

    The module is not looked for: only the job imports it, where it runs.

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
    check_common("ase", settings, KEYS, OPTIONAL_KEYS)
    validate_model(settings["model"])
    if settings["optimiser"] not in OPTIMISERS:
        optimiser = settings["optimiser"]
        raise InputError(f"unknown optimiser '{optimiser}': {nearest(optimiser, OPTIMISERS)}")
    if not isinstance(settings["model_options"], dict):
        raise InputError(f"model_options must be a mapping of options, not {settings['model_options']!r}")
    check_device(settings)


def check_device(settings: dict[str, Any]) -> None:
    """:raises InputError: for a device that cannot be, or is named twice and differently."""
    asked = [place["device"] for place in (settings, settings["model_options"]) if "device" in place]
    for device in asked:
        if not (isinstance(device, str) and DEVICE.fullmatch(device)):
            raise InputError(f"device must be auto, cpu, cuda or cuda:N, not {device!r}")
    if len(set(asked)) > 1:
        raise InputError(f"the device is {asked[0]} and, among model_options, {asked[1]}: leave out the second")
