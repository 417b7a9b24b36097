"""From a composition to an entry, end to end, with a pair potential: numbers, links, cache and refusals."""

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from calculators import PairPotential
from conftest import ALLOY, FAULTY, PAIR, QUICK_RELAXATION, QUICK_STRAINS
from ensembles import StandIn

from aiida_hardcoat.catalogue.card import provenance
from aiida_hardcoat.catalogue.predictions import predictions_of_entry
from aiida_hardcoat.catalogue.query import search
from aiida_hardcoat.cli.run import reports
from aiida_hardcoat.data.catalogue import CatalogueGroup
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PredictionData
from aiida_hardcoat.engines.ase_driver import GPA, strained_copy
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.workflows.elastic import ElasticWorkChain
from aiida_hardcoat.workflows.launch import run
from hardcoat_ml.errors import InputError as ModelInputError


def silent(line):
    pass


def atoms_of(structure):
    atoms = structure.get_ase()
    atoms.calc = PairPotential()
    return atoms


def jobs_of(node):
    return [child for child in node.called_descendants if isinstance(child, orm.CalcJobNode)]


def count(node_class):
    return orm.QueryBuilder().append(node_class).count()


# --- the entry --------------------------------------------------------------------------------------------------


def test_entry_is_in_the_catalogue_under_its_label(alloy):
    entry = alloy.outputs.entry
    assert entry.label == "B1/Al-Ti-N/0.500000"
    assert entry.pk in [row["pk"] for row in search(system="Ti-Al-N", structure_type="B1")]
    assert (entry.system, entry.formula, entry.elements) == ("Al-Ti-N", "Al0.5Ti0.5N", ["Al", "N", "Ti"])
    assert (entry.x, entry.number_of_atoms, entry.number_of_formula_units) == (0.5, 8, 4)
    assert entry.fractions == {"Al": 0.5, "Ti": 0.5}


def test_relaxed_structure_is_at_rest(alloy):
    atoms = atoms_of(alloy.outputs.relaxed_structure)
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() <= QUICK_RELAXATION["force_thresholds"][-1]
    assert np.abs(atoms.get_stress() * GPA).max() <= QUICK_RELAXATION["stress_threshold"]
    start = atoms_of(alloy.outputs.structure)
    assert atoms.get_potential_energy() < start.get_potential_energy() - 0.01
    gradient = np.linalg.solve(start.cell.array, atoms.cell.array)
    np.testing.assert_allclose(gradient, gradient.T, atol=1e-6)


def test_entry_has_the_energy_and_volume_of_its_structure(alloy, wurtzite):
    for node in (alloy, wurtzite):
        entry, atoms = node.outputs.entry, atoms_of(node.outputs.relaxed_structure)
        units = entry.number_of_formula_units
        assert entry.energy_per_formula == pytest.approx(atoms.get_potential_energy() / units, abs=1e-9)
        assert entry.volume_per_formula == pytest.approx(atoms.get_volume() / units)
        grams_per_cubic_centimetre = atoms.get_masses().sum() * 1.66053906892 / atoms.get_volume()
        assert entry.density == pytest.approx(1000 * grams_per_cubic_centimetre, rel=1e-6)


def test_bulk_modulus_is_the_curvature_of_the_energy(wurtzite):
    """V d2E/dV2 at fixed fractional coordinates: the Voigt average of clamped ions, a bound for relaxed ones."""
    entry, atoms = wurtzite.outputs.entry, atoms_of(wurtzite.outputs.relaxed_structure)

    def energy(strain):
        copy = strained_copy(atoms, [strain, strain, strain, 0, 0, 0])
        copy.calc = atoms.calc
        return copy.get_potential_energy()

    step = 1e-3
    curvature = (energy(step) + energy(-step) - 2 * energy(0.0)) / step**2
    clamped = curvature / 9 / atoms.get_volume() * GPA
    if entry.ions == "clamped":
        assert entry.bulk_modulus_voigt == pytest.approx(clamped, rel=0.02)
    else:
        assert entry.bulk_modulus_voigt < clamped
    assert entry.bulk_modulus_reuss <= entry.bulk_modulus <= entry.bulk_modulus_voigt


def test_tensor_has_the_symmetry_of_its_parent(alloy, wurtzite):
    cubic = alloy.outputs.entry
    assert cubic.crystal_class == "cubic"
    assert (cubic.c11, cubic.c12, cubic.c44) == pytest.approx((cubic.c33, cubic.c13, cubic.c66))
    hexagonal = wurtzite.outputs.entry
    assert hexagonal.crystal_class == "hexagonal"
    assert hexagonal.c66 == pytest.approx((hexagonal.c11 - hexagonal.c12) / 2)
    # AlN itself is hexagonal: the projection has nothing to take away.
    assert hexagonal.projected_away < 0.01
    assert hexagonal.r_squared > 0.99


