"""Faults of the daemon's workers on real servers, and two campaigns at once there; see fault_servers."""

import pytest
from fault_place import kill
from fault_servers import WORKERS
from fault_workload import IF_LEFT, kill_workers_in_each_phase

pytest_plugins = ("fault_table", "fault_fixtures", "fault_servers")
pytestmark = pytest.mark.faults


def test_workers_killed(place, workload, truth, trial):
    campaign = workload(place)
    with trial("SIGKILL of both workers in upload, of one in run, of both in retrieve, in parse", IF_LEFT) as row:
        kill_workers_in_each_phase(place, campaign, WORKERS)
        campaign.wait()
        campaign.end_what_is_left(WORKERS)
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
