"""Elastic constants against a setting of the engine, as one node."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import calcfunction

from aiida_hardcoat.data.elastic import INDEPENDENT_CONSTANTS, ElasticData

PROPERTIES = ("bulk_modulus", "shear_modulus", "lattice_a", "energy_per_formula", "reference_stress", "seconds")


@calcfunction
def convergence_series(setting: orm.Str, values: orm.List, reasons: orm.Dict, **entries: ElasticData) -> orm.Dict:
    """A row for each value of a setting.

    :param reasons: by place among ``values``, why one has no entry.
    :param entries: the others, ``entry_PLACE``.
    """
    by_place = {int(name.removeprefix("entry_")): entry for name, entry in entries.items()}
    first = next(iter(by_place.values())).base.attributes.all
    constants = INDEPENDENT_CONSTANTS[first["crystal_class"]]
    rows = []
    for place, value in enumerate(values.get_list()):
        if place in by_place:
            rows.append({"value": value, **row(by_place[place], (*constants, *PROPERTIES))})
        else:
            rows.append({"value": value, "failed": reasons[str(place)]})
    about = {name: first[name] for name in ("formula", "structure_type", "number_of_atoms", "ions", "level")}
    units = dict.fromkeys((*constants, "bulk_modulus", "shear_modulus", "reference_stress"), "GPa")
    units |= {"lattice_a": "Angstrom", "energy_per_formula": "eV", "seconds": "s"}
    return orm.Dict({**about, "setting": setting.value, "constants": list(constants), "rows": rows, "units": units})


def row(entry: ElasticData, names: tuple[str, ...]) -> dict[str, Any]:
    """What the series keeps of an entry."""
    return {"entry": entry.uuid, **{name: entry.base.attributes.get(name) for name in names}}
