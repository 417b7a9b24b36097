"""``hardcoat plot``."""

import csv
import io
import json
from functools import partial

import pytest
from aiida import orm
from click.testing import CliRunner
from conftest import assert_refused, empty_catalogue, entry_values, linked, prediction_values, rocksalt

from aiida_hardcoat.catalogue import thermodynamics
from aiida_hardcoat.catalogue.figures import maps, parity
from aiida_hardcoat.cli.plot import PLOTS, cmd_plot
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PredictionData

LABEL = "plots of the command"
ONE = {"level": "ase:one", "level_fingerprint": "1" * 16}
TWO = {"level": "ase:two", "level_fingerprint": "2" * 16}
ENTRIES = [
    {"fractions": {"Ti": 1.0}, "formula": "TiN", "energy_per_formula": -19.5, "c11": 584.0, **ONE},
    {"fractions": {"Al": 1.0}, "formula": "AlN", "energy_per_formula": -15.0, "c11": 432.0, **ONE},
    {"fractions": {"Al": 0.5, "Ti": 0.5}, "energy_per_formula": -17.0, **ONE},
    {"fractions": {"Al": 0.25, "Ti": 0.75}, "energy_per_formula": -18.2, **ONE},
    {"fractions": {"Al": 0.5, "Ti": 0.5}, "energy_per_formula": -16.9, "structure_type": "B3", **ONE},
    {"fractions": {"Al": 1.0}, "formula": "AlN", "energy_per_formula": -15.3, "structure_type": "B3", **ONE},
    {"fractions": {"Ti": 1.0}, "formula": "TiN", "energy_per_formula": -20.5, **TWO},
]
READERS = {
    "mixing": (thermodynamics, "mixing_data"),
    "stability": (thermodynamics, "stability_data"),
    "parity": (parity, "parity_data"),
    "ductility": (maps, "ductility_data"),
    "toughness": (maps, "toughness_data"),
}
KINDS = ["mixing", "phase", "stability", "parity", "ductility", "toughness"]


@pytest.fixture(scope="module", autouse=True)
def stored(aiida_profile):
    group, entries = empty_catalogue(LABEL), []
    for values in ENTRIES:
        structure = orm.StructureData(ase=rocksalt())
        entries.append(linked(structure, ElasticData(**entry_values(**values))))
        prediction = linked(structure, PredictionData(**prediction_values(values["fractions"])))
        group.add_nodes([entries[-1], prediction])
    return entries


@pytest.fixture(autouse=True)
def _own_catalogue(monkeypatch):
    for module, name in READERS.values():
        monkeypatch.setattr(module, name, partial(getattr(module, name), label=LABEL))


def invoke(*arguments):
    return CliRunner().invoke(cmd_plot, [str(argument) for argument in arguments])


@pytest.mark.parametrize("kind", KINDS)
def test_every_plot_prints_its_table(kind):
    text = invoke(kind, "--level", "ase:one")
    assert text.exit_code == 0, text.output
    assert "ase:one, level of theory " + "1" * 16 in text.stdout
    found = json.loads(invoke(kind, "--level", "1" * 16, "--format", "json").stdout)
    assert (found["level"], found["level_fingerprint"]) == ("ase:one", "1" * 16)
    rows = list(csv.DictReader(io.StringIO(invoke(kind, "--level", "ase:one", "--format", "csv").stdout)))
    assert len(rows) == len(found["rows"]) > 0


def test_mixing_energies_and_fit_are_printed_with_what_is_missing():
    result = invoke("mixing", "--level", "ase:one")
    (line,) = [line for line in result.stdout.splitlines() if "sub-regular" in line]
    l0, l1 = (float(word) for word in line.split()[4:6])
    assert l0 == pytest.approx(4 * 0.25)
    assert 0.25 * 0.75 * (l0 - l1 / 2) == pytest.approx(0.175, abs=1e-4)
    assert "hardcoat run TiN -s B3 --ions relaxed --engine ase:one" in result.stderr


