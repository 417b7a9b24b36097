"""``hardcoat ml prepare`` and ``hardcoat ml train``. Neither needs an AiiDA profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiida_hardcoat.cli.errors import user_errors
from aiida_hardcoat.errors import InputError

if TYPE_CHECKING:
    from hardcoat_ml.data import Entry
    from hardcoat_ml.training_set import TrainingSet

SEED = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)


@click.command("prepare")
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("target", metavar="SET.npz", type=click.Path(path_type=Path))
@SEED
@click.option("--hold-out-anion", multiple=True, metavar="N", help="Keep compounds of this anion out; repeatable.")
@click.option(
    "--hold-out-system", multiple=True, metavar="Al-Ti-N", help="Keep this system and its subsystems out; repeatable."
)
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Of the formulas for training, to see how errors fall with data.",
)
@user_errors()
def cmd_prepare(
    data: Path, target: Path, seed: int, hold_out_anion: Sequence[str], hold_out_system: Sequence[str], share: float
) -> None:
    """Clean DATA (JSONL, .xz or .gz too), split it 8:1:1 by formula and make its graphs.

    SET.npz is all that training needs, on any machine; SET.md is the card of the data.
    """
    from hardcoat_ml.dataset_card import card_markdown
    from hardcoat_ml.training_set import save

    if target.suffix != ".npz":
        raise click.BadParameter(f"'{target}' must end in .npz", param_hint="SET.npz")
    if not target.parent.is_dir():
        raise InputError(f"there is no folder {target.parent}: make it first")
    training_set = prepared(data, seed, keeps_out(hold_out_anion, hold_out_system), share)
    save(training_set, target)
    card = card_markdown(training_set.card)
    target.with_suffix(".md").write_text(card)
    click.echo(card)


@click.command("train")
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--protocol", default="quick", show_default=True, help="study or quick.")
@click.option("--name", default="cgcnn", show_default=True, help="Of the ensemble's files.")
@SEED
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--members", type=click.IntRange(min=1), help="Networks to train, instead of the protocol's number.")
@click.option("--epochs", type=click.IntRange(min=1), help="At most that many, instead of the protocol's number.")
@click.option("--tensorboard", is_flag=True, help="Write the losses for TensorBoard as well.")
@user_errors()
def cmd_train(
    data: Path,
    folder: Path,
    protocol: str,
    name: str,
    seed: int,
    device: str,
    members: int | None,
    epochs: int | None,
    tensorboard: bool,
) -> None:
    """Train an ensemble on DATA: a JSONL file, or what `hardcoat ml prepare` wrote.

    FOLDER gets checkpoints, losses and, in the end, NAME.safetensors and NAME.json for `hardcoat ml predict --model`.
    After a stop of any kind the same command goes on from the last checkpoint.
    """
    from hardcoat_ml import VERSION
    from hardcoat_ml.device import check_device
    from hardcoat_ml.runs import run
    from hardcoat_ml.training import load_protocol
    from hardcoat_ml.training_set import load

    check_device(device)
    chosen = load_protocol(protocol, members=members, epochs=epochs)
    training_set = load(data) if data.suffix == ".npz" else prepared(data, seed, None, 1.0)
    try:
        ensemble = run(
            training_set,
            chosen,
            folder,
            name=name,
            version=VERSION,
            seed=seed,
            device=device,
            tensorboard=tensorboard,
        )
    except KeyboardInterrupt:
        click.echo("stopped: the same command goes on from the last checkpoint", err=True)
        raise SystemExit(130) from None
    for part, what in (("test", "crystals of unseen formulas"), ("held_out", "crystals held out")):
        if part not in ensemble.card:
            continue
        scores = ensemble.card[part]
        for key, title in (("bulk_modulus", "B"), ("shear_modulus", "G")):
            click.echo(
                f"{title}: MAE {scores[key]['mae']:.2f} GPa on {scores['n']} {what}, "
                f"{100 * scores['coverage_90'][key]:.1f} % within their 90 % intervals"
            )
    click.echo(f"{folder / name}.safetensors  sha256 {ensemble.sha256}")


def prepared(data: Path, seed: int, held_out: Callable[[Entry], bool] | None, share: float) -> TrainingSet:
    """The set made from a data file, with progress."""
    from tqdm import tqdm

    from hardcoat_ml.data import load_entries
    from hardcoat_ml.training_set import prepare

    progress = partial(tqdm, desc="graphs", leave=False, disable=None)
    return prepare(load_entries(data), seed, held_out=held_out, share=share, progress=progress)


def keeps_out(anions: Sequence[str], systems: Sequence[str]) -> Callable[[Entry], bool] | None:
    """Whether any of the options keeps an entry out; None where there are none."""
    from hardcoat_ml.evaluation import has_anion, in_system

    tests = [has_anion(anion) for anion in anions] + [in_system(*system.split("-")) for system in systems]
    return (lambda entry: any(test(entry) for test in tests)) if tests else None
