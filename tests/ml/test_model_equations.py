"""The stacked network on merged graphs against the plain one on full graphs, and against PyTorch Geometric's CGConv."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from plain_cgcnn import PlainCGCNN, PlainGraph, plain_graph
from torch.nn.functional import softplus
from torch_geometric.nn import CGConv

from hardcoat_ml.crystal import from_ase
from hardcoat_ml.graphs import RESOLUTION, Graphs, crystal_graphs, full_graphs, quotient
from hardcoat_ml.model import BATCH_NORM_EPSILON, CGCNN, Architecture, BatchNorm

ELEMENTS = (7, 13, 22, 72)
SEEDS = (5, 11, 17)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def alloy() -> Atoms:
    """Eight atoms without symmetry, so that nothing is merged."""
    atoms = bulk("TiN", "rocksalt", a=4.25, cubic=True)
    atoms.symbols[[0, 2]] = "Al"
    atoms.rattle(0.07, seed=1)
    return atoms


def layers() -> Atoms:
    """One metal layer in eight is Al: the layers of Ti differ from each other only in what lies one to four away."""
    atoms = bulk("TiN", "rocksalt", a=4.25, cubic=True).repeat((1, 1, 4))
    lowest = atoms.positions[:, 2] < 0.1
    atoms.numbers[lowest & (atoms.numbers == 22)] = 13
    return atoms


CRYSTALS = [
    from_ase(atoms)
    for atoms in (
        bulk("TiN", "rocksalt", a=4.25, cubic=True),
        bulk("AlN", "wurtzite", a=3.11, c=4.98),
        alloy(),
        layers(),
        bulk("HfN", "zincblende", a=4.91).repeat((2, 1, 1)),
        Atoms("Hf", cell=[9, 9, 9], pbc=True),
    )
]


def full_and_merged() -> tuple[Graphs, Graphs]:
    """In float64, with distances that merging leaves as they are."""
    full = full_graphs(CRYSTALS)
    full = replace(full, distance=(full.distance / RESOLUTION).round() * RESOLUTION)
    merged = quotient(full)
    assert len(merged.numbers) < len(full.numbers)
    assert len(merged.centre) < len(full.centre) / 2
    return double(full), double(merged)


def double(graphs: Graphs) -> Graphs:
    """float64, the distances as the nearest multiples of the resolution again."""
    distance = (graphs.distance.double() / RESOLUTION).round() * RESOLUTION
    return replace(graphs, distance=distance, atoms=graphs.atoms.double(), count=graphs.count.double())


def as_plain(full: Graphs) -> PlainGraph:
    columns = torch.tensor([ELEMENTS.index(int(z)) for z in full.numbers])
    return PlainGraph(columns, full.centre, full.neighbour, full.distance, full.graph_of_node())


def randomised() -> CGCNN:
    """A network in float64 whose batch norms have random scales, shifts and moments."""
    model = CGCNN(Architecture(ELEMENTS), SEEDS).double()
    generator = torch.Generator().manual_seed(0)
    for norm in model.modules():
        if isinstance(norm, BatchNorm):
            for values in (norm.scale.data, norm.running_variance):
                values.uniform_(0.5, 2.0, generator=generator)
            for values in (norm.shift.data, norm.running_mean):
                values.uniform_(-1.0, 1.0, generator=generator)
    return model


def linear_weight(model: CGCNN, layer: int, member: int, grad: bool = False) -> torch.Tensor:
    parts = [weights[layer] for weights in (model.of_centre, model.of_neighbour, model.of_distance)]
    return torch.cat([(part.grad if grad else part.data)[member] for part in parts]).T


def plain_member(model: CGCNN, member: int) -> PlainCGCNN:
    """One member of a network as the plain one."""
    plain = PlainCGCNN(len(ELEMENTS)).double()
    with torch.no_grad():
        plain.embedding.weight.copy_(model.embedding[member].T)
        plain.embedding.bias.copy_(model.embedding_bias[member])
        for layer, convolution in enumerate(plain.convolutions):
            convolution.linear.weight.copy_(linear_weight(model, layer, member))
            convolution.linear.bias.zero_()
            pairs = (convolution.gate_norm, model.edge_norm[layer]), (convolution.node_norm, model.node_norm[layer])
            for mine, stacked in pairs:
                mine.weight.copy_(stacked.scale[member])
                mine.bias.copy_(stacked.shift[member])
                mine.running_mean.copy_(stacked.running_mean[member])
                mine.running_var.copy_(stacked.running_variance[member])
        for layer, weight, bias in zip(plain.hidden, model.hidden, model.hidden_bias, strict=True):
            layer.weight.copy_(weight[member].T)
            layer.bias.copy_(bias[member])
        plain.output.weight.copy_(model.output[member].T)
        plain.output.bias.copy_(model.output_bias[member])
    return plain


def assert_close(stacked: torch.Tensor, plain: torch.Tensor) -> None:
    """Up to the Gaussians' centres, which the package keeps in float32, and the tails that it cuts."""
    scale = float(plain.detach().abs().max())
    torch.testing.assert_close(stacked, plain, rtol=1e-5, atol=1e-5 * scale)


def test_settled_network_is_the_plain_one():
    full, merged = full_and_merged()
    model = randomised().eval()
    with torch.no_grad():
        for graphs in (full, merged):
            found = model(graphs)
            for member in range(len(SEEDS)):
                assert_close(found[member], plain_member(model, member).eval()(as_plain(full)))


