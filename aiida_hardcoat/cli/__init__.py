"""``hardcoat``, also mounted as ``verdi data hardcoat``: commands parse, call and print.

Subcommands are imported when they are called, so that ``hardcoat tensor`` needs no AiiDA and ``--help`` is quick.
"""

from __future__ import annotations

import warnings

import click

from aiida_hardcoat import __version__
from aiida_hardcoat.cli.lazy import LazyGroup

COMMANDS = {
    "setup": ("aiida_hardcoat.cli.setup", "Make or complete a profile: computer, code, catalogue."),
    "doctor": ("aiida_hardcoat.cli.doctor", "What is there, what is missing, and how to mend it."),
    "demo": ("aiida_hardcoat.cli.demo", "TiN, Ti0.5Al0.5N and AlN in small cells, in minutes."),
    "run": ("aiida_hardcoat.cli.run", "From a composition to an entry of the catalogue."),
    "campaign": ("aiida_hardcoat.cli.campaign", "Many alloys from a file: throttled, resumable."),
    "converge": ("aiida_hardcoat.cli.converge", "Elastic constants against a setting of the engine."),
    "list": ("aiida_hardcoat.cli.entries", "All entries."),
    "search": ("aiida_hardcoat.cli.entries", "Entries by system, structure, composition and properties."),
    "show": ("aiida_hardcoat.cli.entries", "The card of one entry."),
    "compare": ("aiida_hardcoat.cli.compare", "Computed against learned moduli."),
    "table": ("aiida_hardcoat.cli.table", "The study's tables from the catalogue, at one level of theory."),
    "plot": ("aiida_hardcoat.cli.plot", "Figures of the catalogue, at one level of theory."),
    "bundle": ("aiida_hardcoat.cli.bundle", "Share entries: create, verify and import bundles."),
    "site": ("aiida_hardcoat.cli.site", "The catalogue as a web page that works offline."),
    "optimade": ("aiida_hardcoat.cli.optimade", "Serve the catalogue to OPTIMADE clients, read-only."),
    "tensor": ("aiida_hardcoat.cli.tensor", "What follows from any elastic tensor; needs no profile."),
    "ml": ("aiida_hardcoat.cli.ml", "Learned moduli: data, training, evaluation, prediction."),
}


@click.group("hardcoat", cls=LazyGroup, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-p", "--profile", metavar="NAME", help="AiiDA profile to use instead of the default one.")
@click.version_option(__version__, prog_name="hardcoat")
@click.pass_context
def cmd_root(ctx: click.Context, profile: str | None) -> None:
    """Elastic constants of hard-coating alloys, traceable to the calculations that made them."""
    ctx.meta["hardcoat.profile"] = profile
    # AiiDA makes its folder when it is first imported, and warns of it.
    warnings.filterwarnings("ignore", message="Creating AiiDA configuration folder")


def main() -> None:
    """Entry point of the console script."""
    from aiida_hardcoat.cli.errors import storage_errors

    with storage_errors():
        cmd_root()
