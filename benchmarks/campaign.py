"""What campaigns cost: AiiDA's overhead without an engine's, its growth, where the time goes with a real engine.

With the engine that costs next to nothing, a pair potential in small cells, all that is left is AiiDA, this package and
the start of a Python for each job:

    python benchmarks/campaign.py                        10 alloys in-process, in the daemon with 1 and 2 workers
    python benchmarks/campaign.py --slurm                the same, and through Slurm over SSH (Debian's packages, root)
    python benchmarks/campaign.py --growth 10 30 100 300 CPU time of an alloy against their number; none may be lost
    python benchmarks/campaign.py --study                the study's grid, 66 alloys with relaxed and clamped ions

and with a real one

    python benchmarks/campaign.py --engine ase:7net-0 --alloys 4

Each campaign is run a second time, when all of it is there, as a ratio to its first run. CPU time of AiiDA is that of
`hardcoat` and of the daemon; jobs are counted by themselves. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from itertools import product
from pathlib import Path

import psutil
import yaml

ROOT = Path(__file__).resolve().parents[1]
NO_COST = "calculators:PairPotential"  # of the tests
BIN = Path(sys.executable).parent
METALS = ("Al", "Hf", "Ti", "Zr")
SITES = 8
"""Of metal in a cell."""

REPORT = """
import json
from aiida import load_profile, orm
from aiida.plugins import DataFactory
load_profile()
jobs = orm.QueryBuilder().append(orm.CalcJobNode, project="*").all(flat=True)
entries = orm.QueryBuilder().append(DataFactory("hardcoat.elastic"), project="label").all(flat=True)
live = orm.QueryBuilder().append(orm.ProcessNode, filters={"attributes.process_state": {"in": ["created", "waiting",
    "running"]}}).count()
seconds = sum(job.outputs.summary["seconds"] for job in jobs if "summary" in job.outputs)
computed = [job for job in jobs if not job.base.caching.is_created_from_cache]
print(json.dumps({"jobs": len(computed), "entries": len(entries), "live": live, "engine": seconds}))
"""

JOBS_FIND_TESTS = """
import sys
from aiida import load_profile, orm
load_profile()
computer = orm.load_computer("slurm-ssh")
computer.set_prepend_text(f"{computer.get_prepend_text()}\\nexport PYTHONPATH={sys.argv[1]} OMP_NUM_THREADS=1")
computer.set_minimum_job_poll_interval(1)
"""


class Place:
    """An AiiDA profile in a folder of its own, and the CPU time of what runs in it."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.environment = {
            **os.environ,
            "AIIDA_PATH": str(folder),
            "OMP_NUM_THREADS": "1",
            "TQDM_DISABLE": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        }

    def run(self, *command: str, failing: bool = False) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, cwd=self.folder)
        if done.returncode and not failing:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def measured(self, *command: str) -> tuple[float, float, float]:
        """Wall seconds, CPU seconds and peak memory (MiB) of one process; its jobs are detached and not counted."""
        started = time.perf_counter()
        process = subprocess.Popen(
            command, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=self.folder
        )
        assert process.stderr is not None
        errors: list[bytes] = []
        reader = threading.Thread(target=lambda pipe: errors.append(pipe.read()), args=(process.stderr,))
        reader.start()
        _, status, usage = os.wait4(process.pid, 0)
        reader.join()
        if status:
            raise SystemExit(errors[0].decode()[-3000:])
        return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024

    def daemon(self) -> list[psutil.Process]:
        """The daemon's processes; what Slurm or a scheduler started from them is detached."""
        found = []
        for process in psutil.process_iter(["cmdline", "environ"]):
            command, environment = process.info["cmdline"] or [], process.info["environ"] or {}
            if environment.get("AIIDA_PATH", "").startswith(str(self.folder)) and "daemon" in " ".join(command):
                found.append(process)
        return found

    def daemon_cpu(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self.daemon())

    def is_running(self) -> bool:
        text = self.run("hardcoat", "campaign", "status", "--format", "json", failing=True)
        return bool(json.loads(text)["state"].startswith("running"))

    def report(self) -> dict[str, float]:
        return json.loads(self.run(sys.executable, "-W", "ignore", "-c", REPORT).splitlines()[-1])


def campaign_file(folder: Path, engine: str, compositions: list[str], at_once: int, **more: object) -> Path:
    contents = {
        "name": "benchmark",
        "engine": engine,
        "protocol": "fast",
        "overrides": {"sqs": {"atoms": 2 * SITES, "restarts": 1, "steps": 10}},
        "compositions": compositions,
        "structure_types": ["B1", "B3"],
        "at_once": {"alloys": at_once},
        **more,
    }
    path = folder / "benchmark.yaml"
    path.write_text(json.dumps(contents))  # which is YAML, too
    return path


def command(path: Path | str, *more: str) -> tuple[str, ...]:
    return (str(BIN / "hardcoat"), "campaign", str(path), "--trust", NO_COST, *more)


def told(name: str, alloys: int, wall: float, cpu: float, report: dict[str, float], more: str = "") -> None:
    lost = alloys - report["entries"]
    print(
        f"{name:28s}{alloys:5d} alloys {report['jobs']:5.0f} jobs {wall:8.1f} s {3600 * alloys / wall:8.0f} alloys/h"
        f"   AiiDA {cpu / alloys:6.2f} CPU-s an alloy {cpu / report['jobs']:6.2f} a job"
        f"   engine {100 * report['engine'] / wall:5.1f} % of the wall time   lost {lost:.0f}{more}",
        flush=True,
    )


