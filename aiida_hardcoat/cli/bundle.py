"""``hardcoat bundle``: share entries with all that they came from."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from aiida_hardcoat.cli.entries import filter_options, parse_filters
from aiida_hardcoat.cli.errors import user_errors

SHOWN_FINDINGS = 20

FORMAT = click.option(
    "--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True
)
PATH = click.argument("path", type=click.Path(path_type=Path))


@click.group("bundle")
def cmd_bundle() -> None:
    """Folders that hold entries with their provenance: made, checked, imported."""


@cmd_bundle.command("create")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@filter_options
@click.option("--title", default="Elastic constants of hard-coating alloys", show_default=True)
@click.option("--author", "authors", multiple=True, help="'Family, Given', or the name of a group; repeat for more.")
@click.option("--licence", default="CC-BY-4.0", show_default=True, help="CC-BY-4.0, CC-BY-SA-4.0 or CC0-1.0.")
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is there.")
@FORMAT
@user_errors()
def cmd_create(
    folder: Path,
    title: str,
    authors: tuple[str, ...],
    licence: str,
    overwrite: bool,
    output_format: str,
    **filters: Any,
) -> None:
    """Write a bundle of the entries that the filters leave, all by default, to the new folder DIR.

    Example: hardcoat bundle create exports/tialn --system Ti-Al-N --author 'Doe, Jane'
    """
    from aiida_hardcoat.cli.profile import require_disk_space, use_profile

    use_profile()
    require_disk_space(folder.absolute())
    from aiida_hardcoat.catalogue.bundle.create import AUTHORS, create_bundle, personal_addresses
    from aiida_hardcoat.catalogue.bundle.layout import ARCHIVE

    manifest = create_bundle(
        folder,
        title=title,
        authors=authors or AUTHORS,
        licence=licence,
        overwrite=overwrite,
        **parse_filters(filters),
    )
    size = sum(item.stat().st_size for item in folder.iterdir())
    if output_format == "json":
        click.echo(json.dumps({"path": str(folder), "bytes": size, **manifest}, indent=2))
    else:
        click.echo(
            f"{folder}: {manifest['entries']} entries, {manifest['predictions']} predictions, {manifest['nodes']} "
            f"nodes, {size / 1e6:.2f} MB ({size / 1e3 / manifest['entries']:.0f} kB an entry)\n"
            f"fingerprint {manifest['fingerprint']}"
        )
    if not authors:
        click.echo("no --author was given: the citation says 'anonymous'", err=True)
    if addresses := personal_addresses(folder / ARCHIVE):
        click.echo(f"the archive holds the e-mail address {', '.join(addresses)}, as AiiDA stores it", err=True)


@cmd_bundle.command("verify")
@PATH
@click.option(
    "--refit/--no-refit", default=True, show_default=True, help="Fit every tensor again to its strained cells."
)
@click.option("--models", is_flag=True, help="Let the learned models predict again, where they are at hand.")
@click.option("--expect", metavar="FINGERPRINT", help="A fingerprint that you got another way.")
@FORMAT
@click.pass_context
def cmd_verify(
    ctx: click.Context, path: Path, refit: bool, models: bool, expect: str | None, output_format: str
) -> None:
    """Check the bundle PATH, a folder or a zip or tar.gz of one: 0 if all holds, 1 if not. Needs no profile.

    Files against their checksums; the provenance against its fingerprint; every modulus, hardness and stability against
    the tensor, and the tensor against a new fit to the archived strained cells; tables against the archive.
    """
    with user_errors():
        from aiida_hardcoat.catalogue.bundle.verify import verify_bundle

        report = verify_bundle(path, refit=refit, models=models, expect=expect)
    if output_format == "json":
        click.echo(json.dumps(report.as_dict(), indent=2, default=str))
    else:
        for finding in report.findings[:SHOWN_FINDINGS]:
            click.echo(f"WRONG {finding}")
        if len(report.findings) > SHOWN_FINDINGS:
            click.echo(f"... and {len(report.findings) - SHOWN_FINDINGS} more")
        for note in report.notes:
            click.echo(f"note: {note}")
        click.echo(
            "checked: " + ", ".join(f"{number} {what.replace('_', ' ')}" for what, number in report.checked.items())
        )
        click.echo(f"fingerprint {report.fingerprint}")
        click.echo(f"{path}: {'all holds' if report.ok else f'{len(report.findings)} things do not hold'}")
    ctx.exit(0 if report.ok else 1)


@cmd_bundle.command("import")
@PATH
@click.option("--group", "label", default="catalogue", show_default=True, help="The catalogue that the entries join.")
@click.option("--force", is_flag=True, help="Import a bundle whose checksums or numbers do not hold.")
@click.option("--use-as-cache", is_flag=True, help="Let AiiDA answer calculations from the imported ones.")
@FORMAT
@user_errors()
def cmd_import(path: Path, label: str, force: bool, use_as_cache: bool, output_format: str) -> None:
    """Verify the bundle PATH, a folder or a zip or tar.gz of one, and add its entries to the catalogue.

    A second time adds nothing. A bundle that cannot be read safely is refused, with --force too.
    """
    from aiida_hardcoat.cli.profile import require_disk_space, use_profile

    profile = use_profile()
    if (filepath := profile.storage_config.get("filepath")) is not None:
        require_disk_space(Path(filepath))
    from aiida_hardcoat.catalogue.bundle.importing import import_bundle

    done = import_bundle(path, force=force, label=label, use_as_cache=use_as_cache)
    for finding in done.overlooked:
        click.echo(f"WARNING, imported as it is: {finding}", err=True)
    if output_format == "json":
        click.echo(json.dumps(asdict(done), indent=2, default=str))
    elif done.new_nodes or done.new_members:
        click.echo(
            f"{done.new_entries} entries and {done.new_members - done.new_entries} predictions added to '{label}' "
            f"({done.new_nodes} of {done.nodes} nodes were new)"
        )
    else:
        click.echo(f"nothing new: '{label}' holds all of it already")
    if done.cacheable and output_format != "json":
        click.echo(f"{done.cacheable} nodes may answer calculations to come")
