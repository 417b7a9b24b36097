"""The one exception that stands for a user's mistake, and the wording of its advice."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


class InputError(ValueError):
    """Input that cannot be used: the message is one line that says what is wrong and how to mend it."""


def nearest(word: str, words: Sequence[str]) -> str:
    """A clause that offers the valid word nearest to ``word``."""
    matches = difflib.get_close_matches(str(word), words, n=1, cutoff=0.0)
    return f"did you mean '{matches[0]}'? Valid: {', '.join(words)}"
