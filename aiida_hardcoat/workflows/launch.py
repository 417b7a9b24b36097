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
from aiida.engine import CalcJob, Process, ProcessBuilder
from aiida.engine.daemon.execmanager import kill_calculation
from aiida.engine.runners import Runner
from aiida.manage import get_config, get_manager
from aiida.manage.caching import enable_caching

from aiida_hardcoat.engines import load_engine
from aiida_hardcoat.workflows.job_reports import Look, job_reporter
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

ENDED_BETWEEN_COLLECTIONS = 25
"""Processes, of garbage. Each commit of AiiDA's costs time for every node in memory, and the nodes of a process that
has ended stay there, in cycles, until they are collected."""
POLL_SECONDS = 1.0
CHILD_POLL_SECONDS = 0.2
"""How soon a workchain sees that a process of another run has ended; of its own run it is told."""
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
    runner = LocalRunner()
    processes = runner.processes
    interrupts = iter((stop, kill_all))

    def end() -> None:
        report("interrupted: keeping what the running job has finished (once more to drop it)")
        next(interrupts, kill_all)(processes)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in handlers:
        runner.loop.add_signal_handler(number, end)  # which is called between two steps, never within one
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
    return root.node


class LocalRunner(Runner):
    """A runner without a daemon, which knows its processes: only through these can their children be reached."""

    def __init__(self) -> None:
        # No communicator: a broker runs only where a daemon does, and this run needs neither.
        super().__init__(poll_interval=CHILD_POLL_SECONDS, persister=get_manager().get_persister())
        self.processes: list[Process] = []

    @property
    def is_daemon_runner(self) -> bool:
        """Whether AiiDA's calcfunctions leave signals alone. Their own handler of Ctrl-C writes to the database in the
        middle of whatever is read there; the session can be lost, and with it every node of this run."""
        return True

    def instantiate_process(self, process: Any, **inputs: Any) -> Process:
        self.processes.append(super().instantiate_process(process, **inputs))
        return self.processes[-1]

    def call_on_process_finish(self, pk: int, callback: Callable[[], Any]) -> None:
        """Without asking the database, several times a second at each level of the workflow, as long as it runs."""
        wait_for_it = super().call_on_process_finish
        running = [process for process in self.processes if process.pid == pk and not process.has_terminated()]
        if running:
            running[0].future().add_done_callback(lambda _: wait_for_it(pk, callback))
        else:
            wait_for_it(pk, callback)


@contextmanager
def rare_garbage_collection() -> Iterator[None]:
    """AiiDA's processes make many objects that live on; looking through all of them again and again cost a tenth of
    its time. :func:`watch` has those that are dead collected, apart from all that was there before."""
    thresholds = gc.get_threshold()
    gc.set_threshold(100_000, 20, 100)
    gc.collect()  # what a run before this one has left must not be frozen
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
        if dead >= ENDED_BETWEEN_COLLECTIONS:
            gc.collect()
            dead = 0
        await asyncio.sleep(POLL_SECONDS)


def quietly(prepare: Callable[[], object]) -> None:
    with suppress(Exception):
        prepare()
