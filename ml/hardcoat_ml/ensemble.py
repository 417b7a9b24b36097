"""A trained ensemble: what it answers for crystals, and the two files that it is stored in.

``NAME.safetensors`` holds all numbers: weights, scaling of the moduli, reference features and hashes of the formulas
that it has seen. ``NAME.json``, its card, says what these are: data with licence, split, protocol, calibration of the
intervals, scores, versions, and the sha256 of the other file.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hardcoat_ml import graphs as graph_module
from hardcoat_ml import metrics
from hardcoat_ml.crystal import Crystal
from hardcoat_ml.distance import FeatureSpace, feature_space
from hardcoat_ml.elements import SYMBOLS
from hardcoat_ml.errors import InputError
from hardcoat_ml.graphs import Graphs, crystal_graphs
from hardcoat_ml.intervals import BOUNDS, Calibration, calibrate, coverage, interval
from hardcoat_ml.metrics import PROPERTIES, SMALLEST, youngs_and_poisson
from hardcoat_ml.model import CGCNN, Architecture
from hardcoat_ml.training import check_device, elements_of, load_checkpoint, standardisation, write_whole
from hardcoat_ml.training_set import HELD_OUT, TEST, TRAINING, VALIDATION, TrainingSet

FORMAT = "hardcoat ensemble 1"
SHIPPED, WITHOUT_END_MEMBERS = "cgcnn", "cgcnn-no-end-members"
"""Names of the ensembles in the package; the second never saw the nitrides of Al, Ti, Zr and Hf alone."""
EDGES_AT_ONCE = 6_000
"""Crystals go through the network in pieces of about that many edges: a cache's worth, eight 96-atom SQS or fewer."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """Learned moduli of a crystal: GPa, and 1 for Poisson's ratio."""

    bulk_modulus: float
    """Mean of the members."""
    shear_modulus: float
    """Mean of the members."""
    youngs_modulus: float
    """Follows from the two moduli."""
    poisson_ratio: float
    """Follows from the two moduli."""
    spread: dict[str, float]
    """Standard deviation over the members, by property."""
    interval: dict[str, tuple[float, float]]
    """Conformal interval of 90 %, by property."""
    distance: float
    """To the training data in feature space; 1 is what 1 % of crystals like the training data exceed."""
    far: bool
    """Whether the distance exceeds 1: the interval may not hold."""


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
        """Moduli (members, n, 2) in GPa and the first member's pooled features (n, features) of graphs.

        A modulus below 1 GPa, which only an extrapolation can give, counts as 1 GPa.
        """
        network, device = self.network.eval(), self.mean.device
        moduli, features = [], []
        with torch.no_grad():
            for piece in graphs.to(device).batches(EDGES_AT_ONCE):
                pooled = network.pooled(piece)
                moduli.append(network.read_out(pooled) * self.deviation + self.mean)
                features.append(pooled[0])
        values = torch.cat(moduli, dim=1).clamp(min=SMALLEST["bulk_modulus"])
        return values.double().cpu().numpy(), torch.cat(features).double().cpu().numpy()

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
        moduli, features = self.moduli(self.graphs(crystals, progress))
        means, spreads = summary(moduli)
        ends = {name: interval(self.calibrations[name], means[name], spreads[name]) for name in PROPERTIES}
        distance = self.space.distance(features)
        return [
            Prediction(
                **{name: float(means[name][k]) for name in PROPERTIES},
                spread={name: float(spreads[name][k]) for name in PROPERTIES},
                interval={name: (float(ends[name][0][k]), float(ends[name][1][k])) for name in PROPERTIES},
                distance=float(distance[k]),
                far=bool(distance[k] > 1),
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


def summary(moduli: FloatArray) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """Value and spread (n,) of each property from the moduli (members, n, 2) of the members.

    Young's modulus and Poisson's ratio are those of the mean moduli; their spread is that of the members' own.
    """
    mean = moduli.mean(axis=0)
    values = (*mean.T, *youngs_and_poisson(*mean.T))
    each = (moduli[..., 0], moduli[..., 1], *youngs_and_poisson(moduli[..., 0], moduli[..., 1]))
    freedom = 1 if len(moduli) > 1 else 0
    spreads = [member_values.std(axis=0, ddof=freedom) for member_values in each]
    return dict(zip(PROPERTIES, values, strict=True)), dict(zip(PROPERTIES, spreads, strict=True))


def hash_of(formula: str) -> int:
    """A 64-bit number for a formula."""
    return int.from_bytes(hashlib.sha256(formula.encode()).digest()[:8], "big", signed=True)


def shipped_path(name: str = SHIPPED) -> Path:
    """Where the card of a shipped ensemble lies."""
    return Path(str(resources.files("hardcoat_ml").joinpath("weights", f"{name}.json")))


def finish(training_set: TrainingSet, folder: Path, target: Path, version: str) -> Ensemble:
    """Make the ensemble of a finished run: best members, intervals, reference features, scores; and store it.

    :param target: ``NAME.safetensors``; the card is written beside it.
    :param version: of the package, for the card.
    :raises InputError: where the run has not finished or is of other data.
    """
    run = json.loads((folder / "run.json").read_text())
    state = load_checkpoint(folder)
    protocol = run["protocol"]
    if state is None or sum(len(losses[0][0]) for losses in state["losses"]) < protocol["members"]:
        raise InputError(f"the run in {folder} has not finished: run `hardcoat ml train` again, it goes on from there")
    if run["data"] != training_set.card["fingerprint"] or run["split"] != training_set.card["split"]:
        raise InputError(f"the run in {folder} is of other data, or of another split: give the set it was trained on")
    weights = {name: torch.cat([part[name] for part in state["best"]]) for name in state["best"][0]}
    losses = state["best_loss"]
    chosen = sorted(range(len(losses)), key=lambda k: losses[k])[: protocol["keep"]]

    architecture = Architecture(elements_of(training_set))
    network = CGCNN(architecture, [0] * len(chosen))
    network.load_state_dict({name: values[chosen] for name, values in weights.items()})
    mean, deviation = (torch.from_numpy(each).float() for each in standardisation(training_set))
    learnt = np.isin(training_set.parts, (TRAINING, VALIDATION))
    formulas = np.unique([hash_of(str(formula)) for formula in training_set.formulas[learnt]])
    raw = Ensemble(network, mean, deviation, formulas, None, {}, {}, "")  # type: ignore[arg-type]

    answers = {
        part: raw.moduli(training_set.graphs.select(torch.from_numpy(training_set.rows(part))))
        for part in (TRAINING, VALIDATION)
    }
    space = feature_space(answers[TRAINING][1], answers[VALIDATION][1])
    values, spreads = summary(answers[VALIDATION][0])
    truth = true_properties(training_set, training_set.rows(VALIDATION))
    groups = training_set.formulas[training_set.rows(VALIDATION)].tolist()
    calibrations = {
        name: calibrate(truth[name], values[name], spreads[name], groups=groups, bounds=BOUNDS[name])
        for name in PROPERTIES
    }
    tensors = {f"network.{name}": values.contiguous() for name, values in network.state_dict().items()}
    tensors |= {f"space.{name}": values for name, values in space.to_tensors().items()}
    tensors |= {"mean": mean, "deviation": deviation, "seen_formulas": torch.from_numpy(formulas)}
    content = serialised(tensors)
    sha256 = hashlib.sha256(content).hexdigest()
    card = {
        "format": FORMAT,
        "name": target.stem,
        "version": version,
        "sha256": sha256,
        "architecture": asdict(architecture),
        "graphs": graph_settings(),
        "members": len(chosen),
        "member_numbers": chosen,
        "member_validation_losses": [losses[k] for k in chosen],
        "member_epochs": [state["best_epoch"][k] for k in chosen],
        "protocol": protocol,
        "seed": run["seed"],
        "data": training_set.card,
        "training_mean": {
            name: float(each.mean())
            for name, each in true_properties(training_set, training_set.rows(TRAINING)).items()
        },
        "calibration": {name: asdict(each) for name, each in calibrations.items()},
        "libraries": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
    }
    ensemble = Ensemble(network, mean, deviation, formulas, space, calibrations, card, sha256)
    for name, part in (("test", TEST), ("held_out", HELD_OUT)):
        if len(rows := judgeable(training_set, part, architecture.elements)):
            card[name] = judge_rows(ensemble, training_set, rows)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, content)
    write_whole(target.with_suffix(".json"), json.dumps(card, indent=1).encode())
    return ensemble


def judgeable(training_set: TrainingSet, part: int, elements: Sequence[int]) -> NDArray[np.int64]:
    """Numbers of the crystals of a part that hold nothing but these elements."""
    rows = training_set.rows(part)
    chosen = training_set.graphs.select(torch.from_numpy(rows))
    strange = ~torch.isin(chosen.numbers, torch.tensor(elements))
    return np.delete(rows, np.unique(chosen.graph_of_node()[strange].numpy()))


def judge_rows(ensemble: Ensemble, training_set: TrainingSet, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Scores and coverage of an ensemble on some crystals of its set, beside predicting the mean."""
    moduli, features = ensemble.moduli(training_set.graphs.select(torch.from_numpy(rows)))
    values, spreads = summary(moduli)
    truth = true_properties(training_set, rows)
    mean = ensemble.card["training_mean"]
    ends = {name: interval(ensemble.calibrations[name], values[name], spreads[name]) for name in PROPERTIES}
    return {
        "n": len(rows),
        **{name: asdict(metrics.scores(truth[name], values[name], SMALLEST[name])) for name in PROPERTIES},
        "coverage_90": {name: coverage(truth[name], *ends[name]) for name in PROPERTIES},
        "mean_width_90": {name: float((ends[name][1] - ends[name][0]).mean()) for name in PROPERTIES},
        "predict_the_mean": {
            name: asdict(metrics.scores(truth[name], np.full(len(rows), mean[name]), SMALLEST[name]))
            for name in PROPERTIES
        },
        "far": float((ensemble.space.distance(features) > 1).mean()),
    }


def true_properties(training_set: TrainingSet, rows: NDArray[np.int64]) -> dict[str, FloatArray]:
    """The computed values (n,) of each property of some crystals."""
    bulk, shear = training_set.moduli[rows].T
    return dict(zip(PROPERTIES, (bulk, shear, *youngs_and_poisson(bulk, shear)), strict=True))


def graph_settings() -> dict[str, float]:
    """What a graph depends on beside the crystal."""
    return {
        "neighbours": graph_module.NEIGHBOURS,
        "radius": graph_module.RADIUS,
        "shell_tolerance": graph_module.SHELL_TOLERANCE,
        "resolution": graph_module.RESOLUTION,
    }


def serialised(tensors: dict[str, torch.Tensor]) -> bytes:
    """Tensors as the bytes of a safetensors file."""
    from safetensors.torch import save

    content: bytes = save(tensors)
    return content


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
