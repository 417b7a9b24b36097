"""``hardcoat list``, ``search`` and ``show``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from aiida_hardcoat.cli.errors import user_errors
from aiida_hardcoat.errors import InputError

SHOWN = {
    "pk": ("PK", "{}"),
    "label": ("entry", "{}"),
    "relaxed_structure_type": ("now", "{}"),
    "ions": ("ions", "{}"),
    "number_of_atoms": ("atoms", "{}"),
    "c11": ("C11", "{:.1f}"),
    "c12": ("C12", "{:.1f}"),
    "c44": ("C44", "{:.1f}"),
    "bulk_modulus": ("B", "{:.1f}"),
    "shear_modulus": ("G", "{:.1f}"),
    "youngs_modulus": ("E", "{:.1f}"),
    "poisson_ratio": ("nu", "{:.3f}"),
    "hardness_chen_2011": ("H Chen", "{:.1f}"),
    "level": ("level", "{}"),
}

LEARNED = {
    "predicted_bulk_modulus": ("B learned", "{:.1f}"),
    "predicted_bulk_modulus_spread": ("+-", "{:.1f}"),
    "bulk_modulus_disagreement": ("off", "{:.2f}"),
    "predicted_shear_modulus": ("G learned", "{:.1f}"),
    "predicted_shear_modulus_spread": ("+-", "{:.1f}"),
    "shear_modulus_disagreement": ("off", "{:.2f}"),
}
"""Shown beside what was computed, where it was asked for."""

EMPTY = (
    "the catalogue is empty: `hardcoat run Ti0.5Al0.5N -s B1` computes an entry,"
    " `hardcoat bundle import DIR` brings those of others"
)

COLUMNS = click.option(
    "--columns", metavar="A,B,C", help="What to show of each entry, e.g. label,c11,debye_temperature."
)
FORMAT = click.option(
    "--format", "output_format", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True
)
FILTERS = (
    click.option("--system", help="e.g. Al-Ti-N, in any order."),
    click.option("--element", "elements", multiple=True, help="An element that the entry must hold; repeat for more."),
    click.option("-s", "--structure-type", help="B1, B3, B4 or Bk."),
    click.option("-x", "x", metavar="LOW:HIGH", help="Fraction of the alphabetically first metal."),
    click.option(
        "--range", "ranges", multiple=True, metavar="FIELD=LOW:HIGH", help="e.g. bulk_modulus=250: ; repeatable."
    ),
    click.option("--level", help="Level of theory, e.g. ase:7net-l3i5, or the start of its fingerprint."),
    click.option("--ions", type=click.Choice(["relaxed", "clamped"])),
    click.option("--stable/--unstable", default=None, help="Mechanically stable entries, or the others."),
    click.option(
        "--sort", default="system", show_default=True, metavar="[-]FIELD", help="A minus sorts from the largest."
    ),
    click.option("--limit", type=click.IntRange(min=1)),
)


def filter_options(command: Any) -> Any:
    """The options that choose entries."""
    for option in reversed(FILTERS):
        command = option(command)
    return command


@click.command("list")
@COLUMNS
@FORMAT
@user_errors()
def cmd_list(columns: str | None, output_format: str) -> None:
    """All entries of the catalogue."""
    find_and_print({}, columns, output_format)


@click.command("search")
@filter_options
@click.option("--learned", is_flag=True, help="Show what the newest model says, and by how much it is off.")
@COLUMNS
@FORMAT
@user_errors()
def cmd_search(columns: str | None, output_format: str, **filters: Any) -> None:
    """Entries that match every filter.

    Example: hardcoat search --system Ti-Al-N -s B1 -x 0.25:0.75 --range bulk_modulus=250: --sort -shear_modulus

    FIELD is a number of an entry or of the newest prediction for it: predicted_bulk_modulus,
    predicted_bulk_modulus_spread, bulk_modulus_disagreement (how far the computed value is from the learned one, in
    units of the half of the 90 % interval: above 1 it is outside), the same of shear_modulus, youngs_modulus and
    poisson_ratio, and distance (from the training data).
    """
    find_and_print(parse_filters(filters), columns, output_format)


@click.command("show")
@click.argument("entry")
@click.option("--format", "output_format", type=click.Choice(["card", "json"]), default="card", show_default=True)
@user_errors()
def cmd_show(entry: str, output_format: str) -> None:
    """The card of ENTRY: a PK, the start of a UUID, or a label such as B1/Al-Ti-N/0.500000."""
    from aiida_hardcoat.cli.profile import use_profile

    use_profile()
    from aiida_hardcoat.catalogue.card import card, card_json

    node = load_entry(entry)
    click.echo(card(node) if output_format == "card" else json.dumps(card_json(node), indent=2))


def find_and_print(filters: dict[str, Any], columns: str | None, output_format: str) -> None:
    from aiida_hardcoat.cli.profile import use_profile

    use_profile()
    from aiida_hardcoat.catalogue.query import levels_of_theory, search

    if columns is None:
        rows = search(**filters)
        print_rows(rows, output_format)
    else:
        names = [name.strip() for name in columns.split(",")]
        found = search(**filters, columns=names)
        rows = [{name: row[name] for name in names} for row in found]
        print_columns(rows, output_format)
    if not rows and not levels_of_theory():
        click.echo(EMPTY, err=True)


def parse_filters(filters: dict[str, Any]) -> dict[str, Any]:
    """What :func:`filter_options` collected, as the search takes it.

    :raises InputError: for a range that is none.
    """
    parsed = {**filters, "ranges": dict(parse_named_range(text) for text in filters["ranges"])}
    if filters["x"] is None:
        del parsed["x"]
    else:
        parsed["x"] = parse_range(filters["x"])
    return parsed


def load_entry(identifier: str) -> Any:
    """The newest entry of that PK, UUID or label.

    :raises InputError: where there is none.
    """
    from aiida.common.exceptions import MultipleObjectsError, NotExistent
    from aiida.orm import load_node

    from aiida_hardcoat.catalogue.query import search
    from aiida_hardcoat.data.elastic import ElasticData

    missing = InputError(f"no entry '{identifier}': `hardcoat list` shows all")
    if "/" in identifier:
        structure_type, system, x = parse_label(identifier)
        rows = search(structure_type=structure_type, system=system, x=(x, x), sort="x")
        if not rows:
            raise missing
        return load_node(max(row["pk"] for row in rows))
    try:
        node = load_node(identifier)
    except (NotExistent, MultipleObjectsError, ValueError):
        raise missing from None
    if not isinstance(node, ElasticData):
        raise InputError(f"node {identifier} is no entry but {type(node).__name__}: `hardcoat list` shows all")
    return node


def parse_label(label: str) -> tuple[str, str, float]:
    """Structure type, system and x of a label, its metals in any order and x with any digits.

    :raises InputError: for a text that is no label.
    """
    try:
        structure_type, system, x = label.split("/")
        return structure_type, system, float(x)
    except ValueError:
        raise InputError(f"'{label}' is no label: write it like B1/Al-Ti-N/0.5") from None


def parse_range(text: str) -> tuple[float | None, float | None]:
    """``LOW:HIGH`` with either left out, or one number for both.

    :raises InputError: for anything else.
    """
    low, separator, high = text.partition(":")
    try:
        bounds = [float(part) if part else None for part in ((low, high) if separator else (low, low))]
    except ValueError:
        raise InputError(f"'{text}' is no range: write LOW:HIGH, LOW: or :HIGH") from None
    return bounds[0], bounds[1]


def parse_named_range(text: str) -> tuple[str, tuple[float | None, float | None]]:
    name, separator, bounds = text.partition("=")
    if not separator:
        raise InputError(f"'{text}' is not FIELD=LOW:HIGH, e.g. bulk_modulus=250:300")
    return name, parse_range(bounds)


def print_rows(rows: list[dict[str, Any]], output_format: str) -> None:
    if output_format == "json":
        click.echo(json.dumps(rows, indent=2))
    elif output_format == "csv":
        click.echo(csv_text(rows), nl=False)
    elif rows:
        shown = {**SHOWN, **LEARNED} if LEARNED.keys() <= rows[0].keys() else SHOWN
        click.echo(table_text(rows, shown))
        click.echo("moduli and hardness in GPa" + ("; off: in half-widths of the 90 % interval" * (shown is not SHOWN)))
    else:
        click.echo("no entries")


def print_columns(rows: list[dict[str, Any]], output_format: str) -> None:
    """Rows of just what was asked for."""
    if output_format == "table" and rows:
        click.echo(
            table_text([nested_as_text(row) for row in rows], {name: (name, form_of(name, rows)) for name in rows[0]})
        )
    else:
        print_rows(rows, output_format)


def form_of(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    _, known = {**SHOWN, **LEARNED}.get(name, (name, "{:.6g}"))
    return known if any(isinstance(row[name], float) for row in rows) else "{}"


def nested_as_text(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: json.dumps(value) if isinstance(value, (list, dict)) else value for name, value in row.items()}


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(nested_as_text, rows))
    return buffer.getvalue()


def table_text(rows: list[dict[str, Any]], shown: dict[str, tuple[str, str]]) -> str:
    """Aligned columns: by key of the rows, the title and the format of each."""
    cells = [[title for title, _ in shown.values()]]
    cells += [["-" if row[key] is None else form.format(row[key]) for key, (_, form) in shown.items()] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(shown))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )
