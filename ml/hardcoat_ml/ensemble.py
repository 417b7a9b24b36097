"""A trained ensemble: what it answers for crystals, and the two files that it is stored in.

``NAME.safetensors`` holds all numbers: weights, scaling of the moduli, reference features and hashes of the formulas
that it has seen. ``NAME.json``, its card, says what these are: data with licence, split, protocol, calibration of the
intervals, scores, versions, and the sha256 of the other file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hardcoat_ml import graphs as graph_module
from hardcoat_ml.crystal import Crystal
from hardcoat_ml.device import check_device
from hardcoat_ml.distance import FeatureSpace
from hardcoat_ml.elements import SYMBOLS
from hardcoat_ml.errors import InputError
from hardcoat_ml.graphs import Graphs, crystal_graphs
from hardcoat_ml.intervals import Calibration, interval
from hardcoat_ml.metrics import PROPERTIES, SMALLEST, properties_of
from hardcoat_ml.model import CGCNN, Architecture
from hardcoat_ml.prediction import Prediction

FORMAT = "hardcoat ensemble 1"
SHIPPED, WITHOUT_END_MEMBERS = "cgcnn", "cgcnn-no-end-members"
"""Names of the ensembles in the package; the second never saw the nitrides of Al, Ti, Zr and Hf alone."""
EDGES_AT_ONCE = 6_000
"""Crystals go through the network in pieces of about that many edges: a cache's worth, eight 96-atom SQS or fewer."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answers:
    """What an ensemble says of n crystals: by property (n,), GPa and 1 for Poisson's ratio."""

    values: dict[str, FloatArray]
    """Of the members' mean moduli."""
    spreads: dict[str, FloatArray]
    """Standard deviation over the members."""
    low: dict[str, FloatArray]
    """Lower end of the 90 % interval."""
    high: dict[str, FloatArray]
    """Upper end."""
    distance: FloatArray
    """(n,) to the training data, far from 1 on."""


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Members that were trained on the same data."""

    network: CGCNN
    mean: torch.Tensor
    """(2,) mean of the training moduli, GPa."""
    deviation: torch.Tensor
    """(2,) their standard deviation, GPa."""
    seen_formulas: NDArray[np.int64]
    """Hashes of the formulas of training and validation, in rising order."""
    space: FeatureSpace
    calibrations: dict[str, Calibration]
    card: dict[str, Any]
    sha256: str

    @classmethod
    def load(cls, path: Path | None = None, device: str = "cpu") -> Ensemble:
        """The ensemble of ``path`` (its card or its numbers), by default the one that is shipped.

        :raises InputError: for files that are missing, do not belong together or are no ensemble.
        """
        return read(shipped_path() if path is None else Path(path), device)

    def moduli(self, graphs: Graphs) -> tuple[FloatArray, FloatArray]:
        """As :func:`moduli_and_features`, of graphs on any device."""
        return moduli_and_features(self.network, graphs.to(self.mean.device), self.mean, self.deviation)

    def answers(self, graphs: Graphs) -> Answers:
        """What the ensemble says of graphs."""
        moduli, features = self.moduli(graphs)
        values, spreads = summary(moduli)
        ends = {name: interval(self.calibrations[name], values[name], spreads[name]) for name in PROPERTIES}
        low, high = ({name: ends[name][k] for name in PROPERTIES} for k in (0, 1))
        return Answers(values, spreads, low, high, self.space.distance(features))

    def members(self, crystals: Sequence[Crystal]) -> FloatArray:
        """(members, n, 2): bulk and shear modulus in GPa of every member.

        :raises InputError: for elements that the ensemble has not seen.
        """
        return self.moduli(self.graphs(crystals))[0]

    def features(self, crystals: Sequence[Crystal]) -> FloatArray:
        """(n, features): what the first member makes of each crystal before its hidden layers.

        :raises InputError: for elements that the ensemble has not seen.
        """
        return self.moduli(self.graphs(crystals))[1]

    def predict(self, crystals: Sequence[Crystal], progress: Any = None) -> list[Prediction]:
        """Moduli of crystals, with spread and interval.

        :param progress: wraps an iterable, as tqdm does.
        :raises InputError: for elements that the ensemble has not seen, or no crystals.
        """
        answers = self.answers(self.graphs(crystals, progress))
        return [
            Prediction(
                **{name: float(answers.values[name][k]) for name in PROPERTIES},
                spread={name: float(answers.spreads[name][k]) for name in PROPERTIES},
                interval={name: (float(answers.low[name][k]), float(answers.high[name][k])) for name in PROPERTIES},
                distance=float(answers.distance[k]),
                far=bool(answers.distance[k] > 1),
            )
            for k in range(len(crystals))
        ]

    def graphs(self, crystals: Sequence[Crystal], progress: Any = None) -> Graphs:
        """Graphs of crystals that the ensemble can judge.

        :raises InputError: for elements that it has not seen, or no crystals.
        """
        unseen = sorted({symbol for crystal in crystals for symbol in self.unseen(crystal)})
        if unseen:
            raise InputError(
                f"the model has seen no crystal with {', '.join(unseen)}: it cannot predict for "
                f"{'this element' if len(unseen) == 1 else 'these elements'}; compute the moduli with `hardcoat run`"
            )
        return crystal_graphs(crystals, progress)

    def unseen(self, crystal: Crystal) -> list[str]:
        """Symbols of the crystal's elements that no training crystal held."""
        known = self.network.architecture.elements
        return sorted({SYMBOLS[number] for number in np.unique(crystal.numbers) if number not in known})

    def saw(self, formula: str) -> bool:
        """Whether a crystal of this reduced formula was in the training or validation data."""
        hashed = hash_of(formula)
        place = int(np.searchsorted(self.seen_formulas, hashed))
        return place < len(self.seen_formulas) and bool(self.seen_formulas[place] == hashed)


