"""Ordered periodic crystals as three arrays, from any file that pymatgen or ASE reads."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hardcoat_ml.elements import SYMBOLS
from hardcoat_ml.errors import InputError

CLOSEST = 0.5
"""Angstrom; the shortest bond known, that of H2, is 0.74."""
SMALLEST_CELL = 1.0
"""Angstrom^3 per atom; dense hydrogen at 400 GPa still takes more than one."""
MAKE_SQS = (
    "the model sees whole atoms: make an ordered supercell that stands for the mixture, a special quasirandom "
    "structure, for example with `hardcoat run`"
)


class Crystal(NamedTuple):
    """An ordered crystal.

    :ivar lattice: ``(3, 3)`` float64, rows are the cell vectors, Angstrom.
    :ivar numbers: ``(N,)`` int64, atomic numbers.
    :ivar fractional: ``(N, 3)`` float64, positions in units of the cell vectors.
    """

    lattice: NDArray[np.float64]
    numbers: NDArray[np.int64]
    fractional: NDArray[np.float64]


def make_crystal(lattice: ArrayLike, numbers: ArrayLike, fractional: ArrayLike) -> Crystal:
    """A crystal from anything like its arrays.

    :raises InputError: wrong shapes, values that are not finite, no volume, or numbers that are no elements.
    """
    cell = _numbers("lattice", lattice)
    positions = _numbers("positions", fractional)
    elements = _numbers("atomic numbers", numbers)
    if cell.shape != (3, 3):
        raise InputError(f"the lattice is three vectors of three numbers, got the shape {cell.shape}")
    if elements.ndim != 1 or len(elements) == 0:
        raise InputError("a crystal needs a list of at least one atomic number")
    if positions.shape != (len(elements), 3):
        raise InputError(f"{len(elements)} atoms need as many positions of three numbers, got {positions.shape}")
    wrong = elements[(elements != np.rint(elements)) | (elements < 1) | (elements >= len(SYMBOLS))]
    if len(wrong):
        raise InputError(f"{wrong[0]:g} is no atomic number: use 1 to {len(SYMBOLS) - 1}")
    volume = abs(float(np.linalg.det(cell))) / len(elements)
    if volume < SMALLEST_CELL:
        raise InputError(f"the cell has {volume:.3g} Angstrom^3 per atom: is the lattice in Angstrom and complete?")
    return Crystal(cell, elements.astype(np.int64), positions)


def _numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"the {name} are not a regular array of numbers") from None
    if not np.isfinite(array).all():
        raise InputError(f"the {name} hold a value that is not finite")
    return array


def read_crystal(path: str | Path) -> Crystal:
    """Read one ordered crystal; of several images in a file, the last.

    :raises InputError: the file cannot be read, holds no periodic crystal, has partial occupancies, or puts two
        atoms in one place; the message is one line.
    """
    file = Path(path)
    try:
        if file.is_dir():
            raise InputError("it is a folder: name a structure file in it")
        if not file.exists():
            raise InputError("there is no such file")
        if not file.read_bytes().strip():
            raise InputError("the file is empty")
        crystal = _read(file)
        if (near := nearest_pair(crystal)) is not None:
            raise InputError(f"two atoms are {near:.3g} Angstrom apart, nearer than any bond: mend the positions")
    except OSError as error:
        raise InputError(f"Cannot read {file}: {error.strerror or error}.") from None
    except InputError as error:
        raise InputError(f"Cannot use {file}: {error}.") from None
    return crystal


def _read(file: Path) -> Crystal:
    """pymatgen first, for its care with occupancies and symmetry; ASE for the many other formats."""
    from pymatgen.core.structure import Structure

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            structure = Structure.from_file(str(file))
        except Exception as error:  # each of its parsers fails in its own way
            structure, reason = None, error
    if any("false names" in str(warning.message) for warning in caught):
        raise InputError("it does not name its elements: add the line of symbols above the line of counts")
    if structure is not None:
        return from_pymatgen(structure)

    import ase.io

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            atoms = ase.io.read(file)
        except OSError:
            raise
        except Exception as error:  # as above
            why = " ".join("; ".join(filter(None, (str(reason), str(error)))).split())
            raise InputError(f"neither pymatgen nor ASE reads it as a crystal ({why[:160]})") from None
    return from_ase(atoms)


def from_pymatgen(structure: Any) -> Crystal:
    """A crystal from a pymatgen ``Structure``.

    :raises InputError: partial occupancies, a molecule, sites that are no element.
    """
    if not hasattr(structure, "lattice"):
        raise InputError("it is a molecule: give it a periodic cell")
    if not structure.is_ordered:
        raise InputError(_disordered(next(str(site.species) for site in structure if not site.is_ordered)))
    if not all(structure.lattice.pbc):
        raise InputError("it is not periodic in all three directions: elastic moduli need a bulk crystal")
    numbers = []
    for site in structure:
        symbol = getattr(getattr(site.specie, "element", site.specie), "symbol", str(site.specie))
        if symbol not in SYMBOLS and symbol not in ("D", "T"):
            raise InputError(f"the site '{site.specie}' is no element")
        numbers.append(site.specie.Z)
    return make_crystal(structure.lattice.matrix, numbers, structure.frac_coords)


def from_ase(atoms: Any) -> Crystal:
    """A crystal from ASE's ``Atoms``.

    :raises InputError: no cell, not periodic, or partial occupancies noted by ASE's reader of CIF.
    """
    if atoms.cell.rank < 3:
        raise InputError("it has no periodic cell, as a molecule: elastic moduli need a crystal with three vectors")
    if not atoms.pbc.all():
        raise InputError("it is not periodic in all three directions: set pbc to true if it is a bulk crystal")
    for occupancy in (atoms.info.get("occupancy") or {}).values():
        if len(occupancy) != 1 or any(abs(share - 1) > 1e-6 for share in occupancy.values()):
            raise InputError(_disordered(" ".join(f"{symbol}{share:g}" for symbol, share in occupancy.items())))
    return make_crystal(atoms.cell.array, atoms.numbers, atoms.get_scaled_positions(wrap=False))


def _disordered(site: str) -> str:
    return f"it has partial occupancies (a site holds {site}): {MAKE_SQS}"


def formula_of(numbers: Iterable[int]) -> str:
    """The reduced formula in one canonical spelling: symbols by alphabet, counts divided by their common divisor.

    >>> formula_of([7, 13, 13, 7])
    'Al1N1'
    """
    counts = Counter(SYMBOLS[int(number)] for number in numbers)
    divisor = math.gcd(*counts.values())
    return "".join(f"{symbol}{counts[symbol] // divisor}" for symbol in sorted(counts))


def nearest_pair(crystal: Crystal, within: float = CLOSEST) -> float | None:
    """The shortest distance between two atoms, periodic images included, if it is below ``within``; Angstrom.

    Exact in any cell: a vector shorter than ``within`` has fractional components of at most ``within`` over the
    spacing of the lattice planes, which bounds the images to look at; in a usual cell that is one.
    """
    planes = 1 / np.linalg.norm(np.linalg.inv(crystal.lattice), axis=0)
    reach = np.floor(within / planes + 0.5).astype(int)
    shifts = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    between = crystal.fractional[:, None] - crystal.fractional
    between -= np.rint(between)
    shortest = math.inf
    for shift in shifts:
        distances = np.linalg.norm((between + shift) @ crystal.lattice, axis=-1)
        if not shift.any():
            np.fill_diagonal(distances, math.inf)
        shortest = min(shortest, float(distances.min()))
    return shortest if shortest < within else None
