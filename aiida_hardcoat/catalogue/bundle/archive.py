"""An AiiDA archive from elsewhere: looked at without AiiDA first, then opened for reading.

The checks keep out what AiiDA would take as it comes: node types whose loading or use runs code, names of files that
lead out of a folder when they are copied, groups, logs and comments that no bundle holds.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from aiida.common.exceptions import AiidaException
from aiida.orm import QueryBuilder
from aiida.orm.implementation import StorageBackend
from aiida.tools.archive.abstract import get_format

from aiida_hardcoat.catalogue.bundle.containers import CHUNK, DAMAGED, check_members, copy_limited
from aiida_hardcoat.catalogue.bundle.findings import RefusedBundleError
from aiida_hardcoat.data.catalogue import CatalogueGroup
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PredictionData

ENTRY_TYPE, PREDICTION_TYPE = ElasticData.class_node_type, PredictionData.class_node_type

NODE_TYPES = frozenset(
    {
        ENTRY_TYPE,
        PREDICTION_TYPE,
        *(
            f"data.core.{name}."
            for name in (
                "array.ArrayData",
                "array.bands.BandsData",
                "array.kpoints.KpointsData",
                "array.projection.ProjectionData",
                "array.trajectory.TrajectoryData",
                "array.xy.XyData",
                "bool.Bool",
                "code.containerized.ContainerizedCode",
                "code.installed.InstalledCode",
                "dict.Dict",
                "float.Float",
                "folder.FolderData",
                "int.Int",
                "list.List",
                "remote.RemoteData",
                "singlefile.SinglefileData",
                "str.Str",
                "structure.StructureData",
            )
        ),
        "data.pseudo.upf.UpfData.",
        "data.vasp.potcar.PotcarData.",  # names a potential; the licensed file is another node
        "process.calculation.calcfunction.CalcFunctionNode.",
        "process.calculation.calcjob.CalcJobNode.",
        "process.workflow.workchain.WorkChainNode.",
        "process.workflow.workfunction.WorkFunctionNode.",
    }
)
"""What the engines of this package make."""

PROCESS_TYPE = re.compile(
    r"(aiida\.(calculations|workflows):(core|hardcoat|quantumespresso|vasp)(\.\w+)+"
    r"|aiida_(hardcoat|quantumespresso|vasp)(\.\w+)+)?"
)
"""Process types are names that AiiDA imports; a test's nodes have none."""

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
KEY = re.compile(r"[0-9a-f]{64}")
EMPTY_TABLES = ("db_dbauthinfo", "db_dbcomment", "db_dblog")
DATABASE, METADATA = "db.sqlite3", "metadata.json"


@contextmanager
def readable(path: Path) -> Iterator[Path]:
    """An archive after all checks, or a migrated copy of one of an earlier AiiDA.

    :raises RefusedBundleError: naming what must not be there, or for an archive of a newer AiiDA.
    """
    with tempfile.TemporaryDirectory(prefix="hardcoat-archive-") as temporary:
        try:
            sound = checked(path, Path(temporary))
        except (*DAMAGED, RecursionError, KeyError, sqlite3.DatabaseError, AiidaException) as error:
            if isinstance(error, RefusedBundleError):
                raise
            raise RefusedBundleError(f"the archive cannot be read: {' '.join(str(error).split())}") from None
        yield sound


@contextmanager
def opened(path: Path) -> Iterator[StorageBackend]:
    """The storage of an archive, after all checks, for reading."""
    with readable(path) as sound, get_format().open(sound, "r") as reader:
        yield reader.get_backend()


def checked(path: Path, temporary: Path) -> Path:
    """The archive, or its migrated copy, after all checks."""
    version = check_container(path)
    if version != get_format().latest_version:
        migrated = temporary / "migrated.aiida"
        get_format().migrate(path, migrated, get_format().latest_version)
        path = migrated
    with zipfile.ZipFile(path) as container:
        keys = {info.filename.removeprefix("repo/") for info in container.infolist() if not info.is_dir()}
        with container.open(DATABASE) as source:
            copy_limited(source, temporary / DATABASE, container.getinfo(DATABASE).file_size)
    with closing(sqlite3.connect(f"file:{temporary / DATABASE}?mode=ro&immutable=1", uri=True)) as database:
        database.execute("PRAGMA trusted_schema=OFF")
        check_database(database, keys - {DATABASE, METADATA})
    (temporary / DATABASE).unlink()
    return path


def check_container(path: Path) -> str:
    """The archive's members: their names, their sizes, and that each file has the content that it is named by.

    :return: the version of the format.
    """
    with zipfile.ZipFile(path) as container:
        infos = container.infolist()
        check_members(infos)
        for info in infos:
            key = info.filename.removeprefix("repo/")
            if info.filename in (DATABASE, METADATA, "repo/"):
                continue
            if key == info.filename or not KEY.fullmatch(key):
                raise RefusedBundleError(f"member '{info.filename}' is no file of an archive: refused")
            with container.open(info) as stream:
                digest = hashlib.sha256()
                while chunk := stream.read(CHUNK):
                    digest.update(chunk)
            if digest.hexdigest() != key:
                raise RefusedBundleError(
                    f"the file '{info.filename}' was altered: its content is not what it is named by"
                )
        return format_version(json.loads(container.read(METADATA)) if METADATA in container.namelist() else None)


