"""The pair potential under the eyes of a test: it tells that it starts, waits where it is told to, fails on demand."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from calculators import FAULTS, PairPotential

HOLD, HELD, STARTS, FAULT = "hold", "held.log", "starts.log", "fault"
PATIENCE = 300.0


class Watched(PairPotential):
    """The pair potential; files in ``folder`` say what happens at evaluation ``at``.

    ``hold``: it waits as long as this file is there. ``fault``: the fault of :data:`calculators.FAULTS` that the file
    names; each file ``fault-once*``: the same, in one job only. Each job leaves its folder in ``starts.log`` when it
    loads the potential, and in ``held.log`` when it has to wait.
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
    word = asked_for(folder, FAULT)
    if word == "hunger":
        bytearray(64 * 2**30)  # more than the limit that the stand-in sets, and than most machines have
    elif word is not None:
        FAULTS[word](results)


def asked_for(folder: Path, name: str) -> str | None:
    """The word in a file of that name; first those of the files ``NAME-once*``, each for the first job that comes."""
    for path in sorted(folder.glob(f"{name}-once*")):
        with suppress(FileNotFoundError):  # of two jobs at once, one only
            word = path.read_text()
            path.unlink()
            return word
    with suppress(FileNotFoundError):
        return (folder / name).read_text()
    return None
