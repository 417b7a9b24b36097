"""``hardcoat bundle``."""

import json
from functools import partial

import pytest
from bundles import stored_entry, stored_prediction
from click.testing import CliRunner
from conftest import assert_refused, empty_catalogue

from aiida_hardcoat.catalogue.bundle import create, layout
from aiida_hardcoat.catalogue.bundle.checksums import write_checksums
from aiida_hardcoat.catalogue.bundle.create import create_bundle
from aiida_hardcoat.cli.bundle import cmd_bundle

LABEL = "bundles of the command"


@pytest.fixture(scope="module")
def bundle(aiida_profile, tmp_path_factory):
    entry = stored_entry()
    empty_catalogue(LABEL).add_nodes([entry, stored_prediction(entry)])
    folder = tmp_path_factory.mktemp("bundles") / "made"
    create_bundle(folder, label=LABEL)
    return folder


@pytest.fixture(autouse=True)
def _own_catalogue(monkeypatch):
    monkeypatch.setattr(create, "create_bundle", partial(create_bundle, label=LABEL))


def invoke(*arguments):
    return CliRunner().invoke(cmd_bundle, [str(argument) for argument in arguments])


def test_create_verify_and_import(bundle, tmp_path):
    result = invoke("create", tmp_path / "new", "--ions", "relaxed", "--author", "Doe, Jane", "--format", "json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["entries"] == 1
    result = invoke("verify", tmp_path / "new", "--format", "json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["ok"]
    result = invoke("import", tmp_path / "new", "--group", "by command")
    assert result.exit_code == 0, result.output
    assert "1 entries and 1 predictions added" in result.stdout
    assert "nothing new" in invoke("import", tmp_path / "new", "--group", "by command").stdout


def test_a_citation_without_authors_and_an_address_are_said(bundle, tmp_path):
    result = invoke("create", tmp_path / "new")
    assert "--author" in result.stderr
    assert result.stdout.startswith(f"{tmp_path / 'new'}: 1 entries")


def test_an_altered_bundle_exits_with_one_and_is_not_imported(bundle, tmp_path):
    assert invoke("create", tmp_path / "new").exit_code == 0
    path = tmp_path / "new" / layout.TABLE_CSV
    path.write_text(path.read_text().replace("500.0", "501.0"))
    write_checksums(path.parent)
    result = invoke("verify", path.parent)
    assert result.exit_code == 1
    assert "WRONG entries.csv" in result.stdout
    assert "c11: is not that of the archive, stored '501.0', derived '500.0'" in result.stdout
    result = invoke("verify", path.parent, "--format", "json")
    assert result.exit_code == 1
    findings = json.loads(result.stdout)["findings"]
    assert {"where", "field", "uuid", "stored", "derived"} <= findings[0].keys()
    assert "c11" in [finding["field"] for finding in findings]
    result = invoke("import", path.parent, "--group", "altered by command")
    assert result.exit_code == 2
    assert "--force" in result.stderr
    result = invoke("import", path.parent, "--group", "altered by command", "--force")
    assert result.exit_code == 0
    assert "WARNING" in result.stderr


@pytest.mark.parametrize("command", ["verify", "import"])
@pytest.mark.parametrize("what", ["missing", "text", "folder", "archive"])
def test_what_is_no_bundle_is_one_line(bundle, command, what, tmp_path):
    path = tmp_path / what
    if what == "text":
        path.write_text("hello")
    elif what == "folder":
        path.mkdir()
    elif what == "archive":
        path = bundle / layout.ARCHIVE
    assert_refused(invoke(command, path), "exist" if what == "missing" else "no bundle")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--system", "Zr-N"], "no entry matches"),
        (["--licence", "MIT"], "CC-BY-4.0"),
        (["--range", "c11=low:"], "no range"),
    ],
)
def test_what_cannot_be_bundled_is_one_line(bundle, tmp_path, arguments, words):
    assert_refused(invoke("create", tmp_path / "new", *arguments), words)
    assert not any(tmp_path.iterdir())
