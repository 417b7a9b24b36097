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
        output = self.read(OUTPUT)
        try:
            level, records, intact = read_records(Path(kwargs["retrieved_temporary_folder"]) / RECORDS)
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

    def read(self, name: str) -> str:
        try:
            return str(self.retrieved.base.repository.get_object_content(name))
        except OSError:
            return ""

    def fault(self, output: str) -> ExitCode | None:
        """What the driver said of itself before it stopped, or the shell of a killed process."""
        for line in output.splitlines():
            if line.startswith(FAILURE_MARK):
                kind, _, message = line.removeprefix(FAILURE_MARK).strip().partition(": ")
                self.logger.warning(message)
                return getattr(self.exit_codes, FAILURES.get(kind, "ERROR_CALCULATOR_FAILED"))
        errors = self.read(ERRORS) + (self.node.get_scheduler_stderr() or "")
        if "MemoryError" in errors or "oom-kill" in errors.lower() or "out of memory" in errors.lower():
            return self.exit_codes.ERROR_OUT_OF_MEMORY
        if "No space left on device" in errors:
            return self.exit_codes.ERROR_DISK_FULL
        if "No module named" in errors or "command not found" in errors:
            return self.exit_codes.ERROR_PACKAGE_MISSING
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
                self.out("structure", relaxed_structure(structure, usable[0]))
        self.out(
            "summary",
            orm.Dict(
                {
                    "level_of_theory": level,
                    "task": self.node.inputs.settings["task"],
                    "asked": self.number_asked,
                    "finished": sum(record["status"] == "ok" for record in records),
                    "statuses": {str(record["index"]): record["status"] for record in records},
                    "evaluations": sum(record["evaluations"] for record in records),
                    "seconds": sum(record["seconds"] for record in records),
                    "units": {"energy": "eV", "force": "eV/Angstrom", "stress": "GPa", "length": "Angstrom"},
                }
            ),
        )


def read_records(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]], bool]:
    """Level of theory, the finished records, and whether every line could be read (a cut job breaks the last)."""
    level: dict[str, Any] = {}
    records: list[dict[str, Any]] = []
    for line in path.read_text().splitlines():
        try:
            entry = json.loads(line, parse_constant=lambda name: float(name.replace("Infinity", "inf")))
        except json.JSONDecodeError:
            return level, records, False
        if "level" in entry:
            level = entry["level"]
        elif "energy" in entry and not is_finite(entry):
            records.append({key: entry[key] for key in ("index", "evaluations", "seconds")} | {"status": "not_finite"})
        else:
            records.append(entry)
    return level, records, True


def is_finite(record: dict[str, Any]) -> bool:
    keys = ("energy", "forces", "stress", "cell", "positions")
    return all(bool(np.all(np.isfinite(np.asarray(record[key], dtype=float)))) for key in keys)


def make_trajectory(symbols: list[str], records: list[dict[str, Any]]) -> orm.TrajectoryData:
    """One trajectory of all structures, its step ids being their places among the strains asked for."""
    trajectory = orm.TrajectoryData()
    trajectory.set_trajectory(
        symbols=symbols,
        positions=np.array([record["positions"] for record in records]),
        stepids=np.array([record["index"] for record in records]),
        cells=np.array([record["cell"] for record in records]),
        pbc=(True, True, True),
    )
    for name, values in {
        "energies": [record["energy"] for record in records],
        "forces": [record["forces"] for record in records],
        "stresses": [record["stress"] for record in records],
        "largest_forces": [record["largest_force"] for record in records],
        "converged": [int(record["status"] == "ok") for record in records],
        # 0 where no threshold was reached, or none was asked for (static).
        "force_thresholds": [record["force_threshold"] or 0.0 for record in records],
        "evaluations": [record["evaluations"] for record in records],
        "seconds": [record["seconds"] for record in records],
    }.items():
        trajectory.set_array(name, np.array(values))
    return trajectory


def relaxed_structure(structure: orm.StructureData, record: dict[str, Any]) -> orm.StructureData:
    relaxed = orm.StructureData(cell=record["cell"], pbc=(True, True, True))
    for kind in structure.kinds:
        relaxed.append_kind(kind)
    for site, position in zip(structure.sites, record["positions"], strict=True):
        relaxed.append_site(orm.Site(kind_name=site.kind_name, position=position))
    return relaxed
