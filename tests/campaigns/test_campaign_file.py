"""Files of campaigns: their grids, and what is refused."""

from fractions import Fraction

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aiida_hardcoat.campaigns.file import read_campaign
from aiida_hardcoat.campaigns.grid import compositions_of, systems_of
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.composition import parse_composition
from aiida_hardcoat.profiles import shipped

SMALL = {"name": "small", "systems": ["Al-Ti-N"], "structure_types": ["B1"]}


def written(folder, contents):
    path = folder / "campaign.yaml"
    path.write_text(contents if isinstance(contents, str) else yaml.safe_dump(contents))
    return path


def test_the_study_is_66_alloys_with_relaxed_and_clamped_ions():
    alloys = read_campaign("study").alloys
    assert len(alloys) == 132
    distinct = {(alloy["composition"], alloy["structure_type"]) for alloy in alloys}
    assert len(distinct) == 66
    ends = {alloy["composition"] for alloy in alloys if len(parse_composition(alloy["composition"]).metals) == 1}
    assert ends == {"AlN", "HfN", "TiN", "ZrN"}
    assert {alloy["x"] for alloy in alloys} == {0.25, 0.5, 0.75, 1.0}
    # What matters most begins first.
    assert {(alloy["system"], alloy["structure_type"]) for alloy in alloys[:6]} == {("Al-Ti-N", "B1")}
    assert [alloy["ions"] for alloy in alloys[6:66]] == ["relaxed"] * 60


@pytest.mark.parametrize("name", sorted(shipped("campaigns")))
def test_every_campaign_of_the_package_can_be_read(name):
    assert read_campaign(name).alloys


def test_the_defaults_are_the_steps_of_the_study_and_relaxed_ions(tmp_path):
    alloys = read_campaign(written(tmp_path, SMALL)).alloys
    assert [alloy["composition"] for alloy in alloys] == ["TiN", "Al0.25Ti0.75N", "Al0.5Ti0.5N", "Al0.75Ti0.25N", "AlN"]
    assert {(alloy["ions"], alloy["seed"]) for alloy in alloys} == {("relaxed", 0)}


@given(
    metals=st.lists(st.sampled_from(["Al", "Hf", "Ti", "V", "Zr"]), min_size=1, max_size=4, unique=True),
    steps=st.integers(1, 6),
)
def test_a_grid_holds_every_composition_of_its_steps_once(metals, steps):
    grid = [Fraction(number, steps) for number in range(steps + 1)]
    found = compositions_of(metals, grid)
    assert len({composition.formula for composition in found}) == len(found)
    for composition in found:
        assert set(composition.metals) <= set(metals)
        assert all((amount * steps).denominator == 1 for _, amount in composition.fractions)
    # As many as there are ways to give `steps` parts to the metals.
    ways = 1
    for number in range(1, len(metals)):
        ways = ways * (steps + number) // number
    assert len(found) == ways


def test_elements_are_mixed_in_every_way():
    assert systems_of(["Zr", "Al", "Ti"], 2) == [("Al", "Ti"), ("Al", "Zr"), ("Ti", "Zr")]
    assert systems_of(["Zr", "Al", "Ti"], 3) == [("Al", "Ti", "Zr")]


def test_numbers_may_be_written_as_powers_of_ten(tmp_path):
    text = (
        "name: a\nsystems: [Al-Ti-N]\nstructure_types: [B1]\noverrides: {strains: {force_thresholds: [1e-3, 1.5E-2]}}"
    )
    overrides = read_campaign(written(tmp_path, text)).overrides
    assert overrides == {"strains": {"force_thresholds": [0.001, 0.015]}}


def test_one_alloy_written_twice_is_one(tmp_path):
    contents = {"name": "twice", "structure_types": ["B1", "B1"], "compositions": ["Ti0.5Al0.5N", "TiAlN2"]}
    (alloy,) = read_campaign(written(tmp_path, contents)).alloys
    assert (alloy["composition"], alloy["system"], alloy["x"]) == ("Al0.5Ti0.5N", "Al-Ti-N", 0.5)


def test_the_first_priority_that_fits_decides(tmp_path):
    rules = [{"composition": "AlN", "priority": 5}, {"x": "1/2", "priority": 3}, {"system": "Ti-Al-N", "priority": -1}]
    alloys = read_campaign(written(tmp_path, {**SMALL, "priorities": rules})).alloys
    order = [alloy["composition"] for alloy in alloys]
    assert order == ["AlN", "Al0.5Ti0.5N", "TiN", "Al0.25Ti0.75N", "Al0.75Ti0.25N"]


