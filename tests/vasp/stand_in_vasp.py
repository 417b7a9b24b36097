"""A program that reads and writes VASP's files but is not VASP: the tests' pair potential behind them.

It reads INCAR, POSCAR, KPOINTS and POTCAR in the working directory and writes vasprun.xml, OUTCAR, CONTCAR, WAVECAR,
CHGCAR and a standard output. Every one of them says that a stand-in wrote it. Energies, forces and stresses are those
of `calculators.PairPotential`; ENCUT, k-points and smearing change nothing.

Faults: the environment variable ``STAND_IN_FAULTS`` names a text file with one fault a line, see `FAULTS`. Each run
takes away the first line and shows that fault; ``-`` is a run without one, ``always NAME`` is never taken away.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.filters import UnitCellFilter

sys.path.insert(0, str(Path(__file__).parents[1]))

from calculators import PairPotential

PROGRAM = "stand-in for VASP files; not VASP"
VERSION = "0.0.1"
KBAR = 1602.1766208  # kbar in one eV/Angstrom^3
BANDS = 16
FAULTS_VARIABLE = "STAND_IN_FAULTS"

# What is said before the first electronic step, after which nothing more comes.
EARLY = {
    "rotation": " VERY BAD NEWS! internal error in subroutine INVGRP: inverse of rotation matrix was not found"
    " (increase SYMPREC)       4",
    "pricel": " internal error in subroutine PRICEL (probably precision problem, try to change SYMPREC in INCAR ?):",
    "tetkpts": " ERROR: internal error in subroutine TETKPTS, tetrahedron method fails (number of k-points < 4)",
    "real_optlay": " REAL_OPTLAY: internal error (1)           2",
    "non_collinear": " ERROR: non collinear calculations require that VASP is compiled without the flag -DNGXhalf",
}
# What is said during the second step; the files stay as they were after the first.
LATE = {
    "zbrent": " ZBRENT: fatal error in bracketing\n     please rerun with smaller EDIFF, or copy CONTCAR",
    "brions": " BRIONS problems: POTIM should be increased",
    "zpotrf": " LAPACK: Routine ZPOTRF failed!           4           0           1",
    "edddav": " Error EDDDAV: Call to ZHEGV failed. Returncode =   7 1 16",
    "walltime": "slurmstepd: error: *** JOB 1 ON node1 CANCELLED AT 2020-01-01T00:00:00 DUE TO TIME LIMIT ***",
    "memory": "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=1.batch. Some of the processes were killed.",
    "node": "slurmstepd: error: *** JOB 1 ON node1 CANCELLED AT 2020-01-01T00:00:00 DUE TO NODE FAILURE ***",
    "killed": "",  # vasprun.xml ends inside a force
    "mixed cell": "",  # vasprun.xml ends inside the cell of a step
    "late segfault": "forrtl: severe (174): SIGSEGV, segmentation fault occurred",
}
# What is said on the way in a run that reaches its end.
SAID = {
    "brmix": " BRMIX: very serious problems\n the old and the new charge density differ",
    "few bands": " |     TOO FEW BANDS!! YOUR HIGHEST BAND IS OCCUPIED AT SOME K-POINTS        |",
    "harmless edddav": " Error EDDDAV: Call to ZHEGV failed. Returncode =   7 1 16",
}
FAULTS = {
    **EARLY,
    **LATE,
    **SAID,
    "nothing": "no file and no word, as where the program cannot be started",
    "segfault": "signal 11 before vasprun.xml is made",
    "scf": "all electronic steps used up",
    "garbled": "vasprun.xml damaged in the middle, the rest complete",
    "stars": "a force printed as asterisks, the rest complete",
    "no contcar": "a complete run without CONTCAR",
    "rough forces": "a force of 0.02 eV/Angstrom that no displacement calms",
}


def next_fault() -> str | None:
    path = os.environ.get(FAULTS_VARIABLE)
    if not path or not Path(path).exists():
        return None
    with open(path, "r+", encoding="utf8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        lines = handle.read().splitlines()
        if not lines:
            return None
        name = lines[0].removeprefix("always ").strip()
        if not lines[0].startswith("always "):
            handle.seek(0)
            handle.truncate()
            handle.write("\n".join(lines[1:]))
    if name not in ("", "-", *FAULTS):
        raise ValueError(f"no fault is called {name!r}")
    return name if name in FAULTS else None


def read_incar() -> dict[str, str]:
    pairs = re.findall(r"^\s*(\w+)\s*=\s*(.+?)\s*$", Path("INCAR").read_text(), flags=re.MULTILINE)
    return {name.lower(): value for name, value in pairs}


def read_poscar() -> Atoms:
    lines = Path("POSCAR").read_text().splitlines()
    scale = float(lines[1])
    cell = scale * np.array([line.split() for line in lines[2:5]], dtype=float)
    symbols = [
        symbol for symbol, number in zip(lines[5].split(), lines[6].split(), strict=True) for _ in range(int(number))
    ]
    start = 8 if lines[7].strip()[0] in "sS" else 7
    positions = np.array([line.split()[:3] for line in lines[start + 1 : start + 1 + len(symbols)]], dtype=float)
    atoms = Atoms(symbols, cell=cell, pbc=True)
    if lines[start].strip()[0] in "cCkK":
        atoms.positions = scale * positions
    else:
        atoms.set_scaled_positions(positions)
    return atoms


def read_mesh() -> list[int]:
    lines = Path("KPOINTS").read_text().splitlines()
    return [int(word) for word in lines[3].split()[:3]] if lines[1].split()[0] == "0" else [1, 1, 1]


def check_potcar(atoms: Atoms) -> None:
    symbols = [title.split()[1].split("_")[0] for title in re.findall(r"TITEL\s*=(.*)", Path("POTCAR").read_text())]
    blocks = [s for i, s in enumerate(atoms.symbols) if i == 0 or s != atoms.symbols[i - 1]]
    if symbols != blocks:
        sys.exit(f" ERROR: POTCAR holds {symbols}, POSCAR {blocks}")


class CellOnly(UnitCellFilter):
    """The cell moves, the fractional coordinates do not (ISIF 6)."""

    def get_forces(self):
        forces = super().get_forces()
        forces[: len(self.atoms)] = 0
        return forces


class RoughPotential(PairPotential):
    """The pair potential, the force on the first atom always too large, at the expense of the last one."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        forces = self.results["forces"]
        excess = 0.02 * forces[0] / max(np.linalg.norm(forces[0]), 1e-12)
        forces[0] += excess
        forces[-1] -= excess


