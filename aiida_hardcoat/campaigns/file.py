"""The file that describes a campaign: read safely, checked whole before anything is stored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import yaml

from aiida_hardcoat.campaigns.grid import STEPS, alloys_of, compositions_of, fraction_of, in_order, systems_of
from aiida_hardcoat.data.catalogue import DEFAULT_LABEL
from aiida_hardcoat.engines import DEFAULT as DEFAULT_ENGINE
from aiida_hardcoat.errors import InputError, nearest
from aiida_hardcoat.labels import LABEL
from aiida_hardcoat.physics.composition import Composition, parse_composition
from aiida_hardcoat.profiles import shipped

LARGEST_FILE = 2**20
LARGEST_CAMPAIGN = 100_000
"""Alloys; beyond it a typing error is likelier."""

CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,199}")
GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,199}")

OPTIONS = (
    "resources",
    "max_wallclock_seconds",
    "max_memory_kb",
    "account",
    "queue_name",
    "qos",
    "priority",
    "withmpi",
)
"""What a file may ask of the jobs. Text that would go into the job's script as it is belongs to the computer."""

KEYS = {
    "name": str,
    "description": str,
    "catalogue": str,
    "engine": str,
    "code": str,
    "protocol": str,
    "overrides": dict,
    "options": dict,
    "systems": list,
    "elements": list,
    "metals": int,
    "x": list,
    "compositions": list,
    "structure_types": list,
    "ions": list,
    "seeds": list,
    "priorities": list,
    "at_once": dict,
}
KINDS = {str: "a text", dict: "a mapping", list: "a list", int: "a whole number"}
AT_ONCE = ("alloys", "jobs")


@dataclass(frozen=True)
class Campaign:
    """A campaign as its file describes it.

    ``alloys`` are in the order in which they begin, each with ``composition``, ``system``, ``x``, ``structure_type``,
    ``ions`` and ``seed``. ``alloys_at_once`` is None where the machine decides; ``jobs_at_once`` 0 means no limit.
    """

    name: str
    description: str
    catalogue: str
    engine: str
    code: str | None
    protocol: str | None
    overrides: dict[str, Any]
    options: dict[str, Any]
    alloys: tuple[dict[str, Any], ...]
    alloys_at_once: int | None
    jobs_at_once: int


def read_campaign(path: str | Path, trusted: Sequence[str] = ()) -> Campaign:
    """Read a campaign from a YAML file, or one that comes with the package by its name (``study``).

    :param trusted: import paths ``package.module:Name`` that the engine may load; a file alone must not decide what is
        imported and called where the jobs run.
    :raises InputError: for anything that cannot be, without a look beyond the file.
    """
    return parsed(contents_of(Path(path)), trusted)


def contents_of(path: Path) -> dict[str, Any]:
    source: Any = path
    if not path.exists():
        campaigns = shipped("campaigns")
        if str(path) not in campaigns:
            raise InputError(f"there is no campaign file {path}; with the package come {', '.join(campaigns)}")
        source = campaigns[str(path)]
    elif not path.is_file():
        raise InputError(f"{path} is no file: give a campaign's YAML file")
    elif path.stat().st_size > LARGEST_FILE:
        raise InputError(f"{path} is no campaign file: it has more than {LARGEST_FILE // 2**20} MiB")
    try:
        contents = yaml.load(source.read_text(encoding="utf8"), Loader=StrictLoader)
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text") from None
    except PermissionError:
        raise InputError(f"{path} cannot be read: look at its permissions") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(contents, dict):
        raise InputError(f"{path} is no campaign: it must hold keys such as name, systems, structure_types")
    return contents


