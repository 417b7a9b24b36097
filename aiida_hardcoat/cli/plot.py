"""``hardcoat plot``: the figures of the catalogue, and the tables that they are drawn from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from aiida_hardcoat.cli.entries import csv_text, table_text
from aiida_hardcoat.cli.errors import user_errors
from aiida_hardcoat.cli.lazy import LazyGroup
from aiida_hardcoat.cli.properties import SYMBOLS, number_format
from aiida_hardcoat.cli.table_text import missing_lines

HERE = "aiida_hardcoat.cli.plot"
PLOTS = {
    "mixing": (HERE, "Mixing energy against x, with sub-regular fits."),
    "phase": (HERE, "Binodal and spinodal that the fits imply."),
    "stability": (HERE, "Energy against B1, and where B1 is lowest."),
    "parity": (HERE, "Learned against computed moduli."),
    "ductility": (HERE, "Pugh's ratio against the Cauchy pressure."),
    "toughness": (HERE, "Hardness against fracture toughness."),
    "directional": (HERE, "Young's modulus by direction, of one entry."),
}

Found = dict[str, Any]
Draw = Callable[[Found], Any]


@click.group("plot", cls=LazyGroup, table=PLOTS)
def cmd_plot() -> None:
    """Figures from the entries of the catalogue at one level of theory.

    With --output a figure is written: .png, .svg and .pdf for print, .html to look at, with all that it needs inside.
    Without, the table that it is drawn from is printed. What is missing is named on standard error, with the command
    that computes it.
    """


OUTPUT = (
    click.option("-o", "--output", metavar="FILE.png|svg|pdf|html", help="Draw the figure into this file."),
    click.option(
        "--format",
        "output_format",
        type=click.Choice(["table", "json", "csv"]),
        help="Print the table like this; as text where there is no --output.",
    ),
)
MATERIALS = (
    click.option("--level", help="Level of theory, or the start of its fingerprint; needed where there are several."),
    click.option("--system", help="e.g. Al-Ti-N, in any order: its alloys and end members alone."),
    click.option("--ions", type=click.Choice(["relaxed", "clamped"]), help="Both by default."),
)


def with_options(*options: Any) -> Callable[[Any], Any]:
    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


class Request(NamedTuple):
    """Where a figure goes, and how a table is printed; None for neither."""

    target: Path | None
    output_format: str | None


def begin(output: str | None, output_format: str | None) -> Request:
    """Refuse a figure that could not be written, then load the profile."""
    from aiida_hardcoat.catalogue.figures.style import check_target
    from aiida_hardcoat.cli.profile import use_profile

    target = None if output is None else check_target(output)
    use_profile()
    return Request(target, output_format or ("table" if output is None else None))


def finish(request: Request, found: Found, figure: Draw, page: Draw, text: Callable[[Found], Iterable[str]]) -> None:
    """Write the figure, print the table, name what is missing."""
    if request.target is not None:
        from aiida_hardcoat.catalogue.figures.style import is_page, save

        drawn = page(found) if is_page(request.target) else figure(found)
        click.echo(f"{save(drawn, request.target)} written", err=True)
    if request.output_format == "json":
        click.echo(json.dumps(found, indent=2))
    elif request.output_format == "csv":
        click.echo(csv_text([flat(row) for row in found["rows"]]), nl=False)
    elif request.output_format == "table":
        click.echo("\n".join(text(found)))
    if request.output_format != "json":
        for line in missing_lines(found):
            click.echo(line, err=True)


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if not isinstance(value, (dict, list))}


@click.command("mixing")
@with_options(*MATERIALS, *OUTPUT)
@user_errors()
def cmd_mixing(output: str | None, output_format: str | None, **choices: Any) -> None:
    """Mixing energy of every pseudo-binary system, in eV per formula unit, by structure type.

    A line is the least-squares fit x(1-x)[L0 + L1(2x-1)], x being the fraction of the alphabetically first metal.
    """
    request = begin(output, output_format)
    from aiida_hardcoat.catalogue.figures.mixing import mixing_figure, mixing_page
    from aiida_hardcoat.catalogue.thermodynamics import mixing_data

    finish(request, mixing_data(**choices), mixing_figure, mixing_page, mixing_lines)


@click.command("phase")
@with_options(*MATERIALS)
@click.option("--temperature", type=float, default=1000.0, show_default=True, help="K; print the gaps at this one.")
@with_options(*OUTPUT)
@user_errors()
def cmd_phase(output: str | None, output_format: str | None, **choices: Any) -> None:
    """Miscibility gaps: binodal and spinodal of every fit of the mixing energy, with the entropy of random mixing."""
    request = begin(output, output_format)
    from aiida_hardcoat.catalogue.figures.mixing import phase_figure, phase_page
    from aiida_hardcoat.catalogue.thermodynamics import phase_data

    finish(request, phase_data(**choices), phase_figure, phase_page, phase_lines)


@click.command("stability")
@with_options(*MATERIALS, *OUTPUT)
@user_errors()
def cmd_stability(output: str | None, output_format: str | None, **choices: Any) -> None:
    """Energy against B1 of the same composition, in eV per formula unit, and the range of x in which B1 is lowest."""
    request = begin(output, output_format)
    from aiida_hardcoat.catalogue.figures.stability import stability_figure, stability_page
    from aiida_hardcoat.catalogue.thermodynamics import stability_data

    finish(request, stability_data(**choices), stability_figure, stability_page, stability_lines)


@click.command("parity")
@with_options(*MATERIALS)
@click.option("--model", metavar="SHA256|NAME", help="The model; that of the newest prediction by default.")
@with_options(*OUTPUT)
@user_errors()
def cmd_parity(output: str | None, output_format: str | None, **choices: Any) -> None:
    """Learned against computed B, G, E and Poisson's ratio, with 90 % intervals.

    End members that the model was trained with are drawn hollow, and not scored.
    """
    request = begin(output, output_format)
    from aiida_hardcoat.catalogue.figures.parity import parity_data, parity_figure, parity_page

    finish(request, parity_data(**choices), parity_figure, parity_page, parity_lines)


@click.command("ductility")
@with_options(*MATERIALS, *OUTPUT)
@user_errors()
def cmd_ductility(output: str | None, output_format: str | None, **choices: Any) -> None:
    """Pugh's ratio B/G against the Cauchy pressure, C12 - C44 (cubic) or C13 - C44 (hexagonal)."""
    request = begin(output, output_format)
    from aiida_hardcoat.catalogue.figures.maps import ductility_data, ductility_figure, ductility_page

    finish(request, ductility_data(**choices), ductility_figure, ductility_page, ductility_lines)


