"""A profile for what makes nodes but stores none, such as a dry run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def some_profile() -> Iterator[None]:
    """The profile that is loaded, else one in memory: nodes cannot be made without."""
    from aiida.manage import get_manager
    from aiida.manage.configuration import profile_context
    from aiida.storage.sqlite_temp import SqliteTempBackend

    if get_manager().get_profile() is not None:
        yield
    else:
        with profile_context(SqliteTempBackend.create_profile("hardcoat-dry-run"), allow_switch=True):
            yield
