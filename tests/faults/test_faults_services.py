"""Faults of a campaign on real servers: PostgreSQL, RabbitMQ, two daemon workers, Slurm behind SSH, all on loopback."""

import os
import shutil
import sys
from pathlib import Path

import psutil
import pytest
import yaml
from fault_fixtures import fill, small_disk
from fault_place import HERE, ROOT, Place, kill, wait_for
from services.places import running_servers

pytest_plugins = ("fault_table", "fault_fixtures")
pytestmark = pytest.mark.faults

REPAIR = "`verdi daemon stop; verdi process repair; verdi daemon start`"
RETRY = "`hardcoat campaign retry --submit`"
PLAY = "`verdi process play --all`"
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


def wait_for_output(folders):
    """Until the jobs in these folders have done their work."""
    done = [Path(folder) / ".hc_done" for folder in folders]
    wait_for(lambda: all(path.exists() for path in done), "the jobs do not end")


# --- daemon -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["upload", "retrieve", "parse"])
def test_both_workers_killed(place, workload, truth, trial, phase):
    campaign = workload(place)
    with trial(f"SIGKILL of both workers during {phase}") as row:
        campaign.submit()
        campaign.strike(phase, place.workers())
        campaign.wait()
        row |= campaign.verdict(truth)


@pytest.mark.parametrize("number", [1, WORKERS], ids=("one", "both"))
def test_workers_killed_while_jobs_run(place, begun, truth, trial, number):
    with trial(f"SIGKILL of {'one of two workers' if number == 1 else 'both workers'} during run") as row:
        campaign, _ = begun()
        kill(place.workers()[:number])
        campaign.release()
        campaign.wait()
        row |= campaign.verdict(truth)


def test_daemon_killed(place, begun, truth, trial):
    with trial("SIGKILL of the whole daemon", "`verdi daemon start`") as row:
        campaign, _ = begun()
        kill(place.daemon())
        campaign.release()
        place.start_daemon(WORKERS)
        campaign.wait()
        row |= campaign.verdict(truth)


def test_two_campaigns_in_the_daemon(place, workload, truth, trial):
    campaign = workload(place)
    other = campaign.twin()
    with trial("two campaigns at once on the same alloys, in two workers") as row:
        campaign.hold()
        campaign.submit()
        campaign.submit(file=other)
        campaign.held(2)
        campaign.release()
        campaign.wait()
        campaign.wait(other.stem)
        row |= campaign.verdict(truth, computed_once=True)


# --- broker and database ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kill", [False, True], ids=("stopped", "killed"))
def test_broker(begun, servers, truth, trial, kill):
    """It is away while the jobs end."""
    with trial(f"RabbitMQ {'killed with SIGKILL' if kill else 'stopped'}, and started again", RETRY) as row:
        campaign, folders = begun()
        servers.down("rabbitmq", kill=kill)
        campaign.release()
        wait_for_output(folders)
        servers.up("rabbitmq")
        campaign.wait()
        campaign.retry_what_failed()
        row |= campaign.verdict(truth)


@pytest.mark.parametrize("kill", [False, True], ids=("stopped", "killed"))
def test_database(place, begun, servers, truth, trial, kill):
    """It is away while the jobs end."""
    with trial(f"PostgreSQL {'killed with SIGKILL' if kill else 'stopped'}, and started again", REPAIR) as row:
        campaign, folders = begun()
        servers.down("postgres", kill=kill)
        campaign.release()
        wait_for_output(folders)
        servers.up("postgres")
        place.repair(WORKERS)
        campaign.wait()
        row |= campaign.verdict(truth)


# --- queue ------------------------------------------------------------------------------------------------------------


def test_jobs_cancelled(begun, servers, truth, trial):
    with trial("scancel of the jobs in the queue") as row:
        campaign, _ = begun()
        servers.slurm("scancel", *queue(servers))
        wait_for(lambda: any(job.has_ended for job in campaign.jobs()), "no job ends")
        campaign.release()
        campaign.wait()
        row |= campaign.verdict(truth)


def test_walltime(begun, truth, trial):
    with trial("walltime of the jobs at its end, one minute") as row:
        campaign, _ = begun(options={"max_wallclock_seconds": 60})
        wait_for(lambda: any(job.attributes.get("exit_status") == 120 for job in campaign.jobs()), "no job is cut")
        campaign.release()
        campaign.wait()
        row |= campaign.verdict(truth)


def test_node_down(begun, servers, truth, trial):
    with trial("compute node down, and back") as row:
        campaign, _ = begun()
        servers.down("slurmd", kill=True)
        servers.slurm("scontrol", "update", f"nodename={servers.NAME}", "state=down", "reason=fault")
        wait_for(lambda: any(job.has_ended for job in campaign.jobs()), "no job ends")
        campaign.release()
        servers.slurm("scontrol", "update", f"nodename={servers.NAME}", "state=resume")
        servers.up("slurmd")
        campaign.wait()
        row |= campaign.verdict(truth)


# --- SSH and disk -----------------------------------------------------------------------------------------------------


def cut_ssh(servers):
    """SIGKILL of the server and its connections; a command at the other end goes on to its end, as over a network."""
    server = psutil.Process(servers.pid_of("sshd"))
    kill([process for process in (server, *server.children(recursive=True)) if process.name() == "sshd"])


def test_ssh_cut(place, begun, servers, truth, trial):
    with trial("SSH cut while jobs run, back before the last try") as row:
        campaign, _ = begun()
        said = place.log_size()
        cut_ssh(servers)
        wait_for(lambda: place.log_size() > said, "no worker notices")
        servers.up("sshd")
        campaign.release()
        campaign.wait()
        row |= campaign.verdict(truth)


def test_ssh_cut_for_long(place, begun, servers, truth, trial):
    with trial("SSH cut until AiiDA has given up trying", PLAY) as row:
        campaign, _ = begun()
        cut_ssh(servers)
        campaign.release()
        wait_for(campaign.is_paused, "no job is paused")
        servers.up("sshd")
        place.verdi("process", "play", "--all")
        campaign.wait()
        row |= campaign.verdict(truth)


def test_work_disk_full(place, workload, truth, trial):
    if not place.can_be_filled:
        pytest.skip("a disk that can be filled needs root, who may mount one")
    campaign = workload(place)
    with trial("disk full on the cluster when jobs are uploaded", PLAY) as row:
        filler = fill(place.work, 0)
        campaign.submit()
        wait_for(campaign.is_paused, "no job is paused")
        filler.unlink()
        place.verdi("process", "play", "--all")
        campaign.wait()
        row |= campaign.verdict(truth)
