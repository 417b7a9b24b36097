"""A user's mistake becomes one line on standard error and exit code 2; all else keeps its traceback."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import click

from aiida_hardcoat.errors import InputError
from hardcoat_ml.errors import InputError as ModelInputError


class UserError(click.ClickException):
    """Shown as ``Error: message``."""

    exit_code = 2


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn `InputError`, of this package or of `hardcoat_ml`, into `UserError`.

    As a context manager or, called, as a decorator of a command.
    """
    try:
        yield
    except (InputError, ModelInputError) as error:
        raise UserError(" ".join(str(error).split())) from None


@contextmanager
def storage_errors() -> Iterator[None]:
    """A full disk is one line, wherever it is met."""
    try:
        yield
    except Exception as error:
        if not is_disk_full(error):
            raise
        click.echo(f"Error: {DISK_FULL}", err=True)
        raise SystemExit(3) from None


DISK_FULL = "no space left on the disk of the profile: free some and run the same command again, it goes on from there"


def is_disk_full(error: BaseException | str) -> bool:
    """Whether an exception, or its text, says that a disk is full."""
    text = str(error).lower()
    return (isinstance(error, OSError) and error.errno == errno.ENOSPC) or any(
        sign in text for sign in ("no space left on device", "database or disk is full")
    )
