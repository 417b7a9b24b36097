"""The index always says what AiiDA's storage says, whatever happened to either."""

import itertools
import json
import os
import sqlite3
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from aiida import orm
from aiida.manage import get_manager
from aiida.tools import delete_nodes
from aiida.tools.archive import create_archive, import_archive
from conftest import entry_values, linked, prediction_values
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import event

from aiida_hardcoat.catalogue import index
from aiida_hardcoat.catalogue.criteria import COLUMNS, NODE, NUMBERS, SORTABLE
from aiida_hardcoat.catalogue.predictions import LEARNED
from aiida_hardcoat.catalogue.query import levels_of_theory, search, search_with_query_builder
from aiida_hardcoat.data.catalogue import catalogue
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PredictionData
from aiida_hardcoat.errors import InputError

LABELS = ("one", "another")
LEVELS = {"ase:7net-l3i5": "0123456789abcdef", "ase:7net-0": "0123fedcba987654"}
FRACTIONS = [{"Al": 0.5, "Ti": 0.5}, {"Al": 1 / 3, "Ti": 2 / 3}, {"Ti": 1.0}, {"Hf": 0.25, "Zr": 0.75}]


def structure(a=4.2):
    from ase.build import bulk

    return orm.StructureData(ase=bulk("TiN", "rocksalt", a=a))


def store_entry(label=LABELS[0], predicted=None, **changes):
    """An entry with a structure of its own, a member of a group, and its prediction, a member too."""
    node = linked(structure(), ElasticData(label="made up", **entry_values(**changes)))
    members = [node]
    if predicted is not None:
        members.append(store_prediction(node, predicted))
    catalogue(label).add_nodes(members)
    return node


def store_prediction(entry, bulk, **changes):
    source = entry.base.links.get_incoming().one().node.inputs.structure
    return linked(source, PredictionData(**prediction_values(entry.fractions, bulk=bulk, **changes)))


def delete(*nodes, **rules):
    _, done = delete_nodes([node.pk for node in nodes], dry_run=False, **rules)
    assert done


def assert_same(**filters):
    rows = search(**filters)
    assert rows == search_with_query_builder(**filters)
    return rows


def database():
    return Path(get_manager().get_profile_storage().get_session().get_bind().url.database)


_numbers = itertools.count()


def index_file():
    return index.AiiDAConfigDir.get() / "hardcoat" / index.index_name(get_manager().get_profile())


# --- whatever happens in whatever order -------------------------------------------------------------------------

bound = st.one_of(st.none(), st.integers(0, 600), st.floats(0, 600), st.sampled_from([500, 500.4, 0.5, 1, 0, 200]))
bounds = st.tuples(bound, bound).map(lambda pair: pair if None in pair or pair[0] <= pair[1] else pair[::-1])
FILTERS = st.fixed_dictionaries(
    {"sort": st.tuples(st.sampled_from(["", "-"]), st.sampled_from(SORTABLE)).map("".join)},
    optional={
        "system": st.sampled_from(["Al-Ti-N", "N-Ti-Al", "Zr-Hf-N", "Ti-N", "Cr-N"]),
        "elements": st.lists(st.sampled_from(["Al", "Ti", "A", "al", "N", '"', "%"]), unique=True, max_size=2),
        "structure_type": st.sampled_from(["B1", "B3", "B4"]),
        "x": st.sampled_from(
            [(None, None), (0, 1), (0.333333, 0.333333), (0.25, 0.5), (1, 1.0), (None, 0), (0.5, None)]
        ),
        "ranges": st.dictionaries(st.sampled_from([*NUMBERS, *LEARNED]), bounds, max_size=2),
        "fingerprint": st.sampled_from(["01234567", "0123fedcba987654"]),
        "level": st.sampled_from([*LEVELS, "0123f"]),
        "ions": st.sampled_from(["relaxed", "clamped"]),
        "stable": st.booleans(),
        "limit": st.integers(0, 5),
        "learned": st.booleans(),
        "columns": st.lists(
            st.sampled_from([*COLUMNS, *NODE, *LEARNED, "elements", "fractions", "density"]), unique=True
        ),
    },
)
CHANGES = st.fixed_dictionaries(
    {
        "fractions": st.sampled_from(FRACTIONS),
        "structure_type": st.sampled_from(["B1", "B3"]),
        "c11": st.sampled_from([500.0, 500.4, 499.6, 584.0, 100.0]),
        "ions": st.sampled_from(["relaxed", "clamped"]),
    },
    optional={"sqs_seed": st.integers(0, 3), "c_over_a": st.just(1.6)},
)


