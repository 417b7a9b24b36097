"""What the DFT engines have in common: one calculation for each structure, each retried by itself."""

from __future__ import annotations

import os
from typing import Any, cast

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder, ToContext, if_, while_
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_hardcoat.calculations.dft import is_sorted, relaxed_parent, sorted_structure, strained_structures
from aiida_hardcoat.engines.codes import has_queue
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.workflows.relax import message_of
from aiida_hardcoat.workflows.rolling import RollingWorkChain

TRIES = 2
"""Submissions of one structure, each with all the repairs of its own workchain."""


class DftWorkChain(RollingWorkChain):
    """Relax a crystal and compute it where it came to rest, or compute its strained copies.

    An engine subclasses it and says how its code does each step:

    - :attr:`STAGES`, the names of the relaxations that follow each other where the cell relaxes;
    - :meth:`relaxation_builder` for one of them, whose process hands its structure to :meth:`relaxed_structure_of`;
    - :meth:`structure_builder` for one structure in a fixed cell, its ions relaxed (task ``relax_ions``) or not. All
      copies share the k-mesh of the unstrained parent, ``self.ctx.parent``;
    - :meth:`results_of`, the nodes of such a process that tell its energy, forces and stress;
    - :meth:`look_ahead` and :meth:`inspect_outlook`, where something must be known of the crystal first;
    - :meth:`gather`, a calcfunction that makes ``trajectory`` and ``summary`` of the nodes of all structures.
    """

    STAGES: tuple[str, ...] = ("relax",)

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        super().define(spec)
        spec.input("code", valid_type=orm.AbstractCode, help="The code that computes.")
        spec.input("structure", valid_type=orm.StructureData, help="The unstrained structure.")
        spec.input("strains", valid_type=orm.List, required=False, help="Rows of Voigt strains, engineering shear.")
        spec.input("settings", valid_type=orm.Dict, help="Task, model, thresholds, and the engine's own settings.")
        spec.input("options", valid_type=dict, non_db=True, default=dict, help="Options of the jobs.")
        spec.input("jobs_at_once", valid_type=int, non_db=True, default=0, help="Structures at once; 0: what fits.")
        spec.outline(
            cls.setup,
            cls.look_ahead,
            cls.inspect_outlook,
            while_(cls.has_stage)(cls.run_relaxation, cls.inspect_relaxation),
            cls.make_structures,
            while_(cls.has_unfinished)(cls.run_structures, cls.inspect_structures),
            if_(cls.has_finished)(cls.gather_results),
            cls.inspect_results,
        )
        spec.output("trajectory", valid_type=orm.TrajectoryData, help="Energies, forces and stresses, GPa and eV.")
        spec.output("summary", valid_type=orm.Dict, help="Level of theory, convergence and cost.")
        spec.output("structure", valid_type=orm.StructureData, required=False, help="The relaxed structure.")
        spec.exit_code(401, "ERROR_RELAXATION_FAILED", message="The relaxation failed at stage {stage}: {reason}")
        spec.exit_code(
            402,
            "ERROR_STRUCTURES_FAILED",
            message="{failed} of {asked} calculations failed twice, the others are kept. The first: {reason}",
        )
        spec.exit_code(403, "ERROR_RESULTS_UNUSABLE", message="The results cannot be used: {reason}")

    # --- what an engine says ------------------------------------------------------------------------------------

    def relaxation_builder(self, structure: orm.StructureData, stage: str) -> ProcessBuilder:
        """A process that relaxes cell and ions (task ``relax``) or the cell alone (``relax_cell``)."""
        raise NotImplementedError

    def relaxed_structure_of(self, process: orm.ProcessNode) -> orm.StructureData:
        """What the process of :meth:`relaxation_builder` has made of the structure."""
        raise NotImplementedError

    def structure_builder(self, structure: orm.StructureData) -> ProcessBuilder:
        """A process that computes one structure in a fixed cell."""
        raise NotImplementedError

    def results_of(self, process: orm.ProcessNode) -> dict[str, orm.Data]:
        """The nodes of a finished process of :meth:`structure_builder` that :meth:`gather` reads; names without ``_``
        at their end."""
        raise NotImplementedError

    def gather(
        self, structure: orm.StructureData, settings: orm.Dict, strains: orm.List | None, **results: orm.Data
    ) -> dict[str, orm.Data]:
        """The engine's calcfunction, called with nodes named ``NAME_INDEX``.

        :raises InputError: for results that do not belong together.
        """
        raise NotImplementedError

    def look_ahead(self) -> ToContext | None:
        """Run what the engine must know of the crystal beforehand; nothing by default."""
        return None

    def inspect_outlook(self) -> ExitCode | None:
        """Judge what :meth:`look_ahead` has found."""
        return None

    # --- the steps ----------------------------------------------------------------------------------------------

    @property
    def task(self) -> str:
        return str(self.inputs.settings["task"])

    def setup(self) -> None:
        structure = self.inputs.structure
        self.ctx.parent = structure if is_sorted(structure) else sorted_structure(structure)
        self.ctx.stages = list(self.STAGES) if self.task in ("relax", "relax_cell") else []

    def has_stage(self) -> bool:
        return bool(self.ctx.stages)

    def run_relaxation(self) -> ToContext:
        stage = self.ctx.stages[0]
        builder = labelled(self.relaxation_builder(self.ctx.parent, stage), f"relaxation_{stage}")
        return ToContext(relaxation=self.submit(builder))

    def inspect_relaxation(self) -> ExitCode | None:
        stage, relaxation = self.ctx.stages.pop(0), self.ctx.relaxation
        if not relaxation.is_finished_ok:
            return self.exit_codes.ERROR_RELAXATION_FAILED.format(stage=stage, reason=message_of(relaxation))
        self.ctx.parent = relaxed_parent(self.ctx.parent, self.relaxed_structure_of(relaxation))
        return None

    def make_structures(self) -> None:
        """The strained copies; without strains the structure itself, where it came to rest."""
        if "strains" in self.inputs:
            copies = strained_structures(self.ctx.parent, self.inputs.strains)
            self.ctx.structures = [copies[f"strained_{index}"] for index in range(len(copies))]
        else:
            self.ctx.structures = [self.ctx.parent]
        self.ctx.waiting = list(range(len(self.ctx.structures)))
        self.ctx.running, self.ctx.processes = {}, {}
        self.ctx.tries = [0] * len(self.ctx.structures)
        self.ctx.reasons = {}

    def has_unfinished(self) -> bool:
        return bool(self.ctx.waiting or self.ctx.running)

    def run_structures(self) -> None:
        """Submit as many as may run side by side; the first that ends makes room for the next."""
        fitting = jobs_at_once(self.inputs.code.computer, self.inputs.options)
        width = min(fitting, self.inputs.jobs_at_once or fitting)
        while self.ctx.waiting and len(self.ctx.running) < width:
            index = self.ctx.waiting.pop(0)
            self.ctx.tries[index] += 1
            name = f"structure_{index}_again" if self.ctx.tries[index] > 1 else f"structure_{index}"
            builder = self.structure_builder(self.ctx.structures[index])
            self.ctx.running[index] = self.submit(labelled(builder, name)).pk
        self.await_first(self.ctx.running)

    def inspect_structures(self) -> None:
        """Keep what finished; what failed waits for a second try of its own, once the others had their first."""
        for index, process in self.take_ended(self.ctx.running).items():
            self.ctx.processes[index] = process.pk
            if process.is_finished_ok:
                self.ctx.reasons.pop(index, None)
                continue
            self.ctx.reasons[index] = message_of(process)
            if self.ctx.tries[index] < TRIES and not process.is_killed:
                self.report(f"structure {index} failed ({message_of(process)}): it is tried again by itself")
                self.ctx.waiting.append(index)

    def finished(self) -> list[int]:
        return [index for index in range(len(self.ctx.structures)) if index not in self.ctx.reasons]

    def has_finished(self) -> bool:
        return bool(self.finished())

    def gather_results(self) -> ExitCode | None:
        """Convert to common units and signs, all structures in one trajectory."""
        results = {
            f"{name}_{index}": node
            for index in self.finished()
            for name, node in self.results_of(orm.load_node(self.ctx.processes[index])).items()
        }
        strains = self.inputs.strains if "strains" in self.inputs else None
        try:
            outputs = self.gather(self.ctx.parent, self.inputs.settings, strains, **results)
        except InputError as error:
            return self.exit_codes.ERROR_RESULTS_UNUSABLE.format(reason=error)
        for name, node in outputs.items():
            self.out(name, node)
        if strains is None and "structure" not in self.outputs:
            self.out("structure", self.ctx.parent)
        return None

    def inspect_results(self) -> ExitCode | None:
        if not self.ctx.reasons:
            return None
        first = min(self.ctx.reasons)
        return self.exit_codes.ERROR_STRUCTURES_FAILED.format(
            failed=len(self.ctx.reasons),
            asked=len(self.ctx.structures),
            reason=f"structure {first}, {self.ctx.reasons[first]}",
        )


def labelled(builder: Any, label: str) -> ProcessBuilder:
    """The builder of a process that its caller knows by a label."""
    builder.metadata.call_link_label = label
    return cast(ProcessBuilder, builder)


def jobs_at_once(computer: orm.Computer, options: dict[str, Any]) -> int:
    """How many jobs to hand over together: a queue takes all, a machine without one as many as it has cores for."""
    if has_queue(computer):
        return 1000
    resources = options.get("resources", {})
    processes = resources.get("tot_num_mpiprocs") or (
        resources.get("num_machines", 1)
        * (resources.get("num_mpiprocs_per_machine") or computer.get_default_mpiprocs_per_machine() or 1)
    )
    return max(1, (os.cpu_count() or 1) // processes)
