"""From an entry to a prediction: numbers, links, what is stored once and what anew."""

import pytest
from aiida import orm
from conftest import entry_values, linked, rocksalt
from ensembles import StandIn

from aiida_hardcoat import learned
from aiida_hardcoat.calculations.prediction import (
    crystal_of,
    learned_moduli,
    predict_entry,
    sources_of,
    store_prediction,
)
from aiida_hardcoat.catalogue.card import provenance
from aiida_hardcoat.data.catalogue import catalogue
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PROPERTIES, PredictionData
from aiida_hardcoat.errors import InputError
from hardcoat_ml.errors import InputError as ModelInputError


@pytest.fixture(scope="module")
def group(aiida_profile):
    return catalogue("predicted")


def store(entry, ensemble, group, path=None):
    [prediction] = ensemble.predict([crystal_of(sources_of(entry)[0])])
    return store_prediction(entry, prediction, ensemble, group, path)


def inputs_of(node):
    sources = provenance(node)
    assert sources.pop("calcfunction").process_label == "learned_moduli"
    return sources


def count(*classes):
    return [orm.QueryBuilder().append(one).count() for one in classes]


def rewritten(monkeypatch, ensemble):
    """From now on the shipped model is another one."""
    monkeypatch.setattr("aiida_hardcoat.learned.load_ensemble", lambda path=None: ensemble)


def test_run_has_predicted_from_the_relaxed_structure(alloy):
    node = alloy.outputs.prediction
    [expected] = StandIn().predict([crystal_of(alloy.outputs.relaxed_structure)])
    for name in PROPERTIES:
        assert getattr(node, name) == pytest.approx(getattr(expected, name), rel=1e-13)
        low, high = expected.interval[name]
        assert getattr(node, f"{name}_low") == pytest.approx(low, rel=1e-13)
        assert getattr(node, f"{name}_high") == pytest.approx(high, rel=1e-13)
        assert getattr(node, f"{name}_spread") == pytest.approx(expected.spread[name], rel=1e-13)
    entry = alloy.outputs.entry
    shared = ("system", "formula", "elements", "fractions", "x", "structure_type", "number_of_atoms")
    assert [getattr(node, name) for name in shared] == [getattr(entry, name) for name in shared]
    assert node.label == entry.label
    assert node.model_sha256 == StandIn().sha256
    assert node.training_data == "d" * 64
    assert (node.far, node.distance) == (expected.far, pytest.approx(expected.distance))


def test_inputs_are_the_entrys_structure_and_the_model(alloy):
    inputs = inputs_of(alloy.outputs.prediction)
    assert set(inputs) == {"structure", "description", "model"}
    assert inputs["structure"].uuid == alloy.outputs.relaxed_structure.uuid
    assert inputs["description"].uuid == alloy.inputs.sqs.uuid
    ensemble = StandIn()
    assert inputs["model"]["sha256"] == ensemble.sha256
    assert inputs["model"]["card"]["calibration"]["bulk_modulus"]["level"] == 0.9


def test_formula_of_the_training_data_is_told(alloy, wurtzite):
    assert wurtzite.outputs.prediction.in_training_data
    assert not alloy.outputs.prediction.in_training_data


def test_all_predictions_of_a_model_name_one_node(alloy, wurtzite):
    models = {inputs_of(node.outputs.prediction)["model"].uuid for node in (alloy, wurtzite)}
    assert len(models) == 1


def test_the_same_model_again_adds_nothing(alloy, group):
    first = predict_entry(alloy.outputs.entry, group)
    before = count(orm.Node), group.count()
    again = predict_entry(alloy.outputs.entry, group)
    assert again.uuid == first.uuid == alloy.outputs.prediction.uuid
    assert (count(orm.Node), group.count()) == before


def test_new_weights_add_a_node_and_leave_the_old_one(alloy, group):
    old = alloy.outputs.prediction
    attributes = dict(old.base.attributes.all)
    new = store(alloy.outputs.entry, StandIn(shift=7.0), group)
    assert new.uuid != old.uuid
    assert new.bulk_modulus == pytest.approx(old.bulk_modulus + 7.0)
    assert new.model_sha256 != old.model_sha256
    assert orm.load_node(old.pk).base.attributes.all == attributes
    assert inputs_of(new)["structure"].uuid == inputs_of(old)["structure"].uuid
    assert inputs_of(new)["model"].uuid != inputs_of(old)["model"].uuid
    assert {old.pk, new.pk} <= {node.pk for node in [*group.nodes, *catalogue().nodes]}


