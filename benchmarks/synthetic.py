"""A temporary AiiDA profile full of made-up entries, of this project's own node types and with their provenance.

Behind an entry stand a structure of 96 atoms and the calculation that made the entry from it; beside it the calculation
and the node of a prediction for the same structure. Entries and predictions are members of the catalogue. Tensors,
volumes and energies are made up, tensors being stable; the rest follows from these, from the composition and from the
level of theory as in a real entry, so that a bundle of such entries verifies. Each entry is made and checked as a node
of this package. All nodes go in by AiiDA's bulk insert, because storing each by itself would take many times as long.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # AiiDA makes its folder when it is imported
    from ase import Atoms

    from aiida_hardcoat.data.flat import FlatData

METALS = {"Al": 26.98, "Cr": 52.0, "Hf": 178.5, "Nb": 92.91, "Ta": 180.9, "Ti": 47.87, "V": 50.94, "Zr": 91.22}
"""Atomic mass of each metal, u."""
NITROGEN = 14.007
STRUCTURES = {"B1": "cubic", "B3": "cubic", "B4": "hexagonal"}
WURTZITE = {"a": 3.1, "c": 4.98, "u": 0.38}
"""The lattice of B4 before it is scaled to an entry's volume; Angstrom, u in units of c."""
SITES = 48
"""Metal sites of a cell of 96 atoms."""
STRIDE = 29
"""Compositions come in steps of this many metal sites, so that few entries already span the range of x."""
TENSORS = 400
"""Different tensors for each crystal class; more entries than that repeat them."""
LEVELS = ({"engine": "ase", "model": "7net-l3i5"}, {"engine": "ase", "model": "7net-0"})
BATCH = 100
"""Entries for one insertion: the time that AiiDA takes for one grows with the square of it."""
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
"""When the first entry was made; the others follow by the minute."""


@contextmanager
def synthetic_profile(storage: str = "sqlite") -> Iterator[Any]:
    """A loaded profile in a temporary folder that goes with it; commands started meanwhile find it by AIIDA_PATH.

    To be entered before anything has imported AiiDA.

    :param storage: ``sqlite``, or ``postgresql`` for a server of its own on loopback.
    """
    with tempfile.TemporaryDirectory(prefix="hardcoat-benchmark-") as folder:
        os.environ["AIIDA_PATH"] = folder
        from aiida.manage import get_config, get_manager, load_profile
        from aiida.manage.configuration import create_profile

        with postgresql_server(storage) as server:
            config = get_config(create=True)
            profile = create_profile(
                config,
                name="synthetic",
                email="hardcoat@localhost",
                storage_backend="core.psql_dos" if server else "core.sqlite_dos",
                storage_config={**server, "repository_uri": f"file://{folder}/repository"} if server else {},
            )
            config.set_default_profile(profile.name)
            config.store()
            load_profile(profile.name)
            try:
                yield profile
            finally:
                get_manager().unload_profile()


