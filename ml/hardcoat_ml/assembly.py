"""From a finished training run to a stored ensemble: best members, intervals, reference features, scores, card."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hardcoat_ml.distance import feature_space
from hardcoat_ml.ensemble import FORMAT, Ensemble, graph_settings, hash_of, moduli_and_features, summary
from hardcoat_ml.errors import InputError
from hardcoat_ml.files import write_whole
from hardcoat_ml.graphs import Graphs
from hardcoat_ml.intervals import BOUNDS, calibrate, coverage
from hardcoat_ml.metrics import PROPERTIES, properties_of, scores_by_property
from hardcoat_ml.model import CGCNN, Architecture
from hardcoat_ml.training import elements_of, load_checkpoint, standardisation
from hardcoat_ml.training_set import HELD_OUT, TEST, TRAINING, VALIDATION, TrainingSet


def assemble(training_set: TrainingSet, folder: Path, target: Path, version: str) -> Ensemble:
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
    answers = {
        part: moduli_and_features(network, select(training_set, training_set.rows(part)), mean, deviation)
        for part in (TRAINING, VALIDATION)
    }
    space = feature_space(answers[TRAINING][1], answers[VALIDATION][1])
    values, spreads = summary(answers[VALIDATION][0])
    truth = properties_of(training_set.moduli[training_set.rows(VALIDATION)])
    groups = training_set.formulas[training_set.rows(VALIDATION)].tolist()
    calibrations = {
        name: calibrate(truth[name], values[name], spreads[name], groups=groups, bounds=BOUNDS[name])
        for name in PROPERTIES
    }
    from safetensors.torch import save as serialise

    tensors = {f"network.{name}": values.contiguous() for name, values in network.state_dict().items()}
    tensors |= {f"space.{name}": values for name, values in space.to_tensors().items()}
    tensors |= {"mean": mean, "deviation": deviation, "seen_formulas": torch.from_numpy(formulas)}
    content: bytes = serialise(tensors)
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
            for name, each in properties_of(training_set.moduli[training_set.rows(TRAINING)]).items()
        },
        "calibration": {name: asdict(each) for name, each in calibrations.items()},
        "libraries": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
    }
    ensemble = Ensemble(network, mean, deviation, formulas, space, calibrations, card, sha256)
    for name, part in (("test", TEST), ("held_out", HELD_OUT)):
        if len(rows := judgeable(training_set, part, architecture.elements)):
            card[name] = judge(ensemble, training_set, rows)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, content)
    write_whole(target.with_suffix(".json"), json.dumps(card, indent=1).encode())
    return ensemble


def judgeable(training_set: TrainingSet, part: int, elements: Sequence[int]) -> NDArray[np.int64]:
    """Numbers of the crystals of a part that hold nothing but these elements."""
    rows = training_set.rows(part)
    chosen = select(training_set, rows)
    strange = ~torch.isin(chosen.numbers, torch.tensor(elements))
    return np.delete(rows, np.unique(chosen.graph_of_node()[strange].numpy()))


def judge(ensemble: Ensemble, training_set: TrainingSet, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Scores and coverage of an ensemble on some crystals of its set, beside predicting the mean."""
    said = ensemble.answers(select(training_set, rows))
    truth = properties_of(training_set.moduli[rows])
    constant = {name: np.full(len(rows), ensemble.card["training_mean"][name]) for name in PROPERTIES}
    return {
        "n": len(rows),
        **{name: asdict(each) for name, each in scores_by_property(truth, said.values).items()},
        "coverage_90": {name: coverage(truth[name], said.low[name], said.high[name]) for name in PROPERTIES},
        "mean_width_90": {name: float((said.high[name] - said.low[name]).mean()) for name in PROPERTIES},
        "predict_the_mean": {name: asdict(each) for name, each in scores_by_property(truth, constant).items()},
        "far": float((said.distance > 1).mean()),
    }


def select(training_set: TrainingSet, rows: NDArray[np.int64]) -> Graphs:
    """The graphs of some crystals of a set."""
    return training_set.graphs.select(torch.from_numpy(rows))
