"""The catalogue at many entries: how long a search takes, and what the index costs.

A temporary profile is filled with made-up entries (`synthetic.py`), and one typical search is timed three ways, each as
the best of several repetitions with warm caches, in this process:

- `search` of `aiida_hardcoat.catalogue.query`, with its check that the index is up to date;
- a bare `sqlite3` query of the same rows and columns on a flat table made in the same run, which is in memory, has an
  SQL index for just this query, and leaves its rows as tuples;
- the plain QueryBuilder query (`search_with_query_builder`), by default no more than three times.

Beside these stand the time to build the index, to take in one more entry, and what is on disk for each entry.

    python benchmarks/catalogue.py [--entries 1000 10000 100000] [--storage sqlite|postgresql]

Each number of entries counts those that are there already. Nearly all of the time goes into storing them: minutes for
10,000, an hour for 100,000. PostgreSQL is started by the command itself, on loopback and in a temporary folder; it must
be installed (`apt-get install postgresql`).
"""

from __future__ import annotations

import argparse
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from synthetic import storage_bytes, store_entries, synthetic_profile

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


def best_seconds(call: Callable[[], Any], repetitions: int) -> tuple[float, Any]:
    """The shortest of several calls, and what the last one gave."""
    times = []
    for _ in range(repetitions):
        started = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - started)
    return min(times), result


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
    indexed_seconds, rows = best_seconds(lambda: search(**TYPICAL), repetitions)
    statement = BARE.format(columns=", ".join(rows[0]))
    bare_seconds, bare_rows = best_seconds(lambda: bare.execute(statement).fetchall(), repetitions)
    plain_seconds, plain_rows = best_seconds(lambda: search_with_query_builder(**TYPICAL), slow_repetitions)
    if not (rows == plain_rows and list(map(tuple_of, rows)) == bare_rows):
        raise SystemExit("the three searches give different rows")
    return {"rows": len(rows), "indexed": indexed_seconds, "bare": bare_seconds, "plain": plain_seconds}


def report(entries: int, storage: str, repetitions: int, slow_repetitions: int) -> None:
    """Fill the profile up to a number of entries and print what was measured."""
    from aiida_hardcoat.catalogue.query import search
    from aiida_hardcoat.data.catalogue import catalogue

    there = catalogue().count_entries()
    stored, _ = best_seconds(lambda: store_entries(entries - there, there), 1)
    index_file().unlink(missing_ok=True)
    built, _ = best_seconds(lambda: search(limit=1), 1)
    times = time_searches(repetitions, slow_repetitions)
    index_bytes = index_file().stat().st_size
    store_entries(1, entries)
    appended, _ = best_seconds(lambda: search(limit=1), 1)
    indexed, bare, plain = (times[name] for name in ("indexed", "bare", "plain"))

    print(f"{entries} entries on {storage}, a search that finds {times['rows']}")
    print(f"  indexed search      {1e3 * indexed:9.3f} ms")
    print(f"  bare sqlite3        {1e3 * bare:9.3f} ms   indexed / bare  {indexed / bare:6.2f}")
    print(f"  plain QueryBuilder  {1e3 * plain:9.3f} ms   plain / indexed {plain / indexed:6.1f}")
    print(f"  index built in      {built:9.3f} s    one more entry taken in in {appended:.3f} s")
    print(f"  index               {index_bytes / entries / 1e3:9.3f} kB an entry")
    print(f"  database of AiiDA   {storage_bytes() / (entries + 1) / 1e3:9.3f} kB an entry", flush=True)
    print(f"  bulk insert         {1e3 * stored / (entries - there):9.3f} ms an entry", flush=True)


def index_file() -> Path:
    from aiida.manage import get_manager
    from aiida.manage.configuration.settings import AiiDAConfigDir

    from aiida_hardcoat.catalogue.index import index_name

    return AiiDAConfigDir.get() / "hardcoat" / index_name(get_manager().get_profile())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--storage", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--repetitions", type=int, default=50, help="of the quick searches")
    parser.add_argument("--slow-repetitions", type=int, default=3, help="of the QueryBuilder query")
    arguments = parser.parse_args()
    with synthetic_profile(arguments.storage):
        for entries in sorted(arguments.entries):
            report(entries, arguments.storage, arguments.repetitions, arguments.slow_repetitions)


if __name__ == "__main__":
    main()
