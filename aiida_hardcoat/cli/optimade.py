"""``hardcoat optimade``."""

from __future__ import annotations

from pathlib import Path

import click

from aiida_hardcoat.cli.errors import user_errors

EXAMPLE = '_hardcoat_bulk_modulus>250 AND elements HAS ALL "Ti","Al"'


@click.command("optimade")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve at.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=5000, show_default=True, help="Port to serve at; 0: a free one."
)
@click.option("--public", is_flag=True, help="Allow an address that other machines can reach.")
@click.option("--bundle", type=click.Path(path_type=Path), metavar="DIR", help="Serve a bundle; this needs no profile.")
@user_errors()
def cmd_optimade(host: str, port: int, public: bool, bundle: Path | None) -> None:
    """Serve the catalogue to OPTIMADE clients, read-only, until Ctrl-C.

    What is served is a copy of the entries at the start, with every number of an entry as a property _hardcoat_NAME;
    the profile is never written. /v1/info/structures describes them.
    """
    from aiida_hardcoat.cli.profile import use_profile

    if bundle is None:
        use_profile()
    from aiida_hardcoat.catalogue.optimade.files import JSONL
    from aiida_hardcoat.catalogue.optimade.server import MANY, catalogue_app, check_installed, file_app, listen, serve

    check_installed()
    with listen(host, port, public) as listener:
        app, number = catalogue_app() if bundle is None else file_app(bundle / JSONL)
        if number > MANY:
            click.echo(
                f"{number} structures are many for a database in memory: set OPTIMADE_DATABASE_BACKEND=mongodb and "
                "OPTIMADE_MONGO_URI to a MongoDB server",
                err=True,
            )
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listener.getsockname()[1]}/v1"
        click.echo(f"{number} structure{'s' * (number > 1)} at {url}, read-only; Ctrl-C ends. For example:")
        click.echo(f"  {url}/info/structures")
        click.echo(f"  {url}/structures?filter={EXAMPLE}")
        serve(app, listener)
    click.echo("stopped", err=True)
