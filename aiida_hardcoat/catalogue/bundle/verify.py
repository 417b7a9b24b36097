"""Check a bundle against itself: files, provenance, and every number against what it was computed from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aiida.orm import Data, Node, QueryBuilder
from aiida.orm.implementation import StorageBackend

from aiida_hardcoat import __version__
from aiida_hardcoat.catalogue.bundle.archive import entries_of, opened, predictions_of
from aiida_hardcoat.catalogue.bundle.checksums import checksum_findings
from aiida_hardcoat.catalogue.bundle.containers import unpacked
from aiida_hardcoat.catalogue.bundle.derivation import (
    entry_findings,
    prediction_findings,
    refit_findings,
    repeated_findings,
    with_origins,
)
from aiida_hardcoat.catalogue.bundle.findings import Finding, RefusedBundleError
from aiida_hardcoat.catalogue.bundle.fingerprint import archive_lines, fingerprint
from aiida_hardcoat.catalogue.bundle.layout import ARCHIVE, MANIFEST, NODES
from aiida_hardcoat.catalogue.bundle.manifest import Manifest, describe, manifest_findings, read_manifest
from aiida_hardcoat.catalogue.bundle.quiet import quiet
from aiida_hardcoat.catalogue.bundle.tables import table_findings, table_rows
from aiida_hardcoat.catalogue.bundle.texts import LICENCES, text_findings
from aiida_hardcoat.catalogue.bundle.views import view_findings
from aiida_hardcoat.engines.dry_profile import some_profile


@dataclass
class Report:
    """What was checked of a bundle, and what does not hold.

    :ivar checked: how many of each were looked at.
    :ivar notes: what could not be checked, and why.
    """

    title: str
    fingerprint: str
    checked: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.findings

    def count(self, what: str, number: int = 1) -> None:
        self.checked[what] = self.checked.get(what, 0) + number

    def as_dict(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self)}


def verify_bundle(path: Path, *, refit: bool = True, models: bool = False, expect: str | None = None) -> Report:
    """Check a bundle: a folder, or a zip or tar.gz of one. No profile is needed, none is changed.

    :param refit: fit every tensor again to the archived strained cells.
    :param models: let the learned models predict again, where they are at hand.
    :param expect: a fingerprint that was published elsewhere.
    :raises InputError: for what is no bundle; `RefusedBundleError` for one that cannot be unpacked safely.
    """
    with unpacked(path) as folder, quiet(), some_profile():
        report = verify_folder(folder, refit=refit, models=models, expect=expect)
        if report.ok and read_manifest(folder)["versions"]["aiida-hardcoat"] == __version__:
            report.findings += view_findings(folder / ARCHIVE, folder)
        return report


def verify_folder(folder: Path, *, refit: bool = True, models: bool = False, expect: str | None = None) -> Report:
    """What decides whether to import: all but the OPTIMADE and chemiscope files, of which no import reads anything."""
    manifest = read_manifest(folder)
    report = Report(manifest["title"], manifest["fingerprint"])
    report.findings += checksum_findings(folder)
    if expect is not None and expect.lower() != manifest["fingerprint"]:
        problem = "is not the one that was asked for"
        report.findings.append(Finding(MANIFEST, problem, None, "fingerprint", manifest["fingerprint"], expect))
    try:
        with opened(folder / ARCHIVE) as backend:
            check_nodes(backend, folder, manifest, report)
            check_entries(backend, report, refit)
            check_predictions(backend, report, models)
            check_derived_files(backend, folder, manifest, report)
    except RefusedBundleError as error:
        report.findings.append(Finding(ARCHIVE, str(error), refused=True))
    return report


def check_nodes(backend: StorageBackend, folder: Path, manifest: Manifest, report: Report) -> None:
    """Content of every node against the noted, and AiiDA's hashes of data against their content."""
    lines = list(archive_lines(backend))
    report.count("nodes", len(lines) - 1)
    if (folder / NODES).is_file():
        noted = (folder / NODES).read_text(encoding="utf-8", errors="replace").splitlines()
        report.findings += line_findings(backend, lines, noted)
    if (total := fingerprint(lines)) != manifest["fingerprint"]:
        problem = "is not that of the archive"
        report.findings.append(Finding(MANIFEST, problem, None, "fingerprint", manifest["fingerprint"], total))
    made_with = manifest["versions"]["aiida-core"]
    if made_with != version("aiida-core"):
        report.notes.append(f"node hashes are those of aiida-core {made_with} and were not compared")
        return
    for [node] in QueryBuilder(backend=backend).append(Data).iterall(batch_size=100):
        stored = node.base.caching.get_hash()
        if stored is not None:  # an import leaves them out
            report.count("hashes")
            if (computed := node.base.caching.compute_hash()) != stored:
                problem = "the node was altered: its hash is not that of its content"
                report.findings.append(Finding(name_of(node), problem, node.uuid, "_aiida_hash", stored, computed))


