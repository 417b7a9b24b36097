"""``hardcoat run``: from a composition to an entry of the catalogue."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiida_hardcoat.cli.errors import DISK_FULL, is_disk_full, user_errors
from aiida_hardcoat.errors import InputError

if TYPE_CHECKING:
    from aiida.engine import ProcessBuilder
    from aiida.manage.configuration import Profile
    from aiida.orm import ProcessNode

    from aiida_hardcoat.data.elastic import ElasticData


INTERRUPTED = 130
"""Exit code of a command that was interrupted, as shells have it."""


@click.command("run")
@click.argument("composition")
@click.option("-s", "--structure-type", required=True, metavar="TYPE", help="B1, B3, B4 or Bk.")
@click.option("--atoms", type=int, help="Atoms in the cell; the protocol's by default (96).")
@click.option("--cell", metavar="SHAPE", help="Shape of the cell: long-period, study, or AxBxC of primitive cells.")
@click.option("--engine", metavar="ENGINE[:MODEL]", help="ase:7net-l3i5 (default), vasp, ...")
@click.option("--code", metavar="LABEL", help="AiiDA code to run instead of the one that `hardcoat setup` made.")
@click.option("--ions", default="relaxed", show_default=True, metavar="relaxed|clamped", help="Ions under strain.")
@click.option("--protocol", metavar="NAME", help="fast, balanced (default), stringent or study.")
@click.option("--seed", type=int, help="Seed of the SQS search.")
@click.option("--sqs-count", type=int, default=1, show_default=True, help="Number of SQS, their seeds in a row.")
@click.option("--force-threshold", type=float, help="Tightest force threshold, eV/Angstrom; looser fallbacks are kept.")
@click.option("-o", "--override", "overrides", multiple=True, metavar="KEY=VALUE", help="e.g. strains.max_steps=200.")
@click.option("--threads", type=int, help="Threads of a job; by default 1 in small cells, else all cores up to 4.")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="Option of the jobs, e.g. max_wallclock_seconds=86400, resources.num_machines=2, queue_name=long.",
)
@click.option("--submit", is_flag=True, help="Hand the run to the daemon instead of waiting for it.")
@click.option("--dry-run", is_flag=True, help="Show what would be done and write the input files, store nothing.")
@click.option("--inputs", metavar="FOLDER", help="Where --dry-run writes input files; by default FORMULA-TYPE-inputs.")
@user_errors()
def cmd_run(composition: str, **choices: Any) -> None:
    """Compute the elastic constants of COMPOSITION, e.g. Ti0.5Al0.5N.

    The run waits for its result and shows progress. After an interrupt, a power cut or a full disk the same command
    goes on from what is finished.
    """
    if choices["sqs_count"] < 1:
        raise InputError(f"--sqs-count must be at least 1, not {choices['sqs_count']}")
    settings = collect_overrides(choices)
    choices["options"] = collect_options(choices["options"])
    set_threads(choices["threads"], submitted=choices["submit"])
    if choices["dry_run"]:
        from aiida_hardcoat.cli.plan import show_plan

        show_plan(composition, choices, settings)
        return
    if choices["inputs"] is not None:
        raise InputError("--inputs goes with --dry-run: a run writes its input files into its own folders")

    from aiida_hardcoat.cli.profile import require_disk_space, use_profile

    profile = use_profile()
    code = engine_code(choices["engine"], choices["code"])
    require_disk_space(*work_folders(code))
    builders = []
    for seed in seeds(choices, settings):
        settings["sqs"]["seed"] = seed
        builders.append(alloy_builder(code, composition, choices, settings))
    if choices["submit"]:
        for builder in builders:
            submit(builder, profile)
        return
    entries = [entry for builder in builders if (entry := run_here(builder)) is not None]
    if len(entries) > 1:
        from aiida_hardcoat.catalogue.card import spread_table

        click.echo(spread_table(entries))
    if len(entries) < len(builders):
        raise SystemExit(1)


def collect_overrides(choices: dict[str, Any]) -> dict[str, Any]:
    """The protocol's overrides that the options stand for, nested.

    :raises InputError: for an override that is not KEY=VALUE, or an unknown protocol or key.
    """
    from aiida_hardcoat.workflows.protocols import load_protocol, share_engine_settings

    overrides: dict[str, Any] = {"sqs": {}, **nested("override", choices["overrides"], "strains.max_steps=200")}
    share_engine_settings(overrides)
    for option, key in (("atoms", "atoms"), ("cell", "shape"), ("seed", "seed")):
        if choices[option] is not None:
            put(overrides, f"sqs.{key}", choices[option])
    protocol = load_protocol(choices["protocol"], overrides)
    threshold = choices["force_threshold"]
    if threshold is not None:
        for part in ("relaxation", "strains"):
            looser = [value for value in protocol[part]["force_thresholds"] if value > threshold]
            overrides.setdefault(part, {})["force_thresholds"] = [threshold, *looser]
    return overrides


def collect_options(items: tuple[str, ...]) -> dict[str, Any]:
    """The options of the jobs, nested.

    :raises InputError: for an option that is not KEY=VALUE, or that jobs do not have or must not be given.
    """
    options = nested("option", items, "max_wallclock_seconds=86400")
    if not options:
        return {}
    from aiida_hardcoat.engines.options import check_options

    check_options(options)
    return options


def nested(what: str, items: tuple[str, ...], example: str) -> dict[str, Any]:
    """``{"a": {"b": value}}`` for items ``a.b=value``.

    :raises InputError: for an item that is not KEY=VALUE.
    """
    values: dict[str, Any] = {}
    for item in items:
        path, separator, text = item.partition("=")
        if not separator:
            raise InputError(f"{what} '{item}' is not KEY=VALUE, e.g. {example}")
        put(values, path, parse_value(text))
    return values


def put(overrides: dict[str, Any], path: str, value: Any) -> None:
    """Set ``overrides["a"]["b"]`` for the path ``a.b``.

    :raises InputError: when something on the way is no mapping.
    """
    *parents, key = path.split(".")
    for parent in parents:
        overrides = overrides.setdefault(parent, {})
        if not isinstance(overrides, dict):
            raise InputError(f"override '{path}' lies within '{parent}', which another override sets to {overrides!r}")
    overrides[key] = value


def parse_value(text: str) -> Any:
    """A JSON value, or the text itself where it is none."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def seeds(choices: dict[str, Any], overrides: dict[str, Any]) -> range:
    from aiida_hardcoat.workflows.protocols import load_protocol

    first = load_protocol(choices["protocol"], overrides)["sqs"]["seed"]
    return range(first, first + choices["sqs_count"])