def test_ions_relaxed_or_clamped(wurtzite):
    entry = wurtzite.outputs.entry
    assert entry.relaxed_structure_type == "B4"
    if entry.ions == "clamped":
        # The study's internal parameter, which clamped ions keep.
        assert entry.u == pytest.approx(0.38, abs=1e-9)
        assert entry.force_threshold is None
    else:
        assert abs(entry.u - 0.38) > 1e-4
        assert entry.force_threshold in QUICK_STRAINS["force_thresholds"]
    tasks = {job.inputs.settings["task"] for job in jobs_of(wurtzite)}
    assert tasks == ({"relax_cell", "static"} if entry.ions == "clamped" else {"relax", "relax_ions"})


# --- where it came from -----------------------------------------------------------------------------------------


def test_every_number_is_linked_to_the_one_calcfunction(alloy):
    entry = alloy.outputs.entry
    sources = provenance(entry)
    assert sources.pop("calcfunction").process_label == "elastic_entry"
    relaxation = next(child for child in alloy.called if child.process_label == "RelaxWorkChain")
    strained = next(job for job in jobs_of(alloy) if job.inputs.settings["task"] == "relax_ions")
    search_node = next(child for child in alloy.called if child.process_label == "generate_sqs")
    reduction = next(child for child in alloy.called_descendants if child.process_label == "reduce_strains")
    assert strained.inputs.strains.uuid == reduction.outputs.strains.uuid
    assert reduction.inputs.structure.uuid == relaxation.outputs.structure.uuid
    assert reduction.inputs.settings.uuid == alloy.inputs.strains.uuid
    expected = {
        "structure": relaxation.outputs.structure,
        "reference": relaxation.outputs.trajectory,
        "reference_summary": relaxation.outputs.summary,
        "strained": strained.outputs.trajectory,
        "strained_summary": strained.outputs.summary,
        "strains": strained.inputs.strains,
        "description": alloy.inputs.sqs,
        "ions": alloy.inputs.ions,
        "sqs": search_node.outputs.report,
        "symmetry": reduction.outputs.symmetry,
    }
    assert {name: node.uuid for name, node in sources.items()} == {name: node.uuid for name, node in expected.items()}


def test_entry_descends_from_the_search_the_jobs_and_the_code(alloy):
    query = orm.QueryBuilder().append(orm.Node, filters={"id": alloy.outputs.entry.pk}, tag="entry")
    query.append(orm.Node, with_descendants="entry", project="uuid")
    ancestors = set(query.all(flat=True))
    for node in (alloy.outputs.structure, alloy.inputs.sqs, alloy.inputs.code, *jobs_of(alloy)):
        assert node.uuid in ancestors


def test_entry_tells_level_of_theory_and_cost(alloy):
    entry = alloy.outputs.entry
    assert entry.level == PAIR
    assert entry.level_of_theory["model"] == "calculators:PairPotential"
    spent = sum(job.outputs.summary["evaluations"] for job in jobs_of(alloy))
    assert entry.evaluations == spent
    # Eight atoms in order are a crystal with symmetry: of the twelve strains asked for some follow from others.
    assert 3 <= entry.number_of_strains < 12
    assert entry.number_of_strains + entry.number_of_equivalent_strains == 12
    assert entry.space_group is not None


def test_progress_is_told_while_it_runs(alloy):
    computed = alloy.outputs.entry.number_of_strains
    assert any(f"[{computed}/{computed}]" in line for line in alloy.progress)
    assert sum(" evaluations in " in line for line in alloy.progress) == 2


# --- once more --------------------------------------------------------------------------------------------------


def test_second_run_computes_nothing_and_adds_no_second_entry(alloy, alloy_builder):
    group = CatalogueGroup.collection.get(label="catalogue")
    members = group.count()
    again = run(alloy_builder("Al0.5Ti0.5N"), silent)
    assert again.is_finished_ok
    assert jobs_of(again)
    assert all(job.base.caching.is_created_from_cache for job in jobs_of(again))
    assert again.outputs.entry.base.attributes.all == alloy.outputs.entry.base.attributes.all
    assert group.count() == members


def test_a_run_without_cache_gives_the_same_numbers(alloy, alloy_builder):
    _, again = run_get_node(alloy_builder())
    assert again.is_finished_ok
    assert not any(job.base.caching.is_created_from_cache for job in jobs_of(again))
    one, other = (node.outputs.entry.base.attributes.all for node in (alloy, again))
    differing = {name for name in one if one[name] != other[name]}
    assert differing <= {"seconds"}


