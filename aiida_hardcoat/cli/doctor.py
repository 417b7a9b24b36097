"""``hardcoat doctor``: what is there, what is missing, and how to mend it."""

from __future__ import annotations

import json

import click

from aiida_hardcoat.cli.errors import user_errors


@click.command("doctor")
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--alloy", metavar="COMPOSITION", help="Also whether the potentials of these elements are there.")
@user_errors()
def cmd_doctor(output_format: str, alloy: str | None) -> None:
    """Check packages, profile, services, computers, codes, potentials, daemon, processes, safety and disk.

    Exit code 1 if something that is needed is missing, or unsafe for what is computed.
    """
    from aiida_hardcoat.cli.doctor_findings import word_of
    from aiida_hardcoat.cli.doctor_install import check_model, check_packages
    from aiida_hardcoat.cli.doctor_profile import check_profile
    from aiida_hardcoat.physics.composition import parse_composition

    elements = tuple(parse_composition(alloy).elements) if alloy is not None else None
    findings = [*check_packages(), check_model(), *check_profile(elements)]
    if output_format == "json":
        click.echo(json.dumps(findings, indent=2))
    else:
        width = max(len(found["what"]) for found in findings) + 2
        for found in findings:
            click.echo(f"{word_of(found):8s}{found['what']:{width}s}{found['detail']}")
            if not found["ok"] and found["mend"]:
                click.echo(f"{'':{8 + width}s}-> {found['mend']}")
    if any(found["needed"] and not found["ok"] for found in findings):
        raise SystemExit(1)
