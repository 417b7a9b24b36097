"""Elastic tensors from files: JSON, plain text or CSV, and VASP's OUTCAR.

A JSON file may hold the 6x6 list itself, 36 or 21 numbers in a row (by rows; 21: the upper triangle), a
rank-4 list 3x3x3x3, an object with one of these under a usual name (`TENSOR_KEYS`), or an object of named
constants (``{"c11": 584, "c12": 136, "c44": 166}``) with its crystal class. Values are GPa unless ``units``
says otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.projection import (
    crystal_class_name,
    rank4_to_voigt,
    symmetric_basis,
    symmetric_tensor,
)
from aiida_hardcoat.physics.strain import FloatArray, vasp_moduli

TENSOR_KEYS = (
    "tensor",
    "elastic_tensor",
    "elastic_tensor_original",
    "elastic_constants",
    "elastic_moduli",
    "stiffness",
    "stiffness_tensor",
    "raw",
    "ieee_format",
    "c_gpa",
    "c_ieee_gpa",
    "c_in",
    "c_ij",
    "cij",
    "c",
    "data",
)
CLASS_KEYS = ("crystal_class", "symmetry", "crystal_system")
_EV_PER_CUBIC_ANGSTROM = 160.2176634
_TO_GPA = {
    "gpa": 1.0,
    "kbar": 0.1,
    "mpa": 1e-3,
    "pa": 1e-9,
    "ev/angstrom^3": _EV_PER_CUBIC_ANGSTROM,
    "ev/a^3": _EV_PER_CUBIC_ANGSTROM,
}
_LARGEST_CREDIBLE = 5000.0
"""GPa; diamond's largest constant is 1080, so anything far above is another unit."""
_NUMBER = re.compile(r"[-+]?((\d+\.?\d*|\.\d+)([ed][-+]?\d+)?|nan|inf(inity)?)", re.IGNORECASE)


@dataclass(frozen=True)
class TensorFile:
    """An elastic tensor as read.

    :ivar tensor: ``(6, 6)`` symmetric Voigt stiffness, GPa.
    :ivar asymmetry: largest difference between an element and its mirror image in the file, GPa.
    :ivar crystal_class: the class that the file names, or None.
    :ivar notes: what a reader should know: conversions, choices between several blocks, symmetrisation.
    """

    tensor: FloatArray
    asymmetry: float = 0.0
    crystal_class: str | None = None
    notes: tuple[str, ...] = ()


