"""``hardcoat site``: the catalogue as a web page in a folder."""

from __future__ import annotations

from typing import Any

import click

from aiida_hardcoat.cli.entries import filter_options, parse_filters
from aiida_hardcoat.cli.errors import user_errors


@click.command("site")
@click.argument("folder", metavar="DIR")
@filter_options
@click.option("--title", default="Hard-coating alloys", show_default=True, help="Heading of the page.")
@user_errors()
def cmd_site(folder: str, title: str, **filters: Any) -> None:
    """Write the catalogue as a web page into the folder DIR.

    DIR/index.html opens by double-click, needs no network, and can be put on any web server as it is. A page that was
    there before is replaced; a folder with anything else in it is refused. Filters as in `hardcoat search`.

    Example: hardcoat site page --system Ti-Al-N --title "Ti-Al-N"
    """
    from aiida_hardcoat.cli.profile import use_profile

    use_profile()
    from aiida_hardcoat.catalogue.site.build import build_site

    made = build_site(folder, title=title, **parse_filters(filters))
    click.echo(
        f"{made['entries']} entries at {made['levels']} level{'s' * (made['levels'] > 1)} of theory, "
        f"{made['bytes'] / 1e6:.1f} MB in {made['files']} files"
    )
    click.echo(f"open {made['folder']}/index.html")
