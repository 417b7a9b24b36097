"""Files that are there whole or not at all, and JSON that is whole or refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from hardcoat_ml.errors import InputError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    partial = path.with_name(path.name + ".part")
    with partial.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, path)


def read_json(path: Path, torn: str) -> Any:
    """What a JSON file holds.

    :param torn: what to say of a file that is not whole JSON, behind its name.
    :raises InputError: for that, and for a file that cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from None
    except ValueError:
        raise InputError(f"{path} {torn}") from None
