"""Engine ``vasp``: VASP through aiida-vasp, with the user's own licence and potentials."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from aiida_hardcoat.engines import vasp_settings
from aiida_hardcoat.engines.codes import code_finding, ensure_code, require_executable, require_plugin
from aiida_hardcoat.engines.dry_profile import some_profile
from aiida_hardcoat.engines.vasp_settings import (
    MODELS,
    RELAXATIONS,
    complete_settings,
    potential_labels,
    step_parameters,
)
from aiida_hardcoat.errors import InputError

if TYPE_CHECKING:
    from aiida.engine import ProcessBuilder
    from aiida.orm import AbstractCode, Computer, Data, List, StructureData
    from aiida_vasp.data.potcar import PotcarGroup
    from ase import Atoms

DEFAULT_MODEL = "pbe"
CODE = "vasp"
EXECUTABLE = "vasp_std"
PLUGINS = ("hardcoat.vasp", "vasp.vasp")
"""Of the codes that it runs: both name the same program."""

check_model = vasp_settings.check_model
level_settings = vasp_settings.level_settings
protocol_settings = vasp_settings.protocol_settings


def check_settings(task: str, model: str, settings: dict[str, Any]) -> None:
    """Refuse settings that are unknown, out of range or contradict the task.

    :raises InputError: naming the first.
    """
    vasp_settings.check_settings(complete_settings(task, model, settings))


def code_label(model: str) -> str:
    """All functionals run with the same VASP."""
    return CODE


def check_code(code: AbstractCode, elements: Sequence[str], model: str, settings: dict[str, Any]) -> None:
    """That the code is a VASP, and that the family has the right potential of every element.

    :raises InputError: for what is missing, with the command that makes it.
    """
    require_plugin(code, *PLUGINS)
    require_executable(code)
    complete = complete_settings("static", model, settings)
    check_family(complete["potential_family"], potential_labels(elements, complete), MODELS[model].lexch)


def check_family(family: str, labels: dict[str, str], lexch: str) -> None:
    """That a family is there, has these potentials, and was made with one functional.

    :param labels: the potential of each element.
    :raises InputError: for the first thing that is not so.
    """
    from aiida.common.exceptions import NotExistent

    from aiida_hardcoat.calculations.vasp import functional_of

    group = load_family(family)
    if group is None:
        others = ", ".join(sorted(families())) or "none"
        raise InputError(
            f"the profile has no family of potentials '{family}' (it has: {others}): {upload_command(family)}"
        )
    there = {node.full_name: node for node in group.nodes}
    for element, label in labels.items():
        if label not in there:
            of_element = ", ".join(sorted(name for name in there if name.split("_")[0] == element)) or "none"
            raise InputError(
                f"family '{family}' lacks potential {label} of {element} (it has: {of_element}): upload it, or choose"
                f" another with -o engine.potential_mapping.{element}=LABEL"
            )
        try:
            found = functional_of(there[label])
        except NotExistent:
            raise InputError(
                f"the file of potential {label} is not in this profile: {upload_command(family)}"
            ) from None
        if found != lexch:
            raise InputError(
                f"potential {label} of family '{family}' was made for another functional (LEXCH {found}, not {lexch}):"
                " choose another family with -o engine.potential_family=LABEL"
            )


def load_family(label: str) -> PotcarGroup | None:
    from aiida_vasp.data.potcar import PotcarData

    return PotcarData.get_potcar_group(label)


def families() -> list[str]:
    """The labels of all families of potentials in the profile."""
    from aiida_vasp.data.potcar import PotcarGroup

    return [group.label for group in PotcarGroup.collection.all()]


def upload_command(family: str) -> str:
    """How to get potentials from where VASP's licence holders download them into a family."""
    return f"aiida-vasp potcar uploadfamily --path potpaw_{family}.tar.gz --name {family} --description {family}"


def code_command(computer: str) -> str:
    return (
        f"verdi code create core.code.installed --non-interactive --label {CODE} --computer {computer}"
        f" --default-calc-job-plugin {PLUGINS[0]} --filepath-executable /PATH/TO/{EXECUTABLE} --with-mpi"
        " --prepend-text 'module load VASP'"
    )


def cached() -> tuple[str, ...]:
    """What is done between the runs of VASP."""
    module = "aiida_hardcoat.calculations.vasp_results"
    return (f"{module}.kpoints_mesh", f"{module}.gather_vasp")


def setup(computer: Computer, report: Callable[[str], None]) -> None:
    """A code where `vasp_std` is on PATH; else, and for the potentials, what to do: only licence holders have them."""
    from aiida.common.exceptions import MultipleObjectsError, NotExistent
    from aiida.orm import load_code

    executable = shutil.which(EXECUTABLE)
    try:
        report(f"code       {load_code(CODE).full_label}")
    except MultipleObjectsError:
        report(f"code       {CODE}, on several computers: choose one with --code {CODE}@COMPUTER")
    except NotExistent:
        if executable is not None:
            description = "VASP, for the engine vasp"
            code = ensure_code(
                CODE, computer, executable=executable, plugin=PLUGINS[0], description=description, with_mpi=True
            )
            report(f"code       {code.full_label} ({executable})")
        else:
            report(
                f"code       {EXECUTABLE} is not on PATH. For a VASP on a computer that `verdi computer list` shows:"
            )
            report(f"           {code_command('COMPUTER')}")
    family = MODELS[DEFAULT_MODEL].family
    if load_family(family) is not None:
        report(f"potentials {family}")
    else:
        report(f"potentials no family {family}. With the archive that your VASP licence lets you download:")
        report(f"           {upload_command(family)}")


