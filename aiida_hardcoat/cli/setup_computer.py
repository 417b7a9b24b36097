"""Computers and codes from their YAML, looked at before anything is stored."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiida_hardcoat.errors import InputError, nearest

if TYPE_CHECKING:
    from aiida.manage.configuration import Profile
    from aiida.orm import Computer
    from aiida.transports import Transport

LOCAL = "core.local"
POLL_SECONDS = {"core.direct": 0.5}
POLL_SECONDS_QUEUE = 5.0
"""Between two looks at the jobs; a queue serves others, too."""

NEEDS = {"hardcoat.ase": ("ase", "sevenn")}
"""Python packages that the executable of a plugin's code must have."""


def check_computer(computer: dict[str, Any], configure: dict[str, Any], code: dict[str, Any]) -> tuple[str, int | None]:
    """A line about a computer elsewhere that can be reached, has its scheduler, its work folder and the engine's code.

    :return: also the cores of its smallest node, where Slurm tells them.
    :raises InputError: how to mend what is missing.
    """
    from aiida.common.exceptions import InvalidOperation

    from aiida_hardcoat.engines.dry_profile import some_profile

    host = computer["hostname"]
    try:
        # AiiDA opens connections in the loop of a profile, which there may not be yet.
        with some_profile(), open_transport(computer, configure) as transport:
            scheduler = check_scheduler(transport, computer)
            cores = cores_of_node(transport, computer)
            check_work_folder(transport, computer)
            packages = NEEDS.get(code["default_calc_job_plugin"], ())
            check_executable(transport, code["filepath_executable"], packages, host)
    except (OSError, InvalidOperation) as error:
        raise InputError(
            f"no SSH to '{host}': `ssh {host} true` must work without a password (an alias in ~/.ssh/config, its key,"
            f" the host in known_hosts; on Debian its server is started by `sudo systemctl start ssh`): {error}"
        ) from None
    return f"{host} by SSH, {scheduler}", cores


def open_transport(computer: dict[str, Any], configure: dict[str, Any]) -> Transport:
    """The transport of a computer that is not stored.

    :raises InputError: for a transport that AiiDA does not have, or options that it does not.
    """
    from aiida.common.exceptions import EntryPointError
    from aiida.plugins import TransportFactory
    from aiida.plugins.entry_point import get_entry_point_names

    try:
        transport = TransportFactory(computer["transport"])
    except EntryPointError:
        names = get_entry_point_names("aiida.transports")
        raise InputError(
            f"unknown transport '{computer['transport']}': {nearest(computer['transport'], names)}"
        ) from None
    known = list(transport.get_valid_auth_params())
    for key in configure:
        if key not in known:
            raise InputError(f"transport '{computer['transport']}' has no option '{key}': {nearest(str(key), known)}")
    opened: Transport = transport(machine=computer["hostname"], **configure)
    return opened


def answer(transport: Transport, command: str) -> str | None:
    """What a command says there; None where it fails."""
    status, output, _ = transport.exec_command_wait(command)
    return output.strip() if status == 0 else None


def check_scheduler(transport: Transport, computer: dict[str, Any]) -> str:
    """:raises InputError: where the commands of Slurm are missing or its controller does not answer."""
    host = computer["hostname"]
    if computer["scheduler"] != "core.slurm":
        return str(computer["scheduler"])
    missing = [name for name in ("sbatch", "squeue", "scancel") if answer(transport, f"command -v {name}") is None]
    if missing:
        raise InputError(
            f"'{host}' has no {', '.join(missing)}: install Slurm's commands (Debian package slurm-client), or load"
            " them in the login shell"
        )
    version = answer(transport, "sinfo --version")
    partitions = answer(transport, "sinfo --noheader --format=%R")
    if partitions is None:
        raise InputError(
            f"Slurm on '{host}' does not answer: start it, `sudo systemctl start munge slurmctld slurmd` (Debian"
            " packages munge, slurmctld, slurmd)"
        )
    return f"{version}, partitions {', '.join(dict.fromkeys(partitions.split()))}"


