"""``hardcoat run --dry-run``: what a run would do, and the input files that its jobs would read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from aiida_hardcoat.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms


def show_plan(composition: str, choices: dict[str, Any], overrides: dict[str, Any]) -> None:
    """Print the plan, and write input files where the engine's code reads any. Nothing is stored."""
    from aiida_hardcoat.engines import DEFAULT, load_engine
    from aiida_hardcoat.physics.quasirandom import find_structure
    from aiida_hardcoat.physics.strain import strain_set
    from aiida_hardcoat.workflows.alloy import check_alloy
    from aiida_hardcoat.workflows.protocols import load_protocol

    engine = choices["engine"] or DEFAULT
    settings = load_protocol(choices["protocol"], overrides, engine)
    search = {"composition": composition, "structure_type": choices["structure_type"], **settings["sqs"]}
    check_alloy(search, settings["relaxation"], settings["strains"], engine, choices["ions"])
    _, model = load_engine(engine)
    folder = input_folder(composition, choices)
    sqs = find_structure(search)
    strains = strain_set(settings["strains"]["normal"], settings["strains"]["shear"])
    formula, shape = sqs.atoms.get_chemical_formula(), settings["sqs"]["shape"]
    files = input_files(engine, sqs.atoms, choices["ions"], settings)
    if choices["inputs"] is not None and not files:
        raise InputError(f"the code of engine {engine} reads no files that a person could look at: leave out --inputs")
    click.echo(f"structure   {formula}, {len(sqs.atoms)} atoms, {shape} cell")
    click.echo(f"quality     objective {sqs.report['objective']:.4f}, seed {settings['sqs']['seed']}")
    click.echo(f"engine      {engine.partition(':')[0]}:{model}")
    click.echo(f"relaxation  {settings['relaxation']}")
    click.echo(f"strains     {len(strains)} cells, ions {choices['ions']}: {settings['strains']}")
    if files:
        write_files(folder, files)
        show_files(folder, files, len(strains))


def input_folder(composition: str, choices: dict[str, Any]) -> Path:
    """Where the input files go.

    :raises InputError: for a folder that holds something already.
    """
    from aiida_hardcoat.physics.composition import parse_composition

    name = f"{parse_composition(composition).formula}-{choices['structure_type']}-inputs".replace("/", "_")
    folder = Path(choices["inputs"] or name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"'{folder}' is not an empty folder: name another with --inputs FOLDER")
    return folder


def input_files(engine: str, atoms: Atoms, ions: str, settings: dict[str, Any]) -> dict[str, str]:
    """The files of the relaxation and of each strained cell by relative path; of the unrelaxed structure throughout."""
    from aiida_hardcoat.engines import load_engine
    from aiida_hardcoat.physics.strain import strain_cell
    from aiida_hardcoat.workflows import elastic, relax

    module, model = load_engine(engine)
    task, values = relax.TASKS[ions], relax.engine_settings(settings["relaxation"])
    files = {f"relaxation/{name}": text for name, text in module.input_files(atoms, task, model, values).items()}
    if not files:
        return {}
    task, values = elastic.TASKS[ions], elastic.engine_settings(settings["strains"])
    for number, strain in enumerate(strains_to_compute(atoms, settings["strains"]), 1):
        strained = atoms.copy()
        strained.set_cell(strain_cell(atoms.cell.array, strain), scale_atoms=True)
        written = module.input_files(strained, task, model, values, parent=atoms)
        files |= {f"strains/{number:02d}-{strain_name(strain)}/{name}": text for name, text in written.items()}
    return files


def strains_to_compute(atoms: Atoms, settings: dict[str, Any]) -> np.ndarray:
    """The strains that the symmetry of a structure leaves to be computed."""
    from aiida import orm

    from aiida_hardcoat.calculations.elastic import strain_reduction
    from aiida_hardcoat.engines.dry_profile import some_profile

    with some_profile():
        _, reduced = strain_reduction(orm.StructureData(ase=atoms), settings)
    return np.asarray(reduced.strains)


def strain_name(strain: np.ndarray) -> str:
    """``xx+0.01``, of the components that are not zero."""
    from aiida_hardcoat.physics.strain import VOIGT_LABELS

    return "_".join(f"{name}{value:+g}" for name, value in zip(VOIGT_LABELS, strain, strict=True) if value)


def write_files(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf8")


def show_files(folder: Path, files: dict[str, str], asked: int) -> None:
    """What lies where."""
    steps = list(dict.fromkeys(name.rpartition("/")[0] for name in files))
    names = list(dict.fromkeys(name.rpartition("/")[2] for name in files))
    strained = [step for step in steps if step.startswith("strains/")]
    click.echo(f"inputs      {', '.join(names)} of each step in {folder}")
    click.echo(f"            {', '.join(step for step in steps if step not in strained)}")
    click.echo(f"            {strained[0]} to {strained[-1].removeprefix('strains/')}, {len(strained)} cells")
    if len(strained) < asked:
        click.echo(
            f"            the other {asked - len(strained)} cells follow by symmetry, where the relaxed cell has it"
        )
    click.echo("            every step has the unrelaxed structure here; a run goes on from the relaxed one")
