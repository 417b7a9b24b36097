"""A flat copy of the catalogue, so that a search stays fast: one SQLite file, disposable and never the truth.

One row of one table is one entry of one group, with every scalar of the entry and what the newest prediction says. The
file lies in AiiDA's folder, below ``hardcoat``, or where that cannot be written in the user's cache folder; where
neither can be, the index is kept in memory for the life of the process. A file that is damaged, or is not ours, or was
written by another version, is made anew.

Each search first compares a *token* of the storage, which is cheap and changes with every commit, with that under which
the index was last brought up to date (:func:`storage_token`). Where it differs, the members of the groups and the
predictions, by primary key *and* UUID, and the links between nodes are compared with those that the index knows, and
what differs is read or removed, all in one transaction. Counts and largest keys would not do: SQLite gives the key of a
deleted node to the next one. Attributes of a stored node never change; a node that was deleted and came back with an
archive may differ, so that the members of every new import are read again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from aiida.manage import Profile, get_manager
from aiida.manage.configuration.settings import AiiDAConfigDir
from aiida.orm import CalcFunctionNode, ImportGroup, QueryBuilder, StructureData
from sqlalchemy import bindparam, text

from aiida_hardcoat import __version__
from aiida_hardcoat.catalogue.criteria import FIELDS, FLAGS, NESTED, NODE, Criteria, with_known_level
from aiida_hardcoat.catalogue.predictions import LEARNED, learned_columns
from aiida_hardcoat.data.catalogue import CatalogueGroup
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PROPERTIES, PredictionData

Found = TypeVar("Found")
Entry = tuple[str, int]
"""Label of a group and primary key of one of its entries."""

APPLICATION_ID = 0x68636F61
"""Marks a SQLite file as ours."""
PATIENCE = 120.0
"""Seconds to wait for another process that brings the index up to date."""
SETTLED = 2.0
"""Seconds after which another write to a file is sure to give it another time, on any file system."""
PAGE_SIZE = 16384
"""Bytes; rows of entries are wide."""
CHUNK = 1000
MANY = 5000
"""With more new links than this, what predictions say is looked up for all entries at once."""


def column_type(name: str) -> str:
    """The type that SQLite stores a column as."""
    if name in LEARNED:
        return "REAL"
    if name == "pk":
        return "INTEGER"
    if name in NODE or name in NESTED:
        return "TEXT"
    annotation = ElasticData.AttributesModel.model_fields[name].annotation
    kinds = {float: "REAL", int: "INTEGER", bool: "INTEGER"}
    return next((stored for kind, stored in kinds.items() if annotation in (kind, kind | None)), "TEXT")


STORED = ("catalogue", *NODE, *FIELDS, *LEARNED)
# Entries lie in the file in the order of the primary key: what is searched for together is found on few pages.
SCHEMA = f"""
CREATE TABLE entries (catalogue TEXT, {", ".join(f"{name} {column_type(name)}" for name in STORED[1:])},
  PRIMARY KEY (catalogue, system, structure_type, x, pk)) WITHOUT ROWID;
