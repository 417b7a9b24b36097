"""How far a crystal is from elastically isotropic, and Young's modulus by direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.moduli import Moduli
from aiida_hardcoat.physics.projection import symmetric_tensor
from aiida_hardcoat.physics.stability import is_stable
from aiida_hardcoat.physics.strain import VOIGT_COLUMNS, VOIGT_ROWS, FloatArray


@dataclass(frozen=True)
class DirectionalExtremes:
    """The extremes of Young's modulus over all directions: GPa, and unit vectors ``(3,)``."""

    minimum: float
    minimum_direction: FloatArray
    maximum: float
    maximum_direction: FloatArray


def universal_anisotropy(averages: Moduli) -> float:
    """A_U = 5 G_V/G_R + B_V/B_R - 6, zero for an isotropic crystal.

    Ranganathan and Ostoja-Starzewski, Phys. Rev. Lett. 101, 055504 (2008).
    """
    a = averages
    return 5 * a.shear_modulus_voigt / a.shear_modulus_reuss + a.bulk_modulus_voigt / a.bulk_modulus_reuss - 6


def log_euclidean_anisotropy(averages: Moduli) -> float:
    """A_L = sqrt(ln(B_V/B_R)^2 + 5 ln(G_V/G_R)^2), zero for an isotropic crystal.

    Kube, AIP Adv. 6, 095209 (2016).
    """
    bulk = np.log(averages.bulk_modulus_voigt / averages.bulk_modulus_reuss)
    shear = np.log(averages.shear_modulus_voigt / averages.shear_modulus_reuss)
    return float(np.sqrt(bulk**2 + 5 * shear**2))


def percent_anisotropy(averages: Moduli) -> tuple[float, float]:
    """(V - R)/(V + R) of bulk and shear modulus, as fractions of 1.

    Chung and Buessem, J. Appl. Phys. 38, 2010 (1967).
    """
    a = averages
    bulk = (a.bulk_modulus_voigt - a.bulk_modulus_reuss) / (a.bulk_modulus_voigt + a.bulk_modulus_reuss)
    shear = (a.shear_modulus_voigt - a.shear_modulus_reuss) / (a.shear_modulus_voigt + a.shear_modulus_reuss)
    return bulk, shear


def zener_anisotropy(tensor: ArrayLike) -> float:
    """A = 2 C44/(C11 - C12) of a cubic tensor, NaN when C11 = C12 (Zener 1948)."""
    c = np.asarray(tensor, dtype=np.float64)
    difference = c[0, 0] - c[0, 1]
    return float(2 * c[3, 3] / difference) if difference else float("nan")


def directional_youngs_modulus(tensor: ArrayLike, directions: ArrayLike) -> FloatArray:
    """Young's modulus for pulling along given directions: 1/E = s_ijkl n_i n_j n_k n_l (Nye, 1985).

    :param tensor: ``(6, 6)``, GPa, positive definite.
    :param directions: ``(..., 3)``, of any length but zero, in the tensor's frame.
    :return: ``(...)``, GPa.
    :raises InputError: for a direction of zero length or a tensor that has no inverse.
    """
    return _pulled(_compliance(symmetric_tensor(tensor)), directions)


def _compliance(tensor: FloatArray) -> FloatArray:
    try:
        return np.asarray(np.linalg.inv(tensor))
    except np.linalg.LinAlgError:
        raise InputError("The elastic tensor is singular: it has no compliance.") from None


def _pulled(compliance: FloatArray, directions: ArrayLike) -> FloatArray:
    n = np.asarray(directions, dtype=np.float64)
    lengths = np.linalg.norm(n, axis=-1, keepdims=True)
    if n.shape[-1:] != (3,) or not (lengths > 0).all():
        raise InputError("A direction is three numbers that are not all zero.")
    n = n / lengths
    # Voigt stress of a unit pull along n; the compliance takes it to engineering strain.
    stress = n[..., VOIGT_ROWS] * n[..., VOIGT_COLUMNS]
    return np.asarray(1 / np.einsum("...i,ij,...j->...", stress, compliance, stress))


def youngs_modulus_extremes(tensor: ArrayLike) -> DirectionalExtremes:
    """The smallest and largest Young's modulus over all directions, from a grid and a local search.

    :raises InputError: when the tensor is not positive definite: some direction would have none.
    """
    c = symmetric_tensor(tensor)
    if not is_stable(c):
        raise InputError("The elastic tensor is not positive definite: Young's modulus has no extremes.")
    compliance = _compliance(c)
    theta, phi = np.meshgrid(np.linspace(0, np.pi / 2, 31), np.linspace(0, 2 * np.pi, 121)[:-1])
    angles = np.stack([theta.ravel(), phi.ravel()], axis=1)
    values = _pulled(compliance, _unit(angles))

    def search(sign: int) -> tuple[float, FloatArray]:
        start = angles[np.argmin(sign * values)]
        scale = float(np.abs(values).max())
        found = minimize(
            lambda x: sign * float(_pulled(compliance, _unit(x))) / scale,
            start,
            method="Nelder-Mead",
            options={"xatol": 1e-7, "fatol": 1e-13},
        )
        direction = _unit(found.x)
        return float(_pulled(compliance, direction)), direction

    minimum, minimum_direction = search(1)
    maximum, maximum_direction = search(-1)
    return DirectionalExtremes(minimum, minimum_direction, maximum, maximum_direction)


def _unit(angles: ArrayLike) -> FloatArray:
    polar = np.asarray(angles, dtype=np.float64)
    theta, phi = polar[..., 0], polar[..., 1]
    return np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)
