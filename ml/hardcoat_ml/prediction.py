"""What a model says of one crystal; reading it needs no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prediction:
    """Learned moduli of a crystal: GPa, and 1 for Poisson's ratio."""

    bulk_modulus: float
    """Mean of the members."""
    shear_modulus: float
    """Mean of the members."""
    youngs_modulus: float
    """Follows from the two moduli."""
    poisson_ratio: float
    """Follows from the two moduli."""
    spread: dict[str, float]
    """Standard deviation over the members, by property."""
    interval: dict[str, tuple[float, float]]
    """Conformal interval of 90 %, by property."""
    distance: float
    """To the training data in feature space; 1 is what 1 % of crystals like the training data exceed."""
    far: bool
    """Whether the distance exceeds 1: the interval may not hold."""