CREATE UNIQUE INDEX entries_by_pk ON entries (pk, catalogue);
CREATE TABLE predictions (pk INTEGER PRIMARY KEY, uuid TEXT);
CREATE TABLE levels (catalogue TEXT, level TEXT, level_fingerprint TEXT);
CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT);
"""
EDITION = f"{__version__} {hashlib.sha256(SCHEMA.encode()).hexdigest()[:16]}"
"""An index of another edition is made anew."""


def select(criteria: Criteria) -> list[dict[str, Any]]:
    """The rows that match, of the storage of the loaded profile as it is now.

    :raises InputError: for a level of theory that the catalogue does not have.
    """

    def read(connection: sqlite3.Connection) -> list[dict[str, Any]]:
        wanted = criteria
        if criteria.level is not None or criteria.fingerprint is not None:
            wanted = with_known_level(criteria, read_levels(connection, criteria.label))
        return read_rows(connection, wanted)

    return with_index(read)


def levels(label: str) -> list[tuple[str, str]]:
    """Level and fingerprint of every level of theory that entries of the group have; none where it is empty."""
    return with_index(lambda connection: read_levels(connection, label))


# --- reading --------------------------------------------------------------------------------------------------------


def read_rows(connection: sqlite3.Connection, criteria: Criteria) -> list[dict[str, Any]]:
    names = ("pk", "uuid", "label", *criteria.columns)
    conditions = ["catalogue = ?"]
    values: list[Any] = [criteria.label]
    equal = {**criteria.equal, "level": criteria.level, "level_fingerprint": criteria.fingerprint}
    for name, value in equal.items():
        if value is not None:
            conditions.append(f"{name} = ?")
            values.append(value)
    for element in criteria.elements:
        conditions.append("instr(elements, ?) > 0")
        values.append(json.dumps(element))
    for name, bounds in criteria.ranges.items():
        for sign, bound in zip((">=", "<="), bounds, strict=True):
            if bound is not None:
                conditions.append(f"{name} {sign} ?")
                values.append(bound)
    direction = "DESC" if criteria.falling else "ASC"
    values.append(-1 if criteria.limit is None else criteria.limit)
    found = connection.execute(
        f"SELECT {', '.join(names)} FROM entries WHERE {' AND '.join(conditions)}"
        f" ORDER BY {criteria.order} IS NULL, {criteria.order} {direction}, structure_type, x, pk LIMIT ?",
        values,
    ).fetchall()
    rows = [dict(zip(names, row, strict=True)) for row in found]
    converted: dict[str, Callable[[Any], Any]] = {**dict.fromkeys(FLAGS, bool), **dict.fromkeys(NESTED, json.loads)}
    for name in converted.keys() & set(names):
        convert = converted[name]
        for row in rows:
            row[name] = convert(row[name])
    return rows


def read_levels(connection: sqlite3.Connection, label: str) -> list[tuple[str, str]]:
    query = "SELECT level, level_fingerprint FROM levels WHERE catalogue = ? ORDER BY level, level_fingerprint"
    return connection.execute(query, [label]).fetchall()


# --- where the index lies -------------------------------------------------------------------------------------------

_in_memory: dict[str, sqlite3.Connection] = {}
_memory_lock = threading.RLock()


def with_index(read: Callable[[sqlite3.Connection], Found]) -> Found:
    """What a function reads from the index of the loaded profile, brought up to date."""
    backend = get_manager().get_profile_storage()
    name = index_name(backend.profile)
    for folder in (AiiDAConfigDir.get() / "hardcoat", cache_folder()):
        with suppress(OSError, sqlite3.OperationalError):
            return with_file(folder / name, backend, read)
    with _memory_lock:
        if name not in _in_memory:
            _in_memory[name] = connect(":memory:", check_same_thread=False)
        return read_fresh(_in_memory[name], backend, read)


def with_file(path: Path, backend: Any, read: Callable[[sqlite3.Connection], Found]) -> Found:
    """The same from one file.

    :raises OSError, sqlite3.OperationalError: where it cannot be used.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with closing(connect(path)) as connection:
            return read_fresh(connection, backend, read)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
    discard(path)
    with closing(connect(path)) as connection:
        return read_fresh(connection, backend, read)


def connect(path: str | Path, check_same_thread: bool = True) -> sqlite3.Connection:
    """A connection whose transactions are begun by hand."""
    connection = sqlite3.connect(path, PATIENCE, isolation_level=None, check_same_thread=check_same_thread)
    connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")  # of a file that is to be made
    return connection


def is_damage(error: sqlite3.Error) -> bool:
    """Whether a file is no SQLite file, a broken one, or lacks a table that ours has."""
    damage = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR)
    return isinstance(error, Foreign) or getattr(error, "sqlite_errorcode", 0) & 0xFF in damage


def discard(path: Path) -> None:
    for end in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)


def index_name(profile: Profile) -> str:
    """The name of the file. An archive gets another UUID each time that it is opened: its path counts."""
    if profile.storage_backend == "core.sqlite_zip":
        path = Path(profile.storage_config["filepath"]).resolve()
        return f"index-archive-{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.sqlite"
    return f"index-{profile.uuid}.sqlite"


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aiida-hardcoat"


# --- up to date -----------------------------------------------------------------------------------------------------


class Foreign(sqlite3.DatabaseError):
    """A SQLite file that some other program made."""


