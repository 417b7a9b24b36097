"""Training of an ensemble: seeded, stacked, with a checkpoint from which a killed run goes on as if undisturbed.

A run is a folder: ``run.json`` says what is trained how, ``checkpoint.pt`` holds the weights of every member at its
best validation loss and the state of training, ``losses.json`` the losses of every epoch. All chance comes from the
seed and the number of the epoch, so that an interrupted run and an undisturbed one give the same weights to the last
bit, on a CPU; sums on a GPU have no fixed order.
"""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hardcoat_ml.device import check_device
from hardcoat_ml.errors import InputError
from hardcoat_ml.files import write_whole
from hardcoat_ml.graphs import Graphs
from hardcoat_ml.model import CGCNN, Architecture
from hardcoat_ml.training_set import TRAINING, VALIDATION, TrainingSet

EDGES_AT_ONCE = 20_000
"""Validation crystals go through the network in pieces of about that many edges."""
SECONDS_BETWEEN_CHECKPOINTS = 20.0
SCHEDULES = ("constant", "one-cycle")
LOSSES = {"squared": torch.square, "absolute": torch.abs}
STACKED = {"cpu": 5, "cuda": 30}
"""Members trained at once; a CPU's cache holds no more."""


@dataclass(frozen=True)
class Protocol:
    """How an ensemble is trained."""

    name: str
    members: int
    """Networks trained; ``keep`` of them, those of lowest validation loss, make the ensemble."""
    keep: int
    epochs: int
    least_epochs: int
    """Training ends after these when no member has improved for ``patience`` epochs, and after ``epochs`` anyway."""
    patience: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    loss: str
    """``squared`` or ``absolute``: mean error over both standardised moduli."""
    schedule: str
    """``constant``, or ``one-cycle``: up to the learning rate in 30 % of the steps and down to nothing."""


def load_protocol(name: str, **changes: Any) -> Protocol:
    """A protocol by name, with some of its numbers changed.

    :raises InputError: for a name or a number that does not exist, or a value that cannot be.
    """
    protocols = json.loads(resources.files("hardcoat_ml").joinpath("protocols.json").read_text())
    if name not in protocols:
        raise InputError(f"no protocol '{name}': choose one of {', '.join(protocols)}")
    changes = {key: value for key, value in changes.items() if value is not None}
    valid = [field.name for field in fields(Protocol)][1:]
    for key in changes:
        if key not in valid:
            raise InputError(f"protocols have no '{key}': they have {', '.join(valid)}")
    values = protocols[name] | changes
    if "epochs" in changes and "least_epochs" not in changes:
        values["least_epochs"] = min(values["least_epochs"], values["epochs"])
    if "members" in changes and "keep" not in changes:
        values["keep"] = min(values["keep"], values["members"])
    protocol = Protocol(name=name, **values)
    counts = protocol.members, protocol.keep, protocol.epochs, protocol.patience, protocol.batch_size
    if min(counts) < 1 or protocol.keep > protocol.members or protocol.least_epochs > protocol.epochs:
        raise InputError(
            f"{protocol.members} members of which {protocol.keep} are kept, {protocol.least_epochs} to "
            f"{protocol.epochs} epochs in batches of {protocol.batch_size}: all must be 1 or more, the first not fewer"
        )
    for key, value, known in (("loss", protocol.loss, LOSSES), ("schedule", protocol.schedule, SCHEDULES)):
        if value not in known:
            raise InputError(f"no {key} '{value}': choose one of {', '.join(known)}")
    if not protocol.learning_rate > 0 or protocol.weight_decay < 0:
        raise InputError("the learning rate must be above 0 and the weight decay not below")
    return protocol


