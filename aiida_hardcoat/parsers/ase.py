"""Parser of the engine ``ase``: records to one trajectory, faults to exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode
from aiida.parsers import Parser

from aiida_hardcoat.calculations.ase import ERRORS, OUTPUT, RECORDS
from aiida_hardcoat.calculations.records import make_trajectory, summarise, with_geometry
from aiida_hardcoat.engines.ase_driver import COMPLETION_MARK, FAILURE_MARK

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


class AseParser(Parser):
    """Whatever is finished is stored, also when the job failed; the exit code says what is missing."""

    def parse(self, **kwargs: Any) -> ExitCode | None:
        codes = self.exit_codes
        output = self.content(OUTPUT)
        try:
            path = Path(kwargs["retrieved_temporary_folder"]) / RECORDS
            level, records, intact = read_records(path, len(self.node.inputs.structure.sites), self.number_asked)
        except OSError:
            return self.fault(output) or self.scheduler_fault() or codes.ERROR_OUTPUT_MISSING
        if records:
            self.store(level, records)
        fault = self.fault(output) or self.scheduler_fault()
        if fault:
            return fault
        if COMPLETION_MARK not in output.splitlines()[-1:]:
            return codes.ERROR_OUTPUT_CUT
        if not intact or len(records) != self.number_asked:
            return codes.ERROR_OUTPUT_INVALID
        statuses = {record["status"] for record in records}
        return next((getattr(codes, label) for status, label in RECORD_FAULTS if status in statuses), None)

    @property
    def number_asked(self) -> int:
        return len(self.node.inputs.strains.get_list()) if "strains" in self.node.inputs else 1

    def content(self, name: str) -> str:
        """A retrieved file, empty where it is missing."""
        try:
            return self.retrieved.base.repository.get_object_content(name, "rb").decode("utf8", "replace")
        except OSError:
            return ""

    def fault(self, output: str) -> ExitCode | None:
        """What the driver said of itself before it stopped, or the shell of a killed process."""
        for line in output.splitlines():
            if line.startswith(FAILURE_MARK):
                kind, _, message = line.removeprefix(FAILURE_MARK).strip().partition(": ")
                code: ExitCode = getattr(self.exit_codes, FAILURES.get(kind, "ERROR_CALCULATOR_FAILED"))
                return code.format(reason=message)
        errors = self.content(ERRORS) + self.content(str(self.node.get_option("scheduler_stderr")))
        if "MemoryError" in errors or "oom-kill" in errors.lower() or "out of memory" in errors.lower():
            return self.exit_codes.ERROR_OUT_OF_MEMORY
        if "No space left on device" in errors:
            return self.exit_codes.ERROR_DISK_FULL
        # A driver that started reports what it lacks itself.
        if not output and any(sign in errors for sign in ("No module named", "command not found", "No such file")):
            return self.exit_codes.ERROR_PACKAGE_MISSING.format(reason=errors.strip().splitlines()[-1])
        return None

    def scheduler_fault(self) -> ExitCode | None:
        """The scheduler's own verdict (walltime, memory), which a parser would otherwise hide."""
        status = self.node.exit_status
        return ExitCode(status, self.node.exit_message) if status else None

    def store(self, level: dict[str, Any], records: list[dict[str, Any]]) -> None:
        structure = self.node.inputs.structure
        usable = sorted((r for r in records if "energy" in r), key=lambda record: record["index"])
        if usable:
            trajectory = make_trajectory([site.kind_name for site in structure.sites], usable)
            if "strains" in self.node.inputs:
                strains = np.array(self.node.inputs.strains.get_list(), dtype=float)
                trajectory.set_array("strains", strains[[record["index"] for record in usable]])
            self.out("trajectory", trajectory)
            if "strains" not in self.node.inputs and usable[0]["status"] == "ok":
                self.out("structure", with_geometry(structure, usable[0]["cell"], usable[0]["positions"]))
        task = self.node.inputs.settings["task"]
        self.out("summary", orm.Dict(summarise(records, level=level, task=task, asked=self.number_asked)))


def read_records(path: Path, atoms: int, asked: int) -> tuple[dict[str, Any], list[dict[str, Any]], bool]:
    """Level of theory, the sound records, and whether all were sound (a cut job breaks the last line)."""
    level: dict[str, Any] = {}
    records: dict[int, dict[str, Any]] = {}
    intact = True
    for line in path.read_text("utf8", "replace").splitlines():
        try:
            entry = json.loads(line)
            if "level" in entry:
                level = entry["level"]
                continue
            record = sound_record(entry, atoms)
        except (ValueError, KeyError, TypeError):
            intact = False
            continue
        intact = intact and record["index"] in range(asked) and record["index"] not in records
        if record["index"] in range(asked):
            records.setdefault(record["index"], record)
    return level, list(records.values()), intact


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
