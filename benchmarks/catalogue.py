"""The catalogue at many entries: searches, bundles and the web page, each against a named peer in the same run.

A temporary profile is filled with made-up entries (`synthetic.py`). The shortest of several repetitions counts, with
warm caches, in this process; the load of the machine stands beside what was measured.

    python benchmarks/catalogue.py [--entries 1000 10000 100000]

times one typical search three ways, by the clock, after checking that all give the same rows:

- `search` of `aiida_hardcoat.catalogue.query`, with its check that the index is up to date;
- a bare `sqlite3` query of the same rows and columns on a flat table made in the same run, which is in memory, has an
  SQL index for just this query, and leaves its rows as tuples;
- the plain QueryBuilder query (`search_with_query_builder`).

Beside these stand the time to build the index, to take in one more entry, and what is on disk for each entry. Each
number of entries counts those that are there already.

    python benchmarks/catalogue.py --bundle [1000]

makes, verifies and imports a bundle of that many entries. The peers are AiiDA's own `create_archive` and
`import_archive` for the same nodes, which check nothing, and AiiDA's hash of every data node in the archive. Made-up
entries have no strained cells; what fitting these again takes is shown by the bundle in `exports/`, verified with and
without it.

    python benchmarks/catalogue.py --site [100 10000]

writes the web page of that many entries. The peer is one JSON file of the attributes of all nodes in the profile, read
by one QueryBuilder query.

All take `--storage postgresql`: a server is started on loopback, in a temporary folder, and stopped in the end; it must
be installed (`apt-get install postgresql`). Processor time leaves out what the server takes. To store the entries takes
a minute for 10,000.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from synthetic import hash_nodes, storage_bytes, store_entries, synthetic_profile

SHIPPED = Path(__file__).parents[1] / "exports" / "ti-al-n"

TYPICAL: dict[str, Any] = {
    "system": "Al-Ti-N",
    "structure_type": "B1",
    "x": (0.25, 0.75),
    "ranges": {"bulk_modulus": (250.0, None)},
    "sort": "-shear_modulus",
}
BARE = """
SELECT {columns} FROM flat
WHERE system = 'Al-Ti-N' AND structure_type = 'B1' AND x >= 0.249999 AND x <= 0.750001 AND bulk_modulus >= 250.0
ORDER BY shear_modulus DESC, structure_type, x, pk
"""


class Cost(NamedTuple):
    """Seconds: by the clock, and of processors in this process and in those that it waited for."""

    wall: float
    processor: float

    def __str__(self) -> str:
        return f"{self.processor:8.2f} s of processor time, {self.wall:8.2f} s by the clock"


def best(call: Callable[[], Any], repetitions: int, before: Callable[[], Any] | None = None) -> tuple[Cost, Any]:
    """The least that one of several calls took, each measure by itself, and what the last one gave.

    :param before: called before each, and not measured.
    """
    costs = []
    for _ in range(repetitions):
        if before is not None:
            before()
        wall, processor = time.perf_counter(), processor_seconds()
        result = call()
        costs.append(Cost(time.perf_counter() - wall, processor_seconds() - processor))
    return Cost(min(cost.wall for cost in costs), min(cost.processor for cost in costs)), result


def processor_seconds() -> float:
    return sum(os.times()[:4])


def load() -> str:
    """How busy the machine was in the last minute."""
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"


def folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


# --- search ---------------------------------------------------------------------------------------------------------


def flat_table() -> sqlite3.Connection:
    """All rows of the catalogue in a table of their own."""
    from aiida_hardcoat.catalogue.query import search

    rows = search(sort="pk")
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE flat ({', '.join(rows[0])})")
    connection.executemany(f"INSERT INTO flat VALUES ({', '.join('?' * len(rows[0]))})", map(tuple_of, rows))
    connection.execute("CREATE INDEX flat_by_system ON flat (system, structure_type, x)")
    return connection


def tuple_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row.values())


def time_searches(repetitions: int, slow_repetitions: int) -> dict[str, float]:
    """Seconds of the three ways, after checking that they give the same rows."""
    from aiida_hardcoat.catalogue.query import search, search_with_query_builder

    bare = flat_table()
    search(**TYPICAL)
    indexed_cost, rows = best(lambda: search(**TYPICAL), repetitions)
    if not rows:
        raise SystemExit("too few entries for the search to find one: take a thousand")
    statement = BARE.format(columns=", ".join(rows[0]))
    bare_cost, bare_rows = best(lambda: bare.execute(statement).fetchall(), repetitions)
    plain_cost, plain_rows = best(lambda: search_with_query_builder(**TYPICAL), slow_repetitions)
    if not (rows == plain_rows and list(map(tuple_of, rows)) == bare_rows):
        raise SystemExit("the three searches give different rows")
    return {"rows": len(rows), "indexed": indexed_cost.wall, "bare": bare_cost.wall, "plain": plain_cost.wall}


def report_search(entries: int, storage: str, repetitions: int, slow_repetitions: int) -> None:
    """Fill the profile up to a number of entries and print what was measured."""
    from aiida_hardcoat.catalogue.query import search

    there, stored = fill(entries)
    index_file().unlink(missing_ok=True)
    built, _ = best(lambda: search(limit=1), 1)
    times = time_searches(repetitions, slow_repetitions)
    index_bytes = index_file().stat().st_size
    store_entries(1, entries)
    appended, _ = best(lambda: search(limit=1), 1)
    indexed, bare, plain = (times[name] for name in ("indexed", "bare", "plain"))

    print(f"{entries} entries on {storage}, a search that finds {times['rows']}; {load()}")
    print(f"  indexed search      {1e3 * indexed:9.3f} ms")
    print(f"  bare sqlite3        {1e3 * bare:9.3f} ms   indexed / bare  {indexed / bare:6.2f}")
    print(f"  plain QueryBuilder  {1e3 * plain:9.3f} ms   plain / indexed {plain / indexed:6.1f}")
    print(f"  index built in      {built.wall:9.3f} s    one more entry taken in in {appended.wall:.3f} s")
    print(f"  index               {index_bytes / entries / 1e3:9.3f} kB an entry")
    print(f"  database of AiiDA   {storage_bytes() / (entries + 1) / 1e3:9.3f} kB an entry")
    print(
        f"  made and stored in  {1e3 * stored.processor / (entries - there):9.3f} ms of processor time an entry",
        flush=True,
    )


def fill(entries: int) -> tuple[int, Cost]:
    """Store entries up to a number; how many there were before, and what it took."""
    from aiida_hardcoat.data.catalogue import catalogue

    there = catalogue().count_entries()
    if entries <= there:
        raise SystemExit(f"there are {there} entries already: name larger and larger numbers")
    return there, best(lambda: store_entries(entries - there, there), 1)[0]


def index_file() -> Path:
    from aiida.manage import get_manager
    from aiida.manage.configuration.settings import AiiDAConfigDir

    from aiida_hardcoat.catalogue.index import index_name

    return AiiDAConfigDir.get() / "hardcoat" / index_name(get_manager().get_profile())


# --- bundles --------------------------------------------------------------------------------------------------------


def report_bundle(entries: int, storage: str, repetitions: int) -> None:
    """Make, verify and import a bundle, and print what each took beside what AiiDA alone takes."""
    from aiida.tools.archive import create_archive, import_archive

    from aiida_hardcoat.catalogue.bundle.create import create_bundle
    from aiida_hardcoat.catalogue.bundle.importing import import_bundle
    from aiida_hardcoat.catalogue.bundle.layout import ARCHIVE
    from aiida_hardcoat.catalogue.bundle.quiet import quiet
    from aiida_hardcoat.catalogue.bundle.verify import verify_bundle
    from aiida_hardcoat.data.catalogue import catalogue

    fill(entries)
    hash_nodes()
    with tempfile.TemporaryDirectory(prefix="hardcoat-benchmark-") as temporary, quiet():
        folder, peer = Path(temporary) / "bundle", Path(temporary) / "peer.aiida"
        members = list(catalogue().nodes)
        exported, _ = best(lambda: create_archive(members, peer, overwrite=True), repetitions)
        created, _ = best(lambda: create_bundle(folder, overwrite=True), repetitions)
        hashed, _ = best(lambda: hash_archive(folder / ARCHIVE), repetitions)
        verified, report = best(lambda: verify_bundle(folder), repetitions)
        if not report.ok:
            raise SystemExit(f"the bundle does not hold: {report.findings[0]}")
        received, _ = best(lambda: import_archive(peer), repetitions, before=delete_nodes)
        imported, done = best(lambda: import_bundle(folder), repetitions, before=delete_nodes)
        if done.new_entries != entries:
            raise SystemExit(f"{done.new_entries} of {entries} entries were imported")
        again, done = best(lambda: import_bundle(folder), repetitions)
        if done.new_nodes or done.new_members:
            raise SystemExit("a second import added something")
        archive, whole = (folder / ARCHIVE).stat().st_size, folder_bytes(folder)

    print(f"a bundle of {entries} entries and their predictions, {done.nodes} nodes, on {storage}; {load()}")
    for what, cost, name, other in (
        ("create", created, "create_archive", exported),
        ("verify", verified, "hashes alone", hashed),
        ("import", imported, "import_archive", received),
        ("import again", again, "import_archive", received),
    ):
        print(f"  {what:14}{cost}, {cost.processor / other.processor:5.1f} times {name} ({other.processor:.2f} s)")
    print(
        f"  size          {whole / entries / 1e3:8.2f} kB an entry, the archive {archive / entries / 1e3:.2f} kB of it"
    )
    report_shipped(repetitions)


def report_shipped(repetitions: int) -> None:
    """Verify the bundle that comes with the source, whose entries have their strained cells."""
    from aiida_hardcoat.catalogue.bundle.verify import verify_bundle

    fitted, report = best(lambda: verify_bundle(SHIPPED), repetitions)
    unfitted, _ = best(lambda: verify_bundle(SHIPPED, refit=False), repetitions)
    entries = report.checked["entries"]
    size = folder_bytes(SHIPPED) / entries / 1e3
    print(f"exports/{SHIPPED.name}: {entries} entries with all that they came from, {size:.0f} kB an entry")
    print(f"  verify        {fitted}")
    print(f"  without fits  {unfitted}", flush=True)


def hash_archive(archive: Path) -> None:
    """AiiDA's hash of every data node in an archive."""
    from aiida.orm import Data, QueryBuilder
    from aiida.tools.archive.abstract import get_format

    with get_format().open(archive, "r") as reader:
        for [node] in QueryBuilder(backend=reader.get_backend()).append(Data).iterall(batch_size=100):
            node.base.caching.compute_hash()


