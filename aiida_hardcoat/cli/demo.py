"""``hardcoat demo``: the main job in small cells."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import click

from aiida_hardcoat.cli.errors import user_errors

ALLOYS = ("TiN", "Ti0.5Al0.5N", "AlN")
STRUCTURE_TYPE = "B1"
PROTOCOL = "fast"

COLUMNS = ("c11", "c12", "c44", "bulk_modulus", "shear_modulus", "youngs_modulus", "poisson_ratio")


@click.command("demo")
@click.option("--engine", default="ase:7net-l3i5", show_default=True, metavar="ENGINE[:MODEL]")
@user_errors()
def cmd_demo(engine: str) -> None:
    """TiN, Ti0.5Al0.5N and AlN in rocksalt, in small cells with the fast protocol."""
    from aiida_hardcoat.cli import run
    from aiida_hardcoat.cli.profile import require_disk_space, use_profile

    use_profile()
    code = run.engine_code(engine)
    require_disk_space(*run.work_folders(code))
    started = time.perf_counter()
    entries = []
    for number, composition in enumerate(ALLOYS, start=1):
        head = f"[{number}/{len(ALLOYS)}] {composition} in {STRUCTURE_TYPE}, protocol {PROTOCOL}, {engine}"
        click.echo(head, err=True)
        choices = {
            "structure_type": STRUCTURE_TYPE,
            "protocol": PROTOCOL,
            "engine": engine,
            "ions": "relaxed",
        }
        entry = run.run_here(run.alloy_builder(code, composition, choices, {}), show=False)
        if entry is None:
            raise SystemExit(1)
        entries.append(entry)
    click.echo(table(entries))
    click.echo(closing(entries, time.perf_counter() - started))


def table(entries: list[Any]) -> str:
    """The entries beside the study's values."""
    from aiida_hardcoat.catalogue.mixing import mixing_energies
    from aiida_hardcoat.catalogue.references import STUDY, Material

    mixing = mixing_energies(entries)
    titles = "".join(f"{title:>8s}" for title in ("C11", "C12", "C44", "B", "G", "E", "nu"))
    lines = ["", f"{'':14s}{titles}{'E_mix':>9s}  level of theory"]
    for entry in entries:
        values = "".join(f"{getattr(entry, name):8.1f}" for name in COLUMNS[:-1])
        level = f"{entry.level}, {entry.number_of_atoms} atoms"
        energy = f"{1000 * mixing[entry.pk]:9.1f}"
        lines.append(f"{entry.formula:14s}{values}{entry.poisson_ratio:8.3f}{energy}  {level}")
        published = STUDY.rows[Material(entry.formula, STRUCTURE_TYPE)]
        study = "".join(f"{published[name]:8.1f}" for name in COLUMNS[:-1])
        lines.append(f"{'  the study':14s}{study}{published['poisson_ratio']:8.3f}{'':9s}  VASP PBE, 96 atoms")
    lines.append(f"GPa; E_mix in meV per formula unit. The study: doi {STUDY.doi}, Table 2.")
    lines.append("Small cells, one strain amplitude and a potential too soft in shear: a first look, no result.")
    return "\n".join(lines)


def closing(entries: list[Any], seconds: float) -> str:
    """How to go on."""
    alloy = entries[1]
    first = []
    if shutil.which("hardcoat") is None:
        first.append(f"  source {Path(sys.prefix) / 'bin' / 'activate'}")
    if "AIIDA_PATH" in os.environ:
        first.append(f"  export AIIDA_PATH={os.environ['AIIDA_PATH']}")
    lines = [
        "",
        f"{len(entries)} entries in {seconds:.0f} s. To go on" + (", first:" if first else ":"),
        *first,
        "  hardcoat list                                  all entries",
        f"  hardcoat show {alloy.pk:<32d} the card of {alloy.formula}",
        f"  verdi node graph generate {alloy.pk:<20d} its provenance, as a PDF (needs Graphviz)",
        "  hardcoat run Ti0.5Al0.5N -s B1                 the same alloy in 96 atoms, as the study models it",
    ]
    return "\n".join(lines)
