"""The crystal graph convolutional network written down a second time, from its equations, slow and plain.

One network, every atom and every bond in explicit lists, loops where a loop says it best, gradients by autograd, and a
search for neighbours that looks at every periodic image in reach. The tests hold the package against it; nothing here
is taken from the package.

Sources: Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018), eq. 5 and its supplement, with the batch norms of the
gate and of the summed messages and the outer softplus that their published program has; sizes as in Levämäki et al.,
npj Comput. Mater. 8, 17 (2022).
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.functional import one_hot, softplus


class PlainGraph(NamedTuple):
    """Atoms and bonds of one or more crystals, none merged; a bond a-b is listed twice, at a and at b."""

    element: torch.Tensor
    """(atoms,) int64, the column of the one-hot vector."""
    centre: torch.Tensor
    """(bonds,) int64."""
    neighbour: torch.Tensor
    """(bonds,) int64."""
    distance: torch.Tensor
    """(bonds,), Angstrom."""
    crystal: torch.Tensor
    """(atoms,) int64, the crystal that an atom belongs to, counted from 0."""


class PlainConvolution(nn.Module):
    """v_i <- softplus(v_i + BN(sum_j sigmoid(z_f) * softplus(z_s))), (z_f, z_s) = BN(W [v_i, v_j, u_ij] + b)."""

    def __init__(self, features: int = 64, gaussians: int = 41) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * features + gaussians, 2 * features)
        self.gate_norm = nn.BatchNorm1d(2 * features)
        self.node_norm = nn.BatchNorm1d(features)

    def forward(
        self, nodes: torch.Tensor, centre: torch.Tensor, neighbour: torch.Tensor, bonds: torch.Tensor
    ) -> torch.Tensor:
        joined = torch.cat([nodes[centre], nodes[neighbour], bonds], dim=1)
        filtering, core = self.gate_norm(self.linear(joined)).chunk(2, dim=1)
        messages = torch.sigmoid(filtering) * softplus(core)
        summed = torch.stack([messages[centre == atom].sum(dim=0) for atom in range(len(nodes))])
        return softplus(nodes + self.node_norm(summed))


class PlainCGCNN(nn.Module):
    """Embedding, convolutions, mean over the atoms of a crystal, hidden layers, two outputs."""

    def __init__(
        self,
        elements: int,
        features: int = 64,
        convolutions: int = 3,
        hidden_features: int = 128,
        hidden_layers: int = 2,
        radius: float = 8.0,
        step: float = 0.2,
        targets: int = 2,
    ) -> None:
        super().__init__()
        self.elements, self.step = elements, step
        self.centres = [step * number for number in range(round(radius / step) + 1)]
        self.embedding = nn.Linear(elements, features)
        self.convolutions = nn.ModuleList(PlainConvolution(features, len(self.centres)) for _ in range(convolutions))
        sizes = [features] + [hidden_features] * hidden_layers
        self.hidden = nn.ModuleList(nn.Linear(n, m) for n, m in itertools.pairwise(sizes))
        self.output = nn.Linear(hidden_features, targets)

    def expand(self, distance: torch.Tensor) -> torch.Tensor:
        """(bonds, gaussians): exp(-(d - mu)^2 / step^2)."""
        return torch.stack([torch.exp(-((distance - centre) ** 2) / self.step**2) for centre in self.centres], dim=1)

    def forward(self, graph: PlainGraph) -> torch.Tensor:
        """(crystals, targets)."""
        nodes = self.embedding(one_hot(graph.element, self.elements).to(graph.distance.dtype))
        bonds = self.expand(graph.distance)
        for convolution in self.convolutions:
            nodes = convolution(nodes, graph.centre, graph.neighbour, bonds)
        crystals = int(graph.crystal.max()) + 1
        values = softplus(torch.stack([nodes[graph.crystal == crystal].mean(dim=0) for crystal in range(crystals)]))
        for layer in self.hidden:
            values = softplus(layer(values))
        return self.output(values)


def plain_neighbours(
    lattice: np.ndarray, fractional: np.ndarray, least: int = 12, radius: float = 8.0, tolerance: float = 0.01
) -> list[list[tuple[int, float]]]:
    """Neighbours (atom, distance in Angstrom) of each atom by distance: the ``least`` nearest, the last shell whole.

    Every periodic image in reach is looked at: a vector no longer than ``radius`` has fractional components of at most
    ``radius`` over the spacing of the lattice planes.
    """
    spacing = 1 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    found = []
    for position in fractional:
        around = []
        for atom, other in enumerate(fractional):
            low = np.ceil(position - other - radius / spacing).astype(int)
            high = np.floor(position - other + radius / spacing).astype(int)
            images = itertools.product(*(range(low[axis], high[axis] + 1) for axis in range(3)))
            vectors = (other + np.array(list(images), dtype=float).reshape(-1, 3) - position) @ lattice
            around += [(atom, float(d)) for d in np.linalg.norm(vectors, axis=1) if 1e-8 < d <= radius]
        around.sort(key=lambda pair: pair[1])
        limit = around[least - 1][1] + tolerance if len(around) >= least else radius
        found.append([pair for pair in around if pair[1] <= limit])
    return found


def plain_graph(crystals: list[tuple[np.ndarray, np.ndarray, np.ndarray]], columns: dict[int, int]) -> PlainGraph:
    """The graph of crystals (lattice, atomic numbers, fractional positions), distances in float64.

    :param columns: the column of the one-hot vector of each atomic number.
    """
    element, centre, neighbour, distance, crystal = [], [], [], [], []
    for number, (lattice, numbers, fractional) in enumerate(crystals):
        first = len(element)
        for atom, around in enumerate(plain_neighbours(lattice, fractional)):
            centre += [first + atom] * len(around)
            neighbour += [first + other for other, _ in around]
            distance += [d for _, d in around]
        element += [columns[int(z)] for z in numbers]
        crystal += [number] * len(numbers)
    index = [torch.tensor(values, dtype=torch.int64) for values in (element, centre, neighbour, crystal)]
    return PlainGraph(*index[:3], torch.tensor(distance, dtype=torch.float64), index[3])
