"""Evaluate many strained copies of one crystal with an ASE calculator, loading the model once.

This package runs by itself on the machine that computes: it is copied into the working directory, started with
``python -m ase_driver``, and needs Python, numpy, ASE and the calculator's own package, but neither AiiDA nor the rest
of aiida_hardcoat.

It reads ``input.json`` and what an earlier job that was cut left behind (``previous.jsonl``, ``previous.npz``), writes
one JSON record for each structure to ``records.jsonl`` as soon as that structure is finished and a line on how the job
ended as the last, keeps the state of the structure in progress in ``state.npz``, and reports progress on standard
output. Energies in eV, lengths in Angstrom, forces in eV/Angstrom, stresses in GPa (tension positive).
"""

from .calculators import DriverError, count_evaluations, load_calculator, state_sha256
from .driver import (
    COMPLETION_MARK,
    FAILURE_MARK,
    STOP_MARK,
    choose_threads,
    evaluate,
    failure_kind,
    main,
    run,
)
from .files import load_records
from .geometry import (
    GPA,
    amplitude_along,
    is_exploded,
    predicted_displacement,
    remove_rotation,
    running_order,
    strain_matrix,
    strained_copy,
    symmetric_stress,
)

__all__ = (
    "COMPLETION_MARK",
    "FAILURE_MARK",
    "GPA",
    "STOP_MARK",
    "DriverError",
    "amplitude_along",
    "choose_threads",
    "count_evaluations",
    "evaluate",
    "failure_kind",
    "is_exploded",
    "load_calculator",
    "load_records",
    "main",
    "predicted_displacement",
    "remove_rotation",
    "run",
    "running_order",
    "state_sha256",
    "strain_matrix",
    "strained_copy",
    "symmetric_stress",
)
