"""The file for chemiscope."""

import gzip
import json
import math

import numpy as np
import pytest
from aiida import orm
from ase.build import bulk
from conftest import entry_values, linked, rattled_alloy, rocksalt

from aiida_hardcoat.catalogue.chemiscope import chemiscope_data, write_chemiscope
from aiida_hardcoat.data.elastic import ElasticData

UNSTABLE = {"c11": 100.0, "c12": 200.0, "c44": 50.0}
WURTZITE = {
    **{"structure_type": "B4", "relaxed_structure_type": "B4", "crystal_class": "hexagonal"},
    **{"fractions": {"Al": 1.0}, "formula": "AlN", "u": 0.38, "level": "ase:other", "level_fingerprint": "f" * 16},
}


def made(atoms, **changes):
    return linked(orm.StructureData(ase=atoms), ElasticData(**entry_values(**changes)))


@pytest.fixture(scope="module")
def entries(aiida_profile):
    return [
        made(rocksalt(), fractions={"Ti": 1.0}, formula="TiN", c11=600.0),
        made(rattled_alloy(), **UNSTABLE),
        made(bulk("AlN", "wurtzite", a=3.1, c=5.0), **WURTZITE),
    ]


@pytest.fixture(scope="module")
def data(entries):
    return chemiscope_data(entries)


def test_structures_are_those_that_were_strained(entries, data):
    places = {uuid: place for place, uuid in enumerate(data["properties"]["uuid"]["values"])}
    for entry, atoms in zip(entries, (rocksalt(), rattled_alloy(), bulk("AlN", "wurtzite", a=3.1, c=5.0)), strict=True):
        structure = data["structures"][places[entry.uuid]]
        assert structure["size"] == len(atoms)
        assert structure["names"] == atoms.get_chemical_symbols()
        np.testing.assert_allclose(np.transpose([structure[axis] for axis in "xyz"]), atoms.positions, atol=1e-12)
        np.testing.assert_allclose(np.reshape(structure["cell"], (3, 3)), atoms.cell.array, atol=1e-12)


def test_properties_are_the_numbers_of_the_entries_with_their_units(entries, data):
    by_uuid = {entry.uuid: entry for entry in entries}
    uuids = data["properties"]["uuid"]["values"]
    for name, unit in (("x", None), ("c11", "GPa"), ("youngs_modulus", "GPa"), ("energy_per_formula", "eV")):
        column = data["properties"][name]
        assert column["target"] == "structure"
        assert column.get("units") == unit
        assert column["description"]
        for uuid, value in zip(uuids, column["values"], strict=True):
            expected = getattr(by_uuid[uuid], name)
            assert math.isnan(value) if expected is None else value == expected
    fingerprints = data["properties"]["level_fingerprint"]["values"]
    assert fingerprints == [by_uuid[uuid].level_fingerprint for uuid in uuids]


def test_values_of_a_property_are_of_one_type(data):
    for name, column in data["properties"].items():
        assert len(column["values"]) == len(data["structures"])
        assert {type(value) for value in column["values"]} in ({str}, {float}), name
    assert "predicted_bulk_modulus" not in data["properties"]  # nobody predicted anything


def test_levels_of_theory_are_told_apart_on_the_map(entries, data):
    assert data["settings"]["map"]["symbol"] == "level_fingerprint"
    assert chemiscope_data(entries[:2])["settings"]["map"]["symbol"] == "structure_type"


def test_what_the_map_shows_is_there(entries, data):
    for settings, known in (
        (data["settings"], data),
        *((one["settings"], one) for one in [chemiscope_data(entries[1:2])]),
    ):
        shown = [axis["property"] for axis in settings["map"].values() if isinstance(axis, dict)]
        assert {*shown, settings["map"]["symbol"]} <= known["properties"].keys()


def test_the_same_entries_make_the_same_bytes(entries, data, tmp_path):
    one = write_chemiscope(entries, tmp_path / "new" / "one.chemiscope.json.gz")
    other = write_chemiscope(entries[::-1], tmp_path / "other.chemiscope.json.gz")
    assert one.read_bytes() == other.read_bytes()
    assert [path.name for path in one.parent.iterdir()] == [one.name]
    assert json.dumps(json.loads(gzip.decompress(one.read_bytes()))) == json.dumps(data)


def test_chemiscope_itself_makes_the_same_of_it(data):
    chemiscope = pytest.importorskip("chemiscope", reason="chemiscope is not installed")
    parts = {name: data[name] for name in ("structures", "properties", "settings")}
    made = chemiscope.create_input(metadata=data["meta"], **parts)
    assert json.dumps(made, sort_keys=True) == json.dumps(data, sort_keys=True)
