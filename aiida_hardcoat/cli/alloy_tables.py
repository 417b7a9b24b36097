"""Tables of alloys from files and from the catalogue, and how errors on them are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from aiida_hardcoat.cli.properties import SYMBOLS, number_format
from aiida_hardcoat.errors import InputError

if TYPE_CHECKING:
    from hardcoat_ml.alloys import Alloy, Table

CATALOGUE = "catalogue"
"""The word that stands for the entries of the profile where a table is asked for."""

IONS = click.option("--ions", type=click.Choice(["relaxed", "clamped"]), help="Only entries with such ions.")


def load_tables(names: Iterable[str], level: str | None, ions: str | None) -> list[Table]:
    """Tables from files and from the catalogue."""
    from hardcoat_ml.alloys import load_table

    return [catalogue_table(level, ions) if name == CATALOGUE else load_table(name) for name in names]


def catalogue_table(level: str | None, ions: str | None) -> Table:
    """The entries of the profile, oldest first, so that of equal end members the newest counts."""
    from aiida_hardcoat.cli.profile import use_profile

    profile = use_profile()
    from aiida_hardcoat.catalogue.query import search
    from hardcoat_ml.alloys import table_of_rows

    rows = sorted(search(level=level, ions=ions), key=lambda row: int(row["pk"]))
    if not rows:
        raise InputError("the catalogue has no such entry: `hardcoat run` makes some")
    return table_of_rows(rows, {"file": CATALOGUE, "source": f"AiiDA profile {profile.name}"})


def select(table: Table, level: str | None, ions: str | None) -> Table:
    """The alloys of a level and treatment of ions.

    :raises InputError: where none is left.
    """
    from hardcoat_ml.alloys import Table

    chosen = tuple(a for a in table.alloys if a.setting.is_level(level) and ions in (None, a.setting.ions))
    if not chosen:
        there = "; ".join(sorted({f"ions {a.setting.ions}, {a.setting.level}" for a in table.alloys}))
        raise InputError(
            f"{table.source.get('file')} holds nothing of that level and ions: it holds {there or 'nothing'}"
        )
    return Table(chosen, table.source, table.left_out)


def check_one_level(alloys: Iterable[Alloy]) -> None:
    """Refuse to compare predictors over several levels of theory."""
    levels = sorted({alloy.setting.level for alloy in alloys})
    if len(levels) > 1:
        raise InputError(f"the tables hold several levels of theory: choose one with --level: {'; '.join(levels)}")


def say_left_out(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(f"left out: {line}", err=True)


def error_columns() -> dict[str, tuple[str, str]]:
    columns: dict[str, tuple[str, str]] = {}
    for name, symbol in SYMBOLS.items():
        columns[f"{name}_mae"] = (symbol, number_format(name))
        columns[f"{name}_mare"] = ("%", "{:.1f}")
    return columns


def indented(text: str) -> str:
    return "\n".join("  " + line for line in text.splitlines())
