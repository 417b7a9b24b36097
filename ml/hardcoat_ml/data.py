"""Elastic data sets: reading, splitting by formula, and what tells one set from another.

A file holds one JSON object a line, plain or compressed by xz or gzip, with the fields

``lattice`` (3x3, rows, Angstrom), ``numbers``, ``frac``, ``K_VRH``, ``G_VRH`` (GPa) and, where known, ``mp_id``,
``source``, ``spacegroup``, ``C_raw_GPa`` (in the frame of the lattice) or ``C_ieee_GPa`` (6x6) with ``C_source``,
``voigt_reuss`` (object of ``K_voigt``, ``K_reuss``, ``G_voigt``, ``G_reuss``) and ``database_version``. Others are
passed over.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardcoat_ml.crystal import MAKE_SQS, Crystal, formula_of, make_crystal
from hardcoat_ml.errors import InputError

PARTS = ("train", "validation", "test")
AVERAGES = ("K_voigt", "K_reuss", "G_voigt", "G_reuss")


@dataclass(frozen=True)
class Entry:
    """A crystal and its moduli.

    :ivar bulk_modulus: Voigt-Reuss-Hill average, GPa; so is ``shear_modulus``.
    :ivar formula: canonical, see `hardcoat_ml.crystal.formula_of`.
    :ivar identifier: of the Materials Project, or None.
    :ivar elastic_tensor: 6x6, GPa, in the frame of the lattice where the source gives that, else the IEEE frame.
    :ivar voigt_reuss: GPa by the names in `AVERAGES`.
    :ivar tensor_source: where the tensor is from; another release's tensor need not agree with the moduli.
    """

    crystal: Crystal
    bulk_modulus: float
    shear_modulus: float
    formula: str
    identifier: str | None = None
    source: str = "unknown"
    spacegroup: int | None = None
    elastic_tensor: list[list[float]] | None = None
    voigt_reuss: dict[str, float] | None = None
    tensor_source: str | None = None
    database_version: str | None = None


def load_entries(path: str | Path) -> list[Entry]:
    """Read a data set, as it is: `clean` is a step of its own.

    :raises InputError: the file is missing, empty, cut short or not of this format; one line with the line's number.
    """
    file = Path(path)
    entries = []
    for number, line in _numbered_lines(file):
        if line.strip():
            try:
                entries.append(_entry(line))
            except InputError as error:
                raise InputError(f"{file}, line {number}: {error}.") from None
    if not entries:
        raise InputError(f"{file} holds no entry: `hardcoat ml fetch` downloads a data set.")
    return entries


def _numbered_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Lines as text, the compression told by the first bytes and not by the name."""
    number = 0
    try:
        with file.open("rb") as stream:
            magic = stream.read(6)
        opener: Callable[..., Any] = {b"\xfd7zXZ\0": lzma.open}.get(magic, open)
        if magic[:2] == b"\x1f\x8b":
            opener = gzip.open
        with opener(file, "rt", encoding="utf-8") as text:
            for number, line in enumerate(text, start=1):
                yield number, line
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error):
        raise InputError(
            f"{file} is cut short or damaged after line {number}: compress or fetch it again; "
            f"`xz -dc` or `gzip -dc` gives the {number} lines that are whole."
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is not text after line {number}: one JSON object a line is expected.") from None
    except OSError as error:
        raise InputError(f"Cannot read {file}: {error.strerror or error}.") from None


def _entry(line: str) -> Entry:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        cut = "" if line.endswith("\n") else "; the file seems cut short here"
        raise InputError(f"not a whole JSON object{cut}: mend or remove the line") from None
    if not isinstance(row, dict):
        raise InputError("not a JSON object with the fields lattice, numbers, frac, K_VRH and G_VRH")
    for field in ("lattice", "numbers", "frac", "K_VRH", "G_VRH"):
        if row.get(field) is None:
            raise InputError(f"the field '{field}' is missing or null: add it or remove the line")
    if _is_disordered(row):
        raise InputError(f"the crystal has partial occupancies: {MAKE_SQS}, or remove the line")
    crystal = make_crystal(row["lattice"], row["numbers"], row["frac"])
    raw, ieee = (_tensor(row, field) for field in ("C_raw_GPa", "C_ieee_GPa"))
    averages = row.get("voigt_reuss")
    if averages is not None:
        if not isinstance(averages, dict) or set(averages) != set(AVERAGES):
            raise InputError(f"voigt_reuss is an object of {', '.join(AVERAGES)}")
        averages = {name: _number(averages, name) for name in AVERAGES}
    spacegroup = row.get("spacegroup")
    if spacegroup is not None and (type(spacegroup) is not int or not 1 <= spacegroup <= 230):
        raise InputError(f"the space group {spacegroup!r} is not a number from 1 to 230")
    source = _text(row, "source") or "unknown"
    return Entry(
        crystal=crystal,
        bulk_modulus=_number(row, "K_VRH"),
        shear_modulus=_number(row, "G_VRH"),
        formula=formula_of(crystal.numbers),
        identifier=_text(row, "mp_id"),
        source=source,
        spacegroup=spacegroup,
        elastic_tensor=raw or ieee,
        voigt_reuss=averages,
        tensor_source=(_text(row, "C_source") or source) if raw or ieee else None,
        database_version=_text(row, "database_version"),
    )


def _is_disordered(row: Mapping[str, Any]) -> bool:
    """Sites that hold a mixture, in any of the ways that people write them."""
    mixed = isinstance(row["numbers"], list) and any(isinstance(site, list | dict) for site in row["numbers"])
    shares: Any = next((row[key] for key in ("occupancies", "occupancy", "occ") if row.get(key) is not None), [])
    return mixed or any(share != 1 for share in (shares if isinstance(shares, list) else [shares]))


def _number(row: Mapping[str, Any], field: str) -> float:
    value = row[field]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{field} is {json.dumps(value)[:40]}, not a number: mend or remove the line")
    if not math.isfinite(value):
        raise InputError(f"{field} is {value}, not a finite number: mend or remove the line")
    return float(value)


def _text(row: Mapping[str, Any], field: str) -> str | None:
    value = row.get(field)
    if value is not None and not isinstance(value, str):
        raise InputError(f"{field} is {json.dumps(value)[:40]}, not text")
    return value or None


def _tensor(row: Mapping[str, Any], field: str) -> list[list[float]] | None:
    if row.get(field) is None:
        return None
    try:
        tensor: NDArray[np.float64] | None = np.array(row[field], dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        tensor = None
    if tensor is None or tensor.shape != (6, 6) or not np.isfinite(tensor).all():
        raise InputError(f"{field} is not 6 rows of 6 finite numbers: mend it or leave it out")
    rows: list[list[float]] = tensor.tolist()
    return rows


def averages_of(tensor: Sequence[Sequence[float]]) -> dict[str, float]:
    """Voigt and Reuss averages (R. Hill, Proc. Phys. Soc. A 65, 349, 1952) of a 6x6 stiffness, GPa, as `AVERAGES`.

    They are invariants: any frame does. A singular tensor has the Reuss averages 0.
    """
    given = np.asarray(tensor, dtype=np.float64)
    stiffness = (given + given.T) / 2
    block, trace, shear = _sums(stiffness)
    voigt = block / 9, (3 * trace - block) / 30 + shear / 5
    try:
        block, trace, shear = _sums(np.linalg.inv(stiffness))
        reuss = 1 / block, 15 / (6 * trace - 2 * block + 3 * shear)
    except (np.linalg.LinAlgError, ZeroDivisionError):
        reuss = 0.0, 0.0
    return dict(zip(AVERAGES, (voigt[0], reuss[0], voigt[1], reuss[1]), strict=True))


def _sums(matrix: NDArray[np.floating[Any]]) -> tuple[float, float, float]:
    """Sum of the normal block, its trace, and the trace of the shear block: all that averages depend on."""
    return float(matrix[:3, :3].sum()), float(np.trace(matrix[:3, :3])), float(np.trace(matrix[3:, 3:]))


# --- splitting and identity -------------------------------------------------------------------------------------------


def split(
    formulas: Sequence[str], seed: int, fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
) -> NDArray[np.int8]:
    """Part of each entry, an index into `PARTS`: whole formulas go to one part.

    Formulas are ordered by a hash of seed and formula, so the order of entries, their number per formula and the
    random generators of libraries do not matter; each part that has a share gets at least one formula.

    :returns: ``(n,)`` int8.
    :raises InputError: fewer formulas than parts with a share, or shares that are not shares.
    """
    if min(fractions) < 0 or fractions[0] == 0 or not math.isclose(sum(fractions), 1, abs_tol=1e-9):
        raise InputError(f"The parts {fractions} of a split must be shares that sum to 1, some of them for training.")
    distinct = sorted(set(formulas), key=lambda formula: hashlib.sha256(f"{seed}:{formula}".encode()).digest())
    sizes = [max(1, round(len(distinct) * fraction)) if fraction else 0 for fraction in fractions[1:]]
    if len(distinct) <= sum(sizes):
        raise InputError(f"{len(distinct)} different formulas are too few to split into {', '.join(PARTS)}: add data.")
    start = len(distinct) - sum(sizes)
    parts = [0] * start + [1] * sizes[0] + [2] * sizes[1]
    of = dict(zip(distinct, parts, strict=True))
    return np.array([of[formula] for formula in formulas], dtype=np.int8)


def unseen(entries: Sequence[Entry], parts: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Which entries hold an element that no training entry holds: a model refuses them, so it is not judged on them.

    :returns: ``(n,)``; False for all training entries.
    """
    known = {
        number for entry, part in zip(entries, parts, strict=True) if part == 0 for number in entry.crystal.numbers
    }
    return np.array([not known.issuperset(entry.crystal.numbers) for entry in entries], dtype=bool)


def digest(entry: Entry) -> bytes:
    """SHA-256 of what a model learns from an entry: its crystal, as given, and its moduli."""
    lattice, numbers, fractional = entry.crystal
    moduli = np.array([entry.bulk_modulus, entry.shear_modulus])
    content = hashlib.sha256(np.int64(len(numbers)).astype("<i8").tobytes() + numbers.astype("<i8").tobytes())
    for values in (lattice, fractional, moduli):
        content.update((values + 0.0).astype("<f8").tobytes())  # + 0.0: no negative zero
    return content.digest()


def fingerprint(entries: Sequence[Entry]) -> str:
    """SHA-256 in hexadecimal of a set of entries; their order does not matter, their number does."""
    return hashlib.sha256(b"".join(sorted(digest(entry) for entry in entries))).hexdigest()