def snapshot(atoms: Atoms) -> dict:
    return {
        "energy": atoms.get_potential_energy(),
        "forces": atoms.get_forces(),
        "stress": -KBAR * atoms.get_stress(voigt=False),
        "cell": atoms.cell.array.copy(),
        "positions": atoms.get_scaled_positions(wrap=False),
    }


def ionic_steps(atoms: Atoms, incar: dict[str, str]) -> list[dict]:
    """One record of every geometry that was computed; the last one is converged if there are fewer than NSW."""
    number = int(incar.get("nsw", 0))
    if int(incar.get("ibrion", -1)) not in (1, 2) or number < 1:
        return [snapshot(atoms)]
    threshold = float(incar.get("ediffg", 1e-3))
    target = {"2": lambda a: a, "3": UnitCellFilter, "6": CellOnly}[incar.get("isif", "2")](atoms)
    steps: list[dict] = []
    for largest_force in quasi_newton(target):
        steps.append(snapshot(atoms))
        change = steps[-1]["energy"] - steps[-2]["energy"] if len(steps) > 1 else np.inf
        if largest_force < -threshold or abs(change) < threshold or len(steps) == number:
            return steps
    raise AssertionError("the walk has no end of its own")


def quasi_newton(target, curvature: float = 70.0, longest: float = 0.1):
    """BFGS walk downhill without end; yields the largest force at each point. (ase.optimize takes long to import.)"""
    hessian = curvature * np.eye(3 * len(target))
    forces = target.get_forces()
    while True:
        yield np.linalg.norm(forces, axis=1).max()
        step = np.linalg.solve(hessian, forces.ravel())
        step *= min(1.0, longest / np.linalg.norm(step.reshape(-1, 3), axis=1).max())
        target.set_positions(target.get_positions() + step.reshape(-1, 3))
        before, forces = forces, target.get_forces()
        change, product = (before - forces).ravel(), hessian @ step
        if step @ change > 1e-12:
            hessian += np.outer(change, change) / (step @ change) - np.outer(product, product) / (step @ product)


