"""Entries as OPTIMADE resources, the files of an archive, and the server with the official validator."""

import json
import math
import re
import string
import threading
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest
import requests
import yaml
from aiida import orm
from ase.build import bulk
from conftest import empty_catalogue, entry_values, linked, prediction_values, rattled_alloy, rocksalt
from hypothesis import given
from hypothesis import strategies as st

from aiida_hardcoat.catalogue.optimade import records
from aiida_hardcoat.catalogue.optimade.fields import FIELDS
from aiida_hardcoat.catalogue.optimade.files import write_optimade
from aiida_hardcoat.catalogue.optimade.records import anonymous_formula, optimade_structures, reduced_formula
from aiida_hardcoat.catalogue.optimade.server import catalogue_app, file_app, listen
from aiida_hardcoat.data.catalogue import CatalogueGroup
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PredictionData
from aiida_hardcoat.errors import InputError

LABEL = "entries for OPTIMADE"
WURTZITE = {
    **{"structure_type": "B4", "relaxed_structure_type": "Bk", "crystal_class": "hexagonal"},
    **{"fractions": {"Al": 1.0}, "formula": "AlN", "u": 0.45, "u_spread": 0.01, "c_over_a": 1.3},
}
UNSTABLE = {"c11": 100.0, "c12": 200.0, "c44": 50.0, "level": "ase:other", "level_fingerprint": "f" * 16}
ODD = {"level_of_theory": {"engine": "ase", "a.b": {"$c": "ä\n\u2028"}, "none": None, "list": [1, "two", None]}}


def made(atoms, **changes):
    values = entry_values(**{"number_of_atoms": len(atoms), **changes})
    return linked(orm.StructureData(ase=atoms), ElasticData(**values))


def structure_of(entry):
    maker = entry.base.links.get_incoming().one().node
    return maker.base.links.get_incoming(link_label_filter="structure").one().node


@pytest.fixture(scope="module")
def entries(aiida_profile):
    """By name; the alloy has two predictions of one model and the unstable entry has none."""
    made_up = {
        "nitride": made(rocksalt(), fractions={"Ti": 1.0}, formula="TiN", c11=600.0),
        "alloy": made(rattled_alloy(), c11=450.0, **ODD),
        "wurtzite": made(bulk("AlN", "wurtzite", a=3.1, c=5.0), **WURTZITE),
        "unstable": made(
            rattled_alloy(), c11=100.0, c12=200.0, c44=50.0, level="ase:other", level_fingerprint="f" * 16
        ),
    }
    predictions = [
        linked(structure_of(made_up["alloy"]), PredictionData(**prediction_values(bulk=bulk_modulus)))
        for bulk_modulus in (240.0, 260.0)
    ]
    empty_catalogue(LABEL).add_nodes([*made_up.values(), *predictions])
    return made_up


@pytest.fixture(scope="module")
def resources(entries):
    found = list(optimade_structures(entries.values()))
    return dict(zip(entries, found, strict=True))


