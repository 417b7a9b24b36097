"""``hardcoat ml excess``: what alloys have beyond Vegard's rule, learned and predicted."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiida_hardcoat.cli.alloy_tables import IONS, error_columns, indented, load_tables, say_left_out, select
from aiida_hardcoat.cli.entries import FORMAT, csv_text, table_text
from aiida_hardcoat.cli.errors import user_errors
from aiida_hardcoat.cli.properties import SYMBOLS, interval_text, number_format
from aiida_hardcoat.errors import InputError

if TYPE_CHECKING:
    from hardcoat_ml.excess_model import ExcessModel, ExcessPrediction


@click.command("excess")
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="MODEL.json", help="Store what was learned.")
@click.option(
    "-m", "--model", "stored", type=click.Path(path_type=Path), metavar="MODEL.json",
    help="Use a stored model instead of learning from a TABLE.",
)  # fmt: skip
@click.option("-p", "--predict", "formulas", multiple=True, metavar="FORMULA", help="An alloy to predict; repeatable.")
@click.option("-s", "--structure-type", metavar="TYPE", help="Of the alloys to predict: B1, B3, ...")
@click.option(
    "--pool", "pooled", is_flag=True, help="Learn one excess for all structure types, instead of each its own."
)
@click.option("--level", help="Only this level of theory, e.g. ase:7net-l3i5 or the DOI of a table.")
@IONS
@FORMAT
@user_errors()
def cmd_excess(
    tables: tuple[str, ...],
    output: Path | None,
    stored: Path | None,
    formulas: tuple[str, ...],
    structure_type: str | None,
    pooled: bool,
    level: str | None,
    ions: str | None,
    output_format: str,
) -> None:
    """Learn, from TABLEs, the moduli of alloys as Vegard's rule plus an excess; and predict alloys.

    A TABLE is a JSON file with rows of alloy, structure, B and G in GPa, end members among them, the output of
    `hardcoat list --format json`, or the word `catalogue` for the entries of the profile. Anions, relaxed and clamped
    ions and levels of theory are never mixed, structure types with --pool alone. Shown are the errors when each pair of
    metals is left out in turn, beside Vegard's rule and the mean; they are stored with the model.

    Examples: hardcoat ml excess table.json -o model.json; hardcoat ml excess -m model.json -p Ti0.5Al0.5N -s B1
    """
    from hardcoat_ml import VERSION, excess_model

    if bool(tables) == (stored is not None):
        raise InputError("name tables to learn from (files, or the word 'catalogue'), or a stored model with --model")
    if stored is not None and output is not None:
        raise InputError("--output stores what is learned from a TABLE: copy the file of --model instead")
    if stored is not None and pooled:
        raise InputError("--pool is a way to learn from a TABLE: the model in --model has learned already")
    if formulas and structure_type is None:
        raise InputError("in which structure? add --structure-type, e.g. -s B1")
    if stored is not None:
        model = excess_model.load(stored)
    else:
        given = [select(table, level, ions) for table in load_tables(tables, level, ions)]
        model, left_out = excess_model.train(given, VERSION, pooled)
        say_left_out([*(line for table in given for line in table.left_out), *left_out])
    predictions = [model.predict(formula, structure_type or "", ions, level) for formula in formulas]
    if output is not None:
        excess_model.save(model, output)
        click.echo(f"stored in {output}", err=True)
    if formulas:
        print_predictions(predictions, output_format)
    else:
        print_model(model, output_format)


def print_predictions(predictions: list[ExcessPrediction], output_format: str) -> None:
    if output_format == "json":
        rows = [{**asdict(each), "setting": each.setting._asdict()} for each in predictions]
        click.echo(json.dumps(rows, indent=2))
        return
    rows = [prediction_row(each) for each in predictions]
    if output_format == "csv":
        click.echo(csv_text(rows), nl=False)
        return
    shown: dict[str, tuple[str, str]] = {"formula": ("alloy", "{}"), "structure": ("in", "{}"), "ions": ("ions", "{}")}
    for row in rows:
        for name in SYMBOLS:
            low, high = row[f"{name}_low"], row[f"{name}_high"]
            row[f"{name}_interval"] = None if low is None else interval_text(name, low, high)
    for name, symbol in SYMBOLS.items():
        form = number_format(name)
        shown |= {name: (symbol, form), f"{name}_interval": ("", "{}"), f"{name}_vegard": ("Vegard", form)}
    click.echo(table_text(rows, shown))
    click.echo("GPa, with intervals, beside Vegard's rule")
    for each in predictions:
        for note in each.notes:
            click.echo(f"{each.formula}: {note}")


def prediction_row(prediction: ExcessPrediction) -> dict[str, Any]:
    row: dict[str, Any] = {"formula": prediction.formula, **prediction.setting._asdict()}
    for name in SYMBOLS:
        low, high = prediction.interval.get(name, (None, None))
        row |= {name: getattr(prediction, name), f"{name}_low": low, f"{name}_high": high}
        row[f"{name}_vegard"] = prediction.vegard[name]
    return {**row, "interval_level": prediction.level, "notes": "; ".join(prediction.notes)}


def print_model(model: ExcessModel, output_format: str) -> None:
    rows = [
        {
            **known.setting._asdict(),
            "alloys": known.n,
            "systems": " ".join(known.systems),
            "predictor": predictor,
            **{f"{name}_{kind}": getattr(scores[name], kind) for name in SYMBOLS for kind in ("mae", "mare")},
        }
        for known in model.settings
        for predictor, scores in known.scores.items()
    ]
    if output_format == "csv":
        click.echo(csv_text(rows), nl=False)
        return
    if output_format == "json":
        click.echo(json.dumps({"fingerprint": model.fingerprint, "leave_one_pair_out": rows}, indent=2))
        return
    for known in model.settings:
        click.echo(f"{known.setting.anion} in {known.setting}")
        click.echo(f"  end members {', '.join(metal + known.setting.anion for metal in known.ends)}")
        if not known.n:
            click.echo("  no mixed alloy: Vegard's rule, without intervals")
            continue
        click.echo(f"  {known.n} alloys of {', '.join(known.systems)}; each pair of metals left out in turn:")
        own = [
            {**row, **{f"{name}_mare": 100 * (row[f"{name}_mare"] or 0) for name in SYMBOLS}}
            for row in rows
            if all(row[key] == value for key, value in known.setting._asdict().items())
        ]
        click.echo(indented(table_text(own, {"predictor": ("", "{}"), **error_columns()})))
        for name, excess in zip(SYMBOLS, known.excess, strict=False):
            how = f"Vegard's rule: {excess.why}" if excess.why else f"learned, penalty {excess.penalty:g}"
            click.echo(f"  {name.replace('_', ' ')}: {how}")
    click.echo("mean absolute errors in GPa (nu: 1), and relative to the value in %")
