"""Directives that write the reference of nodes and processes from the code itself.

``{node-fields} package.module:Class`` tabulates the fields of a type of node; ``{process-spec} package.module:Class``
the inputs, outputs and exit codes of a CalcJob or workchain. Both make Markdown, which MyST parses in place.
"""

from __future__ import annotations

import types
from importlib import import_module
from typing import Any, Literal, Union, get_args, get_origin

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

AIIDA_CODES = 100
"""Below this the exit codes are those that every AiiDA process has."""


class MarkdownDirective(SphinxDirective):
    """A directive whose content is Markdown lines that it makes."""

    def lines(self) -> list[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        container = nodes.container()
        self.state.nested_parse(StringList(self.lines(), source=self.env.docname), 0, container)
        return container.children


def named(path: str) -> Any:
    """The class that ``package.module:Class`` names."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


class NodeFields(MarkdownDirective):
    required_arguments = 1

    def lines(self) -> list[str]:
        model = named(self.arguments[0]).AttributesModel
        own, fields = model.__annotations__, model.model_fields
        rows = [(f"`{name}`", type_name(fields[name].annotation), fields[name].description) for name in own]
        return table(("field", "type", "meaning"), rows)


class ProcessSpec(MarkdownDirective):
    required_arguments = 1

    def lines(self) -> list[str]:
        spec = named(self.arguments[0]).spec()
        codes = sorted(spec.exit_codes.items(), key=lambda item: item[1].status)
        return [
            *table(("input", "type", "required", "meaning"), list(ports(spec.inputs))),
            "",
            *table(("output", "type", "required", "meaning"), list(ports(spec.outputs))),
            "",
            *table(
                ("exit code", "label", "message"),
                [(str(code.status), f"`{label}`", code.message) for label, code in codes if code.status >= AIIDA_CODES],
            ),
        ]


def ports(namespace: Any, prefix: str = ""):
    """(name, type, required, help) of every port but metadata and what is nested in it."""
    from plumpy.ports import PortNamespace

    for name, port in sorted(namespace.items()):
        if name in ("metadata", "monitors", "handler_overrides"):
            continue
        path = f"{prefix}{name}"
        nested = isinstance(port, PortNamespace)
        if nested and len(port):
            yield from ports(port, f"{path}.")
        else:
            has_default = getattr(port, "has_default", bool)()
            required = "yes" if port.required and not has_default else "no"
            yield f"`{path}`", type_name(port.valid_type), required, port.help or ""


def type_name(annotation: Any) -> str:
    """A type as a reader would write it."""
    if annotation is None or annotation is type(None):
        return "none"
    if isinstance(annotation, tuple):
        return " or ".join(type_name(one) for one in annotation if one is not type(None))
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(type_name(one) for one in arguments)
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in arguments)
    if origin is dict:
        return "dict"
    if origin is list:
        inner = type_name(arguments[0])
        return "6x6 matrix" if inner == "list of float" else f"list of {inner}"
    return getattr(annotation, "__name__", str(annotation))


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in cells) + " |"

    return [line(head), line(("---",) * len(head)), *(line(row) for row in rows)]


def escape_bars(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """|C12| in a docstring is an absolute value, where reStructuredText would see a substitution."""
    lines[:] = [line.replace("|", "\\|") for line in lines]


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", escape_bars)
    app.add_directive("node-fields", NodeFields)
    app.add_directive("process-spec", ProcessSpec)
    return {"version": "1", "parallel_read_safe": True}
