"""From a composition to an entry of the catalogue."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder, ToContext, WorkChain
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_hardcoat.calculations.prediction import predict_entry
from aiida_hardcoat.calculations.sqs import generate_sqs
from aiida_hardcoat.data.catalogue import DEFAULT_LABEL, catalogue, find_equal
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PredictionData
from aiida_hardcoat.engines import DEFAULT, load_engine
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.cells import supercell_matrix
from aiida_hardcoat.physics.composition import metal_counts, parse_composition
from aiida_hardcoat.physics.prototypes import parent
from aiida_hardcoat.physics.strain import strain_set
from aiida_hardcoat.workflows import elastic, relax
from aiida_hardcoat.workflows.elastic import ElasticWorkChain
from aiida_hardcoat.workflows.known_runs import ALLOY, digest_of
from aiida_hardcoat.workflows.protocols import load_protocol
from aiida_hardcoat.workflows.relax import (
    RelaxWorkChain,
    check_code,
    check_engine,
    define_engine_inputs,
    fill_engine_inputs,
    message_of,
)

LARGEST_STRAIN = 0.15
"""A typing error is likelier beyond it."""


def check_alloy(
    sqs: dict[str, Any],
    relaxation: dict[str, Any],
    strains: dict[str, Any],
    engine: str,
    ions: str,
    code: orm.AbstractCode | None = None,
) -> None:
    """Find what would fail later, before anything is stored.

    :param code: where it is known, that it fits the engine, and that the potentials are there.
    :raises InputError: for a composition, structure type, cell, threshold, amplitude, engine, model or code that cannot
        be.
    """
    search = {key: value for key, value in sqs.items() if key not in ("composition", "structure_type")}
    load_protocol(None, {"sqs": search, "relaxation": relaxation, "strains": strains})
    composition = parse_composition(sqs["composition"])
    parent(sqs["structure_type"], composition)
    supercell_matrix(sqs["structure_type"], sqs["atoms"], sqs["shape"])
    metal_counts(composition, sqs["atoms"] // 2)
    for key, least in (("seed", 0), ("restarts", 1), ("steps", 1)):
        if sqs[key] < least:
            raise InputError(f"{key} of the search must be at least {least}, not {sqs[key]}")
    elastic.check_strains(strains)
    largest = float(abs(strain_set(strains["normal"], strains["shear"])).max())
    if largest > LARGEST_STRAIN:
        raise InputError(f"a strain of {largest:g} is far from linear elasticity: stay below {LARGEST_STRAIN:g}")
    check_engine(engine, ions, relax.TASKS, relax.engine_settings(relaxation))
    check_engine(engine, ions, elastic.TASKS, elastic.engine_settings(strains))
    module, _ = load_engine(engine)
    levels = [module.level_settings(part["engine_settings"]) for part in (relaxation, strains)]
    if levels[0] != levels[1]:
        raise InputError(f"relaxation and strains must be at one level of theory, not {levels[0]} and {levels[1]}")
    if code is not None:
        for settings in (relax.engine_settings(relaxation), elastic.engine_settings(strains)):
            check_code(engine, code, composition.elements, settings)


def validate_alloy(inputs: dict[str, Any], _: Any) -> str | None:
    try:
        sqs, relaxation, strains = (inputs[name].get_dict() for name in ("sqs", "relaxation", "strains"))
        check_alloy(sqs, relaxation, strains, inputs["engine"].value, inputs["ions"].value, inputs["code"])
    except InputError as error:
        return str(error)
    except KeyError as error:
        return f"the inputs lack {error}"
    return None


class AlloyWorkChain(WorkChain):
    """Model the alloy by a special quasirandom structure, relax it, strain it, and store its elastic tensor."""

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        super().define(spec)
        spec.input("sqs", valid_type=orm.Dict, help="Composition, structure type, cell and search.")
        spec.input("relaxation", valid_type=orm.Dict, help="`relaxation` of the protocol.")
        spec.input("strains", valid_type=orm.Dict, help="`strains` of the protocol.")
        define_engine_inputs(spec)
        spec.input(
            "catalogue", valid_type=str, non_db=True, default=DEFAULT_LABEL, help="Label of the catalogue's group."
        )
        spec.inputs.validator = validate_alloy
        spec.outline(
            cls.generate_structure,
            cls.relax_structure,
            cls.inspect_relaxation,
            cls.strain_structure,
            cls.inspect_strains,
            cls.results,
            cls.predict,
        )
        spec.output("entry", valid_type=ElasticData, help="The catalogue's entry.")
        spec.output(
            "prediction",
            valid_type=PredictionData,
            required=False,
            help="What the shipped model says of the entry's structure.",
        )
        spec.output("structure", valid_type=orm.StructureData, help="The quasirandom structure before relaxation.")
        spec.output("relaxed_structure", valid_type=orm.StructureData, help="The relaxed structure.")
        spec.exit_code(401, "ERROR_RELAXATION_FAILED", message="{reason}")
        spec.exit_code(402, "ERROR_STRAINS_FAILED", message="{reason}")

    @classmethod
    def get_builder_from_protocol(
        cls,
        code: orm.AbstractCode,
        composition: str,
        structure_type: str,
        protocol: str | None = None,
        overrides: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        *,
        engine: str = DEFAULT,
        ions: str = "relaxed",
    ) -> ProcessBuilder:
        """A builder with everything that the protocol says.

        :param overrides: nested like the protocol: ``sqs``, ``relaxation``, ``strains``.
        :raises InputError: for a composition, structure type, cell, protocol, engine or override key that cannot be.
        """
        settings = load_protocol(protocol, overrides, engine)
        # The canonical formula, so that every way to write an alloy is the same calculation to the cache.
        formula = parse_composition(composition).formula
        sqs = {"composition": formula, "structure_type": structure_type, **settings["sqs"]}
        check_alloy(sqs, settings["relaxation"], settings["strains"], engine, ions, code)

        builder = cls.get_builder()
        builder.sqs = orm.Dict(sqs)
        builder.relaxation = orm.Dict(settings["relaxation"])
        builder.strains = orm.Dict(settings["strains"])
        fill_engine_inputs(builder, code, engine, ions, options)
        return builder

    def on_create(self) -> None:
        """Leave the mark by which a campaign finds the run again."""
        super().on_create()
        self.node.base.extras.set(ALLOY, digest_of(self.node))

    def engine_inputs(self) -> dict[str, Any]:
        return {name: self.inputs[name] for name in ("engine", "code", "ions", "options", "jobs_at_once")}

    def generate_structure(self) -> None:
        self.ctx.sqs = generate_sqs(self.inputs.sqs)
        self.out("structure", self.ctx.sqs["structure"])

    def relax_structure(self) -> ToContext:
        relaxation = self.submit(
            RelaxWorkChain,
            structure=self.ctx.sqs["structure"],
            settings=self.inputs.relaxation,
            **self.engine_inputs(),
        )
        return ToContext(relaxation=relaxation)

    def inspect_relaxation(self) -> ExitCode | None:
        if not self.ctx.relaxation.is_finished_ok:
            return self.exit_codes.ERROR_RELAXATION_FAILED.format(reason=message_of(self.ctx.relaxation))
        self.out("relaxed_structure", self.ctx.relaxation.outputs.structure)
        return None

    def strain_structure(self) -> ToContext:
        relaxation = self.ctx.relaxation.outputs
        elastic = self.submit(
            ElasticWorkChain,
            structure=relaxation.structure,
            reference=relaxation.trajectory,
            reference_summary=relaxation.summary,
            settings=self.inputs.strains,
            description=self.inputs.sqs,
            sqs=self.ctx.sqs["report"],
            **self.engine_inputs(),
        )
        return ToContext(elastic=elastic)

    def inspect_strains(self) -> ExitCode | None:
        if not self.ctx.elastic.is_finished_ok:
            return self.exit_codes.ERROR_STRAINS_FAILED.format(reason=message_of(self.ctx.elastic))
        return None

    def results(self) -> None:
        """Put the entry into the catalogue, once: a cached run makes an equal node again."""
        entry = self.ctx.elastic.outputs.entry
        group = catalogue(self.inputs.catalogue)
        self.ctx.entry = find_equal(group, entry)
        if self.ctx.entry is None:
            group.add_nodes(entry)
            self.ctx.entry = entry
        self.out("entry", entry)

    def predict(self) -> None:
        """Put the learned moduli beside the entry. Whatever is in their way, what was computed stands."""
        try:
            self.out("prediction", predict_entry(self.ctx.entry, catalogue(self.inputs.catalogue)))
        except Exception as error:
            self.report(f"no learned moduli: {' '.join(str(error).split()) or type(error).__name__}")
