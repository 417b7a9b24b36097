"""From stresses to an entry, on stresses whose tensor is known."""

import numpy as np
import pytest
from aiida import orm
from conftest import rocksalt

from aiida_hardcoat.calculations.elastic import elastic_entry, level_fingerprint, reduce_strains
from aiida_hardcoat.calculations.records import make_trajectory
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.strain import strain_cell, strain_set, strain_to_matrix, stress_to_matrix

STRAINS = strain_set()
# TiN in B1, Levämäki et al., npj Comput. Mater. 8, 17 (2022), Table 2: 584, 136, 166 GPa.
C11, C12, C44 = 584.0, 136.0, 166.0
LEVEL = {
    "engine": "ase",
    "model": "some:Model",
    "options": {},
    "package": "some",
    "version": "1.0",
    "sha256": "0" * 64,
    "ase_version": "3.29.0",
    "torch_version": None,
    "device": "cpu",
}


def cubic_tensor():
    tensor = np.diag([C11] * 3 + [C44] * 3)
    tensor[:3, :3] += C12 * (1 - np.eye(3))
    return tensor


def trajectory(atoms, strains, stresses, converged=None, thresholds=None):
    zeros = np.zeros((len(atoms), 3))
    records = [
        {
            "index": index, "status": "ok" if converged is None or converged[index] else "not_converged",
            "energy": -80.0, "forces": zeros, "stress": stress, "cell": strain_cell(atoms.cell.array, strain),
            "positions": atoms.positions, "largest_force": 0.0, "evaluations": 2, "seconds": 1.0,
            "force_threshold": 0.01 if thresholds is None else thresholds[index],
        }
        for index, (strain, stress) in enumerate(zip(strains, stresses, strict=True))
    ]  # fmt: skip
    node = make_trajectory(list(atoms.symbols), records)
    node.set_array("strains", np.array(strains))
    return node


def entry_of(
    tensor=None,
    reference_stress=(0, 0, 0, 0, 0, 0),
    level=LEVEL,
    rows=slice(None),
    ions="relaxed",
    strains=STRAINS,
    symmetry=None,
    **changes,
):
    tensor = cubic_tensor() if tensor is None else tensor
    atoms = changes.pop("atoms", rocksalt())
    reference = stress_to_matrix(np.array(reference_stress, dtype=float))
    stresses = stress_to_matrix(strains @ tensor) + reference
    stresses += changes.pop("noise", 0.0)
    inputs = {
        "structure": orm.StructureData(ase=atoms),
        "reference": trajectory(atoms, [np.zeros(6)], [reference]),
        "reference_summary": orm.Dict({"level_of_theory": LEVEL, "evaluations": 7, "seconds": 3.0}),
        "strained": trajectory(atoms, strains[rows], stresses[rows], **changes),
        "strained_summary": orm.Dict({"level_of_theory": level, "evaluations": 48, "seconds": 24.0}),
        "strains": orm.List(strains.tolist()),
        "description": orm.Dict({"composition": "TiN", "structure_type": "B1"}),
        "ions": orm.Str(ions),
    }
    return elastic_entry(**inputs, **({} if symmetry is None else {"symmetry": symmetry}))


def test_known_tensor_comes_back():
    entry = entry_of()
    np.testing.assert_allclose(entry.tensor_fitted, cubic_tensor(), atol=1e-9)
    assert (entry.c11, entry.c12, entry.c44) == pytest.approx((C11, C12, C44))
    assert entry.bulk_modulus == pytest.approx((C11 + 2 * C12) / 3)
    assert entry.shear_modulus_voigt == pytest.approx((C11 - C12 + 3 * C44) / 5)
    assert entry.residual == pytest.approx(0, abs=1e-9)
    assert entry.r_squared == pytest.approx(1)
    assert entry.projected_away == pytest.approx(0, abs=1e-9)
    assert entry.stable
    assert entry.label == "B1/Ti-N/1.000000"
    assert entry.lattice_a == pytest.approx(4.25)
    assert entry.energy_per_formula == pytest.approx(-80.0 / 4)
    assert (entry.evaluations, entry.seconds) == (55, 27.0)
    assert entry.level == "ase:some:Model"


def test_stress_of_the_unstrained_cell_is_taken_away():
    entry = entry_of(reference_stress=(0.5, -0.2, 0.3, 0.1, 0.05, -0.4))
    np.testing.assert_allclose(entry.tensor_fitted, cubic_tensor(), atol=1e-9)
    assert entry.residual == pytest.approx(0, abs=1e-9)
    assert entry.reference_stress == pytest.approx(0.5)


def test_part_that_breaks_the_symmetry_is_projected_away_and_kept():
    tensor = cubic_tensor()
    tensor[0, 0] += 12.0
    tensor[0, 3] = tensor[3, 0] = 5.0
    entry = entry_of(tensor)
    assert entry.c11 == pytest.approx(C11 + 4.0)
    np.testing.assert_allclose(entry.tensor_fitted, tensor, atol=1e-9)
    assert entry.projected_away > 0.005


def test_noise_in_the_stresses_becomes_standard_errors():
    noise = np.random.default_rng(1).normal(0, 0.2, (len(STRAINS), 3, 3))
    entry = entry_of(noise=(noise + noise.transpose(0, 2, 1)) / 2)
    deviations = np.abs(np.array(entry.tensor_fitted) - cubic_tensor()) / np.array(entry.standard_errors)
    assert 0.05 < entry.residual < 0.3
    assert np.median(deviations) < 1.5
    assert entry.bulk_modulus_error > 0.05
    assert abs(entry.bulk_modulus - (C11 + 2 * C12) / 3) < 4 * entry.bulk_modulus_error


