"""Quality and speed of the quasirandom structures: targets first, then other programs at equal CPU time.

Run `python benchmarks/sqs.py`. The peers are icet (Ångqvist et al., Adv. Theory Simul. 2, 1900015 (2019)),
with the same cell and the same clusters, and ATAT's mcsqs where it is on PATH. Every cell found is judged
with this project's objective and with icet's own, and the ratio ours/theirs of each is printed. Set
OMP_NUM_THREADS=1 so that CPU time is that of one thread.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms

from aiida_hardcoat.physics.cells import supercell_matrix
from aiida_hardcoat.physics.composition import metal_counts, parse_composition
from aiida_hardcoat.physics.prototypes import Parent, parent
from aiida_hardcoat.physics.sqs import (
    PAIRS,
    PAIRS_AND_TRIPLETS,
    VECTOR_RESOLVED,
    ClusterSpace,
    Correlations,
    SupercellClusters,
    Weights,
    build_atoms,
    cluster_space,
    cluster_vector,
    correlations,
    place,
)
from aiida_hardcoat.physics.sqs.clusters import supercell_sites
from aiida_hardcoat.physics.sqs.generate import STEPS
from aiida_hardcoat.physics.sqs.search import search

CASES = [
    (structure_type, formula) for structure_type in ("B1", "B3", "B4") for formula in ("Ti0.75Al0.25N", "Ti0.5Al0.5N")
] + [("B1", "Al0.25Ti0.25Zr0.25Hf0.25N")]


class Cell(NamedTuple):
    """A supercell to fill, with its clusters."""

    structure: Parent
    matrix: np.ndarray
    space: ClusterSpace
    clusters: SupercellClusters
    metals: tuple[str, ...]
    counts: list[int]


def prepare(structure_type: str, formula: str, shape: str = "study") -> Cell:
    composition = parse_composition(formula)
    structure = parent(structure_type, composition)
    matrix = supercell_matrix(structure_type, 96, shape)
    space = cluster_space(structure.cell, structure.metal_sites)
    clusters = place(space, matrix)
    counts = metal_counts(composition, clusters.size)
    return Cell(structure, matrix, space, clusters, composition.metals, list(counts.values()))


def ours(cell: Cell, weights: Weights, seconds: float, seed: int = 0) -> tuple[np.ndarray, float]:
    """The occupation found in about `seconds` of CPU time, and the time taken."""
    begin = time.process_time()
    search(cell.clusters, cell.counts, weights, seed=seed + 10**6, restarts=8, steps=STEPS)
    one = (time.process_time() - begin) / 8
    begin = time.process_time()
    restarts = max(1, int(0.85 * seconds / one))
    found = search(cell.clusters, cell.counts, weights, seed=seed, restarts=restarts, steps=STEPS)
    return found[0].occupation, time.process_time() - begin


def metals_only(cell: Cell, occupation: np.ndarray) -> Atoms:
    atoms = build_atoms(cell.structure, cell.matrix, cell.metals, occupation)
    return atoms[[symbol in cell.metals for symbol in atoms.get_chemical_symbols()]]


def occupation_of(cell: Cell, atoms: Atoms) -> np.ndarray:
    """The occupation of a filled metal sublattice, its atoms in any order."""
    sites = supercell_sites(cell.matrix, cell.space.basis_size)
    positions = (sites[:, :3] + cell.structure.metal_sites[sites[:, 3]]) @ cell.structure.cell
    difference = (atoms.positions[None] - positions[:, None]) @ np.linalg.inv(atoms.cell[:])
    distance = np.linalg.norm((difference - np.rint(difference)) @ atoms.cell[:], axis=2)
    assert distance.min(axis=1).max() < 1e-3, "the cell holds other sites"
    symbols = atoms.get_chemical_symbols()
    return np.array([cell.metals.index(symbols[i]) for i in distance.argmin(axis=1)])


def primitive(cell: Cell) -> Atoms:
    """The primitive cell of the metal sublattice."""
    sites = cell.structure.metal_sites
    return Atoms([cell.metals[0]] * len(sites), scaled_positions=sites, cell=cell.structure.cell, pbc=True)


class Icet:
    """icet with the pairs and triplets of `cell`."""

    def __init__(self, cell: Cell) -> None:
        import icet
        from icet.input_output.logging_tools import set_log_config
        from icet.tools.structure_generation import _get_sqs_cluster_vector

        set_log_config(level="ERROR")
        self.cell = cell
        self.space = icet.ClusterSpace(primitive(cell), list(cell.space.cutoffs[:2]), list(cell.metals))
        size = sum(cell.counts)
        self.concentrations = {m: n / size for m, n in zip(cell.metals, cell.counts, strict=True)}
        self.target = _get_sqs_cluster_vector(self.space, self.concentrations)

    def generate(self, seconds: float, T_start: float) -> tuple[np.ndarray, float]:
        """The occupation that icet's annealing finds in about `seconds` of CPU time, and the time taken."""
        (_, few), (_, more) = self._anneal(200, T_start), self._anneal(1200, T_start)
        atoms, taken = self._anneal(max(1000, int((seconds - few) * 1000 / (more - few))), T_start)
        return occupation_of(self.cell, atoms), taken

    def _anneal(self, steps: int, T_start: float) -> tuple[Atoms, float]:
        from icet.tools.structure_generation import generate_sqs_from_supercells

        supercell = metals_only(self.cell, np.repeat(np.arange(len(self.cell.counts)), self.cell.counts))
        begin = time.process_time()
        atoms = generate_sqs_from_supercells(
            self.space, [supercell], self.concentrations, T_start=T_start, n_steps=steps, random_seed=0
        )
        return atoms, time.process_time() - begin

    def objective(self, occupation: np.ndarray, optimality_weight: float = 1.0) -> float:
        """icet's objective: deviations, less the radius up to which pairs are perfect times the weight."""
        from mchammer.calculators.target_vector_calculator import compare_cluster_vectors

        vector = self.space.get_cluster_vector(metals_only(self.cell, occupation))
        return float(
            compare_cluster_vectors(vector, self.target, self.space.as_list, optimality_weight=optimality_weight)
        )


