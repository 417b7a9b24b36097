"""Parser of the engine ``ase``: records to one trajectory, faults to exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from aiida import orm
from aiida.engine import ExitCode
from aiida.parsers import Parser

from aiida_hardcoat.calculations.ase import ERRORS, OUTPUT, RECORDS, STATE
from aiida_hardcoat.calculations.records import make_trajectory, summarise, with_geometry
from aiida_hardcoat.engines.ase_driver import COMPLETION_MARK, FAILURE_MARK
from aiida_hardcoat.engines.ase_driver.files import COMPLETE, FAILED, load_state
from aiida_hardcoat.engines.ase_driver.limits import WALLTIME

FAILURES = {
    "out_of_memory": "ERROR_OUT_OF_MEMORY",
    "missing_package": "ERROR_PACKAGE_MISSING",
    "calculator_failed": "ERROR_CALCULATOR_FAILED",
    "disk_full": "ERROR_DISK_FULL",
}
# The worst record decides the exit code of a run that was otherwise complete.
RECORD_FAULTS = (
    ("not_finite", "ERROR_OUTPUT_NOT_FINITE"),
    ("exploded", "ERROR_GEOMETRY_EXPLODED"),
    ("not_converged", "ERROR_NOT_CONVERGED"),
)
SIGNS = (
    ("memoryerror", "ERROR_OUT_OF_MEMORY"),
    ("oom-kill", "ERROR_OUT_OF_MEMORY"),
    ("out of memory", "ERROR_OUT_OF_MEMORY"),
    ("memory limit", "ERROR_OUT_OF_MEMORY"),
    ("no space left on device", "ERROR_DISK_FULL"),
    ("due to time limit", "ERROR_SCHEDULER_OUT_OF_WALLTIME"),
    ("due to node failure", "ERROR_SCHEDULER_NODE_FAILURE"),
)
"""What Python, the system and Slurm write to the standard error of a job that they end."""


class Records(NamedTuple):
    """What the file of records tells."""

    level: dict[str, Any]
    records: list[dict[str, Any]]
    end: dict[str, Any]
    intact: bool


class AseParser(Parser):
    """Whatever is finished is stored, also when the job failed; the exit code says what is missing.

    The records say themselves how the job ended. Its standard output is not asked as long as they do, because a second
    start of the job empties it.
    """

    def parse(self, **kwargs: Any) -> ExitCode | None:
        folder = Path(kwargs["retrieved_temporary_folder"])
        atoms = len(self.node.inputs.structure.sites)
        found = read_records(folder / RECORDS, atoms, self.number_asked)
        state = {} if found.end.get("end") == COMPLETE else load_state(folder / STATE, atoms)
        if found.records or "positions" in state:
            self.store(found, state)
        if state:
            self.out("checkpoint", orm.SinglefileData(folder / STATE, filename=STATE))
        if found.end.get("end") == COMPLETE:
            return self.verdict(found)
        return self.fault(found) or self.exit_codes.ERROR_OUTPUT_CUT

    @property
    def number_asked(self) -> int:
        return len(self.node.inputs.strains.get_list()) if "strains" in self.node.inputs else 1

    def content(self, name: str) -> str:
        """A retrieved file, empty where it is missing."""
        try:
            return self.retrieved.base.repository.get_object_content(name, "rb").decode("utf8", "replace")
        except OSError:
            return ""

    def verdict(self, found: Records) -> ExitCode:
        """On a job that came to its end, whatever befell it afterwards."""
        if not found.intact or len(found.records) != self.number_asked:
            return self.exit_codes.ERROR_OUTPUT_INVALID
        statuses = {record["status"] for record in found.records}
        return next(
            (getattr(self.exit_codes, label) for status, label in RECORD_FAULTS if status in statuses), ExitCode()
        )

    def fault(self, found: Records) -> ExitCode | None:
        """Why the job did not come to its end: what the driver said of itself comes first, then what others did."""
        output, codes = self.content(OUTPUT), self.exit_codes
        if found.end.get("end") == FAILED:
            return self.failure(str(found.end.get("kind")), str(found.end.get("message")))
        for line in output.splitlines():
            if line.startswith(FAILURE_MARK):
                kind, _, message = line.removeprefix(FAILURE_MARK).strip().partition(": ")
                return self.failure(kind, message)
        if self.node.exit_status:  # the scheduler's, which a parser's own would hide
            return ExitCode(self.node.exit_status, self.node.exit_message)
        errors = self.content(ERRORS) + self.content(str(self.node.get_option("scheduler_stderr")))
        for sign, label in SIGNS:
            if sign in errors.lower():
                code: ExitCode = getattr(codes, label)
                return code
        # A driver that started reports what it lacks itself.
        if not output and any(sign in errors for sign in ("No module named", "command not found", "No such file")):
            return codes.ERROR_PACKAGE_MISSING.format(reason=errors.strip().splitlines()[-1])
        if found.end.get("end") == WALLTIME:
            return codes.ERROR_SCHEDULER_OUT_OF_WALLTIME
        if COMPLETION_MARK in output.splitlines()[-1:]:
            return codes.ERROR_OUTPUT_INVALID
        return None if output or found.records else codes.ERROR_OUTPUT_MISSING

    def failure(self, kind: str, message: str) -> ExitCode:
        code: ExitCode = getattr(self.exit_codes, FAILURES.get(kind, "ERROR_CALCULATOR_FAILED"))
        return code.format(reason=message)

    def store(self, found: Records, state: dict[str, Any]) -> None:
        structure = self.node.inputs.structure
        usable = sorted((r for r in found.records if "energy" in r), key=lambda record: record["index"])
        if usable:
            trajectory = make_trajectory([site.kind_name for site in structure.sites], usable)
            if "strains" in self.node.inputs:
                strains = np.array(self.node.inputs.strains.get_list(), dtype=float)
                trajectory.set_array("strains", strains[[record["index"] for record in usable]])
            self.out("trajectory", trajectory)
            if "strains" not in self.node.inputs and usable[0]["status"] == "ok":
                self.out("structure", with_geometry(structure, usable[0]["cell"], usable[0]["positions"]))
        task = self.node.inputs.settings["task"]
        summary = summarise(found.records, level=found.level, task=task, asked=self.number_asked)
        self.out("summary", orm.Dict({**summary, **in_progress(state)}))


def in_progress(state: dict[str, Any]) -> dict[str, Any]:
    """What the summary says of the structure in which the job was cut."""
    if "positions" not in state:
        return {}
    return {"in_progress": {name: int(state[name]) for name in ("index", "steps", "evaluations")}}


def read_records(path: Path, atoms: int, asked: int) -> Records:
    """The sound records of a job, and whether all were sound: a cut job breaks the last line."""
    level: dict[str, Any] = {}
    end: dict[str, Any] = {}
    records: dict[int, dict[str, Any]] = {}
    intact = True
    for line in path.read_text("utf8", "replace").splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
            if "input" in entry:
                level = entry.get("level", {})
                continue
            if "end" in entry:
                end = entry
                continue
            record = sound_record(entry, atoms)
        except (ValueError, KeyError, TypeError):
            intact = False
            continue
        intact = intact and record["index"] in range(asked) and record["index"] not in records
        if record["index"] in range(asked):
            records.setdefault(record["index"], record)
    return Records(level, list(records.values()), end, intact)


def sound_record(entry: dict[str, Any], atoms: int) -> dict[str, Any]:
    """The record itself, or what is left of one with numbers that are not finite.

    :raises ValueError, KeyError, TypeError: for what the driver did not write like that.
    """
    record = {key: entry[key] for key in ("index", "status", "evaluations", "seconds")}
    if "energy" not in entry:
        return record
    shapes = {"energy": (), "forces": (atoms, 3), "stress": (3, 3), "cell": (3, 3), "positions": (atoms, 3)}
    arrays = {key: np.asarray(entry[key], dtype=float) for key in shapes}
    if any(array.shape != shapes[key] for key, array in arrays.items()):
        raise ValueError(f"the arrays of record {record['index']} have wrong shapes")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        return {**record, "status": "not_finite"}
    return {**entry, "largest_force": float(entry["largest_force"]), "force_threshold": entry["force_threshold"]}