def read_fresh(connection: sqlite3.Connection, backend: Any, read: Callable[[sqlite3.Connection], Found]) -> Found:
    """What a function reads, in one transaction, from an index that was up to date when it was called."""
    token = storage_token(backend)
    with transaction(connection, "DEFERRED"):
        if token is not None and token == known_token(connection):
            return read(connection)
    with transaction(connection, "IMMEDIATE"):
        bring_up_to_date(connection, backend)
    with transaction(connection, "DEFERRED"):
        return read(connection)


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str) -> Iterator[None]:
    connection.execute(f"BEGIN {kind}")
    try:
        yield
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def storage_token(backend: Any) -> str | None:
    """What changes whenever something is committed to the storage; None where that cannot be said for sure.

    PostgreSQL: the snapshot of the server, which is equal where the same transactions are visible. SQLite: see
    :func:`sqlite_token`. An archive: inode, size and time of its file.
    """
    if backend.profile.storage_backend == "core.sqlite_zip":
        archive = Path(backend.profile.storage_config["filepath"])
        return files_token([archive / "db.sqlite3" if archive.is_dir() else archive])
    session = backend.get_session()
    engine = session.get_bind()
    if engine.dialect.name == "postgresql":
        snapshot = session.execute(text("SELECT pg_postmaster_start_time(), txid_current_snapshot()")).one()
        return " ".join(map(str, snapshot))
    database = engine.url.database
    return None if database in (None, "", ":memory:") else sqlite_token(Path(database))


_open_files: dict[tuple[int, int], int] = {}
"""Files of databases by device and inode. They stay open: to close one would end every lock that SQLite has on it."""


def sqlite_token(database: Path) -> str | None:
    """Inode, size, and the counter of commits in the file's header (https://www.sqlite.org/fileformat2.html).

    The time of the file says less: AiiDA touches it whenever it loads a profile. Only where the database has a
    write-ahead log, which the counter does not count, it is the time of that and of the file.
    """
    state = database.stat()
    key = state.st_dev, state.st_ino
    if key not in _open_files:
        _open_files[key] = os.open(database, os.O_RDONLY)
    header = os.pread(_open_files[key], 100, 0)
    if len(header) < 100:
        return None
    if header[18] != 1:
        return files_token([database, Path(f"{database}-wal")])
    with suppress(FileNotFoundError):
        if Path(f"{database}-journal").stat().st_size:
            return None  # a commit is under way, and may yet be undone
    return f"{state.st_ino}:{state.st_size}:{int.from_bytes(header[24:28], 'big')}"


def files_token(paths: Iterable[Path]) -> str | None:
    """Inode, size and time, unless a file was written so lately that another write could have the same time."""
    states = []
    for path in paths:
        with suppress(FileNotFoundError):
            states.append(path.stat())
    if not states or time.time() - max(state.st_mtime for state in states) < SETTLED:
        return None
    return " ".join(f"{state.st_ino}:{state.st_size}:{state.st_mtime_ns}" for state in states)


def known_token(connection: sqlite3.Connection) -> str | None:
    """The token that the index was brought up to date under; None for one of another edition, or an empty file."""
    if connection.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
        return None
    state = read_state(connection)
    return state["token"] if state["edition"] == EDITION else None


def read_state(connection: sqlite3.Connection) -> dict[str, Any]:
    return {name: json.loads(value) for name, value in connection.execute("SELECT name, value FROM state")}


@dataclass(frozen=True)
class Links:
    """The links of a storage, as far as can be told from a sum over them."""

    count: int = 0
    checksum: int = 0
    last: int = 0