def format_version(metadata: Any) -> str:
    """Version of the archive's format, one that this AiiDA knows."""
    from aiida.storage.sqlite_zip.migrator import list_versions

    version = metadata.get("export_version") if isinstance(metadata, dict) else None
    if not isinstance(version, str):
        raise RefusedBundleError("the archive says nothing of its format: refused")
    if version not in list_versions():
        raise RefusedBundleError(
            f"the archive is of AiiDA {metadata.get('aiida_version')} (format {version}), newer than this one reads "
            f"(format {get_format().latest_version}): pip install -U aiida-core"
        )
    return version


def check_database(database: sqlite3.Connection, keys: set[str]) -> None:
    """Types, names and tables of an archive's database.

    :param keys: of the files in the archive.
    :raises RefusedBundleError: naming the first that no bundle holds.
    """
    [(integrity,)] = database.execute("PRAGMA quick_check(1)").fetchall()
    if integrity != "ok":
        raise RefusedBundleError(f"the archive's database is damaged: {integrity}")
    for kind, name in database.execute("SELECT type, name FROM sqlite_master WHERE type NOT IN ('table', 'index')"):
        raise RefusedBundleError(f"the archive's database holds a {kind} '{name}': refused")
    for table in EMPTY_TABLES:
        if database.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone():
            raise RefusedBundleError(f"the archive holds rows of {table}, which no bundle does: refused")
    for uuid, node_type, process_type, files, valid in database.execute(
        "SELECT uuid, node_type, process_type, repository_metadata, json_type(attributes) FROM db_dbnode"
    ):
        if not UUID.fullmatch(str(uuid)):
            raise RefusedBundleError(f"a node has the UUID {uuid!r}: refused")
        if node_type not in NODE_TYPES:
            raise RefusedBundleError(f"node {uuid} is of the type {node_type!r}, which no bundle holds: refused")
        if not PROCESS_TYPE.fullmatch(process_type or ""):
            raise RefusedBundleError(f"node {uuid} is of the process {process_type!r}, which no bundle holds: refused")
        if valid != "object":
            raise RefusedBundleError(f"the attributes of node {uuid} are no object: refused")
        check_files(uuid, json.loads(files), keys)
    check_groups(database)


def check_files(uuid: str, folder: Any, keys: set[str]) -> None:
    """Names and keys of a node's files, folder by folder."""
    if not isinstance(folder, dict) or not isinstance(folder.get("o", {}), dict):
        raise RefusedBundleError(f"the files of node {uuid} are listed in an unknown way: refused")
    for name, item in folder.get("o", {}).items():
        if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise RefusedBundleError(f"node {uuid} holds a file named {name!r}, which leads out of its folder: refused")
        if isinstance(item, dict) and "k" in item:
            if item["k"] not in keys:
                raise RefusedBundleError(f"the file '{name}' of node {uuid} is missing from the archive")
        else:
            check_files(uuid, item, keys)


def check_groups(database: sqlite3.Connection) -> None:
    """That there is one group, the catalogue, of entries and predictions."""
    groups = database.execute("SELECT id, type_string FROM db_dbgroup").fetchall()
    if [kind for _, kind in groups] != [CatalogueGroup._type_string]:
        raise RefusedBundleError(f"the archive holds {len(groups)} groups, a bundle's holds one catalogue: refused")
    members = database.execute(
        "SELECT DISTINCT node_type FROM db_dbnode JOIN db_dbgroup_dbnodes ON db_dbnode.id = dbnode_id"
    )
    for (kind,) in members:
        if kind not in (ENTRY_TYPE, PREDICTION_TYPE):
            raise RefusedBundleError(f"the archive's catalogue holds nodes of the type {kind!r}: refused")


def entries_of(backend: StorageBackend, *, members: bool = False) -> Iterator[ElasticData]:
    """The entries of an archive by label and UUID, all or those of its catalogue."""
    return nodes_of(backend, ElasticData, members)


def predictions_of(backend: StorageBackend, *, members: bool = False) -> Iterator[PredictionData]:
    """The predictions of an archive, likewise."""
    return nodes_of(backend, PredictionData, members)


def nodes_of(backend: StorageBackend, kind: type, members: bool) -> Iterator[Any]:
    query = QueryBuilder(backend=backend)
    if members:
        query.append(CatalogueGroup, tag="group").append(kind, with_group="group", tag="node", project="*")
    else:
        query.append(kind, tag="node", project="*")
    query.order_by({"node": ["label", "uuid"]})
    return (node for [node] in query.iterall(batch_size=100))
