"""Averages over a polycrystal."""

import json
import lzma
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.moduli import cauchy_pressures, isotropic_moduli, moduli, moduli_errors
from aiida_hardcoat.physics.projection import project, rotate_tensor

SHARED = Path(__file__).parents[2].parent / "shared"
with_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the reference data are not beside the checkout")

tensors = arrays(float, (6, 6), elements=st.floats(-15, 15, allow_subnormal=False)).map(
    lambda a: a @ a.T + 10 * np.eye(6)
)
angles = st.tuples(*[st.floats(-180, 180, allow_subnormal=False)] * 3)


def cubic(c11: float, c12: float, c44: float) -> np.ndarray:
    tensor = np.diag([c11, c11, c11, c44, c44, c44]).astype(float)
    tensor[:3, :3] += c12 * (1 - np.eye(3))
    return tensor


@given(tensors)
def test_reuss_hill_voigt_are_ordered(tensor):
    averages = moduli(tensor)
    assert averages.ordered
    assert averages.bulk_modulus_reuss <= averages.bulk_modulus_voigt * (1 + 1e-12)
    assert averages.shear_modulus_reuss <= averages.shear_modulus_voigt * (1 + 1e-12)
    assert -1 < averages.poisson_ratio < 0.5


@given(tensors, angles)
def test_averages_do_not_depend_on_the_frame(tensor, turn):
    turned = rotate_tensor(tensor, Rotation.from_euler("zxz", turn, degrees=True).as_matrix())
    ours, theirs = moduli(tensor), moduli(turned)
    for name in ("bulk_modulus_reuss", "bulk_modulus_voigt", "shear_modulus_reuss", "shear_modulus_voigt"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=1e-7)


@given(st.floats(1, 500, allow_subnormal=False), st.floats(1, 500))
def test_an_isotropic_tensor_has_its_own_moduli(bulk, shear):
    averages = moduli(cubic(bulk + 4 * shear / 3, bulk - 2 * shear / 3, shear))
    for name, value in {"bulk_modulus": bulk, "shear_modulus": shear}.items():
        for suffix in ("", "_voigt", "_reuss"):
            assert getattr(averages, name + suffix) == pytest.approx(value)
    youngs, poisson = averages.youngs_modulus, averages.poisson_ratio
    assert shear == pytest.approx(youngs / (2 * (1 + poisson)))
    assert bulk == pytest.approx(youngs / (3 * (1 - 2 * poisson)))


@given(st.floats(50, 600, allow_subnormal=False), st.floats(-0.4, 0.95), st.floats(10, 300))
def test_closed_forms_of_a_cubic_crystal(c11, ratio, c44):
    c12 = ratio * c11
    averages = moduli(cubic(c11, c12, c44))
    assert averages.bulk_modulus == pytest.approx((c11 + 2 * c12) / 3)
    assert averages.shear_modulus_voigt == pytest.approx((c11 - c12 + 3 * c44) / 5)
    assert averages.shear_modulus_reuss == pytest.approx(5 * (c11 - c12) * c44 / (4 * c44 + 3 * (c11 - c12)))


def test_a_crystal_that_is_not_stable_has_no_lower_bound():
    averages = moduli(cubic(100, 105, 50))
    assert averages.bulk_modulus == pytest.approx(310 / 3)
    assert averages.shear_modulus_voigt == pytest.approx(29)
    assert math.isnan(averages.shear_modulus_reuss)
    assert math.isnan(averages.shear_modulus)
    assert math.isnan(averages.youngs_modulus)
    assert not averages.ordered
    assert math.isnan(moduli(cubic(100, 100, 50)).shear_modulus)


def test_no_isotropic_solid_without_positive_moduli():
    assert all(math.isnan(value) for value in isotropic_moduli(100, -1))


def test_errors_of_a_cubic_bulk_modulus_are_those_of_a_mean():
    tensor, errors = cubic(500, 150, 200), np.full((6, 6), 3.0)
    result = moduli_errors(tensor, errors, "cubic")
    # B = sum of three C_ii and twice three C_ij, over 9.
    assert result.bulk_modulus == pytest.approx(3.0 * math.sqrt(3 + 4 * 3) / 9, rel=1e-6)
    # G_V = (sum C_ii - sum C_ij + 3 sum shears)/15.
    assert result.shear_modulus_voigt == pytest.approx(3.0 * math.sqrt(3 + 3 + 9 * 3) / 15, rel=1e-6)
    with pytest.raises(InputError, match="6x6"):
        moduli_errors(tensor, np.zeros(6))


