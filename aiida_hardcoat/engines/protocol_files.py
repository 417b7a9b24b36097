"""The files that protocols come from: one of what all engines share, and one of each DFT engine's own settings."""

from __future__ import annotations

import copy
from functools import cache
from importlib import resources
from typing import Any

import yaml


def read_protocols(name: str) -> dict[str, dict[str, Any]]:
    """All protocols in a file, ``alloy`` or the name of an engine; a copy."""
    return copy.deepcopy(parsed(name))


@cache
def parsed(name: str) -> dict[str, dict[str, Any]]:
    """Once, as each check of an alloy looks at the protocols."""
    text = resources.files("aiida_hardcoat.workflows.protocols").joinpath(f"{name}.yaml").read_text("utf8")
    contents: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return contents
