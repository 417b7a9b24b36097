"""The search: exact bookkeeping, minima of small cells, quality of 96-atom cells, and the record kept."""

import json
from itertools import combinations

import numpy as np
import pytest
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.cells import hermite_normal_form, supercell_matrix
from aiida_hardcoat.physics.composition import parse_composition
from aiida_hardcoat.physics.prototypes import parent
from aiida_hardcoat.physics.sqs import (
    PAIRS,
    PAIRS_AND_TRIPLETS,
    VECTOR_RESOLVED,
    build_atoms,
    cluster_space,
    correlations,
    find_sqs,
    occupation_hash,
    place,
    read_occupation,
)
from aiida_hardcoat.physics.sqs import search as tabu

TIALN = parse_composition("Ti0.5Al0.5N")


def clusters_of(structure_type, matrix):
    structure = parent(structure_type, TIALN)
    return place(cluster_space(structure.cell, structure.metal_sites), np.asarray(matrix))


@pytest.mark.parametrize("weights", [PAIRS, PAIRS_AND_TRIPLETS, VECTOR_RESOLVED])
@pytest.mark.parametrize(
    ("structure_type", "cells", "counts"),
    [
        ("B1", (4, 4, 3), (12, 36)),
        ("B4", (4, 3, 2), (10, 14, 24)),
        ("B1", (2, 2, 1), (2, 1, 1)),
        ("B4", (1, 1, 1), (1, 1)),
        ("Bk", (3, 1, 1), (2, 1, 1, 1, 1)),
    ],
)
def test_every_exchange_changes_the_score_as_predicted(structure_type, cells, counts, weights):
    """The score of an exchange before it is made, after it is made, and counted afresh is one number."""
    clusters = clusters_of(structure_type, np.diag(cells))
    problem = tabu._problem(clusters, counts, weights)
    generator = np.random.default_rng(2)
    state = tabu._start(problem, generator.permutation(np.repeat(np.arange(len(counts)), counts)))
    unit = None
    for _ in range(12):
        i = int(generator.integers(clusters.size))
        j = int(generator.choice(np.flatnonzero(state.occupation != state.occupation[i])))
        i, j = sorted((i, j), key=lambda site: state.occupation[site])
        p, q = state.occupation[[i, j]]
        predicted = tabu._block_scores(problem, state, p, q, np.array([i]), np.array([j]))[0]
        tabu._exchange(problem, state, i, j)
        assert tabu._score(problem, state) == predicted
        assert tabu._score(problem, tabu._start(problem, state.occupation.copy())) == predicted
        objective = correlations(clusters, state.occupation, len(counts)).objective(weights)[0]
        unit = unit or predicted / objective
        assert predicted / unit == pytest.approx(objective, rel=1e-6)


@pytest.mark.parametrize(("structure_type", "cells"), [("B1", (2, 2, 2)), ("B4", (2, 2, 1)), ("B1", (3, 3, 1))])
def test_small_cells_reach_the_global_minimum(structure_type, cells):
    clusters = clusters_of(structure_type, np.diag(cells))
    size, few = clusters.size, clusters.size // 2
    every = np.ones((len(list(combinations(range(size), few))), size), dtype=int)
    for row, chosen in zip(every, combinations(range(size), few), strict=True):
        row[list(chosen)] = 0
    best = correlations(clusters, every, 2).objective(VECTOR_RESOLVED).min()
    found = tabu.search(clusters, (few, size - few), VECTOR_RESOLVED, seed=0, restarts=4, steps=100)
    reached = correlations(clusters, found[0].occupation, 2).objective(VECTOR_RESOLVED)[0]
    assert reached == pytest.approx(best)


@pytest.mark.parametrize(
    ("counts", "weights", "restarts", "largest"),
    [
        ((24, 24), PAIRS_AND_TRIPLETS, 12, 0.0),
        ((12, 36), PAIRS_AND_TRIPLETS, 12, 0.10),
        ((12, 36), PAIRS, 20, 0.051),
        ((24, 24), VECTOR_RESOLVED, 8, 0.27),
        ((12, 36), VECTOR_RESOLVED, 8, 0.295),
    ],
)
def test_quality_of_the_cells_of_the_study(counts, weights, restarts, largest):
    """Random cells lie near 0.57 and 0.66 (shells + triplets) and near 0.9 (vectors resolved)."""
    clusters = clusters_of("B1", np.diag([4, 4, 3]))
    found = tabu.search(clusters, counts, weights, seed=1, restarts=restarts, steps=450)
    result = correlations(clusters, found[0].occupation, 2)
    assert result.objective(weights)[0] <= largest + 1e-12
    if weights == VECTOR_RESOLVED:
        assert result.vector_rms[0] <= 0.11


