"""The crystal graph convolutional network of the study, many members at once.

Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018), eq. 5, with the batch norms of their program, as Levämäki et al.,
npj Comput. Mater. 8, 17 (2022) use it: one-hot elements, three convolutions, two hidden layers, bulk and shear modulus
from one network. Every parameter has the members in front, and members never mix: each is the network that it would
be alone. The weights of a convolution act on centre, neighbour and distance by themselves, so that the products of
nodes are not repeated for every edge; its gradient is written by hand, which is what makes it quick on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from hardcoat_ml.graphs import Graphs

BATCH_NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 0.1
SMALLEST_GAUSSIAN = 1e-12
"""Smaller values are zero: as float32 denormals they would slow the matrix product several times."""


@dataclass(frozen=True)
class Architecture:
    """Sizes of the network; the defaults are the study's."""

    elements: tuple[int, ...]
    """Atomic numbers that it knows."""
    features: int = 64
    convolutions: int = 3
    hidden_features: int = 128
    hidden_layers: int = 2
    radius: float = 8.0
    """Angstrom, the centre of the last Gaussian; the first is at 0."""
    step: float = 0.2
    """Angstrom between the Gaussians' centres, and their width."""
    targets: int = 2


class BatchNorm(nn.Module):
    """Scale, shift and running moments of a batch norm of every member; the arithmetic is in :func:`moments`."""

    running_mean: torch.Tensor
    running_variance: torch.Tensor

    def __init__(self, members: int, features: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(members, features))
        self.shift = nn.Parameter(torch.zeros(members, features))
        self.register_buffer("running_mean", torch.zeros(members, features))
        self.register_buffer("running_variance", torch.ones(members, features))

    def update(self, mean: torch.Tensor, variance: torch.Tensor, samples: torch.Tensor) -> None:
        """Let the running moments follow a batch of that many samples."""
        self.running_mean.lerp_(mean, BATCH_NORM_MOMENTUM)
        self.running_variance.lerp_(variance * (samples / (samples - 1).clamp(min=1)), BATCH_NORM_MOMENTUM)


