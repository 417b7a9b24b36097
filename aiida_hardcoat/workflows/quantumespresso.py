"""Relaxation and strained cells with pw.x, by the workchains of aiida-quantumespresso."""

from __future__ import annotations

from typing import Any, cast

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder
from aiida.engine.processes.workchains.workchain import WorkChainSpec
from aiida.plugins import DataFactory, WorkflowFactory
from aiida_quantumespresso.workflows.protocols.utils import get_magnetization

from aiida_hardcoat.calculations.quantumespresso import PSEUDO, gather_pw
from aiida_hardcoat.engines.quantumespresso_settings import kpoints_mesh, pw_parameters
from aiida_hardcoat.workflows.dft import DftWorkChain

LARGEST_ROUNDS = 5
"""Relaxations after each other, each with the plane waves and k-points of the cell that the one before came to."""

UNSETTLED = 400
"""Exit status of PwRelaxWorkChain whose last round still found another stress than the one before."""


class QuantumEspressoWorkChain(DftWorkChain):
    """Relaxation and strained cells with pw.x, whose own workchains mend what can be mended."""

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        super().define(spec)
        spec.input_namespace(
            "pseudos", valid_type=DataFactory("pseudo.upf"), dynamic=True, help="The potentials by element."
        )

    def relaxation_builder(self, structure: orm.StructureData, stage: str) -> ProcessBuilder:
        """Relaxations until the pressure stays below the threshold also with the plane waves of the final cell."""
        builder = cast(Any, WorkflowFactory("quantumespresso.pw.relax")).get_builder()
        builder.structure = structure
        self.fill(builder.base_relax, self.task)
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
        """Relax once more where the k-points that go with the relaxed cell are others: all that follows uses those."""
        if self.ctx.relaxation.exit_status == UNSETTLED:
            stage, reason = (
                self.ctx.stages[0],
                "the stress differs in the plane waves of each new cell: raise the cutoff",
            )
            return self.exit_codes.ERROR_RELAXATION_FAILED.format(stage=stage, reason=reason)
        before = self.mesh()
        exit_code = super().inspect_relaxation()
        self.ctx.rounds = self.ctx.get("rounds", 0) + 1
        if exit_code is None and self.mesh() != before and self.ctx.rounds < LARGEST_ROUNDS:
            self.ctx.stages.append(f"relax_{self.ctx.rounds + 1}")
        return exit_code

    def structure_builder(self, structure: orm.StructureData) -> ProcessBuilder:
        builder = cast(Any, WorkflowFactory("quantumespresso.pw.base")).get_builder()
        builder.pw.structure = structure
        builder.clean_workdir = orm.Bool(True)  # the wave functions of many cells would fill the disk
        task = "relax_ions" if self.task == "relax_ions" else "static"
        self.fill(builder, task, force_thresholds=self.thresholds_left(structure))
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

    def fill(self, base: Any, task: str, **changes: Any) -> None:
        """The inputs of a PwBaseWorkChain for one task, all but the structure; settings with changes."""
        settings = {**self.inputs.settings.get_dict(), "task": task, **changes}
        parent, pseudos = self.ctx.parent, self.inputs.pseudos
        pseudo_of_kind = {kind.name: pseudos[kind.symbol] for kind in parent.kinds}
        parameters = pw_parameters(settings, len(parent.sites))
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
        base.kpoints.set_kpoints_mesh(self.mesh())

    def job_options(self) -> dict[str, Any]:
        """The options of a job; whether it runs under MPI is for the code to say."""
        with_mpi = self.inputs.code.with_mpi
        return {**self.inputs.options} if with_mpi is None else {"withmpi": with_mpi, **self.inputs.options}
