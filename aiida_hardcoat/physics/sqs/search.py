"""Tabu search for the occupation of the metal sites that comes nearest to a random alloy.

Every step evaluates all exchanges of two unlike atoms and takes the best one (Glover, ORSA J. Comput. 1,
190 (1989)); the two sites then rest for a few steps, and now and then a random exchange is taken instead.
Counts of unlike pairs and sums of spin products are integers and are updated exactly; the weights are
integers too, so the ranking of exchanges does not depend on the order of any summation and the same seed
gives the same cell on every machine. The number of steps is fixed: no clock is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from aiida_hardcoat.physics.sqs.clusters import SupercellClusters
from aiida_hardcoat.physics.sqs.correlations import Weights, spin_species, unlike_pairs

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

TENURE = (1, 3)
"""Steps for which a site rests after an exchange, drawn evenly from this range."""
RANDOM_SHARE = 0.05
"""Share of steps that take a random exchange."""
LARGEST_BLOCK = 2500
"""Exchanges between two metals evaluated a step; of more, a random part is evaluated."""
EXACT_INTEGERS = 2.0**52
"""Whole numbers up to this one are exact in double precision, whatever the order of summation."""


@dataclass(frozen=True)
class Found:
    """The best occupation (sites,) of a restart and its objective in the search's integer units."""

    occupation: IntArray
    score: float


@dataclass(frozen=True)
class Problem:
    """The objective of one cell, everything in whole numbers (held as floats).

    `pair_number` (species, species) numbers the unlike pairs. `pair_coupling` (sites, sites, F): how often
    two sites are a pair of feature f (shells, then vectors), times `pair_scale`; no site couples to itself.
    `triplet_entries[i]`: flat places (j, k, t) and values of the third derivative of the spin sums.
    `triplet_fields` (sites, T): its clusters of which two sites are images of one, so that only the spin of
    the third is left. Mismatches are |scale * count - target|, weighted with `pair_weights` (unlike
    pairs, F) and `triplet_weights` (T,).
    """

    counts: tuple[int, ...]
    followed: tuple[int, ...]
    pair_number: IntArray
    pair_coupling: FloatArray
    pair_targets: FloatArray
    pair_weights: FloatArray
    triplet_entries: tuple[tuple[IntArray, FloatArray], ...]
    triplet_fields: FloatArray
    triplet_targets: FloatArray
    triplet_weights: FloatArray


@dataclass(frozen=True)
class State:
    """An occupation (sites,) with all that an exchange of two atoms needs; the arrays change in place.

    `pair_fields` (species, sites, F): neighbours of each species. `pair_excess` (unlike pairs, F): counts
    less their targets. `coupling` (followed, sites, sites, T) and `fields` (followed, sites, T): second and
    first derivatives of the spin sums; `triplet_excess` (followed, T): the sums less their targets.
    """

    occupation: IntArray
    pair_fields: FloatArray
    pair_excess: FloatArray
    coupling: FloatArray
    fields: FloatArray
    triplet_excess: FloatArray


