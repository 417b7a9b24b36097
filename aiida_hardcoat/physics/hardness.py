"""Hardness and fracture toughness estimated from bulk and shear modulus.

All of these are correlations over measured Vickers hardnesses, not predictions of a measurement: they hold
for covalent and ionic polycrystals without texture or porosity and overestimate metals. To add a hardness
model, write one function of bulk and shear modulus (GPa) that returns GPa and register it with
`hardness_model`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.moduli import isotropic_moduli

ModelFunction = Callable[[float, float], float]


@dataclass(frozen=True)
class HardnessModel:
    """A hardness correlation: call it with bulk and shear modulus (GPa), get GPa.

    :ivar source: the paper.
    :ivar domain: where it may be used.
    """

    function: ModelFunction
    source: str
    domain: str

    def __call__(self, bulk: float, shear: float) -> float:
        if not (bulk > 0 and shear > 0):
            raise InputError("Hardness models need a positive bulk and shear modulus.")
        return self.function(bulk, shear)


HARDNESS_MODELS: dict[str, HardnessModel] = {}


def hardness_model(source: str, domain: str) -> Callable[[ModelFunction], ModelFunction]:
    """Enter a function into `HARDNESS_MODELS` under its own name."""

    def register(function: ModelFunction) -> ModelFunction:
        HARDNESS_MODELS[function.__name__] = HardnessModel(function, source, domain)
        return function

    return register


@hardness_model("Teter, MRS Bull. 23, 22 (1998)", "hard ceramics; the shear modulus alone")
def teter_1998(bulk: float, shear: float) -> float:
    """H = 0.151 G."""
    return 0.151 * shear


@hardness_model(
    "Chen, Niu, Li and Li, Intermetallics 19, 1275 (2011), eq. 6",
    "hard polycrystals above about 5 GPa; turns negative for soft ones",
)
def chen_2011(bulk: float, shear: float) -> float:
    """H = 2 (k^2 G)^0.585 - 3 with k = G/B."""
    return float(2 * ((shear / bulk) ** 2 * shear) ** 0.585 - 3)


@hardness_model(
    "Tian, Xu and Zhao, Int. J. Refract. Met. Hard Mater. 33, 93 (2012), eq. 26",
    "as Chen 2011, refitted without the constant, so that soft materials stay positive",
)
def tian_2012(bulk: float, shear: float) -> float:
    """H = 0.92 k^1.137 G^0.708 with k = G/B."""
    return float(0.92 * (shear / bulk) ** 1.137 * shear**0.708)


@hardness_model(
    "Mazhnik and Oganov, J. Appl. Phys. 126, 125109 (2019)",
    "covalent and ionic crystals with Poisson's ratio from 0 to 0.4; overestimates metals",
)
def mazhnik_oganov_2019(bulk: float, shear: float) -> float:
    """H = 0.096 chi(nu) E with chi = (1 - 8.5 nu + 19.5 nu^2)/(1 - 7.5 nu + 12.2 nu^2 + 19.6 nu^3)."""
    youngs, nu = isotropic_moduli(bulk, shear)
    chi = (1 - 8.5 * nu + 19.5 * nu**2) / (1 - 7.5 * nu + 12.2 * nu**2 + 19.6 * nu**3)
    return 0.096 * chi * youngs


def niu_2019(bulk: float, shear: float, volume_per_atom: float) -> float:
    """K_IC = V^(1/6) G sqrt(B/G); Niu, Niu and Oganov, J. Appl. Phys. 125, 065105 (2019)."""
    return float((volume_per_atom * 1e-30) ** (1 / 6) * shear * 1e3 * (bulk / shear) ** 0.5)


def mazhnik_oganov_2019_toughness(bulk: float, shear: float, volume_per_atom: float) -> float:
    """K_IC = V^(1/6) (xi(nu) E)^(3/2) / sqrt(8840 GPa); Mazhnik and Oganov (2019), as above.

    xi = (1 - 13.7 nu + 48.6 nu^2)/(1 - 15.2 nu + 70.2 nu^2 - 81.5 nu^3).
    """
    youngs, nu = isotropic_moduli(bulk, shear)
    xi = (1 - 13.7 * nu + 48.6 * nu**2) / (1 - 15.2 * nu + 70.2 * nu**2 - 81.5 * nu**3)
    return float((volume_per_atom * 1e-30) ** (1 / 6) * (xi * youngs) ** 1.5 / 8840**0.5 * 1e3)


FRACTURE_TOUGHNESS_MODELS: dict[str, Callable[[float, float, float], float]] = {
    "niu_2019": niu_2019,
    "mazhnik_oganov_2019": mazhnik_oganov_2019_toughness,
}
"""Fracture toughness in MPa m^(1/2) of covalent and ionic crystals from bulk and shear modulus (GPa) and the
volume per atom (Angstrom^3), without the enhancement factors that the papers give for metals."""
