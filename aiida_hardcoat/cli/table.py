"""``hardcoat table``: the three tables of the study from the entries of the catalogue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from aiida_hardcoat.cli.entries import FORMAT, csv_text
from aiida_hardcoat.cli.errors import user_errors
from aiida_hardcoat.cli.table_text import missing_lines, table_lines
from aiida_hardcoat.errors import InputError

TABLES = {
    "1": "relaxed against clamped ions",
    "2": "elastic constants and moduli",
    "3": "learned against computed moduli",
}
ONLY = {"ions": "23", "model": "3", "reference_file": "2"}
"""Options that some of the tables have."""


@click.command("table")
@click.argument("number", metavar="1|2|3")
@click.option("--level", help="Level of theory, or the start of its fingerprint; needed where there are several.")
@click.option("--system", help="e.g. Al-Ti-N, in any order: its alloys and end members alone.")
@click.option(
    "--ions", type=click.Choice(["relaxed", "clamped"]), help="Table 2: relaxed by default; table 3: both by default."
)
@click.option("--model", metavar="SHA256|NAME", help="Table 3: the model; that of the newest prediction by default.")
@click.option("--reference-file", metavar="FILE", help="Table 2: published values of your own: doi, source, rows.")
@click.option("--figure", metavar="FILE.png|svg|pdf", help="Draw the table, too.")
@FORMAT
@user_errors()
def cmd_table(number: str, figure: str | None, output_format: str, **choices: Any) -> None:
    """The tables of Levämäki et al. 2022, from the entries of the catalogue at one level of theory.

    \b
    1  relaxed against clamped ions: mean errors of every constant and modulus, by structure type
    2  all elastic constants and moduli, beside the study's
    3  learned against computed moduli: the model's test set, and the alloys

    What the study has and the catalogue lacks is named on standard error, with the command that computes it.
    """
    options = chosen_options(number, choices)
    if figure is not None:
        from aiida_hardcoat.catalogue.tables.figures import check_figure_path

        check_figure_path(figure)
    from aiida_hardcoat.cli.profile import use_profile

    use_profile()
    found = make_table(number, options)
    if figure is not None:
        from aiida_hardcoat.catalogue.figures.style import save
        from aiida_hardcoat.catalogue.tables.figures import table_figure

        click.echo(f"{save(table_figure(found), figure)} written", err=True)
    print_table(found, output_format)


def chosen_options(number: str, choices: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given.

    :raises InputError: for a table that does not exist, or an option that it does not have.
    """
    if number not in TABLES:
        raise InputError(f"no table '{number}': " + ", ".join(f"{one} ({what})" for one, what in TABLES.items()))
    given = {name: value for name, value in choices.items() if value is not None}
    for name, tables in ONLY.items():
        if name in given and number not in tables:
            raise InputError(
                f"--{name.replace('_', '-')} goes with table {' or '.join(tables)}: leave it out of table {number}"
            )
    return given


def make_table(number: str, options: Mapping[str, Any]) -> dict[str, Any]:
    from aiida_hardcoat.catalogue.tables.constants import constants_table
    from aiida_hardcoat.catalogue.tables.learned import learned_table
    from aiida_hardcoat.catalogue.tables.relaxation import relaxation_table

    return {"1": relaxation_table, "2": constants_table, "3": learned_table}[number](**options)


def print_table(found: Mapping[str, Any], output_format: str) -> None:
    """The table on standard output; beside text and csv, what is missing on standard error."""
    if output_format == "json":
        click.echo(json.dumps(found, indent=2))
        return
    if output_format == "csv":
        place = {name: found[name] for name in ("level", "level_fingerprint")}
        click.echo(csv_text([{**place, **row} for row in flat_rows(found)]), nl=False)
    else:
        click.echo("\n".join(table_lines(found)))
    for line in missing_lines(found):
        click.echo(line, err=True)


def flat_rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows without anything nested, each with the same columns."""
    if found["table"] != 2:
        return [dict(row) for row in found["rows"]]
    from aiida_hardcoat.catalogue.tables.constants import COMPARED, VALUES

    names = [reference["name"] for reference in found["references"]]
    rows = []
    for row in found["rows"]:
        flat = {key: value for key, value in row.items() if not isinstance(value, (dict, list))}
        flat |= {f"{name}_spread": row["spread"].get(name) for name in VALUES}
        for kind in names:
            known, shares = (row[part].get(kind, {}) for part in ("references", "deviations"))
            for name in COMPARED:
                flat |= {f"{kind}_{name}": known.get(name), f"{kind}_{name}_deviation": shares.get(name)}
        rows.append({**flat, "uuids": " ".join(row["uuids"])})
    return rows