def doctor(elements: Sequence[str] | None) -> list[dict[str, Any]]:
    """The code, the potentials, and whether the profile holds files that must not be shared."""
    family = MODELS[DEFAULT_MODEL].family
    row = {"what": "vasp potentials", "ok": True, "detail": "", "mend": "", "needed": False}
    settings = complete_settings("static", DEFAULT_MODEL, {})
    try:
        check_family(family, potential_labels(elements or (), settings), MODELS[DEFAULT_MODEL].lexch)
        row["detail"] = family + (f" has {', '.join(elements)} as recommended" if elements else "")
    except InputError as error:
        detail, _, mend = str(error).partition("): ")
        row |= {"ok": False, "detail": detail + (")" if mend else ""), "mend": mend}
    code = code_finding(CODE, "`hardcoat setup --engine vasp` tells how")
    return [{**code, "what": "vasp code"}, row, *warn_of_licensed_files()]


def warn_of_licensed_files() -> list[dict[str, Any]]:
    """That archives of the whole profile would hold POTCAR files, if it has any."""
    from aiida.orm import QueryBuilder
    from aiida_vasp.data.potcar import PotcarFileData

    number = QueryBuilder().append(PotcarFileData).count()
    if not number:
        return []
    detail = f"{number} POTCAR files: share entries or groups, never `verdi archive create --all`"
    return [{"what": "vasp licence", "ok": True, "detail": detail, "mend": "", "needed": False}]


# --- input files ----------------------------------------------------------------------------------------------------


def input_files(
    structure: Atoms, task: str, model: str, settings: dict[str, Any], parent: Atoms | None = None
) -> dict[str, str]:
    """INCAR, KPOINTS, POSCAR and the labels of the potentials of every step of a task, as the plugin writes them.

    Nothing is stored, and neither a code nor potentials are needed. A relaxation has three steps, each in a folder; all
    are shown with the structure that the first of them begins with.
    """
    complete = complete_settings(task, model, settings)
    with some_profile():
        from aiida.orm import StructureData

        from aiida_hardcoat.calculations.dft import sorted_structure

        # The function itself, without the process that a calcfunction makes of it.
        sort = cast(Any, sorted_structure).__wrapped__
        cell, unstrained = (sort(StructureData(ase=atoms)) for atoms in (structure, parent or structure))
        if task not in RELAXATIONS:
            return step_files(cell, unstrained, task, complete)
        return {
            f"{number}-{step}/{name}": text
            for number, step in enumerate(("preliminary", "final", "static"), 1)
            for name, text in step_files(cell, unstrained, step, complete).items()
        }


def step_files(cell: StructureData, parent: StructureData, step: str, settings: dict[str, Any]) -> dict[str, str]:
    """The files of one run of VASP, through the plugin's own way from its inputs to its files."""
    from aiida.orm import Dict
    from aiida_vasp.assistant.parameters import ParametersMassage
    from aiida_vasp.parsers.content_parsers.incar import IncarParser
    from aiida_vasp.parsers.content_parsers.kpoints import KpointsParser
    from aiida_vasp.parsers.content_parsers.poscar import PoscarParser

    from aiida_hardcoat.calculations.vasp_results import make_mesh

    massaged = ParametersMassage(step_parameters(settings, step, len(cell.sites)), None)
    labels = potential_labels(dict.fromkeys(site.kind_name for site in cell.sites), settings)
    return {
        "INCAR": written(IncarParser, Dict(massaged.parameters.incar)),
        "KPOINTS": written(KpointsParser, make_mesh(parent, settings)),
        "POSCAR": written(PoscarParser, cell, precision=POSCAR_DIGITS),
        "POTCAR.labels": "".join(f"{label}\n" for label in labels.values()),
    }


POSCAR_DIGITS = 10
"""The plugin's own number."""


def written(parser: Any, node: Data, **options: Any) -> str:
    """What one of the plugin's parsers writes of a node."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        parser(data=node, **options).write(str(path))
        return path.read_text(encoding="utf8")


# --- running --------------------------------------------------------------------------------------------------------


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
    """Builder of :class:`~aiida_hardcoat.workflows.vasp.VaspEngineWorkChain` for one task.

    :param settings: ``force_thresholds`` (eV/Angstrom), ``stress_threshold`` (GPa), ``max_steps`` and the keys of
        ``vasp.yaml``.
    :param options: ``metadata.options`` of the CalcJobs; one machine by default, filled as the computer says.
    :param jobs_at_once: structures computed side by side at most; 0 for as many as the machine allows.
    :raises InputError: for settings that are unknown or out of range.
    """
    from aiida import orm
    from aiida.plugins import WorkflowFactory

    complete = complete_settings(task, model, settings)
    vasp_settings.check_settings(complete)
    processes = code.computer.get_default_mpiprocs_per_machine() or 1 if code.computer is not None else 1
    resources = {"num_machines": 1, "num_mpiprocs_per_machine": processes}
    builder = cast(Any, WorkflowFactory("hardcoat.vasp")).get_builder()
    builder.code = code
    builder.structure = structure
    if strains is not None:
        builder.strains = strains
    builder.settings = orm.Dict(complete)
    builder.options = {"resources": resources, **options}
    builder.jobs_at_once = jobs_at_once
    return cast("ProcessBuilder", builder)
