"""Options of the jobs, checked before they reach the script that a scheduler runs.

AiiDA writes the names of accounts, queues and the like into the script as they are, and takes the names of files for
paths in the job's folder. ``prepend_text``, ``append_text`` and ``custom_scheduler_commands`` are lines of that script
by design: whoever may set them may run what they like as the user of the computer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from aiida_hardcoat.engines.checks import is_count
from aiida_hardcoat.errors import InputError, nearest

NAMES = ("account", "queue_name", "qos", "priority", "parser_name")
FILES = ("input_filename", "output_filename", "submit_script_filename", "scheduler_stdout", "scheduler_stderr")
NUMBERS = ("max_wallclock_seconds", "max_memory_kb")
LISTS_OF_TEXT = ("mpirun_extra_params", "additional_retrieve_list")
SCRIPT = ("prepend_text", "append_text", "custom_scheduler_commands")

NAME = re.compile(r"[A-Za-z0-9._+,:@/=-]+")
FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")


def check_options(options: dict[str, Any]) -> None:
    """Refuse options of jobs that AiiDA does not have, or that would do more than they are for.

    :raises InputError: for the first, with what is allowed.
    """
    from aiida.engine import CalcJob

    known: Any = CalcJob.spec().inputs["metadata"]["options"]  # type: ignore[index]
    for key, value in options.items():
        if key not in known:
            raise InputError(f"jobs have no option '{key}': {nearest(key, sorted(known))}")
        check_option(key, value)


def check_option(key: str, value: Any) -> None:
    """:raises InputError: where an option that jobs have is of another kind, or holds what it must not."""
    if value is None:
        return
    if key in SCRIPT:
        if not isinstance(value, str) or "\x00" in value:
            raise InputError(f"option {key} must be lines of a script, not {value!r}")
        return
    for text in texts_in(value):
        if CONTROL.search(text):
            raise InputError(f"option {key} must be one line without control characters, not {text!r}")
    if key in NAMES and not (isinstance(value, str) and NAME.fullmatch(value)):
        raise InputError(f"option {key} must be a name of letters, digits and ._+,:@/=-, not {value!r}")
    if key in FILES and not (isinstance(value, str) and FILE.fullmatch(value)):
        raise InputError(f"option {key} must be the name of a file in the job's folder, not {value!r}")
    if key in NUMBERS and not is_count(value):
        raise InputError(f"option {key} must be a whole number of at least 1, not {value!r}")
    if key in LISTS_OF_TEXT:
        check_list(key, value)
    if key == "environment_variables":
        check_environment(value)
    if key == "resources":
        check_resources(value)


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts_in(key)
            yield from texts_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from texts_in(item)


def check_list(key: str, value: Any) -> None:
    if not isinstance(value, (list, tuple)):
        raise InputError(f"option {key} must be a list, not {value!r}")
    if key == "additional_retrieve_list":
        for path in texts_in(value):
            if path.startswith("/") or ".." in path.split("/"):
                raise InputError(f"option {key} must name files in the job's folder, not {path!r}")


def check_environment(value: Any) -> None:
    if not isinstance(value, dict):
        raise InputError(f"option environment_variables must be a mapping of names to texts, not {value!r}")
    for name, text in value.items():
        if not (isinstance(name, str) and VARIABLE.fullmatch(name)):
            raise InputError(f"environment variables have names of letters, digits and _, not {name!r}")
        if not isinstance(text, str):
            raise InputError(f"environment variable {name} must be a text, not {text!r}: put it in quotes")


def check_resources(value: Any) -> None:
    if not isinstance(value, dict):
        raise InputError(f"option resources must be a mapping such as num_machines=1, not {value!r}")
    for name, item in value.items():
        if isinstance(item, str) and NAME.fullmatch(item):
            continue  # the parallel environment of an SGE queue
        if not is_count(item):
            raise InputError(f"option resources.{name} must be a whole number of at least 1, not {item!r}")
