"""What was tried, and the table of it at the end of the session; also where several processes share the tests."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

FAULT = "fault"
ROWS: list[dict[str, Any]] = []


@pytest.fixture
def trial(request):
    """``with trial("what happens", "what a user does about it") as row``: a row of the table.

    The checker's verdict goes into the row; a problem fails the test once the row is complete.
    """

    @contextmanager
    def begin(fault: str, recovery: str = "nothing") -> Iterator[dict[str, Any]]:
        row: dict[str, Any] = {"fault": fault, "recovery": recovery, "survived": False, "problems": []}
        request.node.user_properties.append((FAULT, row))
        started = time.monotonic()
        try:
            yield row
            row["survived"] = not row["problems"]
        finally:
            row["seconds"] = time.monotonic() - started
        assert not row["problems"], "\n".join(row["problems"])

    return begin


def pytest_runtest_logreport(report):
    if report.when == "call":
        ROWS.extend(row for name, row in report.user_properties if name == FAULT)


def pytest_terminal_summary(terminalreporter):
    if not ROWS:
        return
    write = terminalreporter.write_line
    width = max(len(row["fault"]) for row in ROWS)
    terminalreporter.section("faults")
    write(f"{'fault':{width}s}{'survived':>9s}{'lost':>5s}{'wrong':>6s}{'executions':>11s}{'seconds':>8s}  recovery")
    for row in ROWS:
        lost, wrong, executions = (str(row.get(name, "?")) for name in ("lost", "wrong", "executions"))
        survived = "yes" if row["survived"] else "NO"
        numbers = f"{survived:>9s}{lost:>5s}{wrong:>6s}{executions:>11s}{row['seconds']:8.0f}"
        write(f"{row['fault']:{width}s}{numbers}  {row['recovery']}")
    survived, lost, wrong = (sum(row.get(name, 0) for row in ROWS) for name in ("survived", "lost", "wrong"))
    load = f"load average {os.getloadavg()[2]:.1f} on {os.cpu_count()} cores"
    write(f"{len(ROWS)} tried, {survived} survived, lost {lost}, wrong {wrong}; {load}")
    if "HARDCOAT_FAULTS_JSON" in os.environ:
        with open(os.environ["HARDCOAT_FAULTS_JSON"], "w") as handle:
            json.dump(ROWS, handle, indent=2)
