"""A trained ensemble carried on to alloys: its last layers, or all of them, trained further on a few moduli.

What a fine-tuned network adds is its excess: an alloy is predicted as Vegard's rule plus what the network says of the
alloy beyond what it says of the end members, mixed linearly. End members therefore come out exactly.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hardcoat_ml.alloys import Alloy, Predictor, end_members, predict_vegard
from hardcoat_ml.crystal import Crystal
from hardcoat_ml.ensemble import Ensemble
from hardcoat_ml.errors import InputError
from hardcoat_ml.graphs import Graphs
from hardcoat_ml.metrics import FloatArray


@dataclass(frozen=True)
class Tuning:
    """How far training goes on; chosen beforehand, since a few alloys leave nothing to choose by."""

    frozen: tuple[str, ...]
    """Beginnings of the names of parameters that stay as they are."""
    steps: int
    learning_rate: float


TUNINGS = {
    "read-out": Tuning(("embedding", "of_", "edge_norm", "node_norm"), steps=200, learning_rate=1e-3),
    "all": Tuning((), steps=60, learning_rate=1e-4),
}
"""By name: the layers behind the pooling alone, or every layer."""


def fine_tuned(ensemble: Ensemble, crystals: Mapping[Alloy, Crystal], layers: str = "read-out") -> Predictor:
    """A predictor that trains the ensemble further on what it learns from, each setting by itself.

    :param crystals: the structure of every alloy and end member.
    :param layers: a name of `TUNINGS`.
    :raises InputError: for an unknown name.
    """
    if layers not in TUNINGS:
        raise InputError(f"no fine-tuning of '{layers}': choose one of {', '.join(TUNINGS)}")

    def predictor(learn: Sequence[Alloy], asked: Sequence[Alloy]) -> FloatArray:
        moduli = predict_vegard(learn, asked)
        ends = end_members(learn)
        for setting in {alloy.setting for alloy in asked}:
            lesson = [alloy for alloy in learn if alloy.setting == setting]
            tuned = tune(ensemble, [crystals[alloy] for alloy in lesson], [a.moduli for a in lesson], TUNINGS[layers])
            rows = [k for k, alloy in enumerate(asked) if alloy.setting == setting]
            needed = [asked[k] for k in rows] + [end for (of, _), end in ends.items() if of == setting]
            said = dict(zip(needed, tuned.members([crystals[alloy] for alloy in needed]).mean(axis=0), strict=True))
            for k in rows:
                linear = [float(share) * said[ends[setting, metal]] for metal, share in asked[k].fractions]
                moduli[k] += said[asked[k]] - np.sum(linear, axis=0)
        return moduli

    return predictor


def tune(ensemble: Ensemble, crystals: Sequence[Crystal], moduli: Sequence[FloatArray], tuning: Tuning) -> Ensemble:
    """A copy of an ensemble, trained further on crystals and their moduli (2,) in GPa.

    The running moments of the batch norms stay as they are: a handful of alloys would give poor ones.
    """
    tuned = copy.deepcopy(ensemble)
    network = tuned.network.eval()
    free = [
        parameter
        for name, parameter in network.named_parameters()
        if not name.startswith(tuning.frozen or ("nothing is frozen",))
    ]
    graphs = tuned.graphs(crystals).to(tuned.mean.device)
    given = torch.as_tensor(np.array(moduli), dtype=torch.float32, device=tuned.mean.device)
    targets = (given - tuned.mean) / tuned.deviation
    pooled = pooled_in_pieces(tuned, graphs) if tuning.frozen else None
    optimiser = torch.optim.Adam(free, tuning.learning_rate)
    for _ in range(tuning.steps):
        optimiser.zero_grad()
        answers = network(graphs) if pooled is None else network.read_out(pooled)
        # Members share no weight: the gradient of the sum is that of each alone.
        (answers - targets).square().mean((1, 2)).sum().backward()
        optimiser.step()
    return tuned


def pooled_in_pieces(ensemble: Ensemble, graphs: Graphs) -> torch.Tensor:
    """(members, graphs, features) without gradients, piece by piece."""
    from hardcoat_ml.ensemble import EDGES_AT_ONCE

    with torch.no_grad():
        return torch.cat([ensemble.network.pooled(piece) for piece in graphs.batches(EDGES_AT_ONCE)], dim=1)
