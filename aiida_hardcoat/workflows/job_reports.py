"""What a run says of its jobs: the lines that they write, or that they have started and ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import CalcJob, Process

from aiida_hardcoat.calculations.ase import OUTPUT, AseCalculation
from aiida_hardcoat.engines.ase_driver import COMPLETION_MARK

Look = Callable[[list[Process]], object]
"""Called every second or so with the processes that have not terminated, or have just done so."""
STARTED, ENDED = -1, -2


def job_reporter(report: Callable[[str], None]) -> Look:
    """Report what the running jobs write to their output, as long as it lies on this machine."""
    read: dict[str, int] = {}

    def look(processes: list[Process]) -> None:
        for process in processes:
            if isinstance(process, AseCalculation):
                report_new_lines(process.node, read, report)
            elif isinstance(process, CalcJob):
                report_state(process.node, read, report)

    return look


def report_new_lines(node: orm.CalcJobNode, read: dict[str, int], report: Callable[[str], None]) -> None:
    if node.base.caching.is_created_from_cache:
        report_state(node, read, report)
        return
    workdir = node.get_remote_workdir()
    if workdir is None or node.computer is None or node.computer.transport_type != "core.local":
        return
    path = Path(workdir) / OUTPUT
    if not path.is_file():
        return
    with path.open("rb") as handle:
        handle.seek(read.get(node.uuid, 0))
        text = handle.read()
    complete, _, _ = text.rpartition(b"\n")
    if complete:
        read[node.uuid] = read.get(node.uuid, 0) + len(complete) + 1
        for line in complete.decode("utf8", "replace").splitlines():
            if line != COMPLETION_MARK:
                report(line)


def report_state(node: orm.CalcJobNode, read: dict[str, int], report: Callable[[str], None]) -> None:
    """One line when a job starts and one when it has ended, with the name that its workchain gave it."""
    state = ENDED if node.is_terminated else STARTED
    if read.get(node.uuid) == state:
        return
    name = f"{node.process_label} {node.pk}, {purpose(node)}"
    if node.base.caching.is_created_from_cache:
        if state == ENDED:
            report(f"{name}: finished before, taken from the cache")
    elif state == STARTED:
        report(f"{name}: started")
    else:
        seconds = (node.mtime - node.ctime).total_seconds()
        outcome = "finished" if node.is_finished_ok else f"ended with [{node.exit_status}] {node.exit_message}"
        report(f"{name}: {outcome} after {seconds:.0f} s")
    read[node.uuid] = state


def purpose(node: orm.ProcessNode) -> str:
    """What a job is for: the labels by which its callers call each other, without AiiDA's own."""
    labels: list[str] = []
    process: orm.Node | None = node
    while process is not None:
        callers = process.base.links.get_incoming(link_type=(LinkType.CALL_CALC, LinkType.CALL_WORK)).all()
        if callers and callers[0].link_label != "CALL":
            labels.append(callers[0].link_label)
        process = callers[0].node if callers else None
    return " ".join(reversed(labels)).replace("_", " ") or "job"
