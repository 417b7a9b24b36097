"""Protocols and the builders that are made of them."""

import json

import pytest
from aiida import orm
from aiida.plugins import WorkflowFactory
from conftest import PAIR, rocksalt

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.strain import strain_set
from aiida_hardcoat.workflows.protocols import load_protocol, protocols

NAMES = ("fast", "balanced", "stringent")


def test_every_protocol_is_described_and_has_the_same_settings():
    assert tuple(protocols()) == (*NAMES, "study")
    shapes = set()
    for name, settings in protocols().items():
        assert len(settings.pop("description")) > 20, name
        shapes.add(json.dumps({part: sorted(keys) for part, keys in settings.items()}, sort_keys=True))
    assert len(shapes) == 1


def test_protocols_rise_in_rigour():
    loaded = [load_protocol(name) for name in NAMES]
    for part in ("relaxation", "strains"):
        tightest = [settings[part]["force_thresholds"][0] for settings in loaded]
        assert tightest == sorted(tightest, reverse=True)
        assert all(settings[part]["force_thresholds"][-1] <= 0.05 for settings in loaded)
    stress = [settings["relaxation"]["stress_threshold"] for settings in loaded]
    assert stress == sorted(stress, reverse=True)


def test_the_default_is_that_of_the_study():
    """npj Comput. Mater. 8, 17 (2022): 96 atoms, +-1.5 % and +-3 % normal, +-3 % and +-6 % shear, 24 strains."""
    settings = load_protocol()
    assert settings == load_protocol("balanced")
    assert settings["sqs"]["atoms"] == 96
    strains = strain_set(settings["strains"]["normal"], settings["strains"]["shear"])
    assert len(strains) == 24
    assert sorted(set(strains[:, 0])) == [-0.03, -0.015, 0, 0.015, 0.03]
    assert sorted(set(strains[:, 5])) == [-0.06, -0.03, 0, 0.03, 0.06]


def test_overrides_change_only_what_they_name_and_nothing_for_the_next_caller():
    changed = load_protocol("fast", {"strains": {"max_steps": 7}})
    plain = load_protocol("fast")
    assert changed["strains"].pop("max_steps") == 7
    assert plain["strains"].pop("max_steps") != 7
    assert changed == plain


@pytest.mark.parametrize(
    ("name", "overrides", "nearest"),
    [
        ("quick", {}, "fast"),
        ("stringnt", {}, "stringent"),
        ("fast", {"strain": {}}, "strains"),
        ("fast", {"strains": {"max_step": 3}}, "max_steps"),
        ("fast", {"relaxation": {"force_threshold": [0.01]}}, "force_thresholds"),
        ("fast", {"strains": 3}, "max_steps"),
        ("fast", {"sqs": {"atom": 8}}, "atoms"),
        ("fast", {"description": "mine"}, "sqs"),
    ],
)
def test_what_no_protocol_knows_is_refused_with_the_nearest_name(name, overrides, nearest):
    with pytest.raises(InputError, match=nearest) as raised:
        load_protocol(name, overrides)
    assert "\n" not in str(raised.value)


def structure():
    return orm.StructureData(ase=rocksalt())


def test_relax_builder(code):
    workchain = WorkflowFactory("hardcoat.relax")
    builder = workchain.get_builder_from_protocol(
        code, structure(), "fast", {"max_steps": 9}, engine=PAIR, ions="clamped"
    )
    assert builder.settings.get_dict() == {**load_protocol("fast")["relaxation"], "max_steps": 9}
    assert (builder.engine.value, builder.ions.value, builder.code.uuid) == (PAIR, "clamped", code.uuid)


def test_elastic_builder(code):
    workchain = WorkflowFactory("hardcoat.elastic")
    builder = workchain.get_builder_from_protocol(
        code, structure(), "fast", {"normal": [0.02]}, composition="TiN", structure_type="B1", engine=PAIR
    )
    assert builder.settings["normal"] == [0.02]
    assert builder.description.get_dict() == {"composition": "TiN", "structure_type": "B1"}
    assert builder.ions.value == "relaxed"