def engine_code(engine: str | None, label: str | None = None) -> Any:
    """The code of that label, else the one that ``hardcoat setup`` made for the engine.

    :raises InputError: when it is missing, or several have that label.
    """
    from aiida_hardcoat.engines import DEFAULT, load_engine
    from aiida_hardcoat.engines.codes import find_code

    module, model = load_engine(engine or DEFAULT)
    label = label or module.code_label(model)
    code = find_code(label)
    if code is None:
        name = (engine or DEFAULT).partition(":")[0]
        option = "" if name == DEFAULT.partition(":")[0] else f" --engine {name}"
        raise InputError(f"the profile has no code '{label}': run `hardcoat setup{option}`")
    return code


def work_folders(code: Any) -> list[Path]:
    """The folders on this machine that a run fills: AiiDA's own and the jobs'."""
    from aiida.manage import get_config

    folders = [Path(get_config().dirpath)]
    if code.computer.transport_type == "core.local":
        folders.append(Path(code.computer.get_workdir()))
    return folders


def alloy_builder(code: Any, composition: str, choices: dict[str, Any], overrides: dict[str, Any]) -> ProcessBuilder:
    from aiida_hardcoat.engines import DEFAULT
    from aiida_hardcoat.workflows.alloy import AlloyWorkChain

    return AlloyWorkChain.get_builder_from_protocol(
        code,
        composition,
        choices["structure_type"],
        choices["protocol"],
        overrides,
        choices.get("options"),
        engine=choices["engine"] or DEFAULT,
        ions=choices["ions"],
    )


def set_threads(asked: int | None, *, submitted: bool) -> None:
    """Threads of the jobs that this process starts, which inherit its environment.

    An option of the job would do as well, but would become part of what AiiDA's cache compares.

    :raises InputError: for less than one thread, or for a run that the daemon will start.
    """
    if asked is None:
        return
    if asked < 1:
        raise InputError(f"--threads must be at least 1, not {asked}")
    if submitted:
        raise InputError("--threads is for runs that wait: `export OMP_NUM_THREADS=N` before `verdi daemon start`")
    os.environ["OMP_NUM_THREADS"] = str(asked)


def submit(builder: ProcessBuilder, profile: Profile) -> None:
    """Hand a run to the daemon.

    :raises InputError: when the profile has no broker or its daemon does not run.
    """
    from aiida.engine import submit as submit_to_daemon
    from aiida.engine.daemon.client import get_daemon_client

    if profile.process_control_backend is None:
        raise InputError("this profile has no broker, so it has no daemon: leave out --submit")
    if not get_daemon_client().is_daemon_running:
        raise InputError("the daemon does not run: start it with `verdi daemon start`")
    node = submit_to_daemon(builder)
    click.echo(f"submitted {node.pk}: follow it with `verdi process status {node.pk}`")


def run_here(builder: ProcessBuilder, *, show: bool = True) -> ElasticData | None:
    """Run in this process with progress; say why where there is no entry."""
    from aiida_hardcoat.catalogue.card import card
    from aiida_hardcoat.data.catalogue import catalogue, find_equal
    from aiida_hardcoat.learned import load_ensemble
    from aiida_hardcoat.workflows.launch import run

    node = run(builder, lambda line: click.echo(f"  {line}", err=True), load_ensemble)
    if node.is_finished_ok:
        # A run from the cache ends in a copy: what is shown is the entry that the catalogue holds.
        entry = find_equal(catalogue(), node.outputs.entry) or node.outputs.entry
        for line in reports(node):
            click.echo(f"  {line}", err=True)
        if show:
            click.echo(card(entry))
        return entry
    click.echo(f"Error: {failure(node)}", err=True)
    if node.is_killed:
        raise SystemExit(INTERRUPTED)  # the user asked to stop, not to go on with the next structure
    return None


def reports(node: ProcessNode) -> list[str]:
    """What a run that went well has to tell all the same, such as why there are no learned moduli."""
    from aiida.orm import Log

    return [log.message.partition("]: ")[2] or log.message for log in Log.collection.get_logs_for(node)]


def failure(node: ProcessNode) -> str:
    """One line on what went wrong and how to go on."""
    if node.is_killed:
        return f"run {node.pk} was interrupted: the same command goes on from what is finished"
    if node.is_excepted:
        if is_disk_full(node.exception or ""):
            return DISK_FULL
        return f"run {node.pk} broke off: {node.exception} (`verdi process report {node.pk}` tells more)"
    return f"run {node.pk} failed [{node.exit_status}]: {node.exit_message} (`verdi process report {node.pk}`)"