def test_gaps_at_a_temperature():
    found = json.loads(invoke("phase", "--level", "ase:one", "--temperature", "1500", "--format", "json").stdout)
    (gap,) = found["at"]
    assert gap["temperature"] == 1500
    assert gap["binodal_low"] < gap["spinodal_low"] < gap["spinodal_high"] < gap["binodal_high"]


def test_preferred_range_is_printed():
    text = invoke("stability", "--level", "ase:one").stdout
    assert "Al-Ti-N, ions relaxed: B1 is lower than B3, all known for x = 0.500 to 1.000, for x =" in text
    assert "0.500 to 0.625 by straight lines" in text  # from 0.1 to -0.3 eV


@pytest.mark.parametrize("kind", ["png", "svg", "pdf", "html"])
def test_figures_are_written_and_say_so(tmp_path, kind):
    target = tmp_path / f"figure.{kind}"
    result = invoke("mixing", "--level", "ase:one", "--output", target)
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert f"{target} written" in result.stderr
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "html": b"<!doctype html>"}[kind]
    assert target.read_bytes().startswith(start)


@pytest.mark.parametrize("kind", KINDS)
def test_every_plot_can_be_drawn_and_printed_at_once(tmp_path, kind):
    target = tmp_path / "figure.svg"
    result = invoke(kind, "--level", "ase:one", "-o", target, "--format", "json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["rows"]
    assert target.stat().st_size > 1000


def test_directional_of_one_entry(tmp_path, stored):
    entry = stored[0]
    text = invoke("directional", entry.pk).stdout
    assert f"{entry.youngs_modulus_max:.1f}" in text
    found = json.loads(invoke("directional", entry.uuid[:13], "--format", "json").stdout)
    assert found["maximum"] == pytest.approx(entry.youngs_modulus_max)
    assert (found["formula"], found["average"]) == ("TiN", entry.youngs_modulus)
    result = invoke("directional", entry.pk, "-o", tmp_path / "surface.png")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "surface.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("mixing",), "choose one with --level"),
        (("mixing", "--level", "ase:on"), "ase:one"),
        (("mixing", "--level", "ase:two"), "hardcoat run Al0.5Ti0.5N -s B1"),
        (("stability", "--level", "ase:one", "--system", "Al-Hf-N"), "hardcoat run Al0.5Hf0.5N -s B1"),
        (("phase", "--level", "ase:one", "--temperature", "-1"), "above 0 K"),
        (("parity", "--level", "ase:one", "--model", "nobody"), "no prediction of a model 'nobody'"),
        (("toughness", "--level", "ase:one", "--hardness", "chen"), "chen_2011"),
        (("ductility", "--level", "ase:one", "--system", "Cr-N"), "hardcoat run"),
        (("directional", "999999999"), "no entry '999999999'"),
    ],
)
def test_mistakes_are_one_line(arguments, words):
    assert_refused(invoke(*arguments), words)


@pytest.mark.parametrize("kind", [*KINDS, "directional"])
@pytest.mark.parametrize(
    ("target", "words"), [("figure.jpg", ".png, .svg, .pdf or .html"), ("nowhere/figure.png", "no folder")]
)
def test_a_figure_that_cannot_be_written_is_refused_before_anything_is_read(monkeypatch, tmp_path, kind, target, words):
    def read():
        raise AssertionError("the profile was loaded")

    monkeypatch.setattr("aiida_hardcoat.cli.profile.use_profile", read)
    monkeypatch.chdir(tmp_path)
    entry = ["1"] if kind == "directional" else []
    assert_refused(invoke(kind, *entry, "--output", target), words)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_catalogue_says_what_to_run(monkeypatch):
    for module, name in READERS.values():
        monkeypatch.setattr(module, name, partial(getattr(module, name).func, label="never made"))
    for kind in KINDS:
        assert_refused(invoke(kind), "hardcoat run Ti0.5Al0.5N -s B1")


def test_an_unknown_plot_offers_the_nearest():
    result = invoke("mixin")
    assert result.exit_code == 2
    assert "did you mean 'mixing'" in result.output
    listed = invoke("--help").output
    assert all(name in listed for name in PLOTS)
