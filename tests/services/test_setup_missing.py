"""`hardcoat setup` and `hardcoat doctor` with servers that are down or set wrongly."""

import pytest

from services.places import CLUSTER, doctor, refused

pytestmark = pytest.mark.services


def test_setup_says_how_to_start_every_server_that_is_missing(new, services):
    """One line for each; then Slurm alone."""
    services.down("postgres", "rabbitmq", "sshd")
    try:
        lines = refused(new, *CLUSTER, "--work-dir", str(new.folder))
    finally:
        services.up()
    starts = ["systemctl start postgresql", "systemctl start rabbitmq-server", "systemctl start ssh"]
    assert len(lines) == len(starts)
    for start in starts:
        assert sum(start in line for line in lines) == 1
    services.down("slurmctld")
    try:
        lines = refused(new, *CLUSTER, "--work-dir", str(new.folder))
    finally:
        services.up()
    assert any("systemctl start munge slurmctld slurmd" in line for line in lines)


def test_a_short_consumer_timeout_is_refused_and_pointed_out(new, services, monkeypatch):
    """RabbitMQ's default of 30 minutes lets two workers run one process."""
    done = new.hardcoat("setup", "--profile", "server")
    assert done.returncode == 0, done.stderr
    services.down("rabbitmq")
    monkeypatch.setenv("HARDCOAT_CONSUMER_TIMEOUT", "1800000")
    services.up()
    try:
        [row], status = doctor(new, "consumer")
        done = new.hardcoat("-p", "other", "setup", "--profile", "server")
    finally:
        services.down("rabbitmq")
        monkeypatch.undo()
        services.up()
    assert status == 1
    assert (row["ok"], row["word"]) == (False, "UNSAFE")
    assert "0.5 h" in row["detail"]
    assert "consumer_timeout = " in row["mend"]
    assert done.returncode == 2
    assert "consumer_timeout = " in done.stderr