def test_errors_are_the_scatter_of_the_moduli():
    rng = np.random.default_rng(5)
    tensor = cubic(500, 150, 200)
    errors = np.full((6, 6), 2.0)
    samples = []
    for _ in range(400):
        noise = np.triu(rng.normal(0, 2.0, (6, 6)))
        noise = noise + np.triu(noise, 1).T
        samples.append(moduli(project(tensor + noise, "cubic").tensor))
    claimed = moduli_errors(tensor, errors, "cubic")
    for name in ("bulk_modulus", "shear_modulus", "youngs_modulus", "poisson_ratio", "pugh_ratio"):
        assert getattr(claimed, name) == pytest.approx(np.std([getattr(s, name) for s in samples]), rel=0.15)


def test_cauchy_pressures():
    assert cauchy_pressures(cubic(500, 150, 200), "cubic") == (-50,)
    hexagonal = project(np.diag([400, 400, 390, 116, 116, 130]), "hexagonal").tensor
    assert len(cauchy_pressures(hexagonal, "hexagonal")) == 2
    assert cauchy_pressures(hexagonal, "triclinic") == ()


@with_shared
def test_table_2_of_the_study():
    for row in json.loads((SHARED / "data" / "paper_table2_part.json").read_text())["rows"]:
        constants = np.array([row["c11"], row["c12"], row["c44"]])
        # The printed constants are rounded to 1 GPa: B and G are known within what half a GPa each does.
        corners = [
            moduli(cubic(*(constants + np.array([i, j, k]) / 2))) for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)
        ]
        for key, name in (("B", "bulk_modulus"), ("G", "shear_modulus")):
            values = [getattr(corner, name) for corner in corners]
            assert min(values) - 0.5 <= row[key] <= max(values) + 0.5, (row["alloy"], row["structure"], key)
        # The table's E and nu follow from its rounded B and G, not from its constants.
        youngs, poisson = isotropic_moduli(row["B"], row["G"])
        assert youngs == pytest.approx(row["E"], abs=0.51)
        assert poisson == pytest.approx(row["nu"], abs=5.1e-4)
        assert moduli(cubic(*constants)).youngs_modulus == pytest.approx(row["E"], rel=8e-3)
        assert moduli(cubic(*constants)).poisson_ratio == pytest.approx(row["nu"], abs=2e-3)


@with_shared
def test_averages_of_the_materials_project():
    compared = 0
    with lzma.open(SHARED / "data" / "elastic_mp_ordered.jsonl.xz", "rt") as lines:
        for record in map(json.loads, lines):
            if "C_ieee_GPa" not in record:
                continue
            # Tensor and averages of one release: a later release has other averages of the same crystal.
            releases = [record, *record.get("other_values", [])]
            published = next(entry for entry in releases if entry["source"] == record["C_source"])
            averages = moduli(record["C_ieee_GPa"])
            assert averages.bulk_modulus == pytest.approx(published["K_VRH"], rel=2e-3), record["mp_id"]
            assert averages.shear_modulus == pytest.approx(published["G_VRH"], rel=2e-3), record["mp_id"]
            compared += 1
    assert compared > 1000


@with_shared
def test_averages_of_httk():
    names = {
        "K_V": "bulk_modulus_voigt",
        "G_V": "shear_modulus_voigt",
        "G_R": "shear_modulus_reuss",  # its K_R holds G_R and is left out
        "K_VRH": "bulk_modulus",
        "G_VRH": "shear_modulus",
        "E_VRH": "youngs_modulus",
    }
    for case in json.loads((SHARED / "vectors" / "projection_vectors.json").read_text()):
        averages = moduli(project(case["C_in"], case["symmetry"]).tensor)
        for key, name in names.items():
            assert getattr(averages, name) == pytest.approx(case["averages"][key], abs=5.01e-4)
        assert averages.poisson_ratio == pytest.approx(case["averages"]["mu_VRH"], abs=5.01e-5)
