"""Restarts of the engine ``vasp``: the plugin's workchain with its bugs repaired and a remedy for every known fault."""

from __future__ import annotations

import math
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ProcessHandlerReport, process_handler
from aiida.engine.processes.workchains.workchain import WorkChainSpec
from aiida_vasp.workchains.v2.vasp import VaspWorkChain

from aiida_hardcoat.calculations.vasp import (
    FAULTS,
    KPOINTS,
    Fault,
    HardcoatVaspCalculation,
    Kept,
    OtherOptimiser,
    Scaled,
)
from aiida_hardcoat.workflows.restart import ResumableRestartWorkChain

EXIT = HardcoatVaspCalculation.exit_codes
FAULT_OF = {fault.status: fault for fault in FAULTS}
CUT = [
    EXIT.ERROR_DID_NOT_FINISH,
    EXIT.ERROR_SCHEDULER_OUT_OF_WALLTIME,
    EXIT.ERROR_SCHEDULER_NODE_FAILURE,
    EXIT.STOPPED_BY_MONITOR,
]
LOOP_TIME = "hardcoat.vasp.loop_time"
RESTARTS_WITHOUT_PROGRESS = 3
"""Restarts of a run that is cut before it has done one ionic step."""
CONTINUATIONS = 2
"""How often a relaxation that used up its steps goes on at one force threshold."""
OF_RESTARTS = ("istart", "icharg")
AFFECTS_NUMBERS = frozenset({KPOINTS, "ismear", "sigma", "isym", "lreal", "ediffg"})
"""Of what the remedies change, the tags that a result depends on beyond its convergence."""


def validate_thresholds(value: orm.List, _: Any) -> str | None:
    thresholds = value.get_list()
    if not thresholds or any(not isinstance(t, (int, float)) or t <= 0 for t in thresholds):
        return "force_thresholds must be a list of positive numbers (eV/Angstrom)"
    return None if thresholds == sorted(thresholds) else "force_thresholds must go from tight to loose"


