"""What a campaign looks like in a terminal, and in a log."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from aiida.engine import ProcessBuilder
    from aiida.orm import ProcessNode

    from aiida_hardcoat.campaigns.progress import Progress

LOOK_SECONDS = 2.0
"""Between two looks at the database."""


def show_status(progress: Progress, output_format: str, *, show_all: bool = False) -> None:
    """Counts, rate and expected end; then what failed, each with its remedy."""
    from aiida_hardcoat.campaigns.progress import summary

    status = summary(progress)
    if output_format == "json":
        click.echo(json.dumps(status, indent=2))
        return
    click.echo(f"campaign {status['name']} ({status['pk']}), {status['engine']}: {status['state']}")
    found = sum(row["found"] for row in status["rows"])
    click.echo(
        f"{counted(status['counts'])} of {status['alloys']}" + (f"; {found} finished before it" if found else "")
    )
    if status["per_hour"] is not None:
        click.echo(f"{status['per_hour']:.1f} an hour{ending(progress)}")
    unlearned = [row["run"] for row in status["rows"] if row["state"] == "finished" and row["prediction"] is None]
    if unlearned:
        click.echo(f"{len(unlearned)} without learned moduli: `verdi process report {unlearned[0]}` says why")
    for row in status["rows"]:
        if show_all or row["state"] in ("failed", "stopped"):
            click.echo(line_of(row))


def counted(counts: dict[str, int]) -> str:
    """``57 finished, 4 running, 3 failed``: the states that there are."""
    return ", ".join(f"{number} {state}" for state, number in counts.items() if number) or "nothing"


def ending(progress: Progress) -> str:
    from aiida.common import timezone

    ends = progress.ends(timezone.now())
    return "" if ends is None else f", ends about {clock(ends)}"


def clock(moment: datetime) -> str:
    """The hour; the day too where it is another."""
    local = moment.astimezone()
    return local.strftime("%H:%M" if local.date() == datetime.now().date() else "%a %d %b %H:%M")


def line_of(row: dict[str, Any]) -> str:
    line = f"  {row['alloy']:36s}{row['state']}"
    if row["entry"] is not None:
        return f"{line}, entry {row['entry']}" + (" (before)" if row["found"] else "")
    if row["message"] is None:
        return line + (f", run {row['run']}" if row["run"] else "")
    code = f" [{row['exit_code']}]" if row["exit_code"] else ""
    run = f", run {row['run']}" if row["run"] else ""
    return f"{line}{code}{run}: {row['message']}\n{'':4s}-> {row['remedy']}"


class Display:
    """A line for each alloy that has ended; in a terminal a bar below them."""

    def __init__(self, progress: Progress):
        from tqdm import tqdm

        self.progress = progress
        self.shown = dict.fromkeys(progress.digests, "waiting")
        live = sys.stderr.isatty()
        self.bar = tqdm(total=len(progress.digests), disable=None if live else True, unit="alloy", dynamic_ncols=True)
        self.looked = 0.0

    def look(self) -> None:
        """Look at the database, not too often, and show what has changed."""
        if time.monotonic() - self.looked < LOOK_SECONDS:
            return
        self.progress.look()
        self.show()
        self.looked = time.monotonic()

    def show(self) -> None:
        for label, digest in zip(self.progress.labels, self.progress.digests, strict=True):
            state = self.progress.state(digest)
            if self.shown[digest] != state:
                self.shown[digest] = state
                self.tell(self.progress.row(label, digest))
        counts = self.progress.counts()
        self.bar.n = counts["finished"] + counts["failed"]
        self.bar.set_postfix_str(f"{counted(counts)}{ending(self.progress)}")

    def tell(self, row: dict[str, Any]) -> None:
        counts = self.progress.counts()
        done = f"[{counts['finished']}/{len(self.progress.digests)}]"
        if row["state"] == "running":
            text = f"started, run {row['run']}"
        elif row["state"] == "finished" and row["found"]:
            return  # counted, not listed
        elif row["state"] == "finished":
            text = f"finished after {row['seconds']:.0f} s{ending(self.progress)}"
        else:
            text = f"{row['state']}: {row['message']}"
        self.bar.write(f"  {done} {row['alloy']}: {text}", file=sys.stderr)

    def close(self) -> None:
        self.bar.close()


def follow_here(builder: ProcessBuilder) -> ProcessNode:
    """Run the campaign in this process and show its progress."""
    from aiida_hardcoat.campaigns.progress import Progress
    from aiida_hardcoat.learned import load_ensemble
    from aiida_hardcoat.workflows.campaign import CampaignWorkChain
    from aiida_hardcoat.workflows.launch import run

    displays: list[Display] = []

    def look(processes: list[Any]) -> None:
        if not displays:
            campaign = next((one for one in processes if isinstance(one, CampaignWorkChain)), None)
            if campaign is None:
                return
            displays.append(Display(Progress(campaign.node)))
        displays[0].look()

    def report(line: str) -> None:
        click.echo(f"  {line}", err=True)

    node = run(builder, report, load_ensemble, look)
    for display in displays:
        display.progress.look()
        display.show()
        display.close()
    return node


def follow_campaign(progress: Progress, sleep: Callable[[float], None] = time.sleep) -> None:
    """Show the progress of a campaign that runs elsewhere until it has ended; an interrupt only ends the showing."""
    from aiida_hardcoat.campaigns.progress import life_of

    display = Display(progress)
    try:
        while life_of(progress.campaign).startswith("running"):
            display.look()
            sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        click.echo("  the campaign goes on", err=True)
    finally:
        display.close()