def answer(find, label, filters):
    """Rows, or the line that says why there are none."""
    try:
        return find(label=label, **filters)
    except InputError as error:
        return str(error)


class Catalogue(RuleBasedStateMachine):
    """Nodes come, go, move between groups and come back, and after each step index and QueryBuilder agree."""

    @initialize()
    def start(self):
        for label in LABELS:
            catalogue(label).clear()
        self.entries, self.archive = [], None

    @rule(
        label=st.sampled_from(LABELS),
        level=st.sampled_from(list(LEVELS)),
        changes=CHANGES,
        predicted=st.one_of(st.none(), st.floats(200.0, 300.0)),
    )
    def store(self, label, level, changes, predicted):
        values = {**changes, "level": level, "level_fingerprint": LEVELS[level]}
        self.entries.append(store_entry(label, predicted, **values))

    @precondition(lambda self: self.entries)
    @rule(data=st.data(), bulk=st.floats(200.0, 300.0), member=st.booleans())
    def predict(self, data, bulk, member):
        node = store_prediction(data.draw(st.sampled_from(self.entries)), bulk)
        if member:
            catalogue(LABELS[0]).add_nodes(node)

    @precondition(lambda self: self.entries)
    @rule(data=st.data(), label=st.sampled_from(LABELS))
    def join(self, data, label):
        catalogue(label).add_nodes(data.draw(st.sampled_from(self.entries)))

    @precondition(lambda self: self.entries)
    @rule(data=st.data(), label=st.sampled_from(LABELS))
    def leave(self, data, label):
        catalogue(label).remove_nodes(data.draw(st.sampled_from(self.entries)))

    @precondition(lambda self: self.entries)
    @rule(data=st.data())
    def call_otherwise(self, data):
        data.draw(st.sampled_from(self.entries)).label = f"called {next(_numbers)}"

    @precondition(lambda self: self.entries)
    @rule(data=st.data(), what=st.sampled_from(["entry", "maker", "structure"]))
    def remove(self, data, what):
        entry = self.entries.pop(data.draw(st.integers(0, len(self.entries) - 1)))
        makers = entry.base.links.get_incoming().all()
        if what == "entry" or not makers:
            delete(entry)
        elif what == "structure":
            delete(makers[0].node.inputs.structure)
        else:
            # The entry stays, without the structure that its predictions are found by.
            delete(makers[0].node, create_forward=False)

    @precondition(lambda self: any(catalogue(label).count() for label in LABELS))
    @rule()
    def export(self):
        self.archive = Path(os.environ["AIIDA_PATH"]) / f"{next(_numbers)}.aiida"
        create_archive([catalogue(label) for label in LABELS], filename=self.archive)

    @precondition(lambda self: self.archive)
    @rule()
    def import_again(self):
        import_archive(self.archive)

    @rule(filters=FILTERS, label=st.sampled_from(LABELS))
    def ask(self, filters, label):
        assert answer(search, label, filters) == answer(search_with_query_builder, label, filters)

    @invariant()
    def agree(self):
        for label in LABELS:
            assert_same(label=label, learned=True, columns=("ctime", "elements", "fractions"))

    def teardown(self):
        for label in LABELS:
            members = list(catalogue(label).nodes)
            if members:
                delete(*members)


