"""The card that says what a data set is: source, licence, what was removed, split, ranges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardcoat_ml.cleaning import RULES, Rule
from hardcoat_ml.data import PARTS, Entry, fingerprint, unseen
from hardcoat_ml.elements import SYMBOLS

HELD_OUT = "held out"
LICENCE = "CC BY 4.0"
ATTRIBUTION = (
    "Data of the Materials Project, https://materialsproject.org, licensed under CC BY 4.0. "
    "A. Jain et al., APL Materials 1, 011002 (2013), doi 10.1063/1.4812323; "
    "M. de Jong et al., Scientific Data 2, 150009 (2015), doi 10.1038/sdata.2015.9."
)


def dataset_card(
    entries: Sequence[Entry],
    parts: NDArray[np.int8] | None,
    seed: int | None,
    removed: Mapping[str, int],
    rules: Sequence[Rule] = RULES,
) -> dict[str, Any]:
    """What a data set is, for people and for the cards of models trained on it; JSON holds it as it is.

    :param entries: those that `clean` kept.
    :param parts: of the split with this seed, or None for a set that is not split; numbers beyond `PARTS` are held out.
    :param removed: what `clean` counted.
    """
    holding = Counter(symbol for entry in entries for symbol in {SYMBOLS[number] for number in entry.crystal.numbers})
    return {
        "source": "Materials Project",
        "licence": LICENCE,
        "attribution": ATTRIBUTION,
        "database_versions": dict(sorted(Counter(entry.database_version or "not stated" for entry in entries).items())),
        "releases": dict(sorted(Counter(entry.source for entry in entries).items())),
        "fingerprint": fingerprint(entries),
        "read": len(entries) + sum(removed.values()),
        "removed": {
            rule.name: {"count": removed[rule.name], "rule": str(rule)} for rule in rules if rule.name in removed
        },
        "entries": len(entries),
        "formulas": len({entry.formula for entry in entries}),
        "with_tensor": sum(entry.elastic_tensor is not None for entry in entries),
        "elements": {symbol: holding[symbol] for symbol in SYMBOLS if symbol in holding},
        "split": None if parts is None else _split_card(entries, parts, seed),
        "ranges": {
            "bulk_modulus_GPa": _range([entry.bulk_modulus for entry in entries]),
            "shear_modulus_GPa": _range([entry.shear_modulus for entry in entries]),
            "atoms_per_cell": _range([len(entry.crystal.numbers) for entry in entries]),
        },
    }


def _split_card(entries: Sequence[Entry], parts: NDArray[np.int8], seed: int | None) -> dict[str, Any]:
    names = [PARTS[part] if part < len(PARTS) else HELD_OUT for part in parts]
    sizes = {}
    for name in (*PARTS, HELD_OUT):
        formulas = [entry.formula for entry, own in zip(entries, names, strict=True) if own == name]
        sizes[name] = {"entries": len(formulas), "formulas": len(set(formulas))}
    return {"seed": seed, "by": "formula", "parts": sizes, "unseen_elements": int(unseen(entries, parts).sum())}


def _range(values: Sequence[float]) -> dict[str, float]:
    return {
        "smallest": float(np.min(values)),
        "median": float(np.median(values)),
        "mean": float(np.mean(values)),
        "largest": float(np.max(values)),
    }


def card_markdown(card: Mapping[str, Any]) -> str:
    """The card of `dataset_card` to read."""
    lines = [
        "# Data set of elastic moduli",
        "",
        f"{card['attribution']} Licence: {card['licence']}.",
        "",
        f"- {card['entries']:,} entries of {card['formulas']:,} formulas; {card['with_tensor']:,} with their tensor",
        f"- database versions: {_counts(card['database_versions'])}",
        f"- releases: {_counts(card['releases'])}",
        f"- fingerprint (SHA-256): `{card['fingerprint']}`",
        f"- {len(card['elements'])} elements (entries that hold each): {_counts(card['elements'])}",
        "",
        f"## Removed from {card['read']:,} entries",
        "",
        "| rule | an entry is removed when | removed |",
        "|---|---|---:|",
        *(f"| {name} | {rule['rule']} | {rule['count']:,} |" for name, rule in card["removed"].items()),
        "",
        *_split_markdown(card["split"]),
        "## Ranges",
        "",
        "| quantity | smallest | median | mean | largest |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {name.replace('_', ' ')} | " + " | ".join(f"{value:.4g}" for value in values.values()) + " |"
            for name, values in card["ranges"].items()
        ),
    ]
    return "\n".join(lines) + "\n"


def _split_markdown(split_card: Mapping[str, Any] | None) -> list[str]:
    if split_card is None:
        return []
    parts = split_card["parts"].items()
    return [
        f"## Split by {split_card['by']}, seed {split_card['seed']}",
        "",
        "| part | entries | formulas |",
        "|---|---:|---:|",
        *(f"| {name} | {size['entries']:,} | {size['formulas']:,} |" for name, size in parts if size["entries"]),
        "",
        f"Entries outside training that hold an element which training lacks: {split_card['unseen_elements']:,}.",
        "",
    ]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
