"""What jobs of the engine `ase` ask for, and how strained cells go over several of them."""

import pytest
from aiida import orm
from ase.build import bulk
from conftest import QUICK_RELAXATION
from hypothesis import given
from hypothesis import strategies as st

from aiida_hardcoat.engines import ase as engine
from aiida_hardcoat.engines import ase_resources as rule
from aiida_hardcoat.engines.ase_driver import amplitude_along
from aiida_hardcoat.physics.strain import strain_set
from aiida_hardcoat.workflows.ase import AseWorkChain
from aiida_hardcoat.workflows.ase_spread import AseSpreadWorkChain

STRAINS = strain_set().tolist()


def of(atoms, task="relax_ions", model="7net-l3i5", strains=STRAINS):
    return rule.jobs_for(atoms, strains, task, model)


# --- splitting --------------------------------------------------------------------------------------------------


@given(st.permutations(STRAINS), st.integers(1, 9))
def test_parts_are_a_partition_into_whole_directions(strains, parts):
    places = rule.split(strains, parts)
    assert sorted(place for part in places for place in part) == list(range(len(strains)))
    assert len(places) == min(parts, 6)
    of_direction = {}
    for number, part in enumerate(places):
        for place in part:
            of_direction.setdefault(amplitude_along(strains[place])[0], set()).add(number)
    assert all(len(numbers) == 1 for numbers in of_direction.values())
    sizes = [len(part) for part in places]
    largest = max(len(direction) for direction in rule.directions_of(strains))
    assert max(sizes) - min(sizes) <= largest


@given(st.lists(st.sampled_from(STRAINS), min_size=1, max_size=12, unique_by=tuple), st.integers(1, 9))
def test_strains_that_symmetry_left_are_split_too(strains, parts):
    places = rule.split(strains, parts)
    assert sorted(place for part in places for place in part) == list(range(len(strains)))
    assert all(places)


# --- the rule ---------------------------------------------------------------------------------------------------


def test_small_crystals_are_one_job_and_large_ones_several():
    assert of(8) == of(96) == 1
    assert 1 < of(300) <= of(1000) == 6
    assert of(1000, "static") < of(1000)
    assert of(300, model="7net-0") < of(300)
    assert of(1000, strains=STRAINS[:1]) == 1
    assert of(1000, strains=[]) == 1


@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from(sorted(rule.EVALUATIONS)))
def test_more_atoms_never_ask_for_less(few, more, task):
    few, more = sorted((few, more))
    assert rule.cost(few, 24, task, "chgnet") <= rule.cost(more, 24, task, "chgnet")
    assert of(few, task) <= of(more, task)
    # A potential of which nothing is known counts as the dearest.
    assert rule.cost(few, 24, task, "mace.calculators:mace_mp") == rule.cost(few, 24, task, "7net-l3i5")


@pytest.fixture(scope="module")
def cluster(aiida_profile, tmp_path_factory):
    """A code on a computer with a queue, to which nothing is submitted."""
    computer = orm.Computer(
        label="cluster",
        hostname="localhost",
        workdir=str(tmp_path_factory.mktemp("scratch")),
        transport_type="core.local",
        scheduler_type="core.slurm",
    ).store()
    computer.set_default_mpiprocs_per_machine(16)
    return orm.InstalledCode(
        label="ase", computer=computer, filepath_executable="/usr/bin/python3", default_calc_job_plugin="hardcoat.ase"
    ).store()


def build(code, atoms, strains=STRAINS, options=None, **more):
    crystal = bulk("TiN", "rocksalt", a=4.25, cubic=True) * (1, 1, atoms // 8)
    return engine.get_builder(
        code=code,
        structure=orm.StructureData(ase=crystal),
        strains=None if strains is None else orm.List(strains),
        task="relax" if strains is None else "relax_ions",
        model="7net-l3i5",
        settings=QUICK_RELAXATION,
        options=options or {},
        **more,
    )


def test_a_queue_is_asked_for_what_the_crystal_needs(cluster):
    small, middle, large = (build(cluster, atoms).ase.metadata.options for atoms in (8, 96, 480))
    assert [one["resources"]["num_cores_per_mpiproc"] for one in (small, middle, large)] == [1, 4, 4]
    assert small["max_memory_kb"] < middle["max_memory_kb"] < large["max_memory_kb"]
    assert small["max_wallclock_seconds"] == rule.HOUR < middle["max_wallclock_seconds"] <= rule.LONGEST_WALLTIME
    # Within what was measured: 0.6 GB and 17 MB an atom.
    assert large["max_memory_kb"] > 600_000 + 480 * 17_000


def test_no_job_asks_for_more_cores_than_the_computer_says(cluster):
    computer = cluster.computer
    computer.set_default_mpiprocs_per_machine(2)
    try:
        assert build(cluster, 96).ase.metadata.options["resources"]["num_cores_per_mpiproc"] == 2
    finally:
        computer.set_default_mpiprocs_per_machine(16)


def test_what_the_user_says_is_kept(cluster):
    own = {"resources": {"num_machines": 1, "num_mpiprocs_per_machine": 2}, "max_wallclock_seconds": 60, "account": "a"}
    options = build(cluster, 96, options=own).ase.metadata.options
    assert {name: options[name] for name in own} == own
    assert options["max_memory_kb"] > 0


def test_a_computer_without_a_queue_is_asked_for_nothing(code):
    builder = build(code, 1000)
    assert builder.process_class is AseWorkChain
    assert not {"max_memory_kb", "max_wallclock_seconds"} & set(builder.ase.metadata.options)


def test_only_the_strained_cells_of_a_large_crystal_are_spread(cluster):
    assert build(cluster, 96).process_class is AseWorkChain
    assert build(cluster, 800, strains=None).process_class is AseWorkChain
    builder = build(cluster, 800, jobs_at_once=2)
    assert builder.process_class is AseSpreadWorkChain
    assert builder.parts.value == of(800)
    assert builder.jobs_at_once == 2
