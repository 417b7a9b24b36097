"""``hardcoat compare --levels``: one material at several levels of theory."""

from __future__ import annotations

import json
from typing import Any

import click

from aiida_hardcoat.cli.entries import csv_text, parse_filters, table_text
from aiida_hardcoat.cli.properties import SYMBOLS

OPTIONS = ("reference", "reference_file", "plot")
"""Options of `hardcoat compare` that go with --levels only."""

EMPTY = "no entry: `hardcoat run` makes some"


def show_levels(
    filters: dict[str, Any], reference: str | None, reference_file: str | None, plot: str | None, output_format: str
) -> None:
    """Draw the comparison where a file for that is named, and print it."""
    from aiida_hardcoat.catalogue.levels import compare_levels
    from aiida_hardcoat.catalogue.references import STUDY
    from hardcoat_ml.figures import check_path, save

    if plot is not None:
        check_path(plot)
    reference = reference or STUDY.name
    found = compare_levels(reference=reference, reference_file=reference_file, **parse_filters(filters))
    if plot is not None:
        from aiida_hardcoat.catalogue.level_figures import parity_figure

        click.echo(f"{save(parity_figure(found), plot)} written", err=True)
    if output_format == "json":
        click.echo(json.dumps(found, indent=2))
    elif output_format == "csv":
        click.echo(csv_text(flat_rows(found)), nl=False)
    else:
        click.echo(table(found) if found["materials"] else EMPTY)


def flat_rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each number."""
    from aiida_hardcoat.catalogue.levels import COMPARED

    columns = {column["name"]: column for column in found["columns"]}
    rows = []
    for material in found["materials"]:
        known = material["values"].get(found["reference"], {})
        place = {name: material[name] for name in ("formula", "system", "x", "structure_type", "ions")}
        for name, values in material["values"].items():
            for quantity in COMPARED[material["crystal_class"]]:
                rows.append(
                    {
                        **place,
                        "quantity": quantity,
                        "column": name,
                        "level_fingerprint": columns[name].get("level_fingerprint"),
                        "doi": columns[name].get("doi"),
                        "value": values[quantity],
                        "spread": values.get("spread", {}).get(quantity),
                        "n": values.get("n"),
                        "number_of_atoms": values.get("number_of_atoms"),
                        "reference": found["reference"],
                        "reference_value": known.get(quantity),
                        "deviation": material["deviations"].get(name, {}).get(quantity),
                    }
                )
    return rows


def table(found: dict[str, Any]) -> str:
    """A block for each material, a line for each constant, a column for each level with its deviation."""
    from aiida_hardcoat.catalogue.levels import COMPARED

    names, reference = [column["name"] for column in found["columns"]], found["reference"]
    shown: dict[str, tuple[str, str]] = {"quantity": ("GPa", "{}")}
    for name in names:
        shown[name] = (name, "{}")
        if name != reference:
            shown[f"{name}\n%"] = ("dev", "{}")  # no level is called like that
    lines: list[dict[str, Any]] = []
    titles: dict[int, str] = {}
    for material in found["materials"]:
        titles[len(lines)] = f"{material['formula']} in {material['structure_type']}, ions {material['ions']}"
        for quantity in COMPARED[material["crystal_class"]]:
            lines.append({"quantity": symbol(quantity), **cells(material, names, reference, quantity)})
        blank = {key: "" for key in shown if key.endswith("\n%")}
        lines.append({"quantity": "cell", **blank, **{name: cell_text(material, name) for name in names}})
    header, *text = table_text(lines, shown).splitlines()
    blocks = [header]
    for number, line in enumerate(text):
        if number in titles:
            blocks += ["", titles[number]]
        blocks.append(line)
    return "\n".join([*blocks, "", *closing(found)])


def symbol(quantity: str) -> str:
    return SYMBOLS.get(quantity, quantity.upper())


def cells(material: dict[str, Any], names: list[str], reference: str, quantity: str) -> dict[str, str | None]:
    """The values of one line, and the deviations from the reference."""
    line: dict[str, str | None] = {}
    for name in names:
        value = material["values"].get(name, {}).get(quantity)
        line[name] = None if value is None else f"{value:.1f}"
        if name != reference:
            share = material["deviations"].get(name, {}).get(quantity)
            line[f"{name}\n%"] = "" if share is None else f"{100 * share:+.1f} %"
    return line


def cell_text(material: dict[str, Any], name: str) -> str:
    """Size and number of the cells behind a column, and what the structure has become where it is another."""
    values = material["values"].get(name, {})
    if "n" not in values:
        return ""
    other = [kind for kind in values["became"] if kind != material["structure_type"]]
    several = f" x{values['n']}" if values["n"] > 1 else ""
    return f"{values['number_of_atoms']} atoms{several}" + (f", now {'/'.join(other)}" if other else "")


def closing(found: dict[str, Any]) -> list[str]:
    """The mean deviation of each level, and what the columns are."""
    lines = []
    for row in found["summary"]:
        parts = [
            f"{symbol(quantity)} {100 * score['mean_absolute_deviation']:.1f} % ({score['n']})"
            for quantity, score in row.items()
            if quantity != "column" and score["n"]
        ]
        if parts:
            lines.append(f"{row['column']}: mean deviation from {found['reference']} (materials): {', '.join(parts)}")
    for column in found["columns"]:
        if "doi" in column:
            lines.append(f"{column['name']}: {column['source']}, doi {column['doi']}")
            if column["method"]:
                lines.append(f"  {column['method']}")
        else:
            lines.append(f"{column['name']}: level of theory {column['level_fingerprint']}")
    return lines
