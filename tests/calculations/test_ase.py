"""The CalcJob of the engine `ase` and its parser, on what jobs leave behind."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.common.folders import SandboxFolder
from aiida.common.links import LinkType
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.plugins import CalculationFactory, ParserFactory
from conftest import rattled_alloy

from aiida_hardcoat.calculations.ase import DRIVER, INPUT, OUTPUT, RECORDS, STATE
from aiida_hardcoat.calculations.records import make_trajectory, records_of
from aiida_hardcoat.engines import ase_driver as driver
from aiida_hardcoat.engines.ase_driver.files import PREVIOUS_RECORDS, level_in
from aiida_hardcoat.parsers.ase import read_records

SETTINGS = {
    "task": "relax_ions",
    "model": "calculators:PairPotential",
    "model_options": {},
    "optimiser": "BFGS",
    "force_thresholds": [0.01],
    "stress_threshold": 0.1,
    "max_steps": 100,
}
END = json.dumps({"end": "complete"})
STRAINS = [[0.01, 0, 0, 0, 0, 0], [-0.01, 0, 0, 0, 0, 0], [0, 0, 0, 0.02, 0, 0]]

AseCalculation = CalculationFactory("hardcoat.ase")
AseParser = ParserFactory("hardcoat.ase")


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """What a finished job left: its output and its records without the line that ends them, as lines."""
    folder = tmp_path_factory.mktemp("job")
    atoms = rattled_alloy()
    contents = {
        "symbols": list(atoms.symbols),
        "cell": atoms.cell.array.tolist(),
        "positions": atoms.positions.tolist(),
        "strains": STRAINS,
        "settings": SETTINGS,
    }
    (folder / INPUT).write_text(json.dumps(contents))
    output = []
    driver.run(folder, output.append)
    lines = (folder / RECORDS).read_text().splitlines()
    assert lines.pop() == END
    return [*output, driver.COMPLETION_MARK], lines


@pytest.fixture
def parse(computer, code, tmp_path):
    """Fabricate a job from its output and records and parse it: outputs and exit status."""

    def fabricate(output, records, errors="", scheduler="", status=None, strains=STRAINS):
        node = orm.CalcJobNode(computer=computer, process_type="aiida.calculations:hardcoat.ase")
        node.set_option("resources", {"num_machines": 1, "num_mpiprocs_per_machine": 1})
        node.set_option("output_filename", OUTPUT)
        node.set_option("scheduler_stderr", "_scheduler-stderr.txt")
        if status is not None:
            node.set_exit_status(status)
            node.set_exit_message("said the scheduler")
        inputs = {"structure": orm.StructureData(ase=rattled_alloy()), "settings": orm.Dict(SETTINGS)}
        if strains is not None:
            inputs["strains"] = orm.List(strains)
        for label, data in inputs.items():
            node.base.links.add_incoming(data.store(), LinkType.INPUT_CALC, label)
        node.store()
        retrieved = orm.FolderData()
        files = {"errors.log": errors, "_scheduler-stderr.txt": scheduler, OUTPUT: output}
        for name, content in files.items():
            if content is not None:
                content = content if isinstance(content, bytes) else content.encode()
                retrieved.base.repository.put_object_from_bytes(content, name)
        retrieved.base.links.add_incoming(node, LinkType.CREATE, "retrieved")
        retrieved.store()
        if records is not None:
            content = records if isinstance(records, bytes) else records.encode()
            (tmp_path / RECORDS).write_bytes(content)
        return AseParser.parse_from_node(node, store_provenance=False, retrieved_temporary_folder=str(tmp_path))

    return fabricate


def text(lines):
    return "".join(f"{line}\n" for line in lines)


def complete(lines):
    return text([*lines, END])


def changed(line, **values):
    return json.dumps({**json.loads(line), **values})


def code_of(label):
    return getattr(AseCalculation.exit_codes, label).status


# --- what is sent -----------------------------------------------------------------------------------------------


def inputs_of(code, **more):
    return {
        "code": code,
        "structure": orm.StructureData(ase=rattled_alloy()),
        "strains": orm.List(STRAINS),
        "settings": orm.Dict(SETTINGS),
        "metadata": {"options": {"resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1}}},
        **more,
    }


def prepared(inputs):
    folder = SandboxFolder()
    process = instantiate_process(get_manager().get_runner(), AseCalculation, **inputs)
    return folder, process.prepare_for_submission(folder)


def test_submitted_folder_holds_all_that_the_driver_reads(code, tmp_path):
    folder, info = prepared(inputs_of(code))
    assert sorted(folder.get_content_list()) == sorted([DRIVER, INPUT])
    assert info.codes_info[0].cmdline_params == ["-m", DRIVER]
    assert {RECORDS, STATE} <= set(info.retrieve_temporary_list)
    shutil.copytree(folder.abspath, tmp_path / "job")
    command = [sys.executable, *info.codes_info[0].cmdline_params]
    done = subprocess.run(command, cwd=tmp_path / "job", capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == driver.COMPLETION_MARK
    records = [json.loads(line) for line in (tmp_path / "job" / RECORDS).read_text().splitlines()][1:-1]
    assert [record["status"] for record in records] == ["ok"] * len(STRAINS)


def test_previous_trajectory_becomes_the_records_that_it_was_made_of(code, job, parse):
    results, _ = parse(text(job[0]), complete(job[1]))
    trajectory = results["trajectory"].store()
    folder, _ = prepared(inputs_of(code, previous=trajectory))
    sent = driver.load_records(Path(folder.get_abs_path(PREVIOUS_RECORDS)))
    assert level_in(Path(folder.get_abs_path(PREVIOUS_RECORDS))) is None  # it was made by no job that says its level
    original = {record["index"]: record for record in map(json.loads, job[1][1:])}
    assert sent == original


def test_trajectory_and_records_are_inverse(job):
    found = read_from(job[1])
    records = found.records
    records[0]["status"], records[0]["force_threshold"] = "not_converged", None
    assert found.intact
    trajectory = make_trajectory(list(rattled_alloy().symbols), records)
    assert records_of(trajectory) == records


def read_from(lines):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / RECORDS
        path.write_text(text(lines))
        return read_records(path, len(rattled_alloy()), len(STRAINS))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"task": "melt"}, "relax"),
        ({"model": "7net"}, "7net-0"),
        ({"optimiser": "LBFGS"}, "BFGS"),
        ({"force_thresholds": []}, "force_thresholds"),
        ({"force_thresholds": [0.05, 0.01]}, "rise"),
        ({"force_thresholds": [-0.01, 0.05]}, "positive"),
        ({"force_thresholds": 0.01}, "force_thresholds"),
        ({"force_thresholds": ["tight"]}, "force_thresholds"),
        ({"stress_threshold": 0.0}, "stress_threshold"),
        ({"stress_threshold": "0.1"}, "stress_threshold"),
        ({"stress_threshold": float("inf")}, "stress_threshold"),
        ({"max_steps": 0}, "max_steps"),
        ({"max_steps": "many"}, "max_steps"),
        ({"max_steps": 2.5}, "max_steps"),
        ({"model_options": "fast"}, "model_options"),
        ({"max_stpes": 3}, "max_steps"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_stored(change, word):
    from aiida_hardcoat.engines.ase_settings import validate_ase_settings
    from aiida_hardcoat.errors import InputError

    with pytest.raises(InputError, match=word) as raised:
        validate_ase_settings({**SETTINGS, **change})
    assert "\n" not in str(raised.value)
    if not any(isinstance(value, float) and not np.isfinite(value) for value in change.values()):
        builder = AseCalculation.get_builder()
        with pytest.raises(ValueError, match=word):
            builder.settings = orm.Dict({**SETTINGS, **change})


@pytest.mark.parametrize("strains", [[], [[0.01] * 5], [[0.01] * 6, "xx"], [["a"] * 6], [[None] * 6], [0.01]])
def test_strains_that_are_no_rows_of_six_numbers_are_refused(strains):
    builder = AseCalculation.get_builder()
    with pytest.raises(ValueError, match="six"):
        builder.strains = orm.List(strains)


# --- what comes back --------------------------------------------------------------------------------------------


def test_a_complete_job_gives_one_trajectory_in_the_order_of_the_strains(job, parse):
    results, node = parse(text(job[0]), complete(job[1]))
    assert node.is_finished_ok
    trajectory, summary = results["trajectory"], results["summary"]
    assert list(trajectory.get_stepids()) == [0, 1, 2]
    assert trajectory.symbols == list(rattled_alloy().symbols)
    np.testing.assert_array_equal(trajectory.get_array("strains"), STRAINS)
    for index, record in {record["index"]: record for record in map(json.loads, job[1][1:])}.items():
        np.testing.assert_array_equal(trajectory.get_array("stresses")[index], record["stress"])
        np.testing.assert_array_equal(trajectory.get_positions()[index], record["positions"])
        assert trajectory.get_array("energies")[index] == record["energy"]
    assert summary["asked"] == summary["finished"] == 3
    assert summary["level_of_theory"]["model"] == SETTINGS["model"]
    assert "structure" not in results


def test_a_relaxed_structure_keeps_its_kinds(job, parse):
    level, record = job[1][0], json.loads(job[1][1])
    results, node = parse(text(job[0]), complete([level, json.dumps({**record, "index": 0})]), strains=None)
    assert node.is_finished_ok
    relaxed = results["structure"]
    assert relaxed.get_ase().get_chemical_symbols() == list(rattled_alloy().symbols)
    np.testing.assert_allclose(relaxed.cell, record["cell"])
    np.testing.assert_allclose([site.position for site in relaxed.sites], record["positions"])


FAILURES = {
    "out_of_memory": "ERROR_OUT_OF_MEMORY",
    "missing_package": "ERROR_PACKAGE_MISSING",
    "calculator_failed": "ERROR_CALCULATOR_FAILED",
    "disk_full": "ERROR_DISK_FULL",
    "something_new": "ERROR_CALCULATOR_FAILED",
}


@pytest.mark.parametrize(("kind", "label"), FAILURES.items())
def test_a_failure_that_the_driver_reports_keeps_what_was_finished(job, parse, kind, label):
    output = [job[0][0], job[0][1], f"{driver.FAILURE_MARK} {kind}: ValueError: what went: wrong"]
    results, node = parse(text(output), text(job[1][:2]))
    assert node.exit_status == code_of(label)
    assert results["summary"]["finished"] == 1
    assert list(results["trajectory"].get_stepids()) == [json.loads(job[1][1])["index"]]


@pytest.mark.parametrize(
    ("errors", "scheduler", "label"),
    [
        ("Traceback\nMemoryError", "", "ERROR_OUT_OF_MEMORY"),
        ("", "slurmstepd: error: Detected 1 oom-kill event(s) in step 5.batch cgroup.", "ERROR_OUT_OF_MEMORY"),
        ("", "modules\nslurmstepd: error: Job 5 exceeded memory limit (9 > 8), being killed", "ERROR_OUT_OF_MEMORY"),
        ("", "_aiidasubmit.sh: line 6: 1201 Killed 'python' 'ase_driver.py'", "ERROR_OUTPUT_CUT"),
        ("OSError: [Errno 28] No space left on device", "", "ERROR_DISK_FULL"),
        ("", "", "ERROR_OUTPUT_CUT"),
    ],
)
def test_a_job_that_stops_without_a_word(job, parse, errors, scheduler, label):
    results, node = parse(text(job[0][:2]), text(job[1][:2]), errors, scheduler)
    assert node.exit_status == code_of(label)
    assert results["summary"]["finished"] == 1


VERDICTS = ["ERROR_SCHEDULER_OUT_OF_MEMORY", "ERROR_SCHEDULER_OUT_OF_WALLTIME", "ERROR_SCHEDULER_NODE_FAILURE"]


@pytest.mark.parametrize("ended", [[], [{"end": "interrupted"}], [{"end": "walltime"}]])
@pytest.mark.parametrize("label", VERDICTS)
def test_a_verdict_of_the_scheduler_is_kept(job, parse, label, ended):
    results, node = parse(text(job[0][:2]), text([*job[1][:2], *map(json.dumps, ended)]), status=code_of(label))
    assert node.exit_status == code_of(label)
    assert node.exit_message == "said the scheduler"
    assert results["summary"]["finished"] == 1


@pytest.mark.parametrize("label", VERDICTS)
def test_what_the_job_says_itself_is_more_than_the_scheduler_knows(job, parse, label):
    failed = json.dumps({"end": "failed", "kind": "disk_full", "message": "no space"})
    _, node = parse("", text([*job[1][:2], failed]), status=code_of(label))
    assert node.exit_status == code_of("ERROR_DISK_FULL")
    results, node = parse("", complete(job[1]), status=code_of(label))
    assert node.is_finished_ok
    assert results["summary"]["finished"] == len(STRAINS)


@pytest.mark.parametrize(
    ("end", "scheduler", "label"),
    [
        ("walltime", "", "ERROR_SCHEDULER_OUT_OF_WALLTIME"),
        ("interrupted", "", "ERROR_OUTPUT_CUT"),
        (
            "interrupted",
            "loading modules\nslurmstepd: error: *** JOB 7 ON a1 CANCELLED AT 2026-01-01 DUE TO TIME LIMIT ***",
            "ERROR_SCHEDULER_OUT_OF_WALLTIME",
        ),
        (
            None,
            "slurmstepd: error: *** JOB 7 ON a1 CANCELLED AT 2026-01-01T00:00:00 DUE TO NODE FAILURE, SEE LOG ***",
            "ERROR_SCHEDULER_NODE_FAILURE",
        ),
    ],
)
def test_why_a_job_was_ended(job, parse, end, scheduler, label):
    lines = job[1][:2] if end is None else [*job[1][:2], json.dumps({"end": end})]
    results, node = parse(text(job[0][:2]), text(lines), scheduler=scheduler)
    assert node.exit_status == code_of(label)
    assert results["summary"]["finished"] == 1


@pytest.mark.parametrize("output", ["", "\x00" * 300 + "[3/3]", None])
def test_a_second_start_that_empties_the_output_spoils_nothing(job, parse, output):
    results, node = parse(output, complete(job[1]))
    assert node.is_finished_ok
    assert results["summary"]["finished"] == len(STRAINS)


@pytest.mark.parametrize("ended", [True, False])
def test_the_structure_in_progress_comes_back_as_a_checkpoint(job, parse, tmp_path, ended):
    atoms = rattled_alloy()
    state = {"index": 1, "steps": 4, "evaluations": 5, "cell": atoms.cell.array, "positions": atoms.positions}
    np.savez(tmp_path / STATE, **state)
    results, node = parse(text(job[0][:2]), complete(job[1]) if ended else text(job[1][:2]))
    assert ("checkpoint" in results) == (not ended)
    if not ended:
        assert node.exit_status == code_of("ERROR_OUTPUT_CUT")
        assert results["summary"]["in_progress"] == {"index": 1, "steps": 4, "evaluations": 5}
        with results["checkpoint"].open(mode="rb") as handle:
            assert handle.read() == (tmp_path / STATE).read_bytes()


def test_a_relaxation_that_was_cut_has_a_checkpoint_and_no_trajectory(job, parse, tmp_path):
    state = {"index": 0, "steps": 4, "evaluations": 5, "cell": np.eye(3), "positions": np.zeros((8, 3))}
    np.savez(tmp_path / STATE, **state)
    results, _ = parse(text(job[0][:1]), text(job[1][:1]), strains=None)
    assert "trajectory" not in results
    assert results["summary"]["finished"] == 0
    assert results["checkpoint"].filename == STATE


def test_a_checkpoint_that_was_cut_is_none(job, parse, tmp_path):
    (tmp_path / STATE).write_bytes(b"PK\x03\x04")
    results, _ = parse(text(job[0][:2]), text(job[1][:2]))
    assert "checkpoint" not in results


def test_the_walltime_is_told_to_the_job_but_not_to_the_cache(code):
    from aiida.engine.processes.calcjobs.calcjob import CalcJob

    written, hashes = [], []
    for walltime in (None, 3600):
        options = {"resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1}}
        if walltime is not None:
            options["max_wallclock_seconds"] = walltime
        process = instantiate_process(
            get_manager().get_runner(), AseCalculation, **inputs_of(code, metadata={"options": options})
        )
        assert isinstance(process, CalcJob)
        folder = SandboxFolder()
        process.prepare_for_submission(folder)
        written.append(json.loads(Path(folder.get_abs_path(INPUT)).read_text())["walltime"])
        hashes.append(process.node.base.caching.compute_hash())
    assert written == [None, 3600]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(
    ("errors", "scheduler", "label"),
    [
        (None, "", "ERROR_OUTPUT_MISSING"),
        ("ModuleNotFoundError: No module named 'numpy'", "", "ERROR_PACKAGE_MISSING"),
        ("_aiidasubmit.sh: line 6: /opt/python: No such file or directory", "", "ERROR_PACKAGE_MISSING"),
        ("", "bash: python: command not found", "ERROR_PACKAGE_MISSING"),
        ("", "oom-kill event in step 5", "ERROR_OUT_OF_MEMORY"),
    ],
)
def test_a_job_that_left_nothing(parse, errors, scheduler, label):
    results, node = parse(None, None, errors, scheduler)
    assert node.exit_status == code_of(label)
    assert not {"trajectory", "summary"} & set(results)


def cut_line(lines):
    return text(lines[:-1]) + lines[-1][: len(lines[-1]) // 2]


GARBLED = {
    "half a line at the end": cut_line,
    "half a line in the middle": lambda lines: text([*lines[:2], lines[2][:50], lines[3]]),
    "a number for a record": lambda lines: text([*lines[:3], "17"]),
    "a list for a record": lambda lines: text([*lines[:3], "[1, 2]"]),
    "a record without status": lambda lines: text([*lines[:3], '{"index": 2}']),
    "a record without forces": lambda lines: text([*lines[:3], '{"index": 2, "status": "ok", "energy": -1.0}']),
    "text for numbers": lambda lines: text([*lines[:3], changed(lines[3], forces="none")]),
    "ragged forces": lambda lines: text([*lines[:3], changed(lines[3], forces=[[0.0, 0.0, 0.0]])]),
    "an index out of range": lambda lines: text([*lines[:3], changed(lines[3], index=7)]),
    "an index twice": lambda lines: text([*lines, lines[3]]),
    "one record too few": lambda lines: text(lines[:3]),
    "bytes that are no text": lambda lines: text(lines[:3]).encode() + b"\xff\xfe\x00\x80",
    "zeros of a lost block": lambda lines: text(lines[:3]).encode() + b"\x00" * 512,
}


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("garble", GARBLED.values(), ids=GARBLED.keys())
def test_garbled_records_are_an_error_and_the_sound_ones_are_kept(job, parse, garble, ended):
    garbled = garble(job[1])
    if ended:
        garbled += f"\n{END}\n".encode() if isinstance(garbled, bytes) else f"\n{END}\n"
    results, node = parse(text(job[0]), garbled)
    assert node.exit_status == code_of("ERROR_OUTPUT_INVALID")
    assert results["summary"]["finished"] >= 1
    np.testing.assert_array_equal(results["trajectory"].get_array("stresses")[0], json.loads(job[1][1])["stress"])


def test_output_that_is_no_text(job, parse):
    results, node = parse(text(job[0][:2]).encode() + b"\xff\xfe\x80", text(job[1][:2]))
    assert node.exit_status == code_of("ERROR_OUTPUT_CUT")
    assert results["summary"]["finished"] == 1


def test_empty_records(job, parse):
    results, node = parse(text(job[0]), "")
    assert node.exit_status == code_of("ERROR_OUTPUT_INVALID")
    assert "trajectory" not in results


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("key", ["energy", "stress"])
def test_numbers_that_are_not_finite_are_never_stored(job, parse, key, number):
    value = number if key == "energy" else (np.array(json.loads(job[1][2])["stress"]) * number).tolist()
    records = [*job[1][:2], changed(job[1][2], **{key: value}), job[1][3]]
    results, node = parse(text(job[0]), complete(records))
    assert node.exit_status == code_of("ERROR_OUTPUT_NOT_FINITE")
    assert results["summary"]["finished"] == 2
    assert len(results["trajectory"].get_stepids()) == 2


@pytest.mark.parametrize(
    ("statuses", "label"),
    [
        (("ok", "not_converged", "ok"), "ERROR_NOT_CONVERGED"),
        (("not_converged", "exploded", "ok"), "ERROR_GEOMETRY_EXPLODED"),
        (("exploded", "not_finite", "not_converged"), "ERROR_OUTPUT_NOT_FINITE"),
    ],
)
def test_the_worst_structure_decides(job, parse, statuses, label):
    records = [job[1][0]]
    for line, status in zip(job[1][1:], statuses, strict=True):
        record = json.loads(line)
        if status in ("exploded", "not_finite"):
            record = {key: record[key] for key in ("index", "evaluations", "seconds", "force_threshold")}
        records.append(json.dumps({**record, "status": status}))
    results, node = parse(text(job[0]), complete(records))
    assert node.exit_status == code_of(label)
    assert results["summary"]["finished"] == statuses.count("ok")
    assert sorted(results["summary"]["statuses"].values()) == sorted(statuses)


def test_every_exit_code_has_a_remedy_and_none_is_cached():
    own = {label: code for label, code in AseCalculation.exit_codes.items() if code.status in range(302, 500)}
    assert len(own) >= 10
    for label, exit_code in own.items():
        assert exit_code.invalidates_cache, label
        assert exit_code.message.endswith((".", ": {reason}")), label
