"""What AiiDA adds to a whole `hardcoat run`, over the same computations without it.

The run is timed with everything that it starts: AiiDA, the search for the quasirandom structure, the jobs. A fresh
AiiDA profile in a temporary folder is used.

- Engine `ase`: CPU time over that of a bare ASE script, which loads the model once and evaluates energy, forces and
  stress of the same cell as often as the run did. About 10 minutes with 7net-0 and 96 atoms on two cores.
- Engine `quantumespresso`: wall time over that of a bare shell, which starts `pw.x` on the same input files: the
  relaxations one after the other, the strained cells side by side as the run did. Minutes for AlN with 2 atoms.

Linux only.

    python benchmarks/overhead.py [--atoms 96] [--engine ase:7net-0] [--composition Ti0.5Al0.5N] [--structure-type B1]
    python benchmarks/overhead.py --engine quantumespresso --composition AlN --atoms 2 [--protocol balanced]
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36

BARE = """
import json, sys
from ase import Atoms
from aiida_hardcoat.engines.ase_driver import load_calculator
job = json.loads(sys.stdin.read())
atoms = Atoms(job["symbols"], cell=job["cell"], positions=job["positions"], pbc=True)
atoms.calc, _ = load_calculator(job["model"], {})
for number in range(job["evaluations"]):
    atoms.positions[0, 0] += 1e-4
    atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
"""


DUMP_JOBS = """
import json, sys
from pathlib import Path
from aiida import load_profile, orm
load_profile()
from aiida_hardcoat.workflows.launch import purpose
query = orm.QueryBuilder().append(orm.CalcJobNode, tag="job", project="*").order_by({"job": "ctime"})
jobs = []
for number, job in enumerate(query.all(flat=True)):
    folder = Path(sys.argv[1]) / str(number)
    job.base.repository.copy_tree(folder)
    for name in ("pseudo", "out"):
        (folder / name).mkdir(exist_ok=True)
    for pseudo in job.inputs.pseudos.values():
        (folder / "pseudo" / pseudo.filename).write_text(pseudo.get_content())
    relaxation = purpose(job).startswith("relaxation")
    jobs.append({"folder": str(folder), "relaxation": relaxation, "code": str(job.inputs.code.filepath_executable)})
print(json.dumps(jobs))
"""


def bare_pw(job: dict) -> None:
    """One job as a person would start it."""
    with open(Path(job["folder"]) / "aiida.in") as given, open(Path(job["folder"]) / "bare.out", "w") as output:
        subprocess.run(
            [job["code"]], stdin=given, stdout=output, stderr=subprocess.DEVNULL, cwd=job["folder"], check=True
        )


def bare_pw_seconds(environment: dict[str, str], folder: str) -> tuple[float, int]:
    """Wall time of the jobs of the profile without AiiDA, and their number."""
    jobs = json.loads(timed([sys.executable, "-c", DUMP_JOBS, folder], environment)[0])
    os.environ["OMP_NUM_THREADS"] = "1"
    started = time.perf_counter()
    for job in jobs:
        if job["relaxation"]:
            bare_pw(job)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(bare_pw, [job for job in jobs if not job["relaxation"]]))
    return time.perf_counter() - started, len(jobs)


def cpu_seconds() -> float:
    """CPU time of all children, and of grandchildren that outlived their parents, reaped so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def timed(command: list[str], environment: dict[str, str], text: str = "") -> tuple[str, float, float]:
    """Output, CPU seconds and wall seconds of a command with all its descendants."""
    before, started = cpu_seconds(), time.perf_counter()
    done = subprocess.run(command, env=environment, input=text, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    while True:  # jobs that the scheduler detached have become children of this process
        try:
            os.wait()
        except ChildProcessError:
            break
    return done.stdout, cpu_seconds() - before, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, default=96)
    parser.add_argument("--engine", default="ase:7net-0")
    parser.add_argument("--composition", default="Ti0.5Al0.5N")
    parser.add_argument("--structure-type", default="B1")
    parser.add_argument("--protocol", default="balanced")
    parser.add_argument("--threads", type=int, default=1, help="of the jobs and of the bare script")
    arguments = parser.parse_args()

    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "AIIDA_PATH": folder, "OMP_NUM_THREADS": str(arguments.threads)}
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
        hardcoat = str(Path(sys.executable).with_name("hardcoat"))
        engine = arguments.engine.partition(":")[0]
        timed([hardcoat, "setup", "--engine", engine], environment)
        options = ["--atoms", str(arguments.atoms), "--engine", arguments.engine, "--threads", str(arguments.threads)]
        options += ["--protocol", arguments.protocol]
        command = [hardcoat, "run", arguments.composition, "-s", arguments.structure_type, *options]
        _, run_cpu, run_wall = timed(command, environment)
        if engine == "quantumespresso":
            bare_wall, jobs = bare_pw_seconds(environment, str(Path(folder) / "bare"))
            print(f"{arguments.composition} {arguments.structure_type}, {arguments.atoms} atoms, {arguments.engine}")
            print(f"hardcoat run    {run_wall:8.1f} s wall  ({jobs} jobs)")
            print(f"bare pw.x       {bare_wall:8.1f} s wall  (the same input files)")
            print(f"ratio           {run_wall / bare_wall:8.3f}")
            return
        [row] = json.loads(timed([hardcoat, "list", "--format", "json"], environment)[0])
        entry = json.loads(timed([hardcoat, "show", str(row["pk"]), "--format", "json"], environment)[0])
        structure = entry["provenance"]["structure"]["pk"]
        code = (
            "import json, sys; from aiida import load_profile, orm; load_profile();"
            f"s = orm.load_node({structure}).get_ase();"
            "print(json.dumps({'symbols': list(s.symbols), 'cell': s.cell.array.tolist(),"
            " 'positions': s.positions.tolist()}))"
        )
        job = json.loads(timed([sys.executable, "-c", code], environment)[0])
        job |= {"evaluations": entry["evaluations"], "model": arguments.engine.partition(":")[2]}
        _, bare_cpu, bare_wall = timed([sys.executable, "-c", BARE], environment, json.dumps(job))

    print(f"{arguments.composition} {arguments.structure_type}, {arguments.atoms} atoms, {arguments.engine}")
    print(f"hardcoat run    {run_cpu:8.1f} CPU-s  {run_wall:8.1f} s wall  ({entry['evaluations']} evaluations)")
    print(f"bare ASE script {bare_cpu:8.1f} CPU-s  {bare_wall:8.1f} s wall  (the same number of evaluations)")
    print(f"ratio           {run_cpu / bare_cpu:8.3f}")


if __name__ == "__main__":
    main()