def moduli_and_features(
    network: CGCNN, graphs: Graphs, mean: torch.Tensor, deviation: torch.Tensor
) -> tuple[FloatArray, FloatArray]:
    """Moduli (members, n, 2) in GPa and the first member's pooled features (n, features) of graphs.

    A modulus below 1 GPa, which only an extrapolation can give, counts as 1 GPa.

    :param mean: (2,) of the training moduli, GPa; so is ``deviation``, their standard deviation.
    """
    moduli, features = [], []
    network.eval()
    with torch.no_grad():
        for piece in graphs.batches(EDGES_AT_ONCE):
            pooled = network.pooled(piece)
            moduli.append(network.read_out(pooled) * deviation + mean)
            features.append(pooled[0])
    values = torch.cat(moduli, dim=1).clamp(min=SMALLEST["bulk_modulus"])
    return values.double().cpu().numpy(), torch.cat(features).double().cpu().numpy()


def summary(moduli: FloatArray) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """Value and spread (n,) of each property from the moduli (members, n, 2) of the members.

    Young's modulus and Poisson's ratio are those of the mean moduli; their spread is that of the members' own.
    """
    freedom = 1 if len(moduli) > 1 else 0
    spreads = {name: each.std(axis=0, ddof=freedom) for name, each in properties_of(moduli).items()}
    return properties_of(moduli.mean(axis=0)), spreads


def hash_of(formula: str) -> int:
    """A 64-bit number for a formula."""
    return int.from_bytes(hashlib.sha256(formula.encode()).digest()[:8], "big", signed=True)


def shipped_path(name: str = SHIPPED) -> Path:
    """Where the card of a shipped ensemble lies."""
    return Path(str(resources.files("hardcoat_ml").joinpath("weights", f"{name}.json")))


def graph_settings() -> dict[str, float]:
    """What a graph depends on beside the crystal."""
    return {
        "neighbours": graph_module.NEIGHBOURS,
        "radius": graph_module.RADIUS,
        "shell_tolerance": graph_module.SHELL_TOLERANCE,
        "resolution": graph_module.RESOLUTION,
    }


def read(path: Path, device: str) -> Ensemble:
    """The ensemble stored at a path; see :meth:`Ensemble.load`."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    place = check_device(device)
    card_path, numbers_path = path.with_suffix(".json"), path.with_suffix(".safetensors")
    try:
        card, content = json.loads(card_path.read_text()), numbers_path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"no file {error.filename}: a model is NAME.safetensors and NAME.json, side by side") from None
    except (OSError, ValueError):
        raise InputError(f"{card_path} is no card of a model: it must be the JSON that training wrote") from None
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise InputError(f"{card_path} is no card of a model that this version reads ('{FORMAT}')")
    for key in ("sha256", "graphs", "architecture", "members", "calibration", "data", "training_mean"):
        if key not in card:
            raise InputError(f"{card_path} lacks '{key}': it must be the JSON that training wrote")
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != card["sha256"]:
        raise InputError(
            f"{numbers_path} was altered, or belongs to another card: its sha256 is {sha256[:12]}..., "
            f"that on the card {str(card['sha256'])[:12]}...; get both files anew"
        )
    if card["graphs"] != graph_settings():
        raise InputError(f"{card_path} was trained on graphs with other settings: {card['graphs']}")
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise InputError(f"{numbers_path} is no safetensors file ({error})") from None
    architecture = Architecture(**(card["architecture"] | {"elements": tuple(card["architecture"]["elements"])}))
    network = CGCNN(architecture, [0] * card["members"])
    network.load_state_dict({n.removeprefix("network."): t for n, t in tensors.items() if n.startswith("network.")})
    return Ensemble(
        network=network.to(place).eval(),
        mean=tensors["mean"].to(place),
        deviation=tensors["deviation"].to(place),
        seen_formulas=tensors["seen_formulas"].numpy(),
        space=FeatureSpace.from_tensors(
            {name.removeprefix("space."): t for name, t in tensors.items() if name.startswith("space.")}
        ),
        calibrations={name: Calibration(**values) for name, values in card["calibration"].items()},
        card=card,
        sha256=sha256,
    )
