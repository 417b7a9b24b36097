"""Faults of campaigns and runs that wait in a terminal: signals, two at once, a full disk."""

import json
import signal

import psutil
import pytest
from fault_calculators import HELD
from fault_fixtures import fill
from fault_workload import ENGINE, OVERRIDES, interrupt

pytest_plugins = ("fault_table", "fault_fixtures")
pytestmark = pytest.mark.faults

SAME_COMMAND = "the same command"


def interrupt_in_turn(campaign, begin):
    """Ctrl-C, and SIGTERM in what begins again after it."""
    campaign.hold()
    for sign in (signal.SIGINT, signal.SIGTERM):
        held = len(campaign.lines(HELD))
        process = begin()
        campaign.held(held + 1)
        interrupt(process, sign)
        campaign.end_of(process, (130,))
    campaign.release()


def test_interrupted_campaign(embedded, workload, truth, trial):
    campaign = workload(embedded)
    with trial("Ctrl-C in `hardcoat campaign`, and SIGTERM in the next", SAME_COMMAND) as row:
        interrupt_in_turn(campaign, campaign.begin)
        campaign.again()
        row |= campaign.verdict(truth)


def test_interrupted_run(embedded, workload, truth, trial):
    """A campaign of the same alloy finds what the run has made, and so the same checker serves."""
    campaign = workload(embedded, compositions=["Ti0.5Al0.5N"])
    settings = {**OVERRIDES, "engine": {"model_options": {"folder": str(campaign.folder)}}}
    overrides = [f"{part}.{key}={json.dumps(value)}" for part in settings for key, value in settings[part].items()]
    options = [word for override in overrides for word in ("--override", override)]
    alloy = ("Ti0.5Al0.5N", "-s", "B1", "--engine", f"ase:{ENGINE}", "--protocol", "fast")

    def begin():
        return embedded.begin("hardcoat", "run", *alloy, *options, log=campaign.folder / "campaign.log")

    with trial("Ctrl-C in `hardcoat run`, and SIGTERM in the next", SAME_COMMAND) as row:
        interrupt_in_turn(campaign, begin)
        campaign.end_of(begin())
        jobs = len(campaign.jobs())
        campaign.again()
        assert len(campaign.jobs()) == jobs
        row |= campaign.verdict(truth)


def test_killed_campaign(embedded, workload, truth, trial):
    campaign = workload(embedded)
    with trial("SIGKILL of `hardcoat campaign` in upload, run, retrieve, parse", SAME_COMMAND) as row:
        for phase in ("upload", "run", "retrieve", "parse"):
            if phase == "run":  # not held before, so that there are more jobs to be seen in the upload
                campaign.hold()
            process = campaign.begin()
            if phase == "run":
                campaign.held()
                process.kill()
                campaign.release()
            else:
                campaign.strike(phase, [psutil.Process(process.pid)])
            campaign.end_of(process, (-signal.SIGKILL,))
        campaign.again()
        row |= campaign.verdict(truth)


def test_two_campaigns_in_terminals(embedded, workload, truth, trial):
    campaign = workload(embedded)
    other = campaign.twin()
    with trial("two campaigns at once on the same alloys, in two terminals") as row:
        campaign.hold()
        processes = [campaign.begin(), campaign.begin(file=other)]
        campaign.held(2)
        campaign.release()
        for process in processes:
            campaign.end_of(process)
        row |= campaign.verdict(truth, computed_once=True)


@pytest.fixture
def filled(embedded):
    """A function that fills a disk of the profile but for so many bytes, and one that makes room again."""
    if not embedded.can_be_filled:
        pytest.skip("a disk that can be filled needs root, who may mount one")
    fillers = []

    def take(folder, left=0):
        fillers.append(fill(folder, left))

    def give_back():
        while fillers:
            fillers.pop().unlink()

    yield take, give_back
    give_back()


def test_work_disk_full(embedded, workload, truth, trial, filled):
    take, give_back = filled
    campaign = workload(embedded)
    with trial("disk full where the jobs run, when they are uploaded", "`hardcoat campaign retry`") as row:
        campaign.hold()
        process = campaign.begin()
        campaign.held(2)
        take(embedded.work)
        campaign.release()
        campaign.end_of(process, (1,))
        assert all(state["exit_status"] and state["remedy"] for state in campaign.status()["rows"])
        give_back()
        campaign.end_of(campaign.retry())
        row |= campaign.verdict(truth)


@pytest.mark.parametrize(("left", "name"), [(20 * 2**20, "nearly full"), (0, "full at one blow")])
def test_repository_disk_full(embedded, workload, truth, trial, filled, left, name):
    take, give_back = filled
    campaign = workload(embedded)
    with trial(f"disk of the database and the repository {name}", SAME_COMMAND) as row:
        campaign.hold()
        process = campaign.begin()
        campaign.held(2)
        take(embedded.folder, left)
        campaign.end_of(process, (3, 130))
        give_back()
        campaign.release()
        campaign.again()
        row |= campaign.verdict(truth)
