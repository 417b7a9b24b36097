"""The pair potential under the eyes of a test: it tells that it starts, waits where it is told to, fails on demand."""

from __future__ import annotations

import os
import time
from pathlib import Path

from calculators import FAULTS, PairPotential

HOLD, HELD, STARTS, FAULT, FAULT_ONCE = "hold", "held.log", "starts.log", "fault", "fault-once"
PATIENCE = 300.0


class Watched(PairPotential):
    """The pair potential; files in ``folder`` say what happens at evaluation ``at``.

    ``hold``: it waits as long as this file is there. ``fault``: the fault of :data:`calculators.FAULTS` that the file
    names; ``fault-once``: the same, in the first job only. Each job leaves its folder in ``starts.log`` when it loads
    the potential, and in ``held.log`` when it has to wait.
    """

    def __init__(self, folder: str, at: int = 3, **kwargs):
        super().__init__(**kwargs)
        self.folder, self.at, self.calls = Path(folder), at, 0
        self.note(STARTS)

    def note(self, name: str) -> None:
        with (self.folder / name).open("a") as log:
            log.write(f"{os.getcwd()}\n")

    def calculate(self, atoms=None, *args, **kwargs):
        self.calls += 1
        if self.calls == self.at and (self.folder / HOLD).exists():
            self.note(HELD)
            end = time.monotonic() + PATIENCE
            while (self.folder / HOLD).exists() and time.monotonic() < end:
                time.sleep(0.05)
        super().calculate(atoms, *args, **kwargs)
        if self.calls == self.at:
            fault(self.folder, self.results)


def fault(folder: Path, results: dict) -> None:
    once = folder / FAULT_ONCE
    if once.exists():
        name = once.read_text()
        try:
            once.unlink()  # of two jobs at once, one only
        except FileNotFoundError:
            return
        happens(name, results)
    elif (folder / FAULT).exists():
        happens((folder / FAULT).read_text(), results)


def happens(name: str, results: dict) -> None:
    if name == "hunger":
        bytearray(64 * 2**30)  # more than the limit that the stand-in sets, and than most machines have
    else:
        FAULTS[name](results)
