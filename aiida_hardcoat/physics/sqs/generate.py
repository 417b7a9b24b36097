"""Special quasirandom structures with a record of how they were found and how good they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.cells import hermite_normal_form, shortest_period
from aiida_hardcoat.physics.composition import Composition, metal_counts
from aiida_hardcoat.physics.prototypes import Parent
from aiida_hardcoat.physics.sqs.clusters import ClusterSpace, Orbit, SupercellClusters, cluster_space, place
from aiida_hardcoat.physics.sqs.correlations import (
    VECTOR_RESOLVED,
    Correlations,
    Weights,
    correlations,
    spin_species,
    unlike_pairs,
)
from aiida_hardcoat.physics.sqs.search import search
from aiida_hardcoat.physics.sqs.structure import build_atoms, occupation_hash, occupation_text

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

ALGORITHM = "tabu search over exchanges of unlike metals"
ALGORITHM_VERSION = 1
"""Raised whenever the same input would give another cell."""
RESTARTS = 20
STEPS = 450
RANDOM_CELLS = 200
"""Random occupations that a quasirandom one is compared with."""
RUNNERS_UP = 10


@dataclass(frozen=True)
class SQS:
    """A quasirandom structure: `atoms` sorted by species (metals alphabetical, anion last), all periodic, and
    a `report` of plain JSON types that holds everything needed to make and to judge it."""

    atoms: Atoms
    report: dict[str, Any]


def find_sqs(
    parent: Parent,
    matrix: IntArray,
    composition: Composition,
    *,
    seed: int = 0,
    restarts: int = RESTARTS,
    steps: int = STEPS,
    weights: Weights = VECTOR_RESOLVED,
    progress: Callable[[int, int], None] | None = None,
) -> SQS:
    """The most random-like arrangement found of `composition` on the supercell `matrix` of `parent`.

    The same arguments give the same cell, bit by bit. `progress` is called with the restarts done and asked
    for. An ordered compound (one metal) is returned as it is.

    Raises InputError where the cell cannot hold the composition with whole atoms, for a singular or
    left-handed matrix and for a negative seed or a number of restarts or steps below 1.
    """
    if min(restarts, steps) < 1 or seed < 0:
        raise InputError(f"take seed >= 0, restarts >= 1 and steps >= 1, not {seed}, {restarts} and {steps}")
    matrix = np.asarray(matrix)
    form = hermite_normal_form(matrix)
    if np.linalg.det(matrix) < 0:
        raise InputError("the supercell matrix is left-handed: exchange two of its rows")
    space = cluster_space(parent.cell, parent.metal_sites)
    clusters = place(space, matrix)
    counts = metal_counts(composition, clusters.size)
    metals = composition.metals

    if len(metals) == 1:
        occupations = np.zeros((1, clusters.size), dtype=np.int64)
    else:
        found = search(
            clusters,
            list(counts.values()),
            weights,
            seed=seed,
            restarts=restarts,
            steps=steps,
            progress=progress,
        )
        occupations = np.array([one.occupation for one in found])
    quality = correlations(clusters, occupations, len(metals))
    objectives = quality.objective(weights)
    distinct = _distinct(quality, clusters)
    hashes = [occupation_hash(parent.structure_type, matrix, metals, occupations[i]) for i in distinct]
    random_objectives = _random_objectives(clusters, list(counts.values()), weights, seed)
    report = {
        "algorithm": ALGORITHM,
        "algorithm_version": ALGORITHM_VERSION,
        "numpy_version": np.__version__,
        "parent": _plain(asdict(parent)),
        "composition": composition.formula,
        "requested_fractions": {metal: float(fraction) for metal, fraction in composition.fractions},
        "realised_fractions": {metal: count / clusters.size for metal, count in counts.items()},
        "counts": counts,
        "matrix": matrix.tolist(),
        "hermite_normal_form": form.tolist(),
        "shortest_period": shortest_period(matrix, parent.cell),
        "seed": seed,
        "restarts": restarts,
        "steps": steps,
        "weights": asdict(weights),
        "cutoffs": dict(zip(("pairs", "triplets", "quadruplets"), map(float, space.cutoffs), strict=True)),
        "shells": _shells(space, quality, metals),
        "triplets": _orbits(space.triplets, space, quality.triplets[0], quality.triplet_targets, metals),
        "quadruplets": _orbits(space.quadruplets, space, quality.quadruplets[0], quality.quadruplet_targets, metals),
        "pair_mismatch": float(quality.pair_mismatch[0]),
        "triplet_mismatch": float(quality.triplet_mismatch[0]),
        "vector_rms": float(quality.vector_rms[0]),
        "vector_mean": float(quality.vector_mean[0]),
        "objective": float(objectives[0]),
        "random_cells": {
            "number": RANDOM_CELLS,
            "mean_objective": float(random_objectives.mean()),
            "percentile": float(100 * (random_objectives <= objectives[0]).mean()),
        },
        "occupation": occupation_text(occupations[0]),
        "hash": hashes[0],
        "runners_up": [
            {"objective": float(objectives[i]), "hash": label, "occupation": occupation_text(occupations[i])}
            for i, label in list(zip(distinct, hashes, strict=True))[1 : RUNNERS_UP + 1]
        ],
    }
    return SQS(build_atoms(parent, matrix, metals, occupations[0], composition.anion), report)


def _distinct(quality: Correlations, clusters: SupercellClusters) -> list[int]:
    """Numbers of the occupations whose correlations no symmetry can turn into those of an earlier one."""
    seen = set()
    distinct = []
    shells = np.array(clusters.shell_of_vector)
    for i, vectors in enumerate(quality.vector_alpha):
        by_shell = [np.sort(vectors[shells == shell], axis=0) for shell in range(len(clusters.pairs))]
        values = np.concatenate([*by_shell, quality.triplets[i], quality.quadruplets[i]], axis=None)
        key = tuple(np.rint(values * 1e9).astype(np.int64).tolist())
        if key not in seen:
            seen.add(key)
            distinct.append(i)
    return distinct


def _random_objectives(clusters: SupercellClusters, counts: list[int], weights: Weights, seed: int) -> FloatArray:
    generator = np.random.default_rng(seed)
    cell = np.repeat(np.arange(len(counts)), counts)
    occupations = generator.permuted(np.tile(cell, (RANDOM_CELLS, 1)), axis=1)
    return correlations(clusters, occupations, len(counts)).objective(weights)


def _shells(space: ClusterSpace, quality: Correlations, metals: tuple[str, ...]) -> list[dict[str, Any]]:
    names = [f"{metals[p]}-{metals[q]}" for p, q in unlike_pairs(len(metals))]
    return [
        {
            "distance": orbit.diameter,
            "neighbours": 2 * len(orbit.members) / space.basis_size,
            "alpha": dict(zip(names, alpha.tolist(), strict=True)),
        }
        for orbit, alpha in zip(space.pairs, quality.alpha[0], strict=True)
    ]


def _orbits(
    orbits: tuple[Orbit, ...],
    space: ClusterSpace,
    values: FloatArray,
    targets: FloatArray,
    metals: tuple[str, ...],
) -> list[dict[str, Any]]:
    names = [metals[species] for species in spin_species(len(metals))]
    return [
        {
            "diameter": orbit.diameter,
            "clusters_per_site": len(orbit.members) / space.basis_size,
            "pi": dict(zip(names, pi.tolist(), strict=True)),
            "target": dict(zip(names, targets.tolist(), strict=True)),
        }
        for orbit, pi in zip(orbits, values, strict=True)
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value
