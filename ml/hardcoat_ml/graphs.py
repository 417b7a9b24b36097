"""From crystals to graphs: complete neighbour shells, and atoms that cannot be told apart merged into one node.

A network of ``n`` convolutions gives two atoms the same features if they agree, to ``n`` shells, in elements and
distances. :func:`quotient` finds such atoms by colour refinement, keeps one of them and its multiplicity, and merges
equal edges likewise. Sums, means and batch statistics that are weighted by the multiplicities are those of the full
graph, at a fraction of its nodes and edges in ordered crystals. Nodes and edges end up in an order that follows from
their colours alone, so the order of atoms and the choice of cell leave no trace.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from hardcoat_ml.crystal import Crystal
from hardcoat_ml.errors import InputError

if TYPE_CHECKING:
    from torch_geometric.data import Data

NEIGHBOURS = 12
"""Neighbours that an atom has at least (Xie and Grossman 2018, and the study)."""
RADIUS = 8.0
"""Angstrom; none is sought beyond, even where an atom has fewer."""
SHELL_TOLERANCE = 0.01
"""Angstrom; neighbours as far as the twelfth within this belong to its shell and are kept, however many."""
RESOLUTION = 1e-3
"""Angstrom; distances are multiples of it: far below the width of a Gaussian (0.2), above the noise of coordinates."""
ROUNDS = 3
"""Rounds of colour refinement: no fewer than the network has convolutions."""


@dataclass(frozen=True)
class Graphs:
    """Graphs of any number of crystals, one after another in flat tensors.

    ``centre`` and ``neighbour`` are node numbers within all graphs; edges lie in the order of their centres.
    """

    numbers: torch.Tensor
    """(nodes,) int64, atomic numbers."""
    atoms: torch.Tensor
    """(nodes,) float32, atoms that a node stands for."""
    centre: torch.Tensor
    """(edges,) int64."""
    neighbour: torch.Tensor
    """(edges,) int64."""
    distance: torch.Tensor
    """(edges,) float32, Angstrom."""
    count: torch.Tensor
    """(edges,) float32, equal edges that each atom of the centre has."""
    node_start: torch.Tensor
    """(graphs + 1,) int64, the first node of each graph, and the number of nodes."""
    edge_start: torch.Tensor
    """(graphs + 1,) int64, likewise."""

    def __len__(self) -> int:
        return len(self.node_start) - 1

    def to(self, device: str | torch.device) -> Graphs:
        """The same on another device."""
        return Graphs(*(getattr(self, field.name).to(device) for field in fields(self)))

    def select(self, index: torch.Tensor) -> Graphs:
        """The graphs of these numbers, in this order."""
        nodes, node_start = ranges(self.node_start, index)
        edges, edge_start = ranges(self.edge_start, index)
        shift = torch.repeat_interleave(node_start[:-1] - self.node_start[index], edge_start.diff())
        return Graphs(
            numbers=self.numbers[nodes],
            atoms=self.atoms[nodes],
            centre=self.centre[edges] + shift,
            neighbour=self.neighbour[edges] + shift,
            distance=self.distance[edges],
            count=self.count[edges],
            node_start=node_start,
            edge_start=edge_start,
        )

    def batches(self, edges: int) -> Iterator[Graphs]:
        """All graphs in order, in pieces of about that many edges."""
        piece = torch.div(self.edge_start[:-1], edges, rounding_mode="floor")
        for index in torch.tensor_split(torch.arange(len(self)), [int(k) for k in piece.cpu().diff().nonzero() + 1]):
            yield self.select(index.to(self.numbers.device))

    def graph_of_node(self) -> torch.Tensor:
        """(nodes,) int64, the graph that each node belongs to."""
        return torch.repeat_interleave(torch.arange(len(self), device=self.numbers.device), self.node_start.diff())

    def data(self, number: int) -> Data:
        """One graph as PyTorch Geometric's ``Data``: ``z``, ``atoms``, ``edge_index``, ``distance``, ``count``.

        ``edge_index`` holds neighbours above centres, as messages flow there.
        """
        from torch_geometric.data import Data  # slow to import, and predictions do without it

        graph = self.select(torch.tensor([number]))
        return Data(
            z=graph.numbers,
            atoms=graph.atoms,
            edge_index=torch.stack([graph.neighbour, graph.centre]),
            distance=graph.distance,
            count=graph.count,
            num_nodes=len(graph.numbers),
        )


def ranges(start: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Members of the ranges ``start[k]:start[k + 1]`` for k in ``index``, and where each begins among them."""
    length = start.diff()[index]
    begin = torch.cat([length.new_zeros(1), length.cumsum(0)])
    offset = torch.repeat_interleave(start[index] - begin[:-1], length)
    return torch.arange(len(offset), device=start.device) + offset, begin


