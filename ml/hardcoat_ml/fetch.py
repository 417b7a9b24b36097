"""Elastic tensors with their structures from the Materials Project, through its own client mp-api.

What has arrived is kept beside the output in ``<output>.part``: its first line lists what to fetch, each further line
holds one finished chunk. The same command goes on from there, and the output appears whole, at the end, or not at all.
The key is left to mp-api: it is never read here, so it cannot be stored or shown.
"""

from __future__ import annotations

import gzip
import json
import lzma
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardcoat_ml.crystal import formula_of, from_pymatgen
from hardcoat_ml.data import AVERAGES
from hardcoat_ml.elements import SYMBOLS
from hardcoat_ml.errors import InputError

CHUNK = 100
"""Materials a request: as many ids as a URL takes."""
PAGE = 1000
MOST_PAGES = 10_000
SOURCE = "mp-api"
FIELDS = (
    "material_id",
    "deprecated",
    "state",
    "warnings",
    "fitting_method",
    "structure",
    "symmetry",
    "elastic_tensor",
    "bulk_modulus",
    "shear_modulus",
)
_OPENERS: dict[str, Callable[..., Any]] = {".jsonl": open, ".jsonl.xz": lzma.open, ".jsonl.gz": gzip.open}
_START = b'{"database_version": '
"""How every partial download begins."""
_KEY_ADVICE = "get a key at https://next-gen.materialsproject.org/api and set it: export MP_API_KEY=YOUR_KEY"


@dataclass(frozen=True)
class Filters:
    """Which crystals to keep; judged here, for the server's own filters of elasticity cannot be relied on.

    :ivar elements: symbols of which every crystal must consist; empty: all.
    :ivar max_atoms: largest number of atoms in the cell.
    """

    elements: tuple[str, ...] = ()
    max_atoms: int | None = None


@dataclass(frozen=True)
class Fetched:
    """What `fetch` did.

    :ivar left_out: materials by the reason why they are not in the file.
    """

    path: Path
    entries: int
    left_out: dict[str, int]
    database_version: str


def fetch(path: str | Path, filters: Filters = Filters(), *, endpoint: str | None = None) -> Fetched:
    """Download all elastic tensors that are not deprecated into a data set for `hardcoat_ml.data.load_entries`.

    :param path: ends in .jsonl, .jsonl.xz or .jsonl.gz.
    :param endpoint: of a server that speaks as the Materials Project does; by default mp-api's own setting.
    :raises InputError: no key or one that is refused, no connection, a database renewed since the download began, or
        an output that cannot be written. What has arrived stays for the next call.
    """
    output = Path(path)
    if unknown := [symbol for symbol in filters.elements if symbol not in SYMBOLS[1:]]:
        raise InputError(f"'{unknown[0]}' is no element: write symbols, such as Ti,Al,N.")
    opener = _opener(output)
    part = output.with_name(output.name + ".part")
    client = _client(endpoint)
    with client:
        chunks, left_out = _begin(client, part)
        finished = _finished(part)
        _download(client, part, chunks, finished)
        version = str(client.db_version)
    for chunk in finished.values():
        left_out.update(chunk["left_out"])
    rows = []
    for index in range(len(chunks)):
        for row in finished[index]["rows"]:
            if reason := _filtered(row, filters):
                left_out[reason] += 1
            else:
                rows.append(row)
    if not rows:
        raise InputError(f"No entry passes the filters; {part} keeps all: change them and run the command again.")
    _write(output, opener, rows)
    part.unlink()
    return Fetched(output, len(rows), dict(left_out), version)


def _opener(output: Path) -> Callable[..., Any]:
    """How to write the output, told by its name; what cannot be written is found before anything is fetched."""
    suffix = next((suffix for suffix in _OPENERS if output.name.endswith(suffix)), None)
    if suffix is None:
        raise InputError(f"{output} must end in .jsonl, .jsonl.xz or .jsonl.gz.")
    if output.exists():
        raise InputError(f"{output} exists: name another file, or move it away first.")
    if not output.parent.is_dir() or not os.access(output.parent, os.W_OK):
        raise InputError(f"The folder {output.parent} does not exist or cannot be written: make it first.")
    return _OPENERS[suffix]


# --- the server -------------------------------------------------------------------------------------------------------


