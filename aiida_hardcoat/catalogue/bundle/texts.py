"""README, citation and licence of a bundle: made from its manifest alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from aiida_hardcoat.catalogue.bundle.findings import Finding
from aiida_hardcoat.catalogue.bundle.layout import CITATION, LICENCE, README
from aiida_hardcoat.catalogue.bundle.manifest import Manifest
from aiida_hardcoat.errors import InputError, nearest

LICENCES = {
    "CC-BY-4.0": (
        "Creative Commons Attribution 4.0 International (CC BY 4.0)",
        "https://creativecommons.org/licenses/by/4.0/",
    ),
    "CC-BY-SA-4.0": (
        "Creative Commons Attribution-ShareAlike 4.0 International (CC BY-SA 4.0)",
        "https://creativecommons.org/licenses/by-sa/4.0/",
    ),
    "CC0-1.0": (
        "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication",
        "https://creativecommons.org/publicdomain/zero/1.0/",
    ),
}
"""By SPDX identifier: name and address of the text."""

STUDY = {
    "type": "article",
    "title": "Predicting elastic properties of hard-coating alloys using ab-initio and machine learning methods",
    "authors": [
        {"family-names": family, "given-names": given}
        for given, family in (
            ("Henrik", "Levämäki"),
            ("Ferenc", "Tasnádi"),
            ("Davide G.", "Sangiovanni"),
            ("Leif J. I.", "Johnson"),
            ("Rickard", "Armiento"),
            ("Igor A.", "Abrikosov"),
        )
    ],
    "journal": "npj Computational Materials",
    "volume": 8,
    "start": 17,
    "year": 2022,
    "doi": "10.1038/s41524-022-00698-7",
}


def check_licence(licence: str) -> None:
    if licence not in LICENCES:
        raise InputError(f"unknown licence '{licence}': {nearest(licence, list(LICENCES))}")


def texts(manifest: Manifest) -> dict[str, str]:
    """The text files, by name."""
    return {README: readme(manifest), CITATION: citation(manifest), LICENCE: licence_notice(manifest)}


def write_texts(manifest: Manifest, folder: Path) -> None:
    for name, text in texts(manifest).items():
        (folder / name).write_text(text, encoding="utf-8")


def text_findings(manifest: Manifest, folder: Path) -> Iterator[Finding]:
    """Text files that are not those of the manifest; meaningful for a bundle of this very version."""
    for name, text in texts(manifest).items():
        if (folder / name).is_file() and (folder / name).read_bytes() != text.encode():
            yield Finding(name, "is not what the manifest gives")


def licence_notice(manifest: Manifest) -> str:
    name, address = LICENCES[manifest["licence"]]
    who = "; ".join(manifest["authors"])
    return (
        f"{manifest['title']}\n\nby {who}\n\n"
        f"This work is licensed under {name}.\nTo view a copy of this licence, visit {address}\n"
    )


def citation(manifest: Manifest) -> str:
    """In the Citation File Format 1.2.0, with the study and this package as references."""
    whole = {
        "cff-version": "1.2.0",
        "message": "If you use these data, please cite them, the study that they start from, and the software.",
        "title": manifest["title"],
        "type": "dataset",
        "license": manifest["licence"],
        "authors": [author(text) for text in manifest["authors"]],
        "keywords": ["elastic constants", "hard coatings", "special quasirandom structures", "AiiDA"],
        "identifiers": [
            {
                "type": "other",
                "value": f"sha256:{manifest['fingerprint']}",
                "description": "Content fingerprint, recomputed by `hardcoat bundle verify`",
            }
        ],
        "references": [
            STUDY,
            {
                "type": "software",
                "title": "aiida-hardcoat",
                "version": manifest["versions"]["aiida-hardcoat"],
                "authors": [{"name": "The aiida-hardcoat developers"}],
            },
        ],
    }
    return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=120)


def author(text: str) -> dict[str, str]:
    """A person where written ``Family, Given``, else a name as it stands."""
    family, comma, given = (part.strip() for part in text.partition(","))
    return {"family-names": family, "given-names": given} if comma and given else {"name": text}


def readme(manifest: Manifest) -> str:
    used = manifest["versions"]
    blocks = [
        f"# {manifest['title']}",
        f"{manifest['entries']} entries with elastic constants of hard-coating alloys and {manifest['predictions']} "
        f"predictions of learned moduli, with everything they were computed from ({manifest['nodes']} nodes). By "
        f"{'; '.join(manifest['authors'])}; licence {manifest['licence']}, see `LICENSE`. How to cite: `CITATION.cff`.",
        f"Fingerprint: `{manifest['fingerprint']}`  \n"
        f"Fingerprint of the values alone: `{manifest['entries_fingerprint']}`",
        "## Use",
        "```console\n"
        "$ sha256sum -c SHA256SUMS             # the files are whole\n"
        "$ pip install aiida-hardcoat\n"
        "$ hardcoat bundle verify .            # every number follows from what it was computed from\n"
        "$ hardcoat setup                      # a profile, if there is none\n"
        "$ hardcoat bundle import .\n"
        "$ hardcoat list\n"
        "$ hardcoat table 2\n"
        "```",
        "Checksums and fingerprint tell of accidents and of changed values; they are no signature. Compare the "
        "fingerprint with one that you got another way, e.g. printed in the article: "
        "`hardcoat bundle verify . --expect FINGERPRINT`.",
        "## Files",
        table(
            ("file", "what it is"),
            [
                (
                    "`catalogue.aiida`",
                    "AiiDA archive: entries and predictions with their provenance. The other files are made from it",
                ),
                ("`nodes.sha256`", "a hash of every node's content; its own sha256 is the fingerprint"),
                ("`entries.csv`, `entries.parquet`", "a row for each entry, all digits; GPa, eV, Angstrom"),
                ("`optimade.yaml`, `optimade.jsonl`", "structures and properties for an OPTIMADE server"),
                ("`catalogue.chemiscope.json.gz`", "for https://chemiscope.org"),
                ("`manifest.json`", "counts, levels of theory, models, versions"),
            ],
        ),
        "## Entries",
        table(
            ("structure", "ions", "level of theory", "fingerprint", "entries", "with prediction"),
            [
                (
                    *(row["structure_type"], row["ions"], row["level"], f"`{row['level_fingerprint']}`"),
                    *(row["entries"], row["with_prediction"]),
                )
                for row in manifest["counts"]
            ],
        ),
        "Entries of different fingerprints are never compared as one level of theory.",
        "## Levels of theory",
        *(level_block(level) for level in manifest["levels"]),
        *models_blocks(manifest["models"]),
        "## Versions",
        f"aiida-hardcoat {used['aiida-hardcoat']}, aiida-core {used['aiida-core']}, archive format "
        f"{used['archive_format']}.",
        "The archive holds what AiiDA stores of a run: e-mail address of the profile's user, names and paths of "
        "computers, codes and scratch folders. Comments and logs are left out.",
    ]
    return "\n\n".join(blocks) + "\n"


def level_block(level: dict[str, Any]) -> str:
    facts = [f"- {name.replace('_', ' ')}: {shown(value)}" for name, value in level["details"].items() if value != {}]
    facts += [f"- computed with: {shown(software)}" for software in level["computed_with"] if software]
    return f"**{level['level']}** (`{level['level_fingerprint']}`, {level['entries']} entries)\n\n" + "\n".join(facts)


def models_blocks(models: list[dict[str, Any]]) -> list[str]:
    rows = [
        (model["name"], model["version"], f"`{model['sha256']}`", f"`{model['fingerprint']}`", model["predictions"])
        for model in models
    ]
    header = ("model", "version", "sha256 of the weights", "fingerprint", "predictions")
    return ["## Learned models", table(header, rows)] if rows else []


def shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {shown(item)}" for key, item in value.items())
    return ", ".join(map(shown, value)) if isinstance(value, list) else str(value)


def table(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
