"""The entry: what it refuses, what it stores, how it is asked for."""

import subprocess
import sys

import numpy as np
import pytest
from aiida import orm
from aiida.common.exceptions import ModificationNotAllowed, ValidationError
from aiida.plugins import DataFactory
from conftest import entry_values
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_hardcoat.data.catalogue import CatalogueGroup, catalogue, find_equal
from aiida_hardcoat.data.elastic import ElasticData, entry_label

FIELDS = ElasticData.AttributesModel.model_fields


def stored(**changes):
    return ElasticData(**entry_values(**changes)).store()


def test_plugin_is_found():
    assert DataFactory("hardcoat.elastic") is ElasticData


@settings(max_examples=10, deadline=None)
@given(st.floats(200, 900), st.floats(50, 180), st.floats(20, 400))
def test_what_is_stored_comes_back(c11, c12, c44):
    """To the 14 digits that AiiDA keeps of a float."""
    values = entry_values(c11=c11, c12=c12, c44=c44)
    node = orm.load_node(ElasticData(**values).store().pk)
    for name, value in values.items():
        if isinstance(value, float):
            assert getattr(node, name) == pytest.approx(value, rel=1e-13), name
        elif name not in ("tensor", "tensor_fitted"):
            assert getattr(node, name) == value, name
    np.testing.assert_allclose(node.tensor_gpa, values["tensor"], rtol=1e-13)


def test_integers_become_floats():
    """SQLite compares a float with a float only: 250 stored as an integer would be missed by a filter."""
    node = stored(seconds=1000, c11=500, c12=150, c44=160, energy_per_formula=-18, sqs_seed=3)
    attributes = orm.load_node(node.pk).base.attributes.all
    for name, field in FIELDS.items():
        if field.annotation in (float, float | None) and attributes.get(name) is not None:
            assert type(attributes[name]) is float, name
    assert all(
        type(value) is float for name in ("tensor", "tensor_fitted") for row in attributes[name] for value in row
    )
    assert type(attributes["number_of_atoms"]) is int
    assert type(attributes["sqs_seed"]) is int


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bulk_modulus": "stiff"}, "bulk_modulus"),
        ({"x": None}, "x"),
        ({"elements": "Al-Ti-N"}, "elements"),
        ({"tensor": [["a"] * 6] * 6}, "tensor"),
        ({"number_of_atoms": 8.5}, "number_of_atoms"),
        ({"ions": "frozen"}, "ions"),
        ({"stable": "perhaps"}, "stable"),
        ({"bulk_modulas": 250.0}, "bulk_modulas"),
        ({"fractions": {"Al": "half"}}, "fractions"),
    ],
)
def test_wrong_types_and_unknown_fields_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        ElasticData(**{**entry_values(), **changes})


@pytest.mark.parametrize(
    "name", sorted(name for name, field in FIELDS.items() if field.is_required() and name in entry_values())
)
def test_no_required_field_can_be_left_out(name):
    values = entry_values()
    del values[name]
    with pytest.raises(ValueError, match=name):
        ElasticData(**values)


def asymmetric():
    tensor = np.array(entry_values()["tensor"])
    tensor[0, 1] += 1.0
    return tensor.tolist()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bulk_modulus_reuss": 300.0}, "Reuss"),
        ({"shear_modulus_voigt": 100.0}, "Voigt"),
        ({"shear_modulus": 1000.0}, "shear_modulus"),
        ({"tensor_fitted": asymmetric()}, "symmetric"),
        ({"tensor": asymmetric()}, "symmetric"),
        ({"standard_errors": [[0.5] * 6] * 5}, "6x6"),
        ({"tensor_fitted": [[0.5] * 5] * 6}, "6x6"),
        ({"tensor_fitted": [[0.5] * 5] * 5 + [[0.5] * 6]}, "6x6"),
        ({"c44": 161.0}, "c44"),
        ({"c66": 1.0}, "c66"),
        ({"elements": ["Ti", "Al", "N"]}, "elements"),
        ({"system": "Al-Zr-N"}, "system"),
        ({"fractions": {"Al": 0.5, "Ti": 0.6}}, "fractions"),
        ({"x": 0.25}, "x"),
    ],
)
def test_fields_that_contradict_each_other_are_refused_at_storing(changes, words):
    values = entry_values()
    node = ElasticData(**{**values, **changes})
    with pytest.raises(ValidationError, match=words):
        node.store()
    assert not node.is_stored


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["bulk_modulus", "c11", "energy_per_formula", "tensor"])
def test_what_is_no_number_is_never_stored(name, number):
    with pytest.raises((ValueError, ValidationError)):
        ElasticData(**{**entry_values(), name: number if name != "tensor" else [[number] * 6] * 6}).store()


