"""Restarts of the engine ``ase``: what a job finished is kept, what it left undone is run again."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ExitCode, ProcessHandlerReport, process_handler, while_
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_hardcoat.calculations.ase import AseCalculation
from aiida_hardcoat.workflows.relax import reason_of
from aiida_hardcoat.workflows.restart import ResumableRestartWorkChain

EXIT = AseCalculation.exit_codes
CUT = (
    EXIT.ERROR_NO_RETRIEVED_FOLDER,
    EXIT.ERROR_OUTPUT_CUT,
    EXIT.ERROR_OUTPUT_MISSING,
    EXIT.ERROR_OUTPUT_INVALID,
    EXIT.ERROR_SCHEDULER_OUT_OF_WALLTIME,
    EXIT.ERROR_SCHEDULER_NODE_FAILURE,
)
"""How jobs end that another job can go on from."""

UNFINISHED = (*CUT, EXIT.ERROR_DISK_FULL, EXIT.ERROR_OUT_OF_MEMORY, EXIT.ERROR_SCHEDULER_OUT_OF_MEMORY)
"""How jobs end that a new run of the same inputs can go on from, once the machine is mended."""

FRUITLESS_JOBS = 5
"""Jobs in a row that bring nothing new before the run ends."""
MOST_JOBS = 100
"""Jobs of one run, whatever they bring."""
MEMORY_DOUBLED = 2
"""How often a job that ran out of the memory it had asked a queue for gets twice as much."""

LEFT = {"trajectory": "previous", "checkpoint": "checkpoint"}
"""Outputs of a job that was cut, and the inputs that they become of the next."""


def left_by(job: orm.CalcJobNode) -> dict[str, orm.Data]:
    """What a job leaves to the next, as its inputs."""
    return {LEFT[name]: job.outputs[name] for name in LEFT if name in job.outputs}


def unfinished_results(inputs: AttributeDict) -> dict[str, orm.Data]:
    """What the newest job of equal inputs had done when it ended too soon; AiiDA's cache knows finished jobs only."""
    statuses = [code.status for code in UNFINISHED]
    filters = {"process_type": AseCalculation.build_process_type(), "attributes.exit_status": {"in": statuses}}
    query = orm.QueryBuilder().append(orm.CalcJobNode, filters=filters, tag="job", project="*")
    for name in ("structure", "strains", "settings", "code"):
        if name in inputs:
            content = {"extras._aiida_hash": inputs[name].base.caching.get_hash()}
            query.append(orm.Node, with_outgoing="job", edge_filters={"label": name}, filters=content)
    query.order_by({"job": {"id": "desc"}})
    jobs = (job for (job,) in query.iterall() if ("strains" in job.inputs) == ("strains" in inputs))
    return next((left for job in jobs if (left := left_by(job))), {})


def progress_of(job: orm.CalcJobNode) -> tuple[int, int]:
    """Finished structures, and steps in the one after them: what a job adds to it, it need not have been long for."""
    summary = job.outputs.summary.get_dict() if "summary" in job.outputs else {}
    return len(summary.get("statuses", {})), summary.get("in_progress", {}).get("steps", -1)


