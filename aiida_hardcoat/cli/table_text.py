"""The tables of ``hardcoat table`` as text: aligned, units in the header, marks explained below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from textwrap import wrap
from typing import Any

from aiida_hardcoat.cli.properties import SYMBOLS, number_format

UNITLESS = ("poisson_ratio", "pugh_ratio")
MORE_SYMBOLS = {"pugh_ratio": "B/G", "hardness_chen_2011": "H"}

BECAME, UNSTABLE, BEYOND = "*", "!", "~"
"""Marks of materials."""

Group = tuple[str, Sequence[str]]
"""A title and the titles of the columns under it."""

WIDTH = 118

FIRST = 5
"""So many missing materials are named, the others counted."""


def table_lines(found: Mapping[str, Any]) -> list[str]:
    """Caption, columns and footnotes of a table."""
    body = {1: relaxation_lines, 2: constants_lines, 3: learned_lines}[found["table"]]
    return [*caption_lines(found), "", *body(found)]


def folded(text: str) -> list[str]:
    """A footnote in lines no wider than a table."""
    return wrap(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def caption_lines(found: Mapping[str, Any]) -> list[str]:
    system = f" of {found['system']} and its end members" if found["system"] else ""
    made_from = f"{count(found['entries'], 'entry', 'entries')} of {count(found['materials'], 'material')}"
    return [
        f"Table {found['table']}. {found['title']}",
        f"{found['level']}, level of theory {found['level_fingerprint']}; {made_from}{system}",
    ]


def count(number: int, one: str, several: str | None = None) -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"


def symbol(quantity: str) -> str:
    return SYMBOLS.get(quantity) or MORE_SYMBOLS.get(quantity) or quantity.upper()


def titled(quantity: str) -> str:
    return symbol(quantity) if quantity in UNITLESS else f"{symbol(quantity)} (GPa)"


def digits(quantity: str) -> str:
    return "{:.2f}" if quantity == "pugh_ratio" else number_format(quantity)


def number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def percent(value: float | None, form: str = "{:.1f}") -> str:
    return number(None if value is None else 100 * value, form)


# --- table 1 --------------------------------------------------------------------------------------------------------


def relaxation_lines(found: Mapping[str, Any]) -> list[str]:
    """A line for each quantity, columns for each structure type."""
    if not found["rows"]:
        return ["no material is there with relaxed and with clamped ions", *left_out_lines(found)]
    kinds = dict.fromkeys(row["structure_type"] for row in found["rows"])
    by_place = {(row["quantity"], row["structure_type"]): row for row in found["rows"]}
    quantities = [row["quantity"] for row in found["rows"] if row["structure_type"] == "all"]
    lines = [
        [titled(quantity), *(cell for kind in kinds for cell in relaxation_cells(by_place.get((quantity, kind))))]
        for quantity in quantities
    ]
    return [
        *grouped_text([""], [(kind, ("n", "MAE", "MARE %", "diff")) for kind in kinds], lines),
        "",
        "MAE, MARE: mean absolute and mean absolute relative error of clamped with respect to relaxed ions, n pairs",
        "diff: mean of clamped minus relaxed. H: hardness, Chen 2011",
        *unequal_lines(found),
        *left_out_lines(found),
    ]


def unequal_lines(found: Mapping[str, Any]) -> list[str]:
    """Pairs whose halves are not of the same cells, so that more than the ions differs between them."""
    names = [
        f"{pair['formula']} {pair['structure_type']} ({cells_text(pair['relaxed'])}, {cells_text(pair['clamped'])})"
        for pair in found["pairs"]
        if cells_text(pair["relaxed"]) != cells_text(pair["clamped"])
    ]
    return folded(f"relaxed and clamped in unequal cells (atoms): {'; '.join(names)}") if names else []


def relaxation_cells(row: Mapping[str, Any] | None) -> list[str]:
    if row is None:  # a constant that the structure type does not have
        return [""] * 4
    form = digits(row["quantity"])
    difference = number(row["mean_difference"], form.replace(":", ":+z"))
    return [str(row["n"]), number(row["mae"], form), percent(row["mare"]), difference]


def left_out_lines(found: Mapping[str, Any]) -> list[str]:
    """Materials that changed their structure."""
    names = [
        f"{row['formula']} {row['structure_type']} (now "
        + ", ".join(f"{became} with {ions} ions" for ions, became in sorted(row["became"].items()))
        + ")"
        for row in found["left_out"]
    ]
    return folded(f"left out, another structure after relaxation: {'; '.join(names)}") if names else []


# --- table 2 --------------------------------------------------------------------------------------------------------


def constants_lines(found: Mapping[str, Any]) -> list[str]:
    """A line for each material, and under it its spread, published values and the deviations from them."""
    quantities = [name for name in QUANTITIES if any(row[name] is not None for row in found["rows"])]
    lines = []
    for row in found["rows"]:
        place = [f"{row['formula']} {row['structure_type']}{marks(row)}", cells_text(row)]
        lines.append([*place, *(number(row[name], digits(name)) for name in quantities)])
        if row["n"] > 1:
            spread = [number(row["spread"].get(name), digits(name)) for name in quantities]
            lines.append(["  +-", "", *blank(spread)])
        for name, values in row["references"].items():
            lines.append([f"  {name}", "", *blank([number(values.get(one), digits(one)) for one in quantities])])
            shares = [percent(row["deviations"][name].get(one), "{:+z.1f}") for one in quantities]
            lines.append(["    deviation %", "", *blank(shares)])
    header = ["", "atoms", *(titled(name) for name in quantities)]
    return [*aligned([header, *lines]), "", *mark_lines(found), *reference_lines(found)]


QUANTITIES = (
    *("c11", "c12", "c13", "c33", "c44", "bulk_modulus", "shear_modulus", "youngs_modulus", "poisson_ratio"),
    *MORE_SYMBOLS,
)


def marks(row: Mapping[str, Any]) -> str:
    return (
        BECAME * (row["relaxed_structure_type"] != row["structure_type"])
        + UNSTABLE * (not row["stable_with_tolerance"])
        + BEYOND * (row["stable_with_tolerance"] and not row["stable"])
    )


def cells_text(row: Mapping[str, Any]) -> str:
    return f"{row['number_of_atoms']}" + (f" x{row['n']}" if row["n"] > 1 else "")


def blank(cells: Sequence[str]) -> list[str]:
    """Nothing rather than a dash, in lines that tell of a few columns only."""
    return ["" if cell == "-" else cell for cell in cells]


def mark_lines(found: Mapping[str, Any]) -> list[str]:
    """What the marks mean that are there, and where no mark means something too."""
    rows = found["rows"]
    lines = became_lines(rows, f"{BECAME} ")
    if any(UNSTABLE in marks(row) for row in rows):
        lines.append(f"{UNSTABLE} mechanically unstable (Born), with the study's tolerance of 1.1 too")
    if any(BEYOND in marks(row) for row in rows):
        lines.append(f"{BEYOND} mechanically unstable (Born), but stable with the study's tolerance of 1.1")
    if not any(UNSTABLE in marks(row) or BEYOND in marks(row) for row in rows):
        lines.append("all mechanically stable (Born)")
    if any(row["n"] > 1 for row in rows):
        lines.append("+-: standard deviation over quasirandom structures, as many as the cell's x tells")
    return [
        *lines,
        "B, G, E, nu: Hill averages. H: hardness, Chen 2011. Constants in the frame of the parent structure",
    ]


def became_lines(rows: Sequence[Mapping[str, Any]], mark: str = "") -> list[str]:
    """Materials that relaxed into another structure."""
    names = dict.fromkeys(
        f"{row['formula']} {row['structure_type']} -> {row['relaxed_structure_type']}"
        for row in rows
        if row["relaxed_structure_type"] != row["structure_type"]
    )
    return folded(f"{mark}another structure after relaxation: {', '.join(names)}") if names else []


def reference_lines(found: Mapping[str, Any]) -> list[str]:
    return [
        line
        for row in found["references"]
        for line in (f"{row['name']}: {row['source']}, doi {row['doi']}", f"  {row['method']}")
        if line.strip()
    ]


# --- table 3 --------------------------------------------------------------------------------------------------------


def learned_lines(found: Mapping[str, Any]) -> list[str]:
    """A line for each set, columns for each modulus."""
    lines = []
    for (name, ions), rows in groupby(found["rows"], key=lambda row: (row["set"], row["ions"])):
        cells = [name, ions or "", ""]
        for row in rows:
            cells[2] = str(row["left_out"]) if row["ions"] else ""
            cells += [number(row["n"], "{}"), number(row["mae"], digits(row["quantity"])), percent(row["mare"])]
        lines.append(cells)
    quantities = dict.fromkeys(row["quantity"] for row in found["rows"])
    groups = [(titled(quantity), ("n", "MAE", "MARE %")) for quantity in quantities]
    model = found["model"]
    return [
        *grouped_text(["set", "ions", "seen"], groups, lines),
        "",
        f"model: {model['model_name']} {model['model_version']}, weights sha256 {model['model_sha256'][:16]}",
        "MAE, MARE: mean absolute and mean absolute relative error of learned with respect to computed moduli",
        "test set: the model's own, from its card. seen: left out, since the formula was in the training data",
        *became_lines(found["alloys"]),
        *(line for note in found["notes"] for line in folded(note)),
    ]


# --- columns --------------------------------------------------------------------------------------------------------


def grouped_text(left: Sequence[str], groups: Sequence[Group], lines: Sequence[Sequence[str]]) -> list[str]:
    """Aligned columns under the titles of their groups; the columns of ``left`` have none."""
    names = [*left, *(name for _, columns in groups for name in columns)]
    text = aligned([names, *lines], len(left))
    ends = [0]
    for column in range(len(names)):
        width = max(len(row[column]) for row in [names, *lines])
        ends.append(ends[-1] + width + len(GAP))
    header, place = "", len(left)
    for title, columns in groups:
        start, end = ends[place], ends[place + len(columns)] - len(GAP)
        header = header.ljust(start) + title.center(end - start)
        place += len(columns)
    return [header.rstrip(), *text]


GAP = "  "


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Columns of equal width, the first ``left`` of them flush left and numbers flush right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        GAP.join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


# --- what is missing ------------------------------------------------------------------------------------------------


def missing_lines(found: Mapping[str, Any]) -> list[str]:
    """The commands that compute what is not there, the first of them."""
    rows = found["missing"]
    if not rows:
        return []
    more = len(rows) - FIRST
    return [
        f"{count(len(rows), 'material')} missing at this level of theory:",
        *(f"  {row['command']}" for row in rows[:FIRST]),
        *([f"  and {more} more: --format json lists all"] if more > 0 else []),
    ]
