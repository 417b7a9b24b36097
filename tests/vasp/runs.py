"""What the tests of the engine `vasp` share: small crystals, inputs of the workchains, launching."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk
from calculators import PairPotential

MAPPING = {"Al": "Al", "Ti": "Ti_sv", "Zr": "Zr_sv", "Hf": "Hf_sv", "N": "N"}
OPTIONS = {"resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1}, "withmpi": False}
STATIC = {"encut": 400, "ismear": 0, "sigma": 0.05, "ediff": 1e-6}
CELL = {**STATIC, "ibrion": 2, "nsw": 30, "isif": 3, "ediffg": -0.01}
CELL = {**STATIC, "ibrion": 2, "nsw": 30, "isif": 3, "ediffg": -0.01}
IONS = {**STATIC, "ibrion": 2, "nsw": 30, "isif": 2, "ediffg": -0.01}


def crystal() -> Atoms:
    """The primitive cell of TiN in B1, too large and with nitrogen off its place."""
    atoms = bulk("TiN", "rocksalt", a=4.3)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.01 * np.arange(9).reshape(3, 3) / 9), scale_atoms=True)
    atoms.positions[1] += [0.1, -0.05, 0.03]
    return atoms


def reference() -> Atoms:
    """The same with the potential that the stand-in computes with."""
    atoms = crystal()
    atoms.calc = PairPotential()
    return atoms


def base_inputs(code, family, incar, atoms=None, **inputs):
    """Inputs of a base workchain, the plugin's or ours."""
    from aiida import orm

    kpoints = orm.KpointsData()
    kpoints.set_kpoints_mesh([2, 2, 2], offset=[0.5, 0.5, 0.5])
    return {
        "code": code,
        "structure": orm.StructureData(ase=atoms or crystal()),
        "kpoints": kpoints,
        "potential_family": family,
        "potential_mapping": MAPPING,
        "parameters": {"incar": incar},
        "calc": {"metadata": {"options": OPTIONS}},
        **inputs,
    }


def relax_inputs(code, family, atoms=None, base=None, **settings):
    """Inputs of a relax workchain, the plugin's or ours; `base` goes to its base workchain."""
    inputs = base_inputs(code, family, STATIC, atoms, **(base or {}))
    settings = {"steps": 30, "force_cutoff": 0.01, "convergence_volume": 0.01, **settings}
    return {"structure": inputs.pop("structure"), "vasp": inputs, "relax_settings": settings}


def run_base(code, family, incar, process=None, **inputs):
    from aiida.engine import run_get_node

    from aiida_hardcoat.workflows.vasp_base import VaspBaseWorkChain

    return run_get_node(process or VaspBaseWorkChain, **base_inputs(code, family, incar, **inputs)).node


def jobs_of(node):
    """The VASP calculations below a workchain, oldest first."""
    from aiida.orm import CalcJobNode

    return sorted((job for job in node.called_descendants if isinstance(job, CalcJobNode)), key=lambda job: job.pk)


def says(job, text: str) -> bool:
    """Whether the program of a job wrote a text to its standard output."""
    return text in job.outputs.retrieved.base.repository.get_object_content("vasp_output")
