"""`hardcoat setup` and `hardcoat doctor` without any server: files, options, mistakes, moving between profiles."""

import json
import os
import socket
import stat
import subprocess
import sys
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from aiida.manage import get_config
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from aiida_hardcoat.cli import cmd_root
from aiida_hardcoat.cli.setup_files import (
    COMPUTER_KEYS,
    check_label,
    from_url,
    read_code,
    read_computer,
    read_profile,
)
from aiida_hardcoat.cli.setup_services import is_loopback, open_addresses
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.profiles import shipped

HARDCOAT = (sys.executable, "-W", "ignore", "-c", "from aiida_hardcoat.cli import main; main()")
VERDI = str(Path(sys.executable).parent / "verdi")


@pytest.fixture
def place(tmp_path):
    """A function that runs a command with an AiiDA folder of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HARDCOAT_")}

    def run(*command, **variables):
        return subprocess.run(
            command,
            env={**environment, "AIIDA_PATH": str(tmp_path), "HOME": str(tmp_path), **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
        )

    run.folder = tmp_path
    run.hardcoat = lambda *arguments, **variables: run(*HARDCOAT, *arguments, **variables)
    return run


def profiles_of(place):
    file = place.folder / ".aiida" / "config.json"
    return json.loads(file.read_text())["profiles"] if file.exists() else {}


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["embedded", "server"])
def test_shipped_profiles_hold_no_password(name):
    profile = read_profile(name)
    assert profile["options"]["daemon.timeout"] == 30
    text = shipped()[name].read_text("utf8")
    assert not any("password" in line for line in text.lower().splitlines() if not line.startswith("#"))


@pytest.mark.parametrize("name", ["localhost", "slurm-ssh"])
def test_shipped_computers_guard_against_a_second_execution(name, tmp_path):
    """The script as AiiDA would write it, run twice: what the job does is done once; after a failure, again."""
    computer, _ = read_computer(name)
    assert set(computer) <= set(COMPUTER_KEYS)
    for status, runs in ((0, 1), (3, 2)):
        folder = tmp_path / str(status)
        folder.mkdir()
        job = f"echo run >> runs; (exit {status})\n"
        (folder / "job.sh").write_text("#!/bin/bash\n" + computer["prepend_text"] + job + computer["append_text"])
        for _ in range(2):
            subprocess.run(["bash", "job.sh"], cwd=folder, check=False, timeout=20)
        assert (folder / "runs").read_text().split() == ["run"] * runs


def test_two_executions_on_this_machine_wait_for_each_other(tmp_path):
    computer, _ = read_computer("localhost")
    job = "echo begin >> log; sleep 0.5; echo end >> log; (exit 1)\n"
    (tmp_path / "job.sh").write_text("#!/bin/bash\n" + computer["prepend_text"] + job + computer["append_text"])
    both = [subprocess.Popen(["bash", "job.sh"], cwd=tmp_path) for _ in range(2)]
    for one in both:
        one.wait(timeout=20)
    assert (tmp_path / "log").read_text().split() == ["begin", "end", "begin", "end"]


@pytest.mark.parametrize(("engine", "plugin"), [("ase", "hardcoat.ase"), ("quantumespresso", "quantumespresso.pw")])
def test_shipped_codes_are_those_of_the_engines(engine, plugin):
    from aiida_hardcoat.engines import load_engine

    module, model = load_engine(engine)
    code = read_code(engine)
    assert code["label"] == module.code_label(model)
    assert code["default_calc_job_plugin"] == plugin


@pytest.mark.services
def test_the_files_are_those_of_verdi(place):
    """`verdi computer setup`, `computer configure` and `code create` take them with --config as they are."""
    assert place.hardcoat("setup").returncode == 0
    files = {name: place.folder / f"{name}.yaml" for name in ("slurm-ssh", "slurm-ssh-configure")}
    for name, file in files.items():
        file.write_text(shipped("computers")[name].read_text("utf8"))
    commands = [
        ("computer", "setup", "-n", "--config", str(files["slurm-ssh"])),
        ("computer", "configure", "core.ssh_async", "slurm-ssh", "-n", "--config", str(files["slurm-ssh-configure"])),
    ]
    for engine in ("ase", "quantumespresso", "vasp"):
        file = place.folder / f"{engine}.yaml"
        file.write_text(shipped("codes")[engine].read_text("utf8"))
        commands.append(("code", "create", "core.code.installed", "-n", "--config", str(file)))
    for command in commands:
        done = place(VERDI, *command)
        assert done.returncode == 0, done.stdout + done.stderr
    labels = place(VERDI, "code", "list", "-r", "-P", "label", "-A").stdout.split()
    assert sorted(label for label in labels if label != "hardcoat-ase") == ["hardcoat-pw", "vasp"]


@given(st.text(max_size=30))
def test_only_harmless_labels_pass(text):
    """No path, no option of a command, no shell."""
    harmless = text[:1].isalnum() and all(letter.isascii() and (letter.isalnum() or letter in "._-") for letter in text)
    with nullcontext() if harmless else pytest.raises(InputError, match=r"^label must be made of .*$"):
        check_label("label", text)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("- a list", "mapping"),
        ("name: [", "cannot be read"),
        ("nme: x", "'name'"),
        ("name: ../x\nstorage: {backend: core.sqlite_dos}\nbroker: {backend: core.zeromq}", "letters"),
        ("name: x\nstorage: {}\nbroker: {backend: core.zeromq}", "backend"),
        ("name: x\nstorage: 3\nbroker: {backend: core.zeromq}", "storage"),
        ("name: x\nstorage: {backend: core.sqlite_dos}\nbroker: {backend: core.zeromq}\noptions: 3", "options"),
        ("name: !!python/object/apply:os.system ['touch made']", "cannot be read"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(tmp_path, monkeypatch, content, words):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "own.yaml"
    file.write_text(content)
    with pytest.raises(InputError, match=words):
        read_profile(str(file))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": "a/../b"}, "letters"),
        ({"hostname": "-oProxyCommand=touch made"}, "letters"),
        ({"label": "a\nb"}, "letters"),
        ({"transport": 3}, "transport"),
        ({"work_folder": "/x"}, "work_dir"),
    ],
)
def test_a_computer_that_cannot_be_is_refused(tmp_path, change, words):
    computer, _ = read_computer("slurm-ssh")
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump(computer | change))
    with pytest.raises(InputError, match=words):
        read_computer(str(file))


@pytest.mark.parametrize("text", ["sever", "nothing.yaml", "../embedded", "/etc/passwd"])
def test_a_file_that_is_not_there_is_named(text):
    with pytest.raises(InputError, match=r"'server'|no such file|unknown"):
        read_profile(text)


@pytest.mark.parametrize(
    "url",
    ["", "x", "postgresql://", "postgresql://h/n", "mysql://u@h/n", "postgresql://u@h:port/n", "postgresql://u@h"],
)
def test_urls_that_cannot_be_are_refused(url):
    with pytest.raises(InputError, match="postgresql://USER@HOST:PORT/NAME"):
        from_url("--database", url, {"postgresql": 5432})


def test_a_password_in_a_url_is_refused_and_not_repeated():
    with pytest.raises(InputError, match="HARDCOAT_DATABASE_PASSWORD") as caught:
        from_url("--database", "postgresql://u:tellnobody@h/n", {"postgresql": 5432})
    assert "tellnobody" not in str(caught.value)


def test_parts_of_a_url():
    url = from_url("--broker", "amqps://me@rabbit.example:1234/my%2Fhost", {"amqp": 5672, "amqps": 5671})
    assert url == {
        "protocol": "amqps",
        "host": "rabbit.example",
        "port": 1234,
        "username": "me",
        "name": "my/host",
    }


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.services
def test_embedded_profiles_of_any_name_and_everything_of_one_in_another(place):
    """The second is made from the first: as many nodes, the same fingerprint; what exists is left as it is."""
    done = place.hardcoat("-p", "first", "setup", "--profile", "embedded")
    assert done.returncode == 0, done.stderr
    assert "profile    first (core.sqlite_dos)" in done.stdout
    before = profiles_of(place)
    assert place.hardcoat("-p", "first", "setup", "--profile", "embedded").stdout == done.stdout
    assert profiles_of(place) == before
    program = """
