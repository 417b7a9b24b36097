"""What the profile holds and how it is set: computers, engines, catalogue, options, disk."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from aiida_hardcoat.cli.doctor_findings import Finding, finding
from aiida_hardcoat.errors import InputError

if TYPE_CHECKING:
    from aiida.manage.configuration import Profile
    from aiida.orm import Computer

SHORTEST_TIMEOUT = 10
"""Seconds that `verdi daemon` should wait for an answer."""


def check_profile(elements: tuple[str, ...] | None) -> list[Finding]:
    """Everything about the profile; without its services only them."""
    from aiida_hardcoat.cli.doctor_files import check_files
    from aiida_hardcoat.cli.doctor_processes import check_daemon, check_processes
    from aiida_hardcoat.cli.doctor_services import check_services, services_answer
    from aiida_hardcoat.cli.profile import find_profile, use_profile

    try:
        profile = find_profile()
    except InputError as error:
        return [finding("profile", False, str(error), "hardcoat setup")]
    found = [finding("profile", True, f"{profile.name} ({profile.storage_backend})")]
    services = check_services(profile)
    found += [*services, *check_files(profile), check_timeout(profile)]
    if not services_answer(services):
        return found
    use_profile()
    return [
        *found,
        *check_computers(),
        *check_engines(elements),
        *check_daemon(profile),
        *check_processes(profile),
        check_catalogue(),
        check_disk(),
    ]


def check_timeout(profile: Profile) -> Finding:
    from aiida.manage import get_config

    seconds = get_config().get_option("daemon.timeout", scope=profile.name)
    return finding(
        "daemon.timeout",
        seconds >= SHORTEST_TIMEOUT,
        f"{seconds} s" + ("" if seconds >= SHORTEST_TIMEOUT else ": on a busy machine `verdi daemon restart` gives up"),
        f"verdi -p {profile.name} config set daemon.timeout 30",
        needed=False,
        word="short",
    )


def check_computers() -> list[Finding]:
    """Those that jobs can be sent to; an import brings others."""
    from aiida.orm import Computer

    found = [check_computer(computer) for computer in Computer.collection.all() if computer.is_configured]
    return found or [finding("computer", False, "no computer is configured", "hardcoat setup")]


def check_computer(computer: Computer) -> Finding:
    detail = f"{computer.label} ({computer.transport_type}, {computer.scheduler_type})"
    if computer.scheduler_type == "core.slurm" and not computer.get_default_memory_per_machine():
        return finding(
            "computer",
            False,
            f"{detail}: no default memory, a job may take all of a node",
            f"verdi computer setup, or: verdi shell -c \"load_computer('{computer.label}')"
            '.set_default_memory_per_machine(4000000)"',
            needed=False,
            word="unset",
        )
    return finding("computer", True, detail)


def check_engines(elements: tuple[str, ...] | None) -> list[Finding]:
    """What each engine says of its code and its potentials."""
    from aiida_hardcoat.engines import engines, load_engine

    return [row for name in sorted(engines()) for row in load_engine(name)[0].doctor(elements)]


def check_catalogue() -> Finding:
    from aiida_hardcoat.data.catalogue import catalogue

    return finding("catalogue", True, f"{catalogue().count_entries()} entries")


def check_disk() -> Finding:
    from aiida.manage import get_config

    from aiida_hardcoat.cli.profile import NEEDED_MEGABYTES

    folder = Path(get_config().dirpath)
    free = shutil.disk_usage(folder).free // 2**20
    return finding("disk", free >= NEEDED_MEGABYTES, f"{free} MB free at {folder}", f"free {NEEDED_MEGABYTES} MB")