def bring_up_to_date(connection: sqlite3.Connection, backend: Any) -> None:
    """Compare with the storage and read or remove what differs; to be called in a transaction.

    :raises Foreign: for a file that is not ours.
    """
    token = storage_token(backend)  # before anything is read: what is committed meanwhile will be found next time
    ensure_schema(connection)
    state = read_state(connection)
    if token is not None and token == state["token"]:
        return  # another process was faster
    session = backend.get_session()
    imports = import_groups()
    again = members_of(session, [pk for uuid, pk in imports.items() if uuid not in state["imports"]])
    links = sum_links(session)
    found = session.execute(NODES, {"kind": PredictionData.class_node_type})
    predictions = {(pk, str(uuid)) for pk, uuid in found}
    known_predictions = set(connection.execute("SELECT pk, uuid FROM predictions"))
    entries = present_entries(session)
    known_entries = {
        (catalogue, pk): (uuid, label)
        for catalogue, pk, uuid, label in connection.execute("SELECT catalogue, pk, uuid, label FROM entries")
    }

    removed = [key for key, node in known_entries.items() if entries.get(key) != node or key[1] in again]
    added = [key for key, node in entries.items() if known_entries.get(key) != node or key[1] in again]
    connection.executemany("DELETE FROM entries WHERE catalogue = ? AND pk = ?", removed)
    insert_entries(connection, session, {key: entries[key] for key in added})

    known_links = Links(**state["links"])
    if known_predictions <= predictions and sum_links(session, known_links.last) == known_links:
        pks = [pk for pk, _ in predictions - known_predictions] + [pk for pk, _ in predictions if pk in again]
        beside = entries_beside(session, pks, known_links.last) if links != known_links or pks else set()
    else:
        beside = None  # something was deleted: any entry may have lost its prediction
    learn(connection, session, {pk for _, pk in (entries if beside is None else added)} | (beside or set()))

    if known_predictions != predictions:
        connection.executemany("DELETE FROM predictions WHERE pk = ? AND uuid = ?", known_predictions - predictions)
        connection.executemany("INSERT INTO predictions VALUES (?, ?)", predictions - known_predictions)
    if removed or added:
        connection.execute("DELETE FROM levels")
        connection.execute("INSERT INTO levels SELECT DISTINCT catalogue, level, level_fingerprint FROM entries")
    now = {"edition": EDITION, "token": token, "links": vars(links), "imports": sorted(imports)}
    if now != state:
        write_state(connection, now)


def ensure_schema(connection: sqlite3.Connection) -> None:
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if tables and connection.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
        raise Foreign("made by another program")
    if tables and read_state(connection)["edition"] == EDITION:
        return
    for name in tables:
        connection.execute(f'DROP TABLE "{name}"')
    for statement in SCHEMA.split(";"):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    write_state(connection, {"edition": EDITION, "token": None, "links": vars(Links()), "imports": []})


def write_state(connection: sqlite3.Connection, state: Mapping[str, Any]) -> None:
    values = [(name, json.dumps(value)) for name, value in state.items()]
    connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", values)


# --- what the storage holds: plain SQL on AiiDA's tables, which is several times faster than a QueryBuilder here ----

NODES = text("SELECT id, uuid FROM db_dbnode WHERE node_type = :kind")
MEMBERS = text(
    "SELECT node.id, node.uuid, node.label FROM db_dbgroup_dbnodes AS member"
    " JOIN db_dbnode AS node ON node.id = member.dbnode_id"
    " WHERE member.dbgroup_id = :group AND node.node_type = :kind"
)
ALL_MEMBERS = text("SELECT dbnode_id FROM db_dbgroup_dbnodes WHERE dbgroup_id = :group")
ATTRIBUTES = text("SELECT id, ctime, attributes FROM db_dbnode WHERE id IN :pks").bindparams(
    bindparam("pks", expanding=True)
)
LINKS = text(
    "SELECT count(*), coalesce(sum((CAST(input_id AS BIGINT) * 1000003 + output_id) % 2147483647), 0),"
    " coalesce(max(id), 0) FROM db_dblink WHERE id <= :last"
)
NEW_LINKS = text("SELECT input_id, output_id FROM db_dblink WHERE id > :last LIMIT :most")
INPUTS = text("SELECT DISTINCT input_id FROM db_dblink WHERE output_id IN :pks").bindparams(
    bindparam("pks", expanding=True)
)
EVERY_LINK = 2**62


def import_groups() -> dict[str, int]:
    """UUID and primary key of the group that AiiDA makes for each archive that is imported."""
    return dict(QueryBuilder().append(ImportGroup, project=["uuid", "id"]).iterall())


def members_of(session: Any, groups: Iterable[int]) -> set[int]:
    return {pk for group in groups for (pk,) in session.execute(ALL_MEMBERS, {"group": group})}


def sum_links(session: Any, last: int = EVERY_LINK) -> Links:
    """Of all links, or of those up to one."""
    return Links(*map(int, session.execute(LINKS, {"last": last}).one()))


def present_entries(session: Any) -> dict[Entry, tuple[str, str]]:
    """UUID and label of the entries of every group."""
    groups = QueryBuilder().append(CatalogueGroup, project=["id", "label"]).all()
    return {
        (catalogue, pk): (str(uuid), label)
        for group, catalogue in groups
        for pk, uuid, label in session.execute(MEMBERS, {"group": group, "kind": ElasticData.class_node_type})
    }


