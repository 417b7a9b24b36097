"""How long a job may compute: its walltime, and the signals that tell it to end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

STARTED = time.time()
LARGEST_MARGIN = 60.0
"""Seconds that are left for the scheduler and the files at the end of a long walltime; a twentieth of a short one."""

WALLTIME, INTERRUPTED = "walltime", "interrupted"


class Stopped(BaseException):
    """Leave the computation, keeping the state. No error, so that nothing on the way takes it for one."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class Limits:
    """Raises :class:`Stopped` in good time before the walltime ends, and when a signal asks for it.

    :param walltime: seconds from the start of the process; Slurm's own end of the job counts where it is earlier.
    """

    def __init__(self, walltime: float | None = None):
        ends = [] if walltime is None else [STARTED + walltime]
        if os.environ.get("SLURM_JOB_END_TIME", "").isdigit():
            ends.append(float(os.environ["SLURM_JOB_END_TIME"]))
        self.end = min(ends, default=None)
        self.margin = min(LARGEST_MARGIN, (self.end - STARTED) / 20) if self.end is not None else 0.0
        self.longest = 0.0  # seconds of an evaluation
        self.told: str | None = None
        self.evaluating = False

    @contextmanager
    def obeying_signals(self) -> Iterator[None]:
        """SIGTERM comes before SIGKILL where a job is cancelled, SIGUSR1 where Slurm was told to announce the end."""
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
        handlers = {number: signal.signal(number, self.interrupt) for number in numbers}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def interrupt(self, number: int, _: object) -> None:
        self.told = WALLTIME if number == signal.SIGUSR1 else INTERRUPTED
        if self.evaluating:  # elsewhere a file may be half written
            raise Stopped(self.told)

    def check(self) -> None:
        """:raises Stopped: where no further evaluation should begin."""
        if self.told is not None:
            raise Stopped(self.told)
        if self.end is not None and time.time() + self.margin + 2 * self.longest > self.end:
            raise Stopped(WALLTIME)

    def evaluate(self, calculate, *args, **kwargs):
        """Call ``calculate``, unless the job has to end."""
        self.check()
        started = time.time()
        self.evaluating = True
        try:
            return calculate(*args, **kwargs)
        finally:
            self.evaluating = False
            self.longest = max(self.longest, time.time() - started)
