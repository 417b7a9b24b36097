"""From stresses to an entry, on stresses whose tensor is known."""

import numpy as np
import pytest
from aiida import orm
from conftest import rocksalt

from aiida_hardcoat.calculations.elastic import elastic_entry, level_fingerprint
from aiida_hardcoat.calculations.records import make_trajectory
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.strain import strain_cell, strain_set, stress_to_matrix

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
    tensor=None, reference_stress=(0, 0, 0, 0, 0, 0), level=LEVEL, rows=slice(None), ions="relaxed", **changes
):
    tensor = cubic_tensor() if tensor is None else tensor
    atoms = changes.pop("atoms", rocksalt())
    reference = stress_to_matrix(np.array(reference_stress, dtype=float))
    stresses = stress_to_matrix(STRAINS @ tensor) + reference
    stresses += changes.pop("noise", 0.0)
    inputs = {
        "structure": orm.StructureData(ase=atoms),
        "reference": trajectory(atoms, [np.zeros(6)], [reference]),
        "reference_summary": orm.Dict({"level_of_theory": LEVEL, "evaluations": 7, "seconds": 3.0}),
        "strained": trajectory(atoms, STRAINS[rows], stresses[rows], **changes),
        "strained_summary": orm.Dict({"level_of_theory": level, "evaluations": 48, "seconds": 24.0}),
        "strains": orm.List(STRAINS.tolist()),
        "description": orm.Dict({"composition": "TiN", "structure_type": "B1"}),
        "ions": orm.Str(ions),
    }
    return elastic_entry(**inputs)


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
