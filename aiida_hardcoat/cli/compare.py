"""``hardcoat compare``: computed against learned moduli, and levels of theory against each other."""

from __future__ import annotations

import json
from typing import Any

import click

from aiida_hardcoat.cli.compare_levels import OPTIONS, show_levels
from aiida_hardcoat.cli.entries import FORMAT, csv_text, filter_options, parse_filters, table_text
from aiida_hardcoat.cli.errors import user_errors
from aiida_hardcoat.cli.properties import SYMBOLS, interval_text
from aiida_hardcoat.errors import InputError

MODULI = {name: SYMBOLS[name] for name in ("bulk_modulus", "shear_modulus")}
EMPTY = "no entry with learned moduli: `hardcoat ml predict --all --store` adds them"


@click.command("compare")
@filter_options
@click.option("--model", metavar="SHA256|NAME|all", help="A row for this model, or for each; the newest by default.")
@click.option("--levels", is_flag=True, help="Compare levels of theory, and published tables, instead.")
@click.option("--reference", metavar="COLUMN", help="With --levels, what to measure by: study (default) or a level.")
@click.option("--reference-file", metavar="FILE", help="With --levels, a table of your own as JSON: doi, source, rows.")
@click.option("--plot", metavar="FILE", help="With --levels, a parity plot: FILE.png or FILE.svg.")
@FORMAT
@user_errors()
def cmd_compare(
    model: str | None,
    levels: bool,
    reference: str | None,
    reference_file: str | None,
    plot: str | None,
    output_format: str,
    **filters: Any,
) -> None:
    """Computed against learned moduli, with the 90 % interval of each prediction; or levels of theory side by side.

    A row for each entry, at its own level of theory; the closing lines are for one level and one model each, beside
    Vegard's rule where the end members are in the catalogue at that level. Filters and --sort as in `hardcoat search`,
    e.g. --sort -bulk_modulus_disagreement.

    With --levels: each material at every level of theory that the catalogue has it at, beside published values (study:
    Levämäki et al. 2022; experiment), with the deviation from a reference. Levels are never pooled; of several entries
    at one level the largest cells count, and the mean is taken over their seeds.
    """
    from aiida_hardcoat.cli.profile import use_profile

    check_choice(levels, model, dict(zip(OPTIONS, (reference, reference_file, plot), strict=True)))
    use_profile()
    if levels:
        show_levels(filters, reference, reference_file, plot, output_format)
        return
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


def check_choice(levels: bool, model: str | None, of_levels: dict[str, str | None]) -> None:
    """Refuse options that the comparison does not have."""
    if levels and model is not None:
        raise InputError("--model is for learned moduli: leave it or --levels out")
    given = [name for name, value in of_levels.items() if value is not None]
    if given and not levels:
        raise InputError(f"--{given[0].replace('_', '-')} compares levels of theory: add --levels")


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
