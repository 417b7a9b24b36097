"""Make a profile whole or not at all."""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiida_hardcoat.cli.setup_files import from_url, variable_of
from aiida_hardcoat.cli.setup_services import check_broker, check_database
from aiida_hardcoat.errors import InputError

if TYPE_CHECKING:
    from aiida.manage.configuration import Profile
    from aiida.manage.configuration.config import Config

EMAIL = "hardcoat@localhost"
POSTGRESQL = "core.psql_dos"
RABBITMQ = "core.rabbitmq"


def with_urls(wanted: dict[str, Any], database: str | None, broker: str | None) -> dict[str, Any]:
    """A profile as its file describes it, with the servers that the options name instead.

    :raises InputError: for a URL that cannot be read, or a profile that has no such server.
    """
    storage, process_control = dict(wanted["storage"]["config"]), dict(wanted["broker"]["config"])
    if database is not None:
        if wanted["storage"]["backend"] != POSTGRESQL:
            raise InputError(f"--database is for a profile on PostgreSQL, not for '{wanted['name']}'")
        url = from_url("--database", database, {"postgresql": 5432})
        storage |= {f"database_{ours}": url[theirs] for ours, theirs in DATABASE_PARTS.items()}
    if broker is not None:
        if wanted["broker"]["backend"] != RABBITMQ:
            raise InputError(f"--broker is for a profile on RabbitMQ, not for '{wanted['name']}'")
        url = from_url("--broker", broker, {"amqp": 5672, "amqps": 5671})
        process_control |= {f"broker_{ours}": url[theirs] for ours, theirs in BROKER_PARTS.items()}
    return configured(wanted, storage, process_control)


DATABASE_PARTS = {"hostname": "host", "port": "port", "username": "username", "name": "name"}
BROKER_PARTS = {
    "protocol": "protocol",
    "host": "host",
    "port": "port",
    "username": "username",
    "virtual_host": "name",
}


def with_passwords(wanted: dict[str, Any]) -> dict[str, Any]:
    """The same with the passwords of the environment, or those that the user types.

    :raises InputError: where there is neither.
    """
    storage, process_control = dict(wanted["storage"]["config"]), dict(wanted["broker"]["config"])
    if wanted["storage"]["backend"] == POSTGRESQL:
        storage["database_password"] = password("--database", f"PostgreSQL user {storage.get('database_username')}")
    if wanted["broker"]["backend"] == RABBITMQ:
        process_control["broker_password"] = password(
            "--broker", f"RabbitMQ user {process_control.get('broker_username')}"
        )
    return configured(wanted, storage, process_control)


def configured(wanted: dict[str, Any], storage: dict[str, Any], process_control: dict[str, Any]) -> dict[str, Any]:
    """The profile with other settings of its storage and its broker."""
    return {
        **wanted,
        "storage": {**wanted["storage"], "config": storage},
        "broker": {**wanted["broker"], "config": process_control},
    }


def password(option: str, whose: str) -> str:
    variable = variable_of(option) + "_PASSWORD"
    if os.environ.get(variable):
        return os.environ[variable]
    if not sys.stdin.isatty():
        raise InputError(f"the password of the {whose} is missing: put it into {variable}")
    return str(click.prompt(f"Password of the {whose}", hide_input=True))


def check_services(wanted: dict[str, Any], *, new: bool) -> tuple[list[str], list[str]]:
    """Lines about the servers of a profile, and the problems of those that are missing."""
    checks = []
    if wanted["storage"]["backend"] == POSTGRESQL:
        checks.append(("database", lambda: check_database(wanted["storage"]["config"], empty=new)))
    if wanted["broker"]["backend"] == RABBITMQ:
        checks.append(("broker", lambda: check_broker(wanted["broker"]["config"])))
    lines, problems = [], []
    for what, check in checks:
        try:
            lines.append(f"{what:10s} {check()}")
        except InputError as error:
            problems.append(str(error))
        except KeyError as error:
            problems.append(f"the profile's {what} has no {error}: add it to the file, or give --{what}")
    return lines, problems