@contextmanager
def postgresql_server(storage: str) -> Iterator[dict[str, Any]]:
    """How to reach a PostgreSQL that runs until the end; nothing for another storage.

    Its programs are those on PATH, or where Debian has them. Where there are none the command ends with 2.
    """
    if storage != "postgresql":
        yield {}
        return
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    programs += [Path(found).parent for found in [shutil.which("initdb")] if found]
    if not programs:
        print("no PostgreSQL here: `apt-get install postgresql` brings initdb and pg_ctl", file=sys.stderr)
        raise SystemExit(2)
    # PostgreSQL refuses to run as root; Debian's package makes this user.
    other = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="hardcoat-postgresql-") as folder:
        if other:
            shutil.chown(folder, "postgres")

        def call(program: str, *arguments: str) -> None:
            command = [*other, str(programs[-1] / program), "-D", f"{folder}/data", *arguments]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)

        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        call("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        call("pg_ctl", "-l", f"{folder}/log", "-o", options, "-w", "start")
        try:
            yield {
                "database_engine": "postgresql_psycopg",
                "database_hostname": "127.0.0.1",
                "database_port": port,
                "database_username": "postgres",
                "database_password": "",
                "database_name": "postgres",
            }
        finally:
            call("pg_ctl", "-m", "immediate", "-w", "stop")


def store_entries(number: int, first: int = 0) -> None:
    """Store that many entries with their structures, calculations and predictions in the loaded profile.

    :param first: the place of the first one in the series, that is how many are there already.

    They run through all pairs of :data:`METALS`, B1, B3 and B4, compositions from 1/48 to 1, relaxed and clamped ions
    and two levels of theory. The same place makes the same numbers.
    """
    from aiida.manage import get_manager
    from aiida.orm import User
    from aiida.orm.entities import EntityTypes

    from aiida_hardcoat.data.catalogue import catalogue

    group = catalogue()
    backend = get_manager().get_profile_storage()
    user = User.collection.get_default().pk
    for start in range(first, first + number, BATCH):
        nodes = []
        for place in range(start, min(start + BATCH, first + number)):
            made = FIRST + timedelta(minutes=place)
            rows = made_up(place, random.Random(place))
            nodes += [{**row, "ctime": made, "mtime": made, "user_id": user} for row in rows]
        pks = backend.bulk_insert(EntityTypes.NODE, nodes)
        links, members = [], []
        for place in range(0, len(pks), 5):
            structure, fit, entry, predict, prediction = pks[place : place + 5]
            links += [
                link(structure, fit, "input_calc", "structure"),
                link(fit, entry, "create", "result"),
                link(structure, predict, "input_calc", "structure"),
                link(predict, prediction, "create", "result"),
            ]
            members += [{"dbnode_id": pk, "dbgroup_id": group.pk} for pk in (entry, prediction)]
        backend.bulk_insert(EntityTypes.LINK, links)
        backend.bulk_insert(EntityTypes.GROUP_NODE, members)


def hash_nodes() -> None:
    """Give every node the hash that it has when AiiDA stores it; some milliseconds a node."""
    from aiida.manage import get_manager
    from aiida.orm import Node, QueryBuilder

    nodes = QueryBuilder().append(Node, project="*").all(flat=True)
    with get_manager().get_profile_storage().transaction():
        for node in nodes:
            node.base.caching.rehash()


def made_up(place: int, generator: random.Random) -> list[dict[str, Any]]:
    """Rows of the five nodes of one entry: structure, calculation, entry, calculation, prediction."""
    from aiida.orm import StructureData

    from aiida_hardcoat.calculations.elastic import level_fingerprint
    from aiida_hardcoat.data.elastic import ElasticData, entry_label
    from aiida_hardcoat.data.prediction import PredictionData

    pairs = list(combinations(METALS, 2))
    place, pair = divmod(place, len(pairs))
    place, kind = divmod(place, len(STRUCTURES))
    place, step = divmod(place, SITES)
    place, clamped = divmod(place, 2)
    place, number = divmod(place, len(LEVELS))
    structure_type, level = list(STRUCTURES)[kind], LEVELS[number]
    first = STRIDE * step % SITES + 1
    occupied = zip(pairs[pair], (first, SITES - first), strict=True)
    counts = {metal: sites for metal, sites in occupied if sites}
    volume = generator.uniform(17.0, 24.0)
    composition = {
        **composition_fields(tuple(counts.items())),
        "structure_type": structure_type,
        "number_of_atoms": 2 * SITES,
    }
    entry = {
        **composition,
        "relaxed_structure_type": structure_type,
        "crystal_class": STRUCTURES[structure_type],
        "ions": ("relaxed", "clamped")[clamped],
        "number_of_formula_units": SITES,
        "level": f"{level['engine']}:{level['model']}",
        "level_fingerprint": level_fingerprint(level),
        "level_of_theory": level,
        "energy_per_formula": generator.uniform(-20.0, -17.0),
        **tensor_fields(STRUCTURES[structure_type], generator.randrange(TENSORS)),
        "cell_shape": "cubic",
        "sqs_seed": place,
        "sqs_objective": generator.uniform(0.0, 0.1),
        "sqs_percentile": generator.uniform(0.0, 1.0),
        "sqs_occupation_hash": f"{generator.getrandbits(64):016x}",
        "hardcoat_version": "synthetic",
    }
    entry |= volume_fields(counts, structure_type, volume, entry)
    prediction = {**composition, **learned_fields(entry, generator), "hardcoat_version": "synthetic"}
    label = entry_label(structure_type, composition["system"], composition["x"])
    structure = structure_attributes(counts, structure_type, volume, generator)
    return [
        node(StructureData.class_node_type, structure),
        calculation("elastic_entry", "aiida_hardcoat.calculations.elastic"),
        node(ElasticData.class_node_type, checked(ElasticData(**entry)), label),
        calculation("learned_moduli", "aiida_hardcoat.calculations.prediction"),
        node(PredictionData.class_node_type, checked(PredictionData(**prediction)), label),
    ]


def checked(made: FlatData) -> dict[str, Any]:
    """Attributes of an entry or a prediction, after the checks that come with storing it."""
    attributes = made.base.attributes.all
    made.check_consistency(attributes)
    return attributes


@cache
def composition_fields(counts: tuple[tuple[str, int], ...]) -> dict[str, Any]:
    from aiida_hardcoat.physics.composition import parse_composition

    composition = parse_composition("".join(f"{metal}{number}" for metal, number in counts) + f"N{SITES}")
    return {
        "system": composition.system,
        "formula": composition.formula,
        "elements": list(composition.elements),
        "fractions": {metal: float(fraction) for metal, fraction in composition.fractions},
        "x": composition.x,
    }


def volume_fields(counts: dict[str, int], structure_type: str, volume: float, moduli: dict[str, Any]) -> dict[str, Any]:
    """What follows from the volume of a formula unit, Angstrom^3, with the metals in it and the entry's moduli."""
    from aiida_hardcoat.physics import acoustics

    masses = [SITES * NITROGEN, *(METALS[metal] * number for metal, number in counts.items())]
    density = acoustics.density(masses, SITES * volume)
    velocities = acoustics.sound_velocities(moduli["bulk_modulus"], moduli["shear_modulus"], density)
    return {
        "volume_per_formula": volume,
        "density": density,
        "lattice_a": (4 * volume) ** (1 / 3) if structure_type != "B4" else WURTZITE["a"] * scale("B4", volume),
        "debye_temperature": acoustics.debye_temperature(velocities.mean, 2 / volume),
        "sound_velocity_longitudinal": velocities.longitudinal,
        "sound_velocity_transverse": velocities.transverse,
        "sound_velocity_mean": velocities.mean,
    }


@cache
def tensor_fields(crystal_class: str, number: int) -> dict[str, Any]:
    """What follows from one made-up stable tensor alone."""
    import numpy as np

    from aiida_hardcoat.calculations import elastic
    from aiida_hardcoat.physics.properties import elastic_properties

    generator = random.Random(f"{crystal_class} {number}")
    c11, c12 = generator.uniform(350.0, 650.0), generator.uniform(90.0, 180.0)
    if crystal_class == "cubic":
        c13, c33, c44 = c12, c11, generator.uniform(100.0, 300.0)
        c66 = c44
    else:
        c13, c33, c44 = generator.uniform(80.0, 150.0), generator.uniform(350.0, 650.0), generator.uniform(80.0, 200.0)
        c66 = (c11 - c12) / 2
    tensor = np.diag([c11, c11, c33, c44, c44, c66])
    tensor[[0, 1], [1, 0]] = c12
    tensor[[0, 1, 2, 2], [2, 2, 0, 1]] = c13
    errors = {f"{name}_modulus_error": 0.4 for name in ("bulk", "shear", "youngs")}
    hexagonal = {"c_over_a": WURTZITE["c"] / WURTZITE["a"], "u": WURTZITE["u"], "u_spread": 0.0}
    return {
        **(hexagonal if crystal_class == "hexagonal" else {}),
        "tensor_fitted": tensor.tolist(),
        "standard_errors": np.full((6, 6), 0.5).tolist(),
        "r_squared": 0.9999,
        "residual": 0.1,
        "largest_residual": 0.3,
        "reference_stress": 0.05,
        "number_of_strains": 24,
        "number_of_equivalent_strains": 0,
        "space_group": None,
        "force_threshold": 0.001,
        "evaluations": 500,
        "seconds": 1000.0,
        **elastic.tensor_fields(elastic_properties(tensor, crystal_class)),
        **errors,
        "poisson_ratio_error": 0.001,
    }


def learned_fields(entry: dict[str, Any], generator: random.Random) -> dict[str, Any]:
    """A prediction that is off by a few percent."""
    bulk, shear = (entry[name] * generator.gauss(1.0, 0.05) for name in ("bulk_modulus", "shear_modulus"))
    young, poisson = 9 * bulk * shear / (3 * bulk + shear), (3 * bulk - 2 * shear) / (2 * (3 * bulk + shear))
    distance = generator.uniform(0.1, 1.5)
    fields: dict[str, Any] = {
        "model_name": "synthetic",
        "model_version": "1",
        "model_sha256": "5" * 64,
        "model_fingerprint": "5" * 16,
        "training_data": "0" * 64,
        "distance": distance,
        "far": distance > 1,
        "in_training_data": False,
    }
    moduli = {"bulk_modulus": bulk, "shear_modulus": shear, "youngs_modulus": young, "poisson_ratio": poisson}
    for name, value in moduli.items():
        half = 0.1 * abs(value)
        fields |= {name: value, f"{name}_spread": half / 2, f"{name}_low": value - half, f"{name}_high": value + half}
    return fields


def structure_attributes(
    counts: dict[str, int], structure_type: str, volume: float, generator: random.Random
) -> dict[str, Any]:
    """Attributes of a StructureData: the parent lattice with metals at random sites and a volume for each formula."""
    parent, factor = lattice(structure_type), scale(structure_type, volume)
    metals = [metal for metal, number in counts.items() for _ in range(number)]
    generator.shuffle(metals)
    kinds = {**{metal: METALS[metal] for metal in counts}, "N": NITROGEN}
    positions = (parent.positions * factor).tolist()
    return {
        "cell": (parent.cell.array * factor).tolist(),
        **{f"pbc{axis}": True for axis in (1, 2, 3)},
        "kinds": [{"name": name, "symbols": [name], "weights": [1.0], "mass": mass} for name, mass in kinds.items()],
        "sites": [
            {"kind_name": "N" if symbol == "N" else metals.pop(), "position": position}
            for symbol, position in zip(parent.get_chemical_symbols(), positions, strict=True)
        ],
    }


@cache
def lattice(structure_type: str) -> Atoms:
    """48 metals (called Ti) and 48 N."""
    from ase.build import bulk

    if structure_type == "B4":
        return bulk("TiN", "wurtzite", **WURTZITE).repeat((3, 4, 2))
    name = {"B1": "rocksalt", "B3": "zincblende"}[structure_type]
    return bulk("TiN", name, a=4.24, cubic=True).repeat((2, 2, 3))


def scale(structure_type: str, volume: float) -> float:
    """What lengths of the lattice are multiplied by for a volume of the formula unit, Angstrom^3."""
    return (SITES * volume / lattice(structure_type).get_volume()) ** (1 / 3)


def node(
    node_type: str, attributes: dict[str, Any], label: str = "", process_type: str | None = None
) -> dict[str, Any]:
    """A row of AiiDA's table of nodes, but for its times and its user."""
    return {
        "uuid": str(uuid.uuid4()),
        "node_type": node_type,
        "process_type": process_type,
        "label": label,
        "description": "",
        "attributes": as_stored(attributes),
        "extras": {},
        "repository_metadata": {},
        "dbcomputer_id": None,
    }


def as_stored(attributes: dict[str, Any]) -> dict[str, Any]:
    """As AiiDA stores attributes: floats have 14 digits."""
    return json.loads(json.dumps(attributes), parse_float=lambda digits: float(f"{float(digits):.14g}"))


def calculation(name: str, module: str) -> dict[str, Any]:
    attributes = {
        "version": {"core": "2.9", "plugin": "synthetic"},
        "sealed": True,
        "exit_status": 0,
        "process_label": name,
        "process_state": "finished",
        "function_name": name,
        "function_namespace": module,
    }
    return node("process.calculation.calcfunction.CalcFunctionNode.", attributes, name, f"{module}.{name}")


def link(source: int, target: int, kind: str, label: str) -> dict[str, Any]:
    return {"input_id": source, "output_id": target, "label": label, "type": kind}


def storage_bytes() -> int:
    """What the database of the loaded profile takes on disk."""
    from aiida.manage import get_manager
    from sqlalchemy import text

    session = get_manager().get_profile_storage().get_session()
    if session.get_bind().dialect.name == "postgresql":
        return int(session.execute(text("SELECT pg_database_size(current_database())")).scalar())
    return Path(session.get_bind().url.database).stat().st_size
