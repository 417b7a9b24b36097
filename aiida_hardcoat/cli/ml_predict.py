"""``hardcoat ml predict``: learned moduli of structure files and of entries of the catalogue."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiida_hardcoat import learned
from aiida_hardcoat.cli.entries import FORMAT, csv_text, load_entry, table_text
from aiida_hardcoat.cli.errors import UserError, user_errors
from aiida_hardcoat.cli.properties import SYMBOLS, interval_text, number_format
from aiida_hardcoat.errors import InputError

if TYPE_CHECKING:
    from aiida_hardcoat.data.elastic import ElasticData
    from hardcoat_ml.crystal import Crystal
    from hardcoat_ml.ensemble import Ensemble
    from hardcoat_ml.prediction import Prediction

ENTRY = re.compile(r"[0-9a-f-]+|B\w/[^/]+/[^/]+")
"""How a PK, the start of a UUID, or a label looks."""


@dataclass(frozen=True)
class Subject:
    """What a prediction is asked for."""

    name: str
    crystal: Crystal
    entry: ElasticData | None = None


@click.command("predict")
@click.argument("subjects", nargs=-1, metavar="FILE|ENTRY...")
@click.option("--all", "everything", is_flag=True, help="All entries of the catalogue.")
@click.option("--store", is_flag=True, help="Keep the predictions of entries in the catalogue.")
@click.option("--model", "path", type=click.Path(path_type=Path), metavar="PATH", help="Weights of your own.")
@FORMAT
@user_errors()
def cmd_predict(
    subjects: tuple[str, ...], everything: bool, store: bool, path: Path | None, output_format: str
) -> None:
    """Bulk, shear and Young's modulus and Poisson's ratio that a network learned, with 90 % intervals.

    Each of the arguments is a structure FILE (CIF, POSCAR, anything that pymatgen or ASE reads; needs no profile) or
    an ENTRY of the catalogue (a PK, the start of a UUID or a label); a file of that name comes first.

    Nothing is written without --store. With it every entry gets a node for this model, unless it has one already.
    """
    asked = [*collect(subjects), *(all_entries() if everything else ())]
    if not asked:
        raise InputError("nothing to predict: name structure files or entries, or give --all")
    files = [subject.name for subject in asked if subject.entry is None]
    if store and files:
        raise InputError(f"only entries of the catalogue can be stored, not the file {files[0]}: leave out --store")
    ensemble = learned.load_ensemble(path)
    refusals = {subject.name: learned.unseen_elements(ensemble, subject.crystal) for subject in asked}
    known = [subject for subject in asked if refusals[subject.name] is None]
    predictions = predict_all(known, ensemble) if known else []
    nodes = store_all(known, predictions, ensemble, path) if store else [None] * len(known)
    identity = learned.model_identity(ensemble)
    rows = [
        prediction_row(subject, learned.prediction_values(ensemble, subject.crystal, prediction), identity, node)
        for subject, prediction, node in zip(known, predictions, nodes, strict=True)
    ]
    print_predictions(rows, output_format)
    refused = [f"{name}: {reason}" for name, reason in refusals.items() if reason is not None]
    for line in refused[:-1]:
        click.echo(f"Error: {line}", err=True)
    if refused:
        raise UserError(refused[-1])


def collect(arguments: Iterable[str]) -> list[Subject]:
    """Files and entries in the order of the arguments.

    :raises InputError: for the first that is neither; of either package.
    """
    subjects = []
    for argument in arguments:
        if Path(argument).exists() or not ENTRY.fullmatch(argument):
            from hardcoat_ml.crystal import read_crystal

            subjects.append(Subject(argument, read_crystal(argument)))
        else:
            from aiida_hardcoat.cli.profile import use_profile

            use_profile()
            subjects.append(subject_of(load_entry(argument)))
    return subjects


def all_entries() -> list[Subject]:
    from aiida_hardcoat.cli.profile import use_profile

    use_profile()
    from aiida_hardcoat.data.catalogue import catalogue

    return [subject_of(entry) for entry in catalogue().entries()]


def subject_of(entry: ElasticData) -> Subject:
    from aiida_hardcoat.calculations.prediction import crystal_of, sources_of

    structure, _ = sources_of(entry)
    return Subject(f"{entry.label} ({entry.pk})", crystal_of(structure), entry)


def predict_all(subjects: list[Subject], ensemble: Ensemble) -> list[Prediction]:
    """All in one pass, with progress."""
    from tqdm import tqdm

    progress = partial(tqdm, desc="graphs", unit="crystal", leave=False, disable=None)
    return ensemble.predict([subject.crystal for subject in subjects], progress=progress)


def store_all(
    subjects: list[Subject], predictions: list[Prediction], ensemble: Ensemble, path: Path | None
) -> list[Any]:
    """A node for each entry, with progress."""
    from tqdm import tqdm

    from aiida_hardcoat.calculations.prediction import store_prediction
    from aiida_hardcoat.data.catalogue import catalogue

    group = catalogue()
    pairs = tqdm(zip(subjects, predictions, strict=True), "storing", len(subjects), unit="entry", disable=None)
    return [store_prediction(subject.entry, prediction, ensemble, group, path) for subject, prediction in pairs]


def prediction_row(
    subject: Subject, values: dict[str, float | bool], identity: dict[str, str], node: Any
) -> dict[str, Any]:
    """A row of the output, from the values of a prediction and the identity of the model."""
    from ase.formula import Formula

    from hardcoat_ml.crystal import formula_of

    entry = subject.entry
    return {
        "name": subject.name,
        "formula": Formula(formula_of(subject.crystal.numbers)).format("metal"),
        "entry": None if entry is None else entry.pk,
        "prediction": None if node is None else node.pk,
        **values,
        **{f"model_{name}": identity[name] for name in ("name", "version", "sha256")},
    }


def print_predictions(rows: list[dict[str, Any]], output_format: str) -> None:
    if output_format == "json":
        click.echo(json.dumps(rows, indent=2))
    elif output_format == "csv":
        click.echo(csv_text(rows), nl=False)
    elif rows:
        click.echo(table_text([{**row, **texts(row)} for row in rows], columns(rows)))
        model = f"{rows[0]['model_name']} {rows[0]['model_version']}, weights sha256 {rows[0]['model_sha256'][:16]}"
        click.echo(f"GPa, with the spread of the members and 90 % intervals; {model}")


def columns(rows: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    shown: dict[str, tuple[str, str]] = {"name": ("structure", "{}"), "formula": ("formula", "{}")}
    for name, symbol in SYMBOLS.items():
        form = number_format(name)
        shown |= {name: (symbol, form), f"{name}_spread": ("+-", form), f"{name}_interval": ("90 %", "{}")}
    shown |= {"distance": ("distance", "{:.2f}"), "trust": ("", "{}")}
    if any(row["prediction"] is not None for row in rows):
        shown["prediction"] = ("node", "{}")
    return shown


def texts(row: dict[str, Any]) -> dict[str, str]:
    """What the table says in words."""
    words = {"trust": "FAR" if row["far"] else "seen" if row["in_training_data"] else "near"}
    for name in SYMBOLS:
        words[f"{name}_interval"] = interval_text(name, row[f"{name}_low"], row[f"{name}_high"])
    return words