def train(
    training_set: TrainingSet,
    protocol: Protocol,
    folder: Path,
    *,
    seed: int = 0,
    device: str = "cpu",
    stacked: int | None = None,
    report: Any = None,
) -> list[dict[str, float]]:
    """Train all members, or go on with the run in ``folder``; the losses of every member and epoch.

    :param stacked: members trained at once, by default :data:`STACKED`.
    :param report: called after each epoch as ``report(first member, epoch, training losses, validation losses)``.
    :raises InputError: for a folder that holds another run, too few members that did not diverge, no such device.
    """
    place = check_device(device)
    stacked = stacked or STACKED.get(place.type, 5)
    run = {
        "format": "hardcoat run 1",
        "protocol": asdict(protocol),
        "seed": seed,
        "stacked": stacked,
        "data": training_set.card["fingerprint"],
        "split": training_set.card["split"],
    }
    state = open_run(folder, run)
    groups = [range(k, min(k + stacked, protocol.members)) for k in range(0, protocol.members, stacked)]
    for number, members in enumerate(groups):
        if number >= state["finished_groups"]:
            train_group(training_set, protocol, members, seed, place, folder, state, report)
    survivors = sum(math.isfinite(loss) for loss in state["best_loss"])
    if survivors < protocol.keep:
        raise InputError(
            f"{survivors} of {protocol.members} members have a finite loss and {protocol.keep} are needed: "
            "train in a new folder with a lower learning rate"
        )
    return history(state)


def open_run(folder: Path, run: dict[str, Any]) -> dict[str, Any]:
    """The state of the run in a folder, which is made if it is not there.

    :raises InputError: where the folder holds another run, or a checkpoint that cannot be read.
    """
    stored = folder / "run.json"
    if stored.exists():
        try:
            before = json.loads(stored.read_text())
        except ValueError:
            before = {}
        for key, value in run.items():
            if before.get(key) != value:
                raise InputError(f"{folder} holds a run with another {key}: choose another folder, or delete it")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(stored, json.dumps(run, indent=2).encode())
    return load_checkpoint(folder) or {
        "finished_groups": 0, "best": [], "best_loss": [], "best_epoch": [], "losses": [], "group": None
    }  # fmt: skip


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """What ``checkpoint.pt`` holds, or None where there is none.

    :raises InputError: for a file that cannot be read.
    """
    checkpoint = folder / "checkpoint.pt"
    if not checkpoint.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{checkpoint} cannot be read ({type(error).__name__}): delete it to start anew") from None
    return state


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_whole(folder / "checkpoint.pt", buffer.getvalue())
    write_whole(folder / "losses.json", json.dumps(history(state)).encode())


def history(state: dict[str, Any]) -> list[dict[str, float]]:
    """Rows of member, epoch, training loss and validation loss, of finished groups and of the one in training."""
    parts = state["losses"] + ([state["group"]["losses"]] if state["group"] else [])
    rows = []
    first = 0
    for part in parts:
        members = len(part[0][0]) if part else 0
        for epoch, (training, validation) in enumerate(part, start=1):
            for k in range(members):
                rows.append(
                    {
                        "member": first + k,
                        "epoch": epoch,
                        "training_loss": training[k],
                        "validation_loss": validation[k],
                    }
                )
        first += members
    return rows


def train_group(
    training_set: TrainingSet,
    protocol: Protocol,
    members: Sequence[int],
    seed: int,
    device: torch.device,
    folder: Path,
    state: dict[str, Any],
    report: Any,
) -> None:
    """Train some members together, from the checkpoint's epoch on, and add their best weights to ``state``."""
    graphs = training_set.graphs.to(device)
    rows = torch.from_numpy(training_set.rows(TRAINING)).to(device)
    mean, deviation = standardisation(training_set)
    targets = torch.from_numpy((training_set.moduli - mean) / deviation).float().to(device)
    judged = torch.from_numpy(training_set.rows(VALIDATION)).to(device)
    validation = graphs.select(judged)

    network = CGCNN(Architecture(elements_of(training_set)), member_seeds(seed, members)).to(device)
    optimiser = torch.optim.Adam(network.parameters(), protocol.learning_rate, weight_decay=protocol.weight_decay)
    group: dict[str, Any] = state["group"] or {
        "epoch": 0,
        "losses": [],
        "best": snapshot(network),
        "best_loss": [math.inf] * len(members),
        "best_epoch": [0] * len(members),
    }
    if state["group"]:
        network.load_state_dict(group["network"])
        optimiser.load_state_dict(group["optimiser"])
    batches = math.ceil(len(rows) / protocol.batch_size)
    saved = time.monotonic()
    while not settled(protocol, group):
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(hash_of(seed, group["epoch"])))
        network.train()
        total = torch.zeros(len(members), device=device)
        for number, chosen in enumerate(torch.tensor_split(order.to(device), batches)):
            step = group["epoch"] * batches + number
            for parameters in optimiser.param_groups:
                parameters["lr"] = learning_rate(protocol, step / (protocol.epochs * batches))
            batch = rows[chosen]
            optimiser.zero_grad()
            # Members share no weight: the gradient of the sum is that of each alone.
            losses = LOSSES[protocol.loss](network(graphs.select(batch)) - targets[batch]).mean((1, 2))
            losses.sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total += losses.detach() * len(chosen)
        training_losses = (total / len(rows)).tolist()
        validation_losses = validate(network, validation, targets[judged])
        group["epoch"] += 1
        group["losses"].append([training_losses, validation_losses])
        keep_best(group, network, validation_losses)
        if report is not None:
            report(members[0], group["epoch"], training_losses, validation_losses)
        if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
            group |= {"network": network.state_dict(), "optimiser": optimiser.state_dict()}
            save_checkpoint(folder, state | {"group": group})
            saved = time.monotonic()
    state["best"].append(group["best"])
    state["best_loss"] += group["best_loss"]
    state["best_epoch"] += group["best_epoch"]
    state["losses"].append(group["losses"])
    state["group"] = None
    state["finished_groups"] += 1
    save_checkpoint(folder, state)


