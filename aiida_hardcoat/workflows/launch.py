"""Run a workchain in this process, with progress, and stop it cleanly."""

from __future__ import annotations

import asyncio
import errno
import gc
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import CalcJob, Process, ProcessBuilder
from aiida.engine.daemon.execmanager import kill_calculation
from aiida.engine.runners import Runner
from aiida.engine.utils import instantiate_process
from aiida.manage import get_config, get_manager
from aiida.manage.caching import enable_caching

from aiida_hardcoat.calculations.ase import OUTPUT, AseCalculation
from aiida_hardcoat.engines import load_engine
from aiida_hardcoat.engines.ase_driver import COMPLETION_MARK
from aiida_hardcoat.workflows.known_runs import RUNNER, end_lost_runs, this_process

CACHED = (
    "aiida.calculations:hardcoat.*",
    "aiida_hardcoat.calculations.sqs.generate_sqs",
    "aiida_hardcoat.calculations.elastic.reduce_strains",
    "aiida_hardcoat.calculations.elastic.elastic_entry",
    "aiida_hardcoat.calculations.ase_parts.split_strains",
    "aiida_hardcoat.calculations.ase_parts.merge_parts",
    "aiida_hardcoat.calculations.dft.sorted_structure",
    "aiida_hardcoat.calculations.dft.relaxed_parent",
    "aiida_hardcoat.calculations.dft.strained_structures",
)
"""Process types whose finished results are used again; an engine adds those of its own plugin."""

MANY = 25
"""Processes that have ended between two collections of garbage. Each commit of AiiDA's costs time for every node in
memory, and the nodes of a process stay there, in cycles, until they are collected."""
POLL_SECONDS = 1.0
CHILD_POLL_SECONDS = 0.2
"""How soon a workchain sees that its child has ended; a deep chain waits so long at each of its levels."""
NEARLY_FULL = 50 * 2**20
"""Bytes left on the disk of the profile below which a run ends while it can still store what it has."""
FULL = 2**20
"""Bytes below which nothing can be stored: AiiDA's processes would wait for ever."""


@contextmanager
def caching(more: tuple[str, ...] = ()) -> Iterator[None]:
    """AiiDA's caching for this package's processes: what is finished is never computed twice."""
    with ExitStack() as stack:
        for identifier in (*CACHED, *more):
            stack.enter_context(enable_caching(identifier=identifier))
        yield


Look = Callable[[list[Process]], object]
"""Called every second or so with the processes that have not terminated, or have just done so."""


def run(
    builder: ProcessBuilder,
    report: Callable[[str], None],
    meanwhile: Callable[[], object] = lambda: None,
    look: Look | None = None,
) -> orm.ProcessNode:
    """Run to the end and return the node; an interrupt kills the running jobs and ends the run in order.

    :param report: called with each new line of progress.
    :param look: follows the processes; by default it reports what the jobs write to their output.
    :param meanwhile: preparations for later, called in a thread of their own while the first job runs; what they raise
        is for whoever needs them to find out.
    :raises OSError: when the disk of the profile is full.
    """
    end_lost_runs()
    # No communicator: a broker runs only where a daemon does, and this run needs neither.
    runner = get_manager().create_runner(communicator=None, poll_interval=CHILD_POLL_SECONDS)
    processes: list[Process] = []

    def remember(process: Any, **inputs: Any) -> Process:
        processes.append(instantiate_process(runner, process, **inputs))
        return processes[-1]

    ask_again_and_again = runner.call_on_process_finish

    def call_when_terminated(pk: int, callback: Callable[[], object]) -> None:
        running = [process for process in processes if process.pid == pk and not process.has_terminated()]
        if running:
            running[0].future().add_done_callback(lambda _: ask_again_and_again(pk, callback))
        else:
            ask_again_and_again(pk, callback)

    interrupts = iter((stop, kill_all))

    def end() -> None:
        report("interrupted: keeping what the running job has finished (once more to drop it)")
        next(interrupts, kill_all)(processes)

    # Children of a process without a daemon can only be reached through the objects in this interpreter.
    runner.instantiate_process = remember  # type: ignore[method-assign]
    # Nor need the database be asked whether they have ended, several times a second at each level of the workflow.
    runner.call_on_process_finish = call_when_terminated  # type: ignore[method-assign]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in handlers:
        # The loop's own handler is told of a signal whatever AiiDA's calcfunctions do: each puts its handler in place
        # and then what was there before, which is wrong where two of them overlap.
        runner.loop.add_signal_handler(number, end)
    try:
        with (
            rare_garbage_collection(),
            caching(load_engine(builder["engine"].value)[0].cached() if "engine" in builder else ()),
        ):
            root = runner.instantiate_process(builder)
            root.node.base.extras.set(RUNNER, this_process())
            watcher = runner.loop.create_task(watch(processes, report, meanwhile, look or job_reporter(report)))
            stepping = runner.loop.create_task(root.step_until_terminated())
            wait(runner, [stepping, watcher], return_when=asyncio.FIRST_COMPLETED)
            if watcher.done():
                watcher.result()  # raises: a watcher never ends by itself
            leftover = [process.future() for process in processes if not process.has_terminated()]
            if leftover:
                wait(runner, leftover, timeout=60)
            watcher.cancel()
            wait(runner, [watcher])
    finally:
        for number, handler in handlers.items():
            runner.loop.remove_signal_handler(number)
            signal.signal(number, handler)
        del runner.instantiate_process, runner.call_on_process_finish
    return root.node


