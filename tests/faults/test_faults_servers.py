"""Faults of what runs a campaign on real servers: daemon, broker and database; see fault_servers."""

from pathlib import Path

import pytest
from fault_place import kill, wait_for
from fault_servers import WORKERS
from fault_workload import IF_LEFT, kill_workers_in_each_phase

pytest_plugins = ("fault_table", "fault_fixtures", "fault_servers")
pytestmark = pytest.mark.faults

REPAIR = "`verdi daemon stop; verdi process repair; verdi daemon start`"
RETRY = "`hardcoat campaign retry --submit` where anything broke off"


def wait_for_output(folders):
    """Until the jobs in these folders have done their work."""
    done = [Path(folder) / ".hc_done" for folder in folders]
    wait_for(lambda: all(path.exists() for path in done), "the jobs do not end")


# --- daemon -----------------------------------------------------------------------------------------------------------


def test_both_workers_killed(place, workload, truth, trial):
    campaign = workload(place)
    with trial("SIGKILL of both workers during upload, run, retrieve and parse, in turn", IF_LEFT) as row:
        kill_workers_in_each_phase(place, campaign, WORKERS)
        campaign.wait()
        campaign.end_what_is_left(WORKERS)
        row |= campaign.verdict(truth)


def test_one_worker_killed(place, begun, truth, trial):
    with trial("SIGKILL of one of two workers during run") as row:
        campaign, _ = begun()
        kill(place.workers()[:1])
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
def test_broker(place, begun, servers, truth, trial, kill):
    """It is away while the jobs end."""
    recovery = f"{REPAIR}; {RETRY}"
    with trial(f"RabbitMQ {'killed with SIGKILL' if kill else 'stopped'}, and started again", recovery) as row:
        campaign, folders = begun()
        servers.down("rabbitmq", kill=kill)
        campaign.release()
        wait_for_output(folders)
        servers.up("rabbitmq")
        place.repair(WORKERS)
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