def as_it_is(profile: Profile) -> dict[str, Any]:
    """A profile that exists, in the form of the files."""
    return {
        "name": profile.name,
        "storage": {"backend": profile.storage_backend, "config": profile.storage_config},
        "broker": {"backend": profile.process_control_backend, "config": profile.process_control_config},
    }


def require_alike(profile: Profile, wanted: dict[str, Any], urls: bool) -> None:
    """That a profile of that name is what is asked for.

    :param urls: whether servers were named, which must then be the profile's.
    :raises InputError: when it is another.
    """
    found = as_it_is(profile)
    for part in ("storage", "broker"):
        if found[part]["backend"] != wanted[part]["backend"]:
            raise InputError(
                f"profile '{profile.name}' exists with {found[part]['backend']}, not {wanted[part]['backend']}:"
                " choose another name, `hardcoat -p NAME setup ...`"
            )
        for key, value in wanted[part]["config"].items() if urls else ():
            if found[part]["config"].get(key) != value:
                raise InputError(
                    f"profile '{profile.name}' exists with {key} {found[part]['config'].get(key)}, not {value}:"
                    " choose another name, `hardcoat -p NAME setup ...`"
                )


def make_profile(config: Config, name: str, wanted: dict[str, Any]) -> Profile:
    """A new profile; whatever goes wrong leaves nothing of it.

    :param wanted: as the files describe it, with passwords.
    """
    from aiida.manage.configuration import create_profile
    from aiida.plugins import BrokerFactory

    storage = dict(wanted["storage"]["config"])
    repository = None
    if wanted["storage"]["backend"] == POSTGRESQL:
        repository = Path(config.dirpath) / "repository" / f"{name}-{uuid.uuid4().hex[:8]}"
        storage["repository_uri"] = repository.as_uri()
    defaults = BrokerFactory(wanted["broker"]["backend"]).get_default_config()
    try:
        profile = create_profile(
            config,
            name=name,
            email=EMAIL,
            storage_backend=wanted["storage"]["backend"],
            storage_config=storage,
            broker_backend=wanted["broker"]["backend"],
            broker_config={**defaults, **wanted["broker"]["config"]},
        )
        set_options(config, profile, wanted["options"])
        config.set_default_profile(profile.name)  # only where there is none yet
        config.store()
    except BaseException as error:
        if repository is not None:
            discard(config, name, storage, repository)
        if isinstance(error, Exception):
            raise InputError(f"the profile '{name}' is not made: {error}") from None
        raise
    return profile


def set_options(config: Config, profile: Profile, options: dict[str, Any]) -> None:
    """Options that the profile does not have yet; those that the user chose stay.

    :raises InputError: for an option that AiiDA does not have.
    """
    from aiida.common.exceptions import ConfigurationError

    for option, value in options.items():
        try:
            if config.get_option(option, scope=profile.name, default=False) is None:
                config.set_option(option, value, scope=profile.name)
        except (ConfigurationError, ValueError) as error:
            raise InputError(f"option '{option}' of the profile cannot be {value!r}: {error}") from None
    config.store()


def discard(config: Config, name: str, storage: dict[str, Any], repository: Path) -> None:
    """Undo half a profile: its tables, its repository and its lines in AiiDA's configuration."""
    from aiida.storage.psql_dos.models.base import get_orm_metadata
    from aiida.storage.psql_dos.utils import create_sqlalchemy_engine
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    if name in config.profile_names:
        config.remove_profile(name)
        config.store()
    shutil.rmtree(repository, ignore_errors=True)
    engine = create_sqlalchemy_engine(storage)  # type: ignore[arg-type]
    try:
        get_orm_metadata().drop_all(engine)
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
    except SQLAlchemyError:
        click.echo(f"Error: the database '{storage['database_name']}' cannot be emptied: drop it", err=True)
    finally:
        engine.dispose()