def delete_nodes() -> None:
    from aiida import tools
    from aiida.orm import Node, QueryBuilder

    tools.delete_nodes(QueryBuilder().append(Node, project="id").all(flat=True), dry_run=False)


# --- web page -------------------------------------------------------------------------------------------------------


def report_site(entries: int, storage: str, repetitions: int) -> None:
    """Write the page, and print what it took beside a JSON file of all attributes."""
    from aiida_hardcoat.catalogue.query import search
    from aiida_hardcoat.catalogue.site.build import build_site

    fill(entries)
    search(limit=1)  # the index is not what is measured
    with tempfile.TemporaryDirectory(prefix="hardcoat-benchmark-") as temporary:
        page, dump = Path(temporary) / "page", Path(temporary) / "attributes.json"
        built, made = best(lambda: build_site(page, progress=False), repetitions)
        dumped, _ = best(lambda: dump_attributes(dump), repetitions)
        index_bytes, dump_bytes = (page / "data" / "index.js").stat().st_size, dump.stat().st_size
        data_bytes = folder_bytes(page / "data")

    first, data = index_bytes / 1e6, data_bytes / entries / 1e3
    print(f"a page of {entries} entries on {storage}; {load()}")
    print(f"  page          {built}, {1e3 * built.processor / entries:.2f} ms an entry")
    print(f"  JSON file     {dumped}   page / JSON file {built.processor / dumped.processor:6.2f}")
    print(f"  page          {made['bytes'] / 1e6:8.2f} MB in {made['files']} files, the table {first:.2f} MB of it")
    print(f"  its data      {data:8.2f} kB an entry   data / JSON file {data_bytes / dump_bytes:6.2f}", flush=True)


