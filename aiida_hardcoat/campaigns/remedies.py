"""What to do about a run that failed, in one line."""

from __future__ import annotations

from typing import cast

from aiida import orm
from aiida.common.links import LinkType

COMMON = {
    11: "an output is missing, as where a daemon worker was killed at a bad moment: retry",
    100: "nothing came back from where the job ran: look there for what stopped it, then retry",
    110: "take a smaller cell or model, or ask for more memory with options: {max_memory_kb: ...}, then retry",
    120: "raise max_wallclock_seconds of the campaign's options, then retry: it goes on from what is finished",
    140: "a compute node failed: retry",
}
"""Remedies by the exit codes that AiiDA reserves for its own troubles and for what schedulers say."""

ASE = {
    302: "check with `hardcoat doctor` that the code's Python is still there, then retry",
    303: "find out what kills the jobs, then retry: it goes on from what is finished",
    304: "check the file system where the jobs run, then retry",
    305: "check that the model was trained for these elements; another engine may do",
    310: COMMON[110],
    311: "install the package that is named where the jobs run, then retry",
    312: "read what the calculator says; check engine_settings.model_options",
    313: "free some space where the jobs run, then retry",
    400: "raise max_steps or allow a looser force threshold in the overrides",
    401: "look at the structure; another seed, a larger cell or another model may do",
}


def innermost_failure(run: orm.ProcessNode) -> orm.ProcessNode:
    """The process with which a failure began: of those that a failed process called, the last that failed."""
    called = run.base.links.get_outgoing(link_type=(LinkType.CALL_CALC, LinkType.CALL_WORK)).all()
    processes = sorted((cast(orm.ProcessNode, link.node) for link in called), key=lambda node: cast(int, node.pk))
    failed = [process for process in processes if process.is_terminated and not process.is_finished_ok]
    return innermost_failure(failed[-1]) if failed else run


def remedy_of(run: orm.ProcessNode) -> str:
    """How to go on after a run that did not finish."""
    failure = innermost_failure(run)
    if failure.is_killed:
        return "it was killed: retry"
    if failure.is_excepted:
        return f"it broke off: `verdi process report {failure.pk}` tells why; retry once that is mended"
    status = failure.exit_status or 0
    if status in COMMON:
        return COMMON[status]
    if failure.process_label in ("AseCalculation", "AseWorkChain") and status in ASE:
        return ASE[status]
    if "Vasp" in (failure.process_label or "") and failure.exit_message:
        return "do as the message says, then retry"  # each message of a VASP job is advice
    return f"`verdi process report {failure.pk}` tells what was tried; change the overrides or options, then retry"
