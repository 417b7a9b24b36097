"""Zip and tar files from elsewhere: looked at before anything of them is written, and unpacked within limits."""

from __future__ import annotations

import lzma
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from aiida_hardcoat.catalogue.bundle.findings import RefusedBundleError
from aiida_hardcoat.catalogue.bundle.layout import CHECKSUMS, FILES, MANIFEST
from aiida_hardcoat.errors import InputError

MOST_MEMBERS = 5_000_000
MOST_BYTES = 64 * 2**30
"""Of all members of one file, unpacked: some 100,000 entries."""
LARGEST_RATIO, SMALL = 200, 2**20
"""A member above ``SMALL`` bytes that deflate made smaller by more than this holds nothing but repetition."""

CHUNK = 2**20
DAMAGED = (
    *(OSError, EOFError, ValueError, NotImplementedError),
    *(zlib.error, lzma.LZMAError, struct.error, zipfile.BadZipFile, tarfile.TarError),
)
"""What reading a damaged or hostile container raises."""


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The folder of a bundle: itself, or that of a zip or tar.gz in a temporary place.

    :raises RefusedBundleError: for members that leave the folder, links, doubled names, or too much of anything.
    :raises InputError: for what is no bundle.
    """
    if path.is_dir():
        check_folder(path)
        yield path
        return
    if not path.exists():
        raise InputError(f"'{path}' does not exist")
    with tempfile.TemporaryDirectory(prefix="hardcoat-bundle-") as temporary:
        folder = Path(temporary)
        try:
            if zipfile.is_zipfile(path):
                unpack_zip(path, folder)
            elif tarfile.is_tarfile(path):
                unpack_tar(path, folder)
            else:
                raise no_bundle(path, "it is neither a folder nor a zip or tar.gz file")
        except DAMAGED as error:
            if isinstance(error, InputError):
                raise
            raise RefusedBundleError(f"'{path}' is damaged and cannot be unpacked: {error}") from None
        check_folder(folder, path)
        yield folder


def no_bundle(path: Path, reason: str) -> InputError:
    return InputError(f"'{path}' is no bundle: {reason}; `hardcoat bundle create DIR` makes one")


def check_folder(folder: Path, name: Path | None = None) -> None:
    """Refuse links, and a folder without the two files that make it a bundle."""
    for item in sorted(folder.iterdir()):
        if item.is_symlink() or not (item.is_file() or item.is_dir()):
            raise RefusedBundleError(f"'{item.name}' of the bundle is a link or no plain file: refused")
    for needed in (MANIFEST, CHECKSUMS):
        if not (folder / needed).is_file():
            raise no_bundle(name or folder, f"it holds no {needed}")


def unpack_zip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as container:
        infos = container.infolist()
        if any(info.filename == "db.sqlite3" for info in infos):
            raise no_bundle(path, "it is an archive of AiiDA by itself, for `verdi archive import`")
        check_members(infos)
        places = member_places([info.filename for info in infos if not info.is_dir()])
        for info in infos:
            if not info.is_dir():
                with container.open(info) as source:
                    copy_limited(source, folder / places[info.filename], info.file_size)


def check_members(infos: Iterable[zipfile.ZipInfo]) -> None:
    """Refuse what a zip of ours never holds, from its directory alone.

    :raises RefusedBundleError: naming the member.
    """
    names: set[str] = set()
    total = 0
    for info in infos:
        name, mode = info.filename, info.external_attr >> 16
        total += info.file_size
        if name in names:
            raise RefusedBundleError(f"member '{name}' is there twice: refused")
        names.add(name)
        check_name(name)
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise RefusedBundleError(f"member '{name}' is a link or no plain file: refused")
        if info.flag_bits & 1:
            raise RefusedBundleError(f"member '{name}' is encrypted: refused")
        if info.file_size > SMALL and info.file_size > LARGEST_RATIO * max(1, info.compress_size):
            raise RefusedBundleError(
                f"member '{name}' unpacks from {info.compress_size} to {info.file_size} bytes, more than "
                f"{LARGEST_RATIO} times as many: refused"
            )
        check_amounts(len(names), total)


def check_amounts(members: int, total: int) -> None:
    if members > MOST_MEMBERS:
        raise RefusedBundleError(f"it holds more than {MOST_MEMBERS} members: refused")
    if total > MOST_BYTES:
        raise RefusedBundleError(f"it unpacks to more than {MOST_BYTES // 2**30} GiB: refused")


def check_name(name: str) -> None:
    """Refuse a name that could lie anywhere but below the folder."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0] or not name.isprintable():
        raise RefusedBundleError(f"member {name!r} would lie outside of the folder: refused")


def unpack_tar(path: Path, folder: Path) -> None:
    """Read as a stream, so that what has not been looked at is not unpacked."""
    most = LARGEST_RATIO * max(SMALL, path.stat().st_size)
    names: list[str] = []
    total = 0
    with tarfile.open(path, mode="r|*") as container:
        for member in container:
            if member.isdir() and PurePosixPath(member.name) == PurePosixPath("."):
                continue  # `tar -C DIR .` packs the folder itself too
            check_name(member.name)
            if member.isdir():
                continue
            if not member.isreg():
                raise RefusedBundleError(f"member '{member.name}' is a link or no plain file: refused")
            if member.name in names:
                raise RefusedBundleError(f"member '{member.name}' is there twice: refused")
            names.append(member.name)
            total += member.size
            check_amounts(len(names), total)
            if total > most:
                raise RefusedBundleError(f"it unpacks to more than {LARGEST_RATIO} times its size: refused")
            place = member_places(names)[member.name]
            source = container.extractfile(member)
            assert source is not None
            copy_limited(source, folder / place, member.size)


def member_places(names: list[str]) -> dict[str, str]:
    """Where each file goes: a bundle is flat, alone or within one folder.

    :raises RefusedBundleError: for a file that no bundle holds.
    """
    tops = {str(PurePosixPath(name).parent) for name in names}
    if len(tops) > 1 or any("/" in top for top in tops):
        raise RefusedBundleError(
            f"a bundle is one flat folder, but members lie in {', '.join(sorted(tops)[:3])}: refused"
        )
    places = {name: PurePosixPath(name).name for name in names}
    for name, place in places.items():
        if place not in FILES:
            raise RefusedBundleError(f"member '{name}' is no file of a bundle: refused")
    return places


def copy_limited(source: IO[bytes], target: Path, size: int) -> None:
    """Copy as many bytes as were announced.

    :raises RefusedBundleError: when there are more.
    """
    left = size
    with target.open("xb") as sink:
        while chunk := source.read(CHUNK):
            left -= len(chunk)
            if left < 0:
                raise RefusedBundleError(f"'{target.name}' holds more than it announces: refused")
            sink.write(chunk)
