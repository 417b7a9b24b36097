"""Where tensors live: a device by its name."""

from __future__ import annotations

import torch

from hardcoat_ml.errors import InputError


def check_device(device: str) -> torch.device:
    """The device of that name.

    :raises InputError: where it does not exist here.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError("no CUDA device is here, or PyTorch was built without CUDA: use --device cpu")
    try:
        return torch.device(device)
    except RuntimeError:
        raise InputError(f"no device '{device}': use cpu or cuda") from None
