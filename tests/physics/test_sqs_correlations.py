"""Correlations against ordered compounds, neighbour lists and an independent program."""

import numpy as np
import pytest
from ase import Atoms
from ase.data import atomic_numbers
from ase.neighborlist import neighbor_list

from aiida_hardcoat.physics.cells import supercell_matrix
from aiida_hardcoat.physics.composition import parse_composition
from aiida_hardcoat.physics.prototypes import parent
from aiida_hardcoat.physics.sqs import (
    PAIRS_AND_TRIPLETS,
    Weights,
    build_atoms,
    cluster_space,
    cluster_vector,
    correlations,
    place,
)
from aiida_hardcoat.physics.sqs.search import search

LONG_PERIOD = np.array([[6, 0, 0], [3, 4, 0], [1, 1, 2]])
CUBE = np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])


def prepared(structure_type, matrix, formula="Ti0.5Al0.5N"):
    structure = parent(structure_type, parse_composition(formula))
    space = cluster_space(structure.cell, structure.metal_sites)
    return structure, space, place(space, np.asarray(matrix))


def shuffled(counts, number, seed=0):
    row = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(seed).permuted(np.tile(row, (number, 1)), axis=1)


def metals_only(structure, matrix, metals, occupation):
    atoms = build_atoms(structure, np.asarray(matrix), metals, occupation)
    return atoms[atoms.numbers != 7]


@pytest.mark.parametrize("structure_type", ["B1", "B3"])
def test_fcc_shells_and_triplets(structure_type):
    structure, space, clusters = prepared(structure_type, np.diag([4, 4, 3]))
    assert [2 * len(orbit.members) for orbit in space.pairs] == [12, 6, 24, 12, 24, 8, 48]
    # images of a site count: the cell is narrower than the seventh shell
    assert [2 * len(pairs) / 48 for pairs in clusters.pairs] == [12, 6, 24, 12, 24, 8, 48]
    assert len(space.triplets) == 7
    assert len(space.vectors) == 67
    longest = max(orbit.diameter for orbit in space.triplets)
    assert longest == pytest.approx(np.sqrt(1.5) * structure.a)


@pytest.mark.parametrize("structure_type", ["B4", "Bk"])
def test_first_hcp_shell_splits(structure_type):
    structure, space, _ = prepared(structure_type, np.diag([4, 3, 2]))
    in_plane = structure.a
    between = np.sqrt(structure.a**2 / 3 + (structure.a * structure.c_over_a) ** 2 / 4)
    assert [orbit.diameter for orbit in space.pairs[:2]] == pytest.approx(sorted([in_plane, between]))
    assert [len(orbit.members) for orbit in space.pairs[:2]] == [6, 6]


def test_shells_of_one_length_are_told_apart_by_symmetry():
    a = 3.0
    cell = np.array([[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, a * np.sqrt(8 / 3)]])
    space = cluster_space(cell, np.array([[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5]]))
    first, second = space.pairs[:2]
    assert first.diameter == pytest.approx(second.diameter)
    assert len(first.members) == len(second.members) == 6


@pytest.mark.parametrize("structure_type", ["B1", "B4"])
@pytest.mark.parametrize("cells", [(1, 1, 1), (2, 1, 3), (4, 3, 2)])
def test_pairs_agree_with_a_neighbour_list(structure_type, cells):
    structure, space, clusters = prepared(structure_type, np.diag(cells))
    occupation = np.random.default_rng(1).integers(0, 2, clusters.size)
    atoms = metals_only(structure, np.diag(cells), ["Al", "Ti"], occupation)
    first, second, distances = neighbor_list("ijd", atoms, space.cutoffs[0])
    unlike = atoms.numbers[first] != atoms.numbers[second]
    by_length: dict[float, list[int]] = {}
    for orbit, sites in zip(space.pairs, clusters.pairs, strict=True):
        tally = by_length.setdefault(round(orbit.diameter, 4), [0, 0])
        tally[0] += 2 * len(sites)
        tally[1] += 2 * int((occupation[sites[:, 0]] != occupation[sites[:, 1]]).sum())
    for length, tally in by_length.items():
        shell = np.abs(distances - length) < 1e-3
        assert tally == [shell.sum(), (shell & unlike).sum()]