TestCatalogue = Catalogue.TestCase
TestCatalogue.settings = settings(
    max_examples=10, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck)
)


# --- keys that SQLite gives again -------------------------------------------------------------------------------


@pytest.fixture
def label(request):
    """The label of a group of one test."""
    return f"{request.node.name} {next(_numbers)}"


def test_a_new_entry_under_the_key_of_a_deleted_one_is_found(label):
    gone = store_entry(label, 250.0, c11=500.0)
    assert [row["c11"] for row in assert_same(label=label, learned=True)] == [500.0]
    pk = gone.pk
    delete(gone.base.links.get_incoming().one().node.inputs.structure)
    new = store_entry(label, 260.0, c11=600.0)
    assert new.pk == pk
    (row,) = assert_same(label=label, learned=True)
    assert (row["c11"], row["predicted_bulk_modulus"]) == (600.0, 260.0)


def test_a_new_prediction_under_the_key_of_a_deleted_one_is_found(label):
    entry = store_entry(label)
    gone = store_prediction(entry, 250.0)
    assert assert_same(label=label, learned=True)[0]["predicted_bulk_modulus"] == 250.0
    pk = gone.pk
    delete(gone)
    new = store_prediction(entry, 260.0)
    assert new.pk == pk
    assert assert_same(label=label, learned=True)[0]["predicted_bulk_modulus"] == 260.0


def test_an_entry_that_came_back_altered_is_read_again(label, tmp_path):
    uuid = store_entry(label, c11=500.0).uuid
    archive = create_archive([catalogue(label)], filename=tmp_path / "as it was.aiida")
    altered = tmp_path / "altered.aiida"
    alter(archive, altered, uuid, {"c11": 501.0})
    rows = []
    for path in (archive, altered):
        entry = orm.load_node(uuid)
        delete(entry.base.links.get_incoming().one().node.inputs.structure)
        import_archive(path)
        catalogue(label).add_nodes(orm.load_node(uuid))  # a group that is there already gets no members from an archive
        rows += assert_same(label=label)
    assert [row["c11"] for row in rows] == [500.0, 501.0]
    assert rows[0] == {**rows[1], "c11": 500.0}  # the key too


def alter(archive, target, uuid, values):
    """A copy of an archive in which one node has other attributes."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            content = source.read(name)
            if name == "db.sqlite3":
                file = target.with_suffix(".sqlite")
                file.write_bytes(content)
                with sqlite3.connect(file) as connection:
                    ((text,),) = connection.execute("SELECT attributes FROM db_dbnode WHERE uuid = ?", [uuid])
                    changed = json.dumps({**json.loads(text), **values})
                    connection.execute("UPDATE db_dbnode SET attributes = ? WHERE uuid = ?", [changed, uuid])
                connection.close()
                content = file.read_bytes()
            copy.writestr(name, content)


# --- transactions -----------------------------------------------------------------------------------------------


def test_what_was_rolled_back_was_never_there(label):
    store_entry(label)
    before = assert_same(label=label)

    def leave_and_fail():
        with get_manager().get_profile_storage().transaction():
            catalogue(label).remove_nodes(orm.load_node(before[0]["pk"]))
            assert assert_same(label=label) == []
            raise RuntimeError

    with pytest.raises(RuntimeError):
        leave_and_fail()
    assert assert_same(label=label) == before


def test_an_update_that_fails_leaves_no_half(label, monkeypatch):
    store_entry(label)
    before = assert_same(label=label)
    store_entry(label, 250.0)

    def fail(*arguments):
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(index, "learn", fail)
        with pytest.raises(RuntimeError):
            search(label=label)
    with sqlite3.connect(index_file()) as connection:
        rows = connection.execute("SELECT pk FROM entries WHERE catalogue = ?", [label]).fetchall()
    connection.close()
    assert rows == [(row["pk"],) for row in before]
    assert len(assert_same(label=label, learned=True)) == 2


SEARCHER = """
import sys
from aiida import load_profile
load_profile(sys.argv[1], allow_switch=True)
from aiida_hardcoat.catalogue.query import search
counts = []
while not counts or counts[-1] < int(sys.argv[3]):
    rows = search(label=sys.argv[2], learned=True)
    assert all(None not in (row["c11"], row["level"], row["uuid"]) for row in rows)
    counts.append(len(rows))
