"""Relaxation of one structure with any engine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder, ToContext, WorkChain
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_hardcoat.engines import DEFAULT, load_engine
from aiida_hardcoat.engines.options import check_options
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.workflows.protocols import load_protocol

TASKS = {"relaxed": "relax", "clamped": "relax_cell"}
"""What is relaxed: cell and ions, or the cell alone with the fractional coordinates of the parent."""


def engine_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """What the protocol's ``relaxation`` says to the engine."""
    common = {name: settings[name] for name in ("force_thresholds", "stress_threshold", "max_steps")}
    return {**common, **settings["engine_settings"]}


def check_engine(engine: str, ions: str, tasks: dict[str, str], settings: dict[str, Any]) -> None:
    """Refuse what the engine would refuse once the workchain runs.

    :param tasks: the engine's task for each choice of ``ions``.
    :raises InputError: for an engine, model, choice of ions or setting that cannot be.
    """
    module, model = load_engine(engine)
    if ions not in tasks:
        raise InputError(f"ions must be one of {', '.join(tasks)}, not '{ions}'")
    module.check_settings(tasks[ions], model, settings)


def check_code(engine: str, code: orm.AbstractCode, elements: Iterable[str], settings: dict[str, Any]) -> None:
    """Refuse what the engine would miss in this profile.

    :raises InputError: for a code that the engine cannot use, or potentials that are not there.
    """
    module, model = load_engine(engine)
    module.check_code(code, sorted(elements), model, settings)


def validate_engine(value: orm.Str, _: Any) -> str | None:
    try:
        load_engine(value.value)
    except InputError as error:
        return str(error)
    return None


def validate_ions(value: orm.Str, _: Any) -> str | None:
    return None if value.value in TASKS else f"ions must be one of {', '.join(TASKS)}, not '{value.value}'"


def validate_options(value: dict[str, Any], _: Any) -> str | None:
    try:
        check_options(value)
    except InputError as error:
        return str(error)
    return None


def validate_jobs_at_once(value: int, _: Any) -> str | None:
    return None if value >= 0 else f"jobs_at_once must be at least 0, not {value}"


def define_engine_inputs(spec: WorkChainSpec) -> None:
    """The inputs that every workchain needs to reach an engine."""
    spec.input("engine", valid_type=orm.Str, validator=validate_engine, help="Engine and model: `ase:7net-l3i5`.")
    spec.input("code", valid_type=orm.AbstractCode, help="The code that the engine runs.")
    spec.input("ions", valid_type=orm.Str, validator=validate_ions, help="`relaxed` or `clamped`.")
    spec.input(
        "options",
        valid_type=dict,
        non_db=True,
        default=dict,
        validator=validate_options,
        help="Options of the jobs: resources, walltime.",
    )
    spec.input(
        "jobs_at_once",
        valid_type=int,
        non_db=True,
        default=0,
        validator=validate_jobs_at_once,
        help="Jobs that one step may have in the queue together; 0: as many as the machine allows.",
    )


def fill_engine_inputs(
    builder: ProcessBuilder,
    code: orm.AbstractCode,
    engine: str,
    ions: str,
    options: dict[str, Any] | None,
    jobs_at_once: int = 0,
) -> None:
    """Set the inputs of :func:`define_engine_inputs`."""
    builder.engine = orm.Str(engine)
    builder.code = code
    builder.ions = orm.Str(ions)
    builder.options = options or {}
    builder.jobs_at_once = jobs_at_once


class RelaxWorkChain(WorkChain):
    """Relax cell and ions, or the cell alone, of a structure."""

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        super().define(spec)
        spec.input("structure", valid_type=orm.StructureData, help="The structure to relax.")
        spec.input("settings", valid_type=orm.Dict, help="`relaxation` of the protocol.")
        define_engine_inputs(spec)
        spec.outline(cls.run_relaxation, cls.results)
        spec.output("structure", valid_type=orm.StructureData, help="The relaxed structure.")
        spec.output("trajectory", valid_type=orm.TrajectoryData, help="Its energy, forces and stress.")
        spec.output("summary", valid_type=orm.Dict, help="Level of theory, convergence, cost.")
        spec.exit_code(
            401,
            "ERROR_RELAXATION_FAILED",
            message="The relaxation failed: {reason}",
        )

    @classmethod
    def get_builder_from_protocol(
        cls,
        code: orm.AbstractCode,
        structure: orm.StructureData,
        protocol: str | None = None,
        overrides: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        *,
        engine: str = DEFAULT,
        ions: str = "relaxed",
    ) -> ProcessBuilder:
        """A builder with the protocol's relaxation.

        :param overrides: nested like the protocol's ``relaxation``.
        :raises InputError: for an unknown protocol, engine or override key.
        """
        settings = load_protocol(protocol, {"relaxation": overrides or {}}, engine)["relaxation"]
        check_engine(engine, ions, TASKS, engine_settings(settings))
        check_code(engine, code, structure.get_symbols_set(), engine_settings(settings))
        builder = cls.get_builder()
        builder.structure = structure
        builder.settings = orm.Dict(settings)
        fill_engine_inputs(builder, code, engine, ions, options)
        return builder

    def run_relaxation(self) -> ToContext:
        engine, model = load_engine(self.inputs.engine.value)
        builder = engine.get_builder(
            code=self.inputs.code,
            structure=self.inputs.structure,
            strains=None,
            task=TASKS[self.inputs.ions.value],
            model=model,
            settings=engine_settings(self.inputs.settings.get_dict()),
            options=self.inputs.options,
            jobs_at_once=self.inputs.jobs_at_once,
        )
        return ToContext(relaxation=self.submit(builder))

    def results(self) -> ExitCode | None:
        relaxation = self.ctx.relaxation
        if not relaxation.is_finished_ok:
            return self.exit_codes.ERROR_RELAXATION_FAILED.format(reason=reason_of(relaxation))
        for name in ("structure", "trajectory", "summary"):
            self.out(name, relaxation.outputs[name])
        return None


def message_of(workchain: orm.ProcessNode) -> str:
    """The message of a workchain that says itself what it was doing when it failed."""
    return workchain.exit_message or reason_of(workchain)


def reason_of(process: orm.ProcessNode) -> str:
    """Why a process did not finish, with its exit code."""
    if process.is_finished:
        return f"[{process.exit_status}] {process.exit_message}"
    return f"it was {process.process_state.value if process.process_state else 'lost'}."
