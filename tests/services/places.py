"""Servers for tests, and AiiDA folders that use them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from services import servers

TESTS = Path(__file__).parents[1]
HARDCOAT = (sys.executable, "-W", "ignore", "-c", "from aiida_hardcoat.cli import main; main()")
VERDI = str(Path(sys.executable).parent / "verdi")
SERVER = "hardcoat-server"
CLUSTER = ("--computer", "slurm-ssh", "--host", servers.NAME, "--executable", sys.executable)
ALLOY = ("run", "TiN", "-s", "B1", "--atoms", "8", "--protocol", "fast")


def free_ports(number):
    """Ports that nobody uses now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind((servers.HOST, 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def running_servers():
    """All servers in a folder of their own, at ports of their own."""
    reason = servers.missing()
    if reason:
        pytest.skip(reason)
    # Not pytest's folder, which others may not pass through; short, because of the paths of sockets.
    folder = Path(tempfile.mkdtemp(prefix="hardcoat-services-"))
    patch = pytest.MonkeyPatch()
    patch.setenv("HARDCOAT_SERVICES", str(folder))
    for name, port in zip(servers.PORTS, free_ports(len(servers.PORTS)), strict=True):
        patch.setitem(servers.PORTS, name, port)
    try:
        servers.up()
        yield servers
    finally:
        servers.down()
        assert servers.leftovers() == []
        patch.undo()
        shutil.rmtree(folder)


class Place:
    """An AiiDA folder, and commands that use it and the servers."""

    def __init__(self, folder, services):
        self.folder = folder
        secrets = {name: services.password(server) for name, server in services.SECRETS.items()}
        self.environment = {
            **os.environ,
            **services.environment(),
            **secrets,
            "AIIDA_PATH": str(folder),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(str(path) for path in (TESTS, TESTS.parent, TESTS.parent / "ml")),
            "PATH": f"{Path(VERDI).parent}{os.pathsep}{os.environ['PATH']}",  # `verdi daemon start` looks for itself
        }

    def start(self, *command, **variables):
        return subprocess.Popen(
            command,
            env={**self.environment, **variables},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, process, timeout=180):
        out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def hardcoat(self, *arguments, timeout=180, **variables):
        return self.finish(self.start(*HARDCOAT, *arguments, **variables), timeout)

    def verdi(self, *arguments):
        """A command of AiiDA, which must succeed."""
        done = self.finish(self.start(VERDI, *arguments))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, program, profile=SERVER):
        """What a Python program within a profile leaves in `answer`."""
        lines = f"from aiida import load_profile, orm\nload_profile({profile!r})\n{program}\nimport json\n"
        done = self.finish(self.start(sys.executable, "-W", "ignore", "-c", f"{lines}print(json.dumps(answer))"))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


def wait_until_ended(place, pk, seconds=170):
    """Look at the state of a process again and again; how it ended."""
    return place.ask(
        f"""
import time
node, end = orm.load_node({pk}), time.monotonic() + {seconds}
while not node.is_terminated and time.monotonic() < end:
    time.sleep(0.5)
answer = [node.process_state.value, node.exit_status, node.exit_message]"""
    )


ENTRY = """
from aiida_hardcoat.catalogue.bundle.fingerprint import entries_fingerprint
from aiida_hardcoat.data.catalogue import catalogue
[entry] = catalogue().entries()
answer = {"pk": entry.pk, "fields": entry.base.attributes.all, "fingerprint": entries_fingerprint([entry])}"""
"""The only entry of a catalogue."""


def refused(place, *options, **variables):
    """The lines of a setup that must make nothing."""
    done = place.hardcoat("setup", "--profile", "server", *options, **variables)
    assert done.returncode == 2, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert "Traceback" not in done.stderr
    assert not any(place.environment[name] in done.stdout + done.stderr for name in servers.SECRETS)
    configuration = place.folder / ".aiida" / "config.json"
    assert not configuration.exists() or json.loads(configuration.read_text())["profiles"] == {}
    assert list((place.folder / ".aiida" / "repository").glob("*")) == []
    if servers.pid_of("postgres"):
        tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
        assert servers.psql(tables, database="fresh").strip() == "0"
    return lines


def doctor(place, *words):
    """Rows of `hardcoat doctor` whose names begin with one of the words, and its exit code."""
    done = place.hardcoat("-p", SERVER, "doctor", "--format", "json")
    assert not any(place.environment[name] in done.stdout + done.stderr for name in servers.SECRETS)
    rows = json.loads(done.stdout)
    return [row for row in rows if row["what"].startswith(words)], done.returncode
