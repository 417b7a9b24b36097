"""Polycrystalline averages of an elastic tensor: Voigt, Reuss and Hill.

Hill, Proc. Phys. Soc. A 65, 349 (1952). All moduli in GPa.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.projection import project, symmetric_tensor
from aiida_hardcoat.physics.strain import FloatArray


@dataclass(frozen=True)
class Moduli:
    """Averages of a polycrystal without texture; GPa, ratios dimensionless.

    The plain names are Hill's. The Reuss average is the lower bound of a stable crystal; where the tensor has
    none (it is not positive definite, and the average is not between 0 and the Voigt average) Reuss, Hill and
    what follows from them are NaN.

    :ivar pugh_ratio: B/G; above about 1.75 a material is expected to be ductile (Pugh, Phil. Mag. 45, 823
        (1954)).
    """

    bulk_modulus_voigt: float
    bulk_modulus_reuss: float
    bulk_modulus: float
    shear_modulus_voigt: float
    shear_modulus_reuss: float
    shear_modulus: float
    youngs_modulus: float
    poisson_ratio: float
    pugh_ratio: float

    @property
    def ordered(self) -> bool:
        """Whether Reuss <= Hill <= Voigt holds for both moduli, to rounding."""
        slack = 1 + 1e-9
        return bool(
            0 < self.bulk_modulus_reuss <= self.bulk_modulus * slack <= self.bulk_modulus_voigt * slack**2
            and 0 < self.shear_modulus_reuss <= self.shear_modulus * slack <= self.shear_modulus_voigt * slack**2
        )


def isotropic_moduli(bulk: float, shear: float) -> tuple[float, float]:
    """Young's modulus (GPa) and Poisson's ratio of an isotropic solid; NaN unless B and G are positive."""
    if not (bulk > 0 and shear > 0):
        return float("nan"), float("nan")
    youngs = 9 * bulk * shear / (3 * bulk + shear)
    return youngs, (3 * bulk - 2 * shear) / (6 * bulk + 2 * shear)


def voigt_averages(tensor: ArrayLike) -> tuple[float, float]:
    """Bulk and shear modulus at uniform strain, GPa."""
    c = np.asarray(tensor, dtype=np.float64)
    normal, cross, shear = _invariant_sums(c)
    return (normal + 2 * cross) / 9, (normal - cross + 3 * shear) / 15


def reuss_averages(tensor: ArrayLike) -> tuple[float, float]:
    """Bulk and shear modulus at uniform stress, GPa; NaN for a singular tensor."""
    c = np.asarray(tensor, dtype=np.float64)
    if np.linalg.matrix_rank(c) < 6:
        return float("nan"), float("nan")
    normal, cross, shear = _invariant_sums(np.asarray(np.linalg.inv(c)))
    bulk, rigidity = normal + 2 * cross, 4 * normal - 4 * cross + 3 * shear
    return (1 / bulk if bulk else float("nan")), (15 / rigidity if rigidity else float("nan"))


def _invariant_sums(matrix: FloatArray) -> tuple[float, float, float]:
    diagonal = np.diag(matrix)
    return (
        float(diagonal[:3].sum()),
        float(matrix[0, 1] + matrix[0, 2] + matrix[1, 2]),
        float(diagonal[3:].sum()),
    )


def moduli(tensor: ArrayLike) -> Moduli:
    """The averages of a Voigt tensor ``(6, 6)``, GPa, of any symmetry and in any frame.

    :raises InputError: when the tensor is not 6x6, finite and symmetric.
    """
    c = symmetric_tensor(tensor)
    bulk_voigt, shear_voigt = voigt_averages(c)
    bulk_reuss, shear_reuss = (
        reuss if 0 < reuss <= voigt * (1 + 1e-9) else float("nan")
        for reuss, voigt in zip(reuss_averages(c), (bulk_voigt, shear_voigt), strict=True)
    )
    bulk, shear = (bulk_voigt + bulk_reuss) / 2, (shear_voigt + shear_reuss) / 2
    youngs, poisson = isotropic_moduli(bulk, shear)
    return Moduli(
        bulk_modulus_voigt=bulk_voigt,
        bulk_modulus_reuss=bulk_reuss,
        bulk_modulus=bulk,
        shear_modulus_voigt=shear_voigt,
        shear_modulus_reuss=shear_reuss,
        shear_modulus=shear,
        youngs_modulus=youngs,
        poisson_ratio=poisson,
        pugh_ratio=bulk / shear,
    )


def moduli_errors(tensor: ArrayLike, errors: ArrayLike, crystal_class: str = "triclinic") -> Moduli:
    """Standard errors of the averages from those of the 21 constants, linearised.

    :param tensor: the tensor as fitted, ``(6, 6)``, GPa.
    :param errors: the covariance ``(21, 21)`` of the constants, GPa^2, as `elasticity.ElasticFit` holds it; or their
        standard errors ``(6, 6)``, GPa, which are taken as independent.
    :param crystal_class: the class onto which the tensor is projected before it is averaged.
    :return: the errors in the places of the values.
    """
    c = symmetric_tensor(tensor)
    triangle = np.triu_indices(6)
    covariance = np.asarray(errors, dtype=np.float64)
    if covariance.shape == (6, 6):
        covariance = np.diag(covariance[triangle] ** 2)
    if covariance.shape != (21, 21):
        raise InputError(f"Errors are 6x6 like the tensor, or a 21x21 covariance; got the shape {covariance.shape}.")
    names = [field.name for field in fields(Moduli)]
    step = 1e-5 * float(np.abs(c).max())
    slopes = np.empty((len(names), 21))
    for number, (row, column) in enumerate(zip(*triangle, strict=True)):
        shift = np.zeros((6, 6))
        shift[row, column] = shift[column, row] = step
        ends = [moduli(project(c + sign * shift, crystal_class).tensor) for sign in (1, -1)]
        high, low = (np.array([getattr(end, name) for name in names]) for end in ends)
        slopes[:, number] = (high - low) / (2 * step)
    variances = np.einsum("mi,ij,mj->m", slopes, covariance, slopes).clip(min=0.0)
    return Moduli(**dict(zip(names, np.sqrt(variances).tolist(), strict=True)))


def cauchy_pressures(tensor: ArrayLike, crystal_class: str) -> tuple[float, ...]:
    """Cauchy pressures, GPa: C12 - C44 (cubic); C13 - C44 and C12 - C66 (hexagonal); none otherwise.

    Positive ones go with metallic, negative with angular bonds (Pettifor, Mater. Sci. Technol. 8, 345
    (1992)).
    """
    c = np.asarray(tensor, dtype=np.float64)
    if crystal_class in ("cubic", "isotropic"):
        return (float(c[0, 1] - c[3, 3]),)
    if crystal_class == "hexagonal":
        return float(c[0, 2] - c[3, 3]), float(c[0, 1] - c[5, 5])
    return ()
