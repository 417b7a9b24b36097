"""Profiles in which faults happen; a file system of their own that can be filled where root may mount one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from fault_place import HERE, Place, TooLateError, kill, wait_for
from fault_workload import THREE, Workload, key_and_numbers
from filelock import FileLock


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[bool]:
    """A file system of that size at ``folder``, which can be filled without harm; False where it cannot be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)


def fill(folder: Path, left: int) -> Path:
    """A file that takes all but so many bytes of a disk, whatever others write there meanwhile."""
    filler = folder / "filler"

    def has_filled() -> bool:
        with filler.open("wb") as handle, suppress(OSError):
            os.posix_fallocate(handle.fileno(), 0, max(shutil.disk_usage(folder).free - left, 1))
            return True
        return shutil.disk_usage(folder).free <= left

    wait_for(has_filled, f"{folder} cannot be filled", pause=0)
    return filler


def make_stand_in(place: Place) -> None:
    """The code ``stand-in``, whose description says what it is."""
    script = place.folder / "stand-in-engine"
    script.write_text(
        f"#!/bin/sh\n# A stand-in, not the engine: see {HERE.name}/stand_in_engine.py\n"
        f'exec {sys.executable} {HERE}/stand_in_engine.py "$@"\n'
    )
    script.chmod(0o755)
    place.verdi(
        "code",
        "create",
        "core.code.installed",
        "-n",
        "-L",
        "stand-in",
        "-Y",
        "localhost",
        "-X",
        str(script),
        "-P",
        "hardcoat.ase",
        "-D",
        "A stand-in, not the engine",
        "--no-with-mpi",
    )


@pytest.fixture(scope="session")
def disks(tmp_path_factory):
    """Where the embedded profile lies and where its jobs run, each a disk of its own if possible.

    Being in memory, they also spare the profile all waiting for a real disk.
    """
    folder = tmp_path_factory.mktemp("disks")
    with small_disk(folder / "aiida", 640) as first, small_disk(folder / "work", 320) as second:
        yield folder, first and second


@pytest.fixture(scope="session")
def embedded(disks, tmp_path_factory):
    """A profile on SQLite and ZeroMQ; its daemon does not run yet."""
    folder, mounted = disks
    place = Place(folder / "aiida")
    place.work, place.can_be_filled = folder / "work", mounted
    place.hardcoat("setup", "--work-dir", str(place.work))
    place.verdi("config", "set", "transport.task_retry_initial_interval", "1")  # instead of 20 s
    place.connect()
    make_stand_in(place)
    # What the daemon says of a full disk needs another one.
    place.daemon_log.rmdir()
    place.daemon_log.symlink_to(tmp_path_factory.mktemp("log"))
    yield place
    place.close()


@pytest.fixture(scope="session")
def truth(request, tmp_path_factory):
    """The numbers of an undisturbed campaign, by alloy; of several processes that share the tests, one runs it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    file = shared / "truth.json"
    with FileLock(file.with_suffix(".lock")):
        if not file.exists():
            place = request.getfixturevalue("embedded")
            workload = Workload(place, tmp_path_factory.mktemp("undisturbed"), "undisturbed", THREE)
            workload.end_of(workload.begin())
            found = dict(key_and_numbers(one) for one in place.members(workload.name))
            assert len(found) == 2 * workload.asked  # an entry and a prediction each
            file.write_text(json.dumps(found))
        return json.loads(file.read_text())


@pytest.fixture
def workload(request, tmp_path):
    """A function that makes this test's campaign in a place; afterwards nothing of it may be left."""
    made: list[Workload] = []

    def make(place: Place, **keys) -> Workload:
        name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower()).strip("-")
        made.append(Workload(place, tmp_path / "campaign", name, **keys))
        return made[-1]

    yield make
    for one in made:
        one.release()
        left_over = one.place.left_over
        try:
            wait_for(lambda left_over=left_over: not left_over(), "processes outlive the campaign", 30)
        except TooLateError:
            found = [process.cmdline() for process in left_over()]
            kill(left_over())
            pytest.fail(f"processes outlive the campaign: {found}")
