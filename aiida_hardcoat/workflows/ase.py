"""Restarts of the engine ``ase``: what a job finished is kept, what it left undone is run again."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import BaseRestartWorkChain, ExitCode, ProcessHandlerReport, process_handler, while_
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_hardcoat.calculations.ase import AseCalculation

EXIT = AseCalculation.exit_codes
CUT = [
    code.status
    for code in (EXIT.ERROR_OUTPUT_CUT, EXIT.ERROR_SCHEDULER_OUT_OF_WALLTIME, EXIT.ERROR_SCHEDULER_NODE_FAILURE)
]


def unfinished_results(inputs: AttributeDict) -> orm.TrajectoryData | None:
    """What the newest job of equal inputs had finished when it was cut; AiiDA's cache knows finished jobs only."""
    if "strains" not in inputs:
        return None  # one structure is finished or it is not
    filters = {"process_type": AseCalculation.build_process_type(), "attributes.exit_status": {"in": CUT}}
    query = orm.QueryBuilder().append(orm.CalcJobNode, filters=filters, tag="job")
    for name in ("structure", "strains", "settings", "code"):
        if name in inputs:
            content = {"extras._aiida_hash": inputs[name].base.caching.get_hash()}
            query.append(orm.Node, with_outgoing="job", edge_filters={"label": name}, filters=content)
    query.append(orm.TrajectoryData, with_incoming="job", edge_filters={"label": "trajectory"}, project="*")
    query.order_by({"job": {"id": "desc"}})
    row = query.first()
    return row[0] if row else None


class AseWorkChain(BaseRestartWorkChain):
    """Run :class:`~aiida_hardcoat.calculations.ase.AseCalculation` until every structure is finished."""

    _process_class = AseCalculation

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        super().define(spec)
        spec.expose_inputs(AseCalculation, namespace="ase")
        spec.expose_outputs(AseCalculation)
        spec.outline(
            cls.setup,
            while_(cls.should_run_process)(cls.run_process, cls.inspect_process),
            cls.results,
        )

    def setup(self) -> None:
        super().setup()
        self.ctx.inputs = AttributeDict(self.exposed_inputs(AseCalculation, "ase"))
        earlier = unfinished_results(self.ctx.inputs)
        if earlier is not None and "previous" not in self.ctx.inputs:
            self.ctx.inputs.previous = earlier
            self.report(f"going on from the {len(earlier.get_stepids())} structures of an earlier job that was cut")

    def inspect_process(self) -> ExitCode | None:
        """Also a run that fails hands over what its last job finished."""
        exit_code: ExitCode | None = super().inspect_process()
        if exit_code is not None and exit_code.status:
            self._attach_outputs(self.ctx.children[-1])
        return exit_code

    def keep_finished(self, calculation: orm.CalcJobNode) -> None:
        """Pass on what is finished, so that the next job does only the rest."""
        if "trajectory" in calculation.outputs:
            self.ctx.inputs.previous = calculation.outputs.trajectory

    def change_settings(self, **changes: Any) -> None:
        self.ctx.inputs.settings = orm.Dict({**self.ctx.inputs.settings.get_dict(), **changes})

    @process_handler(
        priority=400,
        exit_codes=[
            EXIT.ERROR_OUTPUT_CUT,
            EXIT.ERROR_OUTPUT_MISSING,
            EXIT.ERROR_OUTPUT_INVALID,
            EXIT.ERROR_SCHEDULER_OUT_OF_WALLTIME,
            EXIT.ERROR_SCHEDULER_NODE_FAILURE,
        ],
    )
    def handle_cut_output(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        """A job that was killed: go on from the structures that it finished."""
        self.keep_finished(calculation)
        self.report(f"{calculation.process_label}<{calculation.pk}> was cut: going on from what it finished")
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
