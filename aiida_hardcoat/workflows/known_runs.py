"""Runs of alloys that the profile knows: whether one is finished, goes on, failed, or was stopped.

Two runs are of the same alloy if everything that decides their result is equal: the search for the structure, the
relaxation, the strains, the engine and its model, the choice of ions. The computer, the code and the options of the
jobs are not part of it. A digest of it all is an extra of each run, by which it is found.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from aiida import orm
from aiida.common.exceptions import NotExistentKeyError
from aiida.manage import get_config, get_manager
from plumpy import ProcessState

ALLOY = "hardcoat_alloy"
"""Extra of a run: the digest of its alloy."""
RUNNER = "hardcoat_runner"
"""Extra of a run without a daemon: the process of the operating system that it lives in."""

FINISHED, RUNNING, FAILED, STOPPED, WAITING = "finished", "running", "failed", "stopped", "waiting"
"""States of an alloy. A failure has an exit code; what was killed, broke off, or lost its process was stopped."""

ORDER = (FINISHED, RUNNING)
"""Of several runs of an alloy the first of these counts, else the newest."""


def alloy_digest(
    sqs: dict[str, Any], relaxation: dict[str, Any], strains: dict[str, Any], engine: str, ions: str
) -> str:
    """SHA-256 of what decides the result of a run, alike whichever database the settings went through."""
    contents = {"sqs": sqs, "relaxation": relaxation, "strains": strains, "engine": engine, "ions": ions}
    return hashlib.sha256(json.dumps(plain(contents), sort_keys=True).encode()).hexdigest()


def plain(value: Any) -> Any:
    """Numbers as text of twelve digits, so that 1, 1.0 and the last bits of a database do not matter."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{value:.12g}"
    return value


def digest_of(run: orm.WorkChainNode) -> str:
    inputs = run.inputs
    sqs, relaxation, strains = (inputs[name].get_dict() for name in ("sqs", "relaxation", "strains"))
    return alloy_digest(sqs, relaxation, strains, inputs.engine.value, inputs.ions.value)


def alloy_runs(filters: dict[str, Any], project: list[str]) -> list[list[Any]]:
    """Rows of the runs of alloys that fit, the newest first."""
    workchains = {"process_type": "aiida.workflows:hardcoat.alloy", **filters}
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters=workchains, project=project, tag="run")
    rows: list[list[Any]] = query.order_by({"run": {"id": "desc"}}).all()
    return rows


def mark_runs() -> None:
    """Give the runs of an import, or of an older version, their extra."""
    for (run,) in alloy_runs({"extras": {"!has_key": ALLOY}}, ["*"]):
        with suppress(NotExistentKeyError, KeyError, AttributeError):  # a part of a run, or of another version
            run.base.extras.set(ALLOY, digest_of(run))


def known_runs(digests: Iterable[str]) -> dict[str, tuple[str, orm.WorkChainNode]]:
    """The run that counts and its state, for each of the alloys that was ever run."""
    wanted = sorted(set(digests))
    known: dict[str, tuple[str, orm.WorkChainNode]] = {}
    if not wanted:
        return known
    for run, digest in alloy_runs({f"extras.{ALLOY}": {"in": wanted}}, ["*", f"extras.{ALLOY}"]):
        state = state_of(run)
        if digest not in known or rank(state) < rank(known[digest][0]):
            known[digest] = (state, run)
    return known


def rank(state: str) -> int:
    return ORDER.index(state) if state in ORDER else len(ORDER)


def state_of(run: orm.WorkChainNode) -> str:
    if run.is_finished:
        return FINISHED if run.is_finished_ok else FAILED
    return RUNNING if is_alive(run) else STOPPED


def is_alive(process: orm.ProcessNode) -> bool:
    """Whether a process goes on, now or when the daemon is started again.

    After an outage of the broker two workers may have run one process: it is sealed then, whatever state was written
    last.
    """
    if process.is_terminated or process.is_sealed:
        return False
    root = process
    while root.caller is not None:
        root = root.caller
    runner = root.base.extras.get(RUNNER, None)
    if runner is None:
        return True  # the daemon's: what it has begun it ends
    if runner["host"] != socket.gethostname():
        return False
    try:
        return bool(abs(psutil.Process(runner["pid"]).create_time() - runner["started"]) < 1)
    except psutil.NoSuchProcess:
        return False


def end_lost_runs() -> None:
    """Processes whose interpreter was killed count as killed, too: nothing will ever go on with them."""
    live = {"attributes.process_state": {"in": ["created", "running", "waiting"]}}
    lost = {**live, f"extras.{RUNNER}.host": socket.gethostname()}
    for (root,) in orm.QueryBuilder().append(orm.WorkChainNode, filters=lost).all():
        if is_alive(root):
            continue
        for process in (*root.called_descendants, root):
            if not process.is_terminated and not process.is_sealed:
                process.set_process_state(ProcessState.KILLED)
                process.set_process_status("Killed with the interpreter that it ran in")
                process.delete_checkpoint()
                process.seal()


def this_process() -> dict[str, Any]:
    """What :data:`RUNNER` holds."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Between looking for a run and beginning one, no other process of this profile may begin it.

    All processes of a profile, the daemon's workers included, live on the machine that holds its configuration.
    """
    profile = get_manager().get_profile()
    assert profile is not None
    path = Path(get_config().dirpath) / f"hardcoat-{profile.uuid}.lock"
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
