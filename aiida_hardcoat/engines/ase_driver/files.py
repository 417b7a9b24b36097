"""What a job keeps in its folder: the lock, the records, and the state of the structure in progress.

A job may be started twice in one folder, at once or one after the other: a workflow engine that lost its memory of the
first start makes another. The second waits for the lock and then finds the first one's output, finished or not.
"""

from __future__ import annotations

import errno
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

LOCK = "lock"
RECORDS = "records.jsonl"
STATE = "state.npz"
PREVIOUS_RECORDS = "previous.jsonl"
PREVIOUS_STATE = "previous.npz"

COMPLETE, FAILED = "complete", "failed"
STATE_SECONDS = 10.0
"""How much of a relaxation a killed job loses at most, beside the evaluation in progress."""

NO_LOCKS = {getattr(errno, name) for name in ("ENOLCK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EINVAL")}
"""What file systems say that have no locks."""


@contextmanager
def lock(folder: Path, report: Callable[[str], None], check: Callable[[], None]) -> Iterator[None]:
    """Be the only one at work in ``folder``; the system frees the lock of a process that dies.

    :param check: called while waiting; what it raises ends the wait.
    """
    import fcntl

    with open(folder / LOCK, "w") as handle:
        waiting = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    report("this job runs already in this folder: waiting for what it leaves")
                    waiting = True
                check()
                time.sleep(0.5)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                report("the file system has no locks: a second start of this job would not be noticed")
                break
        yield


def load_records(path: Path) -> dict[int, dict]:
    """The sound records of a file by index; the last line of a killed job may be cut."""
    records: dict[int, dict] = {}
    for entry in entries(path):
        if "index" in entry:
            records.setdefault(entry["index"], entry)
    return records


def how_it_ended(path: Path) -> str | None:
    """How the job that wrote these records ended, None where it could not say so."""
    return next((entry["end"] for entry in reversed(entries(path)) if "end" in entry), None)


def level_in(path: Path) -> dict | None:
    """The level of theory of these records."""
    return next((entry["level"] for entry in entries(path) if "level" in entry), None)


def is_of_input(path: Path, digest: str) -> bool:
    """Whether these records were written for the input of that hash, and not for another in the same folder."""
    return any(entry.get("input") == digest for entry in entries(path)[:1])


def entries(path: Path) -> list[dict]:
    if not path.exists():
        return []
    found = []
    for line in path.read_text("utf8", "replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            found.append(entry)
    return found


class Records:
    """The file of records, rewritten at the start with what is kept, then extended line by line."""

    def __init__(self, folder: Path, digest: str):
        self.path = folder / RECORDS
        self.digest = digest

    def begin(self, kept: list[dict], level: dict | None = None) -> None:
        """Keep nothing but these.

        :param level: the level of theory, once the model is loaded and tells it.
        """
        head = {"input": self.digest} if level is None else {"input": self.digest, "level": level}
        temporary = self.path.with_suffix(".new")
        temporary.write_text("".join(json.dumps(entry) + "\n" for entry in (head, *kept)))
        os.replace(temporary, self.path)

    def append(self, entry: dict) -> None:
        with open(self.path, "a") as handle:
            handle.write(json.dumps(entry) + "\n")

    def end(self, how: str, **more: str) -> None:
        """The line without which nobody takes the records for all that there is."""
        self.append({"end": how, **more})


class State:
    """The state of the structure in progress and what the finished ones taught: in memory at each step, on the disk
    every few seconds."""

    def __init__(self, folder: Path):
        self.path = folder / STATE
        self.latest: dict = {}
        self.written = 0.0

    def keep(self, state: dict) -> None:
        self.latest = {name: np.array(value) for name, value in state.items() if value is not None}
        if time.time() - self.written > STATE_SECONDS:
            self.write()

    def write(self) -> None:
        if self.latest:
            temporary = self.path.with_suffix(".new")
            with open(temporary, "wb") as handle:
                np.savez(handle, **self.latest)
            os.replace(temporary, self.path)
            self.written = time.time()

    def adopt(self, path: Path) -> None:
        """Begin with the state in a file, or without one."""
        if path.exists():
            temporary = self.path.with_suffix(".new")
            temporary.write_bytes(path.read_bytes())
            os.replace(temporary, self.path)
        else:
            self.drop()

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)


def load_state(path: Path, atoms: int) -> dict:
    """The state in a file, empty where there is none that can be used for a crystal of that many atoms."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            state = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return {}
    return state if is_sound(state, atoms) else {}


def is_sound(state: dict, atoms: int) -> bool:
    shapes = {"cell": (3, 3), "positions": (atoms, 3), "best_cell": (3, 3), "best_positions": (atoms, 3)}
    return (
        "index" in state
        and all(state[name].shape == shape for name, shape in shapes.items() if name in state)
        and all(array.dtype.kind in "if" and np.isfinite(array).all() for array in state.values())
    )