BAD = {
    "empty": ("", "no campaign"),
    "a list": ("[1, 2]", "no campaign"),
    "no YAML": ("name: [", "no YAML"),
    "an object": ("name: !!python/object/apply:os.system ['true']", "no YAML"),
    "a key twice": ("name: a\nname: b", "twice"),
    "aliases": ("name: a\nsystems: &s [Al-Ti-N]\nx: *s", "aliases"),
    "no name": ({key: value for key, value in SMALL.items() if key != "name"}, "lacks a name"),
    "a path as name": ({**SMALL, "name": "../../etc/x"}, "letters"),
    "a line in the name": ({**SMALL, "name": "a\nb"}, "letters"),
    "a command in the name": ({**SMALL, "name": "$(id)"}, "letters"),
    "a path as catalogue": ({**SMALL, "catalogue": "\n"}, "letters"),
    "a command as code": ({**SMALL, "code": "x;id"}, "letters"),
    "unknown key": ({**SMALL, "systms": []}, "systems"),
    "text for a list": ({**SMALL, "systems": "Al-Ti-N"}, "a list"),
    "numbers for texts": ({**SMALL, "systems": [1]}, "systems must be a list"),
    "no alloys": ({"name": "a", "structure_types": ["B1"]}, "names no alloys"),
    "no structure type": ({"name": "a", "systems": ["Al-Ti-N"]}, "structure_types"),
    "no nitride": ({**SMALL, "systems": ["Al-Ti"]}, "no nitride"),
    "no element": ({**SMALL, "systems": ["Al-Xx-N"]}, "Xx"),
    "an element twice": ({**SMALL, "systems": ["Al-Al-N"]}, "twice"),
    "no composition": ({**SMALL, "compositions": ["TiO"]}, "TiO"),
    "x beyond 1": ({**SMALL, "x": [0, 1.5]}, "0..1"),
    "x below 0": ({**SMALL, "x": [-0.25]}, "0..1"),
    "x of words": ({**SMALL, "x": ["a quarter"]}, "1/4"),
    "x over 0": ({**SMALL, "x": ["1/0"]}, "1/4"),
    "x not a number": ({**SMALL, "x": [float("nan")]}, "1/4"),
    "x without systems": ({"name": "a", "compositions": ["TiN"], "structure_types": ["B1"], "x": [0]}, "systems"),
    "too many": (
        {**SMALL, "systems": ["Al-Hf-Ti-Zr-N"], "x": [f"{n}/99" for n in range(100)]},
        "too fine",
    ),
    "more metals than elements": ({**SMALL, "elements": ["Al"], "metals": 2}, "cannot be mixed"),
    "metals of nothing": ({**SMALL, "metals": 2}, "give elements"),
    "seeds of words": ({**SMALL, "seeds": ["one"]}, "seeds"),
    "a negative seed": ({**SMALL, "seeds": [-1]}, "seeds"),
    "nothing at once": ({**SMALL, "at_once": {"alloys": 0}}, "at least 1"),
    "unknown at once": ({**SMALL, "at_once": {"allyos": 1}}, "'alloys'"),
    "a priority that fits nothing": ({**SMALL, "priorities": [{"system": "Hf-N", "priority": 1}]}, "fits none"),
    "a priority without number": ({**SMALL, "priorities": [{"system": "Al-Ti-N"}]}, "number"),
    "a priority of unknown key": ({**SMALL, "priorities": [{"sytem": "Al-Ti-N", "priority": 1}]}, "system"),
    "an import": ({**SMALL, "engine": "ase:os:system"}, "--trust"),
    "text for the script": ({**SMALL, "options": {"prepend_text": "id"}}, "prepend_text"),
    "a scheduler's command": ({**SMALL, "options": {"custom_scheduler_commands": "id"}}, "custom_scheduler_commands"),
}


@pytest.mark.parametrize(("contents", "words"), BAD.values(), ids=BAD)
def test_what_is_no_campaign_is_one_line(tmp_path, contents, words):
    with pytest.raises(InputError) as raised:
        read_campaign(written(tmp_path, contents))
    message = str(raised.value)
    assert words in message
    assert "\n" not in message
    assert len(message) < 400


def test_files_that_are_none_are_one_line(tmp_path):
    for path, words in ((tmp_path / "nothing", "study"), (tmp_path, "no file")):
        with pytest.raises(InputError, match=words):
            read_campaign(path)
    (tmp_path / "large").write_text("# " + "x" * 2**21)
    with pytest.raises(InputError, match="MiB"):
        read_campaign(tmp_path / "large")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="no text"):
        read_campaign(tmp_path / "binary")


def test_an_import_path_is_taken_only_where_it_is_trusted(tmp_path):
    path = written(tmp_path, {**SMALL, "engine": "ase:calculators:PairPotential"})
    with pytest.raises(InputError, match="--trust calculators:PairPotential"):
        read_campaign(path, ["calculators:Another"])
    assert read_campaign(path, ["calculators:PairPotential"]).engine == "ase:calculators:PairPotential"
