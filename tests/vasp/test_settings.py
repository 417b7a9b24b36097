"""Settings, codes and potentials of the engine `vasp`: what is asked for, and one line for what cannot be."""

import json
import os

import numpy as np
import pytest
from aiida import orm
from click.testing import CliRunner

from aiida_hardcoat.calculations.elastic import level_fingerprint
from aiida_hardcoat.calculations.vasp_results import check_rest, level_of_theory, record
from aiida_hardcoat.cli import cmd_root
from aiida_hardcoat.engines import vasp
from aiida_hardcoat.engines.vasp_settings import (
    MODELS,
    RECOMMENDED,
    check_settings,
    complete_settings,
    level_settings,
    protocol_settings,
    step_parameters,
)
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.workflows.protocols import load_protocol, protocols
from aiida_hardcoat.workflows.relax import engine_settings as relaxation_settings
from vasp.conftest import FAMILY, write_potentials

pytestmark = pytest.mark.vasp

RUN = ("run", "TiN", "-s", "B1", "--protocol", "fast", "--atoms", "8", "--engine")
VASP = (*RUN, "vasp", "-o", f"engine.potential_family={FAMILY}")


def invoke(*arguments):
    return CliRunner().invoke(cmd_root, [str(argument) for argument in arguments])


def refused(*arguments):
    """The one line with which a command is refused, nothing being stored or written."""
    before = orm.QueryBuilder().append(orm.Node).count()
    result = invoke(*arguments)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    assert result.stdout == ""
    assert orm.QueryBuilder().append(orm.Node).count() == before
    (line,) = result.stderr.splitlines()
    return line


# --- protocols --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(protocols()))
@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_protocol_is_accepted_and_of_one_level(name, model):
    settings = load_protocol(name, None, f"vasp:{model}")
    relaxation = settings["relaxation"]["engine_settings"]
    strains = settings["strains"]["engine_settings"]
    assert level_settings(relaxation) == level_settings(strains)
    for task in ("relax", "relax_cell"):
        vasp.check_settings(task, model, relaxation_settings(settings["relaxation"]))
    for task in ("relax_ions", "static"):
        vasp.check_settings(task, model, {**relaxation_settings(settings["strains"] | {"stress_threshold": 1.0})})


def study(task):
    part = "relaxation" if task in ("relax", "relax_cell") else "strains"
    values = load_protocol("study", None, "vasp")[part]
    return complete_settings(task, "pbe", relaxation_settings({"stress_threshold": 1.0, **values}))


def test_the_study_protocol_says_what_the_study_says():
    for task, isif in (("relax", 3), ("relax_cell", 6)):
        preliminary = step_parameters(study(task), "preliminary", 96)["incar"]
        assert (preliminary["encut"], preliminary["isif"], preliminary["ibrion"]) == (500, isif, 2)
    strained, static = (step_parameters(study("relax_ions"), step, 96)["incar"] for step in ("relax_ions", "static"))
    final = step_parameters(study("relax"), "final", 96)
    for incar in (final["incar"], strained, static):
        assert {name: incar[name] for name in ("encut", "prec", "ismear", "sigma", "enaug")} == {
            "encut": 700,
            "prec": "Accurate",
            "ismear": 0,
            "sigma": 0.05,
            "enaug": 900,
        }
        assert (incar["lasph"], incar["lmaxmix"], incar["lreal"], incar["ispin"]) == (True, 6, "Auto", 2)
    assert "addgrid" not in final["incar"]
    assert strained["addgrid"] is True
    assert (strained["isif"], strained["ediffg"]) == (2, -0.01)
    assert (static["isif"], static["nsw"]) == (2, 0)
    assert study("relax")["force_thresholds"] == [0.01, 0.03, 0.05]
    assert final["relax"]["force_cutoff"] == 0.01
    assert strained["ediff"] == pytest.approx(96 * study("relax")["energy_tolerance"])


