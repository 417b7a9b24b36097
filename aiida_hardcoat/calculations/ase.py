"""CalcJob of the engine ``ase``: many strained copies of one crystal, one task, any ASE calculator."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import numpy as np
from aiida import orm
from aiida.common import datastructures
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec

from aiida_hardcoat.calculations.records import records_of
from aiida_hardcoat.calculations.resumable import ResumableCalcJob
from aiida_hardcoat.engines import ase_driver
from aiida_hardcoat.engines.ase_driver.driver import INPUT
from aiida_hardcoat.engines.ase_driver.files import PREVIOUS_RECORDS, PREVIOUS_STATE, RECORDS, STATE
from aiida_hardcoat.engines.ase_settings import validate_ase_settings
from aiida_hardcoat.errors import InputError

DRIVER = "ase_driver"
"""The package that runs in the job, as it is called there."""
OUTPUT = "output.log"
ERRORS = "errors.log"


def validate_settings(value: orm.Dict, _: Any) -> str | None:
    try:
        validate_ase_settings(value.get_dict())
    except InputError as error:
        return str(error)
    return None


def validate_strains(value: orm.List, _: Any) -> str | None:
    try:
        rows = np.array(value.get_list(), dtype=float)
    except (TypeError, ValueError):
        rows = np.empty(0)
    if rows.ndim != 2 or rows.shape[1] != 6 or not np.isfinite(rows).all():
        return "strains must be a non-empty list of rows of six Voigt components (xx, yy, zz, yz, xz, xy)"
    return None


def level_of(node: orm.Data) -> dict[str, Any] | None:
    """The level of theory of the job that made a node, where it says so."""
    job = node.creator
    if job is None or "summary" not in job.base.links.get_outgoing().all_link_labels():
        return None
    level: dict[str, Any] = job.outputs.summary["level_of_theory"]
    return level


class AseCalculation(ResumableCalcJob):
    """Energies, forces and stresses of a structure, or of its strained copies, from one load of an ASE calculator.

    The structures travel as one parent and a list of strains. What is finished is kept when a job is cut: the records
    come back as one trajectory, which a later job accepts as ``previous`` and does not compute again, and the state of
    the structure in progress as a file, its ``checkpoint``, from which the later job goes on.
    """

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        super().define(spec)
        spec.input("structure", valid_type=orm.StructureData, help="The unstrained structure.")
        spec.input(
            "strains",
            valid_type=orm.List,
            required=False,
            validator=validate_strains,
            help="Rows of Voigt strains (xx, yy, zz, yz, xz, xy; engineering shear); without it, the structure itself.",
        )
        spec.input(
            "settings",
            valid_type=orm.Dict,
            validator=validate_settings,
            help="Task, model and thresholds; see the reference of the engine `ase`.",
        )
        spec.input(
            "previous",
            valid_type=orm.TrajectoryData,
            required=False,
            help="What an earlier job of the same inputs finished: not computed again.",
        )
        spec.input(
            "checkpoint",
            valid_type=orm.SinglefileData,
            required=False,
            help="The state of the structure in which an earlier job of the same inputs was cut: it is gone on from.",
        )
        spec.output(
            "trajectory",
            valid_type=orm.TrajectoryData,
            help="Final structures with `energies` (eV), `forces` (eV/Angstrom), `stresses` (GPa, tension positive).",
        )
        spec.output("summary", valid_type=orm.Dict, help="Level of theory, convergence, evaluations and times.")
        spec.output("structure", valid_type=orm.StructureData, required=False, help="The relaxed structure, if one.")
        spec.output(
            "checkpoint",
            valid_type=orm.SinglefileData,
            required=False,
            help="The state of the structure in which the job was cut, arrays in NumPy's npz format.",
        )
        spec.default_output_node = "summary"

        options: Any = spec.inputs["metadata"]["options"]  # type: ignore[index]
        options["parser_name"].default = "hardcoat.ase"
        options["withmpi"].default = False
        options["input_filename"].default = INPUT
        options["output_filename"].default = OUTPUT

        for status, label, message in (
            (302, "ERROR_OUTPUT_MISSING", "The job left no output: look at its standard error with `verdi calcjob`."),
            (303, "ERROR_OUTPUT_CUT", "The job was killed, or its output was cut: nothing says that it is complete."),
            (304, "ERROR_OUTPUT_INVALID", "The output cannot be read: it was garbled on the way or while written."),
            (305, "ERROR_OUTPUT_NOT_FINITE", "Not a number in energy, forces or stress: check structure and model."),
            (310, "ERROR_OUT_OF_MEMORY", "Out of memory: use fewer atoms, a smaller model or a larger machine."),
            (311, "ERROR_PACKAGE_MISSING", "A package is missing where the code runs, install it: {reason}"),
            (312, "ERROR_CALCULATOR_FAILED", "The calculator failed: {reason}"),
            (313, "ERROR_DISK_FULL", "No space left where the job runs: free some and run the same command again."),
            (400, "ERROR_NOT_CONVERGED", "Not converged to the loosest force threshold within the allowed steps."),
            (401, "ERROR_GEOMETRY_EXPLODED", "The geometry exploded during relaxation: check structure and model."),
        ):
            spec.exit_code(status, label, message=message, invalidates_cache=True)

    def prepare_for_submission(self, folder: Folder) -> datastructures.CalcInfo:
        structure = self.inputs.structure
        job = {
            "cell": structure.cell,
            "symbols": [structure.get_kind(site.kind_name).symbol for site in structure.sites],
            "positions": [site.position for site in structure.sites],
            "strains": self.inputs.strains.get_list() if "strains" in self.inputs else None,
            "settings": self.inputs.settings.get_dict(),
            "walltime": self.node.get_option("max_wallclock_seconds"),
        }
        with folder.open(INPUT, "w", encoding="utf8") as handle:
            json.dump(job, handle)
        package = folder.get_subfolder(DRIVER, create=True)
        for part in resources.files(ase_driver).iterdir():
            if part.name.endswith(".py"):
                with package.open(part.name, "w", encoding="utf8") as handle:
                    handle.write(part.read_text("utf8"))
        earlier = [self.inputs[name] for name in ("previous", "checkpoint") if name in self.inputs]
        if earlier:
            records = records_of(self.inputs.previous) if "previous" in self.inputs else []
            with folder.open(PREVIOUS_RECORDS, "w", encoding="utf8") as handle:
                handle.writelines(json.dumps(line) + "\n" for line in ({"level": level_of(earlier[0])}, *records))

        code_info = datastructures.CodeInfo()
        code_info.code_uuid = self.inputs.code.uuid
        code_info.cmdline_params = ["-m", DRIVER]
        code_info.stdout_name = OUTPUT
        code_info.stderr_name = ERRORS

        calc_info = datastructures.CalcInfo()
        calc_info.codes_info = [code_info]
        calc_info.retrieve_list = [OUTPUT, ERRORS]
        # The numbers are stored once, as the trajectory that the parser makes of them.
        calc_info.retrieve_temporary_list = [RECORDS, STATE]
        if "checkpoint" in self.inputs:
            checkpoint = self.inputs.checkpoint
            calc_info.local_copy_list = [(checkpoint.uuid, checkpoint.filename, PREVIOUS_STATE)]
        return calc_info
