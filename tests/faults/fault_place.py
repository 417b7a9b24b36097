"""An AiiDA profile with its commands, and its database seen from outside: no code of AiiDA or of this project looks."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import psycopg

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BIN = Path(sys.executable).parent
MARK = "HARDCOAT_FAULTS"
PATIENCE = float(os.environ.get("HARDCOAT_FAULTS_PATIENCE", "180"))
"""Seconds that a campaign may take to its end, and anything else to happen."""
ENDED = ("finished", "excepted", "killed")
REPAIR = "`verdi daemon stop; verdi process repair; verdi daemon start`"


PHASES = {None: "upload", "stashing": "retrieve", "retrieving": "retrieve", "parsing": "parse"}
"""By the state of a job with a folder; without anything to stash, AiiDA retrieves in the state of stashing."""
AWAY = (sqlite3.OperationalError, psycopg.OperationalError)
"""What is raised while the database is locked, or its server down."""
PROCESSES = (
    "SELECT id, label, node_type, process_type, attributes FROM db_dbnode"
    " WHERE id > :after AND node_type LIKE :kind ORDER BY id"
)


class TooLateError(AssertionError):
    """What was waited for has not happened."""


def wait_for(condition: Callable[[], Any], what: str, patience: float = PATIENCE, pause: float = 0.2) -> Any:
    """Look again and again until there is something.

    :raises TooLateError: when there is nothing in time.
    """
    end = time.monotonic() + patience
    while True:
        with suppress(*AWAY):  # locked, or its server is down
            found = condition()
            if found:
                return found
        if time.monotonic() > end:
            raise TooLateError(f"{what}: not within {patience:.0f} s")
        time.sleep(pause)


class Node(NamedTuple):
    pk: int
    label: str
    node_type: str
    process_type: str
    attributes: dict[str, Any]

    @property
    def has_ended(self) -> bool:
        """A node is sealed for good when its process has ended, whatever state was written last."""
        return self.attributes.get("process_state") in ENDED or bool(self.attributes.get("sealed"))

    @property
    def phase(self) -> str | None:
        """Of a job: upload, retrieve or parse, None where it is in none of them."""
        if self.has_ended or "remote_workdir" not in self.attributes:
            return None
        return PHASES.get(self.attributes.get("state"))


class Place:
    """A profile, made by ``hardcoat setup``, and everything that runs in it."""

    def __init__(self, folder: Path, **variables: str):
        self.folder = folder
        self.token = uuid.uuid4().hex
        paths = [HERE, HERE.parent, ROOT, ROOT / "ml"]
        self.environment = {
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "AIIDA_PATH": str(folder),
            "OMP_NUM_THREADS": "1",
            "TQDM_DISABLE": "1",
            MARK: self.token,
            **variables,
        }

    def begin(self, *command: str, log: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a command in a process group of its own, as a terminal does."""
        with Path(log or os.devnull).open("ab") as target:
            return subprocess.Popen(
                command, stdout=target, stderr=subprocess.STDOUT, env=self.environment, cwd="/", start_new_session=True
            )

    def call(self, *command: str, fine: tuple[int, ...] = (0,)) -> str:
        """The output of a command that ends as it should."""
        done = subprocess.run(
            command, capture_output=True, text=True, env=self.environment, cwd="/", timeout=PATIENCE, check=False
        )
        said = f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
        assert done.returncode in fine, f"{' '.join(command)}: {done.returncode}\n{said}"
        return done.stdout

    def hardcoat(self, *arguments: str, fine: tuple[int, ...] = (0,)) -> str:
        return self.call("hardcoat", *arguments, fine=fine)

    def verdi(self, *arguments: str) -> str:
        return self.call("verdi", *arguments)

    # --- what is in the database ---

    def connect(self) -> None:
        """Find the database, once the profile is there."""
        config = json.loads((self.folder / ".aiida" / "config.json").read_text())
        storage = config["profiles"][config["default_profile"]]["storage"]
        if storage["backend"] == "core.sqlite_dos":
            self.database = f"{storage['config']['filepath']}/database.sqlite"
        else:
            part = {key.removeprefix("database_"): value for key, value in storage["config"].items()}
            server = f"{part['username']}:{part['password']}@{part['hostname']}:{part['port']}"
            self.database = f"postgresql://{server}/{part['name']}?connect_timeout=2"

    def rows(self, statement: str, patience: float = 5, **values: Any) -> list[Any]:
        """:param patience: seconds to wait for whoever has locked the database."""
        if self.database.startswith("postgresql"):
            with psycopg.connect(self.database) as connection:
                return connection.execute(re.sub(r":(\w+)", r"%(\1)s", statement), values).fetchall()
        with closing(sqlite3.connect(self.database, timeout=patience)) as connection:
            return connection.execute(statement, values).fetchall()

    def last_node(self) -> int:
        return int(self.rows("SELECT coalesce(max(id), 0) FROM db_dbnode")[0][0])

    def processes(self, after: int, kind: str = "process.%") -> list[Node]:
        """Processes with a larger pk, the oldest first."""
        return [node(row) for row in self.rows(PROCESSES, after=after, kind=kind)]

    def phases(self, after: int) -> set[str | None]:
        """Those in which jobs with a larger pk are; without patience, as whoever locks the database stands still."""
        rows = self.rows(PROCESSES, patience=0, after=after, kind="process.calculation.calcjob.%")
        return {node(row).phase for row in rows}

    def members(self, label: str) -> list[Node]:
        """The entries and predictions of a catalogue."""
        statement = (
            "SELECT n.id, n.label, n.node_type, n.process_type, n.attributes FROM db_dbnode n"
            " JOIN db_dbgroup_dbnodes m ON m.dbnode_id = n.id JOIN db_dbgroup g ON g.id = m.dbgroup_id"
            " WHERE g.label = :label ORDER BY n.id"
        )
        return [node(row) for row in self.rows(statement, label=label)]

    # --- processes of the operating system ---

    def living(self, word: str = "") -> list[psutil.Process]:
        """Processes that were started from here, with that word in their command."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                ours = process.environ().get(MARK) == self.token and process.status() != psutil.STATUS_ZOMBIE
                if ours and word in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def workers(self) -> list[psutil.Process]:
        return self.living("daemon worker")

    def daemon(self) -> list[psutil.Process]:
        """The daemon, its workers, its statistics and its broker."""
        words = ("daemon worker", "daemon broker", "start-circus", "circus import stats")
        return [process for word in words for process in self.living(word)]

    def left_over(self) -> list[psutil.Process]:
        """What is neither the daemon nor of it."""
        daemon = {process.pid for process in self.daemon()}
        return [process for process in self.living() if process.pid not in daemon]

    def start_daemon(self, workers: int = 1) -> None:
        self.verdi("daemon", "start", str(workers))
        wait_for(lambda: len(self.workers()) == workers, "the daemon's workers do not start")

    def repair(self, workers: int = 1) -> None:
        """The documented recovery of a daemon that is stuck, :data:`REPAIR`."""
        self.verdi("daemon", "stop")
        self.verdi("process", "repair", "--force")
        self.start_daemon(workers)

    @property
    def daemon_log(self) -> Path:
        return self.folder / ".aiida" / "daemon" / "log"

    def log_size(self) -> int:
        """Bytes of what the daemon has said."""
        return sum(path.stat().st_size for path in self.daemon_log.glob("*.log"))

    def complaints(self) -> int:
        """How often the daemon has said that there is no space left."""
        said = "".join(path.read_text(errors="replace") for path in self.daemon_log.glob("*.log"))
        return said.count("disk is full") + said.count("No space left")

    def close(self) -> None:
        """Stop the daemon; nothing else may be left."""
        if self.daemon():
            self.verdi("daemon", "stop")
        with suppress(TooLateError):
            wait_for(lambda: not self.living(), "processes outlive the faults", 30)
        left = {process.pid: process.cmdline() for process in self.living()}
        kill(self.living())
        assert not left, f"processes outlive the faults: {left}"


def node(row: Any) -> Node:
    attributes = row[4] if isinstance(row[4], dict) else json.loads(row[4] or "{}")
    return Node(row[0], row[1] or "", row[2], row[3] or "", attributes)


def kill(processes: Iterator[psutil.Process] | list[psutil.Process]) -> None:
    """SIGKILL, and wait until they are gone."""
    victims = list(processes)
    for process in victims:
        with suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)
    wait_for(lambda: not any(is_there(process) for process in victims), "a process outlives SIGKILL", 20)


def is_there(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