def test_the_recommended_potentials_are_there_in_every_release_since_54():
    from pathlib import Path

    import aiida_vasp.data.potcar as module

    releases = json.loads((Path(module.__file__).parent / "potpaw_sha512.json").read_text())
    for release in ("PBE.54", "PBE.64"):
        assert {label for label in RECOMMENDED.values() if label not in releases[release]} == set()
    assert [RECOMMENDED[element] for element in ("Al", "Ti", "Zr", "Hf", "Cr", "N")] == [
        "Al",
        "Ti_sv",
        "Zr_sv",
        "Hf_pv",
        "Cr_pv",
        "N",
    ]


# --- the level of theory ----------------------------------------------------------------------------------------


def fingerprint(program="vasp", version="6.4.2", model="pbe", **changes):
    settings = complete_settings("static", model, {**protocol_settings("study", "strains"), **changes})
    return level_fingerprint(level_of_theory({"program": program, "version": version}, settings, {}))


def with_tags(**tags):
    return {"incar": {**protocol_settings("study", "strains")["incar"], **tags}}


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "pbesol"},
        {"version": "5.4.4"},
        {"program": "another"},
        {"potential_family": "PBE.64"},
        {"potential_mapping": {"Ti": "Ti_pv"}},
        {"kpoints_spacing": 0.04},
        {"kpoints_mesh": [4, 4, 4]},
        with_tags(encut=600),
        with_tags(sigma=0.1),
        with_tags(ispin=1),
        with_tags(lreal=False),
        with_tags(ivdw=12),
    ],
)
def test_what_decides_the_numbers_makes_another_level(changes):
    assert fingerprint(**changes) != fingerprint()


@pytest.mark.parametrize(
    "changes",
    [
        {"energy_tolerance": 1e-9},
        with_tags(addgrid=None),
        with_tags(algo="All", nelm=200),
        with_tags(ncore=4, kpar=2),
        with_tags(prec="accurate"),
    ],
)
def test_what_steers_the_way_to_them_does_not(changes):
    assert fingerprint(**changes) == fingerprint()


def test_alloys_of_one_family_share_a_level(vasp_code):
    def level(elements):
        group = vasp.load_family(FAMILY)
        potentials = {node.element: node for node in group.nodes if node.full_name in elements}
        return level_of_theory({"program": "vasp", "version": "6"}, study("static"), potentials)

    one, other = level(("Al", "N")), level(("Ti_sv", "N"))
    assert one["potentials"].keys() == {"Al", "N"}
    assert level_fingerprint(one) == level_fingerprint(other)


# --- what cannot be ---------------------------------------------------------------------------------------------

BAD_SETTINGS = [
    ("engine.incar.isif=3", "INCAR's ISIF is decided by the task"),
    ("engine.incar.nsw=5", "INCAR's NSW is decided by the task and max_steps"),
    ("engine.incar.ibrion=1", "INCAR's IBRION is decided by the task"),
    ("engine.incar.ediffg=-0.1", "INCAR's EDIFFG is decided by force_thresholds"),
    ("engine.incar.ediff=1e-4", "INCAR's EDIFF is decided by energy_tolerance"),
    ("engine.incar.istart=1", "INCAR's ISTART is decided by the restarts"),
    ("engine.incar.system=a:b", "INCAR's SYSTEM is decided by AiiDA"),
    ("engine.incar.gga=PS", "INCAR's GGA is decided by the model"),
    ("engine.incar.kspacing=0.2", "INCAR's KSPACING is decided by kpoints_spacing"),
    ("engine.incar.encutt=500", "unknown INCAR tag 'encutt': did you mean 'encut'?"),
    ("engine.incar.ENCUT=500", "lower case here: 'encut'"),
    ("engine.incar.encut=-500", "ENCUT must be a positive number"),
    ("engine.incar.sigma=0", "SIGMA must be a positive number"),
    ("engine.incar.ispin=3", "ISPIN must be 1 or 2"),
    ("engine.incar.magmom=[null]", "MAGMOM must be a number"),
    ("engine.incar=3", "incar must be tags with their values"),
    ("engine.kpoints_mesh=[0,4,4]", "kpoints_mesh must be three whole numbers of at least 1"),
    ("engine.kpoints_mesh=4", "kpoints_mesh must be three whole numbers"),
    ("engine.kpoints_spacing=0", "kpoints_spacing must be a positive number (2 pi/Angstrom)"),
    ("engine.energy_tolerance=lots", "energy_tolerance must be a positive number"),
    ("engine.potential_family=", "potential_family must be the label"),
    ("engine.potential_mapping.Ti=Al", "another element's"),
    ("engine.potential_mapping.Qq=Qq", "no element"),
    ("engine.kpoint_spacing=0.1", "did you mean 'kpoints_spacing'?"),
    ("engine.preliminary_cutoff=300", "leave it out of the strains"),
    ("relaxation.engine_settings.preliminary_cutoff=900", "up to ENCUT, 520"),
    ("relaxation.engine_settings.incar.encut=600", "at one level of theory"),
    ("engine=vasp", "engine.KEY=VALUE"),
]


