"""Names of the files of a bundle."""

from __future__ import annotations

SCHEMA = "hardcoat-bundle"
SCHEMA_VERSION = 1

ARCHIVE = "catalogue.aiida"
NODES = "nodes.sha256"
TABLE_CSV, TABLE_PARQUET = "entries.csv", "entries.parquet"
OPTIMADE_CONFIG, OPTIMADE_DATA = "optimade.yaml", "optimade.jsonl"
CHEMISCOPE = "catalogue.chemiscope.json.gz"
MANIFEST, README, CITATION, LICENCE = "manifest.json", "README.md", "CITATION.cff", "LICENSE"
CHECKSUMS = "SHA256SUMS"

CONTENT = (
    ARCHIVE,
    NODES,
    TABLE_CSV,
    TABLE_PARQUET,
    OPTIMADE_CONFIG,
    OPTIMADE_DATA,
    CHEMISCOPE,
    MANIFEST,
    README,
    CITATION,
    LICENCE,
)
"""What :data:`CHECKSUMS` covers."""

FILES = (*CONTENT, CHECKSUMS)