class StrictLoader(yaml.SafeLoader):
    """Plain data only, no key twice, no aliases, with which a small file can stand for a huge one."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, "aliases are not taken", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        twice = next((key for key in keys if not isinstance(key, str) or keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"key {twice!r} is no text or twice", node.start_mark)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=True)
        return mapping


StrictLoader.add_implicit_resolver(  # YAML 1.1 takes 1e-3 for a text
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+"), list("-+0123456789")
)


def parsed(contents: dict[str, Any], trusted: Sequence[str]) -> Campaign:
    for key, value in contents.items():
        if key not in KEYS:
            raise InputError(f"unknown key '{key}' of the campaign: {nearest(str(key), list(KEYS))}")
        if not isinstance(value, KEYS[key]) or isinstance(value, bool):
            raise InputError(f"{key} must be {KINDS[KEYS[key]]}, not {shortened(value)}")
    engine = contents.get("engine", DEFAULT_ENGINE)
    check_trust(engine, trusted)
    at_once = contents.get("at_once", {})
    for key, value in at_once.items():
        if key not in AT_ONCE:
            raise InputError(f"unknown key '{key}' of at_once: {nearest(str(key), AT_ONCE)}")
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"at_once.{key} must be a whole number of at least 1, not {shortened(value)}")
    return Campaign(
        name=matching(LABEL, "name", contents.get("name")),
        description=contents.get("description", ""),
        catalogue=matching(GROUP, "catalogue", contents.get("catalogue", DEFAULT_LABEL)),
        engine=engine,
        code=matching(CODE, "code", contents["code"]) if "code" in contents else None,
        protocol=contents.get("protocol"),
        overrides=contents.get("overrides", {}),
        options=checked_options(contents.get("options", {})),
        alloys=tuple(grid_of(contents)),
        alloys_at_once=at_once.get("alloys"),
        jobs_at_once=at_once.get("jobs", 0),
    )


def matching(pattern: re.Pattern[str], key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"the campaign lacks a {key}")
    if not pattern.fullmatch(value):
        raise InputError(f"{key} must be letters, digits, '.', '_' and '-', not {shortened(value)}")
    return value


def check_trust(engine: str, trusted: Sequence[str]) -> None:
    """Refuse an import path that only the file asks for."""
    model = engine.partition(":")[2]
    if ":" in model and model not in trusted:
        raise InputError(
            f"the file has its jobs import and call {shortened(model)}: add --trust {model} if you know it"
        )


def checked_options(options: dict[str, Any]) -> dict[str, Any]:
    for key in options:
        if key not in OPTIONS:
            raise InputError(f"a campaign file cannot set the option '{key}' of its jobs: {nearest(str(key), OPTIONS)}")
    return options


def grid_of(contents: dict[str, Any]) -> list[dict[str, Any]]:
    """The alloys in their order."""
    compositions = list(compositions_in(contents))
    if not compositions:
        raise InputError("the campaign names no alloys: give systems, elements or compositions")
    structure_types = texts("structure_types", contents.get("structure_types"), "[B1, B3, B4]")
    ions = texts("ions", contents.get("ions", ["relaxed"]), "[relaxed, clamped]")
    seeds = contents.get("seeds", [0])
    if not seeds or any(not isinstance(seed, int) or isinstance(seed, bool) or seed < 0 for seed in seeds):
        raise InputError(f"seeds must be whole numbers from 0, not {shortened(seeds)}")
    alloys = alloys_of(compositions, structure_types, ions, seeds)
    if len(alloys) > LARGEST_CAMPAIGN:
        raise InputError(f"the campaign has {len(alloys)} alloys: split it into parts of up to {LARGEST_CAMPAIGN}")
    return in_order(alloys, contents.get("priorities", []))


def compositions_in(contents: dict[str, Any]) -> list[Composition]:
    steps = [fraction_of(value) for value in contents.get("x", STEPS)]
    if not steps:
        raise InputError("x is empty: give for example [0, 1/4, 1/2, 3/4, 1], or leave it out")
    systems = [metals_of(text) for text in texts("systems", contents.get("systems", []), "[Al-Ti-N]", empty=True)]
    if "elements" in contents:
        elements = texts("elements", contents["elements"], "[Al, Ti, Zr, Hf]")
        systems += systems_of(elements, contents.get("metals", 2))
    elif "metals" in contents:
        raise InputError("metals says how many of the elements mix: give elements, too")
    listed = texts("compositions", contents.get("compositions", []), "[Ti0.5Al0.5N]", empty=True)
    if "x" in contents and not systems:
        raise InputError("x is the grid of systems or elements: give either, too")
    if sum(len(steps) ** (len(metals) - 1) for metals in systems) > LARGEST_CAMPAIGN:
        raise InputError(f"the grid is too fine: it has more than {LARGEST_CAMPAIGN} compositions")
    return [
        *(composition for metals in systems for composition in compositions_of(metals, steps)),
        *(parse_composition(text) for text in listed),
    ]


def metals_of(system: str) -> tuple[str, ...]:
    parts = system.split("-")
    if "N" not in parts or len(parts) < 2:
        raise InputError(f"system {shortened(system)} is no nitride: write for example Al-Ti-N")
    if len(set(parts)) < len(parts):
        raise InputError(f"system {shortened(system)} names an element twice")
    return tuple(part for part in parts if part != "N")


def texts(key: str, value: Any, example: str, *, empty: bool = False) -> list[str]:
    if not isinstance(value, list) or not (value or empty) or not all(isinstance(item, str) for item in value):
        raise InputError(f"{key} must be a list such as {example}, not {shortened(value)}")
    return value