def test_attributes_set_behind_the_constructor_are_checked_as_well():
    node = ElasticData(**entry_values())
    node.base.attributes.set("number_of_strains", "many")
    with pytest.raises(ValidationError, match="number_of_strains"):
        node.store()
    node = ElasticData(**entry_values())
    node.base.attributes.delete("c11")
    with pytest.raises(ValidationError, match="c11"):
        node.store()
    node = ElasticData(**entry_values())
    node.base.attributes.set("bulk_modulas", 1.0)
    with pytest.raises(ValidationError, match="bulk_modulas"):
        node.store()


def test_an_unstable_tensor_is_stored_without_moduli():
    """c11 < c12: no Reuss average, no hardness, but the tensor itself is a result."""
    node = stored(c11=100.0, c12=200.0, c44=50.0)
    assert not node.stable
    assert node.smallest_eigenvalue == pytest.approx(-100.0)
    assert node.hardness_chen_2011 is None
    assert node.bulk_modulus_voigt == pytest.approx(500 / 3)


def test_a_stored_entry_cannot_be_changed():
    node = stored()
    with pytest.raises(ModificationNotAllowed):
        node.base.attributes.set("c11", 1.0)
    assert not hasattr(node, "no_such_field")


def test_an_entry_of_the_first_schema_reads_as_one_that_used_no_symmetry():
    node = ElasticData(**entry_values())
    for name in ("number_of_equivalent_strains", "space_group"):
        node.base.attributes.delete(name)
    node.base.attributes.set("schema_version", 1)
    old = orm.load_node(node.store().pk)
    assert (old.schema_version, old.number_of_equivalent_strains, old.space_group) == (1, 0, None)
    new = orm.load_node(stored(number_of_strains=6, number_of_equivalent_strains=18, space_group="Fm-3m").pk)
    assert (new.schema_version, new.number_of_equivalent_strains, new.space_group) == (2, 18, "Fm-3m")


def test_fields_query():
    stored(c11=777.25)
    fields = ElasticData.fields
    query = orm.QueryBuilder().append(
        ElasticData,
        filters=(fields.c11 > 777.0) & (fields.c11 < 777.5) & (fields.structure_type == "B1"),
        project=[fields.c11, fields.system, fields.stable],
    )
    assert query.all() == [[777.25, "Al-Ti-N", True]]
    narrow = (fields.c11 > 777.25) & (fields.c11 < 777.251)
    assert orm.QueryBuilder().append(ElasticData, filters=narrow).count() == 0


def test_every_field_is_described_and_physical_ones_have_a_unit():
    for name, field in FIELDS.items():
        assert field.description, name
    for name in ("c11", "tensor", "bulk_modulus", "residual", "smallest_eigenvalue", "youngs_modulus_max"):
        assert "GPa" in FIELDS[name].description


def test_module_needs_neither_torch_nor_pymatgen():
    """So that a shared archive opens wherever AiiDA does."""
    program = (
        "import sys; import aiida_hardcoat.data.elastic, aiida_hardcoat.data.catalogue;"
        "print(sorted({'torch', 'pymatgen', 'ase', 'scipy', 'sevenn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("x", "label"), [(0.5, "B1/Al-Ti-N/0.500000"), (1 / 3, "B1/Al-Ti-N/0.333333"), (1, "B1/Al-Ti-N/1.000000")]
)
def test_label(x, label):
    assert entry_label("B1", "Al-Ti-N", x) == label


# --- the group --------------------------------------------------------------------------------------------------


def test_group_takes_entries_only():
    group = catalogue("entries only")
    assert catalogue("entries only").pk == group.pk
    with pytest.raises(TypeError, match="no entry"):
        group.add_nodes([stored(), orm.Int(1).store()])
    assert group.count() == 0
    group.add_nodes(stored())
    group.add_nodes([stored(), stored()])
    assert group.count() == 3
    assert isinstance(orm.load_group("entries only"), CatalogueGroup)


def test_group_knows_equal_entries():
    group = catalogue("equal entries")
    entry = stored(c11=501.0)
    assert find_equal(group, entry) is None
    group.add_nodes(entry)
    assert find_equal(group, stored(c11=501.0)) is not None
    assert find_equal(group, stored(c11=501.0000001)) is None