from aiida import load_profile, orm
load_profile("first")
orm.Group.collection.get_or_create("mine")[0].add_nodes([orm.Dict({"a": i / 7}).store() for i in range(20)])"""
    assert place(sys.executable, "-W", "ignore", "-c", program).returncode == 0
    for _ in range(2):
        done = place.hardcoat("-p", "second", "setup", "--profile", "embedded", "--from", "first")
        assert done.returncode == 0, done.stderr
        rows = [line.rsplit(maxsplit=2) for line in done.stdout.splitlines() if line.startswith("  ")][1:]
        assert all(source == target for _, source, target in rows), done.stdout
        assert ["nodes", "21", "21"] in [[name.strip(), *numbers] for name, *numbers in rows]
    assert "computer   localhost (core.local, core.direct)" in done.stdout


def test_a_profile_that_lacks_a_node_is_found_out(place, monkeypatch):
    """Counts and fingerprint see what a copy lost."""
    from aiida import orm
    from aiida.manage import get_manager

    from aiida_hardcoat.cli.setup_move import content_of, groups_of

    nodes = [orm.Dict({"a": i}).store() for i in range(3)]
    group = orm.Group.collection.get_or_create("to be moved")[0]
    group.add_nodes(nodes)
    backend, uuids = get_manager().get_profile_storage(), [node.uuid for node in nodes]

    def content():
        groups = {name: value for name, value in groups_of(backend, set(uuids)).items() if name[1] == group.label}
        return content_of(backend, uuids, groups)

    whole = content()
    assert content() == whole
    assert whole.counts["nodes"] == whole.counts["members of groups"] == 3
    group.remove_nodes([nodes[0]])
    outside = content()
    assert outside.counts["nodes"] == 3
    assert outside.fingerprint != whole.fingerprint
    orm.Node.collection.delete(nodes[0].pk)
    assert content().counts["nodes"] == 2


BAD = [
    (("--profile", "sever"), "'server'"),
    (("--profile", "nothing.yaml"), "nothing.yaml"),
    (("--from", "hardcoat"), "--profile"),
    (("--profile", "embedded", "--from", "nothing"), "nothing"),
    (("--profile", "embedded", "--database", "postgresql://u@h/n"), "--database"),
    (("--profile", "server", "--database", "postgresql://u:secret@h/n"), "HARDCOAT_DATABASE_PASSWORD"),
    (("--profile", "server"), "HARDCOAT_DATABASE_PASSWORD"),
    (("--computer", "slurm"), "slurm-ssh"),
    (("--host", "x"), "--host"),
    (("--computer", "slurm-ssh", "--host", "-oProxyCommand=x"), "hostname"),
    (("--engine", "asse"), "'ase'"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_mistakes_are_one_line_and_make_nothing(aiida_profile, monkeypatch, arguments, words):
    for name in ("HARDCOAT_DATABASE", "HARDCOAT_BROKER", "HARDCOAT_DATABASE_PASSWORD", "HARDCOAT_BROKER_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    before = list(get_config().profile_names)
    result = CliRunner().invoke(cmd_root, ["setup", *arguments])
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert words in line
    assert "secret" not in line
    assert list(get_config().profile_names) == before


def test_servers_that_are_missing_are_named_each_with_its_start(place):
    """Nothing listens at these ports."""
    with socket.socket() as one, socket.socket() as other:
        ports = []
        for taken in (one, other):
            taken.bind(("127.0.0.1", 0))
            ports.append(taken.getsockname()[1])
    done = place.hardcoat(
        *("setup", "--profile", "server"),
        *("--database", f"postgresql://me@127.0.0.1:{ports[0]}/hardcoat"),
        HARDCOAT_BROKER=f"amqp://me@127.0.0.1:{ports[1]}/hardcoat",
        HARDCOAT_DATABASE_PASSWORD="tellnobody",
        HARDCOAT_BROKER_PASSWORD="tellnobody",
    )
    assert done.returncode == 2
    database, broker = done.stderr.splitlines()
    assert f"127.0.0.1:{ports[0]}" in database
    assert "systemctl start postgresql" in database
    assert f"127.0.0.1:{ports[1]}" in broker
    assert "systemctl start rabbitmq-server" in broker
    assert "tellnobody" not in done.stdout + done.stderr
    assert profiles_of(place) == {}


@pytest.mark.services
def test_doctor_points_out_what_others_can_read(place):
    assert place.hardcoat("setup").returncode == 0
    configuration = place.folder / ".aiida" / "config.json"
    assert stat.S_IMODE(configuration.stat().st_mode) == 0o600
    key = place.folder / ".ssh" / "cluster_key"
    key.parent.mkdir()
    key.write_text("")
    key.chmod(0o640)
    (key.parent / "config").write_text("Host x\n  IdentityFile ~/.ssh/cluster_key\n")
    configuration.chmod(0o644)
    done = place.hardcoat("doctor", "--format", "json")
    mends = {row["what"]: row["mend"] for row in json.loads(done.stdout) if not row["ok"]}
    assert done.returncode == 1
    assert mends["config.json"] == f"chmod 600 {configuration}"
    assert mends["ssh key"] == f"chmod 600 {key}"
    configuration.chmod(0o600)
    key.chmod(0o600)
    done = place.hardcoat("doctor", "--format", "json")
    assert done.returncode == 0
    assert [row["ok"] for row in json.loads(done.stdout) if row["what"] == "private files"] == [True]


# --- who can reach a server ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("address", "exposed"), [("127.0.0.1", []), ("0.0.0.0", ["0.0.0.0"])])
def test_what_listens_beyond_loopback_is_seen(address, exposed):
    with socket.socket() as server:
        server.bind((address, 0))
        server.listen()
        assert open_addresses(server.getsockname()[1]) == exposed


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("10.0.0.1", False)],
)
def test_loopback(host, expected):
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("host", "encrypted", "safe"),
    [("database.example", False, False), ("database.example", True, True), ("127.0.0.1", False, True)],
)
def test_another_machine_is_safe_with_tls_only(host, encrypted, safe):
    from aiida_hardcoat.cli.doctor_services import exposure

    row = exposure("storage", host, [1], encrypted)
    assert row["ok"] is safe


# --- processes that do not go on ----------------------------------------------------------------------------------


def test_stuck_is_what_waits_for_nothing_and_gives_no_sign_of_life(aiida_profile):
    from aiida import orm
    from aiida.common.links import LinkType
    from aiida.tools import delete_nodes

    from aiida_hardcoat.cli.doctor_processes import pks, pks_of_stuck

    def active(caller=None):
        node = orm.WorkChainNode()
        node.set_process_state("waiting")
        if caller is not None:
            node.base.links.add_incoming(caller, LinkType.CALL_WORK, "CALL")
        return node.store()

    before = set(pks())
    caller = active()
    called, paused, ended = active(caller), active(), active()
    paused.pause()
    ended.set_process_state("finished")
    assert set(pks()) - before == {caller.pk, called.pk, paused.pk}
    assert set(pks(paused=True)) - before == {paused.pk}
    assert set(pks_of_stuck(timedelta(0))) - before == {called.pk}
    assert set(pks_of_stuck(timedelta(hours=1))) - before == set()
    for node in (caller, paused, ended):  # with what it calls
        delete_nodes([node.pk], dry_run=False)
