"""The elastic tensor of a relaxed structure with any engine."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder, ToContext, WorkChain, if_
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_hardcoat.calculations.elastic import elastic_entry, reduce_strains, strain_reduction
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.engines import DEFAULT, load_engine
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.strain import strain_set
from aiida_hardcoat.workflows.protocols import load_protocol
from aiida_hardcoat.workflows.relax import check_code, check_engine, define_engine_inputs, fill_engine_inputs, reason_of

TASKS = {"relaxed": "relax_ions", "clamped": "static"}
"""What is done in a strained cell: its ions relax, or stay at the parent's fractional coordinates."""

LOOSEST_SYMMETRY = 0.1
"""Angstrom; beyond it a symmetry would be found that the crystal does not have."""


def engine_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """What the protocol's ``strains`` say to the engine; the cell is fixed, so no stress is relaxed."""
    common = {name: settings[name] for name in ("force_thresholds", "max_steps")}
    return {"stress_threshold": 1.0, **common, **settings["engine_settings"]}


def check_strains(settings: dict[str, Any]) -> None:
    """Refuse what no strain set can be made of.

    :raises InputError: for an amplitude or a symmetry tolerance that cannot be.
    """
    strain_set(settings["normal"], settings["shear"])
    tolerance = settings.get("symmetry_tolerance", 0)
    if not 0 <= tolerance <= LOOSEST_SYMMETRY:
        raise InputError(
            f"symmetry_tolerance is a distance of up to {LOOSEST_SYMMETRY:g} Angstrom, or 0 for every strain, not "
            f"{tolerance:g}"
        )


def validate_settings(value: orm.Dict, _: Any) -> str | None:
    try:
        check_strains(value.get_dict())
    except InputError as error:
        return str(error)
    except KeyError as error:
        return f"the settings lack {error}"
    return None


class ElasticWorkChain(WorkChain):
    """Strain a relaxed structure, fit, project and average: one entry of the catalogue.

    Strains that the structure's own symmetry turns into each other are computed once.
    """

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        super().define(spec)
        spec.input("structure", valid_type=orm.StructureData, help="The relaxed structure, in the parent's frame.")
        spec.input("settings", valid_type=orm.Dict, validator=validate_settings, help="`strains` of the protocol.")
        spec.input("description", valid_type=orm.Dict, help="`composition` and `structure_type` of the structure.")
        define_engine_inputs(spec)
        spec.input("reference", valid_type=orm.TrajectoryData, required=False, help="Energy and stress, unstrained.")
        spec.input("reference_summary", valid_type=orm.Dict, required=False, help="Summary of the reference.")
        spec.input("sqs", valid_type=orm.Dict, required=False, help="Quality of the quasirandom structure.")
        spec.outline(
            if_(cls.lacks_reference)(cls.run_reference, cls.inspect_reference),
            cls.run_strains,
            cls.inspect_strains,
            cls.results,
        )
        spec.output("entry", valid_type=ElasticData, help="The tensor and all that follows from it.")
        spec.exit_code(401, "ERROR_REFERENCE_FAILED", message="The unstrained cell failed: {reason}")
        spec.exit_code(
            402,
            "ERROR_STRAINS_FAILED",
            message="{finished} of {asked} strained cells finished, no tensor is fitted from less: {reason}",
        )
        spec.exit_code(403, "ERROR_FIT_FAILED", message="The tensor could not be fitted: {reason}")

    @classmethod
    def get_builder_from_protocol(
        cls,
        code: orm.AbstractCode,
        structure: orm.StructureData,
        protocol: str | None = None,
        overrides: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        *,
        composition: str,
        structure_type: str,
        engine: str = DEFAULT,
        ions: str = "relaxed",
    ) -> ProcessBuilder:
        """A builder with the protocol's strains.

        :param overrides: nested like the protocol's ``strains``.
        :raises InputError: for an unknown protocol, engine or override key.
        """
        settings = load_protocol(protocol, {"strains": overrides or {}}, engine)["strains"]
        check_strains(settings)
        check_engine(engine, ions, TASKS, engine_settings(settings))
        check_code(engine, code, structure.get_symbols_set(), engine_settings(settings))
        builder = cls.get_builder()
        builder.structure = structure
        builder.settings = orm.Dict(settings)
        builder.description = orm.Dict({"composition": composition, "structure_type": structure_type})
        fill_engine_inputs(builder, code, engine, ions, options)
        return builder

    def lacks_reference(self) -> bool:
        return "reference" not in self.inputs

    def run_reference(self) -> ToContext:
        return ToContext(reference=self.submit(self.engine_builder(task="static", strains=None)))

    def inspect_reference(self) -> ExitCode | None:
        if not self.ctx.reference.is_finished_ok:
            return self.exit_codes.ERROR_REFERENCE_FAILED.format(reason=reason_of(self.ctx.reference))
        return None

    def run_strains(self) -> ToContext:
        _, reduced = strain_reduction(self.inputs.structure, self.inputs.settings.get_dict())
        if len(reduced.computed) < len(reduced.asked):
            self.ctx.update(reduce_strains(self.inputs.structure, self.inputs.settings))
        else:
            self.ctx.strains = orm.List(reduced.asked.tolist())
        task = TASKS[self.inputs.ions.value]
        return ToContext(strained=self.submit(self.engine_builder(task=task, strains=self.ctx.strains)))

    def inspect_strains(self) -> ExitCode | None:
        strained = self.ctx.strained
        if not strained.is_finished_ok:
            finished = strained.outputs.summary["finished"] if "summary" in strained.outputs else 0
            return self.exit_codes.ERROR_STRAINS_FAILED.format(
                finished=finished, asked=len(self.ctx.strains.get_list()), reason=reason_of(strained)
            )
        return None

    def reference(self) -> tuple[orm.TrajectoryData, orm.Dict]:
        """Energy and stress of the unstrained cell, and their summary."""
        if "reference" in self.inputs:
            return self.inputs.reference, self.inputs.reference_summary
        return self.ctx.reference.outputs.trajectory, self.ctx.reference.outputs.summary

    def engine_builder(self, task: str, strains: orm.List | None) -> ProcessBuilder:
        engine, model = load_engine(self.inputs.engine.value)
        findings = {} if strains is None else self.reference()[1].get("findings", {})
        return engine.get_builder(
            code=self.inputs.code,
            structure=self.inputs.structure,
            strains=strains,
            task=task,
            model=model,
            settings={**engine_settings(self.inputs.settings.get_dict()), **findings},
            options=self.inputs.options,
            jobs_at_once=self.inputs.jobs_at_once,
        )

    def results(self) -> ExitCode | None:
        """Fit, project onto the crystal class of the parent, average after Hill."""
        reference, summary = self.reference()
        inputs = {
            "structure": self.inputs.structure,
            "reference": reference,
            "reference_summary": summary,
            "strained": self.ctx.strained.outputs.trajectory,
            "strained_summary": self.ctx.strained.outputs.summary,
            "strains": self.ctx.strains,
            "description": self.inputs.description,
            "ions": self.inputs.ions,
        }
        if "sqs" in self.inputs:
            inputs["sqs"] = self.inputs.sqs
        if "symmetry" in self.ctx:
            inputs["symmetry"] = self.ctx.symmetry
        try:
            self.out("entry", elastic_entry(**inputs))
        except InputError as error:
            return self.exit_codes.ERROR_FIT_FAILED.format(reason=error)
        return None
