"""The command line: mistakes, searches, set-up, interrupts."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from aiida import orm
from aiida.plugins.entry_point import get_entry_point_from_string
from click.testing import CliRunner
from conftest import PAIR

from aiida_hardcoat.cli import COMMANDS, cmd_root
from aiida_hardcoat.data.catalogue import CatalogueGroup
from aiida_hardcoat.data.elastic import ElasticData

VERDI = str(Path(sys.executable).parent / "verdi")
HARDCOAT = (sys.executable, "-c", "from aiida_hardcoat.cli import main; main()")
RUN = ("run", "Ti0.5Al0.5N", "-s", "B1", "--protocol", "fast", "--atoms", "8")


def invoke(*arguments):
    return CliRunner().invoke(cmd_root, [str(argument) for argument in arguments])


def assert_refused(result, words):
    assert result.exit_code not in (0, None)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert words in line


# --- mistakes ---------------------------------------------------------------------------------------------------

BAD_RUNS = [
    (("run", "Ti0.5Al0.6N", "-s", "B1"), "sum to 1.1"),
    (("run", "TiO", "-s", "B1"), "nitride"),
    (("run", "Qq0.5Al0.5N", "-s", "B1"), "no element"),
    (("run", "", "-s", "B1"), "empty"),
    (("run", "Ti-0.5Al1.5N", "-s", "B1"), "negative"),
    (("run", "Ti0.3Al0.7N", "-s", "B1"), "48 metal sites"),
    (("run", "TiN", "-s", "B1", "--atoms", "7"), "7"),
    (("run", "TiN", "-s", "B1", "--atoms", "0"), "0"),
    (("run", "TiN", "-s", "B1", "--atoms", "-8"), "-8"),
    (("run", "AlN", "-s", "B4", "--atoms", "6"), "4 atoms"),
    (("run", "TiN", "-s", "B2"), "B1"),
    (("run", "TiN", "-s", "B1", "--cell", "studdy"), "study"),
    (("run", "TiN", "-s", "B1", "--cell", "3x3x3"), "54"),
    ((*RUN, "--engine", "asse"), "'ase'"),
    ((*RUN, "--engine", "ase:7net-l315"), "7net-l3i5"),
    ((*RUN, "--ions", "frozen"), "clamped"),
    ((*RUN, "--seed", "-1"), "seed"),
    ((*RUN, "--force-threshold", "-0.01"), "positive"),
    ((*RUN, "--force-threshold", "0"), "positive"),
    ((*RUN, "--force-threshold", "nan"), "force_thresholds"),
    ((*RUN, "-o", "strains.max_stps=3"), "max_steps"),
    ((*RUN, "-o", "strians.max_steps=3"), "strains"),
    ((*RUN, "-o", "strains.max_steps"), "KEY=VALUE"),
    ((*RUN, "-o", "strains.max_steps=0"), "max_steps"),
    ((*RUN, "-o", "strains.max_steps=lots"), "max_steps"),
    ((*RUN, "-o", "strains=3", "-o", "strains.max_steps=3"), "strains"),
    ((*RUN, "-o", "sqs=3"), "sqs"),
    ((*RUN, "-o", "strains.normal=[0.01,-0.01]"), "normal"),
    ((*RUN, "-o", 'strains.engine_settings={"optimizer": "FIRE"}'), "optimiser"),
    ((*RUN, "-o", "strains.symmetry_tolerance=-1"), "symmetry_tolerance"),
    ((*RUN, "--option", "max_wallclock_second=60"), "max_wallclock_seconds"),
    ((*RUN, "--option", "max_wallclock_seconds"), "KEY=VALUE"),
    ((*RUN, "--sqs-count", "0"), "--sqs-count"),
]


@pytest.mark.parametrize("more", [(), ("--dry-run",)], ids=["run", "dry run"])
@pytest.mark.parametrize(
    ("arguments", "words"), BAD_RUNS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_a_run_that_cannot_be_is_one_line_and_stores_nothing(code, arguments, words, more):
    before = orm.QueryBuilder().append(orm.Node).count()
    assert_refused(invoke(*arguments, *more), words)
    assert orm.QueryBuilder().append(orm.Node).count() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*RUN, "--protocol", "quick"), "fast"),
        ((*RUN, "--threads", "0"), "--threads"),
        ((*RUN, "--submit"), "--submit"),
        (("search", "--range", "bulk_modulas=1:"), "bulk_modulus"),
        (("search", "--range", "bulk_modulus=low:high"), "LOW:HIGH"),
        (("search", "--range", "bulk_modulus"), "FIELD=LOW:HIGH"),
        (("search", "-x", "0.75:0.25"), "empty"),
        (("search", "-x", "a"), "LOW:HIGH"),
        (("search", "--sort", "hardness"), "hardness_chen_2011"),
        (("search", "--system", "Al-Ti"), "nitrogen"),
        (("show", "999999"), "hardcoat list"),
        (("show", "nonsense"), "hardcoat list"),
        (("show", "B1/Xx-N/0.500000"), "hardcoat list"),
        (("-p", "elsewhere", "list"), "elsewhere"),
    ],
)
def test_other_mistakes_are_one_line_too(code, arguments, words):
    assert_refused(invoke(*arguments), words)


def test_a_node_that_is_no_entry_is_not_shown(code):
    assert_refused(invoke("show", code.pk), "InstalledCode")


@pytest.mark.parametrize("word", ["serach", "tensors", "rn"])
def test_misspelt_commands_are_named(word):
    result = invoke(word)
    assert result.exit_code == 2
    assert any(f"'{name}'?" in result.stderr.splitlines()[-1] for name in COMMANDS)


def test_dry_run_tells_the_plan_and_stores_nothing(code):
    before = orm.QueryBuilder().append(orm.Node).count()
    result = invoke(*RUN, "--engine", PAIR, "--dry-run")
    assert result.exit_code == 0
    for words in ("Al2N4Ti2", "12 cells", PAIR, "seed 0"):
        assert words in result.stdout
    assert orm.QueryBuilder().append(orm.Node).count() == before


# --- list, search, show -----------------------------------------------------------------------------------------


def test_list_search_and_show_agree(alloy):
    entry = alloy.outputs.entry
    rows = json.loads(invoke("list", "--format", "json").stdout)
    (row,) = [row for row in rows if row["pk"] == entry.pk]
    assert (row["label"], row["c11"], row["uuid"]) == (entry.label, entry.c11, entry.uuid)

    arguments = ("search", "--system", "Ti-Al-N", "-s", "B1", "-x", "0.5", "--level", PAIR)
    found = json.loads(invoke(*arguments, "--range", f"c11={entry.c11 - 1}:{entry.c11 + 1}", "--format", "json").stdout)
    assert entry.pk in [row["pk"] for row in found]
    assert json.loads(invoke(*arguments, "--range", f"c11={entry.c11 + 1}:", "--format", "json").stdout) == []

    for identifier in (entry.pk, entry.uuid, entry.uuid[:13]):
        contents = json.loads(invoke("show", identifier, "--format", "json").stdout)
        assert contents["uuid"] == entry.uuid
        assert contents["tensor"] == entry.tensor
    newest = (
        orm.QueryBuilder()
        .append(CatalogueGroup, filters={"label": "catalogue"}, tag="group")
        .append(ElasticData, with_group="group", filters={"label": entry.label}, project="uuid")
        .order_by({ElasticData: {"id": "desc"}})
    )
    assert json.loads(invoke("show", entry.label, "--format", "json").stdout)["uuid"] == newest.first()[0]
    assert entry.uuid in invoke("show", entry.pk).stdout


def test_table_and_csv_hold_the_same_entries(alloy):
    rows = list(csv.DictReader(io.StringIO(invoke("list", "--format", "csv").stdout)))
    lines = invoke("list").stdout.splitlines()[1:-1]
    assert len(rows) == len(lines) > 0
    assert {row["pk"] for row in rows} == {line.split()[0] for line in lines}
    (row,) = [row for row in rows if row["uuid"] == alloy.outputs.entry.uuid]
    assert float(row["c44"]) == alloy.outputs.entry.c44


def test_no_match_is_no_error(alloy):
    result = invoke("search", "--range", "c11=100000:")
    assert (result.exit_code, result.stdout.strip()) == (0, "no entries")


# --- without AiiDA ----------------------------------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path):
    """The environment of a user who has never used AiiDA."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("AIIDA")}
    return {**kept, "HOME": str(tmp_path)}


