"""The YAML that ``hardcoat setup`` reads: shipped profiles, computers and codes by name, or files of one's own."""

from __future__ import annotations

from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from aiida_hardcoat.errors import InputError, nearest
from aiida_hardcoat.labels import LABEL
from aiida_hardcoat.profiles import shipped

LARGEST_FILE = 2**20

PROFILE_KEYS = ("name", "storage", "broker", "options")
COMPUTER_KEYS = (
    "label",
    "hostname",
    "description",
    "transport",
    "scheduler",
    "shebang",
    "work_dir",
    "mpirun_command",
    "mpiprocs_per_machine",
    "default_memory_per_machine",
    "use_double_quotes",
    "prepend_text",
    "append_text",
)
"""Those of `verdi computer setup --config`."""


def read_profile(text: str) -> dict[str, Any]:
    """A profile by the name of a shipped file or the path of another.

    :raises InputError: for a file that is missing or says something else.
    """
    profile = read(find("", text), PROFILE_KEYS)
    for part in ("storage", "broker"):
        section = profile.setdefault(part, {})
        if not isinstance(section, dict) or not isinstance(section.setdefault("config", {}), dict):
            raise InputError(f"'{part}' of profile '{text}' must be a mapping with 'backend' and 'config'")
        if not isinstance(section.get("backend"), str):
            raise InputError(f"'{part}' of profile '{text}' has no 'backend'")
    if not isinstance(profile.setdefault("options", {}), dict):
        raise InputError(f"'options' of profile '{text}' must be a mapping")
    check_label("the name of the profile", profile.get("name"))
    return profile


def read_computer(text: str, **changes: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """What makes a computer and what configures its transport, by the name of a shipped file or the path of another.

    The second is the file `NAME-configure.yaml` beside the first, or nothing.

    :param changes: values instead of those in the file.
    :raises InputError: for a file that is missing or says something else.
    """
    file = find("computers", text)
    computer = read(file, COMPUTER_KEYS) | {key: value for key, value in changes.items() if value is not None}
    for key in ("label", "hostname"):
        check_label(f"'{key}' of computer '{text}'", computer.get(key))
    for key in ("transport", "scheduler"):
        if not isinstance(computer.get(key), str):
            raise InputError(f"computer '{text}' has no '{key}'")
    beside = file.name.removesuffix(".yaml") + "-configure"
    if isinstance(file, Path):
        configure: Traversable | None = file.with_name(f"{beside}.yaml")
    else:
        configure = shipped("computers").get(beside)
    return computer, read(configure) if configure is not None and configure.is_file() else {}


def read_code(engine: str) -> dict[str, Any]:
    """The shipped code of an engine.

    :raises InputError: for an engine that has none.
    """
    return read(find("codes", engine))


def find(folder: str, text: str) -> Traversable:
    """A shipped file by its name, else the file of that path.

    :raises InputError: naming the nearest.
    """
    files = shipped(folder)
    names = sorted(name for name in files if not name.endswith("-configure"))
    if text in names:
        return files[text]
    path = Path(text)
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise InputError(f"{path}: no such file")
    raise InputError(
        f"unknown {folder.rstrip('s') or 'profile'} '{text}': {nearest(text, names)}, or the path of a YAML file"
    )


def read(file: Traversable, keys: tuple[str, ...] = ()) -> dict[str, Any]:
    """The mapping in a YAML file.

    :param keys: those that it may have, any by default.
    :raises InputError: for a file that is no such mapping.
    """
    if isinstance(file, Path) and file.stat().st_size > LARGEST_FILE:
        raise InputError(f"{file} is larger than {LARGEST_FILE // 2**20} MB: is it the right file?")
    try:
        content = yaml.safe_load(file.read_text("utf8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{file} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{file} must hold a mapping, KEY: VALUE on each line")
    for key in content:
        if keys and key not in keys:
            raise InputError(f"unknown key '{key}' in {file}: {nearest(str(key), keys)}")
    return content


def check_label(what: str, value: Any) -> None:
    """:raises InputError: for what may not name a profile, a computer or a host."""
    if not isinstance(value, str) or not LABEL.fullmatch(value):
        raise InputError(f"{what} must be made of letters, digits, '.', '_' and '-', not {value!r}")


def from_url(what: str, url: str, schemes: dict[str, int]) -> dict[str, Any]:
    """Host, port, user and name in ``scheme://user@host:port/name``.

    :param schemes: with their usual ports.
    :raises InputError: for another form, or where it holds a password.
    """
    example = f"{next(iter(schemes))}://USER@HOST:PORT/NAME"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InputError(f"{what} must be {example}") from None
    if parts.password is not None:
        raise InputError(f"{what} holds a password, which others could read: put it into {variable_of(what)}_PASSWORD")
    if parts.scheme not in schemes or not parts.hostname or not parts.username or not parts.path.strip("/"):
        raise InputError(f"{what} must be {example}")
    return {
        "protocol": parts.scheme,
        "host": parts.hostname,
        "port": port or schemes[parts.scheme],
        "username": unquote(parts.username),
        "name": unquote(parts.path.strip("/")),
    }


def variable_of(option: str) -> str:
    """The environment variable of an option: HARDCOAT_BROKER of --broker."""
    return "HARDCOAT_" + option.strip("-").upper()