def _client(endpoint: str | None) -> Any:
    """mp-api's client, which finds the key by itself."""
    try:
        from mp_api.client import MPRester
        from pymatgen.core import SETTINGS
    except ImportError:
        raise InputError("mp-api is not installed: pip install mp-api.") from None
    if not (os.environ.get("MP_API_KEY") or SETTINGS.get("PMG_MAPI_KEY")):
        raise InputError(f"No key of the Materials Project: {_KEY_ADVICE}.")
    with _server_errors(""), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MPRester(endpoint=endpoint, use_document_model=False, mute_progress_bars=True)


@contextmanager
def _server_errors(kept: str) -> Iterator[None]:
    """What goes wrong between here and the server as one line.

    It never holds the text of the exception: a key that cannot be sent as a header stands in it.
    """
    from mp_api.client.core.exceptions import MPRestError

    try:
        yield
    except (MPRestError, OSError, ValueError, KeyError, TypeError) as error:
        again = f"then run the same command again{kept}."
        text = str(error)
        found = re.search(r"status code (\d{3})", text)
        status = int(found[1]) if found else None
        if status in (401, 403) or "32 characters" in text or "header" in text.lower():
            message = f"The Materials Project refuses the key, it may have expired: {_KEY_ADVICE}; {again}"
        elif status in (404, 414, 422) or "does not support the request" in text:
            message = f"The server does not understand this mp-api: pip install --upgrade mp-api; {again}"
        elif status == 429 or "429 error" in text:
            message = f"The Materials Project has had too many requests: wait some minutes; {again}"
        elif status is not None:
            message = f"The Materials Project has a problem (status {status}): wait some minutes; {again}"
        elif isinstance(error, MPRestError | OSError):  # requests' own errors are of the latter
            message = f"The Materials Project cannot be reached: mend the connection; {again}"
        else:
            message = f"The server's answer cannot be read: is MP_API_ENDPOINT, or a proxy, in the way? If not, {again}"
        raise InputError(message) from None


def _listing(client: Any) -> tuple[list[str], Counter[str]]:
    """Ids of all tensors that are not deprecated, in the server's order, and how many others there are."""
    with _server_errors(""), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # A bound on the pages, which none reaches, keeps mp-api from downloading its whole bucket instead.
        documents = client.materials.elasticity.search(
            fields=["material_id", "deprecated"], chunk_size=PAGE, num_chunks=MOST_PAGES
        )
        total = client.materials.elasticity.count()
        deprecated = {str(document["material_id"]): bool(document.get("deprecated")) for document in documents}
    left_out = Counter({"deprecated": sum(deprecated.values()), "not listed": max(0, total - len(deprecated))})
    identifiers = [identifier for identifier, is_deprecated in deprecated.items() if not is_deprecated]
    if not identifiers:
        raise InputError("The server lists no elastic tensors: check MP_API_ENDPOINT.")
    return identifiers, +left_out


def _request(client: Any, identifiers: Sequence[str], kept: str) -> dict[str, Mapping[str, Any]]:
    """Documents by id; ids that were not asked for are dropped, whatever the server thinks of its filter."""
    from emmet.core.mpid import AlphaID

    with _server_errors(kept), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        documents = client.materials.elasticity.search(
            material_ids=list(identifiers), fields=list(FIELDS), chunk_size=PAGE, num_chunks=1
        )
        asked = {AlphaID(identifier): identifier for identifier in identifiers}  # one id has several spellings
        found = {asked.get(AlphaID(document["material_id"])): document for document in documents}
    return {identifier: document for identifier, document in found.items() if identifier is not None}


# --- what has arrived -------------------------------------------------------------------------------------------------


def _begin(client: Any, part: Path) -> tuple[list[list[str]], Counter[str]]:
    """The chunks to fetch and what is left out of them, from the file's first line or, at first, from the server."""
    lines = _whole_lines(part)
    if lines:
        first = _load(part, lines[0])
        if first["database_version"] != client.db_version:
            raise InputError(
                f"The Materials Project went from version {first['database_version']} to {client.db_version} since "
                f"this download began: delete {part} and run the same command again, to start anew."
            )
        return first["chunks"], Counter(first["left_out"])
    identifiers, left_out = _listing(client)
    chunks = [identifiers[start : start + CHUNK] for start in range(0, len(identifiers), CHUNK)]
    part.unlink(missing_ok=True)
    _append(part, {"database_version": client.db_version, "chunks": chunks, "left_out": left_out})
    return chunks, left_out


def _finished(part: Path) -> dict[int, dict[str, Any]]:
    records = [_load(part, line) for line in _whole_lines(part)[1:]]
    return {record["chunk"]: record for record in records}


