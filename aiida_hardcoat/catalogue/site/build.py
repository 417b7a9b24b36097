"""Write the page into a folder that opens by double-click, with no server and no network.

A page from a file may not read other files as data, so all data are scripts that hand their content to the page.
"""

from __future__ import annotations

import html
import json
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import UUID

from tqdm import tqdm

from aiida_hardcoat import __version__
from aiida_hardcoat.catalogue.site.data import find_rows, index, records, structures_behind
from aiida_hardcoat.catalogue.whole_folder import replaced
from aiida_hardcoat.data.catalogue import DEFAULT_LABEL
from aiida_hardcoat.errors import InputError

MARKER = ".hardcoat-site.json"
"""Its presence says that a folder was written by this module."""

CONTENT = {MARKER, "index.html", "static", "data"}

TITLE = "Hard-coating alloys"


def build_site(
    folder: str | Path,
    *,
    title: str = TITLE,
    sort: str = "system",
    label: str = DEFAULT_LABEL,
    progress: bool = True,
    **filters: Any,
) -> dict[str, Any]:
    """Write the page of the catalogue, in place of an earlier one in the same folder.

    The folder appears complete or not at all: the page is written beside it and renamed.

    :param sort: the column that the table starts with, with a minus in front for falling order.
    :param progress: show a progress bar on standard error.
    :param filters: of :func:`aiida_hardcoat.catalogue.query.search`.
    :return: ``folder``, ``entries``, ``files`` and ``bytes``; the number of ``levels`` of theory among the entries.
    :raises InputError: for a folder that holds anything else, an empty catalogue, filters that match nothing or are
        wrong, an entry whose UUID is none.
    """
    target = Path(folder).expanduser().resolve()
    check_folder(target)
    rows = find_rows(label=label, sort=sort, **filters)
    with replaced(target) as new:
        write_static(new, title)
        (new / "data" / "entries").mkdir(parents=True)
        structures: dict[str, list[int]] = {}
        bar = tqdm(records(rows), total=len(rows), unit="entry", disable=None if progress else True)
        for place, (uuid, record) in enumerate(bar):
            write_script(new / "data" / "entries" / f"{checked(uuid)}.js", "receiveEntry", uuid, record)
            for structure in structures_behind(record):
                structures.setdefault(structure, []).append(place)
        write_script(new / "data" / "index.js", "receiveIndex", index(rows, title, sort, structures))
        marker = {"made_by": "hardcoat site", "hardcoat_version": __version__, "entries": len(rows)}
        (new / MARKER).write_text(json.dumps(marker) + "\n", encoding="utf8")
        sizes = [path.stat().st_size for path in new.rglob("*") if path.is_file()]
    return {
        "folder": str(target),
        "entries": len(rows),
        "levels": len({row["level_fingerprint"] for row in rows}),
        "files": len(sizes),
        "bytes": sum(sizes),
    }


def check_folder(folder: Path) -> None:
    """Refuse to replace what this module did not write.

    :raises InputError: naming what is in the way.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file: name a folder for the page")
    there = {path.name for path in folder.iterdir()}
    if there and MARKER not in there:
        raise InputError(f"{folder} holds something else than a page of the catalogue: name a new or an empty folder")
    others = sorted(there - CONTENT)
    if others:
        raise InputError(f"{folder} also holds {others[0]}, which is no part of the page: move it away")


def checked(uuid: str) -> str:
    """The UUID, which names a file, if it is one: an imported database could hold anything.

    :raises InputError: if not.
    """
    try:
        if str(UUID(uuid)) == uuid:
            return uuid
    except ValueError:
        pass
    raise InputError(f"the catalogue holds an entry whose UUID is none: {uuid!r}")


def write_static(folder: Path, title: str) -> None:
    """The page itself, its scripts and styles, and the libraries."""
    from plotly.offline import get_plotlyjs

    ours = files("aiida_hardcoat.catalogue.site") / "static"
    for name in ("js", "vendor"):
        (folder / "static" / name).mkdir(parents=True)
        for source in (ours / name).iterdir():
            if source.is_file():
                (folder / "static" / name / source.name).write_bytes(source.read_bytes())
    (folder / "static" / "style.css").write_bytes((ours / "style.css").read_bytes())
    (folder / "static" / "vendor" / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf8")
    page = (ours / "index.html").read_text(encoding="utf8")
    (folder / "index.html").write_text(page.replace("{{title}}", html.escape(title)), encoding="utf8")


def write_script(path: Path, function: str, *arguments: Any) -> None:
    """A script that calls a function of the page with data.

    A ``<`` never stands in it, so that no tag can begin or end there; JSON's other dangers to scripts are not ASCII.
    """
    texts = (json.dumps(argument, separators=(",", ":"), allow_nan=False) for argument in arguments)
    call = f"Hardcoat.{function}({','.join(texts)});\n"
    path.write_text(call.replace("<", "\\u003c"), encoding="ascii")
