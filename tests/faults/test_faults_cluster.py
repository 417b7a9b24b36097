"""Faults of the cluster on which a campaign's jobs run: its queue, its node, SSH and its disk; see fault_servers."""

import psutil
import pytest
from fault_fixtures import fill
from fault_place import kill, wait_for
from fault_servers import queue

pytest_plugins = ("fault_table", "fault_fixtures", "fault_servers")
pytestmark = pytest.mark.faults

PLAY = "`verdi process play --all`"


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
