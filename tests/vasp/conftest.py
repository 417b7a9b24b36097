"""A code and potentials for tests of the engine `vasp` without VASP: the stand-in, and files that are no potentials."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vasp import stand_in_vasp
from vasp.stand_in_vasp import FAULTS_VARIABLE

STAND_IN = Path(__file__).parent / "stand_in_vasp.py"
FAMILY = "stand-in.54"
# Labels of the potentials: the choices that the engine recommends, and one that it does not.
LABELS = ("Al", "Ti_sv", "Ti", "Zr_sv", "Hf_pv", "Hf_sv", "N")

PLACEHOLDER = """  PAW_PBE {label} 01Jan2000
   {valence:.1f}
 This is no VASP potential: a placeholder for tests, written by hand.
 parameters from PSCTR are:
   VRHFIN ={element}: s p
   LEXCH  = PE
   EATOM  =   100.0000 eV,    7.0000 Ry
   TITEL  = PAW_PBE {label} 01Jan2000
   LULTRA =        F    use ultrasoft PP ?
   RPACOR =    1.000    partial core radius
   POMASS =   10.000; ZVAL   =    {valence:.3f}    mass and valenz
   ENMAX  =  {cutoff:.3f}; ENMIN  =  200.000 eV
END of PSCTR-controll parameters
 End of Dataset
"""
VALENCES = {"Al": 3, "Ti_sv": 12, "Ti": 4, "Zr_sv": 12, "Hf_pv": 10, "Hf_sv": 12, "N": 5}


def write_potentials(folder: Path, labels=LABELS) -> Path:
    """A folder LABEL/POTCAR as VASP's own distribution has it."""
    for label in labels:
        element = label.split("_")[0]
        (folder / label).mkdir(parents=True)
        text = PLACEHOLDER.format(
            label=label, element=element, valence=VALENCES[label], cutoff=400 if label == "N" else 250
        )
        (folder / label / "POTCAR").write_text(text)
    return folder


@pytest.fixture(scope="session")
def potential_family(aiida_profile, tmp_path_factory):
    """The label of a family that holds placeholders for all metals of the alloys and for nitrogen."""
    from aiida_vasp.data.potcar import PotcarData

    folder = write_potentials(tmp_path_factory.mktemp("potentials") / FAMILY)
    PotcarData.upload_potcar_family(str(folder), FAMILY, "placeholders of the tests", stop_if_existing=False)
    return FAMILY


@pytest.fixture(scope="session")
def vasp_executable(tmp_path_factory):
    path = tmp_path_factory.mktemp("bin") / "stand-in-vasp"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}"\n')
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def vasp_code(computer, vasp_executable, potential_family):
    """The stand-in as a code of the engine `vasp`; the family of potentials comes with it."""
    from aiida.orm import InstalledCode

    return InstalledCode(
        label="stand-in-vasp",
        computer=computer,
        filepath_executable=str(vasp_executable),
        default_calc_job_plugin="hardcoat.vasp",
        with_mpi=False,
    ).store()


@pytest.fixture
def faults(monkeypatch, tmp_path):
    """A function that sets the faults of the stand-in's next runs, one a run; ``-`` for a run without one."""
    path = tmp_path / "faults"

    def inject(*names: str) -> Path:
        path.write_text("\n".join(names))
        return path

    monkeypatch.setenv(FAULTS_VARIABLE, str(path))
    return inject


@dataclass
class Parsed:
    """What a parser made of the files of one run."""

    exit_code: Any
    outputs: dict


@pytest.fixture
def parsed(vasp_code, potential_family, faults, tmp_path):
    """A function that runs the stand-in once without AiiDA's engine and gives its files to a parser."""
    from aiida.common.links import LinkType
    from aiida.orm import CalcJobNode, Dict, FolderData

    from aiida_hardcoat.calculations.vasp import HardcoatVaspCalculation
    from aiida_hardcoat.parsers.vasp import HardcoatVaspParser
    from vasp.runs import base_inputs

    def parse(fault, incar, parser=HardcoatVaspParser, verdict=None, folder=None):
        """:param folder: files of an earlier run, which are parsed in place of a new one's."""
        inputs = base_inputs(vasp_code, potential_family, incar)
        if folder is None:
            folder = tmp_path / "run"
            shutil.rmtree(folder, ignore_errors=True)
            write_inputs(folder, inputs["structure"].get_ase(), incar)
            faults(fault)
            # A fork is spared the imports.
            job = multiprocessing.get_context("fork").Process(target=run_stand_in, args=(folder,))
            job.start()
            job.join()
        node = CalcJobNode(computer=vasp_code.computer, process_type=HardcoatVaspCalculation.build_process_type())
        node.set_options({"resources": {"num_machines": 1}, "scheduler_stderr": "_scheduler-stderr.txt"})
        nodes = {"structure": inputs["structure"], "parameters": Dict(incar)}
        for name, value in nodes.items():
            node.base.links.add_incoming(value.store(), LinkType.INPUT_CALC, name)
        node.store()
        retrieved = FolderData()
        for name in ("vasp_output", "vasprun.xml", "OUTCAR", "CONTCAR"):
            if (folder / name).exists() and (name != "vasp_output" or (folder / name).stat().st_size):
                retrieved.base.repository.put_object_from_file(str(folder / name), name)
        retrieved.base.links.add_incoming(node, LinkType.CREATE, "retrieved")
        retrieved.store()
        if verdict is not None:
            node.set_exit_status(verdict.status)
            node.set_exit_message(verdict.message)
        instance = parser(node)
        return Parsed(instance.parse(), dict(instance.outputs))

    return parse


def run_stand_in(folder: Path) -> None:
    os.chdir(folder)
    output = os.open("vasp_output", os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    try:
        stand_in_vasp.main()
    except SystemExit as stop:
        print(stop.code if isinstance(stop.code, str) else "", end="", flush=True)
    os._exit(0)


def write_inputs(folder: Path, atoms, incar: dict) -> None:
    """INCAR, POSCAR, KPOINTS and a POTCAR of titles alone."""
    folder.mkdir()
    (folder / "INCAR").write_text("".join(f"{name.upper()} = {value}\n" for name, value in incar.items()))
    cell = [" ".join(f"{value:.16f}" for value in row) for row in atoms.cell]
    positions = [" ".join(f"{value:.16f}" for value in row) for row in atoms.get_scaled_positions(wrap=False)]
    symbols = list(dict.fromkeys(atoms.symbols))
    counts = [str(list(atoms.symbols).count(symbol)) for symbol in symbols]
    lines = ["a crystal", "1.0", *cell, " ".join(symbols), " ".join(counts), "Direct", *positions, ""]
    (folder / "POSCAR").write_text("\n".join(lines))
    (folder / "KPOINTS").write_text("mesh\n0\nGamma\n2 2 2\n0 0 0\n")
    (folder / "POTCAR").write_text("".join(f" TITEL  = PAW_PBE {symbol} x\n" for symbol in symbols))