def mcsqs(cell: Cell, seconds: float) -> tuple[np.ndarray, float]:
    """The occupation that mcsqs finds in the same cell in about `seconds`, and the CPU time taken."""
    shares = [f"{m}={n / sum(cell.counts)}" for m, n in zip(cell.metals, cell.counts, strict=True)]
    unit = primitive(cell)
    supercell = cell.matrix @ cell.structure.cell
    with tempfile.TemporaryDirectory() as folder:
        rows = [*np.eye(3).tolist(), *unit.cell.tolist()]
        lines = [" ".join(map(str, row)) for row in rows]
        lines += [" ".join(map(str, position)) + " " + ",".join(shares) for position in unit.positions]
        Path(folder, "rndstr.in").write_text("\n".join(lines) + "\n")
        lines = [" ".join(map(str, row)) for row in supercell]
        Path(folder, "sqscell.out").write_text("1\n\n" + "\n".join(lines) + "\n")
        cutoffs = [f"-{n}={length}" for n, length in zip((2, 3), cell.space.cutoffs, strict=False)]
        subprocess.run(["mcsqs", *cutoffs], cwd=folder, check=True, capture_output=True)
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        with subprocess.Popen(["mcsqs", "-rc"], cwd=folder, stdout=subprocess.DEVNULL) as process:
            try:
                process.wait(timeout=seconds)  # it never ends by itself
            except subprocess.TimeoutExpired:
                process.kill()
        taken = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        found = [line.split() for line in Path(folder, "bestsqs.out").read_text().splitlines() if line.strip()]
    axes, lattice = np.array(found[:3], dtype=float), np.array(found[3:6], dtype=float)
    positions = np.array([entry[:3] for entry in found[6:]], dtype=float) @ axes
    atoms = Atoms([entry[3] for entry in found[6:]], positions=positions, cell=lattice @ axes, pbc=True)
    return occupation_of(cell, atoms), taken