def _whole_lines(part: Path) -> list[bytes]:
    """Lines of the file, from which a last one that a kill cut short is removed."""
    if not part.exists():
        return []
    content = part.read_bytes()
    if not content.startswith(_START[: len(content)]):
        raise InputError(f"{part} is not a download begun by this command: move it away.")
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(part, len(whole))
    return whole.splitlines()


def _load(part: Path, line: bytes) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(line)
    except ValueError:
        raise InputError(f"{part} is damaged: delete it and run the same command again, to start anew.") from None
    return record


def _append(part: Path, record: Mapping[str, Any]) -> None:
    try:
        with part.open("ab") as stream:
            stream.write(json.dumps(record).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise InputError(
            f"Cannot write {part}: {error.strerror or error}; mend that and run the same command again, it goes on."
        ) from None


def _download(client: Any, part: Path, chunks: Sequence[Sequence[str]], finished: dict[int, dict[str, Any]]) -> None:
    """Fetch the chunks that are not in ``finished`` and add them to it."""
    from tqdm import tqdm

    total = sum(map(len, chunks))
    done = sum(len(chunks[index]) for index in finished)
    with tqdm(total=total, initial=done, unit="entry", desc="Materials Project", disable=None) as bar:
        for index, identifiers in enumerate(chunks):
            if index in finished:
                continue
            documents = _request(client, identifiers, f", it goes on: {part} keeps {done} of {total} entries")
            finished[index] = {"chunk": index, **_rows(identifiers, documents, client.db_version)}
            _append(part, finished[index])
            done += len(identifiers)
            bar.update(len(identifiers))


# --- rows -------------------------------------------------------------------------------------------------------------


def _rows(identifiers: Sequence[str], documents: Mapping[str, Mapping[str, Any]], version: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    for identifier in identifiers:
        if (document := documents.get(identifier)) is None:
            left_out["not delivered"] += 1
        else:
            try:
                rows.append({"mp_id": identifier, **_row(document), "database_version": version})
            except _LeftOutError as reason:
                left_out[str(reason)] += 1
    return {"rows": rows, "left_out": left_out}


class _LeftOutError(Exception):
    """Why a document cannot be an entry."""


def _row(document: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the data format from a document of the server; the moduli as they are, however absurd."""
    from pymatgen.core.structure import Structure

    if document.get("deprecated"):
        raise _LeftOutError("deprecated")
    if document.get("state") == "failed":
        raise _LeftOutError("failed fit")
    bulk, shear = (document.get(name) or {} for name in ("bulk_modulus", "shear_modulus"))
    if bulk.get("vrh") is None or shear.get("vrh") is None:
        raise _LeftOutError("no moduli")
    if not document.get("structure"):
        raise _LeftOutError("no structure")
    try:
        crystal = from_pymatgen(Structure.from_dict(document["structure"]))
    except (InputError, ValueError, KeyError, TypeError):
        raise _LeftOutError("not an ordered crystal") from None
    averages = (bulk.get("voigt"), bulk.get("reuss"), shear.get("voigt"), shear.get("reuss"))
    tensor = document.get("elastic_tensor") or {}
    row = {
        "formula": formula_of(crystal.numbers),
        "spacegroup": (document.get("symmetry") or {}).get("number"),
        "source": SOURCE,
        "lattice": crystal.lattice.tolist(),
        "numbers": crystal.numbers.tolist(),
        "frac": crystal.fractional.tolist(),
        "K_VRH": bulk["vrh"],
        "G_VRH": shear["vrh"],
        "voigt_reuss": None if None in averages else dict(zip(AVERAGES, averages, strict=True)),
        "C_raw_GPa": tensor.get("raw"),
        "C_ieee_GPa": tensor.get("ieee_format"),
        "fitting_method": document.get("fitting_method"),
        "warnings": document.get("warnings") or None,
    }
    return {name: value for name, value in row.items() if value is not None}


def _filtered(row: Mapping[str, Any], filters: Filters) -> str | None:
    """Why a row is not wanted, or None."""
    if filters.elements and not {SYMBOLS[number] for number in row["numbers"]}.issubset(filters.elements):
        return "other elements"
    if filters.max_atoms is not None and len(row["numbers"]) > filters.max_atoms:
        return "more atoms"
    return None


def _write(output: Path, opener: Callable[..., Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """The whole file or none."""
    unfinished = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with opener(unfinished, "wt", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in rows)
        os.replace(unfinished, output)
    except OSError as error:
        raise InputError(
            f"Cannot write {output}: {error.strerror or error}; mend that and run the same command again, it goes on."
        ) from None
    finally:
        unfinished.unlink(missing_ok=True)
