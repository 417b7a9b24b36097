"""The servers themselves: private, on loopback, each stopped and started alone, gone at the end."""

import stat

import psutil
import pytest

pytestmark = pytest.mark.services


def test_they_listen_on_loopback_only(services):
    listening = {
        connection.laddr.port: connection.laddr.ip
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port in services.PORTS.values()
    }
    assert set(listening) == set(services.PORTS.values())
    assert set(listening.values()) <= {"127.0.0.1", "::1"}


def test_passwords_and_keys_are_for_their_owner_alone(services):
    secret = [
        *services.state().glob("*.password"),
        services.state() / "sshd" / "user_key",
        services.state() / "munge" / "key",
    ]
    secret += [services.state() / "rabbitmq" / ".erlang.cookie", services.state() / "rabbitmq" / "rabbitmq.conf"]
    assert len(secret) == 7
    for path in secret:
        assert stat.S_IMODE(path.stat().st_mode) in (0o600, 0o400), path


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize("name", ["postgres", "rabbitmq", "munge", "slurmctld", "slurmd", "sshd"])
def test_each_stops_and_starts_alone(services, name, kill):
    others = {other: services.pid_of(other) for other in services.STARTS if other != name}
    before = services.pid_of(name)
    services.down(name, kill=kill)
    assert services.pid_of(name) is None
    services.up(name)
    assert services.pid_of(name) not in (None, before)
    assert {other: services.pid_of(other) for other in others} == others


def test_what_was_stored_survives_a_crash(services):
    services.psql("CREATE TABLE kept (x int); INSERT INTO kept VALUES (1)")
    services.down("postgres", kill=True)
    services.up("postgres")
    assert services.psql("SELECT x FROM kept").strip() == "1"
    assert services.slurm("srun", "--mem=10", "echo", "done").strip() == "done"
