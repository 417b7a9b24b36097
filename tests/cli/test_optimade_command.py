"""``hardcoat optimade``."""

import os
import signal
import socket
import subprocess
import sys

import pytest
import requests
from aiida import orm
from click.testing import CliRunner
from conftest import entry_values, linked, rocksalt

from aiida_hardcoat.catalogue.optimade import server
from aiida_hardcoat.catalogue.optimade.files import write_optimade
from aiida_hardcoat.cli.optimade import cmd_optimade
from aiida_hardcoat.data.elastic import ElasticData


@pytest.fixture(scope="module")
def bundle(aiida_profile, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    values = entry_values({"Ti": 1.0}, number_of_atoms=8)
    write_optimade([linked(orm.StructureData(ase=rocksalt()), ElasticData(**values))], folder)
    return folder


@pytest.fixture
def installed():
    pytest.importorskip("mongomock", reason="the extra optimade is not installed")


def invoke(*arguments):
    return CliRunner().invoke(cmd_optimade, [*map(str, arguments)])


def assert_refused(result, words):
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert words in line


@pytest.mark.usefixtures("installed")
def test_it_serves_until_ctrl_c(bundle, tmp_path):
    code = "from aiida_hardcoat.cli.optimade import cmd_optimade; cmd_optimade()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--bundle", str(bundle), "--port", "0"],
        env={**os.environ, "AIIDA_PATH": str(tmp_path)},  # where there is no profile
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        first = process.stdout.readline()
        assert first.startswith("1 structure at http://127.0.0.1:"), first or process.stderr.read()
        url = first.split()[3].rstrip(",")
        examples = process.stdout.readline() + process.stdout.readline()
        assert f"{url}/structures?filter=_hardcoat_bulk_modulus>250" in examples
        [found] = requests.get(f"{url}/structures", {"filter": 'elements HAS "Ti"'}, timeout=20).json()["data"]
        assert found["attributes"]["_hardcoat_c11"] == 500.0
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0
    assert errors.splitlines()[-1] == "stopped"
    assert "Traceback" not in errors


@pytest.mark.usefixtures("installed")
def test_a_port_that_is_taken_is_one_line(bundle):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert_refused(invoke("--bundle", bundle, "--port", port), f"port {port}: Address already in use; --port")


@pytest.mark.usefixtures("installed")
def test_other_machines_are_not_let_in_by_mistake(bundle):
    assert_refused(invoke("--bundle", bundle, "--host", "0.0.0.0", "--port", 0), "--public")


@pytest.mark.usefixtures("installed")
def test_a_folder_that_is_no_bundle_is_one_line(tmp_path):
    assert_refused(invoke("--bundle", tmp_path, "--port", 0), "hardcoat bundle create")


def test_without_the_extra_the_line_says_what_to_install(bundle, monkeypatch):
    monkeypatch.setattr(server, "NEEDED", ("no_such_package",))
    assert_refused(invoke("--bundle", bundle, "--port", 0), "pip install 'aiida-hardcoat[optimade]'")


@pytest.mark.usefixtures("installed")
def test_many_structures_come_with_a_warning(bundle, monkeypatch):
    monkeypatch.setattr(server, "MANY", 0)
    monkeypatch.setattr(server, "serve", lambda app, listener: None)
    result = invoke("--bundle", bundle, "--port", 0)
    assert result.exit_code == 0
    assert "OPTIMADE_DATABASE_BACKEND=mongodb" in result.stderr


@pytest.mark.usefixtures("installed")
def test_a_database_that_does_not_answer_is_one_line(bundle, monkeypatch):
    monkeypatch.setenv("OPTIMADE_DATABASE_BACKEND", "mongodb")
    monkeypatch.setenv("OPTIMADE_MONGO_URI", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200")
    assert_refused(invoke("--bundle", bundle, "--port", 0), "does not answer")
