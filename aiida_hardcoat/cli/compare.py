"""``hardcoat compare``: computed against learned moduli."""

from __future__ import annotations

import json
from typing import Any

import click

from aiida_hardcoat.cli.entries import FORMAT, csv_text, filter_options, parse_filters, table_text
from aiida_hardcoat.cli.errors import user_errors
from aiida_hardcoat.cli.properties import SYMBOLS, interval_text

MODULI = {name: SYMBOLS[name] for name in ("bulk_modulus", "shear_modulus")}
EMPTY = "no entry with learned moduli: `hardcoat ml predict --all --store` adds them"


@click.command("compare")
@filter_options
@click.option("--model", metavar="SHA256|NAME|all", help="A row for this model, or for each; the newest by default.")
@FORMAT
@user_errors()
def cmd_compare(model: str | None, output_format: str, **filters: Any) -> None:
    """Computed against learned moduli, with the 90 % interval of each prediction.

    A row for each entry, at its own level of theory; the closing lines are for one level and one model each, beside
    Vegard's rule where the end members are in the catalogue at that level. Filters and --sort as in `hardcoat search`,
    e.g. --sort -bulk_modulus_disagreement.
    """
    from aiida_hardcoat.cli.profile import use_profile

    use_profile()
    from aiida_hardcoat.catalogue.compare import compare, summaries

    rows = compare(model=model, **parse_filters(filters))
    if output_format == "json":
        click.echo(json.dumps({"entries": rows, "summary": summaries(rows)}, indent=2))
    elif output_format == "csv":
        click.echo(csv_text(rows), nl=False)
    elif not rows:
        click.echo(EMPTY)
    else:
        click.echo(table(rows))
        for line in summaries(rows):
            click.echo(summary_text(line))


def table(rows: list[dict[str, Any]]) -> str:
    shown: dict[str, tuple[str, str]] = {"pk": ("PK", "{}"), "label": ("entry", "{}"), "ions": ("ions", "{}")}
    for name, symbol in MODULI.items():
        shown[name] = (symbol, "{:.1f}")
        shown[f"predicted_{name}"] = ("learned", "{:.1f}")
        shown[f"{name}_interval"] = ("90 %", "{}")
        shown[f"{name}_difference"] = ("diff", "{:+.1f}")
        shown[f"{name}_verdict"] = ("", "{}")
    shown |= {"trust": ("", "{}"), "level": ("level", "{}"), "model": ("model", "{}")}
    return table_text([{**row, **texts(row)} for row in rows], shown)


def texts(row: dict[str, Any]) -> dict[str, str | None]:
    """What a table says in words."""
    words: dict[str, str | None] = {
        "model": f"{row['model_name']} {row['model_version']} {row['model_sha256'][:8]}",
        "trust": "far" if row["far"] else "seen" if row["in_training_data"] else "",
    }
    for name in MODULI:
        low, high, inside = row[f"predicted_{name}_low"], row[f"predicted_{name}_high"], row[f"{name}_inside"]
        words[f"{name}_interval"] = interval_text(name, low, high)
        words[f"{name}_verdict"] = None if inside is None else "inside" if inside else "OUTSIDE"
    return words


def summary_text(summary: dict[str, Any]) -> str:
    """One line for a level of theory and a model."""
    parts = []
    for name, symbol in MODULI.items():
        found = summary[name]
        if not found["n"]:
            continue
        text = f"{symbol}: MAE {found['mae']:.1f} GPa, {100 * found['coverage_90']:.0f} % inside"
        if found["alloys"]["n"]:
            alloys = found["alloys"]
            text += f" ({alloys['n']} alloys: {alloys['mae']:.1f}, Vegard {alloys['vegard_mae']:.1f})"
        parts.append(text)
    level = f"{summary['level']} {summary['level_fingerprint'][:8]}, ions {summary['ions']}"
    model = f"{summary['model_name']} {summary['model_version']} {summary['model_sha256'][:8]}"
    return (
        f"{level}, {model}: {summary['n']} entries, {summary['far']} far from the training data, "
        f"{summary['in_training_data']} with a formula of it; {'; '.join(parts)}"
    )
