"""A profile on real servers: PostgreSQL, RabbitMQ, two daemon workers, Slurm behind SSH, all on loopback."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from fault_fixtures import small_disk
from fault_place import HERE, ROOT, Place, wait_for
from services.places import running_servers

WORKERS = 2


@pytest.fixture(scope="session")
def servers():
    with running_servers() as running:
        yield running


@pytest.fixture(scope="session")
def server(servers, tmp_path_factory):
    """A profile on PostgreSQL and RabbitMQ, whose jobs go to Slurm by SSH."""
    folder = tmp_path_factory.mktemp("server")
    secrets = {name: servers.password(of) for name, of in servers.SECRETS.items()}
    place = Place(folder, **servers.environment(), **secrets)
    computer = cluster_with_the_calculators(folder)
    with small_disk(folder / "work", 64) as place.can_be_filled:
        place.work = folder / "work"
        options = ("--computer", str(computer), "--host", servers.NAME, "--executable", sys.executable)
        place.hardcoat("setup", "--profile", "server", *options, "--work-dir", str(place.work))
        place.verdi("config", "set", "transport.task_retry_initial_interval", "2")  # instead of 20 s, and
        place.verdi("config", "set", "transport.task_maximum_attempts", "4")  # instead of 8: 14 s for 40 minutes
        place.call(sys.executable, "-c", OFTEN)
        place.connect()
        place.start_daemon(WORKERS)
        yield place
        place.close()


OFTEN = """
from aiida import load_profile, orm
load_profile()
orm.load_computer("slurm-ssh").set_minimum_job_poll_interval(1)
"""


def cluster_with_the_calculators(folder: Path) -> Path:
    """The description of the computer that comes with the package; its jobs find the calculators of these tests."""
    for name in ("slurm-ssh.yaml", "slurm-ssh-configure.yaml"):
        shutil.copy(ROOT / "profiles" / "computers" / name, folder)
    described = yaml.safe_load((folder / "slurm-ssh.yaml").read_text())
    described["prepend_text"] += f"export PYTHONPATH={HERE}{os.pathsep}{HERE.parent}\n"
    (folder / "slurm-ssh.yaml").write_text(yaml.safe_dump(described))
    return folder / "slurm-ssh.yaml"


@pytest.fixture
def place(server, servers):
    """The profile with its daemon; the queue is empty again at the end."""
    assert len(server.workers()) == WORKERS
    yield server
    wait_for(lambda: not queue(servers), "a job is left in the queue", 30)


@pytest.fixture
def begun(place, workload):
    """A function that begins a campaign and waits until two jobs are in the middle of their computation."""

    def begin(**keys):
        campaign = workload(place, **keys)
        campaign.hold()
        campaign.submit()
        return campaign, campaign.held(2)

    return begin


def queue(servers):
    return servers.slurm("squeue", "--noheader", "--format=%i").split()