def name_of(node: Node) -> str:
    return node.label or type(node).__name__


def line_findings(backend: StorageBackend, lines: Iterable[str], noted: Iterable[str]) -> Iterator[Finding]:
    """Nodes whose noted hash is another, or that only the archive or only the note has."""
    there, listed = by_uuid(lines), by_uuid(noted)
    for uuid in sorted(there.keys() | listed.keys()):
        if there.get(uuid) == listed.get(uuid):
            continue
        if uuid == "catalogue":
            yield Finding("catalogue", f"its members are not those that {NODES} notes")
        elif uuid not in there:
            yield Finding(NODES, "a line of no node in the archive", uuid)
        else:
            [node] = QueryBuilder(backend=backend).append(Node, filters={"uuid": uuid}).all(flat=True)
            altered, added = f"the node was altered: its content is not that in {NODES}", f"the node is not in {NODES}"
            yield Finding(name_of(node), altered if uuid in listed else added, uuid)


def by_uuid(lines: Iterable[str]) -> dict[str, str]:
    parts = (line.strip().partition("  ") for line in lines)
    return {uuid: digest for digest, _, uuid in parts}


def check_entries(backend: StorageBackend, report: Report, refit: bool) -> None:
    for entry, origin in with_origins(entries_of(backend)):
        report.count("entries")
        report.findings += entry_findings(entry)
        if not refit:
            continue
        found = refit_findings(entry, origin)
        if found is None:
            report.count("entries_without_cells")
        else:
            report.count("refitted")
            known = {(finding.uuid, finding.field) for finding in report.findings}
            report.findings += (finding for finding in found if (finding.uuid, finding.field) not in known)
    if missing := report.checked.get("entries_without_cells"):
        report.notes.append(f"{missing} entries were not fitted again: the archive holds no strained cells of theirs")


def check_predictions(backend: StorageBackend, report: Report, models: bool) -> None:
    for prediction, origin in with_origins(predictions_of(backend)):
        report.count("predictions")
        report.findings += prediction_findings(prediction, origin)
        found = repeated_findings(prediction, origin) if models else None
        if found is not None:
            report.count("predicted_again")
            report.findings += found


def check_derived_files(backend: StorageBackend, folder: Path, manifest: Manifest, report: Report) -> None:
    """Tables, counts and texts against the archive."""
    if any(finding.uuid is not None for finding in report.findings):
        report.notes.append("tables and counts were not compared, since nodes were altered")
        return
    rows = table_rows(backend)
    report.count("rows", len(rows))
    report.findings += table_findings(rows, folder)
    derived = describe(backend, rows, manifest["fingerprint"])
    report.findings += manifest_findings(manifest, derived)
    if manifest["licence"] not in LICENCES:
        report.findings.append(Finding(MANIFEST, "is unknown", None, "licence", manifest["licence"], list(LICENCES)))
    elif (made_with := manifest["versions"]["aiida-hardcoat"]) == __version__:
        report.findings += text_findings({**manifest, **derived}, folder)
    else:
        report.notes.append(
            f"texts, OPTIMADE and chemiscope files are of aiida-hardcoat {made_with}: only checksums were compared"
        )
