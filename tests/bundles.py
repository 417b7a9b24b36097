"""What the tests of bundles share: entries to bundle, and hands that alter a bundle."""

import hashlib
import json
import shutil
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

from aiida import orm
from conftest import entry_values, linked, prediction_values, rocksalt

from aiida_hardcoat.calculations.elastic import level_fingerprint
from aiida_hardcoat.catalogue.bundle.archive import opened
from aiida_hardcoat.catalogue.bundle.checksums import write_checksums
from aiida_hardcoat.catalogue.bundle.create import write_tables_and_texts
from aiida_hardcoat.catalogue.bundle.layout import ARCHIVE
from aiida_hardcoat.catalogue.bundle.manifest import read_manifest
from aiida_hardcoat.catalogue.bundle.quiet import quiet
from aiida_hardcoat.data.elastic import ElasticData, entry_label
from aiida_hardcoat.data.prediction import PredictionData

LEVEL = {"engine": "ase", "model": "7net-l3i5"}


def consistent_values(**changes):
    """Fields of an entry of which every one follows from the others."""
    values = entry_values(volume_per_formula=20.0, level_fingerprint=level_fingerprint(LEVEL), **changes)
    return {**values, "formula": formula_of(values["fractions"])}


def formula_of(fractions):
    return "".join(metal if share == 1 else f"{metal}{share}" for metal, share in fractions.items()) + "N"


def stored_entry(structure=None, **changes):
    """A stored entry with its structure, as if it was computed."""
    values = consistent_values(**changes)
    return linked(structure or orm.StructureData(ase=rocksalt()), labelled(ElasticData(**values)))


def stored_prediction(entry, **changes):
    structure = entry.base.links.get_incoming().first().node.inputs.structure
    return linked(structure, labelled(PredictionData(**prediction_values(entry.fractions, **changes))))


def labelled(node):
    node.label = entry_label(node.structure_type, node.system, node.x)
    return node


def edited(bundle: Path, target: Path, edit) -> Path:
    """A copy of a bundle in which ``edit`` changed the archive's database, and nothing else was mended."""
    shutil.copytree(bundle, target)
    rewrite(target / ARCHIVE, edit)
    return target


def rewrite(archive: Path, edit=None, *, rename=None, more=()) -> None:
    """Pack an archive anew: its database edited, the names of members changed, members added."""
    with zipfile.ZipFile(archive) as old:
        members = [(info.filename, old.read(info)) for info in old.infolist()]
    database = archive.with_name("edited.sqlite3")
    packed = archive.with_name("packed.zip")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in members:
            if name == "db.sqlite3" and edit is not None:
                database.write_bytes(content)
                with closing(sqlite3.connect(database)) as connection, connection:
                    edit(connection)
                content = database.read_bytes()
                database.unlink()
            new.writestr((rename or {}).get(name, name), content)
        for name, content in more:
            new.writestr(name, content)
    packed.rename(archive)


def change_attributes(connection, uuid, change):
    """Let ``change`` alter the attributes of a node in place."""
    (text,) = connection.execute("SELECT attributes FROM db_dbnode WHERE uuid = ?", (uuid,)).fetchone()
    attributes = json.loads(text)
    change(attributes)
    connection.execute("UPDATE db_dbnode SET attributes = ? WHERE uuid = ?", (json.dumps(attributes), uuid))


def forge(bundle: Path) -> None:
    """Make everything that is derived from an archive again, as one would who wants an alteration to pass."""
    rewrite(bundle / ARCHIVE, lambda connection: connection.execute("UPDATE db_dbnode SET extras = '{}'"))
    manifest = read_manifest(bundle)
    chosen = {name: manifest[name] for name in ("title", "authors", "licence")}
    with quiet(), opened(bundle / ARCHIVE) as backend:
        write_tables_and_texts(backend, bundle, chosen)
    write_checksums(bundle)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
