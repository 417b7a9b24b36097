"""What every engine checks of its settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from aiida_hardcoat.errors import InputError, nearest

TASKS = ("relax", "relax_cell", "relax_ions", "static")
COMMON_KEYS = ("task", "model", "force_thresholds", "stress_threshold", "max_steps")


def check_common(engine: str, settings: dict[str, Any], keys: Sequence[str], optional: Sequence[str] = ()) -> None:
    """That the settings have these keys and no others, a task that exists, and sound thresholds and steps.

    :raises InputError: with the first thing that is wrong.
    """
    for key in settings:
        if key not in keys:
            raise InputError(f"unknown setting '{key}' of engine {engine}: {nearest(key, list(keys))}")
    missing = [key for key in keys if key not in settings and key not in optional]
    if missing:
        raise InputError(f"settings of engine {engine} lack {', '.join(missing)}")
    if settings["task"] not in TASKS:
        raise InputError(f"unknown task '{settings['task']}': {nearest(settings['task'], TASKS)}")
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
    check_positive(settings, "stress_threshold", "GPa")
    if not is_count(settings["max_steps"]):
        raise InputError(f"max_steps must be a whole number of at least 1, not {settings['max_steps']!r}")


def check_positive(settings: dict[str, Any], key: str, unit: str) -> None:
    """:raises InputError: where a setting is no positive number."""
    if not is_positive(settings[key]):
        raise InputError(f"{key} must be a positive number ({unit}), not {settings[key]!r}")


def check_mesh(mesh: Any) -> None:
    """None, or three numbers of k-points.

    :raises InputError: for anything else, such as a mesh of zero.
    """
    if mesh is None:
        return
    if not isinstance(mesh, (list, tuple)) or len(mesh) != 3 or not all(is_count(number) for number in mesh):
        raise InputError(f"kpoints_mesh must be three whole numbers of at least 1, e.g. [12, 12, 12], not {mesh!r}")


def is_positive(value: Any) -> bool:
    """Whether a setting is a positive, finite number."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value > 0


def is_count(value: Any) -> bool:
    """Whether a setting is a whole number of at least 1."""
    return isinstance(value, int) and is_positive(value)
