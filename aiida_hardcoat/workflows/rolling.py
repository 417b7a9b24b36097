"""A workchain that keeps a number of processes going instead of waiting for all of a batch."""

from __future__ import annotations

from typing import cast

from aiida import orm
from aiida.engine import WorkChain
from aiida.engine.processes.workchains.awaitable import Awaitable
from plumpy import ProcessState

AWAITED = "awaited_"
"""Before the index of a process, its name in the context."""


class RollingWorkChain(WorkChain):
    """Goes on with its outline as soon as the first of the processes that it awaits has ended.

    AiiDA's own workchain goes on when all have. The outline of a subclass repeats two steps: one submits processes
    until so many are running and calls :meth:`await_first`, the other deals with those of :meth:`take_ended`. What is
    running is kept in the context as a dict of process pks by index.
    """

    def await_first(self, running: dict[int, int]) -> None:
        """Let the next step begin when one of these has ended."""
        for key in [key for key in self.ctx if key.startswith(AWAITED)]:
            del self.ctx[key]  # AiiDA keeps what has ended, and each checkpoint would hold it
        for index, pk in running.items():
            process = cast(orm.ProcessNode, orm.load_node(pk))
            if not process.is_terminated:
                self.to_context(**{f"{AWAITED}{index}": process})

    def take_ended(self, running: dict[int, int]) -> dict[int, orm.ProcessNode]:
        """Remove those that have ended, and return them."""
        processes = {index: cast(orm.ProcessNode, orm.load_node(pk)) for index, pk in running.items()}
        ended = {index: process for index, process in processes.items() if process.is_terminated}
        for index in ended:
            del running[index]
        return ended

    def _on_awaitable_finished(self, awaitable: Awaitable) -> None:
        # What was awaited in an earlier step, and is awaited anew, calls once for each time.
        if not any(awaited is awaitable for awaited in self._awaitables):
            return
        super()._on_awaitable_finished(awaitable)
        if self._awaitables and self.state == ProcessState.WAITING:
            self.resume()
