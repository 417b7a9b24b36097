"""The prediction: what it refuses, what it stores, how it is asked for."""

import subprocess
import sys

import pytest
from aiida import orm
from aiida.common.exceptions import ModificationNotAllowed, ValidationError
from aiida.plugins import DataFactory
from conftest import entry_values, linked, prediction_values, rocksalt
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_hardcoat.data.catalogue import catalogue, find_equal, find_prediction
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PROPERTIES, PredictionData

FIELDS = PredictionData.AttributesModel.model_fields


def stored(**changes):
    return PredictionData(**prediction_values(**changes)).store()


def test_plugin_is_found():
    assert DataFactory("hardcoat.prediction") is PredictionData


@settings(max_examples=10, deadline=None)
@given(st.floats(1, 900), st.floats(1, 600))
def test_what_is_stored_comes_back(bulk, shear):
    """To the 14 digits that AiiDA keeps of a float, for soft and stiff crystals alike."""
    values = prediction_values(bulk=bulk, shear=shear)
    node = orm.load_node(PredictionData(**values).store().pk)
    for name, value in values.items():
        if isinstance(value, float):
            assert getattr(node, name) == pytest.approx(value, rel=1e-13), name
        else:
            assert getattr(node, name) == value, name


def test_integers_become_floats():
    """SQLite compares a float with a float only."""
    node = orm.load_node(stored(bulk=250, shear=180, half=30, distance=0).pk)
    for name, field in FIELDS.items():
        if field.annotation is float:
            assert type(node.base.attributes.get(name)) is float, name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bulk_modulus": "stiff"}, "bulk_modulus"),
        ({"bulk_modulus": None}, "bulk_modulus"),
        ({"far": "perhaps"}, "far"),
        ({"bulk_modulas": 250.0}, "bulk_modulas"),
        ({"elements": "Al-Ti-N"}, "elements"),
        ({"model_sha256": 7}, "model_sha256"),
    ],
)
def test_wrong_types_and_unknown_fields_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        PredictionData(**{**prediction_values(), **changes})


@pytest.mark.parametrize(
    "name", sorted(name for name, field in FIELDS.items() if field.is_required() and name in prediction_values())
)
def test_no_required_field_can_be_left_out(name):
    values = prediction_values()
    del values[name]
    with pytest.raises(ValueError, match=name):
        PredictionData(**values)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        *(({f"{name}_low": 1e4}, f"{name}_low") for name in PROPERTIES),
        ({"shear_modulus_spread": -1.0}, "shear_modulus_spread"),
        ({"youngs_modulus": 400.0}, "youngs_modulus"),
        ({"poisson_ratio": 0.25}, "poisson_ratio"),
        ({"bulk_modulus": 251.0}, "youngs_modulus"),
        ({"far": True}, "far"),
        ({"distance": 1.5}, "far"),
        ({"distance": -0.5}, "far"),
        ({"model_sha256": "a" * 63}, "model_sha256"),
        ({"elements": ["Ti", "Al", "N"]}, "elements"),
        ({"system": "Al-Zr-N"}, "system"),
        ({"fractions": {"Al": 0.5, "Ti": 0.6}}, "fractions"),
        ({"x": 0.25}, "x"),
    ],
)
def test_fields_that_contradict_each_other_are_refused_at_storing(changes, words):
    node = PredictionData(**{**prediction_values(), **changes})
    with pytest.raises(ValidationError, match=words):
        node.store()
    assert not node.is_stored


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["bulk_modulus", "shear_modulus_high", "distance"])
def test_what_is_no_number_is_never_stored(name, number):
    with pytest.raises((ValueError, ValidationError)):
        PredictionData(**{**prediction_values(), name: number}).store()


def test_a_stored_prediction_cannot_be_changed():
    node = stored()
    with pytest.raises(ModificationNotAllowed):
        node.base.attributes.set("bulk_modulus", 1.0)


def test_fields_query():
    stored(bulk=777.25)
    fields = PredictionData.fields
    query = orm.QueryBuilder().append(
        PredictionData,
        filters=(fields.bulk_modulus > 777.0) & (fields.bulk_modulus < 777.5) & (fields.model_sha256 == "a" * 64),
        project=[fields.bulk_modulus, fields.system],
    )
    assert query.all() == [[777.25, "Al-Ti-N"]]


def test_every_field_is_described():
    for name, field in FIELDS.items():
        assert field.description, name
    for name in PROPERTIES[:3]:
        for kind in ("", "_spread", "_low", "_high"):
            assert "GPa" in FIELDS[name + kind].description


def test_module_needs_no_torch():
    """So that a shared archive opens wherever AiiDA does."""
    program = (
        "import sys; import aiida_hardcoat.data.prediction, aiida_hardcoat.data.catalogue;"
        "print(sorted({'torch', 'pymatgen', 'ase', 'hardcoat_ml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- in the catalogue -------------------------------------------------------------------------------------------


def test_group_keeps_predictions_apart_from_entries():
    group = catalogue("entries and predictions")
    entries = [ElasticData(**entry_values()).store() for _ in range(2)]
    group.add_nodes([*entries, stored(), stored(), stored()])
    assert group.count() == 5
    assert group.count_entries() == 2
    assert [entry.pk for entry in group.entries()] == [entry.pk for entry in entries]
    assert find_equal(group, entries[0]) is not None


def test_prediction_of_a_structure_by_a_model_is_found():
    structures = [orm.StructureData(ase=rocksalt()).store() for _ in range(3)]
    nodes = {
        (index, model): linked(structures[index], PredictionData(**prediction_values(model_fingerprint=model)))
        for index in (0, 1)
        for model in ("one", "other")
    }
    for (index, model), node in nodes.items():
        assert find_prediction(structures[index], model).uuid == node.uuid
    assert find_prediction(structures[0], "third") is None
    assert find_prediction(structures[2], "one") is None