def check(name: str, value: float, target: float, seconds: float | None = None) -> None:
    met = "met" if value <= target + 1e-12 else "NOT MET"
    taken = "" if seconds is None else f"{seconds:6.2f} CPU s"
    print(f"{name:56s} {value:10.4g}  target {target:<8g} {met:8s} {taken}", flush=True)


def evaluator_against_icet() -> None:
    """Every correlation of pairs, triplets and quadruplets, matched within each order by value."""
    import icet

    print("Evaluator: largest difference from icet's ClusterSpace")
    for structure_type, shape in [("B1", "study"), ("B1", "long-period"), ("B3", "study"), ("B4", "study")]:
        cell = prepare(structure_type, "Ti0.5Al0.5N", shape)
        space = icet.ClusterSpace(primitive(cell), list(cell.space.cutoffs), list(cell.metals))
        occupation = np.random.default_rng(0).integers(0, 2, cell.clusters.size)
        theirs = space.get_cluster_vector(metals_only(cell, occupation))
        orders = np.array([entry["order"] for entry in space.as_list])
        orbits = (*cell.space.pairs, *cell.space.triplets, *cell.space.quadruplets)
        sizes = np.array([orbit.members.shape[1] for orbit in orbits])
        values = np.concatenate(cluster_vector(cell.space, cell.clusters, occupation, 2))
        worst = max(
            np.abs(np.sort(values[sizes == order]) - np.sort(theirs[orders == order])).max() for order in (2, 3, 4)
        )
        check(f"{structure_type} {shape}", worst, 1e-10)
    shells = [2 * len(pairs) / 48 for pairs in prepare("B1", "Ti0.5Al0.5N").clusters.pairs]
    print(f"neighbours in 4x4x3: {shells}; 12, 6, 24, 12, 24, 8, 48 expected")


def targets(seeds: int) -> None:
    print(f"\nTargets: B1, 96 atoms, 4x4x3; the worst of {seeds} seeds, each with the CPU time named")
    half, quarter = "Ti0.5Al0.5N", "Ti0.75Al0.25N"
    quaternary = "Al0.25Ti0.25Zr0.25Hf0.25N"

    def mean_alpha(result: Correlations) -> np.ndarray:
        return np.abs(result.alpha).mean(axis=(1, 2))

    def vector_rms(result: Correlations) -> np.ndarray:
        return result.vector_rms

    rows: list[tuple[str, str, Weights, float, Callable[[Correlations], np.ndarray] | None, float]] = [
        ("shells + triplets, x = 1/2", half, PAIRS_AND_TRIPLETS, 0.5, None, 0.0),
        ("shells + triplets, x = 1/4", quarter, PAIRS_AND_TRIPLETS, 1, None, 0.10),
        ("shells + triplets, x = 1/4", quarter, PAIRS_AND_TRIPLETS, 10, None, 0.091),
        ("shells alone, x = 1/4", quarter, PAIRS, 1, None, 0.051),
        ("default objective, x = 1/2", half, VECTOR_RESOLVED, 1, None, 0.24),
        ("default objective, x = 1/4", quarter, VECTOR_RESOLVED, 1, None, 0.295),
        ("default objective, x = 1/2", half, VECTOR_RESOLVED, 10, None, 0.202),
        ("default objective, x = 1/4", quarter, VECTOR_RESOLVED, 10, None, 0.267),
        ("D of the default, x = 1/2", half, VECTOR_RESOLVED, 1, vector_rms, 0.11),
        ("D of the default, x = 1/4", quarter, VECTOR_RESOLVED, 1, vector_rms, 0.11),
        ("mean |alpha| of the default, four metals", quaternary, VECTOR_RESOLVED, 5, mean_alpha, 0.052),
    ]
    for name, formula, weights, seconds, value, target in rows:
        cell = prepare("B1", formula)
        values, times = [], []
        for seed in range(seeds):
            occupation, taken = ours(cell, weights, seconds, seed)
            result = correlations(cell.clusters, occupation, len(cell.metals))
            values.append(float((result.objective(weights) if value is None else value(result))[0]))
            times.append(taken)
        check(f"{name}, {seconds:g} s", max(values), target, max(times))

    cell = prepare("B1", half)
    runs = []
    begin = time.process_time()
    for _ in range(2):
        runs.append(search(cell.clusters, cell.counts, VECTOR_RESOLVED, seed=7, restarts=5, steps=STEPS))
    taken = time.process_time() - begin
    same = all(np.array_equal(one.occupation, two.occupation) for one, two in zip(*runs, strict=True))
    print(f"same seed, same cell: {'met' if same else 'NOT MET'}")
    print(f"exchanges ranked: {10 * STEPS * 24 * 24 / taken / 1e6:.1f} million/s, resting sites included")