@contextmanager
def rare_garbage_collection() -> Iterator[None]:
    """AiiDA's processes make many objects that live on; looking through all of them again and again cost a tenth of
    its time. :func:`watch` has those that are dead collected, apart from all that was there before."""
    thresholds = gc.get_threshold()
    gc.set_threshold(100_000, 20, 100)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)


def wait(runner: Runner, futures: list[asyncio.Future], **how: Any) -> None:
    runner.run_until_complete(asyncio.ensure_future(asyncio.wait(futures, **how), loop=runner.loop))


def stop(processes: list[Process]) -> None:
    """End the jobs but parse what they wrote, which the next run goes on from; kill everything else."""
    for process in reversed(processes):
        if process.has_terminated():
            continue
        if isinstance(process, CalcJob) and process.node.get_job_id() is not None:
            asyncio.get_event_loop().create_task(end_job(process))
        else:
            process.kill(msg_text="Killed by an interrupt")


async def end_job(process: CalcJob) -> None:
    """Kill the job through its scheduler; AiiDA then retrieves and parses it like any job that has ended."""
    authinfo = process.node.get_authinfo()
    async with process.runner.transport.request_transport(authinfo) as request:
        kill_calculation(process.node, await request)


def kill_all(processes: list[Process]) -> None:
    """Kill what has not terminated, children first."""
    for process in reversed(processes):
        if not process.has_terminated():
            process.kill(msg_text="Killed by an interrupt")


async def watch(
    processes: list[Process], report: Callable[[str], None], meanwhile: Callable[[], object], look: Look
) -> None:
    """Follow the running processes; mind the disk."""
    preparing: asyncio.Future | None = None
    storage = Path(get_config().dirpath)
    stopping = False
    dead = 0
    while True:
        free = shutil.disk_usage(storage).free
        if free < FULL:
            raise OSError(errno.ENOSPC, f"no space left on the disk of {storage}")
        if free < NEARLY_FULL and not stopping:
            report("the disk is nearly full: ending the run while it can be stored")
            stopping = True
            stop(processes)
        if preparing is None and any(isinstance(one, CalcJob) and one.node.get_job_id() for one in processes):
            preparing = asyncio.ensure_future(asyncio.to_thread(quietly, meanwhile))
        for process in processes:
            if process.paused and not process.has_terminated():
                # AiiDA pauses a job whose computer it could not reach or write to, and here nobody could make it play
                # again. By force, because an orderly end would need the computer.
                report(f"{process.node.process_label} {process.node.pk} was given up: {process.node.process_status}")
                process.kill(msg_text="Killed after AiiDA had paused it", force_kill=True)
        ended = [process for process in processes if process.has_terminated()]
        look(processes)
        for process in ended:  # a campaign has thousands
            processes.remove(process)
        dead += len(ended)
        if dead >= MANY:
            gc.collect()
            dead = 0
        await asyncio.sleep(POLL_SECONDS)


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


def quietly(prepare: Callable[[], object]) -> None:
    with suppress(Exception):
        prepare()


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


STARTED, ENDED = -1, -2


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
