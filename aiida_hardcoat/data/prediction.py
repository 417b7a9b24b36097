"""Learned moduli of one structure by one model, flat and queryable.

Importing this module needs no torch, so that a shared archive opens anywhere AiiDA does.
"""

from __future__ import annotations

from typing import Any

from aiida_hardcoat.data.flat import FlatData, check_composition, close, field

PROPERTIES = ("bulk_modulus", "shear_modulus", "youngs_modulus", "poisson_ratio")


class PredictionData(FlatData):
    """What a learned model says of one structure. GPa unless another unit is named.

    The model is named by the hash of its weights; a prediction of other weights is another node beside this one.
    """

    class AttributesModel(FlatData.AttributesModel):
        # the model
        model_name: str = field("Name of the model")
        model_version: str = field("Version of the model")
        model_sha256: str = field("sha256 of the weights")
        model_fingerprint: str = field("Short hash of weights, calibration and all else on the model's card")
        training_data: str = field("Fingerprint (sha256) of the data that the model was trained on")

        # the moduli; the moduli are means over the members, Young's modulus and Poisson's ratio follow from them
        bulk_modulus: float = field("Mean over the members of the model, GPa")
        bulk_modulus_spread: float = field("Standard deviation over the members, GPa")
        bulk_modulus_low: float = field("Lower end of the 90 % interval, GPa")
        bulk_modulus_high: float = field("Upper end of the 90 % interval, GPa")
        shear_modulus: float = field("Mean over the members of the model, GPa")
        shear_modulus_spread: float = field("Standard deviation over the members, GPa")
        shear_modulus_low: float = field("Lower end of the 90 % interval, GPa")
        shear_modulus_high: float = field("Upper end of the 90 % interval, GPa")
        youngs_modulus: float = field("From the bulk and shear modulus, GPa")
        youngs_modulus_spread: float = field("Standard deviation over the members, GPa")
        youngs_modulus_low: float = field("Lower end of the 90 % interval, GPa")
        youngs_modulus_high: float = field("Upper end of the 90 % interval, GPa")
        poisson_ratio: float = field("From the bulk and shear modulus")
        poisson_ratio_spread: float = field("Standard deviation over the members")
        poisson_ratio_low: float = field("Lower end of the 90 % interval")
        poisson_ratio_high: float = field("Upper end of the 90 % interval")

        # how far to trust it
        distance: float = field("Distance to the training data in feature space, in units of the threshold")
        far: bool = field("Whether the distance exceeds the threshold: the interval may not hold")
        in_training_data: bool = field("Whether the model was trained or chosen with a crystal of this formula")

        # version
        hardcoat_version: str = field("Version of aiida-hardcoat that made the prediction")
        schema_version: int = field("Version of this schema")

    @staticmethod
    def check_consistency(values: dict[str, Any]) -> None:
        """Intervals, spreads, Young's modulus and Poisson's ratio, and the composition.

        :raises ValueError: naming the first relation that does not hold.
        """
        for name in PROPERTIES:
            if values[f"{name}_low"] > values[f"{name}_high"]:
                raise ValueError(f"{name}_low is above {name}_high")
            if values[f"{name}_spread"] < 0:
                raise ValueError(f"{name}_spread is negative")
        bulk, shear, young, poisson = (values[name] for name in PROPERTIES)
        # Both formulas without their denominator, which may be zero.
        if not close(young * (3 * bulk + shear), 9 * bulk * shear):
            raise ValueError("youngs_modulus does not follow from the bulk and shear modulus")
        if not close(poisson * 2 * (3 * bulk + shear), 3 * bulk - 2 * shear):
            raise ValueError("poisson_ratio does not follow from the bulk and shear modulus")
        if values["distance"] < 0 or values["far"] != (values["distance"] > 1):
            raise ValueError("far must say whether the distance is above 1")
        if len(values["model_sha256"]) != 64:
            raise ValueError("model_sha256 must have 64 hexadecimal digits")
        check_composition(values)
