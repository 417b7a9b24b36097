"""A stand-in for the Python of the engine ase: it runs the real one, under a limit or with its output spoilt after it.

    stand_in_engine.py -m ase_driver

What it does is said by a file in the folder that the job's calculator was given: ``spoil``, or ``spoil-once*`` for one
job only, with one of the words of SPOILING. Without any it does what the real one does.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

from fault_calculators import asked_for

FILES = ("records.jsonl", "output.log")


def cut(text: str) -> str:
    return text[: len(text) // 2]


def empty(text: str) -> str:
    return ""


def not_a_number(text: str) -> str:
    return re.sub(r'"energy": [-+.e0-9]+', '"energy": NaN', text)


SPOILING = {"cut": cut, "empty": empty, "nan": not_a_number}
LIMIT = 2 * 2**30
"""Bytes of address space under the word ``memory``."""


def main() -> int:
    folder = Path(json.loads(Path("input.json").read_text())["settings"]["model_options"]["folder"])
    word = asked_for(folder, "spoil")
    limit = (lambda: resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))) if word == "memory" else None
    status = subprocess.run([sys.executable, *sys.argv[1:]], preexec_fn=limit).returncode
    for name in FILES if word in SPOILING else ():
        path = Path(name)
        spoilt = SPOILING[word](path.read_text())
        path.write_text(spoilt)
    return status


if __name__ == "__main__":
    sys.exit(main())