def rows(values: np.ndarray) -> str:
    return "\n".join("   <v>" + " ".join(f"{value:18.10f}" for value in row) + " </v>" for row in values)


def structure_xml(step: dict, name: str = "") -> str:
    return (
        f' <structure{name}>\n  <crystal>\n   <varray name="basis">\n{rows(step["cell"])}\n   </varray>\n'
        f'   <i name="volume"> {abs(np.linalg.det(step["cell"])):.8f} </i>\n  </crystal>\n'
        f'  <varray name="positions">\n{rows(step["positions"])}\n  </varray>\n </structure>\n'
    )


def energy_xml(energy: float) -> str:
    names = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
    return "<energy>\n" + "".join(f'   <i name="{name}"> {energy:.8f} </i>\n' for name in names) + "  </energy>\n"


def calculation_xml(step: dict) -> str:
    return (
        f" <calculation>\n  <scstep>\n  {energy_xml(step['energy'])}  </scstep>\n{structure_xml(step)}"
        f'  <varray name="forces">\n{rows(step["forces"])}\n  </varray>\n'
        f'  <varray name="stress">\n{rows(step["stress"])}\n  </varray>\n'
        f"  {energy_xml(step['energy'])} </calculation>\n"
    )


def head_xml(atoms: Atoms, incar: dict[str, str], mesh: list[int]) -> str:
    points = np.stack(np.meshgrid(*(np.arange(n) / n for n in mesh), indexing="ij"), axis=-1).reshape(-1, 3)
    blocks: list[str] = []
    for symbol in atoms.symbols:
        if not blocks or blocks[-1] != symbol:
            blocks.append(symbol)
    kinds = {symbol: number + 1 for number, symbol in enumerate(dict.fromkeys(blocks))}
    types = "".join(
        f"<rc><c>{list(atoms.symbols).count(s):4d}</c><c>{s:2s}</c><c>1.0</c><c>4.0</c><c>stand-in {s}</c></rc>\n"
        for s in kinds
    )
    names = "".join(f'  <i type="string" name="{name.upper()}">{value}</i>\n' for name, value in incar.items())
    integers = {"NSW": incar.get("nsw", 0), "IBRION": incar.get("ibrion", -1), "ISIF": incar.get("isif", 2)}
    integers |= {"NELM": incar.get("nelm", 60), "NBANDS": incar.get("nbands", BANDS), "ISPIN": 1}
    parameters = "".join(f'  <i type="int" name="{name}"> {value}</i>\n' for name, value in integers.items())
    start = {"cell": atoms.cell.array, "positions": atoms.get_scaled_positions(wrap=False)}
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n <generator>\n'
        f'  <i name="program" type="string">{PROGRAM} </i>\n  <i name="version" type="string">{VERSION}  </i>\n'
        f" </generator>\n <incar>\n{names} </incar>\n"
        f' <kpoints>\n  <varray name="kpointlist">\n{rows(points)}\n  </varray>\n'
        f'  <varray name="weights">\n{rows(np.full((len(points), 1), 1 / len(points)))}\n  </varray>\n </kpoints>\n'
        f' <parameters>\n  <separator name="general">\n{parameters}  </separator>\n </parameters>\n'
        f" <atominfo>\n  <atoms> {len(atoms)} </atoms>\n  <types> {len(kinds)} </types>\n"
        '  <array name="atoms">\n   <field type="string">element</field>\n   <field type="int">atomtype</field>\n'
        "   <set>\n"
        + "".join(f"    <rc><c>{s:2s}</c><c>{kinds[s]:4d}</c></rc>\n" for s in atoms.symbols)
        + f'   </set>\n  </array>\n  <array name="atomtypes">\n   <set>\n{types}   </set>\n  </array>\n </atominfo>\n'
        + structure_xml(start, ' name="initialpos"')
    )


def tail_xml(step: dict) -> str:
    return structure_xml(step, ' name="finalpos"') + "</modeling>\n"


