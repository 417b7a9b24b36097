"""Files that nobody else may read: AiiDA's configuration with its passwords, sockets, private keys."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from aiida_hardcoat.cli.doctor_findings import Finding, finding

if TYPE_CHECKING:
    from aiida.manage.configuration import Profile

OTHERS = 0o077


def check_files(profile: Profile) -> list[Finding]:
    """One row for each file that others can get at, or one that says that there is none."""
    found = [
        finding(
            what, False, f"others can get at {path} ({stat.filemode(path.stat().st_mode)}): {why}", mend, word="UNSAFE"
        )
        for what, path, why, mend in private(profile)
        if path.exists() and path.stat().st_mode & OTHERS
    ]
    return found or [finding("private files", True, "configuration, sockets and keys are yours alone")]


def private(profile: Profile) -> Iterator[tuple[str, Path, str, str]]:
    """What each is, where it lies, what it tells, and how to close it."""
    from aiida.manage import get_config

    config = get_config()
    file = Path(config.filepath)
    yield "config.json", file, "it holds passwords", f"chmod 600 {file}"
    for folder in socket_folders(profile):
        yield "sockets", folder, "they control the daemon and run code", f"chmod 700 {folder}"
    for key in private_keys(Path.home() / ".ssh"):
        yield "ssh key", key, "it opens your computers", f"chmod 600 {key}"


def socket_folders(profile: Profile) -> Iterator[Path]:
    """Folders of the sockets of a running daemon and of the embedded broker."""
    from aiida.manage import get_config

    paths = get_config().filepaths(profile)
    notes = [Path(paths["circus"]["socket"]["file"]), *Path(paths["broker_service"]["dir"]).glob("*.sockets")]
    for note in notes:
        if note.is_file():
            yield Path(note.read_text("utf8").strip())


def private_keys(folder: Path) -> Iterator[Path]:
    """The usual private keys and those that SSH's configuration names."""
    keys = [path for path in folder.glob("id_*") if path.suffix != ".pub"]
    config = folder / "config"
    if config.is_file():
        lines = config.read_text("utf8", "replace")
        named = re.findall(r"^\s*IdentityFile\s*=?\s*\"?([^\"\n#]+)", lines, re.MULTILINE | re.IGNORECASE)
        keys += [Path(name.strip()).expanduser() for name in named]
    yield from dict.fromkeys(keys)
