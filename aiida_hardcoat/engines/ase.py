"""Engine ``ase``: potentials whose weights are in a wheel (SevenNet, CHGNet) or any ASE calculator by import path."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from aiida_hardcoat.engines.ase_resources import job_options, jobs_for
from aiida_hardcoat.engines.ase_settings import validate_ase_settings, validate_model
from aiida_hardcoat.engines.codes import code_finding, ensure_code, has_queue, require_plugin

if TYPE_CHECKING:
    from aiida.engine import ProcessBuilder
    from aiida.orm import AbstractCode, Computer, List, StructureData
    from ase import Atoms

DEFAULT_MODEL = "7net-l3i5"
RESOURCES = {"num_machines": 1, "num_mpiprocs_per_machine": 1}
DEFAULTS: dict[str, Any] = {"model_options": {}, "optimiser": "BFGS"}


def check_model(model: str) -> None:
    """Refuse a model that is neither shipped nor an import path.

    :raises InputError: naming the nearest model.
    """
    validate_model(model)


def complete_settings(task: str, model: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a job: defaults, then what the protocol says, then task and model."""
    return {**DEFAULTS, **settings, "task": task, "model": model}


def check_settings(task: str, model: str, settings: dict[str, Any]) -> None:
    """Refuse settings that are unknown or out of range.

    :raises InputError: naming the first.
    """
    validate_ase_settings(complete_settings(task, model, settings))


def level_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """The options of the model, beside the model itself; on which device it runs changes numbers by rounding only."""
    options = {**DEFAULTS, **settings}["model_options"]
    return {"model_options": {key: value for key, value in options.items() if key != "device"}}


def protocol_settings(protocol: str, part: str) -> dict[str, Any]:
    """None: the defaults serve every protocol."""
    return {}


def code_label(model: str) -> str:
    """All models run with the same Python."""
    return "hardcoat-ase"


def check_code(code: AbstractCode, elements: Sequence[str], model: str, settings: dict[str, Any]) -> None:
    """That the code runs this engine's driver.

    :raises InputError: for a code of another plugin.
    """
    require_plugin(code, "hardcoat.ase")


def cached() -> tuple[str, ...]:
    """Nothing beside this package's own processes."""
    return ()


def setup(computer: Computer, report: Callable[[str], None]) -> None:
    """The code that runs this Python; one that pointed to another Python gives way under a new label."""
    code = ensure_code(
        code_label(DEFAULT_MODEL),
        computer,
        executable=sys.executable,
        plugin="hardcoat.ase",
        description="Python with ASE and SevenNet, for the engine ase",
    )
    report(f"code       {code.full_label} ({code.filepath_executable})")


def doctor(elements: Sequence[str] | None) -> list[dict[str, Any]]:
    """The code."""
    return [code_finding(code_label(DEFAULT_MODEL), "hardcoat setup", needed=True)]


def input_files(
    structure: Atoms, task: str, model: str, settings: dict[str, Any], parent: Atoms | None = None
) -> dict[str, str]:
    """None: the driver's input is data, which the plan shows."""
    return {}


def get_builder(
    *,
    code: AbstractCode,
    structure: StructureData,
    strains: List | None,
    task: str,
    model: str,
    settings: dict[str, Any],
    options: dict[str, Any],
    jobs_at_once: int = 0,
) -> ProcessBuilder:
    """Builder of :class:`~aiida_hardcoat.workflows.ase.AseWorkChain` for one task, or of the workchain that spreads the
    strained cells of a large crystal over several of them.

    :param settings: ``force_thresholds`` (eV/Angstrom), ``stress_threshold`` (GPa), ``max_steps`` and, where they
        differ from the defaults, ``model_options``, ``optimiser`` and ``device``.
    :param options: ``metadata.options`` of the CalcJob; on a computer with a scheduler,
        :mod:`~aiida_hardcoat.engines.ase_resources` says what is left open.
    :param jobs_at_once: jobs side by side at most where there are several; 0 for all.
    :raises InputError: for settings that are unknown or out of range.
    """
    from aiida import orm
    from aiida.plugins import WorkflowFactory

    complete = complete_settings(task, model, settings)
    validate_ase_settings(complete)
    computer, atoms = code.computer, len(structure.sites)
    parts, defaults = 1, {"resources": RESOURCES}
    if computer is not None and has_queue(computer):
        rows = [] if strains is None else strains.get_list()
        parts = jobs_for(atoms, rows, task, model)
        defaults = job_options(computer, atoms, max(math.ceil(len(rows) / parts), 1), task, model)
    entry_point = "hardcoat.ase" if parts == 1 else "hardcoat.ase.spread"
    builder = cast(Any, WorkflowFactory(entry_point)).get_builder()
    if parts > 1:
        builder.parts = orm.Int(parts)
        builder.jobs_at_once = jobs_at_once
    builder.ase.code = code
    builder.ase.structure = structure
    if strains is not None:
        builder.ase.strains = strains
    builder.ase.settings = orm.Dict(complete)
    builder.ase.metadata.options = {**defaults, **options}
    return cast("ProcessBuilder", builder)