def search(
    clusters: SupercellClusters,
    counts: Sequence[int],
    weights: Weights,
    *,
    seed: int,
    restarts: int,
    steps: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[Found]:
    """The best occupation of each restart, best first; `counts` atoms of species 0, 1, ... on the sites.

    Restart r draws from a generator seeded with (seed, r) alone. `progress` is told the restarts done and
    asked for.
    """
    problem = _problem(clusters, tuple(counts), weights)
    found = []
    for restart in range(restarts):
        found.append(_restart(problem, np.random.default_rng([seed, restart]), steps))
        if progress is not None:
            progress(restart + 1, restarts)
    return sorted(found, key=lambda one: (one.score, one.occupation.tolist()))


def _restart(problem: Problem, generator: np.random.Generator, steps: int) -> Found:
    species = len(problem.counts)
    state = _start(problem, generator.permutation(np.repeat(np.arange(species), problem.counts)))
    tenures = generator.integers(TENURE[0], TENURE[1] + 1, size=steps)
    at_random = generator.random(steps) < RANDOM_SHARE
    rests_until = np.zeros(len(state.occupation), dtype=np.int64)
    best = Found(state.occupation.copy(), _score(problem, state))
    for step in range(steps):
        exchange = None if at_random[step] else _best_exchange(problem, state, rests_until <= step, generator)
        if exchange is None:
            i = int(generator.integers(len(state.occupation)))
            j = int(generator.choice(np.flatnonzero(state.occupation != state.occupation[i])))
        else:
            i, j = exchange
        _exchange(problem, state, i, j)
        rests_until[[i, j]] = step + 1 + tenures[step]
        score = _score(problem, state)
        if score < best.score:
            best = Found(state.occupation.copy(), score)
            if score == 0:
                break
    return best


def _problem(clusters: SupercellClusters, counts: tuple[int, ...], weights: Weights) -> Problem:
    size, basis = clusters.size, clusters.basis_size
    unlike, followed = unlike_pairs(len(counts)), spin_species(len(counts))
    pair_number = np.zeros((len(counts), len(counts)), dtype=np.int64)
    for number, (p, q) in enumerate(unlike):
        pair_number[p, q] = pair_number[q, p] = number

    groups = (clusters.pairs if weights.pairs else ()) + (clusters.vectors if weights.vectors else ())
    shares = np.repeat(
        [weights.pairs, weights.vectors / len(clusters.vectors)],
        [len(clusters.pairs) if weights.pairs else 0, len(clusters.vectors) if weights.vectors else 0],
    )
    instances = np.array([len(group) for group in groups], dtype=np.float64)
    # N_pq of the random alloy is 2 c_p c_q times the pairs: whole when multiplied by sites * basis
    pair_scale = float(size * basis)
    products = np.array([2.0 * counts[p] * counts[q] for p, q in unlike])[:, None]
    pair_targets = np.rint(instances * basis / size) * products
    pair_weights = shares / len(unlike) / pair_targets

    orbits = clusters.triplets if weights.triplets else ()
    triplets = np.array([len(orbit) for orbit in orbits], dtype=np.float64)
    # likewise m^3 times the triplets
    triplet_scale = float(size**2 * basis)
    excess = np.array([2.0 * counts[p] - size for p in followed])[:, None]
    triplet_targets = np.rint(triplets * basis / size) * excess**3
    triplet_weights = weights.triplets / len(followed) / triplets / triplet_scale
    entries, fields = _triplet_coupling(orbits, size)

    largest = (pair_weights * instances * pair_scale).sum() + 2 * weights.triplets * len(orbits)
    unit = 2.0 ** np.floor(np.log2(EXACT_INTEGERS / largest))
    return Problem(
        counts=counts,
        followed=tuple(followed),
        pair_number=pair_number,
        pair_coupling=pair_scale * _pair_coupling(groups, size),
        pair_targets=pair_targets,
        pair_weights=np.rint(pair_weights * unit),
        triplet_entries=tuple((places, triplet_scale * times) for places, times in entries),
        triplet_fields=triplet_scale * fields,
        triplet_targets=triplet_targets,
        triplet_weights=np.rint(triplet_weights * unit),
    )


def _pair_coupling(groups: Sequence[IntArray], size: int) -> FloatArray:
    coupling = np.zeros((size, size, len(groups)))
    for feature, sites in enumerate(groups):
        first, second = sites[sites[:, 0] != sites[:, 1]].T
        np.add.at(coupling[:, :, feature], (first, second), 1)
        np.add.at(coupling[:, :, feature], (second, first), 1)
    return coupling


def _triplet_coupling(orbits: Sequence[IntArray], size: int) -> tuple[list[tuple[IntArray, FloatArray]], FloatArray]:
    fields = np.zeros((size, len(orbits)))
    sites, places = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for number, orbit in enumerate(orbits):
        first, second, third = orbit.T
        distinct = (first != second) & (second != third) & (first != third)
        # spins square to 1: where two of the sites coincide, the other one is left
        np.add.at(fields[:, number], (first ^ second ^ third)[~distinct], 1)
        for i, j, k in permutations(orbit[distinct].T):
            sites.append(i)
            places.append((j * size + k) * len(orbits) + number)
    all_sites, all_places = np.concatenate(sites), np.concatenate(places)
    entries = []
    for site in range(size):
        place, times = np.unique(all_places[all_sites == site], return_counts=True)
        entries.append((place, times.astype(np.float64)))
    return entries, fields


def _start(problem: Problem, occupation: IntArray) -> State:
    size, species, orbits = len(occupation), len(problem.counts), problem.triplet_fields.shape[1]
    members = np.array([occupation == p for p in range(species)], dtype=np.float64)
    pair_fields = np.tensordot(members, problem.pair_coupling, axes=(1, 0))
    pair_counts = np.array([members[p] @ pair_fields[q] for p, q in unlike_pairs(species)])
    spins = 2 * members[list(problem.followed)] - 1
    flat = np.zeros((len(spins), size * size * orbits))
    for one, spin in zip(flat, spins, strict=True):
        for site, (places, values) in enumerate(problem.triplet_entries):
            one[places] += spin[site] * values
    coupling = flat.reshape(len(spins), size, size, orbits)
    from_triplets = np.einsum("si,sijt->sjt", spins, coupling) / 2
    sums = np.einsum("si,sit->st", spins, problem.triplet_fields + from_triplets / 3)
    return State(
        occupation=occupation,
        pair_fields=pair_fields,
        pair_excess=pair_counts - problem.pair_targets,
        coupling=coupling,
        fields=problem.triplet_fields + from_triplets,
        triplet_excess=np.rint(sums) - problem.triplet_targets,
    )


def _score(problem: Problem, state: State) -> float:
    pairs = np.vdot(np.abs(state.pair_excess), problem.pair_weights)
    return float(pairs + (np.abs(state.triplet_excess) @ problem.triplet_weights).sum())


def _best_exchange(
    problem: Problem, state: State, rested: NDArray[np.bool_], generator: np.random.Generator
) -> tuple[int, int] | None:
    """The pair of rested, unlike sites whose exchange leaves the lowest score; None where there is none."""
    sites = [np.flatnonzero(rested & (state.occupation == p)) for p in range(len(problem.counts))]
    best: tuple[float, int, int] | None = None
    for p, q in unlike_pairs(len(problem.counts)):
        first, second = _sampled(sites[p], sites[q], generator)
        if not len(first) or not len(second):
            continue
        scores = _block_scores(problem, state, p, q, first, second)
        place = int(scores.argmin())
        if best is None or scores[place] < best[0]:
            i, j = divmod(place, len(second))
            best = (float(scores[place]), int(first[i]), int(second[j]))
    return None if best is None else best[1:]


def _sampled(first: IntArray, second: IntArray, generator: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Both lists of sites, thinned at random where they make more than LARGEST_BLOCK exchanges."""
    if len(first) * len(second) <= LARGEST_BLOCK:
        return first, second
    side = int(LARGEST_BLOCK**0.5)
    few_first = min(len(first), max(side, LARGEST_BLOCK // len(second)))
    few_second = min(len(second), LARGEST_BLOCK // few_first)
    return generator.permutation(first)[:few_first], generator.permutation(second)[:few_second]


def _block_scores(problem: Problem, state: State, p: int, q: int, first: IntArray, second: IntArray) -> FloatArray:
    """Score (len(first) * len(second),) after each exchange of a p on `first` with a q on `second`."""
    size = len(state.occupation)
    flat = (first[:, None] * size + second).ravel()
    number = problem.pair_number
    pair_scores = (np.abs(state.pair_excess) * problem.pair_weights).sum(axis=1)
    triplet_scores = np.abs(state.triplet_excess) @ problem.triplet_weights
    # what stays as it is: the score without the parts that the exchange changes, which are added one by one
    fixed = pair_scores.sum() + triplet_scores.sum() - pair_scores[number[p, q]]

    # half of N_pq + (h_q - h_p)[j] - (h_q - h_p)[i] + 2 A_ij, with h the neighbours and A the coupling
    field = (state.pair_fields[q] - state.pair_fields[p]) / 2
    excess = problem.pair_coupling.reshape(size * size, -1).take(flat, axis=0)
    _add_differences(excess, field[first] - state.pair_excess[number[p, q]] / 2, field[second])
    scores: FloatArray = np.abs(excess, out=excess) @ (2 * problem.pair_weights[number[p, q]])
    for r in range(len(problem.counts)):
        if r in (p, q):
            continue
        field = state.pair_fields[r]
        for species, sign in ((p, 1.0), (q, -1.0)):
            k = number[species, r]
            fixed -= pair_scores[k]
            excess[:] = 0.0
            _add_differences(excess, field[first] - sign * state.pair_excess[k], field[second])
            scores += np.abs(excess, out=excess) @ problem.pair_weights[k]

    for mode, species in enumerate(problem.followed):
        if species not in (p, q) or not len(problem.triplet_weights):
            continue
        fixed -= triplet_scores[mode]
        # spins turn by -2 where the species leaves and +2 where it arrives; a quarter of all terms
        field = state.fields[mode] * (0.5 if species == q else -0.5)
        excess = state.coupling[mode].reshape(size * size, -1).take(flat, axis=0)
        _add_differences(excess, field[first] + state.triplet_excess[mode] / 4, field[second])
        scores += np.abs(excess, out=excess) @ (4 * problem.triplet_weights)
    scores += fixed
    return scores


def _add_differences(values: FloatArray, first: FloatArray, second: FloatArray) -> None:
    """Add second[j] - first[i] to `values` (i * j, F), in place."""
    block = values.reshape(len(first), len(second), -1)
    block += second
    block -= first[:, None, :]


def _exchange(problem: Problem, state: State, i: int, j: int) -> None:
    """Swap the atoms of the unlike sites i and j."""
    p, q = int(state.occupation[i]), int(state.occupation[j])
    number = problem.pair_number
    moved = state.pair_fields[:, j] - state.pair_fields[:, i]
    state.pair_excess[number[p, q]] += moved[q] - moved[p] + 2 * problem.pair_coupling[i, j]
    for r in range(len(problem.counts)):
        if r not in (p, q):
            state.pair_excess[number[p, r]] += moved[r]
            state.pair_excess[number[q, r]] -= moved[r]
    gained = problem.pair_coupling[j] - problem.pair_coupling[i]
    state.pair_fields[p] += gained
    state.pair_fields[q] -= gained
    for mode, species in enumerate(problem.followed):
        if species in (p, q):
            turn = -2.0 if species == p else 2.0
            _turn(problem, state, mode, i, turn)
            _turn(problem, state, mode, j, -turn)
    state.occupation[i], state.occupation[j] = q, p


def _turn(problem: Problem, state: State, mode: int, site: int, turn: float) -> None:
    """Change one spin by `turn`."""
    state.triplet_excess[mode] += turn * state.fields[mode, site]
    state.fields[mode] += turn * state.coupling[mode, site]
    places, values = problem.triplet_entries[site]
    state.coupling[mode].reshape(-1)[places] += turn * values
