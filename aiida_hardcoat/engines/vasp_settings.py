"""Settings of the engine ``vasp``: checked before anything is stored, then turned into the tags of INCAR."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import Any

from aiida_vasp.utils.default_paws import DEFAULT_LDA
from parsevasp.constants import incar_tags

from aiida_hardcoat.engines.checks import (
    COMMON_KEYS,
    check_common,
    check_mesh,
    check_positive,
    is_positive,
)
from aiida_hardcoat.engines.protocol_files import read_protocols
from aiida_hardcoat.errors import InputError, nearest


@dataclass(frozen=True)
class Functional:
    """A density functional.

    :param lexch: what LEXCH of the potentials must be.
    :param family: the family of potentials that is meant where none is named.
    :param incar: the tags that VASP needs beside the potentials.
    """

    lexch: str
    family: str
    incar: dict[str, Any]


MODELS = {
    "pbe": Functional("PE", "PBE.54", {}),
    # There are no potentials made with PBEsol: VASP computes it with those of PBE.
    "pbesol": Functional("PE", "PBE.54", {"gga": "PS"}),
    "lda": Functional("CA", "LDA.54", {}),
}

RECOMMENDED = {**DEFAULT_LDA, "W": "W_sv", "At": "At"}
"""The potential of each element that VASP's manual recommends; `W_pv` and `At_d` are gone since the release 54."""

RELAXATIONS = ("relax", "relax_cell")
ISIF = {"relax": 3, "relax_cell": 6, "relax_ions": 2, "static": 2}
MOST_RELAXATIONS = 8
"""Relaxations in a row until two agree: in energy, within so many energy tolerances, in cell and in positions."""
ENERGIES_AGREE = 100.0
POSITION_TOLERANCE = 0.02
"""Angstrom."""
LARGEST_BULK_MODULUS = 400.0
"""GPa."""
LEVEL_KEYS = ("potential_family", "potential_mapping", "kpoints_spacing", "kpoints_mesh")
KEYS = (*COMMON_KEYS, *LEVEL_KEYS, "preliminary_cutoff", "energy_tolerance", "incar")

DECIDED_BY = {
    **dict.fromkeys(("isif", "nsw", "ibrion"), "the task and max_steps"),
    "ediffg": "force_thresholds",
    "ediff": "energy_tolerance",
    **dict.fromkeys(("istart", "icharg"), "the restarts of the workchain"),
    "system": "AiiDA",
    **dict.fromkeys(("gga", "metagga", "lhfcalc", "luse_vdw", "aexx"), "the model"),
    **dict.fromkeys(("kspacing", "kgamma"), "kpoints_spacing or kpoints_mesh"),
    "pstress": "the task: cells relax to zero stress",
    **dict.fromkeys(("lepsilon", "lcalceps", "lnoncollinear", "lsorbit", "images"), "the task"),
}
"""Tags that contradict the task or another setting, and what decides them instead."""

PATH_TAGS = frozenset(
    (
        *("isif", "nsw", "ibrion", "ediffg", "ediff", "istart", "icharg", "iwavpr", "potim", "nfree"),
        *("algo", "ialgo", "nelm", "nelmin", "nelmdl", "nelmall", "time", "ldiag", "weimin", "ebreak", "deper"),
        *("amix", "bmix", "amin", "amix_mag", "bmix_mag", "imix", "inimix", "maxmix", "mixpre", "wc"),
        *("nbands", "isym", "symprec", "addgrid", "lorbit", "nwrite", "nedos", "emin", "emax"),
        *("lwave", "lcharg", "lvtot", "lvhar", "lelf", "laechg"),
        *("ncore", "npar", "kpar", "nsim", "nblk", "lplane", "lscalapack", "lscalu", "lscaaware", "lasync"),
    )
)
"""Tags that steer how VASP finds its solution, how exactly, and what it prints. All others make the level of theory."""


def check_model(model: str) -> None:
    """A functional.

    :raises InputError: for one that is not known, naming the nearest.
    """
    if model not in MODELS:
        raise InputError(f"unknown model '{model}' of engine vasp: {nearest(model, tuple(MODELS))}")


