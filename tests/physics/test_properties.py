"""Everything that follows from one tensor."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aiida_hardcoat.physics.hardness import HARDNESS_MODELS
from aiida_hardcoat.physics.moduli import moduli
from aiida_hardcoat.physics.projection import CRYSTAL_CLASSES
from aiida_hardcoat.physics.properties import elastic_properties

TITANIUM_NITRIDE = np.diag([584.0] * 3 + [166.0] * 3)
TITANIUM_NITRIDE[:3, :3] += 136 * (1 - np.eye(3))

tensors = arrays(float, (6, 6), elements=st.floats(-300, 300, allow_subnormal=False)).map(lambda a: a + a.T)


def test_titanium_nitride():
    values = elastic_properties(TITANIUM_NITRIDE, "cubic", density=5390.0, atoms_per_volume=8 / 4.24**3)
    assert values["projected"] == TITANIUM_NITRIDE.tolist()
    assert values["projected_away"] == 0
    assert values["bulk_modulus"] == moduli(TITANIUM_NITRIDE).bulk_modulus
    assert (values["c11"], values["c12"], values["c44"]) == (584, 136, 166)
    assert values["cauchy_pressure"] == -30
    assert values["cauchy_pressure_basal"] is None
    assert values["zener_anisotropy"] == pytest.approx(2 * 166 / (584 - 136))
    assert values["stable"] is True
    assert values["stable_with_tolerance"] is True
    np.testing.assert_allclose(values["eigenvalues"], [332, 332, 332, 448, 448, 856])
    for name, model in HARDNESS_MODELS.items():
        assert values[f"hardness_{name}"] == model(values["bulk_modulus"], values["shear_modulus"])
    assert 800 < values["debye_temperature"] < 1000
    assert values["youngs_modulus_min"] < values["youngs_modulus"] < values["youngs_modulus_max"]
    assert not [key for key, value in values.items() if value is None and key != "cauchy_pressure_basal"]


def test_without_density_and_volume_what_needs_them_is_none():
    values = elastic_properties(TITANIUM_NITRIDE, "cubic")
    assert values["debye_temperature"] is None
    assert values["sound_velocity_mean"] is None
    assert values["fracture_toughness_niu_2019"] is None
    assert elastic_properties(TITANIUM_NITRIDE, "hexagonal")["zener_anisotropy"] is None


@settings(deadline=None, max_examples=60)
@given(tensors, st.sampled_from(CRYSTAL_CLASSES))
def test_any_tensor_gets_an_answer_of_the_same_shape_that_json_can_hold(tensor, name):
    values = elastic_properties(tensor, name, density=5000.0, atoms_per_volume=0.1)
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert set(values) == set(elastic_properties(TITANIUM_NITRIDE, "cubic"))
    if not values["stable"]:
        assert values["youngs_modulus_min"] is None
    if values["shear_modulus"] is not None:
        assert values["shear_modulus_reuss"] <= values["shear_modulus"] * (1 + 1e-9)
        assert values["shear_modulus"] <= values["shear_modulus_voigt"] * (1 + 1e-9)


def test_an_unstable_crystal_keeps_what_is_defined():
    tensor = np.diag([100.0] * 3 + [50.0] * 3)
    tensor[:3, :3] += 105 * (1 - np.eye(3))
    values = elastic_properties(tensor, "cubic", density=5000.0)
    assert values["stable"] is False
    assert values["stable_with_tolerance"] is True
    assert values["bulk_modulus"] == pytest.approx(310 / 3)
    for key in (
        "shear_modulus",
        "youngs_modulus",
        "hardness_chen_2011",
        "universal_anisotropy",
        "sound_velocity_mean",
    ):
        assert values[key] is None
