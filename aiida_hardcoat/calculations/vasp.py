"""CalcJob of the engine ``vasp``, and the table of faults: what VASP says, what to try, what to do by hand."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import Any

from aiida import orm
from aiida.engine import CalcJobProcessSpec
from aiida.transports import Transport
from aiida_vasp.calcs.monitors import monitor_loop_time as plugin_monitor_loop_time
from aiida_vasp.calcs.vasp import VaspCalculation
from aiida_vasp.data.potcar import PotcarData

from aiida_hardcoat.calculations.resumable import ResumableCalcJob

KPOINTS = "kpoints"
"""Where a remedy names it beside INCAR tags: the mesh is centred on Gamma."""


@dataclass(frozen=True)
class Scaled:
    """A new value of an INCAR tag: a multiple of the present one.

    :param factor: what the present value is multiplied with.
    :param default: VASP's own value where INCAR has none; ``None`` where the output tells it (NBANDS).
    :param limit: the value that is not passed.
    """

    factor: float
    default: float | None
    limit: float | None = None

    def of(self, present: float) -> float:
        value = present * self.factor
        if self.limit is None:
            return value
        return min(value, self.limit) if self.factor > 1 else max(value, self.limit)


@dataclass(frozen=True)
class Kept:
    """A value for an INCAR tag that holds only where INCAR has none."""

    value: Any


@dataclass(frozen=True)
class OtherOptimiser:
    """IBRION 1 in place of 2 and the reverse."""


@dataclass(frozen=True)
class Fault:
    """One way in which a run of VASP goes wrong.

    :param label: of the exit code, without ``ERROR_``.
    :param status: of the exit code.
    :param advice: its message, with what is left to do by hand.
    :param sign: regular expression for VASP's output; empty where the parser judges by other means.
    :param remedies: INCAR changes (lower case), tried in this order, each on top of those before it. A remedy that
        changes nothing is left out, but for the empty one: the same once more.
    :param harmless_if_converged: the sign means nothing in a run that reached its end and converged.
    :param from_start: go back to the structure that the run began with, not to its last complete ionic step.
    :param with_waves: start from the wavefunctions that the run left.
    """

    label: str
    status: int
    advice: str
    sign: str = ""
    remedies: tuple[dict[str, Any], ...] = field(default=())
    harmless_if_converged: bool = False
    from_start: bool = False
    with_waves: bool = False


SOFT_MIXING = {"amix": 0.1, "bmix": 0.01, "amix_mag": 0.4, "bmix_mag": 0.01, "nelm": Scaled(2.0, 60, 300)}
SOFTER_MIXING = {"amix": 0.02, "bmix": 0.0001, "amix_mag": 0.1, "bmix_mag": 0.0001}

FAULTS = (
    Fault(
        "BRMIX",
        710,
        "BRMIX: the charge density lost electrons. Check MAGMOM, NELECT and the k-mesh; look at the structure.",
        r"BRMIX: very serious problems",
        ({"imix": 1}, {"isym": 0}, {KPOINTS: "gamma"}),
    ),
    Fault(
        "SUBSPACE",
        711,
        "The subspace diagonalisation failed (EDDDAV, EDDRMM, ZHEGV). Check the structure for atoms too close to each "
        "other, then the LAPACK/ScaLAPACK libraries of this VASP.",
        r"EDDDAV: Call to ZHEGV failed|EDDRMM: call to ZHEGV failed|EDDIAG: Call to routine ZHEEV failed"
        r"|subspace rotation PSSYEVX|subspace rotation PDSYEVX|Sub-Space-Matrix is not hermitian|not Hermitian in DAV",
        ({"algo": "All"}, {"ncore": 1, "lscalapack": False}, {"algo": "Damped", "time": 0.4}),
        harmless_if_converged=True,
    ),
    Fault(
        "ZBRENT",
        712,
        "ZBRENT: the line minimisation failed. Relax from another structure or with a looser force threshold.",
        r"ZBRENT: fatal (error|internal)",
        ({"ediff": Scaled(0.1, 1e-4, 1e-9)}, {"ibrion": OtherOptimiser()}, {"potim": Scaled(0.5, 0.5)}),
    ),
    Fault(
        "BRIONS",
        713,
        "BRIONS: the ionic step is too small to be judged. Set POTIM by hand, or IBRION 2 with a rattled structure.",
        r"BRIONS problems",
        ({"potim": Scaled(1.5, 0.5)}, {"ibrion": OtherOptimiser()}, {"potim": Scaled(1.5, 0.5)}),
    ),
    Fault(
        "PRICEL",
        714,
        "PRICEL: the symmetry search failed. Symmetrise the structure, or write its coordinates with more digits.",
        r"internal error in subroutine PRICEL",
        ({"symprec": 1e-8}, {"isym": 0}, {"isym": -1}),
    ),
    Fault(
        "ZPOTRF",
        715,
        "ZPOTRF: the overlap matrix is not positive. Atoms are most likely too close: check the structure and POTIM.",
        r"LAPACK: Routine ZPOTRF|Routine ZPOTRF ZTRTRI",
        ({"potim": Scaled(0.5, 0.5)}, {"isym": 0}, {"ncore": 1, "lscalapack": False}, {"algo": "All"}),
        from_start=True,
    ),
    Fault(
        "TETRAHEDRON",
        716,
        "The tetrahedron method has no suitable k-mesh. Take a mesh centred on Gamma with 4 irreducible points or "
        "more, or ISMEAR 0.",
        r"TETKPTS|TETIRR|[Tt]etrahedron method fails|error detecting k-mesh|unable to match k-point|WARNING: DENTET",
        ({KPOINTS: "gamma"}, {"ismear": 0, "sigma": Kept(0.05)}),
    ),
    Fault(
        "ROTATION_MATRIX",
        717,
        "The symmetry operations contradict each other (rotation matrix, point group). Symmetrise the structure, or "
        "set ISYM and SYMPREC by hand.",
        r"rotation matrix was not found|non-integer element in rotation matrix|internal error in subroutine (INVGRP"
        r"|SGRCON|IBZKPT)|IBZKPT: not all point group|Inconsistent Bravais lattice|group operation missing|RHOSYG"
        r"|POSMAP",
        ({"symprec": 1e-8}, {"symprec": 1e-4}, {"isym": 0}, {KPOINTS: "gamma"}, {"isym": -1}),
        harmless_if_converged=True,
    ),
    Fault(
        "REAL_OPTLAY",
        718,
        "REAL_OPTLAY: the real-space projectors failed also in reciprocal space. Check the cell and ENCUT.",
        r"REAL_OPTLAY: internal error|REAL_OPT: internal ERROR",
        ({"lreal": False},),
    ),
    Fault(
        "TOO_FEW_BANDS",
        719,
        "The highest band is occupied. Set NBANDS by hand, and see whether MAGMOM and SIGMA are reasonable.",
        r"TOO FEW BANDS",
        ({"nbands": Scaled(1.15, None)}, {"nbands": Scaled(1.3, None)}, {"nbands": Scaled(1.5, None)}),
    ),
    Fault(
        "CRASHED",
        720,
        "VASP crashed before it wrote results. Look at vasp_output; try more memory, fewer processes (NCORE, KPAR), "
        "`ulimit -s unlimited`, another build of VASP.",
        r"SIGSEGV|[Ss]egmentation fault|SIGBUS|SIGFPE|SIGABRT|SIGILL",
        ({}, {"ncore": 1, "kpar": 1}, {"lscalapack": False}),
        harmless_if_converged=True,
    ),
    Fault(
        "OUTPUT_GARBLED",
        721,
        "vasprun.xml is damaged in a run that otherwise ended well. Check the disk of the computer and the transfer.",
        remedies=({}, {}),
    ),
    Fault(
        "ELECTRONIC_NOT_CONVERGED",
        701,
        "The electronic steps do not converge with any algorithm tried. Check MAGMOM, the structure and SIGMA.",
        remedies=(
            {"algo": "Normal", "nelm": 150},
            SOFT_MIXING,
            SOFTER_MIXING,
            {"algo": "All"},
            {"algo": "Damped", "time": 0.4},
        ),
        with_waves=True,
    ),
    Fault(
        "SCHEDULER_OUT_OF_MEMORY",
        110,
        "The job ran out of memory. Ask for more nodes or memory, or use fewer processes a node.",
        r"oom-kill|[Oo]ut [Oo]f [Mm]emory|Cannot allocate memory|insufficient virtual memory",
        ({"kpar": 1}, {"ncore": Scaled(2.0, 1), "lscalapack": True}),
        harmless_if_converged=True,
    ),
)

CUT_SIGNS = (
    (r"DUE TO TIME LIMIT|PBS: job killed: walltime|TERM_RUNLIMIT", "ERROR_SCHEDULER_OUT_OF_WALLTIME"),
    (r"DUE TO NODE FAILURE|NODE_FAIL|DUE TO PREEMPTION", "ERROR_SCHEDULER_NODE_FAILURE"),
)
"""What schedulers write into the output of a job that they stopped, for those that AiiDA cannot ask."""

MESSAGES = (
    (
        333,
        "ERROR_VASP_DID_NOT_EXECUTE",
        "VASP wrote nothing at all. Check the path of the code, its modules (prepend_text) and its libraries.",
    ),
    (
        700,
        "ERROR_DID_NOT_FINISH",
        "The run was cut before its end, again and again without an ionic step done. Ask for more walltime, and look "
        "at vasp_output.",
    ),
    (
        702,
        "ERROR_IONIC_NOT_CONVERGED",
        "The ions are not at rest at the loosest force threshold allowed. Start from a better structure, allow more "
        "steps (NSW), or a looser threshold.",
    ),
    (
        703,
        "ERROR_VASP_CRITICAL_ERROR",
        "VASP reports an error that only other inputs can mend: {error_message} Look at vasp_output.",
    ),
    (
        1005,
        "ERROR_OVERFLOW_IN_XML",
        "A number in vasprun.xml is too large for its field (asterisks). Atoms are most likely too close: check the "
        "structure.",
    ),
)


class HardcoatVaspCalculation(ResumableCalcJob, VaspCalculation):
    """The plugin's VASP calculation with exit codes that tell faults apart and say what to do.

    Its own process type lets AiiDA reuse finished calculations of this engine alone; none that failed is reused.
    """

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        super().define(spec)
        options: Any = spec.inputs["metadata"]["options"]  # type: ignore[index]
        options["parser_name"].default = "hardcoat.vasp"
        for fault in FAULTS:
            label = f"ERROR_{fault.label}"
            spec.exit_code(fault.status, label, message=fault.advice)
        for status, label, message in MESSAGES:
            spec.exit_code(status, label, message=message)
        for label, code in list(spec.exit_codes.items()):
            spec.exit_codes[label] = code._replace(invalidates_cache=code.status != 0)


def find_fault(output: str, converged: bool) -> Fault | None:
    """The first fault of the table whose sign the output shows.

    :param output: what VASP, the shell and the scheduler wrote.
    :param converged: whether the run reached its end and its electrons converged.
    """
    for fault in FAULTS:
        if fault.sign and not (converged and fault.harmless_if_converged) and re.search(fault.sign, output):
            return fault
    return None


class RightName:
    """A transport for the plugin's monitor, which looks for the file OUTCAR under a misspelt name."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)

    def exec_command_wait(self, command: str, **kwargs: Any) -> Any:
        return self.transport.exec_command_wait(command.replace("OURCAR", "OUTCAR"), **kwargs)


@functools.wraps(plugin_monitor_loop_time)
def monitor_loop_time(node: orm.CalcJobNode, transport: Transport, **kwargs: Any) -> str | None:
    # The plugin's monitor of slow and stalled runs, reading the file that it means to read.
    message: str | None = plugin_monitor_loop_time(node, RightName(transport), **kwargs)
    return message


def functional_of(potential: PotcarData) -> str:
    """The exchange-correlation functional a potential was made for, `LEXCH` of its POTCAR, as ``PE`` for PBE.

    The plugin's own property looks for an attribute that is stored under a misspelt name.
    """
    match = re.search(r"LEXCH\s*=\s*(\S+)", potential.get_content().decode("utf8", "replace"))
    return match.group(1).upper() if match else ""