class CGCNN(nn.Module):
    """``members`` networks of one architecture.

    :param seeds: one for each member: its initial weights depend on nothing else.
    """

    def __init__(self, architecture: Architecture, seeds: Sequence[int]) -> None:
        super().__init__()
        self.architecture = architecture
        self.members = members = len(seeds)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        width, hidden = architecture.features, architecture.hidden_features
        gaussians = round(architecture.radius / architecture.step) + 1

        def uniform(fan_in: int, *shape: int) -> nn.Parameter:
            bound = 1 / math.sqrt(fan_in)
            drawn = [torch.empty(shape).uniform_(-bound, bound, generator=each) for each in generators]
            return nn.Parameter(torch.stack(drawn))

        species = len(architecture.elements)
        self.embedding = uniform(species, species, width)
        self.embedding_bias = uniform(species, width)
        edge_input = 2 * width + gaussians
        # The bias of a convolution is left out: the batch norm that follows takes it away again.
        layers = range(architecture.convolutions)
        self.of_centre = nn.ParameterList(uniform(edge_input, width, 2 * width) for _ in layers)
        self.of_neighbour = nn.ParameterList(uniform(edge_input, width, 2 * width) for _ in layers)
        self.of_distance = nn.ParameterList(uniform(edge_input, gaussians, 2 * width) for _ in layers)
        self.edge_norm = nn.ModuleList(BatchNorm(members, 2 * width) for _ in layers)
        self.node_norm = nn.ModuleList(BatchNorm(members, width) for _ in layers)
        sizes = [width] + [hidden] * architecture.hidden_layers
        self.hidden = nn.ParameterList(uniform(n, n, m) for n, m in pairwise(sizes))
        self.hidden_bias = nn.ParameterList(uniform(n, m) for n, m in pairwise(sizes))
        self.output = uniform(hidden, hidden, architecture.targets)
        self.output_bias = uniform(hidden, architecture.targets)
        self.register_buffer("gaussian_centres", torch.arange(gaussians) * architecture.step, persistent=False)
        column = torch.full((max(architecture.elements) + 1,), -1, dtype=torch.int64)
        column[list(architecture.elements)] = torch.arange(species)
        self.register_buffer("column_of_element", column, persistent=False)

    def expand(self, distance: torch.Tensor) -> torch.Tensor:
        """(edges, gaussians): exp(-(d - mu)^2 / step^2)."""
        centres = self.get_buffer("gaussian_centres")
        values = torch.exp(-((distance[:, None] - centres) ** 2) / self.architecture.step**2)
        return functional.threshold(values, SMALLEST_GAUSSIAN, 0.0)

    def pooled(self, graphs: Graphs) -> torch.Tensor:
        """(members, graphs, features): the mean over the atoms of each crystal after the last convolution."""
        species = self.get_buffer("column_of_element")[graphs.numbers]
        nodes = (self.embedding + self.embedding_bias[:, None]).index_select(1, species)
        gaussians = self.expand(graphs.distance)
        for layer in range(self.architecture.convolutions):
            nodes = self.convolve(layer, nodes, gaussians, graphs)
        graph = graphs.graph_of_node()
        atoms = graphs.atoms.new_zeros(len(graphs)).index_add_(0, graph, graphs.atoms)
        share = graphs.atoms / atoms[graph]
        shape = self.members, len(graphs), self.architecture.features
        return nodes.new_zeros(shape).index_add(1, graph, nodes * share[:, None])

    def convolve(self, layer: int, nodes: torch.Tensor, gaussians: torch.Tensor, graphs: Graphs) -> torch.Tensor:
        edge_norm, node_norm = self.edge_norm[layer], self.node_norm[layer]
        assert isinstance(edge_norm, BatchNorm)
        assert isinstance(node_norm, BatchNorm)
        weights = self.of_centre[layer], self.of_neighbour[layer], self.of_distance[layer]
        if not self.training:
            return convolve_settled(nodes, gaussians, weights, edge_norm, node_norm, graphs)
        result, *batch = Convolution.apply(  # type: ignore[no-untyped-call]
            nodes, gaussians, *weights, edge_norm.scale, edge_norm.shift, node_norm.scale, node_norm.shift, graphs
        )
        edge_norm.update(*batch[:3])
        node_norm.update(*batch[3:])
        return torch.as_tensor(result)

    def forward(self, graphs: Graphs) -> torch.Tensor:
        """(members, graphs, targets), in standard deviations of the targets from their mean."""
        return self.read_out(self.pooled(graphs))

    def read_out(self, pooled: torch.Tensor) -> torch.Tensor:
        """(members, graphs, targets) from the features of crystals."""
        values = functional.softplus(pooled)
        for weight, bias in zip(self.hidden, self.hidden_bias, strict=True):
            values = functional.softplus(torch.baddbmm(bias[:, None], values, weight))
        return torch.baddbmm(self.output_bias[:, None], values, self.output)


def products(
    nodes: torch.Tensor, gaussians: torch.Tensor, weights: Sequence[torch.Tensor], graphs: Graphs
) -> torch.Tensor:
    """(members, edges, 2 features): the linear map of every edge's centre, neighbour and distance."""
    of_centre, of_neighbour, of_distance = weights
    edges = torch.matmul(gaussians, of_distance)
    edges += torch.bmm(nodes, of_centre).index_select(1, graphs.centre)
    edges += torch.bmm(nodes, of_neighbour).index_select(1, graphs.neighbour)
    return edges


