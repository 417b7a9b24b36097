"""`hardcoat setup --profile server` and `hardcoat doctor` with servers that are there, missing, or set wrongly."""

import json
import os
import stat

import pytest

from services.places import CLUSTER, SERVER, doctor, refused

pytestmark = pytest.mark.services


def test_setup_says_what_it_found_and_changes_nothing_the_second_time(server):
    for word in ("PostgreSQL", "RabbitMQ", "consumer_timeout", "slurm-wlm", "hardcoat-ase@slurm-ssh"):
        assert word in server.said
    configuration = server.folder / ".aiida" / "config.json"
    assert stat.S_IMODE(configuration.stat().st_mode) == 0o600
    before = json.loads(configuration.read_text())["profiles"][SERVER]
    done = server.hardcoat(*server.setup)
    assert done.returncode == 0, done.stderr
    assert json.loads(configuration.read_text())["profiles"][SERVER] == before
    assert server.ask("answer = [orm.QueryBuilder().append(kind).count() for kind in (orm.Computer, orm.Code)]") == [
        1,
        1,
    ]
    cores = "answer = orm.load_computer('slurm-ssh').get_default_mpiprocs_per_machine()"
    assert server.ask(cores) == os.cpu_count()


def test_a_profile_of_that_name_on_another_database_is_refused(server):
    done = server.hardcoat("setup", "--profile", "server", "--database", "postgresql://hardcoat@127.0.0.1:1/hardcoat")
    assert done.returncode == 2
    assert "choose another name" in done.stderr


def test_doctor_tells_of_what_others_can_read_and_of_processes_that_wait(server):
    configuration = server.folder / ".aiida" / "config.json"
    key = server.folder / "home" / ".ssh" / "id_ed25519"
    key.parent.mkdir(parents=True)
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    key.chmod(0o644)
    configuration.chmod(0o644)
    make = """
node = orm.WorkChainNode()
node.set_process_state("waiting")
node.pause()
answer = node.store().pk"""
    pk = server.ask(make)
    try:
        home = server.environment["HOME"]
        server.environment["HOME"] = str(server.folder / "home")
        rows, status = doctor(server, "config.json", "ssh key", "processes")
    finally:
        server.environment["HOME"] = home
        configuration.chmod(0o600)
        server.ask(f"orm.Node.collection.delete({pk})\nanswer = None")
    found = {row["what"]: row for row in rows}
    assert status == 1
    assert found["config.json"]["mend"] == f"chmod 600 {configuration}"
    assert found["ssh key"]["mend"] == f"chmod 600 {key}"
    assert "process play --all" in found["processes"]["mend"]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"HARDCOAT_DATABASE_PASSWORD": "wrong"}, ["refuses user 'hardcoat' with this password"]),
        ({"HARDCOAT_BROKER_PASSWORD": "wrong"}, ["rabbitmqctl add_user hardcoat"]),
        ({"HARDCOAT_DATABASE": "/nothing"}, ["createdb --owner=hardcoat"]),
        ({"HARDCOAT_BROKER": "/nothing"}, ["rabbitmqctl add_vhost nothing"]),
        ({"HARDCOAT_DATABASE_PASSWORD": "", "HARDCOAT_BROKER_PASSWORD": ""}, ["HARDCOAT_DATABASE_PASSWORD"]),
    ],
    ids=["database password", "broker password", "database", "virtual host", "no password"],
)
def test_setup_says_what_does_not_let_it_in(new, variables, words):
    changed = {
        name: new.environment[name].rpartition("/")[0] + value if value.startswith("/") else value
        for name, value in variables.items()
    }
    lines = refused(new, **changed)
    assert len(lines) == len(words)
    for line, word in zip(lines, words, strict=True):
        assert word in line


def test_a_database_that_holds_another_profile_is_left_alone(server, new):
    before = server.ask("answer = orm.QueryBuilder().append(orm.Node).count()")
    [line] = refused(new, HARDCOAT_DATABASE=server.environment["HARDCOAT_DATABASE"])
    assert "holds another profile" in line
    assert server.ask("answer = orm.QueryBuilder().append(orm.Node).count()") == before


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--executable", "/no/such/python"), "--executable"),
        (("--work-dir", "/proc/nothing"), "--work-dir"),
        (("--host", "nowhere"), "~/.ssh/config"),
    ],
)
def test_setup_says_what_the_cluster_lacks(new, options, word):
    lines = refused(new, *CLUSTER, "--work-dir", str(new.folder), *options)
    assert any(word in line for line in lines)