def in_process(folder: Path, engine: str, number: int, at_once: int, name: str = "in-process") -> None:
    place = Place(folder)
    place.run("hardcoat", "setup")
    path = campaign_file(place.folder, engine, compositions(number), at_once)
    wall, cpu, memory = place.measured(*command(path))
    report = place.report()
    again_wall, again, _ = place.measured(*command(path))
    after = place.report()
    assert after["jobs"] == report["jobs"], "the second run computed something"
    told(
        name,
        number,
        wall,
        cpu,
        report,
        f"   peak {memory:.0f} MiB   again {again_wall:.1f} s, {again / cpu:.3f} of its CPU",
    )


def compositions(alloys: int, first: int = 0) -> list[str]:
    """So many that with two structure types they make that number of alloys, no two of them alike.

    :param first: how many to leave out before them.
    """
    shares = [share for share in product(range(SITES + 1), repeat=len(METALS)) if sum(share) == SITES]
    end = first + alloys // 2
    if alloys % 2 or end > len(shares):
        raise SystemExit(f"take an even number of alloys, {2 * (len(shares) - first)} at most")
    return [
        "".join(f"{metal}{count / SITES}" for metal, count in zip(METALS, share, strict=True) if count) + "N"
        for share in shares[first:end]
    ]


def with_daemon(
    place: Place, engine: str, number: int, workers: int, name: str, first: int = 0, **more: object
) -> None:
    path = campaign_file(place.folder, engine, compositions(number, first), 2 * workers, **more)
    earlier = place.report()
    place.run("verdi", "daemon", "start", str(workers))
    try:
        before, started = place.daemon_cpu(), time.perf_counter()
        place.run(*command(path, "--submit"))
        while place.is_running():
            time.sleep(1)
        wall, cpu = time.perf_counter() - started, place.daemon_cpu() - before
        report = place.report()
        told(name, number, wall, cpu, {key: value - earlier[key] for key, value in report.items()})
    finally:
        place.run("verdi", "daemon", "stop")


def slurm(folder: Path, engine: str, number: int) -> None:
    """The servers of the tests, a profile on PostgreSQL and RabbitMQ, jobs through Slurm over SSH."""
    servers = [sys.executable, str(ROOT / "tests" / "services" / "servers.py")]
    os.environ["HARDCOAT_SERVICES"] = str(folder / "servers")
    folder.mkdir()
    folder.chmod(0o755)
    folder.parent.chmod(0o755)
    started = time.perf_counter()
    subprocess.run([*servers, "up"], check=True, stdout=subprocess.DEVNULL)
    print(f"services up in {time.perf_counter() - started:.1f} s")
    try:
        place = Place(folder / "profile")
        place.environment |= {
            **shell_environment(shlex.join([*servers, "env"])),
            **{name: place.environment[name] for name in ("AIIDA_PATH", "PATH", "PYTHONPATH")},
        }
        cluster = ("--computer", "slurm-ssh", "--host", "hardcoat", "--executable", sys.executable)
        place.run("hardcoat", "setup", "--profile", "server", *cluster, "--work-dir", str(folder / "jobs"))
        place.run(sys.executable, "-W", "ignore", "-c", JOBS_FIND_TESTS, str(ROOT / "tests"))
        for workers in (1, 2):
            first = (workers - 1) * number // 2  # other alloys each time
            name = f"Slurm, {workers} worker(s)"
            with_daemon(place, engine, number, workers, name, first, code="hardcoat-ase@slurm-ssh")
    finally:
        subprocess.run([*servers, "down"], check=True, stdout=subprocess.DEVNULL)


def shell_environment(command: str) -> dict[str, str]:
    """The environment after a shell has evaluated what a command prints."""
    script = f'eval "$({command})" && env -0'
    text = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True).stdout
    return dict(line.split("=", 1) for line in text.split("\0") if "=" in line)


def study(folder: Path, engine: str) -> None:
    """The study's grid in 16-atom cells with one strain amplitude."""
    place = Place(folder)
    place.run("hardcoat", "setup")
    grid = yaml.safe_load((ROOT / "profiles" / "campaigns" / "study.yaml").read_text())
    changes = {"engine": engine, "protocol": "fast", "at_once": {"alloys": 2}}
    path = folder / "study.yaml"
    path.write_text(json.dumps({**grid, **changes}))
    wall, cpu, memory = place.measured(*command(path))
    told("study's grid", 132, wall, cpu, place.report(), f"   peak {memory:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default=f"ase:{NO_COST}")
    parser.add_argument("--alloys", type=int, default=10)
    parser.add_argument("--slurm", action="store_true")
    parser.add_argument("--growth", type=int, nargs="+", metavar="N")
    parser.add_argument("--study", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hardcoat-benchmark-") as name:
        folder = Path(name)
        if arguments.growth:
            for number in arguments.growth:
                in_process(folder / str(number), arguments.engine, number, 2, f"in-process, {number}")
            return
        if arguments.study:
            study(folder / "study", arguments.engine)
            return
        in_process(folder / "one", arguments.engine, arguments.alloys, 1, "in-process, 1 at a time")
        in_process(folder / "two", arguments.engine, arguments.alloys, 2, "in-process, 2 at a time")
        for workers in (1, 2):
            place = Place(folder / f"daemon{workers}")
            place.run("hardcoat", "setup")
            with_daemon(place, arguments.engine, arguments.alloys, workers, f"daemon, {workers} worker(s)")
        if arguments.slurm:
            slurm(folder / "slurm", arguments.engine, arguments.alloys)


if __name__ == "__main__":
    main()