@pytest.fixture(scope="module")
def folder(entries, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared") / "new"
    write_optimade(list(entries.values()), folder)
    return folder


@pytest.fixture(scope="module")
def server(folder):
    """The base URL of a server of the files."""
    pytest.importorskip("mongomock", reason="the extra optimade is not installed")
    import uvicorn

    app, number = file_app(folder / "optimade.jsonl")
    assert number == 4
    with listen("127.0.0.1", 0) as listener:
        running = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        running.should_exit = True
        thread.join(10)


def answer(url, text, **parameters):
    found = requests.get(url, {"filter": text, **parameters}, timeout=20).json()
    assert "errors" not in found, found
    return found["data"]


def strict(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


# fields


def test_every_field_of_an_entry_is_described_once():
    described = {field.name: field for field in FIELDS}
    assert len(described) == len(FIELDS)
    model = ElasticData.AttributesModel.model_fields
    assert model.keys() - described.keys() == {"source", "elements"}
    for name, info in model.items():
        if name in described:
            assert info.description in described[name].description
    pattern = re.compile(r"_hardcoat_[a-z][a-z0-9_]*")
    assert all(pattern.fullmatch(field.property_name) for field in FIELDS)


def test_units_are_those_of_the_descriptions():
    units = {field.name: field.unit for field in FIELDS}
    in_gpa = ("c11", "tensor", "bulk_modulus", "shear_modulus_reuss", "youngs_modulus_error", "hardness_chen_2011")
    assert {units[name] for name in (*in_gpa, "predicted_shear_modulus_low")} == {"GPa"}
    assert units["energy_per_formula"] == "eV"
    assert units["volume_per_formula"] == "angstrom^3"
    assert units["debye_temperature"] == "K"
    assert units["poisson_ratio"] is units["x"] is units["predicted_poisson_ratio"] is units["stable"] is None
    for field in FIELDS:
        assert (field.unit == "GPa") == bool(re.search(r"\bGPa\b", field.description)), field


def test_values_are_of_the_types_that_are_said(resources):
    python = {"string": str, "float": float, "integer": int, "boolean": bool, "list": list, "dictionary": dict}
    seen = set()
    for resource in resources.values():
        for field in FIELDS:
            value = resource["attributes"][field.property_name]
            if value is not None:
                assert type(value) is python[field.type], field
                seen.add(field.type)
    assert seen == python.keys()


# structures


def test_the_structure_is_the_one_that_was_strained(entries, resources):
    atoms = rattled_alloy()
    resource = resources["alloy"]
    attributes = resource["attributes"]
    assert resource["id"] == attributes["immutable_id"] == entries["alloy"].uuid
    assert attributes["_hardcoat_structure_uuid"] == structure_of(entries["alloy"]).uuid
    np.testing.assert_allclose(attributes["lattice_vectors"], atoms.cell.array, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(attributes["cartesian_site_positions"], atoms.positions, rtol=1e-12, atol=1e-12)
    assert attributes["species_at_sites"] == atoms.get_chemical_symbols()
    assert attributes["elements"] == ["Al", "N", "Ti"]
    assert attributes["elements_ratios"] == [0.25, 0.5, 0.25]
    assert attributes["chemical_formula_reduced"] == "AlN2Ti"
    assert attributes["chemical_formula_anonymous"] == "A2BC"
    assert attributes["chemical_formula_descriptive"] == "Al0.5Ti0.5N"
    assert attributes["dimension_types"] == [1, 1, 1]
    assert datetime.fromisoformat(attributes["last_modified"]) == entries["alloy"].ctime.astimezone(UTC).replace(
        microsecond=0
    )


def test_resources_are_valid(resources):
    models = pytest.importorskip("optimade.models", reason="the extra optimade is not installed")
    for resource in resources.values():
        parsed = models.StructureResource(**resource)
        assert parsed.attributes.nsites == len(parsed.attributes.cartesian_site_positions)


def test_numbers_are_those_of_the_entry_and_of_the_newest_prediction(entries, resources):
    attributes = resources["alloy"]["attributes"]
    for name, value in entries["alloy"].base.attributes.all.items():
        if name != "elements":
            assert attributes[f"_hardcoat_{name}"] == value
    assert attributes["_hardcoat_predicted_bulk_modulus"] == 260.0
    assert attributes["_hardcoat_predicted_bulk_modulus_low"] == 230.0
    assert attributes["_hardcoat_predicted_bulk_modulus_high"] == 320.0
    assert attributes["_hardcoat_prediction_model_name"] == "cgcnn"
    assert resources["nitride"]["attributes"]["_hardcoat_predicted_bulk_modulus"] is None


def test_what_an_unstable_tensor_has_not_is_null(resources):
    attributes = resources["unstable"]["attributes"]
    assert attributes["_hardcoat_stable"] is False
    assert attributes["_hardcoat_youngs_modulus"] is attributes["_hardcoat_hardness_chen_2011"] is None


def test_entries_come_in_order_over_several_queries(entries, resources, monkeypatch):
    monkeypatch.setattr(records, "AT_ONCE", 3)
    assert list(optimade_structures(iter(entries.values()))) == list(resources.values())
    assert list(optimade_structures([])) == []


def test_an_entry_without_its_calculation_is_refused(aiida_profile, tmp_path):
    orphan = ElasticData(**entry_values()).store()
    with pytest.raises(InputError, match=f"entry {orphan.pk} has no structure"):
        write_optimade([orphan], tmp_path / "new")
    assert not (tmp_path / "new").exists()


symbols = st.sampled_from(["Al", "B", "Cr", "Hf", "N", "Nb", "Si", "Ta", "Ti", "V", "Zr"])


@given(st.dictionaries(symbols, st.integers(1, 400), min_size=1))
def test_formulas_keep_the_proportions(counts):
    terms = re.findall(r"([A-Z][a-z]?)(\d*)", reduced_formula(counts))
    numbers = {name: int(number or 1) for name, number in terms}
    assert list(numbers) == sorted(counts)
    assert math.gcd(*numbers.values()) == 1
    assert len({counts[name] / number for name, number in numbers.items()}) == 1
    assert "1" not in {number for _, number in terms}
    letters = re.findall(r"([A-Z])(\d*)", anonymous_formula(counts))
    assert [name for name, _ in letters] == list(string.ascii_uppercase[: len(counts)])
    anonymous = [int(number or 1) for _, number in letters]
    assert anonymous == sorted(anonymous, reverse=True)
    assert Counter(anonymous) == Counter(numbers.values())


# files


def test_the_same_entries_make_the_same_bytes(entries, folder, tmp_path):
    paths = write_optimade(list(entries.values())[::-1], tmp_path)
    assert [path.name for path in paths] == ["optimade.yaml", "optimade.jsonl"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["optimade.jsonl", "optimade.yaml"]
    for path in paths:
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_the_files_are_a_header_a_description_and_the_structures(folder, resources):
    config = yaml.safe_load((folder / "optimade.yaml").read_text())
    assert config["entries"] == {"jsonl_path": "optimade.jsonl"}
    assert "_hardcoat_level_fingerprint" in config["database_description"]
    lines = (folder / "optimade.jsonl").read_text(encoding="utf8").split("\n")
    assert lines.pop() == ""
    header, info, *structures = map(strict, lines)
    assert header["x-optimade"]["meta"]["api_version"] == "1.2.0"
    assert (info["type"], info["id"]) == ("info", "structures")
    assert info["properties"]["_hardcoat_bulk_modulus"] == {
        **{"type": "float", "unit": "GPa", "description": "Bulk modulus: Hill average, GPa"},
    }
    expected = {resource["id"]: resource for resource in resources.values()}
    assert [structure["id"] for structure in structures] == sorted(expected)
    for structure in structures:
        modified = structure["attributes"].pop("last_modified")
        attributes = dict(expected[structure["id"]]["attributes"])
        assert modified == {"$date": attributes.pop("last_modified")}
        assert structure["attributes"] == attributes
    served = {name for structure in structures for name in structure["attributes"] if name.startswith("_")}
    assert served == info["properties"].keys()


def test_the_description_is_one_of_an_info_endpoint(folder):
    models = pytest.importorskip("optimade.models", reason="the extra optimade is not installed")
    info = json.loads((folder / "optimade.jsonl").read_text().splitlines()[1])
    assert models.EntryInfoResource(**info).properties.keys() == info["properties"].keys()


# server


def test_the_official_validator_finds_no_failure(server):
    from optimade.validator import ImplementationValidator

    validator = ImplementationValidator(base_url=server, verbosity=0)
    validator.validate_implementation()
    results = validator.results
    assert validator.valid, results.failure_messages
    assert results.failure_count == results.internal_failure_count == 0
    assert results.success_count > 40


def test_queries_combine_elements_and_numbers(entries, server):
    found = answer(f"{server}/structures", '_hardcoat_bulk_modulus>240 AND elements HAS ALL "Ti","Al"')
    assert [structure["id"] for structure in found] == [entries["alloy"].uuid]
    found = answer(f"{server}/structures", 'elements HAS "Ti"', sort="_hardcoat_c11")
    assert [structure["id"] for structure in found] == [entries[name].uuid for name in ("unstable", "alloy", "nitride")]
    unknown = answer(f"{server}/structures", "_hardcoat_youngs_modulus IS UNKNOWN")
    assert [structure["id"] for structure in unknown] == [entries["unstable"].uuid]
    assert unknown[0]["attributes"]["_hardcoat_youngs_modulus"] is None
    [flat] = answer(f"{server}/structures", '_hardcoat_structure_type="B4" AND _hardcoat_relaxed_structure_type="Bk"')
    assert flat["attributes"]["chemical_formula_reduced"] == "AlN"
    assert flat["attributes"]["_hardcoat_u"] == 0.45


def test_what_is_served_is_what_was_stored(server, resources):
    for resource in resources.values():
        found = requests.get(f"{server}/structures/{resource['id']}", timeout=20).json()["data"]["attributes"]
        found["last_modified"] = found["last_modified"].removesuffix("Z") + "Z"  # the database in memory drops it
        assert {name: found[name] for name in resource["attributes"]} == resource["attributes"]


def test_fields_are_described_to_clients(server):
    properties = requests.get(f"{server}/info/structures", timeout=20).json()["data"]["properties"]
    for field in FIELDS:
        assert properties[field.property_name]["description"] == field.description
        assert properties[field.property_name]["type"] == field.type
        assert properties[field.property_name].get("unit") == field.unit
    provider = requests.get(f"{server}/info", timeout=20).json()["meta"]["provider"]
    assert provider["prefix"] == "hardcoat"


def test_the_server_cannot_be_written_to(server):
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert requests.request(method, f"{server}/structures", json={}, timeout=20).status_code == 405


def test_a_catalogue_is_served_from_its_group(entries):
    pytest.importorskip("mongomock", reason="the extra optimade is not installed")
    _, number = catalogue_app(LABEL)
    assert number == len(entries)


def test_an_empty_catalogue_says_what_to_run_and_is_not_made(aiida_profile):
    with pytest.raises(InputError, match="hardcoat run"):
        catalogue_app("nothing here")
    assert not orm.QueryBuilder().append(CatalogueGroup, filters={"label": "nothing here"}).count()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"", "no OPTIMADE file"),
        (b"\x00\xff", "no OPTIMADE file"),
        (b"[]\n[]\n", "no OPTIMADE file"),
        (b'{"x-optimade": {}}\n{"properties": 3}\n', "no OPTIMADE file"),
        (b'{"x-optimade": {}}\n{"properties": {}}\n', "no structure"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, content, words):
    pytest.importorskip("mongomock", reason="the extra optimade is not installed")
    if content is not None:
        (tmp_path / "optimade.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=words) as refused:
        file_app(tmp_path / "optimade.jsonl")
    assert "\n" not in str(refused.value)


def test_other_machines_are_let_in_only_if_that_is_said():
    for host in ("0.0.0.0", "::"):
        with pytest.raises(InputError, match="--public"):
            listen(host, 0)
    with listen("0.0.0.0", 0, public=True) as listener:
        assert listener.getsockname()[0] == "0.0.0.0"
    with listen("localhost", 0) as listener, pytest.raises(InputError, match=r"in use; --port"):
        listen("localhost", listener.getsockname()[1])
    with pytest.raises(InputError, match="no address"):
        listen("no such host.invalid", 0)
