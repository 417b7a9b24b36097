"""``hardcoat tensor``: what follows from one elastic tensor. Needs no AiiDA profile."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from aiida_hardcoat import __version__
from aiida_hardcoat.cli.errors import user_errors
from aiida_hardcoat.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

_DETECTION_TOLERANCE = 0.01
_SUSPICIOUS = 0.05
"""A larger relative norm projected away hints at a wrong frame or class; alloy supercells reach a few %."""

_ROWS = (
    ("Bulk modulus (Hill)", "bulk_modulus", "GPa"),
    ("  Voigt", "bulk_modulus_voigt", "GPa"),
    ("  Reuss", "bulk_modulus_reuss", "GPa"),
    ("Shear modulus (Hill)", "shear_modulus", "GPa"),
    ("  Voigt", "shear_modulus_voigt", "GPa"),
    ("  Reuss", "shear_modulus_reuss", "GPa"),
    ("Young's modulus", "youngs_modulus", "GPa"),
    ("  smallest, by direction", "youngs_modulus_min", "GPa"),
    ("  largest, by direction", "youngs_modulus_max", "GPa"),
    ("Poisson's ratio", "poisson_ratio", ""),
    ("Pugh's ratio B/G", "pugh_ratio", ""),
    ("Cauchy pressure", "cauchy_pressure", "GPa"),
    ("Cauchy pressure, basal", "cauchy_pressure_basal", "GPa"),
    ("Hardness, Teter 1998", "hardness_teter_1998", "GPa"),
    ("Hardness, Chen 2011", "hardness_chen_2011", "GPa"),
    ("Hardness, Tian 2012", "hardness_tian_2012", "GPa"),
    ("Hardness, Mazhnik-Oganov 2019", "hardness_mazhnik_oganov_2019", "GPa"),
    ("Fracture toughness, Niu 2019", "fracture_toughness_niu_2019", "MPa m^1/2"),
    ("Fracture toughness, Mazhnik-Oganov 2019", "fracture_toughness_mazhnik_oganov_2019", "MPa m^1/2"),
    ("Universal anisotropy", "universal_anisotropy", ""),
    ("Log-Euclidean anisotropy", "log_euclidean_anisotropy", ""),
    ("Zener ratio", "zener_anisotropy", ""),
    ("Density", "density", "kg/m^3"),
    ("Sound velocity, longitudinal", "sound_velocity_longitudinal", "m/s"),
    ("Sound velocity, transverse", "sound_velocity_transverse", "m/s"),
    ("Sound velocity, mean", "sound_velocity_mean", "m/s"),
    ("Debye temperature", "debye_temperature", "K"),
    ("Smallest eigenvalue", "smallest_eigenvalue", "GPa"),
)
_UNITS = {key: unit for _, key, unit in _ROWS if unit and key != "smallest_eigenvalue"} | {
    "tensor": "GPa",
    "projected": "GPa",
    "projected_away_norm": "GPa",
    "eigenvalues": "GPa",
}


@click.command("tensor")
@click.argument("file", type=click.Path(allow_dash=True))
@click.option("--symmetry", metavar="CLASS", help="Crystal class to project onto: cubic, hexagonal, tetragonal, ...")
@click.option(
    "--structure",
    "structure_file",
    type=click.Path(),
    help="Structure (POSCAR, CIF, ...): gives the crystal class, the density and what follows from it.",
)
@click.option(
    "--ieee",
    is_flag=True,
    help="The tensor is in the Cartesian frame of --structure: turn it into the IEEE frame first.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
)
@user_errors()
def cmd_tensor(file: str, symmetry: str | None, structure_file: str | None, ieee: bool, output_format: str) -> None:
    """Projection, moduli, stability, anisotropy and hardness of an elastic tensor.

    FILE holds a 6x6 tensor in Voigt order (xx, yy, zz, yz, xz, xy) in GPa: JSON, plain text, CSV or VASP's
    OUTCAR;
    - reads standard input. Without --symmetry the class is that of --structure, or named by the file, or the
    highest one that the tensor obeys.
    """
    from aiida_hardcoat.physics.orientation import crystal_frame
    from aiida_hardcoat.physics.projection import crystal_class_name, detect_class, rotate_tensor
    from aiida_hardcoat.physics.properties import elastic_properties
    from aiida_hardcoat.physics.tensor_files import parse_tensor, read_tensor

    if symmetry is not None:
        symmetry = crystal_class_name(symmetry)
    if ieee and structure_file is None:
        raise InputError("--ieee needs the crystal's axes: give the structure with --structure FILE.")
    read = parse_tensor(click.get_text_stream("stdin", errors="replace").read()) if file == "-" else read_tensor(file)
    tensor, notes = read.tensor, list(read.notes)

    material: dict[str, float] = {}
    if structure_file is not None:
        atoms = _read_structure(structure_file)
        material = _material(atoms)
        frame = crystal_frame(atoms)
        notes.append(f"structure: {atoms.symbols.formula.format('metal')}, space group {frame.spacegroup}")
        if ieee:
            tensor = rotate_tensor(tensor, frame.rotation)
            notes.append("turned from the frame of the structure into the IEEE frame")
        if symmetry is None:
            symmetry = frame.crystal_class
            notes.append(f"symmetry {symmetry}: that of the structure")
    if symmetry is None and read.crystal_class is not None:
        symmetry = read.crystal_class
        notes.append(f"symmetry {symmetry}: named by the file")
    if symmetry is None:
        symmetry = detect_class(tensor, _DETECTION_TOLERANCE)
        notes.append(f"symmetry {symmetry}: the highest obeyed within {_DETECTION_TOLERANCE:.0%}")

    properties = elastic_properties(tensor, symmetry, **material)
    if properties["projected_away"] > _SUSPICIOUS:
        notes.append(
            f"{properties['projected_away']:.1%} of the tensor was projected away: check the class, and that "
            "the tensor is in its standard frame (principal axis along z; --structure and --ieee turn it)"
        )
    if not properties["stable"]:
        notes.append("not mechanically stable: averages without meaning are left out")
    report = {
        "tensor": tensor.tolist(),
        **properties,
        "density": material.get("density"),
        "units": _UNITS,
        "notes": notes,
        "version": __version__,
    }
    {"table": _print_table, "json": _print_json, "csv": _print_csv}[output_format](report)


def _read_structure(path: str) -> Atoms:
    from ase.io import read

    if not Path(path).is_file():
        raise InputError(f"Cannot read {path}: no such file.")
    try:
        atoms = cast("Atoms", read(path))
    except Exception:  # every reader of ASE fails in its own way
        atoms = _read_with_pymatgen(path)
    if atoms.cell.rank < 3:
        raise InputError(f"{path} has no three lattice vectors: give a periodic crystal.")
    return atoms


def _read_with_pymatgen(path: str) -> Atoms:
    from pymatgen.core.structure import Structure
    from pymatgen.io.ase import AseAtomsAdaptor

    try:
        return AseAtomsAdaptor.get_atoms(Structure.from_file(path))
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is no structure that ASE or pymatgen can read: {reason}") from None


def _material(atoms: Atoms) -> dict[str, float]:
    from aiida_hardcoat.physics.acoustics import density

    volume = float(atoms.cell.volume)
    return {"density": density(atoms.get_masses().tolist(), volume), "atoms_per_volume": len(atoms) / volume}


def _print_json(report: dict[str, Any]) -> None:
    click.echo(json.dumps(report, indent=2))


def _print_csv(report: dict[str, Any]) -> None:
    flat = {key: value for key, value in report.items() if not isinstance(value, list | dict)}
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(flat)
    writer.writerow(["" if value is None else value for value in flat.values()])


def _print_table(report: dict[str, Any]) -> None:
    click.echo(f"Elastic tensor projected onto {report['symmetry']} symmetry (GPa)")
    for row in report["projected"]:
        click.echo("".join(f"{value + 0.0:10.2f}" for value in row))
    click.echo(f"\n{'Projected away':42s}{100 * report['projected_away']:12.3f} %")
    for label, key, unit in _ROWS:
        value = report["eigenvalues"][0] if key == "smallest_eigenvalue" else report[key]
        if value is not None:
            click.echo(f"{label:42s}{value:12.3f} {unit}".rstrip())
    for label, key in (("Stable (Born)", "stable"), ("Stable with tolerance 1.1", "stable_with_tolerance")):
        click.echo(f"{label:42s}{'yes' if report[key] else 'no':>12s}")
    for note in report["notes"]:
        click.echo(f"Note: {note}.")
