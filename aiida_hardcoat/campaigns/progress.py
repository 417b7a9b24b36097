"""How far a campaign has come: the state of each alloy, rate and expected end, from the stored processes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from aiida import orm
from aiida.common import timezone

from aiida_hardcoat.campaigns.remedies import innermost_failure, remedy_of
from aiida_hardcoat.catalogue.predictions import predictions_of
from aiida_hardcoat.errors import InputError, nearest
from aiida_hardcoat.workflows.campaign import digests_of, label_of
from aiida_hardcoat.workflows.known_runs import (
    FAILED,
    FINISHED,
    RUNNER,
    RUNNING,
    STOPPED,
    WAITING,
    is_alive,
    known_runs,
)

STATES = (FINISHED, RUNNING, FAILED, STOPPED, WAITING)


def find_campaign(name: str | None = None) -> orm.WorkChainNode:
    """The newest campaign of that name, of all where none is given.

    :raises InputError: where there is none.
    """
    query = orm.QueryBuilder().append(
        orm.WorkChainNode,
        filters={"process_type": "aiida.workflows:hardcoat.campaign"},
        project=["*", "label"],
    )
    rows = query.order_by({orm.WorkChainNode: {"id": "desc"}}).all()
    if not rows:
        raise InputError("no campaign was run in this profile: `hardcoat campaign FILE.yaml` begins one")
    for node, label in rows:
        if name in (None, label, str(node.pk), node.uuid):
            return node
    names = list(dict.fromkeys(label for _, label in rows))
    raise InputError(f"no campaign '{name}' in this profile: {nearest(str(name), names)}")


def life_of(campaign: orm.ProcessNode) -> str:
    """One word on a campaign, and where it runs."""
    if campaign.is_finished_ok:
        return "finished"
    if campaign.is_finished:
        return "ended with failures"
    if not is_alive(campaign):
        return "stopped"
    runner = campaign.base.extras.get(RUNNER, None)
    if runner is not None:
        return f"running in process {runner['pid']}"
    return "running in the daemon"


class Progress:
    """The alloys of a campaign and what has become of them; an alloy that is finished is not looked up again."""

    def __init__(self, campaign: orm.ProcessNode):
        self.campaign = campaign
        self.labels = [label_of(alloy) for alloy in campaign.inputs.alloys.get_list()]
        self.digests = digests_of(campaign.inputs)
        self.known: dict[str, tuple[str, orm.WorkChainNode]] = {}
        self.computed: set[str] = set()
        """Alloys that were finished since this campaign began."""

    def look(self) -> None:
        """See what has changed."""
        unsettled = [digest for digest in self.digests if self.state(digest) != FINISHED]
        found = known_runs(unsettled)
        self.known.update(found)
        began = self.campaign.ctime  # asked once: each look at a node may be a query
        self.computed |= {digest for digest, (state, run) in found.items() if state == FINISHED and run.ctime >= began}

    def state(self, digest: str) -> str:
        return self.known[digest][0] if digest in self.known else WAITING

    def counts(self) -> dict[str, int]:
        states = [self.state(digest) for digest in self.digests]
        return {state: states.count(state) for state in STATES}

    def per_hour(self, now: datetime) -> float | None:
        """Alloys finished an hour, once there is one."""
        end = self.campaign.mtime if self.campaign.is_terminated else now
        hours = (end - self.campaign.ctime).total_seconds() / 3600
        return len(self.computed) / hours if self.computed and hours > 0 else None

    def ends(self, now: datetime) -> datetime | None:
        """When the last alloy may be finished, if those to come take as long as those that were."""
        rate, counts = self.per_hour(now), self.counts()
        left = counts[RUNNING] + counts[WAITING]
        if rate is None or not left or self.campaign.is_terminated:
            return None
        return now + timedelta(hours=left / rate)

    def rows(self) -> list[dict[str, Any]]:
        """Each alloy with its state, its run, its entry or why there is none."""
        return [self.row(label, digest) for label, digest in zip(self.labels, self.digests, strict=True)]

    def row(self, label: str, digest: str) -> dict[str, Any]:
        state, run = self.known.get(digest, (WAITING, None))
        row: dict[str, Any] = {"alloy": label, "state": state, "run": None, "entry": None, "found": False}
        row |= {"seconds": None, "exit_status": None, "exit_code": None, "message": None, "remedy": None}
        if run is None:
            return row
        row |= {"run": run.pk, "seconds": (run.mtime - run.ctime).total_seconds()}
        if state == FINISHED:
            row |= {"entry": run.outputs.entry.pk, "found": run.ctime < self.campaign.ctime}
        elif state in (FAILED, STOPPED) and run.is_terminated:
            row |= failure_of(run)
        elif state == STOPPED:
            row |= {"message": "its process is gone", "remedy": "give the campaign's command again"}
        return row


def failure_of(run: orm.WorkChainNode) -> dict[str, Any]:
    inner = innermost_failure(run)
    message = run.exit_message or (run.exception or "").strip() or "it was killed"
    return {
        "exit_status": run.exit_status,
        "exit_code": f"{inner.process_label} {inner.exit_status}" if inner.exit_status else None,
        "message": " ".join(message.split()),
        "remedy": remedy_of(run),
    }


def newest(predictions: list[dict[str, Any]]) -> int | None:
    return predictions[-1]["pk"] if predictions else None


def summary(progress: Progress) -> dict[str, Any]:
    """What ``hardcoat campaign status --format json`` prints."""
    now, campaign = timezone.now(), progress.campaign
    ends, rows = progress.ends(now), progress.rows()
    learned = predictions_of([row["entry"] for row in rows if row["entry"] is not None])
    return {
        "name": campaign.label,
        "pk": campaign.pk,
        "state": life_of(campaign),
        "engine": campaign.inputs.engine.value,
        "alloys": len(progress.digests),
        "counts": progress.counts(),
        "per_hour": progress.per_hour(now),
        "ends": ends.isoformat(timespec="minutes") if ends else None,
        "rows": [{**row, "prediction": newest(learned.get(row["entry"], []))} for row in rows],
    }