@pytest.mark.parametrize(
    ("special", "first", "second"),
    [((0, 3), -1 / 3, 1.0), ((0,), -1 / 3, 1.0)],
    ids=["L1_0", "L1_2"],
)
def test_ordered_compounds(special, first, second):
    """L1_0 has 8 and L1_2 (a corner atom) 12 unlike among 12 nearest, none among 6 second neighbours."""
    structure, _, clusters = prepared("B1", CUBE)
    atoms = metals_only(structure, CUBE, ["Ti"], np.zeros(4, dtype=int))
    corners = {tuple(np.rint(2 * p).astype(int) % 2) for p in atoms.get_scaled_positions()}
    assert corners == {(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)}
    occupation = np.ones(4, dtype=int)
    occupation[list(special)] = 0
    result = correlations(clusters, occupation, 2)
    assert result.alpha[0, 0, 0] == pytest.approx(first)
    assert result.alpha[0, 1, 0] == pytest.approx(second)


def test_alpha_is_the_normalised_pair_correlation():
    _, _, clusters = prepared("B4", np.diag([4, 3, 2]))
    occupation = shuffled((12, 36), 1)[0]
    spins, m = np.where(occupation == 0, 1, -1), -0.5
    result = correlations(clusters, occupation, 2)
    pi = np.array([(spins[pairs[:, 0]] * spins[pairs[:, 1]]).mean() for pairs in clusters.pairs])
    np.testing.assert_allclose(result.alpha[0, :, 0], (pi - m**2) / (1 - m**2), atol=1e-12)


def test_shell_averages_of_the_vectors():
    _, _, clusters = prepared("B1", LONG_PERIOD)
    result = correlations(clusters, shuffled((10, 18, 20), 3), 3)
    shells = np.array(clusters.shell_of_vector)
    for shell in range(7):
        np.testing.assert_allclose(
            result.vector_alpha[:, shells == shell].mean(axis=1), result.alpha[:, shell], atol=1e-12
        )


@pytest.mark.parametrize("counts", [(24, 24), (12, 36), (12, 12, 12, 12)])
def test_random_cells_average_to_the_finite_random_alloy(counts):
    """Two of n sites are unlike with probability 2 k_p k_q / (n (n - 1)), so that <alpha> = -1 / (n - 1)."""
    _, _, clusters = prepared("B1", LONG_PERIOD)
    apart = [np.all(pairs[:, 0] != pairs[:, 1]) for pairs in clusters.pairs]
    result = correlations(clusters, shuffled(counts, 1500), len(counts))
    assert all(apart)
    np.testing.assert_allclose(result.alpha.mean(axis=0), -1 / 47, atol=0.012)


def test_perfect_shells_hide_order_that_the_vectors_show():
    """In the narrow 4x4x3 cell, seven shells without any order force order along some directions."""
    _, _, clusters = prepared("B1", np.diag([4, 4, 3]))
    best = search(clusters, (24, 24), PAIRS_AND_TRIPLETS, seed=0, restarts=12, steps=450)[0]
    result = correlations(clusters, best.occupation, 2)
    assert result.pair_mismatch[0] == 0
    assert result.vector_rms[0] >= 0.37


def test_one_species_is_perfect():
    _, _, clusters = prepared("B4", np.eye(3, dtype=int))
    result = correlations(clusters, np.zeros(2, dtype=int), 1)
    assert result.objective(Weights())[0] == 0
    assert result.vector_rms[0] == 0
    assert np.all(result.triplets == 1)


