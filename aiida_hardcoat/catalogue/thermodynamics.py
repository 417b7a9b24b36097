"""Mixing energies, structural stabilities and what follows from them, of pseudo-binary alloys at one level of theory.

Energies are in eV per formula unit, of one metal site and one anion; x is the fraction of the alphabetically first
metal. Entries keep the structure type that they started from: of a B4 that fell into Bk, ``relaxed_structure_type``
tells. The model behind fits and gaps is :mod:`aiida_hardcoat.physics.mixing_models`.

`mixing_data`, `phase_data` and `stability_data` read the catalogue; all else takes rows and gives rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from numpy.polynomial import Polynomial

from aiida_hardcoat.catalogue.references import Material
from aiida_hardcoat.catalogue.selection import Level, one_level
from aiida_hardcoat.catalogue.tables.series import changed, equal_shares, metals_of, run_command, series
from aiida_hardcoat.data.catalogue import DEFAULT_LABEL
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.composition import canonical_system, parse_composition
from aiida_hardcoat.physics.mixing_models import (
    MixingModel,
    Ranges,
    binodal,
    common_ranges,
    critical_point,
    fit_mixing_model,
    positive_between_points,
    positive_polynomial,
    spinodal,
)
from aiida_hardcoat.physics.thermodynamics import mixing_energy, structural_stability

Row = dict[str, Any]

ATOMS_PER_FORMULA = 2
ROCKSALT = "B1"
COMPETITORS = ("B3", "B4")
"""What rocksalt is compared with in the study; the structure types that a missing one is looked for in."""
TEMPERATURES = 60
"""Steps of the temperature in a gap."""


class Series(NamedTuple):
    """What one curve is of."""

    system: str
    structure_type: str
    ions: str


# --- from the catalogue ------------------------------------------------------------------------------------------


def mixing_data(
    level: str | None = None, *, system: str | None = None, ions: str | None = None, label: str = DEFAULT_LABEL
) -> dict[str, Any]:
    """Mixing energies with their fits: ``rows`` of `mixing_table`, ``fits`` of `fit_table`, ``missing``, ``level``.

    :param level: see :func:`aiida_hardcoat.catalogue.selection.one_level`.
    :param system: two metals and the anion; by default all systems of two metals that have an alloy.
    :param ions: ``relaxed`` or ``clamped``; both by default.
    :raises InputError: where no single level is chosen, for a system of another number of metals, or without alloys.
    """
    one = one_level(level, label=label)
    points = energies(one, system=system, ions=ions, label=label)
    rows = mixing_table(points)
    return {**frame(one), "rows": rows, "fits": fit_table(rows), "missing": missing_for_mixing(points, one)}


def phase_data(temperature: float, **choices: Any) -> dict[str, Any]:
    """Miscibility gaps: ``rows`` of `gap_table`, ``fits``, ``at`` with the gaps at one temperature, ``missing``.

    :param temperature: K.
    :param choices: of `mixing_data`.
    :raises InputError: as `mixing_data`, and for a temperature that is not above 0 K.
    """
    found = mixing_data(**choices)
    fits = found["fits"]
    return {**found, "rows": gap_table(fits), "fits": fits, "at": [gap_at(fit, temperature) for fit in fits]}


def stability_data(
    level: str | None = None, *, system: str | None = None, ions: str | None = None, label: str = DEFAULT_LABEL
) -> dict[str, Any]:
    """Energies against B1: ``rows`` of `stability_table`, ``preferred`` of `preferred_table`, ``missing``, ``level``.

    Parameters and errors are those of `mixing_data`.
    """
    one = one_level(level, label=label)
    points = energies(one, system=system, ions=ions, label=label)
    rows, ranges = stability_table(points), preferred_table(points)
    return {**frame(one), "rows": rows, "preferred": ranges, "missing": missing_for_stability(points, one)}


def frame(level: Level) -> dict[str, str]:
    """What data of one level of theory say of it."""
    return {"level": level.level, "level_fingerprint": level.fingerprint}


def energies(level: Level, *, system: str | None, ions: str | None, label: str) -> list[Row]:
    """A row for each material of each pseudo-binary system, sorted by system, structure type, ions and x.

    End members are repeated in each system that they bound, at x = 0 and 1.
    """
    if system is not None and len(metals_of(system)) != 2:
        raise InputError(f"'{system}' is not of two metals, whose mixing is drawn against x: write it like Al-Ti-N")
    rows = series(level, columns=("energy_per_formula",), system=system, ions=ions, label=label)
    systems = sorted({row["system"] for row in rows if len(row["fractions"]) == 2})
    if not systems:
        wanted = Material("Al0.5Ti0.5N" if system is None else equal_shares(system), ROCKSALT, ions or "relaxed")
        what = "two metals" if system is None else canonical_system(system)
        raise InputError(f"no alloy of {what} at {level.level}: `{run_command(wanted, level)}` computes one")
    points = [point(row, name) for name in systems for row in rows if belongs(row, name)]
    return sorted(points, key=itemgetter(*Series._fields, "x"))


# --- points ------------------------------------------------------------------------------------------------------


def belongs(row: Row, system: str) -> bool:
    """Whether a row is an alloy or an end member of a system."""
    parts = system.split("-")
    return row["system"] == system or row["system"] in (f"{metal}-{parts[-1]}" for metal in parts[:-1])


def point(row: Row, system: str) -> Row:
    """A row as one of a system."""
    first = system.split("-")[0]
    kept = ("structure_type", "relaxed_structure_type", "ions", "formula", "energy_per_formula", "number_of_atoms", "n")
    found = {name: row[name] for name in kept}
    place = {"system": system, "x": row["fractions"].get(first, 0.0)}
    spread = {"energy_spread": row["spread"]["energy_per_formula"]}
    return {**place, **found, **spread, "level": row["level"], "level_fingerprint": row["level_fingerprint"]}


def by_series(rows: Iterable[Row]) -> dict[Series, list[Row]]:
    groups: dict[Series, list[Row]] = {}
    for row in rows:
        groups.setdefault(series_of(row), []).append(row)
    return groups


def series_of(row: Row) -> Series:
    return Series(*(row[name] for name in Series._fields))


def ends_of(points: Iterable[Row]) -> dict[str, float]:
    """The energies of the end members of one series, by metal."""
    ends = {}
    for row in points:
        if row["x"] in (0.0, 1.0):
            ends[metals(row["system"])[0 if row["x"] == 1.0 else 1]] = row["energy_per_formula"]
    return ends


def metals(system: str) -> tuple[str, str]:
    first, second, _ = system.split("-")
    return first, second


def alloys_of(points: Iterable[Row]) -> list[Row]:
    return [row for row in points if 0 < row["x"] < 1]


# --- mixing ------------------------------------------------------------------------------------------------------


def mixing_table(points: Iterable[Row]) -> list[Row]:
    """Points of each series that has alloys and both end members, with their ``mixing_energy``.

    ``mixing_energy_per_atom`` is half of it: a formula unit has two atoms.
    """
    rows = []
    for group, members in by_series(points).items():
        ends = ends_of(members)
        if len(ends) < 2 or not alloys_of(members):
            continue
        first, second = metals(group.system)
        for row in members:
            fractions = {first: row["x"], second: 1 - row["x"]}
            energy = mixing_energy(row["energy_per_formula"], fractions, ends)
            rows.append({**row, "mixing_energy": energy, "mixing_energy_per_atom": energy / ATOMS_PER_FORMULA})
    return rows


def fit_table(mixing: Iterable[Row]) -> list[Row]:
    """A row for each series: L0, L1, how well they fit, and the critical point that they imply.

    ``l0``, ``l1``, ``residual`` (root mean square) and ``largest_residual`` in eV per formula unit; ``model`` is
    ``sub-regular``, or ``regular`` (L1 = 0) where one composition is all there is; ``critical_temperature`` in K and
    ``critical_x``, None without a gap; ``became`` has the x of what changed its structure on relaxation.

    :param mixing: of :func:`mixing_table`.
    """
    rows = []
    for group, members in by_series(mixing).items():
        alloys = alloys_of(members)
        fit = fit_mixing_model([row["x"] for row in alloys], [row["mixing_energy"] for row in alloys])
        top = critical_point(fit.model)
        rows.append(
            {
                **group._asdict(),
                "model": "regular" if fit.n == 1 else "sub-regular",
                "l0": fit.model.l0,
                "l1": fit.model.l1,
                "residual": fit.residual,
                "largest_residual": fit.largest_residual,
                "n": fit.n,
                "critical_temperature": top.temperature if top else None,
                "critical_x": top.x if top else None,
                "became": [row["x"] for row in members if changed(row)],
                "level": members[0]["level"],
                "level_fingerprint": members[0]["level_fingerprint"],
            }
        )
    return rows


def model_of(fit: Row) -> MixingModel:
    return MixingModel(fit["l0"], fit["l1"])


def gap_table(fits: Iterable[Row]) -> list[Row]:
    """Binodal and spinodal of each fit against the temperature, K; the steps are finer towards the critical point.

    :param fits: of :func:`fit_table`; one without a gap has no rows.
    """
    rows = []
    for fit in fits:
        top = fit["critical_temperature"]
        if top is None:
            continue
        for step in range(TEMPERATURES):
            rows.append(gap_at(fit, top * (1 - (step / TEMPERATURES) ** 2)))
    return rows


def gap_at(fit: Row, temperature: float) -> Row:
    """Binodal and spinodal of one fit at one temperature, K; at the critical temperature all four are one."""
    model = model_of(fit)
    closed = (fit["critical_x"],) * 2 if temperature == fit["critical_temperature"] else (None, None)
    outer, inner = (curve(model, temperature) or closed for curve in (binodal, spinodal))
    values = {"binodal_low": outer[0], "binodal_high": outer[1], "spinodal_low": inner[0], "spinodal_high": inner[1]}
    return {**{name: fit[name] for name in Series._fields}, "temperature": temperature, **values}


# --- stability ----------------------------------------------------------------------------------------------------


def stability_table(points: Iterable[Row]) -> list[Row]:
    """Points of every structure type but B1 that B1 is known for, with their ``structural_stability`` against it.

    Negative: more stable than rocksalt. ``structural_stability_per_atom`` is half of it.
    """
    points = list(points)
    rocksalt = {place_of(row): row["energy_per_formula"] for row in points if row["structure_type"] == ROCKSALT}
    rows = []
    for row in points:
        if row["structure_type"] != ROCKSALT and place_of(row) in rocksalt:
            energy = structural_stability(row["energy_per_formula"], rocksalt[place_of(row)])
            halves = {"structural_stability_per_atom": energy / ATOMS_PER_FORMULA}
            rows.append({**row, "structural_stability": energy, **halves})
    return rows


def place_of(row: Row) -> tuple[str, str, str]:
    return row["system"], row["ions"], row["formula"]


def preferred_table(points: Iterable[Row]) -> list[Row]:
    """The ranges of x in which B1 is lower than every other structure type that is known, found in two ways.

    ``linear`` draws straight lines between the points of ``structural_stability``, within ``covered``, where all
    structure types are known, at ``points`` compositions at least. ``fit`` takes the line between the end members'
    stabilities and the difference of the two fits of the mixing energy; it is None where a structure type lacks an
    end member or has no alloy. ``against`` names the other structure types.
    """
    points = list(points)
    stability = by_series(stability_table(points))
    models = {series_of(fit): model_of(fit) for fit in fit_table(mixing_table(points))}
    pairs = sorted({(group.system, group.ions) for group in stability})
    return [preferred(system, ions, stability, models) for system, ions in pairs]


def preferred(system: str, ions: str, stability: dict[Series, list[Row]], models: dict[Series, MixingModel]) -> Row:
    others = [group for group in stability if (group.system, group.ions) == (system, ions)]
    whole: Ranges = [(0.0, 1.0)]
    linear, covered, fitted = whole, whole, whole
    complete = True
    rocksalt = models.get(Series(system, ROCKSALT, ions))
    for group in others:
        x = [row["x"] for row in stability[group]]
        values = [row["structural_stability"] for row in stability[group]]
        linear = common_ranges(linear, positive_between_points(x, values))
        covered = common_ranges(covered, [(x[0], x[-1])])
        ends = dict(zip(x, values, strict=True))
        if rocksalt is None or group not in models or not {0.0, 1.0} <= ends.keys():
            complete = False
            continue
        line = Polynomial([ends[0.0], ends[1.0] - ends[0.0]])
        difference = line + models[group].polynomial() - rocksalt.polynomial()
        fitted = common_ranges(fitted, positive_polynomial(difference))
    return {
        "system": system,
        "ions": ions,
        "against": [group.structure_type for group in others],
        "points": min(len(stability[group]) for group in others),
        "covered": covered,
        "linear": linear,
        "fit": fitted if complete else None,
    }


# --- what is missing ----------------------------------------------------------------------------------------------


def missing_for_mixing(points: Sequence[Row], level: Level) -> list[Row]:
    """End members, alloys or further compositions that the curves lack, each with the command that computes it."""
    found = []
    for group, members in by_series(points).items():
        alloys, ends = alloys_of(members), ends_of(members)
        first, second = metals(group.system)
        lacking = [metal for metal in (first, second) if metal not in ends]
        compositions = {row["x"] for row in alloys}
        if compositions:
            found += [(f"{metal}N", group, f"the mixing energies of {series_text(group)}") for metal in lacking]
        if len(compositions) < 2 and not lacking:
            share = 0.75 if compositions == {0.25} else 0.25 if compositions else 0.5
            what = f"L1 of {series_text(group)}" if compositions else f"the mixing energies of {series_text(group)}"
            found.append((f"{first}{share}{second}{1 - share}N", group, what))
    return [missing(formula, group, needed_for, points, level) for formula, group, needed_for in found]


def missing_for_stability(points: Sequence[Row], level: Level) -> list[Row]:
    """What lacks B1, B3 or B4 among the compositions that are known in any structure type."""
    known = {(*place_of(row), row["structure_type"]) for row in points}
    places = dict.fromkeys(place_of(row) for row in sorted(points, key=itemgetter("system", "ions", "x")))
    found = [
        (formula, Series(system, structure_type, ions))
        for system, ions, formula in places
        for structure_type in (ROCKSALT, *COMPETITORS)
        if (system, ions, formula, structure_type) not in known
    ]
    return [missing(formula, group, f"the stability of {formula}", points, level) for formula, group in found]


def missing(formula: str, group: Series, needed_for: str, points: Sequence[Row], level: Level) -> Row:
    """One material that is missing, in a cell as large as what is there has."""
    wanted = Material(parse_composition(formula).formula, group.structure_type, group.ions)
    inside = [row for row in points if row["system"] == group.system]
    same = [row for row in inside if row["formula"] == wanted.formula] or inside
    atoms = max(row["number_of_atoms"] for row in same)
    return {**wanted._asdict(), "needed_for": needed_for, "command": run_command(wanted, level, atoms)}


def series_text(group: Series) -> str:
    return f"{group.system} in {group.structure_type}, ions {group.ions}"