def settled(protocol: Protocol, group: dict[str, Any]) -> bool:
    """Whether training ends: all epochs done, all members diverged, or none better for long."""
    epoch = group["epoch"]
    if epoch >= protocol.epochs:
        return True
    if group["losses"] and not any(math.isfinite(loss) for loss in group["losses"][-1][1]):
        return True
    return bool(epoch >= protocol.least_epochs and epoch - max(group["best_epoch"]) >= protocol.patience)


def validate(network: CGCNN, graphs: Graphs, targets: torch.Tensor) -> list[float]:
    """Mean absolute error of each member over crystals and both moduli, in standard deviations."""
    predicted = evaluate(network, graphs)
    return [float(loss) for loss in (predicted - targets).abs().mean((1, 2))]


def evaluate(network: CGCNN, graphs: Graphs) -> torch.Tensor:
    """(members, graphs, targets) of a network in evaluation mode, piece by piece."""
    network.eval()
    with torch.no_grad():
        return torch.cat([network(piece) for piece in graphs.batches(EDGES_AT_ONCE)], dim=1)


def keep_best(group: dict[str, Any], network: CGCNN, losses: Sequence[float]) -> None:
    """Copy the weights of members that were never better; a loss that is no number never is better."""
    improved = [k for k, loss in enumerate(losses) if loss < group["best_loss"][k]]
    current = network.state_dict()
    for k in improved:
        group["best_loss"][k] = losses[k]
        group["best_epoch"][k] = group["epoch"]
        for name, values in group["best"].items():
            values[k] = current[name][k].cpu()


def snapshot(network: CGCNN) -> dict[str, torch.Tensor]:
    """A copy of all parameters and moments, on the CPU."""
    return {name: values.detach().cpu().clone() for name, values in network.state_dict().items()}


def standardisation(training_set: TrainingSet) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Mean and standard deviation (2,) of the training moduli, GPa."""
    moduli = training_set.moduli[training_set.rows(TRAINING)]
    return moduli.mean(axis=0), moduli.std(axis=0)


def elements_of(training_set: TrainingSet) -> tuple[int, ...]:
    """Atomic numbers that the training crystals hold."""
    chosen = training_set.graphs.select(torch.from_numpy(training_set.rows(TRAINING)))
    return tuple(sorted(set(chosen.numbers.tolist())))


def learning_rate(protocol: Protocol, progress: float) -> float:
    """The learning rate after that share of all steps (Smith and Topin, arXiv:1708.07120, with cosine flanks)."""
    if protocol.schedule == "constant":
        return protocol.learning_rate
    rising, lowest = 0.3, 1 / 25
    if progress < rising:
        low, high, share = lowest, 1.0, progress / rising
    else:
        low, high, share = 1.0, lowest * 1e-4, (progress - rising) / (1 - rising)
    return protocol.learning_rate * (high + (low - high) * (1 + math.cos(math.pi * share)) / 2)


def member_seeds(seed: int, members: Sequence[int]) -> list[int]:
    """Seeds of initial weights: those of a member do not depend on who is trained beside it."""
    return [hash_of(seed, -1 - member) for member in members]


def hash_of(seed: int, number: int) -> int:
    """A seed of its own for each pair."""
    return int(np.random.SeedSequence([seed, number % 2**32]).generate_state(1)[0])
