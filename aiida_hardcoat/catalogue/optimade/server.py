"""A read-only OPTIMADE server of a copy of the catalogue, through the package ``optimade``."""

from __future__ import annotations

import hashlib
import importlib.util
import ipaddress
import json
import os
import socket
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiida.orm import QueryBuilder

from aiida_hardcoat import __version__
from aiida_hardcoat.catalogue.optimade.fields import PREFIX
from aiida_hardcoat.catalogue.optimade.files import DESCRIPTION, JSONL, write_optimade
from aiida_hardcoat.catalogue.selection import EMPTY
from aiida_hardcoat.data.catalogue import DEFAULT_LABEL, CatalogueGroup
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.errors import InputError

if TYPE_CHECKING:
    from fastapi import FastAPI

NEEDED = ("optimade", "fastapi", "mongomock", "uvicorn")
"""What the extra ``optimade`` brings."""

MANY = 3000
"""From here on a query of the database in memory takes about half a second."""


def check_installed() -> None:
    """:raises InputError: where the extra is not installed."""
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        raise InputError("this needs the optional package optimade: pip install 'aiida-hardcoat[optimade]'")


def catalogue_app(label: str = DEFAULT_LABEL) -> tuple[FastAPI, int]:
    """The server of the entries that the loaded profile holds now, and their number; the profile is only read.

    :raises InputError: for a catalogue without entries, or an entry whose calculation is not in the profile.
    """
    query = QueryBuilder().append(CatalogueGroup, filters={"label": label}, tag="group")
    entries: Sequence[ElasticData] = query.append(ElasticData, with_group="group", project="*").all(flat=True)
    if not entries:
        raise InputError(EMPTY)
    with tempfile.TemporaryDirectory() as folder:
        write_optimade(entries, Path(folder))
        return file_app(Path(folder) / JSONL)


def file_app(path: Path) -> tuple[FastAPI, int]:
    """The server of an ``optimade.jsonl``, and the number of its structures.

    The database is in memory unless ``OPTIMADE_DATABASE_BACKEND`` and ``OPTIMADE_MONGO_URI`` name a MongoDB server.

    :raises InputError: for a file that is not there or is none that this package wrote, or a server that is not there.
    """
    check_installed()
    fields, number, content = read_header(path)
    # Before the first import of the package, which opens a log in a system folder: there cannot be one below a file.
    os.environ.setdefault("OPTIMADE_LOG_DIR", os.devnull)
    os.environ.setdefault("OPTIMADE_LOG_LEVEL", "error")
    from optimade.server.config import ServerConfig
    from optimade.server.create_app import create_app
    from pymongo.errors import PyMongoError

    config = ServerConfig(
        insert_test_data=False,
        insert_from_jsonl=path.resolve(),
        # Databases are kept by name as long as they live: equal content may share one, other content may not.
        mongo_database=f"{PREFIX}_{content}",
        provider={"prefix": PREFIX, "name": "aiida-hardcoat", "description": DESCRIPTION},
        provider_fields={"structures": fields},
        implementation={"name": "aiida-hardcoat", "version": __version__},
    )
    try:
        return create_app(config), number
    except PyMongoError as error:  # of a database server that the environment names
        reason = str(error).partition(",")[0]
        raise InputError(f"the MongoDB server {config.mongo_uri} does not answer: {reason}") from None


def read_header(path: Path) -> tuple[list[dict[str, Any]], int, str]:
    """The provider fields that a JSONL file describes, the number of its structures, and a short hash of it.

    :raises InputError: as :func:`file_app`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}; `hardcoat bundle create DIR` writes one into DIR"
        ) from None
    try:
        header, info, *structures = content.splitlines()
        if "x-optimade" not in json.loads(header):
            raise ValueError
        properties = json.loads(info)["properties"]
        fields = [{"name": name, **definition} for name, definition in properties.items()]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"{path} is no OPTIMADE file of a hardcoat bundle: its first two lines say nothing") from None
    if not structures:
        raise InputError(f"{path} holds no structure")
    return fields, len(structures), hashlib.sha256(content).hexdigest()[:16]


def listen(host: str, port: int, public: bool = False) -> socket.socket:
    """A socket that listens, with 0 at a port that is free.

    :param public: whether an address may be one that other machines reach.
    :raises InputError: for such an address without ``public``, an unknown one, or a port that is taken.
    """
    try:
        [family, *_, address], *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, OverflowError):
        raise InputError(f"there is no address '{host}' here: 127.0.0.1 is this machine") from None
    if not public and not ipaddress.ip_address(address[0]).is_loopback:
        raise InputError(f"other machines can reach {host}: add --public if they may, or leave --host out")
    try:
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise InputError(f"cannot serve at {host} port {port}: {reason}; --port takes another one") from None


def serve(app: FastAPI, listener: socket.socket) -> None:
    """Answer until Ctrl-C."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
