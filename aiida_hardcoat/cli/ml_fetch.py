"""``hardcoat ml fetch``: the data that networks are trained on, from the Materials Project."""

from __future__ import annotations

from pathlib import Path

import click

from aiida_hardcoat.cli.errors import user_errors


@click.command("fetch")
@click.argument("output", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--elements", metavar="A,B,...", help="Keep only crystals made of these, e.g. Ti,Al,N,C.")
@click.option("--max-atoms", type=click.IntRange(min=1), help="Keep only cells of at most so many atoms.")
@user_errors()
def cmd_fetch(output: Path, elements: str | None, max_atoms: int | None) -> None:
    """Download all elastic tensors of the Materials Project with their structures into OUTPUT.jsonl[.xz|.gz].

    The key is mp-api's: MP_API_KEY, or PMG_MAPI_KEY in pymatgen's settings. After an interrupt or a broken connection
    the same command goes on from what has arrived. A card of the data is written beside OUTPUT.
    """
    from hardcoat_ml.cleaning import clean
    from hardcoat_ml.data import load_entries
    from hardcoat_ml.dataset_card import ATTRIBUTION, card_markdown, dataset_card
    from hardcoat_ml.fetch import Filters, fetch

    symbols = tuple(symbol.strip() for symbol in elements.split(",")) if elements else ()
    fetched = fetch(output, Filters(symbols, max_atoms))
    click.echo(f"{output}: {fetched.entries:,} entries of database version {fetched.database_version or 'unknown'}")
    click.echo(f"Left out: {counts(fetched.left_out)}")
    entries, removed = clean(load_entries(output))
    click.echo(f"Training on it will use {len(entries):,}; the cleaning rules remove: {counts(removed)}")
    if entries:
        card = output.with_name(output.name.partition(".jsonl")[0] + ".card.md")
        card.write_text(card_markdown(dataset_card(entries, None, None, removed)), encoding="utf-8")
        click.echo(f"Card: {card}")
    click.echo(ATTRIBUTION)


def counts(numbers: dict[str, int]) -> str:
    """Those that are not zero, as ``deprecated 12, no moduli 3``."""
    return ", ".join(f"{name} {number:,}" for name, number in numbers.items() if number) or "nothing"