def read_tensor(path: str | Path) -> TensorFile:
    """Read an elastic tensor from a file whose kind is told by its content.

    :raises InputError: when the file cannot be read or holds no credible tensor; the message is one line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from None
    try:
        return parse_tensor(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def parse_tensor(text: str) -> TensorFile:
    """An elastic tensor from the content of a file; see `read_tensor`."""
    text = text.lstrip("\ufeff \t\r\n")
    if not text:
        raise InputError("The file is empty: 6 rows of 6 numbers (GPa) are expected.")
    if "ELASTIC MODULI" in text:
        return _from_outcar(text)
    if text[0] in "{[":
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            if text[0] == "{":
                raise InputError(f"Not valid JSON at line {error.lineno}: {error.msg}.") from None
            return _from_text(text)  # rows in brackets, as numpy prints them
        return _from_json(content)
    if re.search(r"^\s*(?:vasp\.\d|.*\bINCAR:)", text[:2000], re.MULTILINE):
        raise InputError("This OUTCAR holds no elastic moduli: VASP writes them for IBRION = 6, ISIF = 3.")
    return _from_text(text)


def _credible(tensor: Any, notes: tuple[str, ...] = (), crystal_class: str | None = None) -> TensorFile:
    array = np.asarray(tensor, dtype=np.float64)
    if array.shape == (6, 6) and np.triu(array, 1).any() != np.tril(array, -1).any():
        array = array + array.T - np.diag(np.diag(array))
        notes = (*notes, "only one triangle was given: mirrored")
    symmetric = symmetric_tensor(array)
    largest = float(np.abs(symmetric).max())
    if largest == 0:
        raise InputError("All elements of the elastic tensor are zero.")
    if largest > _LARGEST_CREDIBLE:
        unit = "Pa" if largest > 1e8 else "MPa or kbar"
        raise InputError(
            f"The largest element is {largest:g}, too large for GPa: it looks like {unit}; "
            'convert it, or say so in JSON with "units".'
        )
    if largest < 0.1:
        raise InputError(f"The largest element is {largest:g}, too small for GPa: is it a compliance?")
    asymmetry = float(np.abs(array - array.T).max())
    if asymmetry > 0:
        notes = (*notes, f"symmetrised: mirror elements differed by up to {asymmetry:g} GPa")
    return TensorFile(symmetric, asymmetry, crystal_class, notes)


def _shaped(values: Any) -> FloatArray:
    """A tensor in any of the usual layouts as 6x6."""
    if isinstance(values, Mapping) and "data" in values:
        values = values["data"]
    if isinstance(values, list) and [len(_list(row)) for row in values] == [6, 5, 4, 3, 2, 1]:
        values = [number for row in values for number in row]
    if isinstance(values, list) and any(isinstance(entry, Mapping) for entry in values):
        raise InputError(f"The file holds a list of {len(values)} objects: give one tensor a file.")
    rows = [len(_list(row)) for row in values] if isinstance(values, list) else []
    if rows and any(rows) and len(set(rows)) > 1:
        raise InputError(f"An elastic tensor is 6 rows of 6 numbers, got rows of {', '.join(map(str, rows))}.")
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError("The elastic tensor holds something that is not a number.") from None
    if array.shape == (3, 3, 3, 3):
        return rank4_to_voigt(array)
    if array.shape == (36,):
        return array.reshape(6, 6)
    if array.shape == (21,):
        full = np.zeros((6, 6))
        full[np.triu_indices(6)] = array
        return full + np.triu(full, 1).T
    if array.ndim == 2 and array.shape != (6, 6):
        raise InputError(f"An elastic tensor is 6 rows of 6 numbers, got {array.shape[0]} rows of {array.shape[1]}.")
    if array.ndim == 1:
        raise InputError(f"An elastic tensor is 6 rows of 6 numbers, got {len(array)} numbers.")
    return array


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _from_json(content: Any) -> TensorFile:
    if isinstance(content, list):
        return _credible(_shaped(content))
    lowered = {str(key).lower().replace("-", "_").replace(" ", "_"): value for key, value in content.items()}
    crystal_class = next((lowered[key] for key in CLASS_KEYS if isinstance(lowered.get(key), str)), None)
    if crystal_class is not None:
        crystal_class = crystal_class_name(crystal_class)
    unit = lowered.get("units", lowered.get("unit"))
    constants = {key: value for key, value in lowered.items() if re.fullmatch(r"c_?[1-6][1-6]", key)}
    found = next((key for key in TENSOR_KEYS if lowered.get(key) is not None), None)
    if found is None and not constants:
        square = [key for key, value in lowered.items() if [len(_list(row)) for row in _list(value)] == [6] * 6]
        found = square[0] if len(square) == 1 else None
    if found is None and constants:
        tensor = _from_constants(constants, crystal_class)
        found = "c11"
    elif found is None:
        raise InputError(
            f"No elastic tensor in this JSON object with the keys {', '.join(map(str, list(content)[:8]))}: "
            'name it "tensor".'
        )
    else:
        inner = lowered[found]
        if isinstance(inner, Mapping) and "data" not in inner:
            read = _from_json({"units": unit, **inner} if unit is not None else inner)
            return replace(read, crystal_class=read.crystal_class or crystal_class)
        tensor = _shaped(inner)
    if isinstance(unit, Mapping):
        unit = unit.get(found, unit.get("tensor"))
    if unit is None:
        return _credible(tensor, crystal_class=crystal_class)
    factor = _TO_GPA.get(str(unit).strip().lower().replace("å", "a").replace("**", "^"))
    if factor is None:
        raise InputError(f"Unknown units '{unit}': use GPa, kbar, MPa, Pa or eV/Angstrom^3.")
    notes = (f"converted from {unit} to GPa",) if factor != 1 else ()
    return _credible(tensor * factor, notes, crystal_class)


def _from_constants(constants: Mapping[str, Any], crystal_class: str | None) -> FloatArray:
    """The tensor of a class from some of its constants by name; all others follow from the class."""
    given: dict[tuple[int, int], float] = {}
    for key, value in constants.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"The elastic constant {key} is not a number.")
        row, column = sorted((int(key[-2]) - 1, int(key[-1]) - 1))
        given[row, column] = float(value)
    if crystal_class is None:
        crystal_class = {3: "cubic", 21: "triclinic"}.get(len(given))
    if crystal_class is None:
        raise InputError(
            f'{len(given)} named constants need their crystal class: add "symmetry": "hexagonal" or the like.'
        )
    basis = symmetric_basis(crystal_class)
    pairs = list(given)
    design = np.array([[matrix[pair] for matrix in basis] for pair in pairs])
    values = np.array([given[pair] for pair in pairs])
    if np.linalg.matrix_rank(design, tol=1e-8) < len(basis):
        raise InputError(
            f"The constants {', '.join(constants)} do not fix the {len(basis)} independent ones of the class "
            f"{crystal_class}: add the missing ones."
        )
    solution = np.linalg.lstsq(design, values, rcond=None)[0]
    if np.abs(design @ solution - values).max() > 0.01 * np.abs(values).max():
        raise InputError(f"The named constants contradict the class {crystal_class}: check their values.")
    return np.asarray(np.einsum("k,kij->ij", solution, basis))


def _from_outcar(text: str) -> TensorFile:
    lines = text.splitlines()
    chosen = "TOTAL ELASTIC MODULI"
    notes = ["read from OUTCAR: total elastic moduli, relaxed ions, converted from kbar and VASP's order"]
    starts = [number for number, line in enumerate(lines) if chosen in line]
    if not starts:
        chosen = "SYMMETRIZED ELASTIC MODULI"
        notes = ["read from OUTCAR: symmetrized elastic moduli, clamped ions (no total block), converted from kbar"]
        starts = [number for number, line in enumerate(lines) if chosen in line]
    if not starts:
        raise InputError("This OUTCAR has no TOTAL and no SYMMETRIZED elastic moduli: is it complete?")
    rows = []
    for line in lines[starts[-1] + 3 : starts[-1] + 9]:
        fields = line.split()
        if len(fields) == 7 and fields[0] in ("XX", "YY", "ZZ", "XY", "YZ", "ZX"):
            rows.append(_floats(fields[1:]))
    if len(rows) != 6:
        raise InputError(f"The block {chosen} of this OUTCAR is cut short: {len(rows)} of 6 rows.")
    return _credible(vasp_moduli(np.array(rows)), tuple(notes))


def _floats(fields: list[str]) -> list[float]:
    try:
        return [float(field.replace("D", "e").replace("d", "e")) for field in fields]
    except ValueError:
        raise InputError(f"'{' '.join(fields)}' is not a row of numbers.") from None


def _from_text(text: str) -> TensorFile:
    rows = []
    for line in text.splitlines():
        content = re.split(r"[#!%]", line, maxsplit=1)[0].strip().strip("[](),;")
        fields = [field for field in re.split(r"[\s,;|]+", content) if field]
        if 2 * sum(bool(_NUMBER.fullmatch(field)) for field in fields) <= len(fields):
            continue  # a blank line, a comment or a heading
        if not _NUMBER.fullmatch(fields[0]):
            fields = fields[1:]  # a label at the head of the row
        if wrong := [field for field in fields if not _NUMBER.fullmatch(field)]:
            raise InputError(f"'{wrong[0]}' in the row '{line.strip()}' is not a number.")
        rows.append(_floats(fields))
    if not rows:
        raise InputError("The file holds no tensor: 6 rows of 6 numbers (GPa) are expected.")
    tensor = _shaped(rows[0] if len(rows) == 1 else rows)
    named = {word.lower() for word in re.findall(r"\b(?:GPa|MPa|Pa|kbar)\b", text, re.IGNORECASE)}
    unit = named.pop() if len(named) == 1 else "gpa"
    notes = (f"converted from {unit}, the unit that the file names, to GPa",) if unit != "gpa" else ()
    return _credible(tensor * _TO_GPA[unit], notes)
