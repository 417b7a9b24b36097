"""A training run from start to stored ensemble, with what a person sees of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from hardcoat_ml.assembly import assemble
from hardcoat_ml.ensemble import Ensemble
from hardcoat_ml.errors import InputError
from hardcoat_ml.intervals import conformal_quantile
from hardcoat_ml.training import Protocol, train
from hardcoat_ml.training_set import VALIDATION, TrainingSet

Report = Callable[[int, int, Sequence[float], Sequence[float]], None]

SECONDS_BETWEEN_LINES = 10.0
"""In a log; a terminal sees every epoch."""


def run(
    training_set: TrainingSet,
    protocol: Protocol,
    folder: Path,
    *,
    name: str,
    version: str,
    seed: int = 0,
    device: str = "cpu",
    tensorboard: bool = False,
) -> Ensemble:
    """Train, or go on training, and store ``NAME.safetensors``, ``NAME.json`` and a plot of the losses in ``folder``.

    :raises InputError: see :func:`hardcoat_ml.training.train`; too little validation data for intervals; TensorBoard
        asked for and not installed.
    """
    # What cannot be calibrated is refused before hours are spent on it.
    conformal_quantile(np.zeros(len(training_set.rows(VALIDATION))), level=0.9)
    reports: list[Report] = [terminal_report(protocol) if sys.stderr.isatty() else log_report(protocol)]
    if tensorboard:
        reports.append(tensorboard_report(folder))

    def report(*epoch: Any) -> None:
        for each in reports:
            each(*epoch)

    losses = train(training_set, protocol, folder, seed=seed, device=device, report=report)
    plot_losses(losses, protocol.loss, folder / "losses.png")
    return assemble(training_set, folder, folder / f"{name}.safetensors", version)


def terminal_report(protocol: Protocol) -> Report:
    """A progress bar over the epochs of all members."""
    from tqdm import tqdm

    bar = tqdm(total=protocol.members * protocol.epochs, unit="epoch", desc="training")

    def report(first: int, epoch: int, training: Sequence[float], validation: Sequence[float]) -> None:
        bar.n = first * protocol.epochs + epoch * len(training)
        bar.set_postfix_str(f"members {first + 1}-{first + len(training)}, {losses_text(training, validation)}")

    return report


def log_report(protocol: Protocol) -> Report:
    """A line now and then."""
    last = -SECONDS_BETWEEN_LINES

    def report(first: int, epoch: int, training: Sequence[float], validation: Sequence[float]) -> None:
        nonlocal last
        if epoch < protocol.epochs and time.monotonic() - last < SECONDS_BETWEEN_LINES:
            return
        last = time.monotonic()
        members = f"members {first + 1}-{first + len(training)} of {protocol.members}"
        line = f"{members}, epoch {epoch} of {protocol.epochs}: {losses_text(training, validation)}"
        print(line, file=sys.stderr, flush=True)

    return report


def losses_text(training: Sequence[float], validation: Sequence[float]) -> str:
    return f"training {min(training):.4f}-{max(training):.4f}, validation {min(validation):.4f}-{max(validation):.4f}"


def tensorboard_report(folder: Path) -> Report:
    """Scalars for TensorBoard, in the folder of the run.

    :raises InputError: where it is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError(
            "TensorBoard is not installed: `pip install tensorboard`, or leave --tensorboard out"
        ) from None
    writer: Any = SummaryWriter(str(folder / "tensorboard"))

    def report(first: int, epoch: int, training: Sequence[float], validation: Sequence[float]) -> None:
        for k, (fitted, judged) in enumerate(zip(training, validation, strict=True), start=first):
            writer.add_scalar(f"training/{k}", fitted, epoch)
            writer.add_scalar(f"validation/{k}", judged, epoch)
        writer.flush()

    return report


def plot_losses(losses: list[dict[str, float]], loss: str, path: Path) -> None:
    """The loss curves as a picture, where matplotlib is installed; ``losses.json`` has the numbers anyway."""
    if find_spec("matplotlib") is None:
        return
    from hardcoat_ml.figures import loss_figure, save

    save(loss_figure(losses, f"training ({loss} error)", "validation (absolute error)"), path)