class VaspBaseWorkChain(ResumableRestartWorkChain, VaspWorkChain):
    """Run :class:`~aiida_hardcoat.calculations.vasp.HardcoatVaspCalculation` until it succeeds or no remedy is left.

    The remedies stand in :data:`~aiida_hardcoat.calculations.vasp.FAULTS`. A run that cannot be mended ends with the
    exit code of its last calculation, whose message says what to do. No remedy touches cut-offs, functional or spin;
    what else was changed is told by :func:`changes_of`.
    """

    _process_class = HardcoatVaspCalculation

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        super().define(spec)
        spec.input(
            "force_thresholds",
            valid_type=orm.List,
            required=False,
            serializer=orm.to_aiida_type,
            validator=validate_thresholds,
            help="Largest force on an ion at rest, eV/Angstrom, tight to loose. The first one is the aim (EDIFFG); "
            "each of the others only where the one before it is out of reach. Without it, EDIFFG of INCAR alone.",
        )
        spec.inputs["max_iterations"].default = lambda: orm.Int(20)  # type: ignore[union-attr]

    def setup(self) -> None:
        super().setup()
        self.ctx.remedies_tried = {}
        self.ctx.restarts_without_progress = 0
        self.ctx.continuations = 0
        self.ctx.thresholds = []

    def init_inputs(self) -> ExitCode | None:
        exit_code: ExitCode | None = super().init_inputs()
        if exit_code is not None:
            return exit_code
        # The plugin's calculation reads `settings` whenever it restarts, given or not.
        self.ctx.inputs.setdefault("settings", orm.Dict())
        if not self.inputs.get("monitors") and "loop_time" in self.ctx.inputs.get("monitors", {}):
            self.ctx.inputs.monitors = repaired_monitors(self.ctx.inputs.monitors)
        if "force_thresholds" in self.inputs and self.ctx.inputs.parameters.get("nsw", 0) > 0:
            first, *self.ctx.thresholds = self.inputs.force_thresholds.get_list()
            self.ctx.inputs.parameters["ediffg"] = -first
        return None

    def prepare_inputs(self) -> None:
        """Hand over the folder that a restart reads WAVECAR and CHGCAR from, which the plugin forgets."""
        previous, files = self.ctx.restart_calc, self.ctx.last_calc_remote_objects
        super().prepare_inputs()
        if previous is None:
            return
        self.ctx.inputs.restart_folder = previous.outputs.remote_folder
        parameters = self.ctx.inputs.parameters
        if parameters.get("istart") == 0 and "WAVECAR" in files:
            parameters["istart"] = 1
        if parameters.get("icharg") == 2 and "CHGCAR" in files:
            parameters["icharg"] = 1

    def inspect_process(self) -> ExitCode | None:
        """Where the number of iterations ends the run, the last calculation's own exit code tells more."""
        exit_code: ExitCode | None = super().inspect_process()
        last = self.ctx.children[-1]
        if exit_code == self.exit_codes.ERROR_MAXIMUM_ITERATIONS_EXCEEDED and last.is_failed:
            return ExitCode(last.exit_status, last.exit_message)
        return exit_code

    def restart(self, calculation: orm.CalcJobNode, with_waves: bool, from_start: bool = False) -> ProcessHandlerReport:
        """Go on from the last complete ionic step, and from the wavefunctions where they are good and wanted."""
        if "structure" in calculation.outputs and not from_start:
            self.ctx.inputs.structure = calculation.outputs.structure
        self.ctx.inputs.pop("restart_folder", None)
        if with_waves:
            self._setup_restart(calculation)
        return ProcessHandlerReport(do_break=True)

    def give_up(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        code = ExitCode(calculation.exit_status, calculation.exit_message)
        self.report(f"nothing is left to try: {calculation.exit_message}")
        return ProcessHandlerReport(do_break=True, exit_code=code)

    def apply(self, remedy: dict[str, Any], calculation: orm.CalcJobNode) -> dict[str, Any]:
        """Set the INCAR tags of a remedy; returns what really changed."""
        parameters, changed = self.ctx.inputs.parameters, {}
        for name, target in remedy.items():
            if name == KPOINTS:
                value, present = gamma_centred(self.ctx.inputs.kpoints), self.ctx.inputs.kpoints
            else:
                present = parameters.get(name)
                value = new_value(name, target, parameters, calculation)
            if value is None or same(value, present):
                continue
            changed[name] = "centred on Gamma" if name == KPOINTS else value
            if name == KPOINTS:
                self.ctx.inputs.kpoints = value
            else:
                parameters[name] = value
        return changed

    def next_remedy(self, fault: Fault, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        tried = self.ctx.remedies_tried
        while tried.get(fault.label, 0) < len(fault.remedies):
            remedy = fault.remedies[tried.get(fault.label, 0)]
            tried[fault.label] = tried.get(fault.label, 0) + 1
            changed = self.apply(remedy, calculation)
            if changed or not remedy:
                what = ", ".join(f"{name.upper()} = {value}" for name, value in changed.items()) or "the same once more"
                numbers = " (this affects the numbers)" if AFFECTS_NUMBERS & set(changed) else ""
                self.report(f"{fault.label} in {calculation.process_label}<{calculation.pk}>: {what}{numbers}")
                return self.restart(calculation, fault.with_waves, fault.from_start)
        return self.give_up(calculation)

    @process_handler(priority=1500, exit_codes=[EXIT[f"ERROR_{fault.label}"] for fault in FAULTS])
    def handle_fault(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        """A fault of the table: its next remedy, on top of those before."""
        assert calculation.exit_status is not None  # handlers see finished calculations only
        return self.next_remedy(FAULT_OF[calculation.exit_status], calculation)

    @process_handler(priority=1400, exit_codes=[EXIT.ERROR_VASP_DID_NOT_EXECUTE])
    def handle_calculation_did_not_run(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        """Nothing was written: once more, for a node that was out of order."""
        if self.ctx.vasp_did_not_execute:
            return self.give_up(calculation)
        self.ctx.vasp_did_not_execute = True
        self.report("VASP wrote nothing at all: the same once more")
        return self.restart(calculation, with_waves=False)

    @process_handler(priority=1300, exit_codes=CUT)
    def handle_cut(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        """A run that was cut: on from its last complete ionic step; wavefunctions that were no help are left out."""
        status = run_status_of(calculation)
        if status.get("consistent_nelm_breach"):
            return self.next_remedy(FAULT_OF[EXIT.ERROR_ELECTRONIC_NOT_CONVERGED.status], calculation)
        progress = "structure" in calculation.outputs
        self.ctx.restarts_without_progress = 0 if progress else self.ctx.restarts_without_progress + 1
        if self.ctx.restarts_without_progress > RESTARTS_WITHOUT_PROGRESS:
            return self.give_up(calculation)
        where = "its last complete ionic step" if progress else "the same structure"
        self.report(f"{calculation.process_label}<{calculation.pk}> was cut: on from {where}")
        return self.restart(calculation, with_waves=progress or "restart_folder" not in calculation.inputs)

    @process_handler(priority=1200, exit_codes=[EXIT.ERROR_IONIC_NOT_CONVERGED])
    def handle_ionic_steps(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport:
        """All ionic steps used up: on from the last one, with the other optimiser, then to the next force threshold."""
        if run_status_of(calculation).get("consistent_nelm_breach"):
            return self.next_remedy(FAULT_OF[EXIT.ERROR_ELECTRONIC_NOT_CONVERGED.status], calculation)
        if "structure" not in calculation.outputs:
            return self.give_up(calculation)
        if self.ctx.continuations < CONTINUATIONS:
            self.ctx.continuations += 1
            changes = {"ibrion": OtherOptimiser()} if self.ctx.continuations == CONTINUATIONS else {}
            self.apply(changes, calculation)
            optimiser = self.ctx.inputs.parameters.get("ibrion")
            self.report(f"ionic steps used up: on from the last one with IBRION {optimiser}")
            return self.restart(calculation, with_waves=True)
        if not self.ctx.thresholds:
            return self.give_up(calculation)
        self.ctx.continuations = 0
        threshold = self.ctx.thresholds.pop(0)
        self.ctx.inputs.parameters["ediffg"] = -threshold
        self.report(
            f"forces do not get smaller: the threshold is {threshold} eV/Angstrom now (this affects the numbers)"
        )
        return self.restart(calculation, with_waves=True)

    @process_handler(priority=1150)
    def handle_hopeless(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """What would fail again ends here, with the calculation's own exit code and remedy."""
        return self.give_up(calculation) if calculation.is_failed else None

    @process_handler(priority=2000, enabled=False)
    def handler_always_attach_outputs(self, node: orm.CalcJobNode) -> None:
        """Hand over the outputs of a last calculation that failed; the plugin's own handler raises an exception."""
        if node.is_failed and self.ctx.iteration >= self.inputs.max_iterations.value:
            self._attach_outputs(node)


def repaired_monitors(monitors: dict[str, orm.Dict]) -> dict[str, orm.Dict]:
    """The plugin's monitors, that of slow and stalled runs in its repaired form."""
    return {**monitors, "loop_time": orm.Dict({**monitors["loop_time"].get_dict(), "entry_point": LOOP_TIME})}


def run_status_of(calculation: orm.CalcJobNode) -> dict[str, Any]:
    return dict(calculation.outputs.misc.get("run_status", {})) if "misc" in calculation.outputs else {}


def gamma_centred(kpoints: orm.KpointsData) -> orm.KpointsData | None:
    """The same mesh with a point at Gamma; ``None`` for a list of points, which is left alone."""
    if "mesh" not in kpoints.base.attributes.all:
        return None
    mesh, _ = kpoints.get_kpoints_mesh()
    centred = orm.KpointsData()
    centred.set_kpoints_mesh(mesh, offset=[0.0, 0.0, 0.0])
    return centred


def same(value: Any, present: Any) -> bool:
    """Whether a remedy's value is what INCAR or the k-points already say."""
    if isinstance(value, orm.KpointsData):
        return isinstance(present, orm.KpointsData) and value.get_kpoints_mesh() == present.get_kpoints_mesh()
    if isinstance(value, str) and isinstance(present, str):
        return value.lower() == present.lower()
    return bool(value == present)


def new_value(name: str, target: Any, parameters: dict[str, Any], calculation: orm.CalcJobNode) -> Any:
    """What a remedy makes of an INCAR tag; ``None`` where it does not apply."""
    if isinstance(target, OtherOptimiser):
        return {1: 2, 2: 1}.get(parameters.get(name, -1))
    if isinstance(target, Kept):
        return parameters.get(name, target.value)
    if not isinstance(target, Scaled):
        return target
    present = parameters.get(name, target.default)
    if present is None:
        present = run_status_of(calculation).get(name)
    if present is None:
        return None
    value = target.of(float(present))
    return value if isinstance(target.default, float) else math.ceil(value)


def calculations_of(node: orm.WorkChainNode) -> list[orm.CalcJobNode]:
    """The VASP calculations below a workchain, oldest first."""
    jobs = [job for job in node.called_descendants if isinstance(job, orm.CalcJobNode)]
    return sorted(jobs, key=lambda job: job.pk or 0)


def changes_of(node: orm.WorkChainNode) -> dict[str, tuple[Any, Any]]:
    """What the remedies changed in the course of a :class:`VaspBaseWorkChain`, or of those below a workchain.

    :returns: INCAR tags in lower case, and ``kpoints``, that differ between the first calculation and the last, with
        the values asked for and used (``None`` where INCAR had none; meshes with their offsets). Those of
        :data:`AFFECTS_NUMBERS` may change a result, the others only how it was reached.
    """
    runs = [run for run in node.called if isinstance(run, orm.WorkChainNode)]
    if runs:
        return {name: change for run in runs for name, change in changes_of(run).items()}
    jobs = calculations_of(node)
    if not jobs:
        return {}
    asked, used = (
        {**job.inputs.parameters.get_dict(), KPOINTS: mesh_of(job.inputs.kpoints)} for job in (jobs[0], jobs[-1])
    )
    names = sorted((set(asked) | set(used)) - set(OF_RESTARTS))
    return {name: (asked.get(name), used.get(name)) for name in names if asked.get(name) != used.get(name)}


def mesh_of(kpoints: orm.KpointsData) -> Any:
    if "mesh" in kpoints.base.attributes.all:
        return kpoints.get_kpoints_mesh()
    return kpoints.get_kpoints().tolist()


def force_threshold_of(node: orm.WorkChainNode) -> float | None:
    """The force threshold (eV/Angstrom) that the last relaxation below a workchain came down to; ``None`` without."""
    for job in reversed(calculations_of(node)):
        parameters = job.inputs.parameters.get_dict()
        if parameters.get("nsw", 0) > 0 and parameters.get("ediffg", 0) < 0:
            return float(-parameters["ediffg"])
    return None