class AseWorkChain(ResumableRestartWorkChain):
    """Run :class:`~aiida_hardcoat.calculations.ase.AseCalculation` until every structure is finished."""

    _process_class = AseCalculation

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        super().define(spec)
        spec.expose_inputs(AseCalculation, namespace="ase")
        spec.expose_outputs(AseCalculation)
        spec.input("max_iterations", valid_type=orm.Int, default=lambda: orm.Int(MOST_JOBS), help="Jobs at most.")
        spec.outline(
            cls.setup,
            while_(cls.should_run_process)(cls.run_process, cls.inspect_process),
            cls.results,
        )
        spec.exit_code(
            403,
            "ERROR_NO_PROGRESS",
            message="{jobs} jobs in a row were cut before they brought anything new, the last with {reason}",
        )

    def setup(self) -> None:
        super().setup()
        self.ctx.inputs = AttributeDict(self.exposed_inputs(AseCalculation, "ase"))
        self.ctx.progress, self.ctx.fruitless = (0, -1), 0
        if not set(LEFT.values()) & set(self.ctx.inputs):
            earlier = unfinished_results(self.ctx.inputs)
            self.ctx.inputs.update(earlier)
            if earlier:
                self.report("going on from what an earlier job of the same inputs had done when it was cut")

    def inspect_process(self) -> ExitCode | None:
        """Also a run that fails hands over what its last job finished."""
        exit_code: ExitCode | None = super().inspect_process()
        if exit_code is not None and exit_code.status:
            self._attach_outputs(self.ctx.children[-1])
        return exit_code

    def keep_finished(self, calculation: orm.CalcJobNode) -> None:
        """Pass on what is finished, so that the next job does only the rest."""
        self.ctx.inputs.pop("checkpoint", None)
        self.ctx.inputs.update(left_by(calculation))

    def change_settings(self, **changes: Any) -> None:
        self.ctx.inputs.settings = orm.Dict({**self.ctx.inputs.settings.get_dict(), **changes})

    @process_handler(priority=400, exit_codes=list(CUT))
    def handle_cut_output(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        """A job that was killed: go on from what it did, as long as jobs do anything."""
        if left_by(calculation):  # a job that left nothing takes nothing away either
            self.keep_finished(calculation)
        progress = progress_of(calculation)
        self.ctx.fruitless = 0 if progress > self.ctx.progress else self.ctx.fruitless + 1
        self.ctx.progress = max(progress, self.ctx.progress)
        if self.ctx.fruitless >= FRUITLESS_JOBS:
            error = self.exit_codes.ERROR_NO_PROGRESS.format(jobs=FRUITLESS_JOBS, reason=reason_of(calculation))
            return ProcessHandlerReport(True, error)
        self.report(f"{calculation.process_label}<{calculation.pk}> was cut: going on from what it did")
        return ProcessHandlerReport(True)

    @process_handler(priority=350, exit_codes=[EXIT.ERROR_OUT_OF_MEMORY, EXIT.ERROR_SCHEDULER_OUT_OF_MEMORY])
    def handle_out_of_memory(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Twice the memory, where it was the job that asked for too little."""
        memory = self.ctx.inputs.metadata.options.get("max_memory_kb")
        self.ctx.memory_doubled = self.ctx.get("memory_doubled", 0) + 1
        if not memory or self.ctx.memory_doubled > MEMORY_DOUBLED:
            return None
        if left_by(calculation):
            self.keep_finished(calculation)
        self.ctx.inputs.metadata.options.max_memory_kb = 2 * memory
        self.report(f"out of memory: the next job asks for {2 * memory} kB")
        return ProcessHandlerReport(True)

    @process_handler(priority=300, exit_codes=[EXIT.ERROR_NOT_CONVERGED])
    def handle_not_converged(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        """Twice the steps, from the geometries reached; a second time with FIRE."""
        self.keep_finished(calculation)
        settings = self.ctx.inputs.settings
        if settings["optimiser"] == "FIRE":
            return ProcessHandlerReport(True, EXIT.ERROR_NOT_CONVERGED)
        optimiser = "FIRE" if self.ctx.get("steps_doubled", False) else "BFGS"
        self.ctx.steps_doubled = True
        self.change_settings(max_steps=2 * settings["max_steps"], optimiser=optimiser)
        self.report(f"not converged: {2 * settings['max_steps']} steps with {optimiser}")
        return ProcessHandlerReport(True)

    @process_handler(priority=200, exit_codes=[EXIT.ERROR_GEOMETRY_EXPLODED])
    def handle_exploded(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        """Once more from the start with the small steps of FIRE."""
        self.keep_finished(calculation)
        if self.ctx.inputs.settings["optimiser"] == "FIRE":
            return ProcessHandlerReport(True, EXIT.ERROR_GEOMETRY_EXPLODED)
        self.change_settings(optimiser="FIRE", max_steps=2 * self.ctx.inputs.settings["max_steps"])
        self.report("geometry exploded: once more with small steps")
        return ProcessHandlerReport(True)

    @process_handler(
        priority=100,
        exit_codes=[
            EXIT.ERROR_OUTPUT_NOT_FINITE,
            EXIT.ERROR_OUT_OF_MEMORY,
            EXIT.ERROR_PACKAGE_MISSING,
            EXIT.ERROR_CALCULATOR_FAILED,
            EXIT.ERROR_DISK_FULL,
            EXIT.ERROR_SCHEDULER_OUT_OF_MEMORY,
        ],
    )
    def handle_hopeless(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        """What would fail again ends here, with the calculation's own exit code and remedy."""
        assert calculation.exit_code is not None  # handlers see finished calculations only
        return ProcessHandlerReport(True, calculation.exit_code)