@click.command("toughness")
@with_options(*MATERIALS)
@click.option("--hardness", default="chen_2011", show_default=True, metavar="MODEL", help="Model of the hardness.")
@click.option("--toughness", default="niu_2019", show_default=True, metavar="MODEL", help="Model of the toughness.")
@with_options(*OUTPUT)
@user_errors()
def cmd_toughness(output: str | None, output_format: str | None, **choices: Any) -> None:
    """Hardness against fracture toughness, both estimated from the moduli.

    Hardness: chen_2011, tian_2012, teter_1998, mazhnik_oganov_2019. Toughness: niu_2019, mazhnik_oganov_2019.
    """
    request = begin(output, output_format)
    from aiida_hardcoat.catalogue.figures.maps import toughness_data, toughness_figure, toughness_page

    finish(request, toughness_data(**choices), toughness_figure, toughness_page, toughness_lines)


@click.command("directional")
@click.argument("entry")
@with_options(*OUTPUT)
@user_errors()
def cmd_directional(entry: str, output: str | None, output_format: str | None) -> None:
    """Young's modulus by direction, of ENTRY: a PK, the start of a UUID, or a label such as B1/Al-Ti-N/0.5."""
    request = begin(output, output_format)
    from aiida_hardcoat.catalogue.figures.directional import directional_data, directional_figure, directional_page
    from aiida_hardcoat.cli.entries import load_entry

    found = directional_data(load_entry(entry))
    finish(request, found, directional_figure, directional_page, directional_lines)


# --- text ----------------------------------------------------------------------------------------------------------

PLACE: dict[str, tuple[str, str]] = {
    "system": ("system", "{}"),
    "structure_type": ("in", "{}"),
    "ions": ("ions", "{}"),
}
MATERIAL: dict[str, tuple[str, str]] = {
    "formula": ("formula", "{}"),
    "structure_type": ("in", "{}"),
    "relaxed_structure_type": ("now", "{}"),
    "ions": ("ions", "{}"),
}


def level_line(found: Found) -> str:
    return f"{found['level']}, level of theory {found['level_fingerprint']}"


def block(title: str, rows: Sequence[Mapping[str, Any]], shown: dict[str, tuple[str, str]], empty: str) -> list[str]:
    return [title, table_text([dict(row) for row in rows], shown) if rows else f"  {empty}"]


def mixing_lines(found: Found) -> list[str]:
    shown = {**PLACE, "x": ("x", "{:.4f}"), "relaxed_structure_type": ("now", "{}"), "mixing_energy": ("dE", "{:.4f}")}
    return [
        *block("Mixing energy dE (eV per formula unit)", found["rows"], shown, "no system has all that it needs"),
        "",
        *fit_lines(found["fits"]),
        level_line(found),
    ]


def fit_lines(fits: Sequence[Mapping[str, Any]]) -> list[str]:
    shown = {
        **PLACE,
        "model": ("model", "{}"),
        "l0": ("L0", "{:.4f}"),
        "l1": ("L1", "{:.4f}"),
        "residual": ("rms", "{:.4f}"),
        "n": ("alloys", "{}"),
        "critical_temperature": ("Tc (K)", "{:.0f}"),
        "critical_x": ("xc", "{:.3f}"),
    }
    title = "Fit dE = x(1-x)[L0 + L1(2x-1)] (eV per formula unit), and the top of the miscibility gap"
    return [*block(title, fits, shown, "no alloy to fit"), *regular_lines(fits)]


