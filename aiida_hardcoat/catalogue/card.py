"""The card of one entry: what it is, its numbers with their errors, and where each came from."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Sequence
from typing import Any

from aiida.common.links import LinkType
from aiida.orm import Dict, Node

from aiida_hardcoat.catalogue.predictions import disagreement, inside, predictions_of_entry
from aiida_hardcoat.data.elastic import ElasticData

MODULI = (
    ("Bulk modulus", "bulk_modulus", "GPa"),
    ("Shear modulus", "shear_modulus", "GPa"),
    ("Young's modulus", "youngs_modulus", "GPa"),
    ("Poisson's ratio", "poisson_ratio", ""),
)
SPREAD = ("c11", "c12", "c44", "bulk_modulus", "shear_modulus", "youngs_modulus", "poisson_ratio", "energy_per_formula")


def provenance(entry: ElasticData) -> dict[str, Node]:
    """The calcfunction that made an entry, and its inputs by name."""
    maker = entry.base.links.get_incoming(link_type=LinkType.CREATE).first()
    if maker is None:
        return {}
    inputs = maker.node.base.links.get_incoming(link_type=LinkType.INPUT_CALC).all()
    return {"calcfunction": maker.node, **{link.link_label: link.node for link in inputs}}


def card(entry: ElasticData) -> str:
    """The card as text."""
    sources = provenance(entry)
    lines = [
        f"{entry.label}   {entry.formula} in {entry.structure_type}, ions {entry.ions}   (pk {entry.pk})",
        "",
        *tensor_lines(entry),
        "",
        *moduli_lines(entry),
        "",
        *state_lines(entry),
        *quality_lines(entry, sources.get("sqs")),
        *level_lines(entry),
        *source_lines(entry, sources),
        *learned_lines(entry),
    ]
    return "\n".join(lines)


def tensor_lines(entry: ElasticData) -> list[str]:
    lines = [f"Elastic tensor, projected onto {entry.crystal_class} symmetry (GPa; +- standard error of the fit)"]
    names = ("c11", "c12", "c44") if entry.crystal_class == "cubic" else ("c11", "c12", "c13", "c33", "c44", "c66")
    errors = entry.standard_errors
    for name in names:
        i, j = int(name[1]) - 1, int(name[2]) - 1
        lines.append(f"  {name:4s} {getattr(entry, name):9.2f} +- {errors[i][j]:.2f}")
    lines.append("  as fitted:")
    lines.extend("  " + "".join(f"{value:9.2f}" for value in row) for row in entry.tensor_fitted)
    lines.append(
        f"  projected away {100 * entry.projected_away:.2f} %; R2 {entry.r_squared:.6f}; residual "
        f"{entry.residual:.3f} GPa (largest {entry.largest_residual:.3f}); {strains_text(entry)}"
    )
    return lines


def strains_text(entry: ElasticData) -> str:
    """How many strains were computed, and how many followed from them."""
    more = entry.number_of_equivalent_strains
    return f"{entry.number_of_strains} strains" + (f" and {more} by symmetry ({entry.space_group})" if more else "")


def moduli_lines(entry: ElasticData) -> list[str]:
    lines = []
    for title, name, unit in MODULI:
        value, error = getattr(entry, name), getattr(entry, f"{name}_error")
        digits = 3 if name == "poisson_ratio" else 2
        text = "not defined"
        if value is not None:
            text = f"{value:9.{digits}f} +- {0.0 if error is None else error:.{digits}f} {unit}".rstrip()
        bounds = ""
        if value is not None and name in ("bulk_modulus", "shear_modulus"):
            bounds = f"  (Voigt {getattr(entry, name + '_voigt'):.2f}, Reuss {getattr(entry, name + '_reuss'):.2f})"
        lines.append(f"{title:18s}{text}{bounds}")
    hardness = {
        "Chen 2011": entry.hardness_chen_2011,
        "Tian 2012": entry.hardness_tian_2012,
        "Teter 1998": entry.hardness_teter_1998,
        "Mazhnik-Oganov 2019": entry.hardness_mazhnik_oganov_2019,
    }
    shown = ", ".join(f"{value:.1f} ({model})" for model, value in hardness.items() if value is not None)
    lines.append(f"{'Hardness':18s}{shown or 'not defined'} GPa")
    lines.append(
        f"{'Stability':18s}{'stable' if entry.stable else 'NOT stable'} (Born; smallest eigenvalue "
        f"{entry.smallest_eigenvalue:.1f} GPa), with tolerance 1.1: {'stable' if entry.stable_with_tolerance else 'no'}"
    )
    anisotropy = [f"universal {entry.universal_anisotropy:.4f}"] if entry.universal_anisotropy is not None else []
    if entry.zener_anisotropy is not None:
        anisotropy.append(f"Zener {entry.zener_anisotropy:.3f}")
    if entry.log_euclidean_anisotropy is not None:
        anisotropy.append(f"log-Euclidean {entry.log_euclidean_anisotropy:.4f}")
    if entry.youngs_modulus_min is not None:
        anisotropy.append(f"E from {entry.youngs_modulus_min:.0f} to {entry.youngs_modulus_max:.0f} GPa")
    lines.append(f"{'Anisotropy':18s}{', '.join(anisotropy) or 'not defined'}")
    if entry.debye_temperature is not None:
        lines.append(
            f"{'Sound':18s}{entry.sound_velocity_longitudinal:.0f} m/s longitudinal, "
            f"{entry.sound_velocity_transverse:.0f} m/s transverse; Debye temperature {entry.debye_temperature:.0f} K"
        )
    return lines


def state_lines(entry: ElasticData) -> list[str]:
    lines = [
        f"{'Energy':18s}{entry.energy_per_formula:.6f} eV per formula unit",
        f"{'Lattice':18s}a = {entry.lattice_a:.4f} Angstrom, {entry.volume_per_formula:.4f} cubic Angstrom per formula "
        f"unit, {entry.density:.0f} kg/m^3",
    ]
    if entry.u is not None:
        lines.append(
            f"{'Wurtzite':18s}c/a = {entry.c_over_a:.4f}, u = {entry.u:.4f} (spread {entry.u_spread:.4f}): "
            f"{entry.structure_type} is {entry.relaxed_structure_type} after relaxation"
        )
    threshold = "" if entry.force_threshold is None else f", forces to {entry.force_threshold:g} eV/Angstrom"
    lines.append(f"{'Unstrained stress':18s}{entry.reference_stress:.3f} GPa at most{threshold}")
    return lines


def quality_lines(entry: ElasticData, sqs: Node | None) -> list[str]:
    if not isinstance(sqs, Dict):
        return []
    report = sqs.get_dict()
    lines = [f"{'Cell':18s}{entry.number_of_atoms} atoms, {report['shape']} {report['matrix']}"]
    if len(report["counts"]) > 1:
        lines.append(
            f"{'SQS':18s}objective {report['objective']:.4f} (pairs {report['pair_mismatch']:.4f}, triplets "
            f"{report['triplet_mismatch']:.4f}, single vectors rms {report['vector_rms']:.4f}); seed {report['seed']}; "
            f"{report['random_cells']['percentile']:.1f} % of random cells are as good"
        )
    return lines


def level_lines(entry: ElasticData) -> list[str]:
    """Level of theory with all that decides it, and the cost."""
    facts = []
    for name, value in entry.level_of_theory.items():
        if name in ("engine", "model") or value in (None, {}, []):
            continue
        if name == "potentials":
            value = ", ".join(potential["label"] for potential in value.values())
        facts.append(f"{name.replace('_', ' ')} {str(value)[:16] if name == 'sha256' else value}")
    text = textwrap.wrap(", ".join(facts), 100, initial_indent=" " * 18, subsequent_indent=" " * 18)
    return [
        f"{'Level of theory':18s}{entry.level}, fingerprint {entry.level_fingerprint}",
        *text,
        f"{'Cost':18s}{entry.evaluations} engine evaluations, {entry.seconds:.0f} s in the engine",
    ]


def source_lines(entry: ElasticData, sources: dict[str, Node]) -> list[str]:
    """Which node each input of the entry is, and the calculation behind it."""
    lines = [f"{'Made by':18s}aiida-hardcoat {entry.hardcoat_version}, uuid {entry.uuid}"]
    for name, node in sources.items():
        creator = node.base.links.get_incoming(link_type=LinkType.CREATE).first()
        origin = f" from {creator.node.process_label} {creator.node.pk}" if creator is not None else ""
        lines.append(f"  {name:18s}{node.pk:>8} {type(node).__name__}{origin}")
    lines.append(f"  graph: verdi node graph generate {entry.pk}")
    return lines


def learned_lines(entry: ElasticData) -> list[str]:
    """What each model says of the entry's structure, the newest first."""
    lines = []
    for row in reversed(predictions_of_entry(entry)):
        lines += [
            "",
            f"Learned by {row['model_name']} {row['model_version']} (weights sha256 {row['model_sha256'][:16]}, pk "
            f"{row['pk']}): value, 90 % interval, spread of the members",
        ]
        for title, name, unit in MODULI:
            digits = 3 if name == "poisson_ratio" else 2
            low, high, spread = (row[f"{name}_{kind}"] for kind in ("low", "high", "spread"))
            interval = f"[{low:.{digits}f}, {high:.{digits}f}] {unit}".rstrip()
            value = f"  {title:16s}{row[name]:9.{digits}f}  {interval:22s}  +- {spread:.{digits}f}"
            lines.append(f"{value}  {verdict(getattr(entry, name), row, name)}".rstrip())
        trust = "FAR from the training data" if row["far"] else "near the training data"
        seen = "; this formula was in it" if row["in_training_data"] else ""
        lines.append(f"  {trust} (distance {row['distance']:.2f}, far from 1 on){seen}")
    return lines