@pytest.mark.parametrize("arguments", [["--help"], ["tensor", "--help"], ["--version"], ["run", "--help"]])
def test_help_neither_imports_aiida_nor_leaves_a_trace(bare, tmp_path, arguments):
    program = (
        f"import sys\nfrom aiida_hardcoat.cli import cmd_root\ntry:\n    cmd_root({arguments!r})\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "print(sorted({'aiida', 'torch', 'pymatgen'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], env=bare, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert list(tmp_path.iterdir()) == []


def test_help_lists_every_command():
    text = invoke("--help").stdout
    for name, (module, _) in COMMANDS.items():
        assert f"  {name} " in text
        assert invoke(name, "--help").exit_code == 0, module


def test_mounted_below_verdi():
    point = get_entry_point_from_string("aiida.cmdline.data:hardcoat")
    assert point.load() is cmd_root


# --- a profile of its own ---------------------------------------------------------------------------------------


class Place:
    """A home and an AIIDA_PATH of their own, and commands in them."""

    def __init__(self, folder: Path):
        self.home, self.aiida = folder / "home", folder / "aiida"
        self.home.mkdir()
        self.aiida.mkdir()
        self.environment = {**os.environ, "HOME": str(self.home), "AIIDA_PATH": str(self.aiida)}

    def start(self, *command):
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.home
        )

    def run(self, *command):
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, cwd=self.home, timeout=120)
        return done.returncode, done.stdout, done.stderr

    def hardcoat(self, *arguments):
        return self.run(*HARDCOAT, *arguments)

    def ask(self, expression):
        """The value of a Python expression within the profile."""
        program = f"from aiida import load_profile, orm; load_profile(); import json; print(json.dumps({expression}))"
        status, out, err = self.run(sys.executable, "-W", "ignore", "-c", program)
        assert status == 0, err
        return json.loads(out.splitlines()[-1])

    def running_drivers(self):
        """Process ids of drivers that run below AIIDA_PATH."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "cwd").readlink().is_relative_to(self.aiida):
                    found.append(int(process.name))
            except OSError:
                continue
        return found


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """A place after `hardcoat setup`; what it holds depends on the tests before."""
    place = Place(tmp_path_factory.mktemp("place"))
    status, _, err = place.hardcoat("setup")
    assert status == 0, err
    return place


def test_without_a_profile_every_command_says_what_to_do(place):
    for arguments in (("list",), ("show", "1"), RUN):
        status, out, err = place.hardcoat(*arguments)
        assert status == 2
        assert out == ""
        assert [line for line in err.splitlines() if "hardcoat setup" in line] == err.splitlines()
        assert err.startswith("Error: ")


def test_setup_makes_a_profile_below_aiida_path_only_and_once(place):
    status, first, err = place.hardcoat("setup")
    assert status == 0, err
    counts = "[orm.QueryBuilder().append(kind).count() for kind in (orm.Node, orm.Computer, orm.Group, orm.User)]"
    python = "str(orm.load_code('hardcoat-ase').filepath_executable)"
    before, executable = place.ask(f"[{counts}, {python}]")
    assert executable == sys.executable
    configuration = (place.aiida / ".aiida" / "config.json").read_text()
    status, out, err = place.hardcoat("setup")
    assert status == 0, err
    assert out == first
    assert place.ask(counts) == before
    assert (place.aiida / ".aiida" / "config.json").read_text() == configuration
    assert not (place.home / ".aiida").exists()


def test_verdi_data_hardcoat(ready):
    status, out, err = ready.run(VERDI, "data", "hardcoat", "list")
    assert status == 0, err
    assert out == ready.hardcoat("list")[1] != ""


@pytest.mark.jobs
def test_interrupt_ends_every_process_and_the_same_command_goes_on(ready, tmp_path):
    """Ctrl-C among the strained cells; then again: neither the relaxation nor a finished cell is computed twice."""
    brake = tmp_path / "slow"
    settings = json.dumps({"model_options": {"folder": str(tmp_path)}})
    command = [
        *(*HARDCOAT, "run", "TiN", "-s", "B1", "--protocol", "fast"),
        *("--atoms", "8", "--engine", "ase:calculators:SlowPotential", "--threads", "1"),
        *("-o", f"relaxation.engine_settings={settings}", "-o", f"strains.engine_settings={settings}"),
        *("-o", "strains.symmetry_tolerance=0"),  # every strain, so that there is something to interrupt
    ]
    process = ready.start(*command)
    guard = threading.Timer(120, process.kill)
    guard.start()
    lines = []
    for line in process.stderr:
        lines.append(line)
        if " evaluations in " in line:
            brake.touch()
        if "[2/12]" in line:
            assert ready.running_drivers()
            process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    guard.cancel()
    assert process.returncode == 130, lines
    assert lines[-1].startswith("Error: "), lines
    assert "the same command" in lines[-1]
    assert not any("Traceback" in line for line in lines)

    deadline = time.monotonic() + 10
    while ready.running_drivers() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not ready.running_drivers()
    states = "orm.QueryBuilder().append(orm.ProcessNode, project='attributes.process_state').all(flat=True)"
    entries = "orm.QueryBuilder().append(orm.Node, filters={'node_type': {'like': '%elastic%'}}).count()"
    ended, stored = ready.ask(f"[{states}, {entries}]")
    assert set(ended) == {"finished", "killed"}
    assert stored == 0

    brake.unlink()
    status, out, err = ready.run(*command)
    assert status == 0, err
    assert "B1/Ti-N/1.000000" in out
    cached = (
        "{node.inputs.settings['task']: node.base.caching.is_created_from_cache for node in "
        "orm.QueryBuilder().append(orm.CalcJobNode).all(flat=True) if node.is_finished_ok}"
    )
    assert ready.ask(cached) == {"relax": True, "relax_ions": False}
    kept = (
        "[len(node.inputs.previous.get_stepids()) for node in orm.QueryBuilder().append(orm.CalcJobNode).all(flat=True)"
        " if 'previous' in node.inputs]"
    )
    [finished] = ready.ask(kept)
    assert 2 <= finished < 12
    status, out, _ = ready.hardcoat("list", "--format", "json")
    assert [row["formula"] for row in json.loads(out)] == ["TiN"]