def read_nodes(session: Any, pks: Iterable[int]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Primary key, time of creation and attributes of nodes."""
    for chunk in chunks(sorted(set(pks))):
        for pk, ctime, attributes in session.execute(ATTRIBUTES, {"pks": chunk}):
            # SQLite gives what it has stored, text.
            values = json.loads(attributes) if isinstance(attributes, str) else attributes
            made = datetime.fromisoformat(ctime).replace(tzinfo=UTC) if isinstance(ctime, str) else ctime
            yield pk, made.astimezone(UTC).isoformat(timespec="microseconds"), values


def chunks(values: Sequence[int]) -> Iterator[Sequence[int]]:
    return (values[first : first + CHUNK] for first in range(0, len(values), CHUNK))


def insert_entries(connection: sqlite3.Connection, session: Any, entries: Mapping[Entry, tuple[str, str]]) -> None:
    """Read entries and add them, but for such as lack what they are ordered by."""
    groups: dict[int, list[str]] = {}
    for catalogue, pk in entries:
        groups.setdefault(pk, []).append(catalogue)
    names = STORED[: -len(LEARNED)]
    statement = f"INSERT OR IGNORE INTO entries ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    for pk, ctime, attributes in read_nodes(session, groups):
        values = [storable(name, attributes.get(name)) for name in FIELDS]
        connection.executemany(
            statement, [(catalogue, pk, *entries[catalogue, pk], ctime, *values) for catalogue in groups[pk]]
        )


def storable(name: str, value: Any) -> Any:
    if name in NESTED:
        return json.dumps(value)
    if isinstance(value, int) and value.bit_length() > 63:
        return float(value)  # more than a column of SQLite can hold
    return value


def entries_beside(session: Any, predictions: Collection[int], last: int) -> set[int] | None:
    """Entries that predictions, or links after one, may say something new about; None for any entry."""
    new_links = session.execute(NEW_LINKS, {"last": last, "most": MANY + 1}).all()
    if len(new_links) + len(predictions) > MANY:
        return None
    nodes = {pk for link in new_links for pk in link} | inputs_of(session, predictions)
    candidates = nodes | inputs_of(session, nodes)
    query = QueryBuilder().append(StructureData, filters={"id": {"in": sorted(candidates)}}, tag="structure")
    query.append(CalcFunctionNode, with_incoming="structure", tag="fit")
    query.append(ElasticData, with_incoming="fit", project="id")
    return set(query.all(flat=True)) if candidates else set()


def inputs_of(session: Any, nodes: Iterable[int]) -> set[int]:
    return {pk for chunk in chunks(sorted(nodes)) for (pk,) in session.execute(INPUTS, {"pks": chunk})}


def learn(connection: sqlite3.Connection, session: Any, entries: set[int]) -> None:
    """Look up what the newest prediction says of entries."""
    newest = newest_predictions(entries)
    predictions = {pk: values for pk, _, values in read_nodes(session, newest.values())}
    select = f"SELECT DISTINCT pk, {', '.join(PROPERTIES)} FROM entries WHERE pk = ?"
    update = f"UPDATE entries SET {', '.join(f'{name} = ?' for name in LEARNED)} WHERE pk = ?"
    for entry in sorted(entries):
        known = predictions.get(newest.get(entry, 0))
        for pk, *moduli in connection.execute(select, [entry]).fetchall():
            row = dict(zip(PROPERTIES, moduli, strict=True))
            learned = learned_columns(row, [] if known is None else [known])
            connection.execute(update, [*(learned[name] for name in LEARNED), pk])


def newest_predictions(entries: Collection[int]) -> dict[int, int]:
    """The newest prediction for the structure of each entry, both by primary key."""
    if not entries:
        return {}
    query = QueryBuilder().append(ElasticData, filters={"id": {"in": sorted(entries)}}, tag="entry", project="id")
    query.append(CalcFunctionNode, with_outgoing="entry", tag="fit")
    query.append(StructureData, with_outgoing="fit", tag="structure")
    query.append(CalcFunctionNode, with_incoming="structure", tag="predict")
    query.append(PredictionData, with_incoming="predict", project=["ctime", "id"])
    return {entry: prediction for entry, _, prediction in sorted(query.iterall(), key=lambda row: row[1:])}
