"""``hardcoat setup``: from nothing, or from a profile of one's own, to a place where alloys can be run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiida_hardcoat.cli.errors import user_errors

if TYPE_CHECKING:
    from aiida.manage.configuration import Profile
    from aiida.orm import Computer

EMBEDDED = "hardcoat"
COMPUTER = "localhost"


@click.command("setup")
@click.option("--engine", metavar="NAME", help="Also what this engine needs: quantumespresso, vasp.")
@user_errors()
def cmd_setup(engine: str | None) -> None:
    """Complete the AiiDA profile with a computer, a code and a catalogue; make the profile if there is none.

    Uses the profile given with `hardcoat -p NAME setup`, else the default one. One that does not exist is made as an
    embedded profile (SQLite and ZeroMQ: no service, no administrator); it becomes the default where there is none.
    Running it again changes nothing.
    """
    from aiida_hardcoat.cli.profile import use_profile
    from aiida_hardcoat.engines import load_engine

    if engine is not None:
        load_engine(engine)  # a name that does not exist leaves nothing behind
    if not profile_exists():
        make_embedded_profile(click.get_current_context().meta.get("hardcoat.profile") or EMBEDDED)
    profile = use_profile()
    click.echo(f"profile    {profile.name} ({profile.storage_backend})")
    engines = [load_engine(name)[0] for name in dict.fromkeys(("ase", engine or "ase"))]
    enable_caching(profile, [identifier for module in engines for identifier in module.cached()])
    computer = ensure_computer(profile)
    click.echo(f"computer   {computer.label} ({computer.transport_type}, {computer.scheduler_type})")
    for module in engines:
        module.setup(computer, click.echo)

    from aiida_hardcoat.data.catalogue import catalogue

    group = catalogue()
    click.echo(f"catalogue  {group.label} ({group.count_entries()} entries)")


def profile_exists() -> bool:
    """Whether the profile that is asked for, or a default one, exists."""
    from aiida.common.exceptions import MissingConfigurationError
    from aiida.manage import get_config

    name = click.get_current_context().meta.get("hardcoat.profile")
    try:
        config = get_config()
    except MissingConfigurationError:
        return False
    return config.default_profile_name is not None if name is None else name in config.profile_names


def make_embedded_profile(name: str) -> None:
    """SQLite storage and the ZeroMQ broker, in AiiDA's own folder (AIIDA_PATH or the home directory)."""
    from aiida.manage import get_config
    from aiida.manage.configuration import create_profile
    from aiida.plugins import BrokerFactory

    config = get_config(create=True)
    profile = create_profile(
        config,
        name=name,
        email="hardcoat@localhost",
        storage_backend="core.sqlite_dos",
        storage_config={},
        broker_backend="core.zeromq",
        broker_config=BrokerFactory("core.zeromq").get_default_config(),
    )
    config.set_option("runner.poll.interval", 1, scope=profile.name)
    config.set_option("daemon.timeout", 30, scope=profile.name)
    config.set_default_profile(profile.name)  # only where there is none yet
    config.store()


def enable_caching(profile: Profile, more: list[str]) -> None:
    """Let the daemon use finished results of this package's processes again, and of those that its engines run."""
    from aiida.manage import get_config

    from aiida_hardcoat.workflows.launch import CACHED

    config = get_config()
    enabled = list(config.get_option("caching.enabled_for", scope=profile.name) or [])
    missing = [identifier for identifier in (*CACHED, *more) if identifier not in enabled]
    if missing:
        config.set_option("caching.enabled_for", enabled + missing, scope=profile.name)
        config.store()


def ensure_computer(profile: Profile) -> Computer:
    """The computer ``localhost``, made and configured where it is missing."""
    from aiida.common.exceptions import NotExistent
    from aiida.manage import get_config
    from aiida.orm import Computer, User, load_computer

    try:
        computer = load_computer(COMPUTER)
    except NotExistent:
        computer = Computer(
            label=COMPUTER,
            hostname="localhost",
            description="This machine",
            transport_type="core.local",
            scheduler_type="core.direct",
            workdir=str(Path(get_config().dirpath) / "scratch" / profile.name),
        ).store()
        computer.set_minimum_job_poll_interval(0.5)
        computer.set_default_mpiprocs_per_machine(1)
    user = User.collection.get_default()
    if user is None or not computer.is_user_configured(user):
        # A login shell for every look at the queue would cost more than AiiDA itself.
        computer.configure(safe_interval=0, use_login_shell=False)
    return computer