def test_alloy_builder_writes_one_formula_for_all_ways_to_say_it(alloy_builder):
    formulas = {
        alloy_builder(text).sqs["composition"]
        for text in ("Ti0.5Al0.5N", "Al0.5Ti0.5N", "TiAlN2", "N Ti1/2 Al1/2", "Ti2Al2N4")
    }
    assert formulas == {"Al0.5Ti0.5N"}


@pytest.mark.parametrize("name", ["relax", "elastic", "alloy"])
def test_builders_refuse_an_unknown_engine_protocol_ions_and_override(code, name):
    workchain = WorkflowFactory(f"hardcoat.{name}")
    if name == "alloy":
        arguments, more, wrong = (code, "TiN", "B1"), {}, {"relaxation": {"max_stps": 3}}
    else:
        more = {"composition": "TiN", "structure_type": "B1"} if name == "elastic" else {}
        arguments, wrong = (code, structure()), {"max_stps": 3}

    def build(**changes):
        return workchain.get_builder_from_protocol(*arguments, **{"engine": PAIR, **more, **changes})

    assert build().engine.value == PAIR
    with pytest.raises(InputError, match="'ase'"):
        build(engine="asse:7net-0")
    with pytest.raises(InputError, match="7net-l3i5"):
        build(engine="ase:7net-l315")
    with pytest.raises(InputError, match="balanced"):
        build(protocol="balancd")
    with pytest.raises(InputError, match="max_steps"):
        build(overrides=wrong)
    with pytest.raises((InputError, ValueError), match="clamped"):
        build(ions="frozen")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"composition": "Ti0.5Al0.6N"}, "sum"),
        ({"composition": "TiO"}, "nitride"),
        ({"structure_type": "B2"}, "B1"),
        ({"overrides": {"sqs": {"atoms": 7}}}, "7"),
        ({"overrides": {"sqs": {"atoms": "many"}}}, "atoms"),
        ({"overrides": {"sqs": {"atoms": 8.0}}}, "atoms"),
        ({"overrides": {"sqs": {"atoms": 8, "seed": -1}}}, "seed"),
        ({"overrides": {"sqs": {"atoms": 8, "seed": "lucky"}}}, "seed"),
        ({"overrides": {"sqs": {"atoms": 8, "steps": 0}}}, "steps"),
        ({"overrides": {"sqs": {"atoms": 8, "shape": 3}}}, "shape"),
        ({"overrides": {"sqs": {"atoms": 8}, "strains": {"normal": []}}}, "normal"),
        ({"overrides": {"sqs": {"atoms": 8}, "strains": {"normal": 0.01}}}, "normal"),
        ({"overrides": {"sqs": {"atoms": 8}, "strains": {"shear": ["big"]}}}, "shear"),
        ({"overrides": {"sqs": {"atoms": 8}, "strains": {"shear": [0.02, -0.02]}}}, "shear"),
        ({"overrides": {"sqs": {"atoms": 8}, "relaxation": {"force_thresholds": [-0.01]}}}, "positive"),
        ({"overrides": {"sqs": {"atoms": 8}, "relaxation": {"stress_threshold": None}}}, "stress_threshold"),
        ({"overrides": {"sqs": {"atoms": 8}, "strains": {"max_steps": "all"}}}, "max_steps"),
        ({"overrides": {"sqs": {"atoms": 8}, "strains": {"engine_settings": {"optimizer": "FIRE"}}}}, "optimiser"),
        ({"overrides": {"sqs": {"atoms": 8}, "strains": {"engine_settings": "FIRE"}}}, "engine_settings"),
        ({"overrides": {"sqs": {"atoms": 8}, "strains": {"engine_settings": {"model_options": 3}}}}, "model_options"),
    ],
)
def test_an_alloy_that_would_fail_later_is_refused_at_once(alloy_builder, change, words):
    before = orm.QueryBuilder().append(orm.Node).count()
    with pytest.raises(InputError, match=words) as raised:
        alloy_builder(**change)
    assert "\n" not in str(raised.value)
    assert orm.QueryBuilder().append(orm.Node).count() == before
