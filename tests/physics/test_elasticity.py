"""Fits of elastic tensors to stresses."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.elasticity import fit_response, fit_symmetric, fit_tensor, missing_components
from aiida_hardcoat.physics.moduli import moduli
from aiida_hardcoat.physics.projection import project
from aiida_hardcoat.physics.strain import (
    green_lagrange_strain,
    second_piola_kirchhoff,
    small_strain,
    strain_set,
    stress_to_matrix,
    vasp_stress,
)

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors"
with_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason="the reference vectors are not beside the checkout")

tensors = arrays(float, (6, 6), elements=st.floats(-10, 10)).map(lambda a: a @ a.T + 20 * np.eye(6))
stresses = arrays(float, 6, elements=st.floats(-5, 5))


@given(tensors)
def test_any_tensor_is_recovered_from_its_stresses(tensor):
    strains = strain_set()
    fit = fit_tensor(strains, strains @ tensor, expected=strains)
    np.testing.assert_allclose(fit.tensor, tensor, atol=1e-9 * np.abs(tensor).max())
    assert (fit.rank, fit.parameters, fit.observations) == (21, 21, 144)
    assert fit.r_squared == pytest.approx(1)
    assert np.abs(fit.residuals).max() < 1e-10 * np.abs(tensor).max()
    np.testing.assert_allclose(fit_tensor(strains, stress_to_matrix(strains @ tensor)).tensor, fit.tensor)


@given(tensors, stresses)
def test_the_stress_of_the_reference_state_is_subtracted_or_fitted(tensor, reference):
    strains = strain_set((0.01, 0.02), (0.01,))
    measured = strains @ tensor + reference
    for choice in (reference, "fit"):
        fit = fit_tensor(strains, measured, reference_stress=choice)
        np.testing.assert_allclose(fit.tensor, tensor, atol=1e-7 * np.abs(tensor).max())
        np.testing.assert_allclose(fit.reference_stress, reference, atol=1e-8)
    # Strains in pairs of both signs: the constants do not depend on the choice, the residuals do.
    ignored = fit_tensor(strains, measured)
    np.testing.assert_allclose(ignored.tensor, tensor, atol=1e-7 * np.abs(tensor).max())
    np.testing.assert_allclose(ignored.residuals, np.tile(reference, (len(strains), 1)), atol=1e-7)


@given(tensors)
def test_even_terms_of_the_stress_do_not_touch_the_constants(tensor):
    strains = strain_set()
    fit = fit_tensor(strains, strains @ tensor + 1000 * strains**2)
    np.testing.assert_allclose(fit.tensor, tensor, atol=1e-8 * np.abs(tensor).max())
    assert np.isfinite(fit.standard_errors).all()
    assert (np.diag(fit.standard_errors) > 0).all()


def test_standard_errors_are_the_scatter_of_repeated_fits():
    rng = np.random.default_rng(7)
    strains = strain_set()
    tensor = project(np.diag([400, 400, 400, 150, 150, 150]) + 100 * np.eye(6)[::-1], "cubic").tensor
    fits = [fit_tensor(strains, strains @ tensor + rng.normal(0, 0.1, strains.shape)) for _ in range(300)]
    scatter = np.std([fit.tensor for fit in fits], axis=0)
    claimed = np.mean([fit.standard_errors for fit in fits], axis=0)
    np.testing.assert_allclose(claimed, scatter, rtol=0.2)


@pytest.mark.parametrize(("dropped", "label"), [(0, "xx"), (2, "zz"), (3, "yz"), (5, "xy")])
def test_an_unstrained_component_is_refused_by_name(dropped, label):
    strains = strain_set()
    strains = strains[strains[:, dropped] == 0]
    with pytest.raises(InputError, match=f"nothing strains {label}:"):
        fit_tensor(strains, np.zeros_like(strains), allow_incomplete=True)
    assert missing_components(strains) == [label]


def test_missing_strains_of_the_expected_set_are_refused_and_fitted_when_asked():
    tensor = project(np.diag([500, 500, 500, 200, 200, 200]), "cubic").tensor
    expected = strain_set()
    strains = np.delete(expected, [3, 20], axis=0)
    with pytest.raises(InputError, match=r"2 of 24 strains are missing: xx=\+0.03; xy=-0.06"):
        fit_tensor(strains, strains @ tensor, expected=expected)
    fit = fit_tensor(strains, strains @ tensor, expected=expected, allow_incomplete=True)
    np.testing.assert_allclose(fit.tensor, tensor, atol=1e-9)


def test_a_failed_stress_is_refused_by_its_strain():
    strains = strain_set()
    stress = strains * 100
    stress[5] = np.nan
    with pytest.raises(InputError, match=r"No stress for the strains yy=-0.015"):
        fit_tensor(strains, stress)


def test_wrong_shapes_are_refused():
    with pytest.raises(InputError, match="24 strains"):
        fit_tensor(strain_set(), np.zeros((23, 6)))
    with pytest.raises(InputError, match="six Voigt components"):
        fit_tensor(np.zeros((4, 5)), np.zeros((4, 6)))


@given(tensors)
def test_two_strains_are_enough_for_a_cubic_crystal(tensor):
    cubic = project(tensor, "cubic").tensor
    strains = np.array([[0.01, 0, 0, 0, 0, 0], [0, 0, 0, 0.02, 0, 0]])
    fit = fit_symmetric(strains, strains @ cubic, "cubic")
    np.testing.assert_allclose(fit.tensor, cubic, atol=1e-9 * np.abs(cubic).max())
    assert (fit.rank, fit.parameters, fit.crystal_class) == (3, 3, "cubic")


def test_too_few_strains_for_the_class_are_refused():
    strains = np.array([[0.01, 0, 0, 0, 0, 0]])
    with pytest.raises(InputError, match="only 2 of the 3 constants of the class cubic"):
        fit_symmetric(strains, np.zeros((1, 6)), "cubic")
    with pytest.raises(InputError, match="two values"):
        fit_symmetric(np.diag([0.01] * 6), np.zeros((6, 6)), "triclinic", reference_stress="fit")


@given(tensors)
def test_symmetric_fit_of_a_full_set_obeys_the_class(tensor):
    strains = strain_set()
    fit = fit_symmetric(strains, strains @ tensor, "hexagonal").tensor
    assert fit[5, 5] == pytest.approx((fit[0, 0] - fit[0, 1]) / 2)
    np.testing.assert_allclose(project(fit, "hexagonal").tensor, fit, atol=1e-9)


@with_vectors
def test_hcp_titanium_from_vasp_stresses():
    data = json.loads((VECTORS / "ti_hcp_vasp_stress.json").read_text())
    strains = [run["strain_voigt"] for run in data["runs"]]
    stress = vasp_stress([run["in_kB_last"] for run in data["runs"]])
    fit = fit_tensor(strains, stress, expected=strain_set())
    expected = data["expected_httk"]
    np.testing.assert_allclose(fit.tensor, expected["C_unprojected_int"], atol=0.5)
    projected = project(fit.tensor, "hexagonal").tensor
    np.testing.assert_allclose(projected, expected["C_projected_int"], atol=0.5)
    np.testing.assert_allclose(np.linalg.inv(projected), expected["S"], atol=5e-8)
    averages = moduli(projected)
    assert averages.bulk_modulus == pytest.approx(expected["averages"]["K_VRH"], abs=0.5)
    assert averages.shear_modulus == pytest.approx(expected["averages"]["G_VRH"], abs=0.5)
    assert averages.youngs_modulus == pytest.approx(expected["averages"]["E_VRH"], abs=0.5)
    assert averages.poisson_ratio == pytest.approx(expected["averages"]["mu_VRH"], abs=5e-4)


@with_vectors
def test_tin_from_triangular_gradients():
    data = json.loads((VECTORS / "pymatgen" / "Sn_def_stress.json").read_text())
    strains = green_lagrange_strain(data["deformations"])
    stress = np.array(data["stresses"]) * -0.1
    expected = np.zeros((6, 6))
    expected[:3, :3] = [[59.29, 24.36, 22.46], [28.06, 56.91, 22.46], [28.06, 25.98, 54.67]]
    expected[3:, 3:] = 26.35 * np.eye(3)
    response = fit_response(strains, stress)
    np.testing.assert_allclose(response, expected, atol=5e-3)
    fit = fit_tensor(strains, stress)
    # Every component is strained alone and by nearly the same amounts: about the symmetric part.
    np.testing.assert_allclose(fit.tensor, (expected + expected.T) / 2, rtol=4e-3, atol=6e-3)


@with_vectors
@pytest.mark.parametrize("finite", [True, False])
def test_silicon_carbide_from_a_symmetry_reduced_set(finite):
    with gzip.open(VECTORS / "emmet" / "SiC_fitting_data.json.gz") as file:
        data = json.load(file)
    gradients, cauchy = np.array(data["deformations"]), np.array(data["stresses"])
    if finite:
        strains, stress = green_lagrange_strain(gradients), second_piola_kirchhoff(cauchy, gradients)
    else:
        strains, stress = small_strain(gradients), cauchy
    with pytest.raises(InputError, match="nothing strains yy, "):
        fit_tensor(strains, stress)
    fit = fit_symmetric(strains, stress, "cubic", reference_stress=data["equilibrium_stress"])
    constants = [fit.tensor[0, 0], fit.tensor[0, 1], fit.tensor[3, 3]]
    np.testing.assert_allclose(constants, [383.9, 127.1, 241.1], rtol=2e-3)
