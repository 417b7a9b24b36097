"""Correlations of an occupation of the metal sites and how far they are from those of a random alloy.

Warren-Cowley alpha_pq = 1 - P_pq / (2 c_p c_q) for unlike metals p < q, with P_pq the share of the pairs
that join a p and a q (either way round); 0 in the random alloy (Cowley, Phys. Rev. 77, 669 (1950)). For two
metals it equals (Pi_2 - m^2) / (1 - m^2).

Pi of a cluster orbit is the mean over its clusters of the product of spins, +1 where the site holds the
species and -1 where it does not; m^k in the random alloy, m = 2 c - 1 (Zunger et al., Phys. Rev. Lett. 65,
353 (1990)). Two metals need one species; with more, each species is taken against the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.sqs.clusters import ClusterSpace, SupercellClusters

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Weights:
    """What the objective adds up.

    `pairs` times the sum over shells of |alpha|, `triplets` times the sum over orbits of |Pi - m^3| and
    `vectors` times the mean over individual neighbour vectors of |alpha|; the mean over unlike metals
    (species for triplets) is taken of each. Raises InputError where one is negative or all are 0.
    """

    pairs: float = 1.0
    triplets: float = 1.0
    vectors: float = 3.0

    def __post_init__(self) -> None:
        values = (self.pairs, self.triplets, self.vectors)
        if min(values) < 0 or not any(values):
            raise InputError(f"weights must be 0 or more and not all 0, not {', '.join(map(str, values))}")


PAIRS = Weights(1.0, 0.0, 0.0)
PAIRS_AND_TRIPLETS = Weights(1.0, 1.0, 0.0)
VECTOR_RESOLVED = Weights(1.0, 1.0, 3.0)
"""The default: elastic constants ask that no direction be favoured, which shell averages do not see."""


@dataclass(frozen=True)
class Correlations:
    """Correlations of S occupations: `alpha` (S, shells, unlike pairs), `vector_alpha` (S, vectors, unlike
    pairs), `triplets` and `quadruplets` (S, orbits, species), with their random values per species."""

    alpha: FloatArray
    vector_alpha: FloatArray
    triplets: FloatArray
    quadruplets: FloatArray
    triplet_targets: FloatArray
    quadruplet_targets: FloatArray

    @property
    def vector_rms(self) -> FloatArray:
        """D (S,): root mean square of alpha over individual neighbour vectors."""
        rms: FloatArray = np.sqrt(_mean(self.vector_alpha**2, (1, 2)))
        return rms

    @property
    def vector_mean(self) -> FloatArray:
        """Mean (S,) of |alpha| over individual neighbour vectors."""
        return _mean(np.abs(self.vector_alpha), (1, 2))

    @property
    def pair_mismatch(self) -> FloatArray:
        """Sum (S,) over shells of |alpha|, averaged over unlike pairs."""
        total: FloatArray = _mean(np.abs(self.alpha), 2).sum(axis=1)
        return total

    @property
    def triplet_mismatch(self) -> FloatArray:
        """Sum (S,) over triplet orbits of |Pi - m^3|, averaged over species."""
        total: FloatArray = _mean(np.abs(self.triplets - self.triplet_targets), 2).sum(axis=1)
        return total

    def objective(self, weights: Weights) -> FloatArray:
        """The weighted sum (S,) that a search minimises."""
        return (
            weights.pairs * self.pair_mismatch
            + weights.triplets * self.triplet_mismatch
            + weights.vectors * self.vector_mean
        )


def unlike_pairs(species: int) -> list[tuple[int, int]]:
    """Pairs p < q of species numbers, in the order used for `alpha`."""
    return list(combinations(range(species), 2))


def spin_species(species: int) -> list[int]:
    """The species whose spins are followed: one of two, every one of more."""
    return [0] if species <= 2 else list(range(species))


def correlations(clusters: SupercellClusters, occupations: IntArray, species: int) -> Correlations:
    """Correlations of `occupations` (S, sites), species numbers 0..species-1 of equal counts in every row."""
    occupations = np.atleast_2d(occupations)
    counts = np.bincount(occupations[0], minlength=species)
    fractions = counts / clusters.size
    followed = spin_species(species)
    magnetisation = 2 * fractions[followed] - 1
    return Correlations(
        alpha=_alpha(clusters.pairs, occupations, fractions),
        vector_alpha=_alpha(clusters.vectors, occupations, fractions),
        triplets=_products(clusters.triplets, occupations, followed),
        quadruplets=_products(clusters.quadruplets, occupations, followed),
        triplet_targets=magnetisation**3,
        quadruplet_targets=magnetisation**4,
    )


def cluster_vector(
    space: ClusterSpace, clusters: SupercellClusters, occupation: Sequence[int] | IntArray, species: int
) -> list[FloatArray]:
    """Correlations of one occupation in the trigonometric basis of van de Walle (Calphad 33, 266 (2009)).

    One array for each pair, triplet and quadruplet orbit, holding one value for each choice of point
    functions on its sites that symmetry tells apart. Two species give the product of spins -1 and +1.
    """
    values = _point_functions(species)[np.asarray(occupation)]
    orbits = (*space.pairs, *space.triplets, *space.quadruplets)
    placed = (*clusters.pairs, *clusters.triplets, *clusters.quadruplets)
    vector = []
    for orbit, sites in zip(orbits, placed, strict=True):
        order = sites.shape[1]
        entries = []
        for choice in product(range(species - 1), repeat=order):
            images = {tuple(choice[i] for i in permutation) for permutation in orbit.permutations}
            if choice == min(images):
                # every order of the functions that symmetry allows, on every cluster
                products = values[sites[:, None, :], np.array(sorted(images))].prod(axis=2)
                entries.append(products.mean())
        vector.append(np.array(entries))
    return vector


def _point_functions(species: int) -> FloatArray:
    """(species, species - 1) orthogonal functions of the species number."""
    angle = 2 * np.pi * np.arange(species) / species
    columns = [-np.cos((n + 1) // 2 * angle) if n % 2 else -np.sin((n + 1) // 2 * angle) for n in range(1, species)]
    return np.array(columns).T.reshape(species, species - 1)


def _alpha(groups: Sequence[IntArray], occupations: IntArray, fractions: FloatArray) -> FloatArray:
    unlike = unlike_pairs(len(fractions))
    alpha = np.empty((len(occupations), len(groups), len(unlike)))
    for g, sites in enumerate(groups):
        first, second = occupations[:, sites[:, 0]], occupations[:, sites[:, 1]]
        for k, (p, q) in enumerate(unlike):
            share = (((first == p) & (second == q)) | ((first == q) & (second == p))).mean(axis=1)
            alpha[:, g, k] = 1 - share / (2 * fractions[p] * fractions[q])
    return alpha


def _products(groups: Sequence[IntArray], occupations: IntArray, followed: Sequence[int]) -> FloatArray:
    products = np.empty((len(occupations), len(groups), len(followed)))
    for k, species in enumerate(followed):
        spins = np.where(occupations == species, 1, -1).astype(np.int8)
        for g, sites in enumerate(groups):
            product_of_spins = spins[:, sites[:, 0]]
            for column in sites.T[1:]:
                product_of_spins = product_of_spins * spins[:, column]
            products[:, g, k] = product_of_spins.mean(axis=1)
    return products


def _mean(values: FloatArray, axis: int | tuple[int, ...]) -> FloatArray:
    """Mean that is 0 over nothing: a single metal has no unlike pairs."""
    axes = axis if isinstance(axis, tuple) else (axis,)
    number = int(np.prod([values.shape[a] for a in axes]))
    total: FloatArray = values.sum(axis=axis)
    return total / max(number, 1)
