"""Strained cells of a large crystal with the engine ``ase``, spread over several jobs."""

from __future__ import annotations

from typing import Any, cast

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ExitCode, if_, while_
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_hardcoat.calculations.ase import AseCalculation
from aiida_hardcoat.calculations.ase_parts import merge_parts, split_strains
from aiida_hardcoat.engines.ase_driver.geometry import amplitude_along
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.strain import VOIGT_LABELS
from aiida_hardcoat.workflows.ase import AseWorkChain
from aiida_hardcoat.workflows.relax import reason_of
from aiida_hardcoat.workflows.rolling import RollingWorkChain

RESULTS = ("trajectory", "summary")


class AseSpreadWorkChain(RollingWorkChain):
    """An :class:`~aiida_hardcoat.workflows.ase.AseWorkChain` for each part of the strains, each with its own restarts;
    their results as if one had computed all.
    """

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        super().define(spec)
        spec.expose_inputs(AseCalculation, namespace="ase", exclude=("previous", "checkpoint"))
        spec.input("parts", valid_type=orm.Int, help="Over how many jobs the strains go.")
        spec.input("jobs_at_once", valid_type=int, non_db=True, default=0, help="Jobs at once; 0: all.")
        spec.outline(
            cls.split,
            while_(cls.has_unfinished)(cls.run_parts, cls.inspect_parts),
            if_(cls.has_results)(cls.merge),
            cls.results,
        )
        spec.output("trajectory", valid_type=orm.TrajectoryData, help="Energies, forces and stresses, GPa and eV.")
        spec.output("summary", valid_type=orm.Dict, help="Level of theory, convergence and cost.")
        spec.exit_code(
            402,
            "ERROR_PARTS_FAILED",
            message="{failed} of {parts} jobs failed, what they and the others finished is kept. The first, with the"
            " strains along {directions}: {reason}",
        )
        spec.exit_code(403, "ERROR_RESULTS_UNUSABLE", message="The results cannot be used: {reason}")

    def split(self) -> None:
        parts = split_strains(self.inputs.ase.strains, self.inputs.parts)
        self.ctx.parts = [parts[f"part_{number}"] for number in range(len(parts))]
        self.ctx.waiting, self.ctx.running, self.ctx.processes = list(range(len(parts))), {}, {}

    def has_unfinished(self) -> bool:
        return bool(self.ctx.waiting or self.ctx.running)

    def run_parts(self) -> None:
        """Submit as many as may run side by side."""
        while self.ctx.waiting and len(self.ctx.running) < (self.inputs.jobs_at_once or len(self.ctx.parts)):
            number = self.ctx.waiting.pop(0)
            inputs = AttributeDict(self.exposed_inputs(AseCalculation, "ase"))
            inputs.strains = self.ctx.parts[number]
            metadata: dict[str, Any] = {"call_link_label": f"part_{number}"}
            self.ctx.running[number] = self.submit(AseWorkChain, ase=inputs, metadata=metadata).pk
        self.await_first(self.ctx.running)

    def inspect_parts(self) -> None:
        self.ctx.processes |= {number: part.pk for number, part in self.take_ended(self.ctx.running).items()}

    def ended(self) -> dict[int, orm.ProcessNode]:
        """The workchains of all parts."""
        return {number: cast(orm.ProcessNode, orm.load_node(pk)) for number, pk in sorted(self.ctx.processes.items())}

    def found(self) -> dict[str, orm.Data]:
        """What the parts have, also those that failed, as inputs of the calcfunction."""
        return {
            f"{name}_{number}": outputs[name]
            for number, part in self.ended().items()
            for outputs in [part.outputs]
            for name in RESULTS
            if "summary" in outputs and name in outputs
        }

    def has_results(self) -> bool:
        return bool(self.found())

    def merge(self) -> ExitCode | None:
        try:
            outputs = merge_parts(self.inputs.ase.strains, self.inputs.parts, **self.found())
        except InputError as error:
            return self.exit_codes.ERROR_RESULTS_UNUSABLE.format(reason=error)
        for name in RESULTS:
            if name in outputs:
                self.out(name, outputs[name])
        return None

    def results(self) -> ExitCode | None:
        failed = {number: part for number, part in self.ended().items() if not part.is_finished_ok}
        if not failed:
            return None
        first = min(failed)
        return self.exit_codes.ERROR_PARTS_FAILED.format(
            failed=len(failed),
            parts=len(self.ctx.parts),
            directions=", ".join(directions(self.ctx.parts[first].get_list())),
            reason=reason_of(failed[first]),
        )


def directions(strains: list[list[float]]) -> list[str]:
    """The directions of some strains by the labels of their components, such as ``xx`` or ``yy+zz``."""
    units = dict.fromkeys(amplitude_along(strain)[0] for strain in strains)
    return ["+".join(name for name, part in zip(VOIGT_LABELS, unit, strict=True) if part) or "none" for unit in units]
