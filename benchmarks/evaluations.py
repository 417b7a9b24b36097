"""Engine evaluations for the relaxed-ion elastic constants of an alloy cell, against relaxing each strained cell alone.

The peer is the usual way: every strained cell starts from its affine positions, with the same optimiser (ASE's BFGS)
and the same force threshold. It is run twice: with BFGS as ASE ships it, and with this project's starting curvature, so
that both parts of the saving are seen. Needs no AiiDA profile; about 20 minutes with 7net-0 and 96 atoms on two cores.

    python benchmarks/evaluations.py [--atoms 96] [--model 7net-0] [--composition Ti0.5Al0.5N] [--structure-type B1]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from aiida_hardcoat.engines import ase_driver as driver
from aiida_hardcoat.engines.ase_driver import relaxation
from aiida_hardcoat.physics.elasticity import fit_tensor
from aiida_hardcoat.physics.projection import project
from aiida_hardcoat.physics.prototypes import CRYSTAL_CLASSES
from aiida_hardcoat.physics.quasirandom import find_structure
from aiida_hardcoat.physics.strain import strain_set
from aiida_hardcoat.workflows.protocols import load_protocol

ASE_CURVATURE = 70.0
"""eV/Angstrom^2, the default of ase.optimize.BFGS."""


def run_driver(atoms, task: str, settings: dict, strains: list | None) -> tuple[list[dict], float]:
    """Records of the driver, exactly as a job makes them, and the seconds it took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = {
            "cell": atoms.cell.array.tolist(),
            "symbols": list(atoms.symbols),
            "positions": atoms.positions.tolist(),
            "strains": strains,
            "settings": {**settings, "task": task},
        }
        (folder / "input.json").write_text(json.dumps(job))
        started = time.perf_counter()
        driver.run(folder, report=lambda line: None)
        records = driver.load_records(folder / "records.jsonl")
    return [records[index] for index in sorted(records)], time.perf_counter() - started


def run_alone(atoms, settings: dict, strains: list, curvature: float) -> list[dict]:
    """Each strained cell by itself, from its affine positions."""
    calculator, _ = driver.load_calculator(settings["model"], settings["model_options"])
    counter = driver.count_evaluations(calculator)
    ours, relaxation.ATOM_CURVATURE = relaxation.ATOM_CURVATURE, curvature
    records = []
    for number, strain in enumerate(strains, start=1):
        strained = driver.strained_copy(atoms, strain)
        strained.calc = calculator
        record, _ = driver.evaluate("relax_ions", strained, settings, None, counter, lambda line: None)
        print(f"    {number}/{len(strains)}: {record['evaluations']} evaluations", flush=True)
        records.append(record)
    relaxation.ATOM_CURVATURE = ours
    return records


def constants(records: list[dict], strains: list, crystal_class: str) -> dict[str, float]:
    if any(record["status"] != "ok" for record in records):
        raise SystemExit("a strained cell did not converge: no comparison")
    tensor = project(fit_tensor(strains, [record["stress"] for record in records]).tensor, crystal_class).tensor
    names = {"c11": (0, 0), "c12": (0, 1), "c13": (0, 2), "c33": (2, 2), "c44": (3, 3), "c66": (5, 5)}
    return {name: float(tensor[place]) for name, place in names.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, default=96)
    parser.add_argument("--model", default="7net-0")
    parser.add_argument("--composition", default="Ti0.5Al0.5N")
    parser.add_argument("--structure-type", default="B1")
    arguments = parser.parse_args()

    protocol = load_protocol("balanced", {"sqs": {"atoms": arguments.atoms}})
    common = {"model": arguments.model, "model_options": {}, "optimiser": "BFGS"}
    sqs = {"composition": arguments.composition, "structure_type": arguments.structure_type, **protocol["sqs"]}
    atoms = find_structure(sqs).atoms
    relaxation = {name: protocol["relaxation"][name] for name in ("force_thresholds", "stress_threshold", "max_steps")}
    [relaxed], _ = run_driver(atoms, "relax", {**common, **relaxation}, None)
    atoms.set_cell(relaxed["cell"])
    atoms.set_positions(relaxed["positions"])
    print(f"{arguments.composition} {arguments.structure_type}, {len(atoms)} atoms, {arguments.model}")
    print(f"relaxation: {relaxed['evaluations']} evaluations")

    strains = strain_set(protocol["strains"]["normal"], protocol["strains"]["shear"]).tolist()
    settings = {**common, **relaxation, "max_steps": protocol["strains"]["max_steps"]}
    crystal_class = CRYSTAL_CLASSES[arguments.structure_type]
    ours, seconds = run_driver(atoms, "relax_ions", settings, strains)
    print(f"this project: {sum(record['evaluations'] for record in ours)} evaluations, {seconds:.0f} s", flush=True)
    peers = {
        "alone, BFGS as ASE ships it": ASE_CURVATURE,
        "alone, this project's starting curvature": relaxation.ATOM_CURVATURE,
    }
    here = constants(ours, strains, crystal_class)
    for name, curvature in peers.items():
        alone = run_alone(atoms, settings, strains, curvature)
        counts = [sum(record["evaluations"] for record in records) for records in (ours, alone)]
        there = constants(alone, strains, crystal_class)
        worst = max(here, key=lambda key: abs(here[key] - there[key]))
        print(f"{name}: {counts[1]} evaluations; ratio {counts[0] / counts[1]:.3f}")
        print(f"  largest difference of a constant: {abs(here[worst] - there[worst]):.3f} GPa ({worst})")
    print("constants (GPa): " + ", ".join(f"{name} {value:.2f}" for name, value in here.items()))
    print("residual forces: " + f"{np.mean([record['largest_force'] for record in ours]):.4f} eV/Angstrom on average")


if __name__ == "__main__":
    main()
