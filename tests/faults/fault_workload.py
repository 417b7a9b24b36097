"""The workload, a small campaign in a catalogue of its own, and the checker that looks at what became of it."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from fault_calculators import HELD, HOLD, STARTS
from fault_place import REPAIR, Node, Place, kill, wait_for

ENGINE = "fault_calculators:Watched"
THREE = ("TiN", "Ti0.5Al0.5N", "AlN")
OVERRIDES = {
    "sqs": {"atoms": 8, "restarts": 1, "steps": 10},
    "relaxation": {"force_thresholds": [1e-3, 1e-2], "stress_threshold": 0.02, "max_steps": 200},
    "strains": {"force_thresholds": [1e-3, 1e-2], "max_steps": 100},
}
COST = {"evaluations", "seconds"}
"""Fields of an entry that tell how it was computed, not what came out."""
SLICE = 0.004
"""Seconds that a process lives between two looks at it."""
TOLERANCE = 1e-9
"""Relative. The pair potential is deterministic, and a job that was cut goes on along the same path."""
IF_LEFT = f"nothing; where a process is left over, {REPAIR}"


class Workload:
    """A campaign of alloys with the pair potential; its folder rules the jobs."""

    def __init__(self, place: Place, folder: Path, name: str, compositions=THREE[:2], ions="relaxed", **keys: Any):
        self.place, self.folder, self.name = place, folder, name
        folder.mkdir(parents=True, exist_ok=True)
        self.file = self.folder / f"{name}.yaml"
        self.file.write_text(json.dumps({**self.contents(list(compositions), ions), **keys}))  # which is YAML, too
        self.first = place.last_node()
        self.asked = len(compositions)

    def contents(self, compositions: list[str], ions: str) -> dict[str, Any]:
        return {
            "name": self.name,
            "catalogue": self.name,
            "engine": f"ase:{ENGINE}",
            "protocol": "fast",
            "overrides": {**OVERRIDES, "engine": {"model_options": {"folder": str(self.folder)}}},
            "compositions": compositions,
            "structure_types": ["B1"],
            "ions": [ions],
            "at_once": {"alloys": 2, "jobs": 2},
        }

    # --- what a user does ---

    def command(self, *options: str, file: Path | None = None) -> tuple[str, ...]:
        return ("hardcoat", "campaign", str(file or self.file), "--trust", ENGINE, *options)

    def twin(self) -> Path:
        """The file of a campaign of another name, with the same alloys and the same catalogue."""
        path = self.file.with_name(f"{self.name}-twin.yaml")
        path.write_text(json.dumps({**json.loads(self.file.read_text()), "name": path.stem}))
        return path

    def begin(self, file: Path | None = None) -> subprocess.Popen[bytes]:
        """In this terminal, so to speak."""
        return self.place.begin(*self.command(file=file), log=self.folder / "campaign.log")

    def submit(self, file: Path | None = None) -> None:
        self.place.call(*self.command("--submit", file=file))

    def again(self) -> None:
        """The documented recovery: the same command."""
        self.end_of(self.begin(), (0, 1))

    def retry(self) -> subprocess.Popen[bytes]:
        return self.place.begin("hardcoat", "campaign", "retry", self.name, log=self.folder / "campaign.log")

    def retry_what_failed(self) -> None:
        """The same in the daemon, where anything failed or was stopped."""
        if any(row["state"] != "finished" for row in self.status()["rows"]):
            before = len(self.campaigns())
            self.place.hardcoat("campaign", "retry", self.name, "--submit")
            wait_for(lambda: len(self.campaigns()) > before, "the campaign does not begin again")
            self.wait()

    def end_of(self, process: subprocess.Popen[bytes], fine: tuple[int, ...] = (0,)) -> None:
        wait_for(lambda: process.poll() is not None, f"the campaign does not end:\n{self.log}")
        assert process.returncode in fine, f"the campaign ended with {process.returncode}:\n{self.log}"

    @property
    def log(self) -> str:
        with suppress(FileNotFoundError):
            return (self.folder / "campaign.log").read_text()[-2000:]
        return ""

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(
            self.place.hardcoat("campaign", "status", self.name, "--format", "json", fine=(0, 1))
        )
        return status

    # --- what the jobs do ---

    def set(self, name: str, word: str = "") -> None:
        """A file of :mod:`fault_calculators` or :mod:`stand_in_engine`."""
        (self.folder / name).write_text(word)

    def unset(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    def hold(self) -> None:
        self.set(HOLD)

    def release(self) -> None:
        self.unset(HOLD)

    def lines(self, name: str) -> list[str]:
        with suppress(FileNotFoundError):
            return (self.folder / name).read_text().split()
        return []

    def held(self, jobs: int = 1) -> list[str]:
        """Wait until so many jobs wait in the middle of a computation; their folders."""
        return wait_for(lambda: len(self.lines(HELD)) >= jobs and self.lines(HELD), f"no job runs:\n{self.log}")

    # --- what the database says ---

    def processes(self) -> list[Node]:
        return self.place.processes(self.first)

    def jobs(self) -> list[Node]:
        return self.place.processes(self.first, "process.calculation.calcjob.%")

    def campaigns(self) -> list[Node]:
        return [one for one in self.processes() if one.process_type == "aiida.workflows:hardcoat.campaign"]

    def wait(self, name: str | None = None) -> None:
        """Until the daemon has ended the newest campaign of that name, this one's by default."""

        def has_ended() -> bool:
            found = [one for one in self.campaigns() if one.label == (name or self.name)]
            return bool(found) and found[-1].has_ended

        wait_for(has_ended, "the campaign does not end in the daemon", pause=0.3)

    def end_what_is_left(self, workers: int) -> None:
        """The recovery where a worker was killed between storing a process and handing it over."""

        def left() -> list[Node]:
            return [one for one in self.processes() if not one.has_ended]

        if left():
            self.place.repair(workers)
            wait_for(lambda: not left(), "a process that was left does not end")

    def is_paused(self) -> bool:
        return any(one.attributes.get("paused") for one in self.jobs() if not one.has_ended)

    def strike(self, phase: str, victims: list[psutil.Process], sign: int = signal.SIGKILL) -> None:
        """Send a signal to processes while a job of the campaign is in that phase, which may last a few milliseconds.

        Once there are jobs, the processes live in slices of some milliseconds, and between two slices they stand still
        and are looked at.
        """
        wait_for(self.jobs, "no job begins", pause=0.02)

        def struck() -> bool:
            send(victims, signal.SIGSTOP)
            try:
                hit = phase in self.place.phases(self.first)
                if hit:
                    send(victims, sign)
            finally:
                send(victims, signal.SIGCONT)
            return hit

        wait_for(struck, f"no job was seen in the phase {phase}", pause=SLICE)

    # --- the checker ---

    def report_of(self, run: int | None) -> str:
        """What the processes of an alloy have said, where it was begun."""
        return "" if run is None else self.place.verdi("process", "report", str(run))

    def verdict(self, truth: dict[str, Any], computed_once: bool = False) -> dict[str, Any]:
        """What is lost, twice or wrong at the end, when every alloy must be finished.

        :param truth: the numbers of an undisturbed run.
        :param computed_once: that no alloy may have had more than its two jobs, relaxation and strains.
        """
        rows = self.status()["rows"]
        problems = [
            f"{row['alloy']} is {row['state']}: {row}\n{self.report_of(row['run'])}"
            for row in rows
            if row["state"] != "finished"
        ]
        members = [key_and_numbers(one) for one in self.place.members(self.name)]
        keys = Counter(key for key, _ in members)
        twice = sorted(key for key, number in keys.items() if number > 1)
        lost = 2 * self.asked - len(keys)  # an entry and a prediction each
        wrong = [difference for key, numbers in members for difference in differences(key, numbers, truth.get(key))]
        starts = Counter(self.lines(STARTS))
        unfinished = [one for one in self.processes() if not one.has_ended]
        problems += [f"twice in the catalogue: {key}" for key in twice] + wrong
        problems += [f"{lost} lost"] if lost else []
        if computed_once and len(starts) > 2 * self.asked:
            problems.append(f"{len(starts)} jobs for {self.asked} alloys")
        if any(number > 1 for number in starts.values()):
            problems.append(f"a job was computed {max(starts.values())} times")
        problems += [f"left in the database: {one.process_type} {one.pk} {one.attributes}" for one in unfinished]
        return {
            "lost": lost,
            "wrong": len(wrong),
            "executions": max(starts.values(), default=0),
            "jobs": len(starts),
            "problems": problems,
        }