def cores_of_node(transport: Transport, computer: dict[str, Any]) -> int | None:
    """Cores of the smallest node; Slurm writes 32+ where others have more."""
    if computer["scheduler"] != "core.slurm":
        return None
    told = answer(transport, "sinfo --noheader --format=%c") or ""
    numbers = [int(word.rstrip("+")) for word in told.split() if word.rstrip("+").isdigit()]
    return min(numbers, default=None)


def check_work_folder(transport: Transport, computer: dict[str, Any]) -> None:
    """:raises InputError: where nothing can be written."""
    folder = str(computer["work_dir"]).format(username=transport.whoami())
    command = f"mkdir -p {shlex.quote(folder)} && test -w {shlex.quote(folder)}"
    if answer(transport, command) is None:
        raise InputError(f"'{computer['hostname']}' lets nothing be written in {folder}: give another with --work-dir")


def check_executable(transport: Transport, executable: str, packages: tuple[str, ...], host: str) -> None:
    """:raises InputError: where the executable of a code or a Python package of it is missing."""
    if answer(transport, f"command -v {shlex.quote(executable)}") is None:
        raise InputError(f"'{host}' has no {executable}: give the path of the engine's program there with --executable")
    if packages:
        script = f"import importlib.util as u; print(*[n for n in {packages} if u.find_spec(n) is None])"
        missing = answer(transport, f"{shlex.quote(executable)} -c {shlex.quote(script)}")
        if missing is None:
            wanted = " and ".join(packages)
            raise InputError(f"{executable} on '{host}' is no Python: give one that has {wanted} with --executable")
        if missing:
            raise InputError(
                f"{executable} on '{host}' lacks {missing}: `{executable} -m pip install torch==2.13.0 sevenn`, or give"
                " another Python with --executable"
            )


def ensure_computer(wanted: dict[str, Any], configure: dict[str, Any], profile: Profile) -> Computer:
    """The computer of that label, made and configured where it is missing; one that exists is left as it is, but for a
    guard against jobs that are started twice where it has none.

    :raises InputError: for a description that AiiDA refuses.
    """
    from aiida.common.exceptions import NotExistent
    from aiida.manage import get_config
    from aiida.orm import User, load_computer
    from aiida.orm.utils.builders.computer import ComputerBuilder

    try:
        computer = load_computer(wanted["label"])
        if not computer.get_prepend_text() and not computer.get_append_text():
            computer.set_prepend_text(wanted.get("prepend_text", ""))
            computer.set_append_text(wanted.get("append_text", ""))
    except NotExistent:
        scratch = str(Path(get_config().dirpath) / "scratch" / profile.name)
        complete = {**DEFAULTS, "work_dir": scratch, **wanted}
        try:
            computer = ComputerBuilder(**complete).new().store()
        except (ComputerBuilder.ComputerValidationError, ValueError) as error:
            raise InputError(f"computer '{wanted['label']}' cannot be made: {error}") from None
        computer.set_minimum_job_poll_interval(POLL_SECONDS.get(wanted["scheduler"], POLL_SECONDS_QUEUE))
    user = User.collection.get_default()
    if user is None or not computer.is_user_configured(user):
        computer.configure(**configure)
    return computer


DEFAULTS: dict[str, Any] = {
    "description": "",
    "shebang": "#!/bin/bash",
    "mpirun_command": "mpirun -np {tot_num_mpiprocs}",
    "mpiprocs_per_machine": 1,
    "default_memory_per_machine": None,
    "use_double_quotes": False,
    "prepend_text": "",
    "append_text": "",
}


def ensure_remote_code(computer: Computer, code: dict[str, Any]) -> Any:
    """The code of an engine on a computer elsewhere."""
    from aiida_hardcoat.engines.codes import ensure_code

    return ensure_code(
        code["label"],
        computer,
        executable=code["filepath_executable"],
        plugin=code["default_calc_job_plugin"],
        description=code["description"],
        with_mpi=code["with_mpi"],
        prepend_text=code["prepend_text"],
    )
