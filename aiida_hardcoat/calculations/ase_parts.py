"""Strained cells that go over several jobs: the strains of each, and their results as one."""

from __future__ import annotations

from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_hardcoat.calculations.elastic import level_fingerprint
from aiida_hardcoat.calculations.records import make_trajectory, records_of, summarise
from aiida_hardcoat.engines.ase_resources import split
from aiida_hardcoat.errors import InputError


@calcfunction
def split_strains(strains: orm.List, parts: orm.Int) -> dict[str, orm.List]:
    """The strains of each job, ``part_0``, ``part_1``, ..., whole directions together."""
    rows = strains.get_list()
    places = split(rows, parts.value)
    return {f"part_{number}": orm.List([rows[place] for place in part]) for number, part in enumerate(places)}


@calcfunction
def merge_parts(strains: orm.List, parts: orm.Int, **results: Any) -> dict[str, orm.Data]:
    """One ``trajectory`` and ``summary`` of what the jobs of :func:`split_strains` finished.

    :param results: ``trajectory_N`` and ``summary_N`` of part N; those of parts that left none are missing.
    :return: step ids are places among all strains; ``trajectory`` is missing where no structure is finished.
    :raises InputError: where the parts have different levels of theory.
    """
    rows = strains.get_list()
    records: list[dict[str, Any]] = []
    symbols: list[str] = []
    level: dict[str, Any] | None = None
    for number, places in enumerate(split(rows, parts.value)):
        if f"summary_{number}" not in results:
            continue
        summary = results[f"summary_{number}"].get_dict()
        if level is not None and level_fingerprint(summary["level_of_theory"]) != level_fingerprint(level):
            raise InputError("the jobs that the strained cells went over have different levels of theory")
        level = level or summary["level_of_theory"]
        usable: dict[int, dict[str, Any]] = {}
        if f"trajectory_{number}" in results:
            trajectory = results[f"trajectory_{number}"]
            symbols = trajectory.symbols
            usable = {record["index"]: record for record in records_of(trajectory)}
        for index, status in summary["statuses"].items():
            # A structure without a usable geometry has a status all the same.
            record = usable.get(int(index), {"evaluations": 0, "seconds": 0.0})
            records.append({**record, "status": status, "index": places[int(index)]})
    if level is None:
        raise InputError("none of the jobs that the strained cells went over has left anything")
    records.sort(key=lambda record: record["index"])
    task = next(results[name] for name in results if name.startswith("summary_"))["task"]
    outputs: dict[str, orm.Data] = {"summary": orm.Dict(summarise(records, level=level, task=task, asked=len(rows)))}
    finished = [record for record in records if "energy" in record]
    if finished:
        trajectory = make_trajectory(symbols, finished)
        trajectory.set_array("strains", np.array(rows, dtype=float)[[record["index"] for record in finished]])
        outputs["trajectory"] = trajectory
    return outputs
