"""From an embedded profile to PostgreSQL and RabbitMQ with one command."""

import pytest

from services.places import ALLOY, SERVER

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def moved(embedded, server, services):
    """The place after everything of the embedded profile was copied into a new one."""
    services.psql(f"CREATE DATABASE moved OWNER {services.NAME} ENCODING 'UTF8' TEMPLATE template0")
    url = server.environment["HARDCOAT_DATABASE"].rpartition("/")[0] + "/moved"
    server.move = ("-p", "moved", "setup", "--profile", "server", "--database", url, "--from", "hardcoat")
    done = server.hardcoat(*server.move)
    assert done.returncode == 0, done.stderr
    server.moved = done.stdout
    return server


def counts(lines):
    """Name, number in the source, number in the target."""
    rows = [line.rsplit(maxsplit=2) for line in lines.splitlines() if line.startswith("  ")]
    return {name.strip(): (source, target) for name, source, target in rows[1:]}


def test_nothing_is_lost(moved):
    table = counts(moved.moved)
    assert all(source == target for source, target in table.values()), moved.moved
    assert int(table["nodes"][0]) == moved.ask("answer = orm.QueryBuilder().append(orm.Node).count()", "hardcoat")
    assert int(table["entries"][0]) == 1
    assert "fingerprint" in table
    assert "catalogue  catalogue (1 entries)" in moved.moved


def test_what_was_computed_is_not_computed_again(moved):
    """The copies have hashes: every job of the same alloy comes from AiiDA's cache."""
    done = moved.hardcoat("-p", "moved", *ALLOY)
    assert done.returncode == 0, done.stderr
    executed = moved.ask(
        """
query = orm.QueryBuilder().append(orm.CalcJobNode, filters={"extras": {"!has_key": "_aiida_cached_from"}})
answer = query.count()""",
        "moved",
    )
    assert executed == 2
    assert (
        moved.ask("from aiida_hardcoat.data.catalogue import catalogue; answer = catalogue().count_entries()", "moved")
        == 1
    )


def test_a_profile_with_unfinished_processes_is_not_moved(moved):
    """Nor is anything made of the new one."""
    moved.ask("node = orm.WorkChainNode()\nnode.set_process_state('waiting')\nanswer = node.store().pk", "hardcoat")
    done = moved.hardcoat("-p", "third", "setup", "--profile", "embedded", "--from", "hardcoat")
    assert done.returncode == 2
    assert "have not ended" in done.stderr
    assert "third" not in moved.verdi("profile", "list")
    assert SERVER in moved.verdi("profile", "list")
