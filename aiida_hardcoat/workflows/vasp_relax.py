"""Relaxation with the engine ``vasp``: the plugin's workchain, repeated until energy and cell come to agree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode
from aiida.engine.processes.workchains.workchain import WorkChainSpec
from aiida_vasp.workchains.v2.relax import VaspRelaxWorkChain as PluginRelaxWorkChain

from aiida_hardcoat.workflows.vasp_base import VaspBaseWorkChain, force_threshold_of


def validate_tolerance(value: orm.Float, _: Any) -> str | None:
    return None if value.value > 0 else "the tolerance must be positive"


class VaspRelaxWorkChain(PluginRelaxWorkChain):
    """Relax with :class:`~aiida_hardcoat.workflows.vasp_base.VaspBaseWorkChain` until two runs in a row agree.

    VASP keeps its plane waves while the cell changes, so one run never tells whether the cell is at rest. Structures
    are compared between the beginning and the end of a run whatever ``convergence_mode`` says.
    """

    _base_workchain = VaspBaseWorkChain

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:
        super().define(spec)
        for name, default, what in (
            ("energy_tolerance", 1e-3, "energies, eV per atom"),
            ("cell_tolerance", 1e-3, "cells, the largest component of the strain from one to the other"),
        ):
            spec.input(
                name,
                valid_type=orm.Float,
                default=lambda default=default: orm.Float(default),
                serializer=orm.to_aiida_type,
                validator=validate_tolerance,
                help=f"Largest difference between two successive runs that agree: {what}.",
            )
        spec.exit_code(
            600,
            "ERROR_RELAX_NOT_CONVERGED",
            message="Energy and cell did not come to agree within `convergence_max_iterations` runs. Allow more runs, "
            "start from the structure reached, or look for a phase transition on the way.",
        )

    def initialize(self) -> None:
        super().initialize()
        settings = self.ctx.relax_settings
        if settings.get("convergence_mode") != "inout":
            settings.convergence_mode = "inout"
            self.report("structures are compared between the beginning and the end of a run (convergence_mode inout)")
        if not settings.positions:
            # Forces on ions that are not allowed to move say nothing about convergence.
            settings.force_cutoff = math.inf

    def verify_last_relax(self) -> ExitCode | None:
        """A run that failed is never taken for a relaxation, whatever outputs it has."""
        exit_code: ExitCode | None = super().verify_last_relax()
        last = self.ctx.workchains[-1]
        return ExitCode(last.exit_status, last.exit_message) if last.is_failed else exit_code

    def analyze_convergence(self) -> ExitCode | None:
        last = self.ctx.workchains[-1]
        self.keep_threshold(force_threshold_of(last))
        exit_code: ExitCode | None = super().analyze_convergence()
        if self.ctx.is_converged and "structure" in last.outputs:
            self.ctx.is_converged = self.agrees_with_previous()
        return exit_code

    def keep_threshold(self, reached: float | None) -> None:
        """Judge by the force threshold that a run came down to, and do not try tighter ones in the next."""
        if not self.ctx.relax_settings.positions or reached is None:
            return
        self.ctx.relax_settings.force_cutoff = max(reached, self.ctx.relax_settings.force_cutoff)
        if "force_thresholds" in self.inputs.vasp:
            left = [threshold for threshold in self.inputs.vasp.force_thresholds.get_list() if threshold >= reached]
            self.ctx.relax_input_additions.force_thresholds = orm.List(left or [reached])

    def agrees_with_previous(self) -> bool:
        """Whether the last two runs end at the same energy in the same cell."""
        runs = self.ctx.workchains[-2:]
        if len(runs) < 2:
            self.report("one run alone does not tell whether the cell is at rest: a second one")
            return False
        before, after = runs
        energy = abs(energy_per_atom(after) - energy_per_atom(before))
        strain = largest_strain(before.outputs.structure.cell, after.outputs.structure.cell)
        agree = energy <= self.inputs.energy_tolerance.value and strain <= self.inputs.cell_tolerance.value
        self.report(
            f"two runs {'agree' if agree else 'differ'}: by {energy:.3g} eV per atom and a strain of {strain:.3g}"
        )
        return agree


def energy_per_atom(run: orm.WorkChainNode) -> float:
    return float(run.outputs.misc["total_energies"]["energy_extrapolated"]) / len(run.outputs.structure.sites)


def largest_strain(before: Any, after: Any) -> float:
    """Largest component of the Green-Lagrange strain that takes one cell (rows, Angstrom) into the other."""
    deformation = np.linalg.solve(np.array(before), np.array(after))
    return float(np.abs(0.5 * (deformation @ deformation.T - np.eye(3))).max())