def from_data(data: Iterable[Data]) -> Graphs:
    """Graphs from PyTorch Geometric's ``Data`` as :meth:`Graphs.data` makes it; ``atoms`` and ``count`` optional."""

    def one(item: Data) -> Graphs:
        neighbour, centre = item.edge_index
        order = centre.argsort(stable=True)
        return Graphs(
            numbers=item.z,
            atoms=item.atoms if "atoms" in item else torch.ones(len(item.z)),
            centre=centre[order],
            neighbour=neighbour[order],
            distance=item.distance[order],
            count=item.count[order] if "count" in item else torch.ones(len(order)),
            node_start=torch.tensor([0, len(item.z)]),
            edge_start=torch.tensor([0, len(order)]),
        )

    return join(one(item) for item in data)


def join(parts: Iterable[Graphs]) -> Graphs:
    """Graphs one after another."""
    parts = list(parts)
    nodes = np.cumsum([0, *(len(part.numbers) for part in parts)])
    edges = np.cumsum([0, *(len(part.centre) for part in parts)])
    first = torch.zeros(1, dtype=torch.int64)
    return Graphs(
        numbers=torch.cat([part.numbers for part in parts]),
        atoms=torch.cat([part.atoms for part in parts]),
        centre=torch.cat([part.centre + int(shift) for part, shift in zip(parts, nodes, strict=False)]),
        neighbour=torch.cat([part.neighbour + int(shift) for part, shift in zip(parts, nodes, strict=False)]),
        distance=torch.cat([part.distance for part in parts]),
        count=torch.cat([part.count for part in parts]),
        node_start=torch.cat([first] + [p.node_start[1:] + int(s) for p, s in zip(parts, nodes, strict=False)]),
        edge_start=torch.cat([first] + [p.edge_start[1:] + int(s) for p, s in zip(parts, edges, strict=False)]),
    )


def within(crystal: Crystal, reach: float) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Centres, neighbours and distances (Angstrom) of all pairs of atoms up to ``reach``, each atom with itself too."""
    from pymatgen.optimization.neighbors import find_points_in_spheres

    lattice = np.ascontiguousarray(crystal.lattice, dtype=np.float64)
    positions = np.ascontiguousarray(crystal.fractional @ lattice)
    centre, neighbour, _, distance = find_points_in_spheres(
        positions, positions, r=reach, pbc=np.ones(3, dtype=np.int64), lattice=lattice, tol=1e-8
    )
    return centre, neighbour, distance


def neighbours(
    crystals: Sequence[Crystal],
    least: int = NEIGHBOURS,
    radius: float = RADIUS,
    reach: NDArray[np.float64] | None = None,
    progress: Any = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Centres, neighbours and distances (Angstrom) in all crystals, whose atoms are counted through, ordered by centre.

    Each atom has its ``least`` nearest neighbours within ``radius`` and all others of the last one's shell, periodic
    images of itself included; an atom alone within ``radius`` has none. Cutting a degenerate shell instead, as the
    reference implementation does, makes the graph depend on the order of atoms.

    :param reach: radius of each crystal's first search; by default that of a sphere which holds half as many again as
        are asked for, mostly wide enough. Crystals for which it was not are searched again, farther.
    """
    sizes = np.array([len(crystal.numbers) for crystal in crystals])
    first = np.cumsum(sizes) - sizes
    if reach is None:
        volume = np.abs(np.linalg.det(np.array([crystal.lattice for crystal in crystals])))
        reach = np.minimum(radius, (1.5 * least * volume / (4 / 3 * math.pi * sizes)) ** (1 / 3))
    searched = progress(crystals) if progress else crystals
    found = [within(crystal, each) for crystal, each in zip(searched, reach.tolist(), strict=True)]
    centre, neighbour, distance = (np.concatenate(column) for column in zip(*found, strict=True))
    shift = np.repeat(first, [len(pairs[0]) for pairs in found])
    # By centre, then by distance; far quicker than a sort by two keys.
    order = np.argsort((centre + shift) * (2 * radius) + distance)
    order = order[distance[order] > 1e-8]
    centre, neighbour, distance = (centre + shift)[order], (neighbour + shift)[order], distance[order]

    number = np.bincount(centre, minlength=sizes.sum())
    enough = number >= least
    limit = np.full(len(number), np.inf)
    limit[enough] = distance[(np.cumsum(number) - number)[enough] + least - 1] + SHELL_TOLERANCE
    kept = distance <= limit[centre]
    narrow = np.flatnonzero((np.maximum.reduceat(limit, first) > reach) & (reach < radius))
    if not len(narrow):
        return centre[kept], neighbour[kept], distance[kept]

    farther = np.minimum(radius, 1.25 * reach[narrow])
    again = neighbours([crystals[k] for k in narrow.tolist()], least, radius, farther)
    shift = np.repeat(first[narrow] - (np.cumsum(sizes[narrow]) - sizes[narrow]), sizes[narrow])
    kept &= ~np.repeat(np.isin(np.arange(len(crystals)), narrow), sizes)[centre]
    centre = np.concatenate([centre[kept], again[0] + shift[again[0]]])
    neighbour = np.concatenate([neighbour[kept], again[1] + shift[again[1]]])
    distance = np.concatenate([distance[kept], again[2]])
    order = np.argsort(centre, kind="stable")
    return centre[order], neighbour[order], distance[order]


