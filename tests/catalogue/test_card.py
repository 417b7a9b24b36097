"""The card of an entry."""

import json
import re

import pytest
from conftest import entry_values

from aiida_hardcoat.calculations.prediction import sources_of
from aiida_hardcoat.catalogue.card import card, card_json, provenance, spread_table
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.errors import InputError


def made_up(**changes):
    return ElasticData(**entry_values(**changes)).store()


def test_card_shows_the_numbers_with_units_and_where_they_came_from(alloy):
    entry = alloy.outputs.entry
    text = card(entry)
    assert entry.label in text
    for name in ("c11", "c12", "c44", "bulk_modulus", "shear_modulus", "youngs_modulus"):
        assert f"{getattr(entry, name):.2f}" in text
    assert re.search(rf"Bulk modulus +{entry.bulk_modulus:.2f} \+- {entry.bulk_modulus_error:.2f} GPa", text)
    for name, node in provenance(entry).items():
        if name != "calcfunction":
            assert re.search(rf"{name} +{node.pk} ", text), name
    assert entry.level_fingerprint in text
    assert "seed 0" in text
    assert max(map(len, text.splitlines())) <= 160


def test_card_of_wurtzite_tells_what_it_became(wurtzite):
    text = card(wurtzite.outputs.entry)
    assert "c13" in text
    assert "c33" in text
    assert "B4 is B4 after relaxation" in text


def test_card_of_an_unstable_crystal_gives_no_number_that_is_not_defined():
    text = card(made_up(c11=100.0, c12=200.0, c44=50.0))
    assert "NOT stable" in text
    assert re.search(r"Young's modulus +not defined", text)
    numbers = text[: text.index("Level of theory")]
    assert "None" not in numbers
    assert "nan" not in numbers


def test_json_holds_all_fields_and_survives_a_round_trip(alloy):
    entry = alloy.outputs.entry
    contents = json.loads(json.dumps(card_json(entry)))
    assert {name: contents[name] for name in entry.base.attributes.all} == entry.base.attributes.all
    assert contents["provenance"]["structure"]["uuid"] == alloy.outputs.relaxed_structure.uuid


def test_structure_that_was_strained(alloy):
    assert sources_of(alloy.outputs.entry)[0].uuid == alloy.outputs.relaxed_structure.uuid
    with pytest.raises(InputError, match="has no structure"):
        sources_of(made_up())


def test_spread_over_several_structures():
    entries = [made_up(c11=c11) for c11 in (500.0, 510.0, 520.0)]
    lines = {line.split()[0]: line.split() for line in spread_table(entries).splitlines()[2:]}
    assert [float(value) for value in lines["c11"][1:]] == pytest.approx([510.0, 10.0])
    assert float(lines["c44"][2]) == 0.0
    bulk = [entry.bulk_modulus for entry in entries]
    assert float(lines["bulk_modulus"][1]) == pytest.approx(sum(bulk) / 3, abs=1e-4)