@pytest.mark.parametrize(
    ("structure_type", "matrix", "metals"),
    [
        ("B1", np.diag([4, 4, 3]), ["Al", "Ti"]),
        ("B1", LONG_PERIOD, ["Al", "Ti"]),
        ("B1", np.diag([2, 1, 1]), ["Al", "Ti"]),
        ("B3", np.diag([4, 4, 3]), ["Al", "Hf"]),
        ("B4", np.diag([4, 3, 2]), ["Al", "Ti"]),
        ("B4", [[4, 2, 0], [-2, 2, 0], [0, 0, 2]], ["Al", "Zr"]),
        ("Bk", np.diag([1, 2, 1]), ["Al", "Ti"]),
        ("B1", LONG_PERIOD, ["Al", "Ti", "Zr"]),
        ("B1", np.diag([4, 4, 3]), ["Al", "Ti", "Zr", "Hf"]),
        ("B4", np.diag([4, 3, 2]), ["Al", "Ti", "Zr", "Hf"]),
        ("B1", np.diag([3, 3, 3]), ["Al", "V", "Cr", "Zr", "Hf"]),
    ],
)
def test_equals_icet(structure_type, matrix, metals):
    """The same orbits, multiplicities and correlations as icet's ClusterSpace on the metal sublattice."""
    icet = pytest.importorskip("icet")
    assert metals == sorted(metals, key=atomic_numbers.get), "icet numbers species by atomic number"
    structure, space, clusters = prepared(structure_type, matrix)
    primitive = Atoms(
        [metals[0]] * space.basis_size, scaled_positions=structure.metal_sites, cell=structure.cell, pbc=True
    )
    theirs = icet.ClusterSpace(primitive, list(space.cutoffs), [metals] * space.basis_size)
    occupation = np.random.default_rng(3).integers(0, len(metals), clusters.size)
    values = theirs.get_cluster_vector(metals_only(structure, matrix, metals, occupation))

    expected: dict[tuple[int, float], list[float]] = {}
    for entry, value in zip(theirs.as_list, values, strict=True):
        if entry["order"] >= 2:
            expected.setdefault((entry["order"], round(entry["radius"], 3)), []).append(value)
    found: dict[tuple[int, float], list[float]] = {}
    orbits = (*space.pairs, *space.triplets, *space.quadruplets)
    for orbit, vector in zip(orbits, cluster_vector(space, clusters, occupation, len(metals)), strict=True):
        cells, basis = orbit.members[0, :, :3], orbit.members[0, :, 3]
        positions = (cells + structure.metal_sites[basis]) @ structure.cell
        radius = np.linalg.norm(positions - positions.mean(axis=0), axis=1).mean()
        found.setdefault((len(basis), round(radius, 3)), []).extend(vector)
    assert found.keys() == expected.keys()
    for key, vector in found.items():
        np.testing.assert_allclose(np.sort(vector), np.sort(expected[key]), rtol=0, atol=1e-10)
    if len(metals) == 2:
        multiplicities = sorted((e["order"], e["multiplicity"]) for e in theirs.as_list if e["order"] >= 2)
        assert multiplicities == sorted((o.members.shape[1], len(o.members)) for o in orbits)


def test_triplets_of_a_species_are_products_of_spins():
    _, _, clusters = prepared("B1", np.diag([3, 2, 2]))
    occupation = shuffled((4, 4, 4), 1)[0]
    result = correlations(clusters, occupation, 3)
    for species in range(3):
        spins = np.where(occupation == species, 1, -1)
        means = [np.mean([spins[sites].prod() for sites in orbit]) for orbit in clusters.triplets]
        assert result.triplets[0, :, species] == pytest.approx(means)
    assert result.triplet_targets == pytest.approx([(-1 / 3) ** 3] * 3)


def test_the_choice_of_vectors_that_span_a_cell_does_not_matter():
    _, space, clusters = prepared("B1", supercell_matrix("B1", 96))
    other = place(space, LONG_PERIOD)
    for one, two in zip((*clusters.vectors, *clusters.triplets), (*other.vectors, *other.triplets), strict=True):
        assert np.array_equal(one, two)