def test_loosest_threshold_that_was_reached_is_stored():
    thresholds = [0.01] * len(STRAINS)
    thresholds[7] = 0.05
    assert entry_of(thresholds=thresholds).force_threshold == 0.05
    assert entry_of(ions="clamped", thresholds=[None] * len(STRAINS)).force_threshold is None


def test_missing_strains_are_named():
    with pytest.raises(InputError, match=r"1 of 24 .*xx=-0\.03"):
        entry_of(rows=slice(1, None))


def test_unconverged_strains_count_as_missing():
    converged = [index != 12 for index in range(len(STRAINS))]
    with pytest.raises(InputError, match=r"1 of 24 .*yz=-0\.06"):
        entry_of(converged=converged)


def test_two_levels_of_theory_are_never_mixed():
    with pytest.raises(InputError, match="levels of theory"):
        entry_of(level={**LEVEL, "sha256": "1" * 64})
    assert entry_of(level={**LEVEL, "device": "cuda", "torch_version": "2.13.0"}).c11 == pytest.approx(C11)


@pytest.mark.parametrize(
    "change", [{"model": "other"}, {"version": "1.1"}, {"sha256": "1"}, {"options": {"modal": "mpa"}}]
)
def test_fingerprint_tells_levels_apart(change):
    assert level_fingerprint({**LEVEL, **change}) != level_fingerprint(LEVEL)
    assert level_fingerprint(dict(reversed(LEVEL.items()))) == level_fingerprint(LEVEL)


def test_composition_is_that_of_the_cell_not_of_the_request():
    atoms = rocksalt()
    atoms.symbols[[0]] = "Al"
    entry = entry_of(atoms=atoms)
    assert (entry.system, entry.x, entry.label) == ("Al-Ti-N", 0.25, "B1/Al-Ti-N/0.250000")


# --- symmetry ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reduction(aiida_profile):
    """What the symmetry of rocksalt leaves of the study's strains."""
    settings = {"normal": [0.015, 0.03], "shear": [0.03, 0.06], "symmetry_tolerance": 0.001}
    return reduce_strains(orm.StructureData(ase=rocksalt()), orm.Dict(settings))


def reduced_entry(reduction, **changes):
    return entry_of(strains=np.array(reduction["strains"].get_list()), symmetry=reduction["symmetry"], **changes)


def test_symmetry_is_stored_with_the_way_from_each_strain_to_the_one_that_stands_for_it(reduction):
    strains, symmetry = np.array(reduction["strains"].get_list()), reduction["symmetry"]
    assert (symmetry["space_group"], symmetry["space_group_number"]) == ("Fm-3m", 225)
    assert np.array(symmetry["point_rotations"]).shape == (24, 3, 3)
    np.testing.assert_array_equal(symmetry["asked"], STRAINS)
    np.testing.assert_array_equal(STRAINS[symmetry["computed"]], strains)
    rotations = np.array(symmetry["rotations"])
    turned = rotations @ strain_to_matrix(strains[symmetry["source"]]) @ rotations.transpose(0, 2, 1)
    np.testing.assert_allclose(turned, strain_to_matrix(STRAINS), atol=1e-12)


def test_six_strains_of_a_cubic_crystal_make_the_entry_of_24(reduction):
    entry, full = reduced_entry(reduction, reference_stress=(0.3, 0.3, 0.3, 0, 0, 0)), entry_of()
    assert (entry.number_of_strains, entry.number_of_equivalent_strains, entry.space_group) == (6, 18, "Fm-3m")
    assert (full.number_of_strains, full.number_of_equivalent_strains, full.space_group) == (24, 0, None)
    np.testing.assert_allclose(entry.tensor_fitted, cubic_tensor(), atol=1e-9)
    np.testing.assert_allclose(entry.tensor, full.tensor, atol=1e-9)


def test_a_quarter_of_the_cells_makes_larger_errors(reduction):
    """B rests on the four cells strained along x instead of twelve, C44 on two instead of four for each of three."""

    def noise(count):
        values = np.random.default_rng(2).normal(0, 0.2, (count, 3, 3))
        return (values + values.transpose(0, 2, 1)) / 2

    entry, full = reduced_entry(reduction, noise=noise(6)), entry_of(noise=noise(24))
    assert 1.2 < entry.bulk_modulus_error / full.bulk_modulus_error < 2.5
    assert 1.0 < entry.standard_errors[3][3] / full.standard_errors[3][3] < 2.2
    assert abs(entry.bulk_modulus - (C11 + 2 * C12) / 3) < 4 * entry.bulk_modulus_error


def test_missing_strains_of_the_reduced_set_are_named(reduction):
    with pytest.raises(InputError, match=r"1 of 6 .*xx=-0\.03"):
        reduced_entry(reduction, rows=slice(1, None))
    with pytest.raises(InputError, match=r"1 of 6 .*yz=-0\.03"):
        reduced_entry(reduction, converged=[True] * 5 + [False])


def test_kinds_of_one_element_may_break_the_symmetry():
    """As an antiferromagnet's two spins do."""
    structure = orm.StructureData(cell=rocksalt("Cr").cell.array)
    for atom in rocksalt("Cr"):
        spin = "" if atom.symbol == "N" else "1" if atom.position[2] < 1 else "2"
        structure.append_atom(position=atom.position, symbols=atom.symbol, name=atom.symbol + spin)
    settings = orm.Dict({"normal": [0.01], "shear": [0.02], "symmetry_tolerance": 0.001})
    made = reduce_strains(structure, settings)
    assert made["symmetry"]["space_group"] == "P4/mmm"
    assert len(made["strains"].get_list()) == 6
