"""Relaxation and strained cells with pw.x, by the workchains of aiida-quantumespresso."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder, ToContext
from aiida.engine.processes.workchains.workchain import WorkChainSpec
from aiida.plugins import DataFactory, WorkflowFactory
from aiida_quantumespresso.workflows.protocols.utils import get_magnetization
from numpy.typing import NDArray

from aiida_hardcoat.calculations.quantumespresso import PSEUDO, gather_pw
from aiida_hardcoat.engines.quantumespresso_settings import (
    coarse_settings,
    fixed_occupations,
    kpoints_mesh,
    pw_parameters,
)
from aiida_hardcoat.workflows.dft import DftWorkChain
from aiida_hardcoat.workflows.relax import message_of

LARGEST_ROUNDS = 5
"""Relaxations after each other, each with the plane waves and k-points of the cell that the one before came to."""

GAP = 1.0
"""eV that the unstrained crystal must have between occupied and empty bands to be computed without smearing."""
SEVERAL_FERMI_LEVELS = ("cold", "methfessel-paxton")
"""Smearings whose number of electrons does not rise steadily with the Fermi level."""

UNSETTLED = 400
"""Exit status of PwRelaxWorkChain whose last round still found another stress than the one before."""
UNSETTLED_REASON = "the stress differs in the plane waves of each new cell"


class QuantumEspressoWorkChain(DftWorkChain):
    """Relaxation and strained cells with pw.x, whose own workchains mend what can be mended."""

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        super().define(spec)
        spec.input_namespace(
            "pseudos", valid_type=DataFactory("pseudo.upf"), dynamic=True, help="The potentials by element."
        )

    def look_ahead(self) -> ToContext | None:
        """The bands of the crystal on half the k-points, with Gaussian smearing.

        Cold smearing leaves a crystal with a gap as it is, if the Fermi level lies in the gap. But a level within the
        valence bands gives the right number of electrons too, and `pw.x` may find that one, in one step of a
        relaxation and not in the next (`pw.x` 6.7, zincblende AlN under shear).
        """
        settings = self.inputs.settings.get_dict()
        self.ctx.has_gap = settings["occupations"] == "fixed"
        known = settings["occupations"] != "auto"
        if known or settings["smearing"] not in SEVERAL_FERMI_LEVELS or settings["spin"]:
            return None
        builder = cast(Any, WorkflowFactory("quantumespresso.pw.base")).get_builder()
        builder.pw.structure = self.ctx.parent
        builder.clean_workdir = orm.Bool(True)
        builder.metadata.call_link_label = "bands"
        self.fill(builder, coarse_settings(settings, self.mesh()))
        return ToContext(bands=self.submit(builder))

    def inspect_outlook(self) -> ExitCode | None:
        """Where there is a gap, fixed occupations: the same numbers with no Fermi level to be found."""
        if "bands" not in self.ctx:
            return None
        if not self.ctx.bands.is_finished_ok:
            return self.exit_codes.ERROR_RELAXATION_FAILED.format(stage="bands", reason=message_of(self.ctx.bands))
        outputs = self.ctx.bands.outputs
        gap = band_gap(outputs.output_band.get_bands(), outputs.output_parameters["number_of_electrons"])
        self.ctx.has_gap = gap > GAP
        if self.ctx.has_gap:
            self.report(f"a gap of {gap:.1f} eV: occupations are fixed, which is what smearing means here")
        return None

    def relaxation_builder(self, structure: orm.StructureData, stage: str) -> ProcessBuilder:
        """Relaxations until the pressure stays below the threshold also with the plane waves of the final cell."""
        builder = cast(Any, WorkflowFactory("quantumespresso.pw.relax")).get_builder()
        builder.structure = structure
        self.fill(builder.base_relax, self.settings_of(self.task))
        if self.task == "relax_cell":
            # pw.x moves fixed ions with the cell.
            fixed = [[True, True, True]] * len(structure.sites)
            builder.base_relax.pw.settings = orm.Dict({"FIXED_COORDS": fixed})
        builder.clean_workdir = orm.Bool(True)
        builder.max_meta_convergence_iterations = orm.Int(LARGEST_ROUNDS)
        return cast(ProcessBuilder, builder)

    def relaxed_structure_of(self, process: orm.ProcessNode) -> orm.StructureData:
        structure: orm.StructureData = process.outputs.output_structure
        return structure

    def inspect_relaxation(self) -> ExitCode | None:
        """Relax once more where the relaxed cell asks for other k-points, or is under stress with its own plane waves.

        All that follows uses those k-points and plane waves; aiida-quantumespresso looks at the pressure alone.
        """
        stage, relaxation, before = self.ctx.stages[0], self.ctx.relaxation, self.mesh()
        failed = self.exit_codes.ERROR_RELAXATION_FAILED
        if relaxation.exit_status == UNSETTLED:
            return failed.format(stage=stage, reason=f"{UNSETTLED_REASON}: raise the cutoff")
        exit_code = super().inspect_relaxation()
        if exit_code is not None:
            return exit_code
        self.ctx.rounds = self.ctx.get("rounds", 0) + 1
        stress = float(np.abs(relaxation.outputs.output_trajectory.get_array("stress")[-1]).max())
        at_rest = stress <= self.inputs.settings["stress_threshold"]
        if self.ctx.rounds < LARGEST_ROUNDS and not (at_rest and self.mesh() == before):
            self.ctx.stages.append(f"relax_{self.ctx.rounds + 1}")
        elif not at_rest:
            return failed.format(stage=stage, reason=f"{UNSETTLED_REASON}, {stress:.2f} GPa at last: raise the cutoff")
        return None

    def structure_builder(self, structure: orm.StructureData) -> ProcessBuilder:
        builder = cast(Any, WorkflowFactory("quantumespresso.pw.base")).get_builder()
        builder.pw.structure = structure
        builder.clean_workdir = orm.Bool(True)  # the wave functions of many cells would fill the disk
        task = "relax_ions" if self.task == "relax_ions" else "static"
        self.fill(builder, self.settings_of(task, force_thresholds=self.thresholds_left(structure)))
        return cast(ProcessBuilder, builder)

    def thresholds_left(self, structure: orm.StructureData) -> list[float]:
        """The force thresholds, without those that earlier tries of this structure had; the loosest stays."""
        tries = self.ctx.tries[[one.uuid for one in self.ctx.structures].index(structure.uuid)]
        thresholds: list[float] = self.inputs.settings["force_thresholds"]
        return thresholds[tries - 1 :] or thresholds[-1:]

    def results_of(self, process: orm.ProcessNode) -> dict[str, orm.Data]:
        return {"trajectory": process.outputs.output_trajectory, "parameters": process.outputs.output_parameters}

    def gather(
        self, structure: orm.StructureData, settings: orm.Dict, strains: orm.List | None, **results: orm.Data
    ) -> dict[str, orm.Data]:
        pseudos = {f"{PSEUDO}{element}": pseudo for element, pseudo in self.inputs.pseudos.items()}
        outputs: dict[str, orm.Data] = gather_pw(structure, settings, strains, **results, **pseudos)
        return outputs

    def mesh(self) -> list[int]:
        """The k-points of the unstrained cell, which all its copies share."""
        return kpoints_mesh(self.ctx.parent.cell, self.inputs.settings.get_dict())

    def settings_of(self, task: str, **changes: Any) -> dict[str, Any]:
        """The settings for one task, on the mesh that all structures share."""
        return {**self.inputs.settings.get_dict(), "task": task, "kpoints_mesh": self.mesh(), **changes}

    def fill(self, base: Any, settings: dict[str, Any]) -> None:
        """The inputs of a PwBaseWorkChain, all but the structure."""
        parent, pseudos = self.ctx.parent, self.inputs.pseudos
        pseudo_of_kind = {kind.name: pseudos[kind.symbol] for kind in parent.kinds}
        parameters = pw_parameters(settings, len(parent.sites))
        if self.ctx.get("has_gap", False):
            parameters = fixed_occupations(parameters)
        if settings["spin"] and "starting_magnetization" not in parameters["SYSTEM"]:
            valences = {kind: pseudo.z_valence for kind, pseudo in pseudo_of_kind.items()}
            moments = get_magnetization(parent, valences)["starting_magnetization"]
            parameters["SYSTEM"]["starting_magnetization"] = moments
        base.pw.code = self.inputs.code
        base.pw.pseudos = pseudo_of_kind
        base.pw.parameters = orm.Dict(parameters)
        if settings["parallelization"]:
            base.pw.parallelization = orm.Dict(settings["parallelization"])
        base.pw.metadata.options = self.job_options()
        base.kpoints = orm.KpointsData()
        base.kpoints.set_kpoints_mesh(settings["kpoints_mesh"])

    def job_options(self) -> dict[str, Any]:
        """The options of a job; whether it runs under MPI is for the code to say."""
        with_mpi = self.inputs.code.with_mpi
        return {**self.inputs.options} if with_mpi is None else {"withmpi": with_mpi, **self.inputs.options}


def band_gap(bands: NDArray[np.float64], electrons: float) -> float:
    """The gap above the bands that the electrons fill, eV; below zero for a metal.

    :param bands: ``(k-points, bands)`` energies of bands with two electrons each, eV.
    """
    filled, left = divmod(round(electrons), 2)
    if left:
        return -np.inf
    return float(bands[:, filled].min() - bands[:, filled - 1].max())
