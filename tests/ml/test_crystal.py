"""Crystals from files: the same arrays whatever the format, and one clear line for what is no ordered crystal."""

import itertools
import math
import random

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Structure

from hardcoat_ml.crystal import Crystal, formula_of, from_ase, from_pymatgen, make_crystal, nearest_pair, read_crystal
from hardcoat_ml.elements import SYMBOLS
from hardcoat_ml.errors import InputError

NUMBERS = st.lists(st.integers(1, len(SYMBOLS) - 1), min_size=1, max_size=12)


def wurtzite() -> Atoms:
    """AlN with lattice constants of about 3.11 and 4.98 Angstrom."""
    return bulk("AlN", "wurtzite", a=3.11, c=4.98, u=0.38)


def distances(crystal: Crystal) -> np.ndarray:
    """Distances between all atoms and all images in 5x5x5 cells, sorted: what no change of axes changes."""
    shifts = np.array(list(itertools.product(range(-2, 3), repeat=3)))
    between = crystal.fractional[:, None, None] - crystal.fractional[None, :, None] + shifts
    return np.sort(np.linalg.norm(between @ crystal.lattice, axis=-1), axis=None)


def one_line(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


@pytest.mark.parametrize(
    "name", ["AlN.cif", "POSCAR", "CONTCAR", "AlN.vasp", "AlN.extxyz", "AlN.gen", "AlN.xsf", "AlN.json"]
)
def test_one_crystal_whatever_the_format(tmp_path, name):
    path = tmp_path / name
    if name == "AlN.json":
        Structure(wurtzite().cell.array, wurtzite().numbers, wurtzite().get_scaled_positions()).to(str(path))
    else:
        write(path, wurtzite())
    crystal = read_crystal(path)
    assert formula_of(crystal.numbers) == "Al1N1"
    assert crystal.lattice.dtype == crystal.fractional.dtype == np.float64
    assert crystal.numbers.dtype == np.int64
    np.testing.assert_allclose(distances(crystal), distances(from_ase(wurtzite())), atol=1e-4)


def test_pymatgen_and_ase_give_the_same_crystal():
    atoms = wurtzite()
    structure = Structure(atoms.cell.array, atoms.numbers, atoms.get_scaled_positions())
    for ours, theirs in zip(from_pymatgen(structure), from_ase(atoms), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_charges_and_heavy_hydrogen_are_their_elements():
    cell = 4.2 * np.eye(3)
    charged = Structure(cell, ["Ti4+", "N3-"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert from_pymatgen(charged).numbers.tolist() == [22, 7]
    heavy = Structure(cell, ["Li", "D"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert from_pymatgen(heavy).numbers.tolist() == [3, 1]


def cif_with(symbols: list[tuple[str, float]]) -> str:
    """A cubic cell with a metal site shared by ``symbols`` and a full N site."""
    sites = [f"{symbol}{index} {symbol} 0 0 0 {share}" for index, (symbol, share) in enumerate(symbols)]
    return "\n".join(
        [
            "data_x",
            *(f"_cell_length_{axis} 4.2" for axis in "abc"),
            *(f"_cell_angle_{angle} 90" for angle in ("alpha", "beta", "gamma")),
            "_symmetry_space_group_name_H-M 'P 1'",
            "loop_",
            *(
                f"_atom_site_{field}"
                for field in ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy")
            ),
            *sites,
            "N9 N 0.5 0.5 0.5 1.0",
            "",
        ]
    )


@pytest.mark.parametrize("symbols", [[("Ti", 0.5), ("Al", 0.5)], [("Ti", 0.8)]])
def test_a_partial_occupancy_asks_for_an_sqs(tmp_path, symbols):
    path = tmp_path / "mixed.cif"
    path.write_text(cif_with(symbols))
    with pytest.raises(InputError, match="partial occupancies") as error:
        read_crystal(path)
    assert "hardcoat run" in one_line(error)
    assert "supercell" in str(error.value)


def test_a_full_occupancy_passes(tmp_path):
    path = tmp_path / "full.cif"
    path.write_text(cif_with([("Ti", 1.0)]))
    assert formula_of(read_crystal(path).numbers) == "N1Ti1"


def test_a_partial_occupancy_that_only_ase_notes_is_refused():
    atoms = wurtzite()
    atoms.info["occupancy"] = {"0": {"Al": 0.5, "Ti": 0.5}}
    with pytest.raises(InputError, match="partial occupancies"):
        from_ase(atoms)


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("", "empty.cif", "empty"),
        ("  \n", "blank.cif", "empty"),
        ("nothing but prose\n", "prose.cif", "neither pymatgen nor ASE"),
        (cif_with([("Ti", 1.0)])[:80], "cut.cif", "neither pymatgen nor ASE"),
        ("x\n1.0\n4 0 0\n0 4 0\n0 0 4\n1 1\nDirect\n0 0 0\n.5 .5 .5\n", "POSCAR", "does not name its elements"),
        ("x\n1.0\n4 0 0\n0 4 0\n0 0 4\nTi N\n1 1\nDirect\n0 0 0\n0 0 .01\n", "POSCAR", "apart"),
        ("x\n1.0\n4 0 0\n0 4 0\n0 4 0\nTi N\n1 1\nDirect\n0 0 0\n.5 .5 .5\n", "POSCAR", "Cannot use"),
        ("x\n1.0\n4 0 0\n0 4 0\n0 0 4\nTi N\n1 1\nDirect\n0 0 0\nnan .5 .5\n", "POSCAR", "Cannot use"),
    ],
)
def test_a_file_that_is_no_crystal_is_one_line(tmp_path, content, name, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError, match=message) as error:
        read_crystal(path)
    assert str(path) in one_line(error)


def test_a_missing_file_and_a_folder_are_one_line(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_crystal(tmp_path / "none.cif")
    with pytest.raises(InputError, match="folder"):
        read_crystal(tmp_path)


def test_binary_rubbish_is_one_line(tmp_path):
    path = tmp_path / "noise.cif"
    path.write_bytes(random.Random(0).randbytes(4000))
    with pytest.raises(InputError) as error:
        read_crystal(path)
    one_line(error)


def test_a_molecule_is_refused(tmp_path):
    path = tmp_path / "water.xyz"
    write(path, molecule("H2O"))
    with pytest.raises(InputError, match="no periodic cell") as error:
        read_crystal(path)
    one_line(error)


def test_a_slab_is_refused():
    atoms = wurtzite()
    atoms.pbc = True, True, False
    with pytest.raises(InputError, match="not periodic in all three"):
        from_ase(atoms)


@pytest.mark.parametrize(
    ("lattice", "numbers", "fractional", "message"),
    [
        (np.eye(2), [1], np.zeros((1, 3)), "three vectors"),
        (4 * np.eye(3), [], np.zeros((0, 3)), "at least one"),
        (4 * np.eye(3), [1, 1], np.zeros((1, 3)), "2 atoms"),
        (4 * np.eye(3), [0], np.zeros((1, 3)), "no atomic number"),
        (4 * np.eye(3), [119], np.zeros((1, 3)), "no atomic number"),
        (4 * np.eye(3), [6.5], np.zeros((1, 3)), "no atomic number"),
        (4 * np.eye(3), [6], [[0, 0, math.nan]], "not finite"),
        (4 * np.eye(3), ["C"], np.zeros((1, 3)), "array of numbers"),
        (4 * np.eye(3), [6, 6], [[0, 0, 0], [0, 0]], "array of numbers"),
        (0.4 * np.eye(3), [6], np.zeros((1, 3)), "per atom"),
        ([[4, 0, 0], [0, 4, 0], [4, 4, 0]], [6], np.zeros((1, 3)), "per atom"),
    ],
)
def test_arrays_that_are_no_crystal_are_refused(lattice, numbers, fractional, message):
    with pytest.raises(InputError, match=message):
        make_crystal(lattice, numbers, fractional)


def test_the_canonical_formula():
    assert formula_of([13, 7]) == "Al1N1"
    assert formula_of([22, 22, 7, 7]) == formula_of(np.array([7, 22])) == "N1Ti1"
    assert formula_of([8, 8, 8, 13, 13]) == "Al2O3"


@given(NUMBERS, st.integers(1, 4), st.randoms())
def test_a_formula_knows_neither_order_nor_size(numbers, times, rng):
    shuffled = numbers * times
    rng.shuffle(shuffled)
    assert formula_of(shuffled) == formula_of(numbers)


@given(NUMBERS, NUMBERS)
def test_different_compositions_have_different_formulas(first, second):
    shares = [{number: one.count(number) / len(one) for number in one} for one in (first, second)]
    equal = shares[0].keys() == shares[1].keys() and all(
        math.isclose(shares[0][number], shares[1][number]) for number in shares[0]
    )
    assert (formula_of(first) == formula_of(second)) == equal


shear = st.integers(-3, 3)


@given(st.floats(0.02, 0.98), st.tuples(shear, shear, shear), st.floats(1.1, 6.0))
def test_the_nearest_pair_is_found_in_any_choice_of_cell(gap, steps, height):
    """Two atoms ``gap`` apart along a direction of a box, described by ever more oblique cells of the same lattice."""
    lattice = np.diag([4.0, 5.0, height])
    direction = np.array([0.6, 0.0, 0.8])
    cartesian = np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3] + gap * direction])
    a, b, c = steps
    oblique = np.array([[1, a, b], [0, 1, c], [0, 0, 1]]) @ lattice
    crystal = make_crystal(oblique, [22, 7], cartesian @ np.linalg.inv(oblique))
    images = np.array(list(itertools.product(range(-2, 3), repeat=3))) @ lattice
    expected = np.linalg.norm(cartesian[1] - cartesian[0] + images, axis=1).min()
    found = nearest_pair(crystal, within=1.0)
    assert found == pytest.approx(expected, abs=1e-9) if expected < 1.0 else found is None


def test_an_atom_can_be_too_near_to_its_own_image():
    assert nearest_pair(make_crystal(np.diag([9.0, 9.0, 0.4]), [1], np.zeros((1, 3)))) == pytest.approx(0.4)
    assert nearest_pair(from_ase(wurtzite())) is None
