"""Faults of the jobs: output cut, empty or not a number, memory, SIGKILL."""

import signal
from contextlib import suppress

import psutil
import pytest
from fault_workload import THREE, send

pytest_plugins = ("fault_table", "fault_fixtures")
pytestmark = pytest.mark.faults

RETRY = "`hardcoat campaign retry`"
STAND_IN = {"code": "stand-in@localhost"}
SPOILT = {
    "cut": {"AseCalculation 303", "AseWorkChain 403"},
    "empty": {"AseCalculation 302", "AseCalculation 303", "AseWorkChain 403"},
    "nan": {"AseCalculation 305"},
}
"""What may be said of each."""


def test_output_spoilt_once(embedded, workload, truth, trial):
    campaign = workload(embedded, **STAND_IN)
    with trial("engine output cut in half in one job, empty in another") as row:
        for word in ("cut", "empty"):
            campaign.set(f"spoil-once-{word}", word)
        campaign.end_of(campaign.begin())
        assert len([job for job in campaign.jobs() if job.attributes["exit_status"]]) == 2
        row |= campaign.verdict(truth)


def test_output_spoilt_until_it_is_mended(embedded, workload, truth, trial):
    campaign = workload(embedded, compositions=["Ti0.5Al0.5N"], **STAND_IN)
    with trial("engine output cut in half each time, then empty, then not a number", RETRY) as row:
        for word, codes in SPOILT.items():
            campaign.set("spoil", word)
            campaign.end_of(campaign.retry() if campaign.campaigns() else campaign.begin(), (1,))
            (failure,) = campaign.status()["rows"]
            assert failure["exit_code"] in codes
            assert failure["remedy"]
        campaign.unset("spoil")
        campaign.end_of(campaign.retry())
        row |= campaign.verdict(truth)


def test_two_jobs_fail(embedded, workload, truth, trial):
    """Each with something else, and the third alloy of the campaign is finished all the same."""
    campaign = workload(embedded, compositions=THREE)
    with trial("forces not a number in one job, no space left where another one writes", RETRY) as row:
        campaign.set("fault-once-forces", "nan force")
        campaign.set("fault-once-disk", "disk")
        campaign.end_of(campaign.begin(), (1,))
        failures = [state for state in campaign.status()["rows"] if state["state"] == "failed"]
        assert {failure["exit_code"] for failure in failures} == {"AseCalculation 305", "AseCalculation 313"}
        assert len(failures) == 2
        assert all(failure["remedy"] for failure in failures)
        campaign.end_of(campaign.retry())
        row |= campaign.verdict(truth)


def test_out_of_memory(embedded, workload, truth, trial):
    campaign = workload(embedded, compositions=["Ti0.5Al0.5N"], **STAND_IN)
    with trial("job out of memory, under a limit (ulimit -v)", RETRY) as row:
        campaign.set("spoil", "memory")
        campaign.set("fault", "hunger")
        campaign.end_of(campaign.begin(), (1,))
        (failure,) = campaign.status()["rows"]
        assert failure["exit_code"] == "AseCalculation 310"
        campaign.unset("spoil")
        campaign.unset("fault")
        campaign.end_of(campaign.retry())
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
