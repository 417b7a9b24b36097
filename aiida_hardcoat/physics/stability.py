"""Born stability of a crystal without external load.

A crystal is mechanically stable when its elastic energy is positive for every strain, that is when all
eigenvalues of the stiffness are positive (Born and Huang; Mouhat and Coudert, Phys. Rev. B 90, 224104
(2014)). The eigenvalue form serves every class; the closed forms for cubic and hexagonal crystals are the
same statement.

Levämäki et al., npj Comput. Mater. 8, 17 (2022) also count as stable what misses a condition by a little,
with a tolerance of 1.1. It is read here as a factor on the stabilising, diagonal constants: a condition such
as C11 > |C12| becomes 1.1 C11 > |C12|. Where C66 is not independent it follows: (1.1 C11 - C12)/2. With
factor 1 the plain conditions come back.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from aiida_hardcoat.physics.projection import crystal_class_name, symmetric_tensor, voigt_to_kelvin
from aiida_hardcoat.physics.strain import FloatArray

STUDY_TOLERANCE = 1.1

_DEPENDENT_SHEARS = {
    "isotropic": (3, 4, 5),
    "hexagonal": (5,),
    "trigonal": (5,),
    "trigonal_y": (5,),
    "trigonal_low": (5,),
}


def eigenvalues(tensor: ArrayLike) -> FloatArray:
    """The six eigenvalues of the stiffness in the Kelvin basis, rising, GPa; the same in every frame."""
    return np.asarray(np.linalg.eigvalsh(voigt_to_kelvin(symmetric_tensor(tensor))))


def is_stable(tensor: ArrayLike, crystal_class: str = "triclinic", tolerance: float = 1.0) -> bool:
    """Whether every eigenvalue is positive, the diagonal constants multiplied by `tolerance`.

    :param tensor: ``(6, 6)``, GPa, of the class and in its standard frame.
    :param crystal_class: says which shear constants follow from others when `tolerance` is not 1.
    """
    name = crystal_class_name(crystal_class)
    relaxed = symmetric_tensor(tensor)
    relaxed[np.diag_indices(6)] *= tolerance
    for shear in _DEPENDENT_SHEARS.get(name, ()):
        relaxed[shear, shear] = (relaxed[0, 0] - relaxed[0, 1]) / 2
    values = eigenvalues(relaxed)
    # An eigenvalue that is zero but for rounding is not positive.
    return bool(values[0] > 1e-12 * np.abs(values).max())


def is_stable_cubic(tensor: ArrayLike, tolerance: float = 1.0) -> bool:
    """C11 > |C12|, C11 + 2 C12 > 0, C44 > 0, with C11 multiplied by `tolerance`."""
    c = symmetric_tensor(tensor)
    c11, c12, c44 = tolerance * c[0, 0], c[0, 1], c[3, 3]
    return bool(c11 > abs(c12) and c11 + 2 * c12 > 0 and c44 > 0)


def is_stable_hexagonal(tensor: ArrayLike, tolerance: float = 1.0) -> bool:
    """C11 > |C12|, C33 (C11 + C12) > 2 C13^2, C44 > 0, with C11 and C33 multiplied by `tolerance`."""
    c = symmetric_tensor(tensor)
    c11, c12, c13, c33, c44 = tolerance * c[0, 0], c[0, 1], c[0, 2], tolerance * c[2, 2], c[3, 3]
    return bool(c11 > abs(c12) and c33 * (c11 + c12) > 2 * c13**2 and c33 > 0 and c44 > 0)
