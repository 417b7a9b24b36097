"""Engine ``vasp``: relaxation in two stages, then one calculation for each structure."""

from __future__ import annotations

from typing import Any, cast

from aiida import orm
from aiida.engine import ProcessBuilder

from aiida_hardcoat.calculations.vasp_results import gather_vasp, kpoints_mesh
from aiida_hardcoat.engines.vasp_settings import (
    ENERGIES_AGREE,
    cell_tolerance,
    potential_labels,
    relax_settings,
    step_parameters,
)
from aiida_hardcoat.workflows.dft import DftWorkChain
from aiida_hardcoat.workflows.vasp_base import VaspBaseWorkChain
from aiida_hardcoat.workflows.vasp_relax import VaspRelaxWorkChain

PARSER = {"parser_settings": {"energy_type": ["energy_free", "energy_extrapolated"]}}


class CellRelaxWorkChain(VaspRelaxWorkChain):
    """The relaxation without a static calculation at its end: the engine's own is in the frame of the parent."""

    def should_run_static_calculation(self) -> bool:
        return False


class VaspEngineWorkChain(DftWorkChain):
    """Relax with few plane waves, then with all until two runs agree; then compute the structure, or strained copies.

    A cell that relaxes keeps the plane waves of the cell it began with, so the last word has a static calculation of
    the relaxed cell. Its stress must be below ``stress_threshold``.
    """

    STAGES = ("preliminary", "final")

    @property
    def settings(self) -> dict[str, Any]:
        values: dict[str, Any] = self.inputs.settings.get_dict()
        return values

    def relaxation_builder(self, structure: orm.StructureData, stage: str) -> ProcessBuilder:
        if stage == "preliminary":
            return self.base_builder(structure, stage, kpoints_mesh(structure, self.inputs.settings))
        settings, mesh = self.settings, kpoints_mesh(structure, self.inputs.settings)
        builder = cast(Any, CellRelaxWorkChain).get_builder()
        builder.structure = structure
        builder.relax_settings = relax_settings(settings)
        builder.energy_tolerance = ENERGIES_AGREE * settings["energy_tolerance"]
        builder.cell_tolerance = cell_tolerance(settings)
        self.fill_base_inputs(builder.vasp, structure, stage, mesh)
        if settings["task"] == "relax":
            builder.vasp.force_thresholds = orm.List(settings["force_thresholds"])
        return cast(ProcessBuilder, builder)

    def relaxed_structure_of(self, process: orm.ProcessNode) -> orm.StructureData:
        """Also remember what the relaxation cost, which the results of the static calculation do not tell."""
        self.ctx.relaxations = [*self.ctx.get("relaxations", []), *runs_of(process)]
        outputs = process.outputs
        relaxed: orm.StructureData = outputs.structure if "structure" in outputs else outputs.relax.structure
        return relaxed

    def structure_builder(self, structure: orm.StructureData) -> ProcessBuilder:
        if "mesh" not in self.ctx:
            self.ctx.mesh = kpoints_mesh(self.ctx.parent, self.inputs.settings)
        moves = self.task == "relax_ions"
        builder = self.base_builder(structure, "relax_ions" if moves else "static", self.ctx.mesh)
        if moves:
            cast(Any, builder).force_thresholds = orm.List(self.settings["force_thresholds"])
        return builder

    def base_builder(self, structure: orm.StructureData, step: str, mesh: orm.KpointsData) -> ProcessBuilder:
        builder = cast(Any, VaspBaseWorkChain).get_builder()
        builder.structure = structure
        self.fill_base_inputs(builder, structure, step, mesh)
        return cast(ProcessBuilder, builder)

    def fill_base_inputs(self, inputs: Any, structure: orm.StructureData, step: str, mesh: orm.KpointsData) -> None:
        """What every run of VASP is given beside its structure."""
        settings = self.settings
        inputs.code = self.inputs.code
        inputs.kpoints = mesh
        inputs.parameters = orm.Dict(step_parameters(settings, step, len(structure.sites)))
        inputs.potential_family = settings["potential_family"]
        symbols = {kind.name: kind.symbol for kind in structure.kinds}
        labels = potential_labels(symbols.values(), settings)
        inputs.potential_mapping = {name: labels[symbol] for name, symbol in symbols.items()}
        inputs.settings = orm.Dict(PARSER)
        inputs.calc.metadata.options = self.inputs.options

    def results_of(self, process: orm.ProcessNode) -> dict[str, orm.Data]:
        *earlier, last = runs_of(process)
        job = last.creator
        results: dict[str, orm.Data] = {
            "misc": last,
            "structure": process.outputs.structure if "structure" in process.outputs else job.inputs.structure,
            "parameters": job.inputs.parameters,
            "kpoints": job.inputs.kpoints,
            **{f"earlier{number}": misc for number, misc in enumerate(earlier)},
        }
        return results | {f"potential{name}": potential for name, potential in job.inputs.potential.items()}

    def gather(
        self, structure: orm.StructureData, settings: orm.Dict, strains: orm.List | None, **results: orm.Data
    ) -> dict[str, orm.Data]:
        relaxations = {f"earlierrelaxation{n}_0": misc for n, misc in enumerate(self.ctx.get("relaxations", []))}
        outputs: dict[str, orm.Data] = gather_vasp(structure, settings, strains, **relaxations, **results)
        return outputs


def runs_of(process: orm.ProcessNode) -> list[orm.Dict]:
    """What aiida-vasp read of each run of VASP below a workchain, in the order in which they ran."""
    jobs = [node for node in process.called_descendants if isinstance(node, orm.CalcJobNode)]
    return [job.outputs.misc for job in sorted(jobs, key=lambda job: job.pk or 0) if "misc" in job.outputs]
