"""``hardcoat doctor``: what is there, what is missing, and how to mend it."""

from __future__ import annotations

import json
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from aiida_hardcoat.cli.errors import user_errors
from aiida_hardcoat.errors import InputError

PACKAGES = (
    "aiida-core",
    "aiida-vasp",
    "aiida-pseudo",
    "pymatgen",
    "numpy",
    "ase",
    "torch",
    "torch-geometric",
    "safetensors",
    "sevenn",
)
OPTIONAL_PACKAGES = {"chgnet": "pip install 'aiida-hardcoat[chgnet]'"}

Finding = dict[str, Any]


@click.command("doctor")
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--alloy", metavar="COMPOSITION", help="Also whether the potentials of these elements are there.")
@user_errors()
def cmd_doctor(output_format: str, alloy: str | None) -> None:
    """Check packages, profile, computer, codes, potentials, broker and disk.

    Exit code 1 if something that is needed is missing.
    """
    from aiida_hardcoat.physics.composition import parse_composition

    elements = tuple(parse_composition(alloy).elements) if alloy is not None else None
    findings = [*check_packages(), check_model(), *check_profile(elements)]
    if output_format == "json":
        click.echo(json.dumps(findings, indent=2))
    else:
        width = max(len(found["what"]) for found in findings) + 2
        for found in findings:
            state = "ok" if found["ok"] else ("MISSING" if found["needed"] else "absent")
            click.echo(f"{state:8s}{found['what']:{width}s}{found['detail']}")
            if not found["ok"] and found["mend"]:
                click.echo(f"{'':{8 + width}s}-> {found['mend']}")
    if any(found["needed"] and not found["ok"] for found in findings):
        raise SystemExit(1)


def finding(what: str, ok: bool, detail: str, mend: str = "", *, needed: bool = True) -> Finding:
    return {"what": what, "ok": ok, "detail": detail, "mend": mend, "needed": needed}


def version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def check_packages() -> list[Finding]:
    findings = [finding("python", sys.version_info >= (3, 11), sys.version.split()[0], "use Python 3.11 or newer")]
    for package in PACKAGES:
        version = version_of(package)
        findings.append(finding(package, version is not None, version or "not installed", f"pip install {package}"))
    for package, mend in OPTIONAL_PACKAGES.items():
        version = version_of(package)
        findings.append(finding(package, version is not None, version or "not installed", mend, needed=False))
    return findings


def check_model() -> Finding:
    """The weights that come with the package, read as a prediction reads them."""
    from aiida_hardcoat import learned
    from hardcoat_ml.errors import InputError as ModelInputError

    try:
        model = learned.model_identity(learned.load_ensemble())
    except (ModelInputError, ImportError) as error:
        return finding("learned model", False, str(error), "install aiida-hardcoat anew", needed=False)
    detail = f"{model['name']} {model['version']}, weights sha256 {model['sha256'][:16]}"
    return finding("learned model", True, detail, needed=False)


def check_profile(elements: tuple[str, ...] | None) -> list[Finding]:
    from aiida_hardcoat.cli.profile import use_profile

    try:
        profile = use_profile()
    except InputError as error:
        return [finding("profile", False, str(error), "hardcoat setup")]
    return [
        finding("profile", True, f"{profile.name} ({profile.storage_backend})"),
        check_computer(),
        *check_engines(elements),
        check_daemon(profile),
        check_catalogue(),
        check_disk(),
    ]


def check_computer() -> Finding:
    from aiida.common.exceptions import NotExistent
    from aiida.orm import load_computer

    try:
        computer = load_computer("localhost")
        detail = f"{computer.label} ({computer.transport_type}, {computer.scheduler_type})"
        return finding("computer", computer.is_configured, detail, "hardcoat setup")
    except NotExistent:
        return finding("computer", False, "no computer localhost", "hardcoat setup")


def check_engines(elements: tuple[str, ...] | None) -> list[Finding]:
    """What each engine says of its code and its potentials."""
    from importlib.metadata import entry_points

    from aiida_hardcoat.engines import GROUP, load_engine

    names = sorted(point.name for point in entry_points(group=GROUP))
    return [row for name in names for row in load_engine(name)[0].doctor(elements)]


def check_daemon(profile: Any) -> Finding:
    if profile.process_control_backend is None:
        return finding("daemon", False, "the profile has no broker: runs wait in the terminal", needed=False)
    from aiida.engine.daemon.client import get_daemon_client

    running = get_daemon_client().is_daemon_running
    detail = "running" if running else "stopped: only --submit needs it"
    return finding("daemon", running, detail, "verdi daemon start", needed=False)


def check_catalogue() -> Finding:
    from aiida_hardcoat.data.catalogue import catalogue

    return finding("catalogue", True, f"{catalogue().count_entries()} entries")


def check_disk() -> Finding:
    from aiida.manage import get_config

    from aiida_hardcoat.cli.profile import NEEDED_MEGABYTES

    folder = Path(get_config().dirpath)
    free = shutil.disk_usage(folder).free // 2**20
    return finding("disk", free >= NEEDED_MEGABYTES, f"{free} MB free at {folder}", f"free {NEEDED_MEGABYTES} MB")