def compare(seconds: float) -> None:
    print(f"\nAgainst icet with {seconds:g} s of CPU time each: below 1 is better than icet")
    print("icet's figure is the better of its default annealing and of one that starts cold (T_start = 0.1)")
    print(f"{'case':30s} {'objective':34s} {'ours':>8s} {'icet':>8s} {'ratio':>7s}  CPU s")
    for structure_type, formula in CASES:
        cell = prepare(structure_type, formula)
        icet = Icet(cell)
        theirs = [icet.generate(seconds, T_start) for T_start in (5.0, 0.1)]
        judges: list[tuple[str, Weights, Callable[[np.ndarray], float]]] = [
            ("sum|a| + sum|dPi3| + 3<|c|>", VECTOR_RESOLVED, partial(objective, cell, VECTOR_RESOLVED)),
            ("sum|a| + sum|dPi3|", PAIRS_AND_TRIPLETS, partial(objective, cell, PAIRS_AND_TRIPLETS)),
            (
                "icet's deviations, no bonus",
                PAIRS_AND_TRIPLETS,
                partial(icet.objective, optimality_weight=0.0),
            ),
            ("icet's own, bonus in Angstrom", PAIRS_AND_TRIPLETS, icet.objective),
        ]
        found = {weights: ours(cell, weights, seconds) for weights in (VECTOR_RESOLVED, PAIRS_AND_TRIPLETS)}
        for name, weights, judge in judges:
            occupation, taken = found[weights]
            row = judge(occupation), min(judge(other) for other, _ in theirs)
            print_row(f"{structure_type} {formula}", name, row, (taken, max(time for _, time in theirs)))
        if shutil.which("mcsqs"):
            occupation, taken = found[VECTOR_RESOLVED]
            other, other_taken = mcsqs(cell, seconds)
            row = objective(cell, VECTOR_RESOLVED, occupation), objective(cell, VECTOR_RESOLVED, other)
            print_row(f"{structure_type} {formula}", "the first one, against mcsqs", row, (taken, other_taken))
    if not shutil.which("mcsqs"):
        print("mcsqs is not on PATH: not compared")


def print_row(case: str, name: str, row: tuple[float, float], times: tuple[float, float]) -> None:
    mine, other = row
    if min(mine, other) > 1e-9:
        ratio = f"{mine / other:7.3f}"
    else:  # one is perfect, or a bonus made it negative
        ratio = " better" if mine < other - 1e-9 else "  equal" if mine < other + 1e-9 else "  worse"
    print(f"{case:30s} {name:34s} {mine:8.4f} {other:8.4f} {ratio}  {times[0]:.1f} / {times[1]:.1f}", flush=True)


def objective(cell: Cell, weights: Weights, occupation: np.ndarray) -> float:
    return float(correlations(cell.clusters, occupation, len(cell.metals)).objective(weights)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="CPU time a program and case")
    parser.add_argument("--seeds", type=int, default=3, help="searches of which the worst meets the targets")
    options = parser.parse_args()
    evaluator_against_icet()
    targets(options.seeds)
    compare(options.seconds)


if __name__ == "__main__":
    main()
