"""What a learned model says of an entry's structure, as a node that names the model."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import calcfunction

from aiida_hardcoat import __version__, learned
from aiida_hardcoat.calculations.elastic import realised_composition
from aiida_hardcoat.data.catalogue import CatalogueGroup, find_prediction
from aiida_hardcoat.data.elastic import ElasticData, entry_label
from aiida_hardcoat.data.prediction import PredictionData
from aiida_hardcoat.errors import InputError

if TYPE_CHECKING:
    from hardcoat_ml.crystal import Crystal
    from hardcoat_ml.ensemble import Ensemble
    from hardcoat_ml.prediction import Prediction

WEIGHTS, CARD = "model.safetensors", "model.json"
"""File names of a model that is brought back from its nodes."""

_at_hand: dict[tuple[str, str], dict[str, Any]] = {}
"""What one pass over many structures found, for the calcfunction that stores each: by model and structure."""


@calcfunction
def learned_moduli(
    structure: orm.StructureData,
    description: orm.Dict,
    model: orm.Dict,
    weights: orm.SinglefileData | None = None,
) -> PredictionData:
    """The moduli that a model learned, for one structure.

    :param description: ``structure_type`` of the structure.
    :param model: name, version, sha256 and card of the model.
    :param weights: the weights of a model that does not come with this package.
    :raises InputError: when the model cannot be had any more.
    """
    values = _at_hand.get((model["fingerprint"], structure.uuid)) or repeated_values(structure, model, weights)
    atoms = structure.get_ase()
    composition, _ = realised_composition(atoms)
    node = PredictionData(
        **composition,
        **values,
        structure_type=description["structure_type"],
        number_of_atoms=len(atoms),
        model_name=model["name"],
        model_version=model["version"],
        model_sha256=model["sha256"],
        model_fingerprint=model["fingerprint"],
        training_data=model["training_data"],
        hardcoat_version=__version__,
    )
    node.label = entry_label(node.structure_type, node.system, node.x)
    return node


def predict_entry(entry: ElasticData, group: CatalogueGroup) -> PredictionData:
    """What the shipped model says of an entry, stored beside it; the prediction that is there already, if one is.

    :raises InputError: for an element that the model never saw, or an entry without a structure; of this package or of
        `hardcoat_ml`.
    """
    ensemble = learned.load_ensemble()
    structure, _ = sources_of(entry)
    [prediction] = ensemble.predict([crystal_of(structure)])
    return store_prediction(entry, prediction, ensemble, group)


def store_prediction(
    entry: ElasticData,
    prediction: Prediction,
    ensemble: Ensemble,
    group: CatalogueGroup,
    path: Path | None = None,
) -> PredictionData:
    """Store what an ensemble says of an entry's structure and put it into the catalogue.

    The same model says the same: a prediction that is there already is kept, and nothing is added.

    :param path: where the ensemble's weights come from, None for the shipped ones.
    """
    structure, description = sources_of(entry)
    node = find_prediction(structure, learned.model_identity(ensemble)["fingerprint"])
    if node is None:
        inputs: dict[str, Any] = {"structure": structure, "description": description, "model": model_node(ensemble)}
        if path is not None:
            inputs["weights"] = weights_node(path, ensemble.sha256)
        key = inputs["model"]["fingerprint"], structure.uuid
        _at_hand[key] = learned.prediction_values(ensemble, crystal_of(structure), prediction)
        try:
            node = learned_moduli(**inputs)
        finally:
            del _at_hand[key]
    group.add_nodes(node)
    return node


def sources_of(entry: ElasticData) -> tuple[orm.StructureData, orm.Dict]:
    """The structure that was strained, and what describes it.

    :raises InputError: for an entry whose calculation is not in the profile.
    """
    maker = entry.base.links.get_incoming(link_type=LinkType.CREATE).first()
    if maker is None:
        raise InputError(f"entry {entry.pk} has no structure: its calculation is not in this profile")
    inputs = maker.node.base.links.get_incoming(link_type=LinkType.INPUT_CALC).nested()
    return inputs["structure"], inputs["description"]


def crystal_of(structure: orm.StructureData) -> Crystal:
    from hardcoat_ml.crystal import from_ase

    return from_ase(structure.get_ase())


def model_node(ensemble: Ensemble) -> orm.Dict:
    """The node that names a model; there is one for each."""
    identity = learned.model_identity(ensemble)
    # The label is an indexed column: without it every Dict of the profile would be opened.
    label = f"{identity['name']} {identity['version']} {identity['fingerprint']}"
    same = {"label": label, "attributes.sha256": identity["sha256"]}
    row = orm.QueryBuilder().append(orm.Dict, filters=same, project="*").first()
    return row[0] if row else orm.Dict({**identity, "card": ensemble.card}, label=label)


def weights_node(path: Path, sha256: str) -> orm.SinglefileData:
    """The node that holds a file of weights, with its sha256 for a label; there is one for each."""
    row = orm.QueryBuilder().append(orm.SinglefileData, filters={"label": sha256}, project="*").first()
    if row:
        return row[0]
    return orm.SinglefileData(path.with_suffix(".safetensors").resolve(), filename=WEIGHTS, label=sha256)


def repeated_values(
    structure: orm.StructureData, model: orm.Dict, weights: orm.SinglefileData | None
) -> dict[str, Any]:
    """The values of a prediction from its inputs alone, as when one from an archive is made again."""
    ensemble = ensemble_of(model, weights)
    crystal = crystal_of(structure)
    [prediction] = ensemble.predict([crystal])
    return learned.prediction_values(ensemble, crystal, prediction)


def ensemble_of(model: orm.Dict, weights: orm.SinglefileData | None) -> Ensemble:
    """The ensemble that the nodes stand for.

    :raises InputError: when the weights that come with this package are others.
    """
    if weights is not None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / WEIGHTS).write_bytes(weights.get_content(mode="rb"))
            (Path(folder) / CARD).write_text(json.dumps(model["card"]), encoding="utf8")
            return learned.load_ensemble(Path(folder) / WEIGHTS)
    ensemble = learned.load_ensemble()
    if ensemble.sha256 != model["sha256"]:
        raise InputError(
            f"the model {model['name']} {model['version']} ({model['sha256'][:16]}) is not the one that comes with "
            f"aiida-hardcoat {__version__}: install the version that made the prediction"
        )
    return ensemble
