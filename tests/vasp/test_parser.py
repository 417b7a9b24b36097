"""What the parser makes of damaged files and of what the program, the shell and the scheduler say."""

from __future__ import annotations

import numpy as np
import pytest
from aiida.engine import ExitCode

from aiida_hardcoat.calculations.vasp import HardcoatVaspCalculation, find_fault
from aiida_hardcoat.parsers.vasp import complete_steps
from vasp.runs import CELL, STATIC, reference
from vasp.stand_in_vasp import EARLY, KBAR, LATE, PROGRAM, VERSION

pytestmark = pytest.mark.vasp

STATUS = {
    "nothing": 333,
    "segfault": 720,
    "scf": 701,
    "garbled": 721,
    "stars": 1005,
    "rotation": 717,
    "pricel": 714,
    "tetkpts": 716,
    "real_optlay": 718,
    "non_collinear": 703,
    "zbrent": 712,
    "brions": 713,
    "zpotrf": 715,
    "edddav": 711,
    "walltime": 120,
    "memory": 110,
    "node": 140,
    "killed": 700,
    "mixed cell": 700,
    "late segfault": 720,
    "brmix": 710,
    "few bands": 719,
    "harmless edddav": 702,
    "no contcar": 702,
    "rough forces": 702,
}


@pytest.mark.parametrize("fault", STATUS)
def test_exit_code_and_structure(fault, parsed):
    """Four steps do not suffice: a run without a fault has not converged. A structure is of a complete step alone."""
    run = parsed(fault, {**CELL, "nsw": 4})
    assert run.exit_code.status == STATUS[fault]
    assert run.exit_code.message.endswith(".")
    assert ("structure" in run.outputs) == (fault not in {"nothing", "segfault", "garbled", "stars", *EARLY})
    if fault in LATE:
        found, start = run.outputs["structure"].get_ase(), reference()
        assert np.allclose(found.cell, start.cell, atol=1e-8)
        assert np.allclose(found.positions, start.positions, atol=1e-8)
        assert np.allclose(run.outputs["misc"]["forces"], start.get_forces(), atol=1e-8)


@pytest.mark.parametrize("verdict", ["OUT_OF_WALLTIME", "OUT_OF_MEMORY", "NODE_FAILURE"])
def test_verdict_of_the_scheduler_stays(verdict, parsed):
    code = HardcoatVaspCalculation.exit_codes[f"ERROR_SCHEDULER_{verdict}"]
    run = parsed("killed", CELL, verdict=code)
    assert run.exit_code == ExitCode(code.status, code.message)
    assert "structure" in run.outputs


def test_fault_of_vasp_is_more_precise_than_the_verdict_of_the_scheduler(parsed):
    code = HardcoatVaspCalculation.exit_codes.ERROR_SCHEDULER_NODE_FAILURE
    assert parsed("zbrent", CELL, verdict=code).exit_code.status == 712


def test_numbers_and_their_program(parsed):
    run, atoms = parsed("-", STATIC), reference()
    misc = run.outputs["misc"]
    assert run.exit_code is None
    assert (misc["program"], misc["version"]) == (PROGRAM, VERSION)
    assert misc["total_energies"]["energy_extrapolated"] == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
    assert np.allclose(misc["stress"], -KBAR * atoms.get_stress(voigt=False), atol=1e-6)
    assert "structure" not in run.outputs


@pytest.mark.parametrize("ionic", [1, 3])
def test_every_cut_of_the_file_is_survived(ionic, parsed, tmp_path):
    """Wherever the disk filled up: the structure, if any, is one that was computed to the end."""
    incar = {**CELL, "nsw": ionic, "ediffg": -1e-9}
    assert "structure" in parsed("-", incar).outputs
    folder = tmp_path / "run"
    content = (folder / "vasprun.xml").read_bytes()
    (folder / "OUTCAR").write_text((folder / "OUTCAR").read_text().split(" General timing")[0])
    steps = content.decode().split("<calculation>")[1:]
    first, end = content.index(b"<calculation>"), content.index(b'<structure name="finalpos"')
    found = 0
    for length in np.linspace(first, end, 9).astype(int):
        (folder / "vasprun.xml").write_bytes(content[:length])
        run = parsed("-", incar, folder=folder)
        assert run.exit_code.status == 700
        if "structure" in run.outputs:
            rows = [" ".join(f"{value:18.10f}" for value in row) for row in run.outputs["structure"].cell]
            assert any(all(row in step for row in rows) for step in steps)
            found += 1
    assert found >= ionic - 1


def test_no_failed_calculation_is_reused():
    codes = HardcoatVaspCalculation.exit_codes.values()
    assert all(code.invalidates_cache for code in codes if code.status)
    assert len({code.status for code in codes}) == len(codes)


def test_complete_steps_of_a_file():
    step = b"<calculation>1</calculation>"
    assert complete_steps(b"<modeling>" + 2 * step + b"<calculation>2<v>") == (
        b"<modeling>" + 2 * step + b"\n</modeling>\n"
    )
    assert complete_steps(b"<modeling><calculation>2<v>") is None


def test_signs():
    """Every sign is found in the middle of an output; what is harmless in a converged run is not held against it."""
    for line, label in (
        ("WARNING in EDDRMM: call to ZHEGV failed, returncode =   6  3     10", "SUBSPACE"),
        ("VERY BAD NEWS! internal error in subroutine IBZKPT: Reciprocal lattice", "ROTATION_MATRIX"),
        ("Found some non-integer element in rotation matrix", "ROTATION_MATRIX"),
        ("ERROR: Routine TETIRR needs special values", "TETRAHEDRON"),
        ("REAL_OPT: internal ERROR:   -21 -6 0", "REAL_OPTLAY"),
        ("forrtl: severe (41): insufficient virtual memory", "SCHEDULER_OUT_OF_MEMORY"),
    ):
        fault = find_fault(f"DAV:   1  0.1E+03\n {line}\nDAV:   2\n", converged=False)
        assert fault is not None
        assert fault.label == label
    assert find_fault("DAV:   1\n reached required accuracy", converged=False) is None
