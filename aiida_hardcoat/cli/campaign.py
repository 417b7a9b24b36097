"""``hardcoat campaign``: a grid of alloys, some of them at a time."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

from aiida_hardcoat.cli.errors import user_errors
from aiida_hardcoat.errors import InputError

if TYPE_CHECKING:
    from aiida.manage.configuration import Profile
    from aiida.orm import AbstractCode

    from aiida_hardcoat.campaigns.file import Campaign

PROCESSES_OF_AN_ALLOY = 4
"""Beside its jobs: the alloy, its relaxation or strains, the engine's workchain, a calcfunction now and then."""

IN_A_QUEUE = 20


class CampaignGroup(click.Group):
    """``hardcoat campaign FILE`` stands for ``hardcoat campaign run FILE``."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["run", *args]
        return super().resolve_command(ctx, args)


@click.group("campaign", cls=CampaignGroup)
def cmd_campaign() -> None:
    """Many alloys: a grid of compositions, structure types and choices of ions, read from a YAML file.

    `hardcoat campaign FILE.yaml` runs it; `study` and `first-look` come with the package. The same command after any
    stop goes on from what is there.
    """


@cmd_campaign.command("run")
@click.argument("file")
@click.option("--submit", is_flag=True, help="Hand the campaign to the daemon instead of waiting for it.")
@click.option("--dry-run", is_flag=True, help="Show the alloys and what is known of them, store nothing.")
@click.option("--alloys", type=click.IntRange(min=1), help="Alloys in flight, instead of the file's at_once.alloys.")
@click.option("--jobs", type=click.IntRange(min=1), help="Jobs in flight, instead of the file's at_once.jobs.")
@click.option("--trust", multiple=True, metavar="MODULE:NAME", help="Import path that the file's engine may load.")
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table", show_default=True)
@user_errors()
def cmd_run(file: str, output_format: str, trust: tuple[str, ...], **choices: Any) -> None:
    """Compute what is not there yet of the alloys of FILE."""
    from aiida_hardcoat.campaigns.file import read_campaign
    from aiida_hardcoat.cli.profile import require_disk_space, use_profile
    from aiida_hardcoat.cli.run import engine_code, work_folders

    campaign = read_campaign(file, trust)
    profile = use_profile()
    code = engine_code(campaign.engine, campaign.code)
    builder = campaign_builder(campaign, code, choices)
    if choices["dry_run"]:
        show_plan(builder, output_format)
        return
    refuse_second(campaign.name)
    require_disk_space(*work_folders(code))
    begin(builder, profile, output_format, submitted=choices["submit"])


@cmd_campaign.command("status")
@click.argument("name", required=False)
@click.option("--follow", is_flag=True, help="Stay and show what changes until the campaign has ended.")
@click.option("--all", "show_all", is_flag=True, help="Every alloy, not only those that failed.")
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table", show_default=True)
@user_errors()
def cmd_status(name: str | None, follow: bool, show_all: bool, output_format: str) -> None:
    """Progress, rate and expected end of the campaign NAME (the newest), and each failure with its remedy.

    Exit code 1 where alloys failed or were stopped.
    """
    from aiida_hardcoat.campaigns.progress import Progress, find_campaign
    from aiida_hardcoat.cli.campaign_text import follow_campaign, show_status
    from aiida_hardcoat.cli.profile import use_profile

    use_profile()
    progress = Progress(find_campaign(name))
    if follow:
        follow_campaign(progress)
    progress.look()
    show_status(progress, output_format, show_all=show_all)
    counts = progress.counts()
    if counts["failed"] or counts["stopped"]:
        raise SystemExit(1)


@cmd_campaign.command("retry")
@click.argument("name", required=False)
@click.option("--submit", is_flag=True, help="Hand the campaign to the daemon instead of waiting for it.")
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table", show_default=True)
@user_errors()
def cmd_retry(name: str | None, submit: bool, output_format: str) -> None:
    """Run again those alloys of the campaign NAME (the newest) that failed, and what was stopped."""
    from aiida_hardcoat.campaigns.progress import Progress, find_campaign
    from aiida_hardcoat.cli.profile import require_disk_space, use_profile
    from aiida_hardcoat.cli.run import work_folders

    profile = use_profile()
    campaign = find_campaign(name)
    progress = Progress(campaign)
    progress.look()
    counts = progress.counts()
    if not counts["failed"] + counts["stopped"] + counts["waiting"]:
        raise InputError(f"nothing of the campaign {campaign.label} failed or was stopped")
    refuse_second(campaign.label)
    builder: Any = campaign.get_builder_restart()
    builder.retry = True
    require_disk_space(*work_folders(builder.code))
    begin(builder, profile, output_format, submitted=submit)


def campaign_builder(campaign: Campaign, code: AbstractCode, choices: dict[str, Any]) -> Any:
    """The campaign as AiiDA runs it."""
    from aiida_hardcoat.engines.options import check_options
    from aiida_hardcoat.workflows.campaign import CampaignWorkChain

    check_options(campaign.options)
    builder: Any = CampaignWorkChain.get_builder_from_protocol(
        code, campaign.alloys, campaign.protocol, campaign.overrides, campaign.options, engine=campaign.engine
    )
    builder.catalogue = campaign.catalogue
    builder.jobs_at_once = choices["jobs"] or campaign.jobs_at_once
    asked = choices["alloys"] or campaign.alloys_at_once
    builder.alloys_at_once = asked or default_alloys_at_once(code, builder.alloys[0]["sqs"]["atoms"])
    builder.metadata.label = campaign.name
    builder.metadata.description = campaign.description
    return builder


def default_alloys_at_once(code: AbstractCode, atoms: int) -> int:
    """Without a queue one large cell, whose job uses several cores, or a small one for each core."""
    from aiida_hardcoat.engines.ase_driver.driver import SMALL_CELL
    from aiida_hardcoat.engines.codes import has_queue

    if code.computer is None or has_queue(code.computer):
        return IN_A_QUEUE
    return 1 if atoms >= SMALL_CELL else os.cpu_count() or 1


def refuse_second(name: str) -> None:
    """One campaign of a name at a time; others may share its alloys.

    :raises InputError: where it goes on already.
    """
    from aiida_hardcoat.campaigns.progress import find_campaign, life_of

    try:
        campaign = find_campaign(name)
    except InputError:
        return
    life = life_of(campaign)
    if life.startswith("running"):
        raise InputError(
            f"the campaign {name} is {life} ({campaign.pk}): `hardcoat campaign status {name} --follow` shows it,"
            f" `verdi process kill {campaign.pk}` ends one of the daemon"
        )


def begin(builder: Any, profile: Profile, output_format: str, *, submitted: bool) -> None:
    """Run the campaign here, or hand it to the daemon; show how it ended."""
    from aiida_hardcoat.campaigns.progress import Progress
    from aiida_hardcoat.cli.campaign_text import follow_here, show_status
    from aiida_hardcoat.cli.run import INTERRUPTED, submit

    if submitted:
        check_slots(profile, int(builder.alloys_at_once), int(builder.jobs_at_once))
        submit(builder, profile)
        return
    node = follow_here(builder)
    progress = Progress(node)
    progress.look()
    show_status(progress, output_format)
    if node.is_killed:
        click.echo("Error: the campaign was interrupted: the same command goes on from what is finished", err=True)
        raise SystemExit(INTERRUPTED)
    if not node.is_finished_ok:
        raise SystemExit(1)


def check_slots(profile: Profile, alloys: int, jobs: int) -> None:
    """A daemon all of whose slots are taken by processes that wait for others would wait for ever.

    :raises InputError: where the campaign may need more than there are.
    """
    from aiida.engine.daemon.client import get_daemon_client
    from aiida.manage import get_config

    client = get_daemon_client()
    if profile.process_control_backend is None or not client.is_daemon_running:
        return  # which `submit` tells
    slots_of_worker = get_config().get_option("daemon.worker_process_slots", scope=profile.name)
    slots = client.get_number_of_workers() * int(slots_of_worker)
    needed = 1 + alloys * PROCESSES_OF_AN_ALLOY + max(jobs, alloys)
    if needed > slots:
        raise InputError(
            f"{alloys} alloys at once need {needed} places in the daemon, which has {slots}: `verdi daemon incr`, or"
            " fewer with --alloys"
        )


def show_plan(builder: Any, output_format: str) -> None:
    """The alloys in their order with what is known of them; nothing is stored."""
    from aiida_hardcoat.workflows.campaign import digests_of, label_of
    from aiida_hardcoat.workflows.known_runs import WAITING, known_runs, mark_runs

    mark_runs()
    alloys, digests = builder.alloys.get_list(), digests_of(builder)
    known = known_runs(digests)
    rows = [
        {"alloy": label_of(alloy), "atoms": alloy["sqs"]["atoms"], "state": known.get(digest, (WAITING,))[0]}
        for alloy, digest in zip(alloys, digests, strict=True)
    ]
    if output_format == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{row['alloy']:36s}{row['atoms']:5d} atoms  {row['state']}")
    to_do = sum(row["state"] != "finished" for row in rows)
    at_once = f"{builder.alloys_at_once} at a time" + (f", {builder.jobs_at_once} jobs" if builder.jobs_at_once else "")
    click.echo(f"{len(rows)} alloys, {to_do} to compute with {builder.engine.value}, {at_once}")
