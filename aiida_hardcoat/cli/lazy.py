"""Groups of commands whose modules are imported when a command is used."""

from __future__ import annotations

import importlib
from typing import Any

import click

from aiida_hardcoat.errors import nearest

Table = dict[str, tuple[str, str]]
"""By name of the command: the module that holds it, as ``cmd_NAME``, and a line that says what it does."""


class LazyGroup(click.Group):
    """A group that knows its commands from a table, so that one command does not wait for the imports of another."""

    def __init__(self, *args: Any, table: Table, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        command: click.Command = getattr(importlib.import_module(self.table[cmd_name][0]), f"cmd_{cmd_name}")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.table.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.table and not args[0].startswith("-"):
            ctx.fail(f"no command '{args[0]}': {nearest(args[0], list(self.table))}")
        return super().resolve_command(ctx, args)
