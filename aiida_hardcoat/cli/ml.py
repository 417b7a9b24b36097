"""``hardcoat ml``: the moduli that a network learned from ordered crystals."""

from __future__ import annotations

import click

from aiida_hardcoat.cli.lazy import LazyGroup

COMMANDS = {
    "fetch": ("aiida_hardcoat.cli.ml_fetch", "Download elastic tensors with their structures to learn from."),
    "prepare": ("aiida_hardcoat.cli.ml_train", "Clean and split a data set, and write its card."),
    "train": ("aiida_hardcoat.cli.ml_train", "Train an ensemble of networks."),
    "evaluate": ("aiida_hardcoat.cli.ml_evaluate", "Errors and coverage on a data set, beside predicting the mean."),
    "predict": ("aiida_hardcoat.cli.ml_predict", "Moduli of structure files, or of entries of the catalogue."),
    "excess": ("aiida_hardcoat.cli.ml_excess", "Learn what alloys have beyond Vegard's rule."),
    "alloys": ("aiida_hardcoat.cli.ml_alloys", "Every predictor of alloys beside Vegard's rule and the mean."),
}


@click.group("ml", cls=LazyGroup, table=COMMANDS)
def cmd_ml() -> None:
    """Elastic moduli learned from ordered crystals."""