def verdict(computed: float | None, predicted: dict[str, Any], name: str) -> str:
    """Whether the computed value is within the interval, and how far off in units of its half."""
    if computed is None:
        return ""
    share = disagreement(computed, predicted, name)
    widths = "" if share is None else f" ({share:.2f} half-widths off)"
    return f"computed value {'inside' if inside(computed, predicted, name) else 'OUTSIDE'}{widths}"


def spread_table(entries: Sequence[ElasticData]) -> str:
    """Mean and standard deviation over several quasirandom structures of one alloy."""
    lines = [f"{len(entries)} quasirandom structures of {entries[0].label}", f"{'':22s}{'mean':>12s}{'spread':>12s}"]
    for name in SPREAD:
        values = [getattr(entry, name) for entry in entries]
        if None not in values:
            lines.append(f"{name:22s}{statistics.mean(values):12.4f}{statistics.stdev(values):12.4f}")
    return "\n".join(lines)


def card_json(entry: ElasticData) -> dict[str, Any]:
    """Everything stored, with the nodes it came from."""
    return {
        "pk": entry.pk,
        "uuid": entry.uuid,
        "label": entry.label,
        **entry.base.attributes.all,
        "provenance": {
            name: {"pk": node.pk, "uuid": node.uuid, "type": type(node).__name__}
            for name, node in provenance(entry).items()
        },
        "predictions": predictions_of_entry(entry),
    }