def test_training_step_is_the_plain_one():
    """Outputs, every gradient and the running moments."""
    full, merged = full_and_merged()
    cotangent = torch.from_numpy(np.random.default_rng(3).normal(size=(len(SEEDS), len(CRYSTALS), 2)))
    for graphs in (full, merged):
        model = randomised().train()
        plain = [plain_member(model, member).train() for member in range(len(SEEDS))]
        found = model(graphs)
        (found * cotangent).sum().backward()
        for member, one in enumerate(plain):
            expected = one(as_plain(full))
            (expected * cotangent[member]).sum().backward()
            assert_close(found[member], expected)
            assert_close(model.embedding.grad[member], one.embedding.weight.grad.T)
            assert_close(model.embedding_bias.grad[member], one.embedding.bias.grad)
            for layer, convolution in enumerate(one.convolutions):
                assert_close(linear_weight(model, layer, member, grad=True), convolution.linear.weight.grad)
                norms = (convolution.gate_norm, model.edge_norm[layer]), (convolution.node_norm, model.node_norm[layer])
                for mine, stacked in norms:
                    assert_close(stacked.scale.grad[member], mine.weight.grad)
                    assert_close(stacked.shift.grad[member], mine.bias.grad)
                    assert_close(stacked.running_mean[member], mine.running_mean)
                    assert_close(stacked.running_variance[member], mine.running_var)
            for layer, weight, bias in zip(one.hidden, model.hidden, model.hidden_bias, strict=True):
                assert_close(weight.grad[member], layer.weight.grad.T)
                assert_close(bias.grad[member], layer.bias.grad)
            assert_close(model.output.grad[member], one.output.weight.grad.T)
            assert_close(model.output_bias.grad[member], one.output.bias.grad)


def test_bias_of_a_convolution_changes_nothing_in_training():
    """Which is why the package has none: the batch norm that follows takes the mean away."""
    full, merged = full_and_merged()
    model = randomised().train()
    plain = plain_member(model, 0).train()
    with torch.no_grad():
        for convolution in plain.convolutions:
            convolution.linear.bias.uniform_(-3, 3, generator=torch.Generator().manual_seed(2))
        assert_close(model(merged)[0], plain(as_plain(full)))


def test_from_crystal_to_prediction_in_single_precision():
    """The whole way against the plain search for neighbours with exact distances: the package rounds them to 1 mA."""
    model = randomised().eval()
    columns = {z: column for column, z in enumerate(ELEMENTS)}
    with torch.no_grad():
        expected = plain_member(model, 0).eval()(plain_graph(list(CRYSTALS), columns))
        found = model.float()(crystal_graphs(CRYSTALS))[0].double()
    spread = float(expected.std())
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02 * spread)


def test_members_do_not_mix():
    """The weights, outputs and gradients of a member are those that it has alone."""
    _, merged = full_and_merged()
    together = CGCNN(Architecture(ELEMENTS), SEEDS).double().train()
    found = together(merged)
    found.square().sum().backward()
    for member, seed in enumerate(SEEDS):
        alone = CGCNN(Architecture(ELEMENTS), [seed]).double().train()
        expected = alone(merged)
        expected.square().sum().backward()
        assert_close(found[member], expected[0])
        for stacked, single in zip(together.parameters(), alone.parameters(), strict=True):
            assert torch.equal(stacked[member], single[0])
            assert_close(stacked.grad[member], single.grad[0])


@pytest.mark.parametrize("node_norm", [False, True])
def test_convolution_is_cgconv_where_they_agree(node_norm):
    """CGConv has no norm of the gate and no outer softplus; its own batch norm is that of the summed messages."""
    full, merged = full_and_merged()
    model = randomised().eval()
    make_identity(model.edge_norm[0])
    if not node_norm:
        make_identity(model.node_norm[0])
    generator = torch.Generator().manual_seed(4)
    features = torch.rand(len(SEEDS), max(ELEMENTS) + 1, 64, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        for graphs in (full, merged):
            nodes = features[:, graphs.numbers]
            stacked = model.convolve(0, nodes, model.expand(graphs.distance), graphs)
            for member in range(len(SEEDS)):
                edges = torch.stack([full.neighbour, full.centre])
                own = features[member, full.numbers]
                expected = softplus(cgconv(model, member, node_norm)(own, edges, model.expand(full.distance)))
                assert_close(pool(stacked[member], graphs), pool(expected, full))
                if graphs is full:
                    assert_close(stacked[member], expected)


def make_identity(norm: BatchNorm) -> None:
    norm.scale.data.fill_(1.0)
    norm.shift.data.zero_()
    norm.running_mean.zero_()
    norm.running_variance.fill_(1 - BATCH_NORM_EPSILON)


def cgconv(model: CGCNN, member: int, node_norm: bool) -> CGConv:
    peer = CGConv(64, dim=41, aggr="add", batch_norm=node_norm).double().eval()
    with torch.no_grad():
        for linear, half in zip((peer.lin_f, peer.lin_s), linear_weight(model, 0, member).chunk(2), strict=True):
            linear.weight.copy_(half)
            linear.bias.zero_()
        if node_norm:
            norm = model.node_norm[0]
            peer.bn.weight.copy_(norm.scale[member])
            peer.bn.bias.copy_(norm.shift[member])
            peer.bn.running_mean.copy_(norm.running_mean[member])
            peer.bn.running_var.copy_(norm.running_variance[member])
    return peer


def pool(values: torch.Tensor, graphs: Graphs) -> torch.Tensor:
    """(graphs, features): means over atoms."""
    graph = graphs.graph_of_node()
    total = values.new_zeros(len(graphs), values.shape[1]).index_add(0, graph, values * graphs.atoms[:, None])
    return total / graphs.atoms.new_zeros(len(graphs)).index_add(0, graph, graphs.atoms)[:, None]