def regular_lines(fits: Sequence[Mapping[str, Any]]) -> list[str]:
    some = any(fit["model"] == "regular" for fit in fits)
    return ["regular: alloys of one composition say nothing of L1, which is set to 0"] if some else []


def phase_lines(found: Found) -> list[str]:
    shown = {
        **PLACE,
        "temperature": ("T (K)", "{:g}"),
        "binodal_low": ("binodal", "{:.5g}"),
        "binodal_high": ("to", "{:.5g}"),
        "spinodal_low": ("spinodal", "{:.5g}"),
        "spinodal_high": ("to", "{:.5g}"),
    }
    return [
        *fit_lines(found["fits"]),
        "",
        *block("Miscibility gap in x (- where all x mix)", found["at"], shown, "no alloy to fit"),
        level_line(found),
    ]


def stability_lines(found: Found) -> list[str]:
    shown = {
        **PLACE,
        "x": ("x", "{:.4f}"),
        "relaxed_structure_type": ("now", "{}"),
        "structural_stability": ("dE", "{:+.4f}"),
    }
    title = "Energy dE against B1 (eV per formula unit)"
    lines = [*block(title, found["rows"], shown, "no composition has B1 and another structure type"), ""]
    return [*lines, *(line for row in found["preferred"] for line in preferred_lines(row)), level_line(found)]


def preferred_lines(row: Mapping[str, Any]) -> list[str]:
    """Where B1 is lowest, by both ways to tell."""
    others = ", ".join(row["against"])
    within = "" if row["covered"] == [(0.0, 1.0)] else f", all known for x = {ranges_text(row['covered'])}"
    fitted = "needs an alloy and both end members of each" if row["fit"] is None else ranges_text(row["fit"])
    return [
        f"{row['system']}, ions {row['ions']}: B1 is lower than {others}{within}, for x =",
        f"  {ranges_text(row['linear'])} by straight lines between points ({row['points']} at least)",
        f"  {fitted} by the fits of the mixing energy",
    ]


def ranges_text(ranges: Sequence[Sequence[float]]) -> str:
    return " and ".join(f"{low:.3f} to {high:.3f}" for low, high in ranges) or "none"


def parity_lines(found: Found) -> list[str]:
    shown = dict(MATERIAL)
    for name, symbol in SYMBOLS.items():
        shown[name] = (symbol, number_format(name))
        shown[f"predicted_{name}"] = ("learned", number_format(name))
    shown["seen"] = ("", "{}")
    rows = [{**row, "seen": "seen" if row["known_end_member"] else ""} for row in found["rows"]]
    lines = block("Learned against computed moduli (GPa)", rows, shown, "no entry has a prediction of the model")
    scored = [(SYMBOLS[name], number_format(name), score) for name, score in found["scores"].items() if score["n"]]
    for symbol, form, score in scored:
        lines.append(f"{symbol}: MAE {form.format(score['mae'])}, MARE {100 * score['mare']:.1f} %, n = {score['n']}")
    if any(row["seen"] for row in rows):
        lines.append("seen: end members that the model was trained with, not scored")
    model = found["model"]
    lines.append(f"{model['model_name']} {model['model_version']} {model['model_sha256'][:8]}")
    return [*lines, level_line(found)]


def ductility_lines(found: Found) -> list[str]:
    shown = {**MATERIAL, "pugh_ratio": ("B/G", "{:.3f}"), "cauchy_pressure": ("P", "{:.1f}")}
    title = "Pugh's ratio B/G (above 1.75: ductile) and Cauchy pressure P (GPa)"
    return [*block(title, found["rows"], shown, "nothing"), *undefined_lines(found), level_line(found)]


def toughness_lines(found: Found) -> list[str]:
    shown = {**MATERIAL, "hardness": ("H", "{:.1f}"), "fracture_toughness": ("K", "{:.2f}")}
    hardness, toughness = found["hardness_model"], found["toughness_model"]
    title = f"Hardness H (GPa, {hardness}) and fracture toughness K (MPa m^(1/2), {toughness})"
    return [*block(title, found["rows"], shown, "nothing"), *undefined_lines(found), level_line(found)]


def undefined_lines(found: Found) -> list[str]:
    """Materials that have no such numbers."""
    names = [f"{row['formula']} in {row['structure_type']} (ions {row['ions']})" for row in found["undefined"]]
    return [f"not defined, because not stable: {', '.join(names)}"] if names else []


def directional_lines(found: Found) -> list[str]:
    lines = [f"Young's modulus of {found['label']}, ions {found['ions']} (GPa)"]
    lines += [f"  {name:10s}{value:8.1f}" for name, value in found["directions"].items()]
    for name in ("minimum", "maximum"):
        direction = ", ".join(f"{part:.3f}" for part in found[f"{name}_direction"])
        lines.append(f"  {name:10s}{found[name]:8.1f}  along ({direction})")
    return [*lines, f"  {'average':10s}{found['average']:8.1f}  (Hill)", level_line(found)]
