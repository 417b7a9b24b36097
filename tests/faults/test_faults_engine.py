"""Faults of the jobs: output cut, empty or not a number, memory, SIGKILL."""

import signal
from contextlib import suppress

import psutil
import pytest
from fault_workload import send

pytest_plugins = ("fault_table", "fault_fixtures")
pytestmark = pytest.mark.faults

RETRY = "`hardcoat campaign retry`"
STAND_IN = {"code": "stand-in@localhost"}


@pytest.mark.parametrize(("word", "name"), [("cut", "cut in half"), ("empty", "empty")], ids=("cut", "empty"))
def test_output_spoilt_once(embedded, workload, truth, trial, word, name):
    campaign = workload(embedded, **STAND_IN)
    with trial(f"engine output {name}, once") as row:
        campaign.set("spoil-once", word)
        campaign.end_of(campaign.begin())
        assert len([job for job in campaign.jobs() if job.attributes["exit_status"]]) == 1
        row |= campaign.verdict(truth)


@pytest.mark.parametrize(
    ("word", "name", "codes"),
    [
        ("cut", "cut in half", {"AseCalculation 303", "AseWorkChain 403"}),
        ("empty", "empty", {"AseCalculation 302", "AseCalculation 303", "AseWorkChain 403"}),
        ("nan", "not a number", {"AseCalculation 305"}),
    ],
    ids=("cut", "empty", "nan"),
)
def test_output_spoilt_until_it_is_mended(embedded, workload, truth, trial, word, name, codes):
    campaign = workload(embedded, compositions=["Ti0.5Al0.5N"], **STAND_IN)
    with trial(f"engine output {name}, each time", RETRY) as row:
        campaign.set("spoil", word)
        campaign.end_of(campaign.begin(), (1,))
        (failure,) = campaign.status()["rows"]
        assert failure["exit_code"] in codes
        assert failure["remedy"]
        campaign.unset("spoil")
        campaign.retry()
        row |= campaign.verdict(truth)


@pytest.mark.parametrize(
    ("word", "name", "code"),
    [("nan force", "forces of the calculator not a number", 305), ("disk", "no space left where a job writes", 313)],
    ids=("nan", "disk"),
)
def test_one_job_fails(embedded, workload, truth, trial, word, name, code):
    campaign = workload(embedded)
    with trial(f"{name}, in one job", RETRY) as row:
        campaign.set("fault-once", word)
        campaign.end_of(campaign.begin(), (1,))
        (failure,) = [state for state in campaign.status()["rows"] if state["state"] == "failed"]
        assert failure["exit_code"] == f"AseCalculation {code}"
        assert failure["remedy"]
        campaign.retry()
        row |= campaign.verdict(truth)


def test_out_of_memory(embedded, workload, truth, trial):
    campaign = workload(embedded, **STAND_IN)
    with trial("job out of memory, under a limit (ulimit -v)", RETRY) as row:
        campaign.set("spoil", "memory")
        campaign.set("fault", "hunger")
        campaign.end_of(campaign.begin(), (1,))
        assert {state["exit_code"] for state in campaign.status()["rows"]} == {"AseCalculation 310"}
        campaign.unset("spoil")
        campaign.unset("fault")
        campaign.retry()
        row |= campaign.verdict(truth)


def test_job_killed(embedded, workload, truth, trial):
    """As the kernel does where memory runs out."""
    campaign = workload(embedded)
    with trial("job killed with SIGKILL, as by the kernel out of memory") as row:
        campaign.hold()
        process = campaign.begin()
        folders = campaign.held(2)
        send(processes_in(folders), signal.SIGKILL)
        campaign.release()
        campaign.end_of(process)
        assert {job.attributes["exit_status"] for job in campaign.jobs()} == {0, 303}
        row |= campaign.verdict(truth)


def processes_in(folders):
    """Pythons at work in these folders."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.cwd() in folders and "python" in process.name():
                found.append(process)
    return found
