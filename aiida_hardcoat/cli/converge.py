"""``hardcoat converge``: elastic constants against a setting of the engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from aiida_hardcoat.cli.entries import table_text
from aiida_hardcoat.cli.errors import user_errors
from aiida_hardcoat.cli.run import (
    INTERRUPTED,
    engine_code,
    failure,
    nested,
    parse_value,
    set_threads,
    work_folders,
)
from aiida_hardcoat.errors import InputError


@click.command("converge")
@click.argument("composition")
@click.option("-s", "--structure-type", required=True, metavar="TYPE", help="B1, B3, B4 or Bk.")
@click.option(
    "--vary",
    multiple=True,
    required=True,
    metavar="SETTING=V1,V2,...",
    help="A setting of the engine and its values, e.g. kpoints_mesh=8,10,12 or cutoff=60,70,80; the last is the"
    " reference. Once for each setting: one varies, the others stay as in the protocol.",
)
@click.option("--atoms", type=int, help="Atoms in the cell; the smallest by default.")
@click.option("--engine", default="quantumespresso", show_default=True, metavar="ENGINE[:MODEL]", help="Where to run.")
@click.option("--code", metavar="LABEL", help="AiiDA code to run instead of the one that `hardcoat setup` made.")
@click.option("--ions", default="relaxed", show_default=True, metavar="relaxed|clamped", help="Ions under strain.")
@click.option("--protocol", metavar="NAME", help="fast, balanced (default), stringent or study.")
@click.option("-o", "--override", "overrides", multiple=True, metavar="KEY=VALUE", help="As in `hardcoat run`.")
@click.option("--threads", type=int, help="Threads of a job.")
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option(
    "--plot", metavar="FILE", help="Figure, PNG or SVG; the setting's name is put into it where several vary."
)
@user_errors()
def cmd_converge(composition: str, **choices: Any) -> None:
    """Elastic constants of COMPOSITION in a small cell at several values of a setting.

    The entries are kept in a group of their own, `hardcoat.convergence`, not in the catalogue. A value that fails is
    reported; the others go on.
    """
    from aiida_hardcoat.physics.prototypes import FORMULA_UNITS, check_structure_type
    from aiida_hardcoat.workflows.protocols import share_engine_settings

    variations = [variation(text) for text in choices["vary"]]
    figures = figure_paths(choices["plot"], [setting for setting, _ in variations])
    check_structure_type(choices["structure_type"])
    smallest = 2 * FORMULA_UNITS[choices["structure_type"]]
    overrides = {"sqs": {}, **nested("override", choices["overrides"], "strains.max_steps=200")}
    share_engine_settings(overrides)
    overrides["sqs"]["atoms"] = choices["atoms"] or smallest
    set_threads(choices["threads"], submitted=False)

    from aiida_hardcoat.cli.profile import require_disk_space, use_profile

    use_profile()
    from aiida_hardcoat.workflows.convergence import ConvergenceWorkChain

    code = engine_code(choices["engine"], choices["code"])
    require_disk_space(*work_folders(code))
    builders = [
        ConvergenceWorkChain.get_builder_from_protocol(
            code,
            composition,
            choices["structure_type"],
            setting,
            values,
            choices["protocol"],
            overrides,
            engine=choices["engine"],
            ions=choices["ions"],
        )
        for setting, values in variations
    ]
    found = [run_series(builder, path) for builder, path in zip(builders, figures, strict=True)]
    if choices["output_format"] == "json":
        click.echo(json.dumps([series for series in found if series is not None], indent=2))
    else:
        click.echo("\n\n".join(series_text(series) for series in found if series is not None))
    if any(series is None or any("failed" in row for row in series["rows"]) for series in found):
        raise SystemExit(1)


def variation(text: str) -> tuple[str, list[Any]]:
    """``cutoff=60,70`` or ``kpoints_mesh=8,10x10x12`` as the name of a setting and its values.

    :raises InputError: for anything else.
    """
    setting, separator, listed = text.partition("=")
    if not separator or not setting or not all(listed.split(",")):
        raise InputError(f"'{text}' is not SETTING=V1,V2,..., e.g. kpoints_mesh=8,10,12 or cutoff=60,70,80")
    return setting, [setting_value(setting, part) for part in listed.split(",")]


def setting_value(setting: str, text: str) -> Any:
    """A value; meshes as one number for all directions, or three with an x between them."""
    if not setting.endswith("_mesh"):
        return parse_value(text)
    numbers = [parse_value(part) for part in text.split("x")]
    return numbers * 3 if len(numbers) == 1 else numbers


def figure_paths(path: str | None, settings: list[str]) -> list[Path | None]:
    """Where the figure of each setting goes.

    :raises InputError: for a path that no figure can be written to.
    """
    if path is None:
        return [None] * len(settings)
    from hardcoat_ml.figures import check_path

    target = check_path(path)
    if len(settings) == 1:
        return [target]
    return [target.with_stem(f"{target.stem}_{setting}") for setting in settings]


def run_series(builder: Any, path: Path | None) -> dict[str, Any] | None:
    """Run here with progress; the series, and its figure, of the values that went well."""
    from aiida_hardcoat.catalogue.convergence import figure
    from aiida_hardcoat.workflows.launch import run
    from hardcoat_ml.figures import save

    node = run(builder, lambda line: click.echo(f"  {line}", err=True))
    if not node.is_finished_ok:
        click.echo(f"Error: {failure(node)}", err=True)
    if node.is_killed:
        raise SystemExit(INTERRUPTED)
    if "series" not in node.outputs:
        return None
    series: dict[str, Any] = node.outputs.series.get_dict()
    if path is not None:
        click.echo(f"figure {save(figure(series), path)}", err=True)
    return series


def series_text(series: dict[str, Any]) -> str:
    """A table of the values, each with its largest deviation from the last, and a line for each that failed."""
    from aiida_hardcoat.catalogue.convergence import deviations, value_text

    shown = {"text": (series["setting"], "{}")}
    shown |= {name: (f"C{name[1:]}", "{:.1f}") for name in series["constants"]}
    shown |= {
        "bulk_modulus": ("B", "{:.1f}"),
        "shear_modulus": ("G", "{:.1f}"),
        "deviation": ("off last", "{:.1%}"),
        "lattice_a": ("a", "{:.4f}"),
        "seconds": ("s", "{:.0f}"),
    }
    rows = [{**row, "text": value_text(row["value"])} for row in deviations(series)]
    lines = [f"{series['formula']} {series['structure_type']}, {series['number_of_atoms']} atoms, {series['level']}"]
    lines.append(table_text(rows, shown))
    lines += [f"{value_text(row['value'])} failed: {row['failed']}" for row in series["rows"] if "failed" in row]
    return "\n".join(lines)
