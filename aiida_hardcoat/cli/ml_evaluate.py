"""``hardcoat ml evaluate``: how well the learned moduli do on data. Needs no AiiDA profile."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import click

from aiida_hardcoat.cli.errors import user_errors

_ROWS = {
    "bulk_modulus": ("B, GPa", "{:.1f}"),
    "shear_modulus": ("G, GPa", "{:.1f}"),
    "youngs_modulus": ("E, GPa", "{:.1f}"),
    "poisson_ratio": ("nu", "{:.3f}"),
}
"""Title and form of each property."""


@click.command("evaluate")
@click.argument("data", type=click.Path())
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--model", type=click.Path(path_type=Path), help="Ensemble to judge instead of the shipped one.")
@click.option(
    "--include-training", is_flag=True, help="Judge it also on formulas that it was trained on, which is no test."
)
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE.png|svg", help="Save a parity plot.")
@user_errors()
def cmd_evaluate(data: str, output_format: str, model: Path | None, include_training: bool, plot: Path | None) -> None:
    """Errors of the learned moduli on DATA, a JSONL file (.xz or .gz too), beside predicting the mean.

    Formulas of the training data are left out.
    """
    from tqdm import tqdm

    from hardcoat_ml.cleaning import clean
    from hardcoat_ml.data import load_entries
    from hardcoat_ml.ensemble import Ensemble
    from hardcoat_ml.evaluation import judge, report
    from hardcoat_ml.figures import check_path, parity_figure, save

    if plot is not None:
        check_path(plot)
    entries, removed = clean(load_entries(data))
    ensemble = Ensemble.load(model)
    judged = judge(ensemble, entries, include_training, partial(tqdm, desc="crystals", leave=False, disable=None))
    found = {**report(judged, ensemble), "removed": {rule: count for rule, count in removed.items() if count}}
    if plot is not None:
        save(parity_figure(judged.true, judged.predicted, judged.formulas.tolist(), judged.low, judged.high), plot)
        click.echo(f"parity plot: {plot}", err=True)
    click.echo(json.dumps(found, indent=2) if output_format == "json" else report_text(found))


def report_text(found: dict[str, Any]) -> str:
    """The report of `hardcoat_ml.evaluation.report` to read."""
    return "\n\n".join(
        "\n".join(block) for block in (_head(found), _scores(found), _groups(found), _far(found)) if block
    )


def _head(found: dict[str, Any]) -> list[str]:
    known = found["n_in_training"]
    lines = [f"{found['n']:,} entries of {found['n_formulas']:,} formulas"]
    if known and found["includes_training"]:
        lines.append(f"{known:,} of them have formulas of the training data: this is no test")
    elif known:
        lines.append(f"{known:,} more have formulas of the training data and are left out")
    if found["n_refused"]:
        holding = ", ".join(f"{symbol} in {count}" for symbol, count in found["refused"].items())
        lines.append(f"{found['n_refused']:,} more hold elements that the model has not seen: {holding}")
    for rule, count in found["removed"].items():
        lines.append(f"{count:,} more are removed by the rule: {rule}")
    return lines


def _scores(found: dict[str, Any]) -> list[str]:
    titles = ["", "MAE", "+-", "of the mean", "MARE %", "RMSE", "R2", "log10 MAE", "in 90 % interval", "width"]
    rows = []
    for name, (title, form) in _ROWS.items():
        scores, interval = found[name], found["intervals_90"][name]
        rows.append(
            [
                title,
                form.format(scores["mae"]),
                _number(found["mae_standard_error"][name], form),
                form.format(found["predict_the_mean"][name]["mae"]),
                _number(scores["mare"], "{:.1f}", 100),
                form.format(scores["rmse"]),
                _number(scores["r2"], "{:.3f}"),
                f"{scores['log10_mae']:.4f}",
                f"{100 * interval['coverage']:.1f} %",
                form.format(interval["mean_width"]),
            ]
        )
    note = f"of the mean: MAE of predicting the mean of {found['predict_the_mean_of']}; +-: one standard error"
    return [*_aligned([titles, *rows]), note]


def _groups(found: dict[str, Any]) -> list[str]:
    head = ["MAE by", "n", *(title for title, _ in _ROWS.values())]
    groups = {**found["by_crystal_system"], **_by_number(found["by_number_of_elements"])}
    rows = [
        [group, f"{scores['n']:,}", *(form.format(scores[name]["mae"]) for name, (_, form) in _ROWS.items())]
        for group, scores in groups.items()
    ]
    return _aligned([head, *rows])


def _by_number(groups: dict[str, Any]) -> dict[str, Any]:
    return {f"{number} element{'s' if number != '1' else ''}": scores for number, scores in groups.items()}


def _far(found: dict[str, Any]) -> list[str]:
    far = found["far"]
    lines = [f"{far['n']:,} entries are far from the training data"]
    for side, title in (("inside", "near"), ("outside", "far")):
        if far[side] is not None:
            mae, coverage = far[side]["mae"], far[side]["coverage_90"]
            lines.append(
                f"  {title}: MAE of B {mae['bulk_modulus']:.1f}, of G {mae['shear_modulus']:.1f} GPa; in their 90 % "
                f"intervals {100 * coverage['bulk_modulus']:.1f} and {100 * coverage['shear_modulus']:.1f} %"
            )
    return [*lines, f"model {found['model_sha256'][:12]}"]


def _number(value: float | None, form: str, factor: float = 1.0) -> str:
    return "-" if value is None else form.format(factor * value)


def _aligned(cells: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in cells
    ]