def full_graphs(
    crystals: Sequence[Crystal], least: int = NEIGHBOURS, radius: float = RADIUS, progress: Any = None
) -> Graphs:
    """The graphs of all atoms of crystals.

    :raises InputError: for no crystals at all.
    """
    if not crystals:
        raise InputError("no crystals: give at least one structure")
    centre, neighbour, distance = neighbours(crystals, least, radius, progress=progress)
    numbers = np.concatenate([crystal.numbers for crystal in crystals]).astype(np.int64)
    start = np.cumsum([0, *(len(crystal.numbers) for crystal in crystals)])
    return Graphs(
        numbers=torch.from_numpy(numbers),
        atoms=torch.ones(len(numbers)),
        centre=torch.from_numpy(centre),
        neighbour=torch.from_numpy(neighbour),
        distance=torch.from_numpy(distance.astype(np.float32)),
        count=torch.ones(len(centre)),
        node_start=torch.from_numpy(start),
        edge_start=torch.from_numpy(np.searchsorted(centre, start)),
    )


def crystal_graphs(crystals: Sequence[Crystal], progress: Any = None) -> Graphs:
    """The merged graphs of crystals.

    :param progress: wraps an iterable, as tqdm does.
    :raises InputError: for no crystals at all.
    """
    return quotient(full_graphs(crystals, progress=progress))


def quotient(graphs: Graphs, rounds: int = ROUNDS) -> Graphs:
    """Merge atoms of a crystal that ``rounds`` convolutions cannot tell apart, and equal edges.

    Colours are 64-bit hashes of elements and neighbourhoods; sums of hashes do not depend on the order of neighbours.
    """
    numbers, atoms = graphs.numbers.numpy(), graphs.atoms.numpy()
    centre, neighbour, count = graphs.centre.numpy(), graphs.neighbour.numpy(), graphs.count.numpy()
    step = np.rint(graphs.distance.numpy().astype(np.float64) / RESOLUTION).astype(np.uint64)
    edge_start = np.searchsorted(centre, np.arange(len(numbers) + 1))
    colour = mix(numbers.astype(np.uint64))
    for _ in range(rounds):
        message = mix(step * ODD[0] + colour[neighbour]) * count.astype(np.uint64)
        total = np.concatenate([[np.uint64(0)], np.cumsum(message)])
        colour = mix(colour * ODD[1] + total[edge_start[1:]] - total[edge_start[:-1]])

    graph = graphs.graph_of_node().numpy()
    order = np.lexsort((colour, graph))
    first = np.concatenate([[True], np.diff(graph[order]).astype(bool) | (np.diff(colour[order]) != 0)])
    node = np.empty(len(order), dtype=np.int64)
    node[order] = np.cumsum(first) - 1
    chosen = order[first]

    # One atom of each class lends its edges; those of the others are equal.
    lends = np.zeros(len(order), dtype=bool)
    lends[chosen] = True
    edge = np.flatnonzero(lends[centre])
    keys = node[centre[edge]], node[neighbour[edge]], step[edge]
    by_key = np.lexsort(keys[::-1])
    start, end, step = (key[by_key] for key in keys)
    new = np.concatenate([[True], (np.diff(start) != 0) | (np.diff(end) != 0) | (np.diff(step) != 0)])[: len(start)]
    merged = np.cumsum(new) - 1
    start, end, step = start[new], end[new], step[new]
    graph_of_class = graph[chosen]
    return Graphs(
        numbers=torch.from_numpy(numbers[chosen]),
        atoms=torch.from_numpy(np.bincount(node, weights=atoms).astype(np.float32)),
        centre=torch.from_numpy(start),
        neighbour=torch.from_numpy(end),
        distance=torch.from_numpy((step * RESOLUTION).astype(np.float32)),
        count=torch.from_numpy(np.bincount(merged, weights=count[edge][by_key]).astype(np.float32)),
        node_start=torch.from_numpy(np.searchsorted(graph_of_class, np.arange(len(graphs) + 1))),
        edge_start=torch.from_numpy(np.searchsorted(graph_of_class[start], np.arange(len(graphs) + 1))),
    )


ODD = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], dtype=np.uint64)


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scatter 64-bit numbers (the finaliser of SplitMix64, Steele, Lea and Flood, OOPSLA 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