def gate(edges: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Filter and core, (members, edges, features) each."""
    filtering, core = edges.chunk(2, dim=2)
    return torch.sigmoid(filtering), functional.softplus(core)


def convolve_settled(
    nodes: torch.Tensor,
    gaussians: torch.Tensor,
    weights: Sequence[torch.Tensor],
    edge_norm: BatchNorm,
    node_norm: BatchNorm,
    graphs: Graphs,
) -> torch.Tensor:
    """One convolution with the running moments."""

    def normalised(values: torch.Tensor, norm: BatchNorm) -> torch.Tensor:
        factor = norm.scale * torch.rsqrt(norm.running_variance + BATCH_NORM_EPSILON)
        return torch.addcmul((norm.shift - norm.running_mean * factor)[:, None], values, factor[:, None])

    filtering, core = gate(normalised(products(nodes, gaussians, weights, graphs), edge_norm))
    message = filtering * core * graphs.count[:, None]
    summed = torch.zeros_like(nodes).index_add(1, graphs.centre, message)
    return functional.softplus(nodes + normalised(summed, node_norm))


def normalise_(values: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Bring each member's columns to mean 0 and variance 1, in place; their mean, variance and the factor applied.

    ``weight`` sums to one over the rows.
    """
    mean = torch.matmul(weight, values)
    variance = torch.matmul(weight, values.sub_(mean[:, None]).square())
    factor = torch.rsqrt(variance + BATCH_NORM_EPSILON)
    values.mul_(factor[:, None])
    return mean, variance, factor


class Convolution(torch.autograd.Function):
    """One convolution with the moments of the batch, and its gradient."""

    @staticmethod
    def forward(ctx: Any, nodes: torch.Tensor, gaussians: torch.Tensor, *inputs: Any) -> Any:
        weights, (edge_scale, edge_shift, scale, shift, graphs) = inputs[:3], inputs[3:]
        edge_weight = graphs.atoms[graphs.centre] * graphs.count
        edge_total, node_total = edge_weight.sum(), graphs.atoms.sum()
        edge_weight, node_weight = edge_weight / edge_total.clamp(min=1), graphs.atoms / node_total

        edges = products(nodes, gaussians, weights, graphs)
        edge_mean, edge_variance, edge_factor = normalise_(edges, edge_weight)
        filtering, core = gate(torch.addcmul(edge_shift[:, None], edges, edge_scale[:, None]))
        message = (filtering * core).mul_(graphs.count[:, None])
        summed = torch.zeros_like(nodes).index_add_(1, graphs.centre, message)
        node_mean, node_variance, node_factor = normalise_(summed, node_weight)
        result = functional.softplus(torch.addcmul(shift[:, None], summed, scale[:, None]).add_(nodes))

        ctx.graphs = graphs
        ctx.save_for_backward(
            nodes, gaussians, *weights, edge_scale, scale, edges, filtering, core, summed, result,
            edge_factor, node_factor, edge_weight, node_weight,
        )  # fmt: skip
        found = edge_mean, edge_variance, edge_total, node_mean, node_variance, node_total
        ctx.mark_non_differentiable(*found)
        return result, *found

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor, *_: torch.Tensor) -> Any:
        nodes, gaussians, *weights, edge_scale, scale, edges, filtering, core, summed, result = ctx.saved_tensors[:12]
        edge_factor, node_factor, edge_weight, node_weight = ctx.saved_tensors[12:]
        of_centre, of_neighbour, _ = weights
        graphs = ctx.graphs
        # The derivative of softplus(y) is 1 - exp(-softplus(y)).
        of_nodes = torch.expm1(-result).neg_().mul_(grad)
        of_summed, scale_grad, shift_grad = through_norm(of_nodes, summed, scale * node_factor, node_weight)

        of_gate = torch.empty_like(edges)
        of_filter, of_core = of_gate.chunk(2, dim=2)
        gated = of_summed.index_select(1, graphs.centre).mul_(graphs.count[:, None]).mul_(filtering)
        torch.expm1(-core, out=of_core).neg_().mul_(gated)
        torch.mul(gated.mul_(core), 1 - filtering, out=of_filter)
        of_edges, edge_scale_grad, edge_shift_grad = through_norm(of_gate, edges, edge_scale * edge_factor, edge_weight)

        shape = len(nodes), nodes.shape[1], of_edges.shape[2]
        at_centre = of_edges.new_zeros(shape).index_add_(1, graphs.centre, of_edges)
        at_neighbour = of_edges.new_zeros(shape).index_add_(1, graphs.neighbour, of_edges)
        of_nodes.baddbmm_(at_centre, of_centre.transpose(1, 2)).baddbmm_(at_neighbour, of_neighbour.transpose(1, 2))
        weight_grads = (
            torch.bmm(nodes.transpose(1, 2), at_centre),
            torch.bmm(nodes.transpose(1, 2), at_neighbour),
            torch.matmul(gaussians.T, of_edges),
        )
        return of_nodes, None, *weight_grads, edge_scale_grad, edge_shift_grad, scale_grad, shift_grad, None


def through_norm(
    grad: torch.Tensor, normalised: torch.Tensor, slope: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of a weighted batch norm's input, scale and shift.

    ``dx_k = slope (g_k - w_k (sum g + xhat_k sum g xhat))``, with ``slope`` the scale over the standard deviation.
    """
    of_shift, of_scale = grad.sum(1), (grad * normalised).sum(1)
    of_mean = torch.addcmul(of_shift[:, None], normalised, of_scale[:, None]).mul_(weight[:, None])
    return torch.sub(grad, of_mean, out=of_mean).mul_(slope[:, None]), of_scale, of_shift
