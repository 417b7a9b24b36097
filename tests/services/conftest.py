"""Real servers on loopback, profiles on them, and one alloy computed there."""

from __future__ import annotations

import pytest

from services.places import ALLOY, CLUSTER, HARDCOAT, SERVER, Place, running_servers, wait_until_ended


@pytest.fixture(scope="session")
def services():
    with running_servers() as running:
        yield running


@pytest.fixture(scope="session")
def place(services, tmp_path_factory):
    return Place(tmp_path_factory.mktemp("place"), services)


@pytest.fixture
def new(services, tmp_path):
    """A place without any profile, and a database for one."""
    place = Place(tmp_path, services)
    services.psql(f"CREATE DATABASE fresh OWNER {services.NAME}")
    place.environment["HARDCOAT_DATABASE"] = place.environment["HARDCOAT_DATABASE"].rpartition("/")[0] + "/fresh"
    yield place
    services.psql("DROP DATABASE fresh WITH (FORCE)")


@pytest.fixture(scope="session")
def server(place, tmp_path_factory):
    """The place after `hardcoat setup --profile server`, with a cluster behind SSH."""
    place.work = tmp_path_factory.mktemp("cluster")
    place.setup = ("setup", "--profile", "server", *CLUSTER, "--work-dir", str(place.work))
    done = place.hardcoat(*place.setup)
    assert done.returncode == 0, done.stderr
    place.said = done.stdout
    # A real queue is asked more rarely.
    place.ask("orm.load_computer('slurm-ssh').set_minimum_job_poll_interval(1)\nanswer = None")
    return place


@pytest.fixture(scope="module")
def daemon(server):
    """The same with a daemon of two workers."""
    server.verdi("-p", SERVER, "daemon", "start", "2")
    yield server
    server.verdi("-p", SERVER, "daemon", "stop", "--timeout", "90")


@pytest.fixture(scope="session")
def embedded_run(place):
    """An embedded profile in the same place, and the alloy that is being computed there."""
    done = place.hardcoat("setup", "--profile", "embedded")
    assert done.returncode == 0, done.stderr
    return place.start(*HARDCOAT, "-p", "hardcoat", *ALLOY)


@pytest.fixture(scope="session")
def embedded(place, embedded_run):
    """The place when the alloy of the embedded profile is finished."""
    done = place.finish(embedded_run)
    assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="module")
def alloy(daemon, embedded_run):
    """One alloy with the real engine, by the daemon over SSH and Slurm: its process."""
    submitted = daemon.hardcoat("-p", SERVER, *ALLOY, "--submit")
    assert submitted.returncode == 0, submitted.stderr
    pk = int(submitted.stdout.split()[1].rstrip(":"))
    ended = wait_until_ended(daemon, pk)
    assert ended == ["finished", 0, None], daemon.verdi("-p", SERVER, "process", "report", str(pk))
    return pk