assert counts == sorted(counts), counts
"""


def test_processes_that_search_while_entries_are_stored_see_whole_entries(label):
    store_entry(label, 250.0)
    index_file().unlink(missing_ok=True)  # the first thing that both do is to build it
    profile = get_manager().get_profile().name
    environment = {**os.environ, "AIIDA_PATH": str(index.AiiDAConfigDir.get().parent)}
    command = [sys.executable, "-W", "ignore", "-c", SEARCHER, profile, label, "6"]
    searchers = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for number in range(5):
        store_entry(label, 250.0, sqs_seed=number)
    for searcher in searchers:
        _, errors = searcher.communicate(timeout=120)
        assert searcher.returncode == 0, errors
    assert len(assert_same(label=label, learned=True)) == 6


# --- the token --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["DELETE", "TRUNCATE", "WAL"])
def commits(request, tmp_path):
    """A database in one way to keep a journal, and a function that commits something to it."""
    path = tmp_path / "database.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {request.param}")
    connection.execute("CREATE TABLE numbers (number INTEGER)")
    yield path, lambda number: connection.execute("INSERT INTO numbers VALUES (?)", [number])
    connection.close()


def test_every_commit_changes_the_token_and_reading_does_not(commits, monkeypatch):
    path, commit = commits
    monkeypatch.setattr(index, "SETTLED", 0.02)
    tokens = []
    for number in range(5):
        commit(number)
        while index.sqlite_token(path) is None:  # a log that was written lately says nothing yet
            time.sleep(0.005)
        with sqlite3.connect(path) as reader:
            assert reader.execute("SELECT count(*) FROM numbers").fetchone() == (number + 1,)
        tokens += [index.sqlite_token(path), index.sqlite_token(path)]
        reader.close()
    assert tokens[::2] == tokens[1::2]
    assert len(set(tokens)) == 5


def test_a_file_that_was_only_touched_keeps_its_token(tmp_path):
    path = tmp_path / "database.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE numbers (number INTEGER)")
    connection.close()
    token = index.sqlite_token(path)
    path.touch()
    assert index.sqlite_token(path) == token is not None
    other = tmp_path / "other.sqlite"
    other.write_bytes(path.read_bytes())
    other.replace(path)
    assert index.sqlite_token(path) != token


def test_a_commit_under_way_or_just_now_is_not_trusted(commits):
    path, commit = commits
    if path.with_name(path.name + "-wal").exists():
        commit(1)
    else:
        index.sqlite_token(path)
        path.with_name(path.name + "-journal").write_bytes(b"some pages")
    assert index.sqlite_token(path) is None


# --- the file ---------------------------------------------------------------------------------------------------


def foreign(path):
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE entries (pk INTEGER)")
        connection.execute("CREATE TABLE state (name TEXT, value TEXT)")
    connection.close()


def earlier(path):
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE state SET value = '\"0.0.1\"' WHERE name = 'edition'")
        connection.execute("UPDATE entries SET c11 = -1")
    connection.close()


def without_a_table(path):
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE levels")
    connection.close()


DAMAGES = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no database " * 1000),
    "cut to a half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "cut to a page": lambda path: path.write_bytes(path.read_bytes()[:4096]),
    "overwritten behind its first page": lambda path: path.write_bytes(
        path.read_bytes()[:4096] + b"\xa5" * (path.stat().st_size - 4096)
    ),
    "of another program": foreign,
    "of an earlier version": earlier,
    "without a table": without_a_table,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_file_that_cannot_be_used_is_made_anew_without_a_word(label, damage, capfd):
    for number in range(2):
        store_entry(label, sqs_seed=number)
    expected = search(label=label)
    damage(index_file())
    assert search(label=label, level="ase:7net-l3i5") == expected
    assert levels_of_theory(label) == [("ase:7net-l3i5", LEVELS["ase:7net-l3i5"])]
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def no_folder(tmp_path, monkeypatch):
    """A folder that cannot be made, since a file has its name; and another that can."""
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(index.AiiDAConfigDir, "get", lambda: tmp_path / "file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_the_cache_folder_takes_its_place(label, no_folder):
    store_entry(label)
    assert len(assert_same(label=label)) == 1
    (file,) = (no_folder / "cache" / "aiida-hardcoat").iterdir()
    assert file.name == index.index_name(get_manager().get_profile())


def test_without_any_folder_it_is_kept_in_memory(label, no_folder, monkeypatch):
    (no_folder / "cache").write_text("")
    monkeypatch.setattr(index, "_in_memory", {})
    for number in range(3):
        store_entry(label, sqs_seed=number)
        assert len(assert_same(label=label)) == number + 1


# --- quick ------------------------------------------------------------------------------------------------------


def test_an_index_that_is_up_to_date_is_not_compared_with_the_storage(label):
    store_entry(label)
    expected = search(label=label)
    statements = []
    engine = get_manager().get_profile_storage().get_session().get_bind()
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    try:
        assert search(label=label) == expected
        assert search(label=label, sort="-c11", level="ase:7net-l3i5") == expected
    finally:
        engine.dispatch._clear()
    assert statements == []


def test_only_what_is_new_is_read(label, monkeypatch):
    for number in range(3):
        store_entry(label, 250.0, sqs_seed=number)
    search(label=label)
    read, read_nodes = [], index.read_nodes

    def noted(session, pks):
        read.extend(pks)
        return read_nodes(session, pks)

    monkeypatch.setattr(index, "read_nodes", noted)
    entry = store_entry(label)
    prediction = store_prediction(entry, 260.0)
    assert_same(label=label, learned=True)
    assert sorted(read) == [entry.pk, prediction.pk]


# --- archives ---------------------------------------------------------------------------------------------------

ARCHIVE_SEARCHER = """
import json, sys
from aiida import load_profile
from aiida.storage.sqlite_zip.backend import SqliteZipBackend
load_profile(SqliteZipBackend.create_profile(sys.argv[1]))
from aiida_hardcoat.catalogue.query import search, search_with_query_builder
filters = json.loads(sys.argv[2])
print(json.dumps([find(**filters) for find in (search, search, search_with_query_builder)]))
"""


def test_an_archive_that_is_opened_read_only_is_searched_too(label, tmp_path):
    for number, fractions in enumerate(FRACTIONS):
        store_entry(label, 250.0 + number, fractions=fractions)
    archive = create_archive([catalogue(label)], filename=tmp_path / "entries.aiida")
    archive.chmod(0o444)
    filters = {"label": label, "sort": "-bulk_modulus_disagreement", "ranges": {"c11": (500, None)}}
    expected = [{**row, "pk": None} for row in search(**filters)]
    # In a process of its own, because nodes do not survive that their profile is left.
    command = [sys.executable, "-W", "ignore", "-c", ARCHIVE_SEARCHER, str(archive), json.dumps(filters)]
    environment = {**os.environ, "AIIDA_PATH": str(tmp_path)}
    for _ in range(2):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        for rows in json.loads(done.stdout):
            assert [{**row, "pk": None} for row in rows] == expected
    assert len(expected) == len(FRACTIONS)
    (file,) = (tmp_path / ".aiida" / "hardcoat").iterdir()
    assert file.name.startswith("index-archive-")