def dump_attributes(path: Path) -> None:
    """One JSON file of the attributes of all nodes in the profile."""
    from aiida.orm import Node, QueryBuilder

    query = QueryBuilder().append(Node, project=["uuid", "attributes"])
    with path.open("w", encoding="utf-8") as stream:
        for uuid, attributes in query.iterall(batch_size=1000):
            stream.write(json.dumps({uuid: attributes}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    subject = parser.add_mutually_exclusive_group()
    subject.add_argument("--entries", type=int, nargs="+", default=[1000, 10000], help="numbers of entries to search")
    subject.add_argument("--bundle", type=int, nargs="?", const=1000, help="number of entries to bundle")
    subject.add_argument("--site", type=int, nargs="*", help="numbers of entries on a web page; 100 and 10000")
    parser.add_argument("--storage", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--repetitions", type=int, default=50, help="of the quick searches")
    parser.add_argument("--slow-repetitions", type=int, default=3, help="of all else")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a server that was started is stopped
    slow = arguments.slow_repetitions
    with synthetic_profile(arguments.storage):
        if arguments.bundle is not None:
            report_bundle(arguments.bundle, arguments.storage, slow)
        elif arguments.site is not None:
            for entries in sorted(arguments.site or [100, 10000]):
                report_site(entries, arguments.storage, slow)
        else:
            for entries in sorted(arguments.entries):
                report_search(entries, arguments.storage, arguments.repetitions, slow)


if __name__ == "__main__":
    main()
