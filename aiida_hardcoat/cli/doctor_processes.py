"""The daemon, its workers, and processes that do not go on."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aiida_hardcoat.cli.doctor_findings import Finding, finding

if TYPE_CHECKING:
    from aiida.manage.configuration import Profile

QUIET = timedelta(minutes=15)
"""A process that waits for nothing and gave no sign of life for so long is stuck. AiiDA's own retries last less."""
NEARLY_FULL = 0.9
REPAIR = "verdi{profile} daemon stop; verdi{profile} process repair; verdi{profile} daemon start"


def check_daemon(profile: Profile) -> list[Finding]:
    """Whether it runs, and whether its workers have room for what is submitted."""
    if profile.process_control_backend is None:
        detail = "the profile has no broker: runs wait in the terminal"
        return [finding("daemon", False, detail, needed=False)]
    active = count_active()
    if not daemon_runs(profile):
        waiting = f"; {active} processes wait for it" if active else ": only --submit needs it"
        return [finding("daemon", False, f"stopped{waiting}", "verdi daemon start", needed=False)]
    return [finding("daemon", True, "running"), check_workers(profile, active)]


def check_workers(profile: Profile, active: int) -> Finding:
    from aiida.engine.daemon.client import DaemonException, get_daemon_client
    from aiida.manage import get_config

    try:
        workers = get_daemon_client().get_number_of_workers()
    except DaemonException as error:
        return finding("workers", False, f"the daemon does not answer: {error}", "verdi daemon restart", word="STUCK")
    slots = get_config().get_option("daemon.worker_process_slots", scope=profile.name)
    detail = f"{workers} with room for {slots} processes each, {active} of {workers * slots} taken"
    if workers == 0:
        return finding("workers", False, detail, "verdi daemon incr")
    if active > NEARLY_FULL * workers * slots:
        more = "waiting workchains fill it and what they wait for never starts"
        return finding("workers", False, f"{detail}: {more}", "verdi daemon incr", needed=False, word="full")
    return finding("workers", True, detail)


def check_processes(profile: Profile) -> list[Finding]:
    """Processes that are paused, or stuck."""
    option = f" -p {profile.name}"
    paused = pks(paused=True)
    stuck = pks_of_stuck(QUIET) if daemon_runs(profile) else []  # without a daemon all of them wait
    rows = []
    if paused:
        detail = f"{len(paused)} paused after too many failures, e.g. {paused[0]} (`verdi process report {paused[0]}`)"
        mend = f"mend what it tells, then verdi{option} process play --all"
        rows.append(finding("processes", False, detail, mend, needed=False, word="paused"))
    if stuck:
        minutes = int(QUIET.total_seconds() // 60)
        detail = f"{len(stuck)} without a sign of life for {minutes} minutes, e.g. {stuck[0]}"
        rows.append(finding("processes", False, detail, REPAIR.format(profile=option), needed=False, word="stuck"))
    return rows or [finding("processes", True, f"{count_active()} active, none paused or stuck")]


ACTIVE = {"attributes.process_state": {"in": ["created", "waiting", "running"]}}


def count_active() -> int:
    return len(pks())


def pks(**attributes: Any) -> list[int]:
    """Active processes with these attributes."""
    from aiida.orm import ProcessNode, QueryBuilder

    filters = ACTIVE | {f"attributes.{name}": value for name, value in attributes.items()}
    found: list[int] = QueryBuilder().append(ProcessNode, filters=filters, project="id").all(flat=True)
    return sorted(found)


def pks_of_stuck(quiet: timedelta) -> list[int]:
    """Active processes, not paused, that call no active one and were not touched for so long.

    A job that waits in a queue is touched whenever the queue is asked.
    """
    from aiida.common import timezone
    from aiida.orm import ProcessNode, QueryBuilder

    query = QueryBuilder().append(ProcessNode, filters=ACTIVE, tag="caller", project="id")
    callers = set(query.append(ProcessNode, filters=ACTIVE, with_incoming="caller").all(flat=True))
    old = ACTIVE | {"mtime": {"<": timezone.now() - quiet}}
    silent = QueryBuilder().append(ProcessNode, filters=old, project="id").all(flat=True)
    return sorted(set(silent) - callers - set(pks(paused=True)))


def daemon_runs(profile: Profile) -> bool:
    from aiida.engine.daemon.client import get_daemon_client

    return profile.process_control_backend is not None and get_daemon_client().is_daemon_running
