"""A crystal's graph and prediction belong to the crystal: not to the order of its atoms, its cell or its frame."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from ase.spacegroup import crystal as spacegroup_crystal
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_cgcnn import plain_neighbours
from scipy.spatial.transform import Rotation

from hardcoat_ml.crystal import Crystal, from_ase
from hardcoat_ml.graphs import (
    NEIGHBOURS,
    RADIUS,
    SHELL_TOLERANCE,
    Graphs,
    crystal_graphs,
    full_graphs,
    neighbours,
    quotient,
)
from hardcoat_ml.model import CGCNN, Architecture, BatchNorm

ELEMENTS = (7, 8, 13, 22, 40, 72)
PROTOTYPES = {
    "fcc": lambda a: bulk("Al", "fcc", a=a),
    "bcc": lambda a: bulk("Zr", "bcc", a=a),
    "hcp": lambda a: bulk("Ti", "hcp", a=0.7 * a, c=1.11 * a),
    "rocksalt": lambda a: bulk("TiN", "rocksalt", a=a),
    "zincblende": lambda a: bulk("AlN", "zincblende", a=a),
    "wurtzite": lambda a: bulk("AlN", "wurtzite", a=0.7 * a, c=1.13 * a),
    "caesium chloride": lambda a: bulk("HfN", "cesiumchloride", a=0.7 * a),
    "fluorite": lambda a: bulk("ZrOO", "fluorite", a=1.1 * a),
    "perovskite": lambda a: Atoms(
        "AlTiO3",
        scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
        cell=[0.9 * a] * 3,
        pbc=True,
    ),
    "rutile": lambda a: spacegroup_crystal(
        ["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[a, a, 0.64 * a, 90, 90, 90]
    ),
}
LATTICE_PARAMETERS = st.one_of(
    st.floats(3.8, 5.5),
    # Distances at the middle between two multiples of any resolution in decimals, or at one.
    st.sampled_from([3.875, 4.0, 4.0625, 4.125, 4.24, 4.249, 4.25, 4.251, 5.0005]),
)
SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model() -> CGCNN:
    """Three members with random weights and moments."""
    model = CGCNN(Architecture(ELEMENTS), [1, 2, 3]).eval()
    generator = torch.Generator().manual_seed(0)
    for norm in model.modules():
        if isinstance(norm, BatchNorm):
            norm.running_variance.uniform_(0.5, 2.0, generator=generator)
            norm.running_mean.uniform_(-1.0, 1.0, generator=generator)
    return model


@st.composite
def prototypes(draw: st.DrawFn) -> Crystal:
    """Crystals in which many atoms are equivalent."""
    return from_ase(PROTOTYPES[draw(st.sampled_from(sorted(PROTOTYPES)))](draw(LATTICE_PARAMETERS)))


@st.composite
def triclinic(draw: st.DrawFn, smallest: float = 2.0, largest: float = 7.0, atoms: int = 6) -> Crystal:
    """Random cells and positions: no symmetry, sometimes flat or long, no two atoms in one place."""
    random = np.random.default_rng(draw(SEEDS))
    while True:
        lattice = random.normal(size=(3, 3))
        lattice *= random.uniform(smallest, largest, 3)[:, None] / np.linalg.norm(lattice, axis=1)[:, None]
        if abs(np.linalg.det(lattice)) > 4:
            break
    size = random.integers(1, atoms + 1)
    chosen = [random.random(3)]
    for _ in range(20 * size):
        position = random.random(3)
        vectors = (position - np.array(chosen))[:, None] + IMAGES
        if len(chosen) < size and np.linalg.norm(vectors @ lattice, axis=-1).min() > 0.8:
            chosen.append(position)
    return Crystal(lattice, random.choice(ELEMENTS, len(chosen)), np.array(chosen))


IMAGES = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3).astype(float)
CRYSTALS = st.one_of(prototypes(), triclinic())


def reordered(crystal: Crystal, random: np.random.Generator) -> Crystal:
    """Other order, origin and choice of periodic image of every atom."""
    order = random.permutation(len(crystal.numbers))
    moved = crystal.fractional + random.random(3) + random.integers(-2, 3, crystal.fractional.shape)
    return Crystal(crystal.lattice, crystal.numbers[order], moved[order])


def rotated(crystal: Crystal, random: np.random.Generator) -> Crystal:
    """Any proper rotation, or one with an inversion."""
    turn = Rotation.random(rng=random).as_matrix() * random.choice([-1, 1])
    return Crystal(crystal.lattice @ turn.T, crystal.numbers, crystal.fractional)


def sheared(crystal: Crystal, random: np.random.Generator) -> Crystal:
    """Another cell of the same lattice: an integer matrix of determinant one or minus one."""
    matrix = np.eye(3, dtype=int)
    for _ in range(4):
        one, other = random.choice(3, 2, replace=False)
        matrix[one] += random.integers(-2, 3) * matrix[other]
    matrix = random.choice([-1, 1]) * matrix[random.permutation(3)]
    return Crystal(matrix @ crystal.lattice, crystal.numbers, crystal.fractional @ np.linalg.inv(matrix))


def supercell(crystal: Crystal, random: np.random.Generator) -> Crystal:
    """Up to twelve cells, in any shape."""
    while True:
        matrix = np.tril(random.integers(-2, 3, (3, 3)), -1) + np.diag(random.integers(1, 4, 3))
        if 1 < (cells := round(np.linalg.det(matrix))) <= 12:
            break
    corners = np.array(np.meshgrid(*[[0, 1]] * 3)).reshape(3, 8).T @ matrix
    ranges = [np.arange(low, high + 1) for low, high in zip(corners.min(0), corners.max(0), strict=True)]
    points = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = points @ np.linalg.inv(matrix) + 1e-9
    points = points[((inside >= 0) & (inside < 1)).all(axis=1)]
    assert len(points) == cells
    fractional = (crystal.fractional[:, None] + points) @ np.linalg.inv(matrix)
    return Crystal(matrix @ crystal.lattice, np.repeat(crystal.numbers, cells), fractional.reshape(-1, 3))


CHANGES = {"order": reordered, "frame": rotated, "cell": sheared, "supercell": supercell}


def everything(crystal: Crystal, random: np.random.Generator) -> Crystal:
    for change in CHANGES.values():
        crystal = change(crystal, random)
    return reordered(crystal, random)


def assert_same_graph(one: Graphs, other: Graphs) -> None:
    """Equal to the last node and edge; atoms in the same proportion."""
    for name in ("numbers", "centre", "neighbour", "count", "node_start", "edge_start"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    torch.testing.assert_close(one.distance, other.distance, rtol=0, atol=1e-5)
    torch.testing.assert_close(one.atoms / one.atoms.sum(), other.atoms / other.atoms.sum())


@pytest.mark.parametrize("change", [*CHANGES.values(), everything], ids=[*CHANGES, "everything"])
@settings(deadline=None, max_examples=30)
@given(crystal=CRYSTALS, seed=SEEDS)
def test_graph_and_prediction_belong_to_the_crystal(model, change, crystal, seed):
    changed = change(crystal, np.random.default_rng(seed))
    graphs, other = crystal_graphs([crystal]), crystal_graphs([changed])
    with torch.no_grad():
        torch.testing.assert_close(model(other), model(graphs), rtol=1e-4, atol=1e-4)
    assert_same_graph(graphs, other)


@settings(deadline=None, max_examples=30)
@given(crystal=CRYSTALS, seed=SEEDS)
def test_noise_of_coordinates_hardly_moves_a_prediction(model, crystal, seed):
    """Files keep six decimals: merging may then differ, the prediction may not."""
    random = np.random.default_rng(seed)
    noisy = crystal._replace(fractional=crystal.fractional + random.uniform(-5e-7, 5e-7, crystal.fractional.shape))
    with torch.no_grad():
        prediction, other = model(crystal_graphs([crystal])), model(crystal_graphs([noisy]))
    torch.testing.assert_close(other, prediction, rtol=0, atol=2e-3)


@settings(deadline=None, max_examples=20)
@given(crystals=st.lists(CRYSTALS, min_size=1, max_size=3))
def test_merging_again_changes_nothing(crystals):
    graphs = crystal_graphs(crystals)
    again = quotient(graphs)
    for name in (field.name for field in fields(Graphs)):
        assert torch.equal(getattr(graphs, name), getattr(again, name)), name


@settings(deadline=None, max_examples=20)
@given(crystals=st.lists(CRYSTALS, min_size=2, max_size=5))
def test_company_does_not_matter(model, crystals):
    """A prediction is the same alone and in a batch."""
    with torch.no_grad():
        together = model(crystal_graphs(crystals))
        alone = torch.cat([model(crystal_graphs([crystal])) for crystal in crystals], dim=1)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def assert_same_bonds(found, expected) -> None:
    """Equal per pair of atoms, and in distance."""
    order, reference = (np.lexsort((np.round(d, 7), j, i)) for i, j, d in (found, expected))
    for mine, theirs in zip(found[:2], expected[:2], strict=True):
        assert np.array_equal(mine[order], theirs[reference])
    np.testing.assert_allclose(found[2][order], expected[2][reference], atol=1e-6)


def whole_shells(centre, neighbour, distance, size: int):
    """Of all bonds up to the radius those to the twelfth neighbour, with its whole shell."""
    kept = np.zeros(len(centre), dtype=bool)
    for atom in range(size):
        own = np.sort(distance[centre == atom])
        limit = own[NEIGHBOURS - 1] + SHELL_TOLERANCE if len(own) >= NEIGHBOURS else np.inf
        kept |= (centre == atom) & (distance <= limit)
    return centre[kept], neighbour[kept], distance[kept]


def ase_neighbours(crystal: Crystal):
    atoms = Atoms(crystal.numbers, cell=crystal.lattice, scaled_positions=crystal.fractional, pbc=True)
    return whole_shells(*neighbor_list("ijd", atoms, RADIUS), len(atoms))


@settings(deadline=None, max_examples=15)
@given(crystal=CRYSTALS, seed=SEEDS)
def test_neighbours_are_those_of_ase(crystal, seed):
    """In another cell of the same lattice: atoms keep their numbers, and ASE is slow in flat cells."""
    assert_same_bonds(neighbours([sheared(crystal, np.random.default_rng(seed))]), ase_neighbours(crystal))


@settings(deadline=None, max_examples=12)
@given(crystal=triclinic(smallest=0.9, largest=2.5, atoms=1))
def test_neighbours_in_very_small_cells(crystal):
    """A cell of one atom, most of its neighbours several cells away."""
    assert_same_bonds(neighbours([crystal]), ase_neighbours(crystal))


@settings(deadline=None, max_examples=10)
@given(crystal=triclinic(atoms=3), seed=SEEDS)
def test_neighbours_in_very_skewed_cells(crystal, seed):
    """Angles of a degree, atoms many cells away from the first one; the crystal and so its bonds stay the same."""
    random = np.random.default_rng(seed)
    matrix = np.eye(3, dtype=int)
    matrix[1, 0], matrix[2, :2] = random.integers(5, 30), random.integers(-30, -5, 2)
    skewed = Crystal(matrix @ crystal.lattice, crystal.numbers, crystal.fractional @ np.linalg.inv(matrix) + 7)
    assert_same_bonds(neighbours([skewed]), ase_neighbours(crystal))


@settings(deadline=None, max_examples=15)
@given(crystal=triclinic(atoms=4))
def test_neighbours_are_those_of_a_plain_search(crystal):
    found = plain_neighbours(crystal.lattice, crystal.fractional)
    flat = [(atom, other, d) for atom, around in enumerate(found) for other, d in around]
    assert_same_bonds(neighbours([crystal]), tuple(np.array(column) for column in zip(*flat, strict=True)))


OPEN = {
    "chain": Crystal(np.diag([2.4, 7.0, 7.5]), np.array([22]), np.zeros((1, 3))),
    "sheet": Crystal(np.array([[3, 0, 0], [-1.5, 2.6, 0], [0, 0, 14]]), np.array([7]), np.full((1, 3), 0.9)),
    "molecules": Crystal(np.eye(3) * 6.5, np.array([7, 7, 8]), np.array([[0, 0, 0], [0, 0, 0.2], [0.98, 0.9, 0.5]])),
    "crowded and lonely chains": Crystal(
        np.diag([2.5, 12.0, 12.0]),
        np.full(5, 13),
        np.array([[0, 0, 0], [0, 0.2, 0], [0, 0, 0.2], [0, 0.2, 0.2], [0.3, 0.6, 0.6]]),
    ),
}


@pytest.mark.parametrize("crystal", OPEN.values(), ids=OPEN)
def test_neighbours_in_open_crystals(crystal):
    """Where atoms are crowded in one place and few in another, up to atoms with fewer than twelve within the radius."""
    found = plain_neighbours(crystal.lattice, crystal.fractional)
    flat = [(atom, other, d) for atom, around in enumerate(found) for other, d in around]
    assert_same_bonds(neighbours([crystal]), tuple(np.array(column) for column in zip(*flat, strict=True)))


# The twelfth neighbour is in the last shell of these: bcc 8 + 6, diamond 4 + 12, rocksalt 6 + 12, and so on.
SHELLS = {
    "fcc": [12],
    "bcc": [8, 6],
    "simple cubic": [6, 12],
    "diamond": [4, 12],
    "rocksalt": [6, 12],
    "zincblende": [4, 12],
    "caesium chloride": [8, 6],
    "hcp": [6, 6],
}


@pytest.mark.parametrize("name", SHELLS)
@settings(deadline=None, max_examples=10)
@given(a=LATTICE_PARAMETERS, seed=SEEDS)
def test_shells_are_whole(name, a, seed):
    others = {
        "simple cubic": lambda a: bulk("Al", "sc", a=0.7 * a),
        "diamond": lambda a: bulk("Ti", "diamond", a=a),
    }
    crystal = everything(from_ase({**PROTOTYPES, **others}[name](a)), np.random.default_rng(seed))
    centre, _, distance = neighbours([crystal])
    assert (np.bincount(centre) == sum(SHELLS[name])).all()
    first = np.sort(distance[centre == 0])
    assert [len(shell) for shell in np.split(first, np.flatnonzero(np.diff(first) > 1e-4) + 1)] == SHELLS[name]


@settings(deadline=None, max_examples=20)
@given(crystal=prototypes(), seed=SEEDS)
def test_equivalent_atoms_become_one_node(crystal, seed):
    """In these crystals atoms of one element are equivalent; a node for each element is left, whatever the cell."""
    graphs = crystal_graphs([everything(crystal, np.random.default_rng(seed))])
    assert sorted(graphs.numbers.tolist()) == sorted(set(crystal.numbers.tolist()))
    full = full_graphs([crystal])
    assert float((graphs.atoms[graphs.centre] * graphs.count).sum() / graphs.atoms.sum()) == pytest.approx(
        len(full.centre) / len(crystal.numbers)
    )


def test_isolated_atoms(model):
    """Alone within the radius: no bonds, a finite prediction, the same in company and whatever the size of the box."""
    boxes = [Crystal(np.diag([9.0, 10.0, 11.0]) * scale, np.array([22]), np.zeros((1, 3))) for scale in (1, 2)]
    crystal = from_ase(bulk("TiN", "rocksalt", a=4.25))
    for box in boxes:
        assert len(neighbours([box])[0]) == 0
    with torch.no_grad():
        alone = model(crystal_graphs(boxes))
        company = model(crystal_graphs([crystal, *boxes]))
    assert torch.isfinite(alone).all()
    torch.testing.assert_close(alone[:, 0], alone[:, 1])
    torch.testing.assert_close(company[:, 1:], alone, rtol=1e-4, atol=1e-4)


def test_isolated_atoms_in_training():
    """They neither break a step nor make its gradients other than finite."""
    box = Crystal(np.diag([9.0, 10.0, 11.0]), np.array([22]), np.zeros((1, 3)))
    for crystals in ([box, from_ase(bulk("TiN", "rocksalt", a=4.25))], [box, box._replace(numbers=np.array([72]))]):
        model = CGCNN(Architecture(ELEMENTS), [1, 2]).train()
        model(crystal_graphs(crystals)).square().sum().backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
        assert all(torch.isfinite(buffer).all() for buffer in model.buffers() if buffer.is_floating_point())


def test_few_neighbours_within_the_radius():
    """A dimer in a large box has one bond at each atom, fewer than the number asked for."""
    dimer = Crystal(np.eye(3) * 12.0, np.array([7, 7]), np.array([[0, 0, 0], [0, 0, 0.1]]))
    centre, neighbour, distance = neighbours([dimer])
    assert centre.tolist() == [0, 1]
    assert neighbour.tolist() == [1, 0]
    np.testing.assert_allclose(distance, 1.2)


def test_crystals_together_are_what_they_are_alone():
    """Wide and narrow cells in one call: some need a second, farther search."""
    crystals = [
        from_ase(bulk("Al", "fcc", a=4.0)),
        Crystal(np.diag([2.5, 9.0, 11.0]), np.array([22]), np.zeros((1, 3))),
        from_ase(bulk("TiN", "rocksalt", a=4.2)),
        Crystal(np.eye(3) * 20, np.array([7, 8]), np.array([[0, 0, 0], [0.05, 0, 0]])),
    ]
    together = full_graphs(crystals)
    for k, crystal in enumerate(crystals):
        alone, picked = full_graphs([crystal]), together.select(torch.tensor([k]))
        for field in fields(Graphs):
            one, other = getattr(alone, field.name), getattr(picked, field.name)
            if field.name in ("neighbour", "distance"):
                one, other = one.sort().values, other.sort().values
            assert torch.equal(one, other), field.name
