"""The AiiDA codes that engines run: made once, checked before a run, looked at by ``hardcoat doctor``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from aiida_hardcoat.errors import InputError

if TYPE_CHECKING:
    from aiida.orm import AbstractCode, Computer, InstalledCode


def ensure_code(
    label: str,
    computer: Computer,
    *,
    executable: str,
    plugin: str,
    description: str,
    with_mpi: bool = False,
    prepend_text: str = "",
) -> InstalledCode:
    """The code of that label on a computer; one that points to another executable gives way under a new label."""
    from aiida.common.exceptions import NotExistent
    from aiida.orm import InstalledCode, load_code

    try:
        code: InstalledCode | None = cast(InstalledCode, load_code(f"{label}@{computer.label}"))
    except NotExistent:
        code = None
    if code is not None and str(code.filepath_executable) != executable:
        code.label = f"{label}-{code.pk}"
        code = None
    if code is None:
        code = InstalledCode(
            label=label,
            description=description,
            computer=computer,
            filepath_executable=executable,
            default_calc_job_plugin=plugin,
            with_mpi=with_mpi,
            prepend_text=prepend_text,
        ).store()
    return code


def find_code(label: str) -> AbstractCode | None:
    """The code of that label; among several the one whose computer is set up here, which those of an import are not.

    :raises InputError: for several on computers that are set up.
    """
    from aiida.common.exceptions import MultipleObjectsError, NotExistent
    from aiida.orm import AbstractCode, QueryBuilder, User, load_code

    try:
        return load_code(label)
    except NotExistent:
        return None
    except MultipleObjectsError:
        user = User.collection.get_default()
        codes = QueryBuilder().append(AbstractCode, filters={"label": label}, project="*").all(flat=True)
        usable = [code for code in codes if code.computer is None or code.computer.is_user_configured(user)]
        if len(usable) == 1:
            return cast("AbstractCode", usable[0])
        raise InputError(f"several codes are called '{label}': choose one with --code {label}@COMPUTER") from None


def has_queue(computer: Computer | None) -> bool:
    """Whether jobs wait there until what they ask for is free."""
    return computer is not None and computer.scheduler_type != "core.direct"


def require_plugin(code: AbstractCode, *plugins: str) -> None:
    """Refuse a code that was made for something else.

    :raises InputError: naming both plugins.
    """
    if code.default_calc_job_plugin not in plugins:
        raise InputError(
            f"code {code.full_label} is for {code.default_calc_job_plugin or 'no plugin'}, not for {plugins[0]}:"
            " choose another with --code"
        )


def require_executable(code: AbstractCode) -> None:
    """Refuse a code on this machine that cannot be executed; elsewhere only the job can tell.

    :raises InputError: naming the path.
    """
    path = local_path(code)
    if path is not None and not os.access(path, os.X_OK):
        problem = "is not executable: chmod +x it" if Path(path).exists() else "does not exist"
        raise InputError(f"{path} of code {code.full_label} {problem}, or choose another code with --code")


def local_path(code: AbstractCode) -> str | None:
    """Where the executable of a code lies, if on this machine."""
    if code.computer is None or code.computer.transport_type != "core.local":
        return None
    executable = str(code.filepath_executable)
    return executable if os.path.isabs(executable) else shutil.which(executable) or executable


def code_finding(label: str, mend: str, *, needed: bool = False) -> dict[str, Any]:
    """A row of ``hardcoat doctor`` about a code."""
    row = {"what": "code", "ok": False, "detail": f"no code {label}", "mend": mend, "needed": needed}
    try:
        code = find_code(label)
    except InputError:
        return {**row, "ok": True, "detail": f"{label}, on several computers", "mend": ""}
    if code is None:
        return row
    path = local_path(code)
    there = path is None or os.access(path, os.X_OK)
    return {**row, "ok": there, "detail": f"{code.full_label} ({path or code.full_label})"} | (
        {} if there else {"mend": f"{path} cannot be executed: {mend}"}
    )
