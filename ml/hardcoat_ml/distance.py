"""How far crystals are from the training data, in the space of the network's pooled features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hardcoat_ml.errors import InputError

FloatArray = NDArray[np.float64]

NEIGHBOURS = 5
QUANTILE = 0.99
"""The threshold is this quantile of the validation distances: 1 % of crystals like the training data are called far."""

_CHUNK = 256


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """Training data in standardised features, and the distance that counts as far.

    :ivar mean: mean ``(d,)`` and ``scale``: standard deviation ``(d,)`` of the training features.
    :ivar reference: standardised training features ``(n, d)``, float32.
    :ivar threshold: the distance, in standard deviations, that is one unit.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    reference: torch.Tensor
    threshold: float

    def distance(self, features: FloatArray) -> FloatArray:
        """Mean distance ``(m,)`` of features ``(m, d)`` to the five nearest training crystals, in thresholds.

        :raises InputError: for features of another width or that are not finite.
        """
        return _mean_distance(self.reference, self._standardised(features)) / self.threshold

    def to_tensors(self) -> dict[str, torch.Tensor]:
        """Everything as tensors, for a safetensors file."""
        return {
            "mean": self.mean,
            "scale": self.scale,
            "reference": self.reference,
            "threshold": torch.tensor(self.threshold, dtype=torch.float64),
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, torch.Tensor]) -> FeatureSpace:
        return cls(tensors["mean"], tensors["scale"], tensors["reference"], float(tensors["threshold"]))

    def _standardised(self, features: FloatArray) -> torch.Tensor:
        values = _matrix(features)
        if values.shape[1] != len(self.mean):
            raise InputError(f"Features of width {len(self.mean)} are needed, got {values.shape[1]}.")
        return ((values - self.mean) / self.scale).to(self.reference.dtype)


def feature_space(training: FloatArray, validation: FloatArray) -> FeatureSpace:
    """The space spanned by training features ``(n, d)``, its unit set by validation features ``(m, d)``.

    :raises InputError: for fewer than five training rows, no validation rows, or features that are not finite.
    """
    known, other = _matrix(training), _matrix(validation)
    if len(known) < NEIGHBOURS or not len(other):
        raise InputError(f"A feature space needs {NEIGHBOURS} training rows and a validation row or more.")
    mean, scale = known.mean(dim=0), known.std(dim=0, correction=0)
    # A feature that does not vary would be noise blown up to the size of the others.
    scale = torch.where(scale > 1e-6 * scale.max(), scale, torch.ones_like(scale))
    space = FeatureSpace(mean, scale, ((known - mean) / scale).to(torch.float32), threshold=1.0)
    threshold = float(np.quantile(space.distance(validation), QUANTILE))
    if threshold <= 0:
        raise InputError("The validation rows are copies of training rows: split by formula.")
    return FeatureSpace(mean, scale, space.reference, threshold)


def _matrix(features: FloatArray) -> torch.Tensor:
    values = torch.as_tensor(np.asarray(features, dtype=np.float64))
    if values.ndim != 2 or not bool(torch.isfinite(values).all()):
        raise InputError("Features must be a finite matrix, one row a crystal.")
    return values


def _mean_distance(reference: torch.Tensor, query: torch.Tensor) -> FloatArray:
    """Chunked, and without the matrix-product trick, which loses small distances to cancellation."""
    nearest = [
        torch.cdist(chunk, reference, compute_mode="donot_use_mm_for_euclid_dist")
        .topk(NEIGHBOURS, dim=1, largest=False)
        .values.double()
        .mean(dim=1)
        for chunk in torch.split(query, _CHUNK)
    ]
    return np.asarray(torch.cat(nearest).numpy(), dtype=np.float64)
