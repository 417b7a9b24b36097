"""``hardcoat ml alloys``: every predictor of alloys beside Vegard's rule and the mean."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiida_hardcoat import learned
from aiida_hardcoat.cli.alloy_tables import (
    CATALOGUE,
    IONS,
    check_one_level,
    error_columns,
    indented,
    load_tables,
    say_left_out,
    select,
)
from aiida_hardcoat.cli.entries import FORMAT, csv_text, table_text
from aiida_hardcoat.cli.errors import user_errors
from aiida_hardcoat.cli.properties import SYMBOLS
from aiida_hardcoat.errors import InputError, nearest

if TYPE_CHECKING:
    from hardcoat_ml.alloy_comparison import Line
    from hardcoat_ml.alloys import Alloy, Predictor
    from hardcoat_ml.crystal import Crystal
    from hardcoat_ml.ensemble import Ensemble
    from hardcoat_ml.metrics import FloatArray

SQS_RESTARTS, SQS_STEPS = 5, 200
"""A short search, as in the protocol `fast`: what a network says differs little between good structures."""


@click.command("alloys")
@click.argument("tables", nargs=-1, required=True, metavar="TABLE...")
@click.option("--level", help="Level of theory, where the tables hold several.")
@IONS
@click.option(
    "-m", "--model", "models", multiple=True, metavar="[LABEL=]PATH",
    help="Weights of a network instead of the shipped ones; repeatable.",
)  # fmt: skip
@click.option("--no-network", is_flag=True, help="Leave the networks out: no structures are made.")
@click.option("--atoms", type=int, default=96, show_default=True, help="Atoms of the quasirandom structures.")
@click.option(
    "--reference", metavar="TABLE", help="The same alloys at another level, e.g. of a potential: its excess is tried."
)
@click.option("--reference-level", help="Level of theory of the reference, where it holds several.")
@click.option(
    "--fine-tune", multiple=True, type=click.Choice(["read-out", "all"]), help="Train these layers of it further, too."
)
@click.option(
    "--plot", type=(str, click.Path(path_type=Path)), multiple=True, metavar="PREDICTOR FILE.png|svg",
    help="Save a parity plot of a predictor, e.g. CGCNN or excess; repeatable.",
)  # fmt: skip
@FORMAT
@user_errors()
def cmd_alloys(
    tables: tuple[str, ...],
    level: str | None,
    ions: str | None,
    models: tuple[str, ...],
    no_network: bool,
    atoms: int,
    reference: str | None,
    reference_level: str | None,
    fine_tune: tuple[str, ...],
    plot: tuple[tuple[str, Path], ...],
    output_format: str,
) -> None:
    """Compare predictors of alloys on TABLEs: the network, Vegard's rule, the mean, the learned excess, and more.

    Whatever learns from the alloys is judged with each pair of metals left out in turn; end members are known. The
    network is judged as it is, on quasirandom structures with lattice parameters mixed linearly and nothing relaxed,
    or, for the entries of the catalogue, on their relaxed structures. A predictor is worth keeping where it beats every
    simpler one, which stand above it, by more than the standard error of the difference.
    """
    from hardcoat_ml.alloy_comparison import compare
    from hardcoat_ml.alloys import with_end_members
    from hardcoat_ml.figures import check_path

    for _, path in plot:
        check_path(path)
    given = [select(table, level, ions) for table in load_tables(tables, level, ions)]
    alloys, left_out = with_end_members([alloy for table in given for alloy in table.alloys])
    check_one_level(alloys)
    say_left_out([*(line for table in given for line in table.left_out), *left_out])
    others = reference_predictors(reference, reference_level)
    networks = {} if no_network else load_networks(models)
    entries = {a: int(a.identifier) for table in given if table.source["file"] == CATALOGUE for a in table.alloys}
    crystals = make_crystals(alloys, atoms, entries) if networks else {}
    predictions = predict_all(alloys, networks, crystals, others, fine_tune)
    for predictor, path in plot:
        plot_predictor(predictor, path, alloys, predictions)
    print_comparison(compare(alloys, predictions), output_format)


def plot_predictor(predictor: str, path: Path, alloys: Sequence[Alloy], predictions: Mapping[str, FloatArray]) -> None:
    """Predicted against computed values of all alloys that a predictor was judged on.

    :raises InputError: for a predictor that is not among the predictions.
    """
    import numpy as np

    from hardcoat_ml.figures import parity_figure, save
    from hardcoat_ml.metrics import properties_of

    if predictor not in predictions:
        raise InputError(f"no predictor '{predictor}' to plot: {nearest(predictor, list(predictions))}")
    judged = np.flatnonzero(np.isfinite(predictions[predictor]).all(axis=1))
    true = properties_of(np.array([alloy.moduli for alloy in alloys])[judged])
    labels = [alloys[k].formula for k in judged.tolist()]
    save(parity_figure(true, properties_of(predictions[predictor][judged]), labels), path)
    click.echo(f"parity plot of {predictor}: {path}", err=True)


def predict_all(
    alloys: Sequence[Alloy],
    networks: Mapping[str, Ensemble],
    crystals: Mapping[Alloy, Crystal],
    others: Mapping[str, Predictor],
    layers: Sequence[str],
) -> dict[str, FloatArray]:
    """Moduli (n, 2) of every alloy by predictor, the simplest first; NaN where a predictor is not judged."""
    from hardcoat_ml.alloys import leave_one_pair_out
    from hardcoat_ml.excess_model import PREDICTORS

    predictions: dict[str, FloatArray] = {}
    for name, predictor in PREDICTORS.items():
        if name == "excess":  # no simpler than the networks as they are, which learn nothing from the alloys
            for label, ensemble in networks.items():
                predictions |= network_predictions(label, ensemble, alloys, crystals)
        predictions[name] = leave_one_pair_out(alloys, predictor)
    predictions |= {name: leave_one_pair_out(alloys, each) for name, each in others.items()}
    for label, ensemble in networks.items():
        for name, each in network_learners(label, ensemble, alloys, crystals, layers).items():
            predictions[name] = leave_one_pair_out(alloys, each)
    return predictions


def network_predictions(
    label: str, ensemble: Ensemble, alloys: Sequence[Alloy], crystals: Mapping[Alloy, Crystal]
) -> dict[str, FloatArray]:
    """What a network says of the alloys; and, if it has not seen them all, of the end members that it has not seen."""
    import numpy as np

    from hardcoat_ml.crystal import formula_of

    known = [k for k, alloy in enumerate(alloys) if not ensemble.unseen(crystals[alloy])]
    everything = np.full((len(alloys), 2), np.nan)
    if known:
        answers = ensemble.predict([crystals[alloys[k]] for k in known])
        everything[known] = [[answer.bulk_modulus, answer.shear_modulus] for answer in answers]
    mixed = np.array([not alloy.is_end_member for alloy in alloys])
    seen = np.array([ensemble.saw(formula_of(crystals[alloy].numbers)) for alloy in alloys])
    predictions = {label: np.where(mixed[:, None], everything, np.nan)}
    if np.isfinite(everything[~mixed & ~seen]).any():
        predictions[f"{label} (end members judged too)"] = np.where((mixed | ~seen)[:, None], everything, np.nan)
    return predictions


def network_learners(
    label: str,
    ensemble: Ensemble,
    alloys: Sequence[Alloy],
    crystals: Mapping[Alloy, Crystal],
    layers: Sequence[str],
) -> dict[str, Predictor]:
    """Predictors that learn from alloys with the help of a network; none where it does not know every element."""
    from hardcoat_ml.excess import feature_columns, ridge_predictor

    if any(ensemble.unseen(crystals[alloy]) for alloy in alloys):
        return {}
    features = dict(zip(alloys, ensemble.features([crystals[alloy] for alloy in alloys]), strict=True))
    learners = {f"{label} features, ridge": ridge_predictor(feature_columns(features))}
    if layers:
        from hardcoat_ml.finetuning import fine_tuned

        learners |= {f"{label} fine-tuned, {each}": fine_tuned(ensemble, crystals, each) for each in layers}
    return learners


def reference_predictors(name: str | None, level: str | None) -> dict[str, Predictor]:
    """Predictors that use the excess of the same alloys in another table."""
    from hardcoat_ml.excess import add_reference_excess, learn_reference_excess

    if name is None:
        return {}
    alloys = [a for table in load_tables((name,), level, None) for a in select(table, level, None).alloys]
    check_one_level(alloys)
    return {
        "Vegard + reference excess": add_reference_excess(alloys),
        "excess, learned with the reference's": learn_reference_excess(alloys),
    }


def load_networks(models: Iterable[str]) -> dict[str, Ensemble]:
    """Ensembles by label; where none is named the shipped ones, trained with and without binary end members.

    :raises InputError: for two of one label; of `hardcoat_ml` for files that are no ensemble.
    """
    from hardcoat_ml.ensemble import WITHOUT_END_MEMBERS, shipped_path

    networks: dict[str, Ensemble] = {}
    for text in models:
        label, separator, path = text.rpartition("=")
        name = f"CGCNN {label}" if separator else "CGCNN"
        if name in networks:
            raise InputError(f"two models are called '{name}': name them, as in --model held-out=PATH")
        networks[name] = learned.load_ensemble(Path(path))
    if networks:
        return networks
    return {
        "CGCNN": learned.load_ensemble(),
        "CGCNN, no end members": learned.load_ensemble(shipped_path(WITHOUT_END_MEMBERS)),
    }


def print_comparison(lines: Sequence[Line], output_format: str) -> None:
    if output_format == "json":
        click.echo(json.dumps([asdict(line) for line in lines], indent=2))
        return
    rows = [comparison_row(line) for line in lines]
    if output_format == "csv":
        click.echo(csv_text(rows), nl=False)
        return
    shown = {"predictor": ("predictor", "{}"), "n": ("n", "{}"), **error_columns(), "kept": ("better in", "{}")}
    blocks: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        blocks.setdefault((row["structures"], row["ions"]), []).append(row)
    for (structures, ions), block in blocks.items():
        click.echo(f"{structures}, ions {ions}")
        percent = [
            {**row, **{key: 100 * row[key] for key in row if key.endswith("_mare") and row[key]}} for row in block
        ]
        click.echo(indented(table_text(percent, shown)))
    click.echo(
        "mean absolute errors in GPa (nu: 1), and relative to the value in %; each pair of metals left out in turn\n"
        "better in: beats all above by more than a standard error of the difference"
    )


def comparison_row(line: Line) -> dict[str, Any]:
    row: dict[str, Any] = {
        "structures": line.subset, "ions": line.ions, "predictor": line.predictor, "n": line.n, "systems": line.systems,
    }  # fmt: skip
    for name in SYMBOLS:
        row |= {f"{name}_mae": line.scores[name].mae, f"{name}_mare": line.scores[name].mare}
        row[f"{name}_mae_standard_error"] = line.standard_errors[name]
    return {**row, "kept": " ".join(SYMBOLS[name] for name in line.kept) or None}


# --- structures -------------------------------------------------------------------------------------------------------


def make_crystals(alloys: Sequence[Alloy], atoms: int, entries: Mapping[Alloy, int]) -> dict[Alloy, Crystal]:
    """A structure for each alloy: quasirandom and ideal, or the relaxed one of an entry of the catalogue.

    :param entries: PK of the alloys that are entries.
    """
    from tqdm import tqdm

    made: dict[tuple[Any, ...], Crystal] = {}
    crystals: dict[Alloy, Crystal] = {}
    for alloy in tqdm(alloys, "structures", unit="structure", leave=False, disable=None):
        if alloy in entries:
            crystals[alloy] = entry_crystal(entries[alloy])
            continue
        key = alloy.fractions, alloy.setting.structure, alloy.setting.anion
        if key not in made:
            made[key] = quasirandom_crystal(alloy, atoms)
        crystals[alloy] = made[key]
    return crystals


def entry_crystal(pk: int) -> Crystal:
    from aiida_hardcoat.calculations.prediction import crystal_of, sources_of
    from aiida_hardcoat.cli.entries import load_entry

    structure, _ = sources_of(load_entry(str(pk)))
    return crystal_of(structure)


def quasirandom_crystal(alloy: Alloy, atoms: int) -> Crystal:
    """A special quasirandom structure with Vegard's lattice parameters; the primitive cell of an end member.

    :raises InputError: where the composition does not fill the cell, or the structure type is not known.
    """
    from aiida_hardcoat.physics.cells import supercell_matrix
    from aiida_hardcoat.physics.composition import Composition
    from aiida_hardcoat.physics.prototypes import FORMULA_UNITS, parent
    from aiida_hardcoat.physics.sqs import find_sqs
    from hardcoat_ml.crystal import from_ase

    structure = alloy.setting.structure
    fractions = tuple((metal, Fraction(share)) for metal, share in alloy.fractions)
    composition = Composition(fractions, alloy.setting.anion)
    ideal = parent(structure, composition)
    size = 2 * FORMULA_UNITS[structure] if alloy.is_end_member else atoms
    matrix = supercell_matrix(structure, size)
    return from_ase(find_sqs(ideal, matrix, composition, restarts=SQS_RESTARTS, steps=SQS_STEPS).atoms)