@pytest.mark.parametrize("more", [("--code", "stand-in-vasp"), ("--dry-run",)], ids=["run", "dry run"])
@pytest.mark.parametrize(("override", "words"), BAD_SETTINGS, ids=lambda text: text)
def test_a_setting_that_cannot_be_is_one_line(vasp_code, override, words, more):
    assert words in refused(*VASP, "-o", override, *more)


def test_a_functional_that_the_engine_does_not_know(vasp_code):
    assert "did you mean 'pbesol'" in refused(*RUN, "vasp:pbsol", "--dry-run")


def test_inputs_go_into_an_empty_folder_of_a_dry_run(vasp_code, tmp_path):
    (tmp_path / "old").write_text("")
    assert "is not an empty folder" in refused(*VASP, "--dry-run", "--inputs", tmp_path)
    assert "--inputs goes with --dry-run" in refused(*VASP, "--inputs", tmp_path / "new")
    assert "leave out --inputs" in refused(*RUN, "ase", "--dry-run", "--inputs", tmp_path / "new")
    assert not (tmp_path / "new").exists()


# --- codes and potentials ---------------------------------------------------------------------------------------


def upload(folder, label, lexch="PE", labels=("Ti_sv", "N")):
    """A family of placeholders with another LEXCH in each file."""
    from aiida_vasp.data.potcar import PotcarData

    write_potentials(folder / label, labels)
    for path in (folder / label).rglob("POTCAR"):
        path.write_text(path.read_text().replace("LEXCH  = PE", f"LEXCH  = {lexch}").replace("PAW_PBE", f"PAW_{label}"))
    PotcarData.upload_potcar_family(str(folder / label), label, "placeholders", stop_if_existing=False)


def test_a_family_that_is_not_there_says_how_to_upload_it(vasp_code):
    line = refused(*RUN, "vasp", "--code", "stand-in-vasp")
    assert "no family of potentials 'PBE.54'" in line
    assert FAMILY in line
    assert "aiida-vasp potcar uploadfamily --path potpaw_PBE.54.tar.gz --name PBE.54" in line


def test_an_element_that_the_family_lacks(vasp_code):
    line = refused("run", "CrN", *VASP[2:], "--code", "stand-in-vasp")
    assert f"family '{FAMILY}' lacks potential Cr_pv of Cr (it has: none)" in line
    line = refused(*VASP, "-o", "engine.potential_mapping.Ti=Ti_pv", "--code", "stand-in-vasp")
    assert "lacks potential Ti_pv of Ti (it has: Ti, Ti_sv)" in line


def test_a_family_of_another_functional(vasp_code, tmp_path):
    upload(tmp_path, "lda-placeholders", "CA")
    line = refused(*VASP, "--code", "stand-in-vasp", "-o", "engine.potential_family=lda-placeholders")
    assert "made for another functional (LEXCH CA, not PE)" in line
    assert "LEXCH PE, not CA" in refused(*RUN, "vasp:lda", *VASP[-2:], "--code", "stand-in-vasp")
    vasp.check_family("lda-placeholders", {"Ti": "Ti_sv", "N": "N"}, MODELS["lda"].lexch)
    vasp.check_family(FAMILY, {"Ti": "Ti_sv", "N": "N"}, MODELS["pbesol"].lexch)