def outcar(incar: dict[str, str], steps: int, electronic: int, finished: bool) -> str:
    nelm = int(incar.get("nelm", 60))
    text = (
        f" {PROGRAM} {VERSION}\n"
        f"   NELM   =   {nelm:4d};   NELMIN=  2; NELMDL= -5     # of ELM steps\n"
        f"   NSW    =   {int(incar.get('nsw', 0)):4d}    number of steps for IOM\n"
        f"   IBRION =   {int(incar.get('ibrion', -1)):4d}    ionic relax: 0-MD 1-quasi-New 2-CG\n"
        f"   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1   number of bands    NBANDS="
        f"{int(incar.get('nbands', BANDS)):6d}\n"
    )
    text += "".join(
        f"----------------------------- Iteration {ionic:6d}({n:4d})  -----------------------------\n"
        for ionic in range(1, steps + 1)
        for n in range(1, electronic + 1)
    )
    if finished:
        text += (
            "\n General timing and accounting informations for this job:\n\n"
            "                  Total CPU time used (sec):        1.000\n"
            "                         Elapsed time (sec):        1.000\n"
        )
    return text


def contcar(atoms: Atoms, step: dict) -> str:
    head, counts = Path("POSCAR").read_text().splitlines()[:1], Path("POSCAR").read_text().splitlines()[5:7]
    body = [" ".join(f"{value:20.14f}" for value in row) for row in (*step["cell"], *step["positions"])]
    return "\n".join([*head, "1.0", *body[:3], *counts, "Direct", *body[3:], ""])


def main() -> None:
    fault = next_fault()
    if fault == "nothing":
        sys.exit(127)
    print(f" {PROGRAM} (its output file: vasprun.xml)", flush=True)
    atoms, incar, mesh = read_poscar(), read_incar(), read_mesh()
    if fault == "segfault":
        print("forrtl: severe (174): SIGSEGV, segmentation fault occurred", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    check_potcar(atoms)
    head = head_xml(atoms, incar, mesh)
    if fault in EARLY:
        Path("vasprun.xml").write_text(head)
        Path("OUTCAR").write_text(outcar(incar, 0, 0, False))
        Path("CONTCAR").write_text("")
        sys.exit(EARLY[fault])

    reads_waves = Path("WAVECAR").exists() and Path("WAVECAR").stat().st_size > 0 and incar.get("istart", "1") != "0"
    print(" found WAVECAR, reading the header" if reads_waves else " WAVECAR not read", flush=True)
    atoms.calc = RoughPotential() if fault == "rough forces" else PairPotential()
    steps = ionic_steps(atoms, incar)
    electronic = int(incar.get("nelm", 60)) if fault == "scf" else 4 if reads_waves else 8
    Path("WAVECAR").write_text(f"{PROGRAM}\n")
    Path("CHGCAR").write_text(f"{PROGRAM}\n")

    if fault in LATE:
        # The first step is whole, if there is a second one; that breaks off.
        whole, broken = steps[: min(len(steps) - 1, 1)], steps[min(len(steps) - 1, 1)]
        rest = calculation_xml(broken)
        cut = rest.index("</v>") + 30 if fault == "mixed cell" else rest.index('name="forces"') + 40
        Path("vasprun.xml").write_text(head + "".join(map(calculation_xml, whole)) + rest[:cut])
        Path("OUTCAR").write_text(outcar(incar, len(whole) + 1, 5, False))
        Path("CONTCAR").write_text(contcar(atoms, broken)[:60])
        print(LATE[fault], flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    text = head + "".join(map(calculation_xml, steps)) + tail_xml(steps[-1])
    if fault == "garbled":
        middle = text.rindex('name="forces"')
        text = text[:middle] + "\x00<v>\x01" + text[middle + 40 :]
    if fault == "stars":
        middle = text.rindex("<v>", 0, text.rindex('name="stress"'))
        text = text[: middle + 3] + " ************* ************* *************" + text[text.index("</v>", middle) :]
    Path("vasprun.xml").write_text(text)
    Path("OUTCAR").write_text(outcar(incar, len(steps), electronic, True))
    if fault != "no contcar":
        Path("CONTCAR").write_text(contcar(atoms, steps[-1]))
    print(SAID.get(fault or "", ""), "\n writing wavefunctions", flush=True)


if __name__ == "__main__":
    main()