def kill_workers_in_each_phase(place: Place, campaign: Workload, number: int) -> None:
    """Submit a campaign, and kill all workers of the daemon in each phase of a job, of several one while jobs run, so
    that another takes them over; the daemon starts new ones."""
    campaign.submit()
    for phase in ("upload", "run", "retrieve", "parse"):
        wait_for(lambda: len(place.workers()) == number, "the daemon starts no new workers")
        if phase == "run":  # not held before, so that there are more jobs to be seen in the upload
            campaign.hold()
            campaign.held()
            kill(place.workers()[:1])
            campaign.release()
        else:
            campaign.strike(phase, place.workers())


def send(processes: list[psutil.Process], sign: int) -> None:
    for process in processes:
        with suppress(psutil.Error, ProcessLookupError):
            process.send_signal(sign)


def interrupt(process: subprocess.Popen[bytes], sign: int) -> None:
    """As a terminal does: the signal goes to the whole group in its foreground."""
    os.killpg(process.pid, sign)


def key_and_numbers(member: Node) -> tuple[str, dict[str, float]]:
    """What an entry or a prediction of the catalogue is of, and its numbers."""
    fields = member.attributes
    return f"{fields['structure_type']} {fields['formula']} {fields.get('ions', 'learned')}", dict(numbers_of(fields))


def numbers_of(value: Any, path: str = "") -> list[tuple[str, float]]:
    """Every number of an entry or a prediction that is not its cost, by its path."""
    if isinstance(value, bool):
        return []
    if isinstance(value, (int, float)):
        return [(path, float(value))]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [pair for key, item in items if key not in COST for pair in numbers_of(item, f"{path}/{key}")]


def differences(key: str, numbers: dict[str, float], truth: dict[str, float] | None) -> list[str]:
    if truth is None:
        return [f"{key} was not asked for"]
    if numbers.keys() != truth.keys():
        return [f"{key} has other fields: {sorted(numbers.keys() ^ truth.keys())}"]
    return [
        f"{key}{path}: {number!r} instead of {truth[path]!r}"
        for path, number in numbers.items()
        if not math.isclose(number, truth[path], rel_tol=TOLERANCE, abs_tol=1e-12) and not math.isnan(truth[path])
    ]