def test_weights_with_another_calibration_are_another_model(alloy, group):
    """Their intervals differ: what is stored must not pass for them."""
    old, new = alloy.outputs.prediction, store(alloy.outputs.entry, StandIn(level=0.8), group)
    assert new.model_sha256 == old.model_sha256
    assert new.model_fingerprint != old.model_fingerprint
    assert new.uuid != old.uuid


def test_weights_of_ones_own_are_stored_once(alloy, wurtzite, group, tmp_path):
    ensemble = StandIn(shift=11.0, name="own")
    path = ensemble.write(tmp_path)
    nodes = [store(node.outputs.entry, learned.load_ensemble(path), group, path) for node in (alloy, wurtzite)]
    weights = [inputs_of(node)["weights"] for node in nodes]
    assert weights[0].uuid == weights[1].uuid
    assert weights[0].get_content(mode="rb") == ensemble.content
    before = count(orm.Node)
    (tmp_path / "copy").mkdir()
    store(alloy.outputs.entry, ensemble, group, ensemble.write(tmp_path / "copy"))
    assert count(orm.Node) == before


def test_a_prediction_can_be_made_again_from_its_nodes_alone(alloy, group, tmp_path):
    ensemble = StandIn(shift=13.0, name="own")
    path = ensemble.write(tmp_path)
    own = store(alloy.outputs.entry, ensemble, group, path)
    path.unlink()
    path.with_suffix(".json").unlink()
    for node in (alloy.outputs.prediction, own):
        again = learned_moduli(**inputs_of(node))
        assert again.base.attributes.all == node.base.attributes.all
        assert again.label == node.label


def test_shipped_weights_of_another_version_are_not_taken_for_those_of_the_prediction(alloy, monkeypatch):
    inputs = inputs_of(alloy.outputs.prediction)
    rewritten(monkeypatch, StandIn(shift=1.0))
    predictions = count(PredictionData)
    with pytest.raises(InputError, match=r"stand-in 1\.0"):
        learned_moduli(**inputs)
    assert count(PredictionData) == predictions


def test_the_shipped_model_may_change(alloy, group, monkeypatch):
    rewritten(monkeypatch, StandIn(shift=17.0))
    node = predict_entry(alloy.outputs.entry, group)
    assert node.bulk_modulus == pytest.approx(alloy.outputs.prediction.bulk_modulus + 17.0)


def made_up_entry(metal, a=4.25):
    structure = orm.StructureData(ase=rocksalt(metal, a))
    description = orm.Dict({"composition": f"{metal}N", "structure_type": "B1"})
    return linked(structure, ElasticData(**entry_values({metal: 1.0})), {"description": description})


def test_element_that_the_model_never_saw_leaves_nothing_behind(group):
    entry = made_up_entry("W")
    before = count(orm.Node), group.count()
    with pytest.raises(ModelInputError, match="W"):
        predict_entry(entry, group)
    assert (count(orm.Node), group.count()) == before


def test_entry_made_from_no_structure_is_named(group):
    entry = ElasticData(**entry_values()).store()
    with pytest.raises(InputError, match=str(entry.pk)):
        predict_entry(entry, group)


def test_one_pass_over_many_gives_each_its_own(group):
    entries = [made_up_entry("Ti", a) for a in (4.0, 4.2, 4.4)]
    ensemble = StandIn(shift=19.0)
    predictions = ensemble.predict([crystal_of(sources_of(entry)[0]) for entry in entries])
    nodes = [store_prediction(*pair, ensemble, group) for pair in zip(entries, predictions, strict=True)]
    assert [node.bulk_modulus for node in nodes] == pytest.approx([one.bulk_modulus for one in predictions])
    assert len({node.bulk_modulus for node in nodes}) == 3
    assert len({inputs_of(node)["model"].pk for node in nodes}) == 1
