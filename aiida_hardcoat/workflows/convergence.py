"""Elastic constants of one small cell at several values of one setting of the engine."""

from __future__ import annotations

from typing import Any, cast

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder, ToContext, WorkChain, if_, while_
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_hardcoat.calculations.convergence import convergence_series
from aiida_hardcoat.engines import DEFAULT, load_engine
from aiida_hardcoat.errors import InputError, nearest
from aiida_hardcoat.workflows.alloy import AlloyWorkChain
from aiida_hardcoat.workflows.relax import message_of

GROUP = "hardcoat.convergence"
"""Label of the group of the entries: they are no results, and are kept apart from the catalogue."""
PARTS = ("relaxation", "strains")


def with_setting(settings: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """The settings of a part of the protocol with another value of one of the engine's."""
    return {**settings, "engine_settings": {**settings["engine_settings"], name: value}}


class ConvergenceWorkChain(WorkChain):
    """One alloy after the other, each relaxed and strained at its own value of the setting."""

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]
        super().define(spec)
        spec.expose_inputs(AlloyWorkChain, namespace="alloy", exclude=("catalogue",))
        spec.input("setting", valid_type=orm.Str, help="The engine's setting that varies, e.g. `kpoints_mesh`.")
        spec.input("setting_values", valid_type=orm.List, help="Its values.")
        spec.outline(
            cls.setup,
            while_(cls.has_value)(cls.run_value, cls.inspect_value),
            if_(cls.has_entry)(cls.gather),
            cls.results,
        )
        spec.output("series", valid_type=orm.Dict, required=False, help="The constants at each value, and failures.")
        spec.exit_code(401, "ERROR_SOME_FAILED", message="{failed} of {asked} values failed. The first: {reason}")

    @classmethod
    def get_builder_from_protocol(
        cls,
        code: orm.AbstractCode,
        composition: str,
        structure_type: str,
        setting: str,
        values: list[Any],
        protocol: str | None = None,
        overrides: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        *,
        engine: str = DEFAULT,
        ions: str = "relaxed",
    ) -> ProcessBuilder:
        """A builder with everything that the protocol says, and a setting that varies.

        :param overrides: nested like the protocol: ``sqs``, ``relaxation``, ``strains``.
        :raises InputError: for a setting that the engine does not have, or a value that it would refuse.
        """
        module, _ = load_engine(engine)
        known = sorted(module.protocol_settings(protocol or "balanced", "strains"))
        if not known:
            raise InputError(f"engine {engine} has no settings in its protocols that could vary")
        if setting not in known:
            raise InputError(f"engine {engine} has no setting '{setting}': {nearest(setting, known)}")
        if not values:
            raise InputError(f"give at least one value of {setting}, e.g. {setting}=60,70,80")
        for value in values:
            changed = dict(overrides or {})
            for part in PARTS:
                given = changed.get(part, {})
                changed[part] = with_setting({"engine_settings": {}, **given}, setting, value)
            alloy = AlloyWorkChain.get_builder_from_protocol(
                code, composition, structure_type, protocol, changed, options, engine=engine, ions=ions
            )
        builder: Any = cls.get_builder()
        builder.setting = orm.Str(setting)
        builder.setting_values = orm.List(values)
        for name, value in alloy._inputs().items():
            if name not in ("catalogue", "metadata"):
                builder.alloy[name] = value
        return cast(ProcessBuilder, builder)

    def setup(self) -> None:
        self.ctx.place = 0
        self.ctx.reasons = {}
        self.ctx.entries = {}

    def has_value(self) -> bool:
        return self.ctx.place < len(self.inputs.setting_values)

    def run_value(self) -> ToContext:
        """One value at a time: its strained cells already fill the machine."""
        setting, value = self.inputs.setting.value, self.inputs.setting_values[self.ctx.place]
        inputs = self.exposed_inputs(AlloyWorkChain, "alloy")
        for part in PARTS:
            inputs[part] = orm.Dict(with_setting(inputs[part].get_dict(), setting, value))
        inputs["metadata"] = {"call_link_label": f"value_{self.ctx.place}"}
        return ToContext(alloy=self.submit(AlloyWorkChain, catalogue=GROUP, **inputs))

    def inspect_value(self) -> None:
        """Keep the entry, or the reason why there is none, and go on."""
        alloy, place = self.ctx.alloy, self.ctx.place
        if alloy.is_finished_ok:
            self.ctx.entries[f"entry_{place}"] = alloy.outputs.entry
        else:
            self.ctx.reasons[str(place)] = message_of(alloy)
            self.report(
                f"{self.inputs.setting.value} = {self.inputs.setting_values[place]} failed: {message_of(alloy)}"
            )
        self.ctx.place += 1

    def has_entry(self) -> bool:
        return bool(self.ctx.entries)

    def gather(self) -> None:
        series = convergence_series(
            self.inputs.setting, self.inputs.setting_values, orm.Dict(self.ctx.reasons), **self.ctx.entries
        )
        self.out("series", series)

    def results(self) -> ExitCode | None:
        if not self.ctx.reasons:
            return None
        return self.exit_codes.ERROR_SOME_FAILED.format(
            failed=len(self.ctx.reasons),
            asked=len(self.inputs.setting_values),
            reason=next(iter(self.ctx.reasons.values())),
        )
