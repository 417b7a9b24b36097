"""What a job of the engine ``ase`` asks of a queue, and over how many jobs its strained cells go.

Everything follows from the number of atoms, the number of structures, the task and the model, so that equal inputs ask
for equal resources, and what the cache compares stays the same. On a computer without a scheduler nothing is asked for.

- **Cost** of a job: atoms x structures x evaluations of a structure x CPU seconds for each atom and evaluation.
- **Cores**: one below 32 atoms, where a second brings nothing, else four; but never more than the computer's default
  number of processes per machine, which stands for the cores of a node.
- **Memory**: half as much again as was measured for the largest of the shipped models.
- **Walltime**: three times the cost on one core and ten minutes, between one hour and a day. A job that it cuts goes
  on in the next.
- **Jobs**: strained cells that cost less than an hour together are one job, which loads the model once and hands on
  what one cell teaches the next. Beyond, there is a job for each hour, with whole directions of strain in it, since a
  cell learns from the smaller strains of its own direction. So there are never more jobs than directions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aiida_hardcoat.engines.ase_driver.driver import MOST_THREADS, SMALL_CELL
from aiida_hardcoat.engines.ase_driver.geometry import amplitude_along, running_order

if TYPE_CHECKING:
    from aiida.orm import Computer

SECONDS = {"7net-0": 0.03, "chgnet": 0.04, "7net-l3i5": 0.08}
"""CPU seconds for each atom and evaluation on one core: 96 atoms of Ti0.5Al0.5N on an idle machine. Another model
counts as the dearest of them."""

EVALUATIONS = {"static": 1, "relax_ions": 10, "relax": 60, "relax_cell": 60}
"""Of one structure; strained cells took 4 where the directions taught each other, and 7 alone."""

HOUR = 3600
LONGEST_WALLTIME = 24 * HOUR
SPREAD_SECONDS = HOUR
START_SECONDS = 600
SAFETY = 3

BASE_MEMORY, MEMORY_OF_ATOM = 700_000, 18_000
"""kB: Python with the model, and each atom of an evaluation; measured with 7net-l3i5 up to 216 atoms."""
MEMORY_RESERVE = 1.5


def cost(atoms: int, structures: int, task: str, model: str) -> float:
    """Estimated CPU seconds of all structures on one core."""
    return atoms * structures * EVALUATIONS[task] * SECONDS.get(model, max(SECONDS.values()))


def job_options(computer: Computer, atoms: int, structures: int, task: str, model: str) -> dict[str, Any]:
    """``metadata.options`` of a job on a computer with a scheduler."""
    cores = min(MOST_THREADS, computer.get_default_mpiprocs_per_machine() or 1) if atoms >= SMALL_CELL else 1
    walltime = START_SECONDS + SAFETY * cost(atoms, structures, task, model)
    return {
        "resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1, "num_cores_per_mpiproc": cores},
        "max_memory_kb": math.ceil(MEMORY_RESERVE * (BASE_MEMORY + MEMORY_OF_ATOM * atoms)),
        "max_wallclock_seconds": math.ceil(min(max(walltime, HOUR), LONGEST_WALLTIME)),
    }


def jobs_for(atoms: int, strains: Sequence[Sequence[float]], task: str, model: str) -> int:
    """Over how many jobs the strained cells of a crystal go."""
    wanted = math.ceil(cost(atoms, len(strains), task, model) / SPREAD_SECONDS)
    return max(1, min(wanted, len(directions_of(strains))))


def directions_of(strains: Sequence[Sequence[float]]) -> list[list[int]]:
    """The places of the strains of each direction, in the order in which one job would run them."""
    directions: dict[tuple[float, ...], list[int]] = {}
    for index in running_order(strains):
        directions.setdefault(amplitude_along(strains[index])[0], []).append(index)
    return list(directions.values())


def split(strains: Sequence[Sequence[float]], parts: int) -> list[list[int]]:
    """The places of the strains of each of at most ``parts`` jobs: whole directions, as evenly as these allow.

    The largest direction that is left goes to the job with the fewest strains so far.
    """
    jobs: list[list[int]] = [[] for _ in range(parts)]
    for direction in sorted(directions_of(strains), key=len, reverse=True):
        min(jobs, key=len).extend(direction)
    return [sorted(places) for places in jobs if places]