def test_quality_with_four_metals():
    """Random cells have a mean |alpha| of 0.11."""
    clusters = clusters_of("B1", np.diag([4, 4, 3]))
    found = tabu.search(clusters, (12, 12, 12, 12), VECTOR_RESOLVED, seed=0, restarts=2, steps=300)
    assert np.abs(correlations(clusters, found[0].occupation, 4).alpha).mean() <= 0.052


def test_restarts_are_independent_and_sorted():
    clusters = clusters_of("B1", np.diag([3, 2, 2]))
    few = tabu.search(clusters, (6, 6), VECTOR_RESOLVED, seed=3, restarts=2, steps=30)
    more = tabu.search(clusters, (6, 6), VECTOR_RESOLVED, seed=3, restarts=5, steps=30)
    assert {tuple(one.occupation) for one in few} <= {tuple(one.occupation) for one in more}
    assert [one.score for one in more] == sorted(one.score for one in more)


def test_large_blocks_are_sampled_without_losing_atoms():
    clusters = clusters_of("B1", np.diag([6, 5, 4]))
    found = tabu.search(clusters, (60, 60), VECTOR_RESOLVED, seed=0, restarts=1, steps=60)
    assert np.array_equal(np.bincount(found[0].occupation), [60, 60])
    random = np.random.default_rng(0).permuted(np.tile(found[0].occupation, (50, 1)), axis=1)
    reached = correlations(clusters, found[0].occupation, 2).objective(VECTOR_RESOLVED)[0]
    assert reached < 0.7 * correlations(clusters, random, 2).objective(VECTOR_RESOLVED).min()


@settings(max_examples=10, deadline=None)
@given(
    st.sampled_from(["B1", "B3", "B4", "Bk"]),
    st.sampled_from([(1, 1, 2), (2, 2, 1), (3, 2, 2)]),
    st.lists(st.sampled_from(["Al", "Ti", "Zr", "Hf", "V", "Nb"]), min_size=1, max_size=5, unique=True),
    st.integers(0, 10**9),
)
def test_any_alloy_is_placed_as_asked(structure_type, cells, metals, seed):
    sites = int(np.prod(cells)) * (1 if structure_type in ("B1", "B3") else 2)
    if len(metals) > sites:
        return
    counts = dict.fromkeys(metals, 1)
    counts[metals[0]] += sites - len(metals)
    composition = parse_composition("".join(f"{m}{n}/{sites}" for m, n in counts.items()) + "N")
    structure = parent(structure_type, composition)
    sqs = find_sqs(structure, np.diag(cells), composition, seed=seed, restarts=2, steps=10)
    symbols = sqs.atoms.get_chemical_symbols()
    assert symbols == [m for m in sorted(metals) for _ in range(counts[m])] + ["N"] * sites
    assert sqs.atoms.pbc.all()
    np.testing.assert_allclose(sqs.atoms.cell[:], np.diag(cells) @ structure.cell)
    scaled = sqs.atoms.get_scaled_positions(wrap=False)
    assert np.all((scaled > -1e-6) & (scaled < 1))
    # the ideal lattice: every atom has the neighbours of the structure type, all of the other kind
    nearest = neighbor_list("d", sqs.atoms, 3.0).min()
    first, second = neighbor_list("ij", sqs.atoms, 1.2 * nearest)
    assert np.all(np.bincount(first) == {"B1": 6, "B3": 4, "B4": 4, "Bk": 5}[structure_type])
    assert np.all((sqs.atoms.numbers[first] == 7) != (sqs.atoms.numbers[second] == 7))


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_cell():
    structure, matrix = parent("B4", TIALN), supercell_matrix("B4", 96)
    one, two = (find_sqs(structure, matrix, TIALN, seed=5, restarts=2, steps=60) for _ in range(2))
    assert one.atoms.positions.tobytes() == two.atoms.positions.tobytes()
    assert one.atoms.get_chemical_formula("reduce") == two.atoms.get_chemical_formula("reduce")
    assert json.dumps(one.report) == json.dumps(two.report)
    other = find_sqs(structure, matrix, TIALN, seed=6, restarts=2, steps=60)
    assert other.report["hash"] != one.report["hash"]