def test_a_code_that_is_no_vasp(code, vasp_code):
    assert "code hardcoat-ase@localhost is for hardcoat.ase, not for hardcoat.vasp" in refused(
        *VASP, "--code", "hardcoat-ase"
    )
    assert "no code 'vasp': run `hardcoat setup --engine vasp`" in refused(*VASP)


def test_a_code_that_cannot_be_executed(vasp_code, computer, tmp_path):
    path = tmp_path / "vasp_std"
    path.write_text("")
    orm.InstalledCode(
        label="not-executable",
        computer=computer,
        filepath_executable=str(path),
        default_calc_job_plugin="vasp.vasp",
        with_mpi=False,
    ).store()
    assert "is not executable: chmod +x" in refused(*VASP, "--code", "not-executable")


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"task": "melt"}, "unknown task"), ({"max_steps": 0}, "max_steps"), ({"force_thresholds": [0.1, 0.01]}, "rise")],
)
def test_settings_of_a_job_are_checked_as_well(changes, words):
    with pytest.raises(InputError, match=words):
        check_settings({**study("static"), **changes})


@pytest.mark.parametrize(
    ("forces", "stress", "words"),
    [(0.06, 0.0, "forces up to 0.060 eV/Angstrom, more than 0.05"), (0.02, 2.5, "stress of 0.250 GPa, more than 0.1")],
)
def test_a_relaxed_cell_that_is_not_at_rest_is_refused(forces, stress, words):
    settings = {**study("relax"), "stress_threshold": 0.1}
    misc = {
        "forces": [[forces, 0, 0], [-forces, 0, 0]],
        "stress": np.diag([stress, 0, 0]),
        "total_energies": {"energy_free": 0},
    }
    thresholds = settings["force_thresholds"]
    entry = record(misc, np.eye(3), np.zeros((2, 3)), task="relax", thresholds=thresholds, earlier=[])
    with pytest.raises(InputError, match=words):
        check_rest(entry, settings)
    check_rest({**entry, "status": "ok", "stress": np.zeros((3, 3))}, settings)


# --- doctor and setup -------------------------------------------------------------------------------------------


def rows(elements=None):
    return {row["what"]: row for row in vasp.doctor(elements)}


def test_doctor_tells_what_is_missing_and_how_to_get_it(vasp_code, tmp_path):
    row = rows(["Ti", "N"])["vasp potentials"]
    assert not row["ok"]
    assert not row["needed"]
    assert row["mend"].startswith("aiida-vasp potcar uploadfamily")
    assert not rows()["vasp code"]["ok"]
    assert "never `verdi archive create --all`" in rows()["vasp licence"]["detail"]
    upload(tmp_path, "PBE.54")
    try:
        assert rows(["Ti", "N"])["vasp potentials"]["ok"]
        assert "Ti, N as recommended" in rows(["Ti", "N"])["vasp potentials"]["detail"]
        assert "lacks potential Cr_pv" in rows(["Cr", "N"])["vasp potentials"]["detail"]
    finally:
        orm.Group.collection.delete(vasp.load_family("PBE.54").pk)


def test_setup_says_what_only_a_licence_holder_can_do(vasp_code, computer, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    lines = []
    vasp.setup(computer, lines.append)
    text = "\n".join(lines)
    assert "verdi code create core.code.installed" in text
    assert "--default-calc-job-plugin hardcoat.vasp" in text
    assert "aiida-vasp potcar uploadfamily --path potpaw_PBE.54.tar.gz" in text


def test_setup_uses_a_vasp_on_the_path_once(vasp_code, computer, tmp_path, monkeypatch):
    (tmp_path / "vasp_std").write_text("#!/bin/sh\n")
    (tmp_path / "vasp_std").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + os.environ["PATH"])
    lines = []
    try:
        vasp.setup(computer, lines.append)
        vasp.setup(computer, lines.append)
        made = orm.load_code("vasp")
        assert str(made.filepath_executable) == str(tmp_path / "vasp_std")
        assert made.default_calc_job_plugin == "hardcoat.vasp"
        assert sum("vasp@localhost" in line for line in lines) == 2
    finally:
        from aiida.tools import delete_nodes

        delete_nodes([orm.load_code("vasp").pk], dry_run=False)
