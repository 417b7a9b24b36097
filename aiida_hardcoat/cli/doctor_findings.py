"""A row of ``hardcoat doctor``."""

from __future__ import annotations

from typing import Any

Finding = dict[str, Any]


def finding(what: str, ok: bool, detail: str, mend: str = "", *, needed: bool = True, word: str = "") -> Finding:
    """What was looked at and found.

    :param mend: the command that mends it.
    :param needed: that nothing goes, or nothing is safe, without it: exit code 1.
    :param word: how the table calls it where it is not in order; by default MISSING where needed, else absent.
    """
    row = {"what": what, "ok": ok, "detail": detail, "mend": mend, "needed": needed}
    return row | ({"word": word} if word and not ok else {})


def word_of(found: Finding) -> str:
    if found["ok"]:
        return "ok"
    return str(found.get("word") or ("MISSING" if found["needed"] else "absent"))