def test_the_report_is_plain_and_rebuilds_the_cell_and_its_runners_up():
    structure, matrix = parent("B1", TIALN), supercell_matrix("B1", 48)
    calls = []
    sqs = find_sqs(structure, matrix, TIALN, seed=1, restarts=4, steps=60, progress=lambda *done: calls.append(done))
    report = json.loads(json.dumps(sqs.report))
    assert report == sqs.report
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert (report["seed"], report["restarts"], report["steps"]) == (1, 4, 60)
    assert report["requested_fractions"] == report["realised_fractions"] == {"Al": 0.5, "Ti": 0.5}
    assert report["hermite_normal_form"] == hermite_normal_form(matrix).tolist()
    assert report["weights"] == {"pairs": 1.0, "triplets": 1.0, "vectors": 3.0}

    rebuilt = build_atoms(structure, matrix, TIALN.metals, read_occupation(report["occupation"]))
    np.testing.assert_array_equal(rebuilt.positions, sqs.atoms.positions)
    np.testing.assert_array_equal(rebuilt.numbers, sqs.atoms.numbers)

    clusters = place(cluster_space(structure.cell, structure.metal_sites), matrix)
    for entry in [report, *report["runners_up"]]:
        occupation = read_occupation(entry["occupation"])
        assert entry["hash"] == occupation_hash("B1", matrix, TIALN.metals, occupation)
        objective = correlations(clusters, occupation, 2).objective(VECTOR_RESOLVED)[0]
        assert entry["objective"] == pytest.approx(objective)
        assert entry["objective"] >= report["objective"]
    assert len({entry["hash"] for entry in [report, *report["runners_up"]]}) == 1 + len(report["runners_up"])
    assert report["objective"] == pytest.approx(
        sum(abs(shell["alpha"]["Al-Ti"]) for shell in report["shells"])
        + sum(abs(t["pi"]["Al"] - t["target"]["Al"]) for t in report["triplets"])
        + 3 * report["vector_mean"]
    )
    assert report["random_cells"]["percentile"] < 5


def test_occupations_that_translation_joins_are_one_runner_up():
    structure = parent("B1", TIALN)
    matrix = np.diag([1, 1, 4])
    sqs = find_sqs(structure, matrix, TIALN, seed=0, restarts=20, steps=5)
    # four sites in a row, half of them Al: ABAB or AABB, and no more
    assert len(sqs.report["runners_up"]) <= 1


def test_an_ordered_compound_needs_no_search():
    composition = parse_composition("TiN")
    sqs = find_sqs(parent("B1", composition), supercell_matrix("B1", 96, "study"), composition)
    assert sqs.atoms.get_chemical_formula() == "N48Ti48"
    assert sqs.report["objective"] == 0
    assert sqs.report["runners_up"] == []


def test_the_vectors_that_span_a_cell_do_not_change_what_is_found():
    structure = parent("B1", TIALN)
    matrix = supercell_matrix("B1", 64)
    sheared = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]]) @ matrix
    one, two = (find_sqs(structure, m, TIALN, restarts=2, steps=40) for m in (matrix, sheared))
    assert one.report["hash"] == two.report["hash"]
    assert one.report["objective"] == two.report["objective"]


@pytest.mark.parametrize(
    ("formula", "matrix", "options", "reason"),
    [
        ("Ti0.3Al0.7N", np.diag([4, 4, 3]), {}, "does not fill 48"),
        ("Ti0.5Al0.5N", np.diag([4, 4, -3]), {}, "left-handed"),
        ("Ti0.5Al0.5N", np.zeros((3, 3), dtype=int), {}, "determinant"),
        ("Ti0.5Al0.5N", np.diag([2, 1, 1]), {"seed": -1}, "seed >= 0"),
        ("Ti0.5Al0.5N", np.diag([2, 1, 1]), {"restarts": 0}, "restarts >= 1"),
    ],
)
def test_refusals(formula, matrix, options, reason):
    composition = parse_composition(formula)
    with pytest.raises(InputError, match=reason):
        find_sqs(parent("B1", composition), matrix, composition, **options)