def protocol_settings(protocol: str, part: str) -> dict[str, Any]:
    """The settings of this engine in a protocol; ``part`` is ``relaxation`` or ``strains``."""
    settings: dict[str, Any] = read_protocols("vasp")[protocol][part]
    return settings


def complete_settings(task: str, model: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a task: those of the protocol ``balanced``, then what is given, then task and model."""
    part = "relaxation" if task in RELAXATIONS else "strains"
    complete = {**protocol_settings("balanced", part), **settings, "task": task, "model": model}
    if complete["potential_family"] is None and model in MODELS:
        complete["potential_family"] = MODELS[model].family
    return complete


def check_settings(settings: dict[str, Any]) -> None:
    """Check every key, type and range.

    :raises InputError: with the first thing that is wrong.
    """
    check_common("vasp", settings, KEYS, optional=("preliminary_cutoff",))
    check_model(settings["model"])
    check_positive(settings, "energy_tolerance", "eV per atom")
    check_mesh(settings["kpoints_mesh"])
    if settings["kpoints_mesh"] is None:
        check_positive(settings, "kpoints_spacing", "2 pi/Angstrom")
    check_potentials(settings["potential_family"], settings["potential_mapping"])
    check_incar(settings["incar"])
    check_preliminary_cutoff(settings)


def check_potentials(family: Any, mapping: Any) -> None:
    if not isinstance(family, str) or not family:
        raise InputError(f"potential_family must be the label of a family of potentials, e.g. PBE.54, not {family!r}")
    if not isinstance(mapping, dict):
        raise InputError(f"potential_mapping must say which potential an element has, e.g. Ti: Ti_pv, not {mapping!r}")
    for element, label in mapping.items():
        if element not in RECOMMENDED:
            raise InputError(f"potential_mapping names '{element}', which is no element that VASP has a potential for")
        if not isinstance(label, str) or label.split("_")[0] != element:
            raise InputError(f"potential_mapping gives {element} the potential {label!r}, which is another element's")


def check_incar(incar: Any) -> None:
    if not isinstance(incar, dict):
        raise InputError(f"incar must be tags with their values, e.g. encut: 700, not {incar!r}")
    for tag, value in incar.items():
        name = str(tag).lower()
        if name in DECIDED_BY:
            raise InputError(f"INCAR's {name.upper()} is decided by {DECIDED_BY[name]}: leave it out of incar")
        if name not in incar_tags:
            guess = difflib.get_close_matches(name, incar_tags, n=1, cutoff=0.0)[0]
            raise InputError(f"unknown INCAR tag '{tag}': did you mean '{guess}'?")
        if tag != name:
            raise InputError(f"INCAR tags are written in lower case here: '{name}', not '{tag}'")
        if not is_incar_value(value):
            raise InputError(f"INCAR's {name.upper()} must be a number, text, true, false or a list, not {value!r}")
    for name in ("encut", "sigma", "enaug"):
        needed = name == "encut"
        if (needed or incar.get(name) is not None) and not is_positive(incar.get(name)):
            raise InputError(f"INCAR's {name.upper()} must be a positive number (eV), not {incar.get(name)!r}")
    if incar.get("ispin", 1) not in (1, 2):
        raise InputError(f"INCAR's ISPIN must be 1 or 2, not {incar['ispin']!r}")


def is_incar_value(value: Any) -> bool:
    """None, which leaves a tag of the protocol out, or something that INCAR can hold on one line."""
    if isinstance(value, (list, tuple)):
        return bool(value) and all(item is not None and is_incar_value(item) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return bool(value.strip()) and not set(value) & set("#!;=\n\\")
    return value is None or isinstance(value, int)


def check_preliminary_cutoff(settings: dict[str, Any]) -> None:
    """Relaxations have one, at most that of INCAR; other tasks have none."""
    cutoff, final = settings.get("preliminary_cutoff"), settings["incar"]["encut"]
    if settings["task"] not in RELAXATIONS:
        if cutoff is not None:
            raise InputError("preliminary_cutoff is for relaxations: leave it out of the strains")
        return
    if not is_positive(cutoff) or cutoff > final:
        raise InputError(f"preliminary_cutoff must be a positive number (eV) up to ENCUT, {final}, not {cutoff!r}")


# --- what the settings mean to VASP ---------------------------------------------------------------------------------


def potential_labels(elements: Any, settings: dict[str, Any]) -> dict[str, str]:
    """The label of each element's potential: the recommended one, or the override."""
    return {element: {**RECOMMENDED, **settings["potential_mapping"]}[element] for element in elements}


def level_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """The part of the settings that decides the level of theory: cut-off, k-points, smearing, spin, potentials."""
    tags = level_tags(settings["incar"])
    mesh = settings["kpoints_mesh"]
    return {
        "cutoff": float(tags.pop("encut")),
        "smearing": {name: tags.pop(name) for name in ("ismear", "sigma") if name in tags},
        "spin": tags.pop("ispin", 1),
        **({"kpoints_spacing": settings["kpoints_spacing"]} if mesh is None else {"kpoints_mesh": list(mesh)}),
        "potential_family": settings["potential_family"],
        "potential_mapping": settings["potential_mapping"],
        "incar": tags,
    }


def level_tags(incar: dict[str, Any]) -> dict[str, Any]:
    """The tags of an INCAR that make the level of theory, written in one way."""
    return {
        name.lower(): value.lower() if isinstance(value, str) else value
        for name, value in incar.items()
        if name.lower() not in PATH_TAGS and value is not None
    }


def base_incar(settings: dict[str, Any], number_of_atoms: int) -> dict[str, Any]:
    """The tags that all steps of a task share. EDIFF is for the whole cell, the setting for one atom."""
    chosen = {name: value for name, value in settings["incar"].items() if value is not None}
    functional = MODELS[settings["model"]].incar
    return {**chosen, **functional, "ediff": settings["energy_tolerance"] * number_of_atoms}


def step_parameters(settings: dict[str, Any], step: str, number_of_atoms: int) -> dict[str, dict[str, Any]]:
    """What aiida-vasp makes INCAR of, for a step: ``preliminary``, ``final``, ``relax_ions`` or ``static``.

    Where only the cell relaxes the forces on the ions do not vanish, so VASP ends by the change of the energy (EDIFFG
    positive): 1e-7 eV per atom are a stress of about 0.03 GPa.
    """
    incar, thresholds = base_incar(settings, number_of_atoms), settings["force_thresholds"]
    by_energy = {"ediffg": incar["ediff"]} if settings["task"] == "relax_cell" else {}
    moving = {"ibrion": 2, "isif": ISIF[settings["task"]], "nsw": settings["max_steps"]}
    if step == "static":
        return {"incar": {**incar, "ibrion": -1, "isif": ISIF["static"], "nsw": 0}}
    if step == "relax_ions":
        return {"incar": {**incar, **moving, "ediffg": -thresholds[0]}}
    if step == "preliminary":
        cutoff = {"encut": settings["preliminary_cutoff"]}
        return {"incar": {**incar, **moving, "ediffg": -thresholds[-1], **by_energy, **cutoff}}
    return {"incar": {**incar, **by_energy}, "relax": relax_settings(settings)}


def relax_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """What the plugin's relaxation is told beside INCAR; it sets ISIF, IBRION, NSW and EDIFFG itself."""
    return {
        "algo": "cg",
        "force_cutoff": settings["force_thresholds"][0],
        "steps": settings["max_steps"],
        "positions": settings["task"] == "relax",
        "shape": True,
        "volume": True,
        "convergence_mode": "inout",
        "convergence_max_iterations": MOST_RELAXATIONS,
        "convergence_positions": POSITION_TOLERANCE,
        "convergence_volume": 3 * cell_tolerance(settings),
        "convergence_shape_lengths": cell_tolerance(settings),
        "convergence_shape_angles": cell_tolerance(settings),
    }


def cell_tolerance(settings: dict[str, Any]) -> float:
    """The strain that makes less stress than the threshold in the stiffest of these crystals."""
    return float(settings["stress_threshold"]) / LARGEST_BULK_MODULUS
