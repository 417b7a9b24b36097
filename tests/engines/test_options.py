"""Options of jobs: what reaches the script of a scheduler must be what it looks like."""

import pytest
from aiida.engine import CalcJob
from hypothesis import given
from hypothesis import strategies as st

from aiida_hardcoat.engines import options as checks
from aiida_hardcoat.engines.options import check_options
from aiida_hardcoat.errors import InputError

SOUND = [
    {},
    {"account": "proj-1234", "queue_name": "gpu,long", "qos": "normal@site", "priority": "100"},
    {"account": None, "max_memory_kb": 4_000_000, "max_wallclock_seconds": 86400},
    {"resources": {"num_machines": 2, "num_mpiprocs_per_machine": 16, "num_cores_per_mpiproc": 4}},
    {"resources": {"parallel_env": "mpi", "tot_num_mpiprocs": 8}},
    {"input_filename": "in.json", "scheduler_stderr": "_scheduler-stderr.txt"},
    {"environment_variables": {"OMP_NUM_THREADS": "4", "_MODEL": "a b; $(c)"}},  # AiiDA puts these into quotes
    {"custom_scheduler_commands": "#SBATCH --gres=gpu:1\n#SBATCH --signal=USR1@60", "prepend_text": "module load x"},
    {"withmpi": False, "rerunnable": True, "additional_retrieve_list": ["*.log", ["a/*.txt", ".", 1]]},
]
UNSOUND = [
    ({"acount": "x"}, "account"),
    ({"queue": "long"}, "queue_name"),
    ({"account": "x\n#SBATCH --wrap=id"}, "one line"),
    ({"queue_name": "long\rid"}, "one line"),
    ({"qos": "a b"}, "letters"),
    ({"account": "$(id)"}, "letters"),
    ({"account": "`id`"}, "letters"),
    ({"account": "x;id"}, "letters"),
    ({"queue_name": "x|id"}, "letters"),
    ({"qos": ""}, "letters"),
    ({"account": 17}, "letters"),
    ({"priority": "high\u2028id"}, "one line"),
    ({"input_filename": "../../x"}, "file"),
    ({"output_filename": "/etc/passwd"}, "file"),
    ({"scheduler_stdout": ".."}, "file"),
    ({"scheduler_stderr": "a b"}, "file"),
    ({"submit_script_filename": "x;id"}, "file"),
    ({"submit_script_filename": "-x"}, "file"),
    ({"max_wallclock_seconds": "1h"}, "whole number"),
    ({"max_wallclock_seconds": 0}, "whole number"),
    ({"max_memory_kb": True}, "whole number"),
    ({"resources": {"num_machines": "1 && id"}}, "num_machines"),
    ({"resources": {"num_machines": 0}}, "num_machines"),
    ({"resources": 4}, "mapping"),
    ({"environment_variables": {"A=1; id #": "x"}}, "letters"),
    ({"environment_variables": {"A": "x\nid"}}, "one line"),
    ({"environment_variables": {"A": 1}}, "text"),
    ({"environment_variables": "A=1"}, "mapping"),
    ({"additional_retrieve_list": ["../../../etc/passwd"]}, "folder"),
    ({"additional_retrieve_list": [["/etc/passwd", ".", 0]]}, "folder"),
    ({"additional_retrieve_list": "x"}, "list"),
    ({"mpirun_extra_params": ["-np\n4"]}, "one line"),
    ({"prepend_text": 4}, "script"),
    ({"append_text": "a\x00b"}, "script"),
]


@pytest.mark.parametrize("options", SOUND)
def test_what_jobs_need_passes(options):
    check_options(options)


@pytest.mark.parametrize(("options", "word"), UNSOUND)
def test_what_could_do_more_is_refused_in_one_line(options, word):
    with pytest.raises(InputError, match=word) as raised:
        check_options(options)
    assert len(str(raised.value).splitlines()) == 1
    assert next(iter(options)) in str(raised.value) or "variable" in str(raised.value)


@given(st.sampled_from([*checks.NAMES, *checks.FILES]), st.text(min_size=1))
def test_no_text_that_passes_means_anything_to_a_shell(key, text):
    try:
        check_options({key: text})
    except InputError:
        return
    assert not set(text) & set(" \t\r\n;&|<>()$`\\\"'*?[]#~!{}^%")
    assert text.isascii()
    if key in checks.FILES:
        assert "/" not in text
        assert text not in (".", "..")


def test_every_option_of_text_is_looked_at():
    """An option that AiiDA adds must be put where it belongs."""
    known = CalcJob.spec().inputs["metadata"]["options"]
    texts = {name for name, port in known.items() if is_text(port.valid_type)}
    assert texts == {*checks.NAMES, *checks.FILES, *checks.SCRIPT}


def is_text(valid_type):
    return str in (valid_type if isinstance(valid_type, tuple) else (valid_type,))


@pytest.mark.parametrize("name", ["hardcoat.relax", "hardcoat.elastic", "hardcoat.alloy"])
def test_workchains_refuse_such_options_before_anything_runs(aiida_profile, name):
    from aiida.plugins import WorkflowFactory

    builder = WorkflowFactory(name).get_builder()
    with pytest.raises(ValueError, match="one line"):
        builder.options = {"account": "x\n#SBATCH --wrap=id"}
    with pytest.raises(ValueError, match="jobs_at_once"):
        builder.jobs_at_once = -1


def test_the_command_line_refuses_them(aiida_profile):
    from aiida_hardcoat.cli.run import collect_options

    assert collect_options(("resources.num_machines=2", "queue_name=long")) == {
        "resources": {"num_machines": 2},
        "queue_name": "long",
    }
    with pytest.raises(InputError, match="one line"):
        collect_options(("account=x\nid",))