def test_the_workchain_takes_what_an_earlier_relaxation_found(alloy, code):
    """Without a reference the workchain computes the unstrained cell itself, and finds the same tensor."""
    builder = ElasticWorkChain.get_builder_from_protocol(
        code,
        alloy.outputs.relaxed_structure,
        "fast",
        QUICK_STRAINS,
        composition="Ti0.5Al0.5N",
        structure_type="B1",
        engine=PAIR,
    )
    node = run(builder, silent)
    assert node.is_finished_ok, node.exit_message
    entry, other = node.outputs.entry, alloy.outputs.entry
    np.testing.assert_allclose(entry.tensor_fitted, other.tensor_fitted, atol=1e-6)
    assert entry.energy_per_formula == pytest.approx(other.energy_per_formula, abs=1e-9)
    assert entry.level_fingerprint == other.level_fingerprint
    assert entry.sqs_seed is None
    tasks = sorted((job.inputs.settings["task"], job.base.caching.is_created_from_cache) for job in jobs_of(node))
    assert tasks == [("relax_ions", True), ("static", False)]


# --- symmetry ---------------------------------------------------------------------------------------------------


def check_against_the_full_set(reduced, build, overrides):
    """The same run once more with every strain computed."""
    strains = {**overrides["strains"], "symmetry_tolerance": 0}
    node = run(build({**overrides, "strains": strains}), silent)
    assert node.is_finished_ok, node.exit_message
    assert "reduce_strains" not in [child.process_label for child in node.called_descendants]
    full = node.outputs.entry
    assert (full.number_of_strains, full.number_of_equivalent_strains, full.space_group) == (12, 0, None)
    assert reduced.number_of_strains + reduced.number_of_equivalent_strains == 12
    assert reduced.evaluations < full.evaluations
    # Ions at rest to 1e-3 eV/Angstrom leave some hundredths of a GPa of stress, over strains of 0.01 and 0.02.
    slack = 0.5 if reduced.ions == "relaxed" else 1e-6
    np.testing.assert_allclose(reduced.tensor_fitted, full.tensor_fitted, atol=slack)


@pytest.mark.parametrize(("structure_type", "space_group"), [("B1", "Fm-3m"), ("B3", "F-43m")])
def test_a_cubic_crystal_needs_three_of_twelve_strains(alloy_builder, structure_type, space_group):
    def build(overrides):
        return alloy_builder("AlN", structure_type, overrides=overrides)

    overrides = {**ALLOY, "sqs": {"atoms": 2}}
    node = run(build(overrides), silent)
    assert node.is_finished_ok, node.exit_message
    assert (node.outputs.entry.number_of_strains, node.outputs.entry.space_group) == (3, space_group)
    check_against_the_full_set(node.outputs.entry, build, overrides)


def test_wurtzite_needs_nine_of_twelve_strains(wurtzite, alloy_builder):
    entry = wurtzite.outputs.entry
    assert (entry.number_of_strains, entry.space_group) == (9, "P6_3mc")
    check_against_the_full_set(
        entry,
        lambda overrides: alloy_builder("AlN", "B4", ions=entry.ions, overrides=overrides),
        {**ALLOY, "sqs": {"atoms": 16}},
    )


@pytest.mark.parametrize("tolerance", [-0.001, 0.5])
def test_a_symmetry_tolerance_that_cannot_be_is_refused(alloy, code, tolerance):
    """By the protocol, and in a builder that is filled by hand."""

    def build(overrides):
        about = {"composition": "Ti0.5Al0.5N", "structure_type": "B1", "engine": PAIR}
        structure = alloy.outputs.relaxed_structure
        return ElasticWorkChain.get_builder_from_protocol(code, structure, "fast", overrides, **about)

    with pytest.raises(InputError, match="symmetry_tolerance"):
        build({"symmetry_tolerance": tolerance})
    builder = build({})
    with pytest.raises(ValueError, match="symmetry_tolerance"):
        builder.settings = orm.Dict({**builder.settings.get_dict(), "symmetry_tolerance": tolerance})


# --- the learned moduli -----------------------------------------------------------------------------------------


def test_every_entry_gets_one_prediction_in_the_catalogue(alloy, wurtzite):
    members = {node.pk for node in CatalogueGroup.collection.get(label="catalogue").nodes}
    for node in (alloy, wurtzite):
        prediction = node.outputs.prediction
        assert prediction.pk in members
        assert provenance(prediction)["structure"].uuid == node.outputs.relaxed_structure.uuid
        assert predictions_of_entry(node.outputs.entry)[0]["pk"] == prediction.pk
        assert [child.process_label for child in node.called].count("learned_moduli") == 1
        assert reports(node) == []


