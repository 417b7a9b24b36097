"""Pairs, triplets and quadruplets of metal sites, grouped by the symmetry of the metal sublattice.

A site is four integers (n1, n2, n3, basis): the cell it lies in and its number within the primitive cell.
Orbits are found with the space group of the metal sublattice alone (spglib): the nitrogen sublattice is
fully ordered and carries no correlation. Grouping by symmetry instead of length keeps shells apart that
merely happen to be equally long, and splits the first hcp shell into 6 + 6 when c/a is not ideal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from aiida_hardcoat.physics.cells import hermite_normal_form, space_group

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Site = tuple[int, int, int, int]

# Longest edge of a cluster in units of (volume per metal site)^(1/3). In fcc these lie halfway between
# shells: pairs up to the 7th shell (1.871 a), triplets up to the 3rd (1.225 a), nearest neighbours.
PAIR_CUTOFF = 3.07
TRIPLET_CUTOFF = 2.095
QUADRUPLET_CUTOFF = 1.35


@dataclass(frozen=True)
class Orbit:
    """Clusters that symmetry maps onto one another.

    `members` (m, k, 4): the m clusters of k sites that start in one primitive cell, sites in corresponding
    order. `permutations` (p, k): the reorderings of the sites that symmetry allows. `diameter`: longest
    edge in Angstrom.
    """

    members: IntArray
    permutations: IntArray
    diameter: float


@dataclass(frozen=True)
class ClusterSpace:
    """Orbits of a sublattice with `basis_size` sites a primitive cell, short ones first.

    `vectors` groups pairs by individual neighbour vector, +d and -d being one: for each the number of
    its pair orbit, the vector in Angstrom (3,), and its pairs (m, 2, 4).
    """

    basis_size: int
    cutoffs: tuple[float, float, float]
    pairs: tuple[Orbit, ...]
    triplets: tuple[Orbit, ...]
    quadruplets: tuple[Orbit, ...]
    vectors: tuple[tuple[int, FloatArray, IntArray], ...]


@dataclass(frozen=True)
class SupercellClusters:
    """The clusters of a ClusterSpace on the `size` sites of a supercell, images of one site included.

    Every array (instances, k) holds site numbers; `shell_of_vector` numbers the pair orbit of each vector.
    """

    size: int
    basis_size: int
    pairs: tuple[IntArray, ...]
    vectors: tuple[IntArray, ...]
    triplets: tuple[IntArray, ...]
    quadruplets: tuple[IntArray, ...]
    shell_of_vector: tuple[int, ...]


def cluster_space(cell: FloatArray, sites: FloatArray) -> ClusterSpace:
    """All orbits within the cut-offs for primitive vectors `cell` (rows, Angstrom) and fractional `sites`."""
    scale = (abs(float(np.linalg.det(cell))) / len(sites)) ** (1 / 3)
    cutoffs = (PAIR_CUTOFF * scale, TRIPLET_CUTOFF * scale, QUADRUPLET_CUTOFF * scale)
    operations = _operations(cell, sites)
    pairs, triplets, quadruplets = (
        _orbits(cell, sites, operations, order, cutoff) for order, cutoff in zip((2, 3, 4), cutoffs, strict=True)
    )
    return ClusterSpace(len(sites), cutoffs, pairs, triplets, quadruplets, _vectors(cell, sites, pairs))


def place(space: ClusterSpace, matrix: IntArray) -> SupercellClusters:
    """The clusters of `space` in the supercell `matrix`, sites numbered as `supercell_sites` lists them."""
    form = hermite_normal_form(matrix)
    cells = _cells(form)

    def instances(members: IntArray) -> IntArray:
        moved = members[:, None, :, :3] + cells[None, :, None, :]
        basis = np.broadcast_to(members[:, None, :, 3], moved.shape[:3])
        return _site_numbers(form, moved, basis).reshape(-1, members.shape[1])

    return SupercellClusters(
        size=len(cells) * space.basis_size,
        basis_size=space.basis_size,
        pairs=tuple(instances(orbit.members) for orbit in space.pairs),
        vectors=tuple(instances(members) for _, _, members in space.vectors),
        triplets=tuple(instances(orbit.members) for orbit in space.triplets),
        quadruplets=tuple(instances(orbit.members) for orbit in space.quadruplets),
        shell_of_vector=tuple(shell for shell, _, _ in space.vectors),
    )


def supercell_sites(matrix: IntArray, basis_size: int) -> IntArray:
    """(sites, 4) in the order that numbers them: by basis site, then by cell of the Hermite normal form.

    The order depends on the lattice alone, not on the vectors chosen to span it.
    """
    cells = _cells(hermite_normal_form(matrix))
    return np.concatenate([np.column_stack([cells, np.full(len(cells), b)]) for b in range(basis_size)])


def _cells(form: IntArray) -> IntArray:
    return np.array(list(product(*(range(form[i, i]) for i in range(3)))))


def _site_numbers(form: IntArray, cells: IntArray, basis: IntArray) -> IntArray:
    x, y, z = cells[..., 0], cells[..., 1], cells[..., 2]
    k, z = np.divmod(z, form[2, 2])
    j, y = np.divmod(y - k * form[2, 1], form[1, 1])
    x = (x - k * form[2, 0] - j * form[1, 0]) % form[0, 0]
    number: IntArray = ((basis * form[0, 0] + x) * form[1, 1] + y) * form[2, 2] + z
    return number


def _operations(cell: FloatArray, sites: FloatArray) -> list[tuple[IntArray, IntArray]]:
    """Space-group operations as (rotation on cell numbers (3, 3), image (cell, basis) of each basis site)."""
    operations = []
    for rotation, translation in zip(*space_group(cell, sites), strict=True):
        images = sites @ rotation.T + translation
        shifts = images[:, None, :] - sites[None, :, :]
        basis = np.argmin(np.abs(shifts - np.rint(shifts)).max(axis=2), axis=1)
        cells = np.rint(images - sites[basis]).astype(np.int64)
        operations.append((rotation, np.column_stack([cells, basis])))
    return operations


def _orbits(
    cell: FloatArray,
    sites: FloatArray,
    operations: list[tuple[IntArray, IntArray]],
    order: int,
    cutoff: float,
) -> tuple[Orbit, ...]:
    seen: set[tuple[Site, ...]] = set()
    orbits = []
    for cluster in _clusters(cell, sites, order, cutoff):
        if _canonical(cluster) in seen:
            continue
        members: dict[tuple[Site, ...], tuple[Site, ...]] = {}
        permutations = set()
        for rotation, images in operations:
            image = _image(cluster, rotation, images)
            key = _canonical(image)
            members.setdefault(key, image)
            if key == _canonical(cluster):
                permutations.add(_permutation(cluster, image))
        seen.update(members)
        ordered = np.array([members[key] for key in sorted(members)])
        orbits.append(Orbit(ordered, np.array(sorted(permutations)), _edges(cell, sites, cluster)[-1]))
    edges = [_edges(cell, sites, [tuple(site) for site in orbit.members[0]]) for orbit in orbits]
    ranked = sorted(range(len(orbits)), key=lambda i: (*(round(e, 5) for e in reversed(edges[i])), i))
    return tuple(orbits[i] for i in ranked)


def _clusters(cell: FloatArray, sites: FloatArray, order: int, cutoff: float) -> list[list[Site]]:
    """Clusters of `order` sites that include a site of cell 0, every edge at most `cutoff` long."""
    neighbours = _neighbours(cell, sites, cutoff)
    clusters = []
    for first in range(len(sites)):
        around = neighbours[first]
        positions = _positions(cell, sites, around)
        distances = np.linalg.norm(positions[:, None] - positions[None], axis=2)
        near = distances <= cutoff
        for chosen in combinations(range(len(around)), order - 1):
            if all(near[i, j] for i, j in combinations(chosen, 2)):
                clusters.append([(0, 0, 0, first), *(around[i] for i in chosen)])
    return clusters


def _neighbours(cell: FloatArray, sites: FloatArray, cutoff: float) -> list[list[Site]]:
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    reach = [range(-math.ceil(cutoff / height) - 1, math.ceil(cutoff / height) + 2) for height in heights]
    candidates: list[Site] = list(product(*reach, range(len(sites))))  # type: ignore[arg-type]
    positions = _positions(cell, sites, candidates)
    found = []
    for site in sites @ cell:
        distances = np.linalg.norm(positions - site, axis=1)
        found.append([candidates[i] for i in np.flatnonzero((distances > 1e-6) & (distances <= cutoff))])
    return found


def _positions(cell: FloatArray, sites: FloatArray, cluster: list[Site]) -> FloatArray:
    numbers = np.array(cluster).reshape(-1, 4)
    positions: FloatArray = (numbers[:, :3] + sites[numbers[:, 3]]) @ cell
    return positions


def _edges(cell: FloatArray, sites: FloatArray, cluster: list[Site]) -> list[float]:
    positions = _positions(cell, sites, cluster)
    return sorted(float(np.linalg.norm(b - a)) for a, b in combinations(positions, 2))


def _image(cluster: list[Site], rotation: IntArray, images: IntArray) -> tuple[Site, ...]:
    numbers = np.array(cluster)
    moved = images[numbers[:, 3]]
    moved[:, :3] += numbers[:, :3] @ rotation.T
    return tuple((x, y, z, b) for x, y, z, b in moved.tolist())


def _canonical(cluster: list[Site] | tuple[Site, ...]) -> tuple[Site, ...]:
    """The same for all orders of the sites and all lattice translations of the cluster."""
    return min(_from_origin(cluster, origin) for origin in cluster)


def _from_origin(cluster: list[Site] | tuple[Site, ...], origin: Site) -> tuple[Site, ...]:
    return tuple(sorted((x - origin[0], y - origin[1], z - origin[2], b) for x, y, z, b in cluster))


def _permutation(cluster: list[Site], image: tuple[Site, ...]) -> tuple[int, ...]:
    """Which site of `cluster` each site of `image`, a translate of it, lies on."""
    for origin in image:
        moved = [(x - origin[0], y - origin[1], z - origin[2], b) for x, y, z, b in image]
        for start in cluster:
            target = [(x - start[0], y - start[1], z - start[2], b) for x, y, z, b in cluster]
            if set(target) == set(moved):
                return tuple(target.index(site) for site in moved)
    raise AssertionError("the image is no translate of the cluster")


def _vectors(
    cell: FloatArray, sites: FloatArray, pairs: tuple[Orbit, ...]
) -> tuple[tuple[int, FloatArray, IntArray], ...]:
    groups: dict[tuple[int, tuple[float, ...]], list[IntArray]] = {}
    for shell, orbit in enumerate(pairs):
        for member in orbit.members:
            start, end = _positions(cell, sites, [tuple(site) for site in member])
            vector = np.round(end - start, 6) + 0.0
            if tuple(vector) < tuple(-vector + 0.0):
                vector = -vector + 0.0
            groups.setdefault((shell, tuple(vector.tolist())), []).append(member)
    return tuple((shell, np.array(vector), np.array(members)) for (shell, vector), members in groups.items())
