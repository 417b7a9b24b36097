"""Protocols: named sets of settings, as YAML, that overrides may change but never extend."""

from __future__ import annotations

import math
from typing import Any

from aiida_hardcoat.engines import load_engine
from aiida_hardcoat.engines.protocol_files import read_protocols
from aiida_hardcoat.errors import InputError, nearest

DEFAULT = "balanced"
PARTS = ("relaxation", "strains")
"""Where a protocol has settings of the engine's own; which keys they may have, only the engine knows."""


def protocols() -> dict[str, dict[str, Any]]:
    """All protocols by name, each with its ``description``; a copy."""
    return read_protocols("alloy")


def load_protocol(
    name: str | None = None, overrides: dict[str, Any] | None = None, engine: str | None = None
) -> dict[str, Any]:
    """The settings of a protocol with overrides put in.

    :param overrides: nested like the protocol; only keys that the protocol has.
    :param engine: fill ``engine_settings`` with what this engine has for the protocol.
    :raises InputError: for an unknown protocol, or an override key that no protocol knows, with the nearest valid one,
        or a value of another kind than the protocol's.
    """
    available = protocols()
    name = name or DEFAULT
    if name not in available:
        raise InputError(f"unknown protocol '{name}': {nearest(name, list(available))}")
    settings = available[name]
    settings.pop("description")
    if engine is not None:
        module, _ = load_engine(engine)
        for part in PARTS:
            settings[part]["engine_settings"] = module.protocol_settings(name, part)
    merge(settings, overrides or {}, "")
    return settings


def share_engine_settings(overrides: dict[str, Any]) -> None:
    """Let ``engine.KEY`` stand for the engine's setting of the relaxation and of the strains, which must be alike.

    :raises InputError: when it is no mapping.
    """
    shared = overrides.pop("engine", {})
    if not isinstance(shared, dict):
        raise InputError(f"override 'engine' must name a setting of the engine, as in engine.KEY=VALUE, not {shared!r}")
    for part in PARTS if shared else ():
        own = overrides.setdefault(part, {})
        if isinstance(own, dict) and isinstance(own.get("engine_settings", {}), dict):
            own["engine_settings"] = merged(shared, own.get("engine_settings", {}))


def merge(settings: dict[str, Any], overrides: dict[str, Any], path: str) -> None:
    """Put ``overrides`` into ``settings`` in place, level by level."""
    for key, value in overrides.items():
        if key not in settings:
            where = f" of {path}" if path else ""
            raise InputError(f"unknown override key '{key}'{where}: {nearest(key, list(settings))}")
        if key == "engine_settings" and isinstance(value, dict):
            settings[key] = merged(settings[key], value)
        elif isinstance(settings[key], dict):
            if not isinstance(value, dict):
                raise InputError(f"override '{key}' must hold {', '.join(settings[key])}, not {value!r}")
            merge(settings[key], value, f"{path}.{key}".lstrip("."))
        elif is_like(value, settings[key]):
            settings[key] = value
        else:
            raise InputError(f"override '{path}.{key}' must be like {settings[key]!r}, not {value!r}")


def merged(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested settings with some changed and some added."""
    result = dict(settings)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def is_like(value: Any, example: Any) -> bool:
    """Whether a value is of the kind of another: an integer, a finite number, numbers in a list, text or a mapping."""
    if isinstance(example, list):
        return isinstance(value, (list, tuple)) and all(is_like(item, 0.0) for item in value)
    if isinstance(example, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, type(example)) and not isinstance(value, bool)
