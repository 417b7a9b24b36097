"""How tables name and write the four moduli."""

from __future__ import annotations

SYMBOLS = {"bulk_modulus": "B", "shear_modulus": "G", "youngs_modulus": "E", "poisson_ratio": "nu"}


def number_format(name: str) -> str:
    """One decimal for GPa, three for Poisson's ratio."""
    return "{:.3f}" if name == "poisson_ratio" else "{:.1f}"


def interval_text(name: str, low: float, high: float) -> str:
    form = number_format(name)
    return f"{form.format(low)}-{form.format(high)}"
