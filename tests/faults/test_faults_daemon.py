"""Faults of a campaign in the daemon of an embedded profile: SQLite, ZeroMQ, one worker."""

import pytest
from fault_fixtures import fill
from fault_place import REPAIR, kill, wait_for
from fault_workload import IF_LEFT, kill_workers_in_each_phase

pytest_plugins = ("fault_table", "fault_fixtures")
pytestmark = pytest.mark.faults


@pytest.fixture
def place(embedded):
    """The profile with its daemon."""
    if len(embedded.workers()) != 1:
        embedded.start_daemon()
    return embedded


def test_worker_killed(place, workload, truth, trial):
    campaign = workload(place)
    with trial("SIGKILL of the daemon's only worker in upload, run, retrieve, parse", IF_LEFT) as row:
        kill_workers_in_each_phase(place, campaign, 1)
        campaign.wait()
        campaign.end_what_is_left(1)
        row |= campaign.verdict(truth)


def test_daemon_killed(place, workload, truth, trial):
    campaign = workload(place)
    with trial("SIGKILL of the whole daemon, embedded profile", f"`verdi daemon start`; {REPAIR}") as row:
        campaign.hold()
        campaign.submit()
        campaign.held()
        kill(place.daemon())
        campaign.release()
        place.start_daemon()
        place.repair()
        campaign.wait()
        row |= campaign.verdict(truth)


def test_broker_killed(place, workload, truth, trial):
    campaign = workload(place)
    with trial("SIGKILL of the broker, embedded profile", REPAIR) as row:
        campaign.hold()
        campaign.submit()
        campaign.held()
        kill(place.living("daemon broker"))
        campaign.release()
        wait_for(lambda: place.living("daemon broker"), "the daemon does not start its broker again")
        place.repair()
        campaign.wait()
        row |= campaign.verdict(truth)


def test_two_campaigns_in_terminal_and_daemon(place, workload, truth, trial):
    campaign = workload(place)
    other = campaign.twin()
    with trial("two campaigns at once, in a terminal and in the daemon") as row:
        campaign.hold()
        process = campaign.begin()
        campaign.held()
        campaign.submit(file=other)
        wait_for(lambda: len(campaign.campaigns()) == 2, "the second campaign does not begin")
        campaign.release()
        campaign.end_of(process)
        campaign.wait(other.stem)
        row |= campaign.verdict(truth, computed_once=True)


def test_terminal_killed_while_the_daemon_waits_for_its_alloys(place, workload, truth, trial):
    campaign = workload(place)
    other = campaign.twin()
    with trial("of two campaigns at once, the one in the terminal killed with SIGKILL") as row:
        campaign.hold()
        process = campaign.begin()
        campaign.held()
        campaign.submit(file=other)
        wait_for(lambda: len(campaign.campaigns()) == 2, "the second campaign does not begin")
        process.kill()
        campaign.end_of(process, (-9,))
        campaign.release()
        campaign.wait(other.stem)
        row |= campaign.verdict(truth)


def test_disk_full(place, workload, truth, trial):
    if not place.can_be_filled:
        pytest.skip("a disk that can be filled needs root, who may mount one")
    campaign = workload(place)
    with trial("disk of the database and the repository full, in the daemon", REPAIR) as row:
        campaign.hold()
        campaign.submit()
        campaign.held(2)
        before = place.complaints()
        filler = fill(place.folder, 0)
        try:
            campaign.release()
            wait_for(lambda: not place.left_over(), "the jobs do not end")
            wait_for(lambda: place.complaints() > before, "no worker says that it cannot store anything")
        finally:
            filler.unlink()
        place.repair()
        campaign.wait()
        row |= campaign.verdict(truth)
