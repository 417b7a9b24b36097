"""The AiiDA profile of a command. AiiDA is imported here, inside functions, and nowhere at import."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiida_hardcoat.errors import InputError, nearest

if TYPE_CHECKING:
    from aiida.manage.configuration import Profile

NEEDED_MEGABYTES = 200


def named_profile() -> str | None:
    """The profile of `hardcoat -p NAME`."""
    ctx = click.get_current_context(silent=True)
    return None if ctx is None else ctx.meta.get("hardcoat.profile")


def find_profile() -> Profile:
    """The profile that the user named, or the default one, without its storage.

    :raises InputError: when there is none.
    """
    from aiida.common.exceptions import ConfigurationError, MissingConfigurationError, ProfileConfigurationError
    from aiida.manage import get_config, load_profile

    name = named_profile()
    try:
        config = get_config()
    except MissingConfigurationError:
        raise InputError("there is no AiiDA profile yet: run `hardcoat setup`") from None
    if name is not None and name not in config.profile_names:
        raise InputError(
            f"no profile '{name}': {nearest(name, config.profile_names) if config.profile_names else 'there is none'};"
            " `hardcoat setup` makes one"
        )
    try:
        return load_profile(name)
    except ProfileConfigurationError:
        raise InputError("there is no default AiiDA profile: run `hardcoat setup`") from None
    except ConfigurationError as error:
        raise InputError(f"the AiiDA profile cannot be loaded: {error}") from None


def use_profile() -> Profile:
    """Load the profile that the user named, or the default one, and its storage.

    :raises InputError: when there is none, or its storage does not answer.
    """
    from aiida.common.exceptions import UnreachableStorage
    from aiida.manage import get_manager

    profile = find_profile()
    try:
        get_manager().get_profile_storage()  # configures AiiDA's logging, which would otherwise undo what follows
    except UnreachableStorage:
        raise InputError(
            f"the storage of profile '{profile.name}' does not answer: `hardcoat doctor` tells more"
        ) from None
    # Progress and results are printed by the commands themselves; AiiDA's reports stay in the database.
    for handler in logging.getLogger("aiida").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setLevel(logging.CRITICAL)
    # A report that cannot be stored, on a full disk say, must not bury the line that says so.
    logging.raiseExceptions = False
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    return profile


def require_disk_space(*folders: Path) -> None:
    """Refuse to start what could not be stored.

    :raises InputError: when a disk has less than some megabytes left.
    """
    for folder in folders:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(existing).free // 2**20
        if free < NEEDED_MEGABYTES:
            raise InputError(f"only {free} MB are free on the disk of {folder}: make room for {NEEDED_MEGABYTES} MB")
