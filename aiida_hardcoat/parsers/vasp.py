"""Parser of the engine ``vasp``: the plugin's, kept from damaged files, with exit codes that tell faults apart."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode
from aiida_vasp.parsers.vasp import ParserSettingsConfig, VaspParser
from lxml import etree

from aiida_hardcoat.calculations.vasp import CUT_SIGNS, find_fault

XML = "vasprun.xml"
OUTPUT = "vasp_output"
END = b"</calculation>"
CLOSING = b"</modeling>"
UNREADABLE = ("ERROR_NOT_ABLE_TO_PARSE_QUANTITY", "ERROR_DIAGNOSIS_OUTPUTS_MISSING")


def program_of(retrieved: orm.FolderData) -> tuple[str, str]:
    """The program and version that wrote a retrieved vasprun.xml, as it says itself; empty where it does not.

    VASP calls itself ``vasp``. Results of any other program are no results of VASP.
    """
    try:
        with retrieved.base.repository.open(XML, "rb") as handle:
            head = handle.read(4096).decode("utf8", "replace")
    except OSError:
        return "", ""

    def entry(name: str) -> str:
        match = re.search(rf'<i name="{name}"[^>]*>([^<]*)</i>', head)
        return match.group(1).strip() if match else ""

    return entry("program"), entry("version")


def complete_steps(content: bytes) -> bytes | None:
    """What is whole of a vasprun.xml that ends too early: all up to its last complete ionic step, closed properly."""
    end = content.rfind(END)
    return None if end < 0 else content[: end + len(END)] + b"\n" + CLOSING + b"\n"


def is_sound(quantities: dict[str, Any], number_of_atoms: int) -> bool:
    """Whether the last ionic step of a vasprun.xml holds all numbers of one structure, each of them finite."""
    try:
        structure, energies = quantities["structure"], quantities["total_energies"]
        cell = np.array(structure["unitcell"], dtype=float)
        positions = np.array([site["position"] for site in structure["sites"]], dtype=float)
        forces, stress = np.array(quantities["forces"], dtype=float), np.array(quantities["stress"], dtype=float)
    except (KeyError, TypeError, ValueError):
        return False
    arrays = ((cell, (3, 3)), (stress, (3, 3)), (positions, (number_of_atoms, 3)), (forces, (number_of_atoms, 3)))
    return (
        all(array.shape == shape and np.isfinite(array).all() for array, shape in arrays)
        and bool(energies)
        and bool(np.isfinite(list(energies.values())).all())
        and abs(np.linalg.det(cell)) > number_of_atoms  # A^3: no crystal is denser than one atom in 1 A^3
    )


class HardcoatVaspParser(VaspParser):
    """Never stops at a damaged file, never makes a structure of anything but a complete ionic step."""

    def __init__(self, node: orm.CalcJobNode) -> None:
        super().__init__(node)
        self.repaired: orm.FolderData | None = None
        self.sound = False

    @property
    def retrieved(self) -> orm.FolderData:
        """The retrieved files; of a vasprun.xml that ends too early, its complete steps."""
        return super().retrieved if self.repaired is None else self.repaired

    def parse(self, **kwargs: Any) -> ExitCode | None:
        verdict = self.node.exit_status
        self.leave_out_the_cut()
        exit_code = super().parse(**kwargs)
        return self.fault(exit_code) or (ExitCode(verdict, self.node.exit_message) if verdict else exit_code)

    def content(self, name: str) -> bytes:
        """A retrieved file, empty where it is missing."""
        try:
            return self.retrieved.base.repository.get_object_content(name, "rb")
        except OSError:
            return b""

    def leave_out_the_cut(self) -> None:
        """Work on a copy of the retrieved files where vasprun.xml does not end as it should or cannot be read."""
        content = self.content(XML)
        try:
            etree.fromstring(content, etree.XMLParser(huge_tree=True))
        except etree.XMLSyntaxError:
            whole = None if content.rstrip().endswith(CLOSING) else complete_steps(content)
            folder = orm.FolderData()
            for name in self.retrieved.list_object_names():
                if name != XML:
                    folder.base.repository.put_object_from_bytes(self.content(name), name)
            if whole is not None:
                folder.base.repository.put_object_from_bytes(whole, XML)
            self.repaired = folder

    def _init_user_settings(self) -> ParserSettingsConfig:
        """A missing file is told by the exit code, not by an exception."""
        config = super()._init_user_settings()
        config.check_completeness = False
        config.critical_objects = []
        return config

    def _post_process_quantities(self) -> ExitCode | None:
        """Take out what is not of one complete ionic step; CONTCAR holds a structure that was not computed yet."""
        self.quantities_each.pop("CONTCAR", None)
        vasprun = self.quantities_each.get(XML, {})
        structure = self.node.inputs.structure
        self.sound = is_sound(vasprun, len(structure.get_ase()))
        if not self.sound:
            for name in ("structure", "forces", "stress", "total_energies", "energies", "trajectory"):
                vasprun.pop(name, None)
        return super()._post_process_quantities()

    def _compose_misc(self, quantities_each: dict[str, Any]) -> orm.Dict:
        """Beside the plugin's quantities, the program that wrote them."""
        misc = super()._compose_misc(quantities_each)
        misc["program"], misc["version"] = program_of(super().retrieved)
        return misc

    def fault(self, exit_code: ExitCode | None) -> ExitCode | None:
        """What the run's own words and files tell beyond the plugin's exit code."""
        codes = self.exit_codes
        status = self.quantities_each.get("OUTCAR", {}).get("run_status") or {}
        converged = bool(status.get("finished") and status.get("electronic_converged"))
        output = self.content(OUTPUT) + b"\n" + self.content(str(self.node.get_option("scheduler_stderr")))
        text = output.decode("utf8", "replace")
        fault = find_fault(text, converged)
        if fault is not None:
            return codes[f"ERROR_{fault.label}"]
        if self.node.exit_status:
            return None
        said = self.quantities_each.get(OUTPUT, {}).get("notifications", [])
        errors = [entry["message"] for entry in said if entry["kind"] == "ERROR" and entry["name"] != "nostart"]
        if errors and not status.get("finished"):
            return codes.ERROR_VASP_CRITICAL_ERROR.format(error_message=errors[0])
        if not status.get("finished"):
            for sign, label in CUT_SIGNS:
                if re.search(sign, text):
                    return codes[label]
        if not self.content("OUTCAR") and not self.content(XML):
            return codes.ERROR_CRASHED if self.content(OUTPUT).strip() else codes.ERROR_VASP_DID_NOT_EXECUTE
        if exit_code is not None and exit_code.status in [codes[label].status for label in UNREADABLE]:
            return codes.ERROR_CRASHED
        if status.get("finished") and not self.sound and exit_code != codes.ERROR_OVERFLOW_IN_XML:
            return codes.ERROR_OUTPUT_GARBLED
        return None
