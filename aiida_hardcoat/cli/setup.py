"""``hardcoat setup``: from nothing, or from a profile of one's own, to a place where alloys can be run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from aiida_hardcoat.cli.errors import user_errors
from aiida_hardcoat.cli.profile import named_profile
from aiida_hardcoat.errors import InputError

if TYPE_CHECKING:
    from aiida.manage.configuration import Profile

EMBEDDED = "embedded"
LOCALHOST = "localhost"


@click.command("setup")
@click.option("--engine", metavar="NAME", help="Also what this engine needs: quantumespresso, vasp.")
@click.option("--profile", "kind", metavar="KIND", help="Make this kind of profile: embedded, server, or a YAML file.")
@click.option(
    "--database",
    envvar="HARDCOAT_DATABASE",
    metavar="URL",
    help="postgresql://USER@HOST:PORT/NAME; the password from HARDCOAT_DATABASE_PASSWORD or a prompt.",
)
@click.option(
    "--broker",
    envvar="HARDCOAT_BROKER",
    metavar="URL",
    help="amqp://USER@HOST:PORT/VHOST, or amqps; the password from HARDCOAT_BROKER_PASSWORD or a prompt.",
)
@click.option("--from", "source", metavar="NAME", help="Copy everything of this profile into it, and compare.")
@click.option("--computer", metavar="KIND", help="localhost (default), slurm-ssh, or a YAML file.")
@click.option("--host", metavar="ALIAS", help="The computer as in `ssh ALIAS`.")
@click.option("--work-dir", metavar="FOLDER", help="Where the jobs run on the computer.")
@click.option("--executable", metavar="PATH", help="The engine's program on a computer elsewhere.")
@user_errors()
def cmd_setup(
    engine: str | None,
    kind: str | None,
    database: str | None,
    broker: str | None,
    source: str | None,
    **place: str | None,
) -> None:
    """Complete the AiiDA profile with a computer, a code and a catalogue; make the profile if there is none.

    Uses the profile given with `hardcoat -p NAME setup`, else the default one. One that does not exist is made as an
    embedded profile (SQLite and ZeroMQ: no service, no administrator); it becomes the default where there is none.
    `--profile server` makes one on PostgreSQL and RabbitMQ, and says how to start what is missing. Running it again
    changes nothing.
    """
    from aiida_hardcoat.engines import load_engine

    if engine is not None:
        load_engine(engine)  # a name that does not exist leaves nothing behind
    computer = describe_computer(engine, **place)
    if kind is None and source is not None:
        raise InputError("--from goes with --profile: the kind of profile to copy into")
    if kind is not None:
        profile = ensure_profile(kind, database, broker, source, computer)
    else:
        profile = ensure_any_profile(computer)
    click.echo(f"profile    {profile.name} ({profile.storage_backend})")
    if source is not None:
        move_from(source, profile.name)
    complete(profile, computer, engine)


def describe_computer(
    engine: str | None, computer: str | None, host: str | None, work_dir: str | None, executable: str | None
) -> dict[str, Any]:
    """What is to be done about the computer, from files and options.

    :raises InputError: for a file or options that cannot be.
    """
    from aiida_hardcoat.cli.setup_computer import LOCAL
    from aiida_hardcoat.cli.setup_files import read_code, read_computer

    wanted, configure = read_computer(computer or LOCALHOST, hostname=host, work_dir=work_dir)
    if wanted["transport"] == LOCAL:
        if host is not None or executable is not None:
            raise InputError(f"--host and --executable are for a computer elsewhere, not for '{wanted['label']}'")
        return {"computer": wanted, "configure": configure, "code": None}
    if "work_dir" not in wanted:
        raise InputError(f"computer '{wanted['label']}' has no work_dir: give a folder with --work-dir")
    code = read_code(engine or "ase")
    return {
        "computer": wanted,
        "configure": {"host": wanted["hostname"], **configure},
        "code": code | ({} if executable is None else {"filepath_executable": executable}),
    }


def ensure_any_profile(computer: dict[str, Any]) -> Profile:
    """The profile that the user named, or the default one; an embedded one where it does not exist."""
    from aiida.manage import get_config

    from aiida_hardcoat.cli.profile import use_profile
    from aiida_hardcoat.cli.setup_files import read_profile
    from aiida_hardcoat.cli.setup_profile import make_profile

    look_at(computer)
    if not profile_exists():
        wanted = read_profile(EMBEDDED)
        make_profile(get_config(create=True), named_profile() or wanted["name"], wanted)
    return use_profile()


def ensure_profile(
    kind: str, database: str | None, broker: str | None, source: str | None, computer: dict[str, Any]
) -> Profile:
    """The profile of that kind, made where it is missing and its servers are there; else nothing is made.

    :raises InputError: for a description that cannot be, or a profile of that name that is another.
    """
    from aiida.manage import get_config

    from aiida_hardcoat.cli import setup_profile as profiles
    from aiida_hardcoat.cli.profile import use_profile
    from aiida_hardcoat.cli.setup_files import check_label, read_profile
    from aiida_hardcoat.cli.setup_move import check_source

    described = read_profile(kind)
    # The environment names servers for whatever profile uses them; an option for another profile is a mistake.
    given = click.get_current_context().get_parameter_source
    if described["storage"]["backend"] != profiles.POSTGRESQL and given("database") == ParameterSource.ENVIRONMENT:
        database = None
    if described["broker"]["backend"] != profiles.RABBITMQ and given("broker") == ParameterSource.ENVIRONMENT:
        broker = None
    wanted = profiles.with_urls(described, database, broker)
    name = named_profile() or wanted["name"]
    check_label("the name of the profile", name)
    config = get_config(create=True)
    exists = name in config.profile_names
    if source is not None:
        check_source(source, name)
    if exists:
        profile = config.get_profile(name)
        profiles.require_alike(profile, wanted, urls=database is not None or broker is not None)
        lines, problems = profiles.check_services(profiles.as_it_is(profile), new=False)
    else:
        wanted = profiles.with_passwords(wanted)
        lines, problems = profiles.check_services(wanted, new=True)
    try:
        look_at(computer)
    except InputError as error:
        problems.append(str(error))
    for line in lines:
        click.echo(line)
    if problems:
        for problem in problems:
            click.echo(f"Error: {' '.join(problem.split())}", err=True)
        raise SystemExit(2)
    if exists:
        profiles.set_options(config, profile, wanted["options"])
    else:
        profiles.make_profile(config, name, wanted)
    click.get_current_context().meta["hardcoat.profile"] = name
    return use_profile()


def look_at(computer: dict[str, Any]) -> None:
    """Check a computer elsewhere, say what was found, and take the cores of its nodes where the file has none.

    :raises InputError: how to mend what is missing.
    """
    from aiida_hardcoat.cli.setup_computer import check_computer

    if computer["code"] is not None:
        line, cores = check_computer(**computer)
        click.echo(f"cluster    {line}")
        computer["computer"] = {"mpiprocs_per_machine": cores, **computer["computer"]}


def move_from(source: str, target: str) -> None:
    """Copy everything of a profile, and exit with code 1 where something is lost."""
    from aiida_hardcoat.cli.setup_move import move

    before, after = move(source, target)
    click.echo(f"           {source:>20s} {target:>20s}")
    for name, number in before.counts.items():
        click.echo(f"  {name:18s}{number:>11d} {after.counts[name]:>20d}")
    click.echo(f"  {'fingerprint':18s}{before.fingerprint[:11]:>11s} {after.fingerprint[:11]:>20s}")
    if before != after:
        click.echo(f"Error: '{target}' does not hold all of '{source}', which is as it was: report this", err=True)
        raise SystemExit(1)
    click.echo(
        f"moved      all of '{source}', which is kept; `verdi profile set-default {target}` makes this one the default"
    )


def complete(profile: Profile, computer: dict[str, Any], engine: str | None) -> None:
    """Caching, computer, codes and catalogue of a profile that is loaded."""
    from aiida_hardcoat.cli.setup_computer import ensure_computer, ensure_remote_code
    from aiida_hardcoat.data.catalogue import catalogue
    from aiida_hardcoat.engines import load_engine

    local = computer["code"] is None
    names = ("ase", engine or "ase") if local else (engine or "ase",)
    engines = [load_engine(name)[0] for name in dict.fromkeys(names)]
    enable_caching(profile, [identifier for module in engines for identifier in module.cached()])
    stored = ensure_computer(computer["computer"], computer["configure"], profile)
    click.echo(f"computer   {stored.label} ({stored.transport_type}, {stored.scheduler_type})")
    if local:
        for module in engines:
            module.setup(stored, click.echo)
    else:
        code = ensure_remote_code(stored, computer["code"])
        click.echo(f"code       {code.full_label} ({code.filepath_executable})")
    group = catalogue()
    click.echo(f"catalogue  {group.label} ({group.count_entries()} entries)")


def profile_exists() -> bool:
    """Whether the profile that is asked for, or a default one, exists."""
    from aiida.common.exceptions import MissingConfigurationError
    from aiida.manage import get_config

    try:
        config = get_config()
    except MissingConfigurationError:
        return False
    name = named_profile()
    return config.default_profile_name is not None if name is None else name in config.profile_names


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
