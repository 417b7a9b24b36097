"""RabbitMQ and PostgreSQL stopped, killed and started again; see fault_servers."""

from pathlib import Path

import pytest
from fault_place import REPAIR, wait_for
from fault_servers import WORKERS

pytest_plugins = ("fault_table", "fault_fixtures", "fault_servers")
pytestmark = pytest.mark.faults

RETRY = "`hardcoat campaign retry --submit` where anything broke off"


def restart(name, kill, servers, place, campaign, folders):
    """A server is away while the jobs in these folders end; then the daemon is repaired."""
    servers.down(name, kill=kill)
    campaign.release()
    done = [Path(folder) / ".hc_done" for folder in folders]
    wait_for(lambda: all(path.exists() for path in done), "the jobs do not end")
    servers.up(name)
    place.repair(WORKERS)
    campaign.wait()


@pytest.mark.parametrize("kill", [False, True], ids=("stopped", "killed"))
def test_broker(place, begun, servers, truth, trial, kill):
    recovery = f"{REPAIR}; {RETRY}"
    with trial(f"RabbitMQ {'killed with SIGKILL' if kill else 'stopped'}, and started again", recovery) as row:
        campaign, folders = begun()
        restart("rabbitmq", kill, servers, place, campaign, folders)
        campaign.retry_what_failed()
        row |= campaign.verdict(truth)


@pytest.mark.parametrize("kill", [False, True], ids=("stopped", "killed"))
def test_database(place, begun, servers, truth, trial, kill):
    with trial(f"PostgreSQL {'killed with SIGKILL' if kill else 'stopped'}, and started again", REPAIR) as row:
        campaign, folders = begun()
        restart("postgres", kill, servers, place, campaign, folders)
        row |= campaign.verdict(truth)