def test_a_second_run_predicts_nothing_anew(alloy, alloy_builder):
    before = count(PredictionData)
    again = run(alloy_builder(), silent)
    assert again.outputs.prediction.uuid == alloy.outputs.prediction.uuid
    assert count(PredictionData) == before


def test_a_second_run_with_new_weights_adds_a_prediction_for_the_entry_of_the_first(alloy, alloy_builder, monkeypatch):
    monkeypatch.setattr("aiida_hardcoat.learned.load_ensemble", lambda: StandIn(shift=23.0))
    again = run(alloy_builder(), silent)
    assert again.outputs.prediction.uuid != alloy.outputs.prediction.uuid
    assert again.outputs.prediction.pk in [row["pk"] for row in predictions_of_entry(alloy.outputs.entry)]


def refuse(*_):
    raise ModelInputError("no file cgcnn.json:\na model is two files")


def break_down(*_):
    raise RuntimeError("the network is broken")


@pytest.mark.parametrize(("fault", "words"), [(refuse, "cgcnn.json"), (break_down, "the network is broken")])
def test_what_keeps_a_model_from_predicting_never_fails_the_run(alloy, alloy_builder, monkeypatch, fault, words):
    """One line in the report of the process, and the entry stands."""
    monkeypatch.setattr("aiida_hardcoat.learned.load_ensemble", fault)
    before = count(PredictionData)
    node = run(alloy_builder(), silent)
    assert node.is_finished_ok
    assert "prediction" not in node.outputs
    assert node.outputs.entry.base.attributes.all == alloy.outputs.entry.base.attributes.all
    (line,) = reports(node)
    assert line.startswith("no learned moduli: ")
    assert words in line
    assert "\n" not in line
    assert count(PredictionData) == before


# --- refusals ---------------------------------------------------------------------------------------------------


def test_strains_that_fail_in_the_middle_leave_no_entry_and_say_how_far_they_came(alloy_builder):
    group = CatalogueGroup.collection.get_or_create(label="catalogue")[0]
    members, entries = group.count(), count(ElasticData)
    # The relaxation of this cell needs fewer evaluations than that, its twelve strained cells more.
    fault = {"engine_settings": {"model_options": {"fault": "memory", "after": 8}}}
    overrides = {
        "sqs": {"atoms": 8},
        "relaxation": {**QUICK_RELAXATION, **fault},
        "strains": {**QUICK_STRAINS, "symmetry_tolerance": 0, **fault},
    }
    node = run(alloy_builder(engine=FAULTY, overrides=overrides), silent)
    assert node.exit_status == node.process_class.exit_codes.ERROR_STRAINS_FAILED.status
    assert "emory" in node.exit_message
    assert "entry" not in node.outputs
    assert (group.count(), count(ElasticData)) == (members, entries)
    elastic = next(child for child in node.called if child.process_label == "ElasticWorkChain")
    assert elastic.exit_status == ElasticWorkChain.exit_codes.ERROR_STRAINS_FAILED.status
    job = next(job for job in jobs_of(node) if "strains" in job.inputs)
    finished = job.outputs.summary["finished"]
    assert 0 < finished < 12
    assert f"{finished} of 12 strained cells" in elastic.exit_message
    assert "relaxed_structure" in node.outputs


def test_relaxation_that_fails_ends_the_run_before_any_strain(alloy_builder):
    entries = count(ElasticData)
    fault = {"engine_settings": {"model_options": {"fault": "nan energy"}}}
    overrides = {**ALLOY, "relaxation": {**QUICK_RELAXATION, **fault}, "strains": {**QUICK_STRAINS, **fault}}
    node = run(alloy_builder(engine=FAULTY, overrides=overrides), silent)
    assert node.exit_status == node.process_class.exit_codes.ERROR_RELAXATION_FAILED.status
    assert "Not a number" in node.exit_message
    assert [child.process_label for child in node.called] == ["generate_sqs", "RelaxWorkChain"]
    assert count(ElasticData) == entries


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sqs": {"composition": "TiO"}}, "nitride"),
        ({"sqs": {"atoms": 7}}, "7"),
        ({"sqs": {"atms": 8}}, "atoms"),
        ({"strains": {"normal": [-0.01]}}, "normal"),
        ({"relaxation": {"max_steps": 0}}, "max_steps"),
        ({"strains": None}, "lack .normal"),
    ],
)
def test_inputs_of_ones_own_are_checked_like_those_of_a_protocol(alloy_builder, change, words):
    """A builder filled by hand is refused before the first node is stored."""
    builder = alloy_builder()
    for name, values in change.items():
        builder[name] = orm.Dict({} if values is None else {**builder[name].get_dict(), **values})
    before = count(orm.Node)
    with pytest.raises(ValueError, match=words):
        run(builder, silent)
    assert count(orm.Node) == before
