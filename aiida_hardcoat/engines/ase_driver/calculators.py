"""The calculator of a model, on the device asked for, and the level of theory that it stands for."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path


class DriverError(Exception):
    """What stops the whole run: ``kind`` is what the parser turns into an exit code."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


def sha256_of(path: str | os.PathLike) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        for block in iter(lambda: handle.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def state_sha256(network) -> str:
    """Of the parameters of a torch module by name, wherever they were loaded from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        if hasattr(tensor, "detach"):
            digest.update(as_bytes(tensor))
    return digest.hexdigest()


def as_bytes(tensor) -> bytes:
    import torch

    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def together(digests: list[str]) -> str:
    """One hash of several, whatever their order; that of one is itself."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


def is_file(value: object) -> bool:
    return isinstance(value, str) and os.path.isfile(value)


def files_in(options: object) -> Iterator[str]:
    """The options that are paths of existing files, also within lists and mappings."""
    if isinstance(options, (dict, list, tuple)):
        for value in options.values() if isinstance(options, dict) else options:
            yield from files_in(value)
    elif is_file(options):
        yield str(options)


def by_content(options: object) -> object:
    """The options with each file named by its content, so that equal weights elsewhere are the same level of theory."""
    if isinstance(options, dict):
        return {key: by_content(value) for key, value in options.items()}
    if isinstance(options, (list, tuple)):
        return [by_content(value) for value in options]
    return f"sha256:{sha256_of(str(options))}" if is_file(options) else options


def has_gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return bool(torch.cuda.is_available())


def choose_device(asked: str) -> str:
    """The device to compute on: ``auto`` is a GPU where there is one.

    :raises DriverError: for a GPU that is not there.
    """
    if asked == "cpu":
        return asked
    if asked == "auto":
        return "cuda" if has_gpu() else "cpu"
    if not has_gpu():
        raise DriverError(
            "calculator_failed",
            f"device {asked} was asked for, but PyTorch finds no GPU here: ask the queue for one, or give device: cpu",
        )
    return asked


def load_sevennet(model: str, options: dict, device: str):
    import sevenn.util
    from sevenn.calculator import SevenNetCalculator

    weights = sevenn.util.pretrained_name_to_path(model)
    calculator = SevenNetCalculator(model, **{**options, "device": choose_device(device)})
    return calculator, "sevenn", sha256_of(weights), str(calculator.device)


def load_chgnet(model: str, options: dict, device: str):
    from chgnet.model import CHGNet
    from chgnet.model.dynamics import CHGNetCalculator

    version, device = options.get("version", "0.3.0"), choose_device(device)
    network = CHGNet.load(model_name=version, use_device=device, verbose=False)
    folder = Path(str(importlib.import_module("chgnet").__file__)).parent / "pretrained" / version
    weights = sorted(folder.glob("*.pth.tar"))
    digest = sha256_of(weights[0]) if weights else state_sha256(network)
    return CHGNetCalculator(model=network, use_device=device), "chgnet", digest, device


def load_import_path(model: str, options: dict, device: str):
    """``package.module:name``, a class or a function that makes a calculator of the options."""
    module_name, _, name = model.partition(":")
    module = importlib.import_module(module_name)
    if not hasattr(module, name):
        raise DriverError("missing_package", f"{module_name} has no calculator {name}")
    make = getattr(module, name)
    if takes_device(make):
        options = {**options, "device": choose_device(device)}
    elif device not in ("auto", "cpu"):
        raise DriverError("calculator_failed", f"{model} takes no device, so device: {device} cannot be given to it")
    calculator = make(**options)
    if not (hasattr(calculator, "calculate") and hasattr(calculator, "get_property")):
        raise DriverError("calculator_failed", f"{model} made no ASE calculator but {type(calculator).__name__}")
    package, device = module_name.split(".")[0], options.get("device", "cpu")
    return calculator, package, weights_sha256(calculator, options, module), device


def takes_device(make: Callable) -> bool:
    try:
        return "device" in inspect.signature(make).parameters
    except (TypeError, ValueError):
        return False


def weights_sha256(calculator, options: dict, module) -> str:
    """Of all files among the options; without one, of the torch modules that the calculator holds, or its source."""
    files = list(files_in(options))
    if files:
        return together([sha256_of(file) for file in files])
    networks = list(torch_modules(calculator))
    if networks:
        return together([state_sha256(network) for network in networks])
    return sha256_of(str(module.__file__))


def torch_modules(calculator) -> Iterator:
    """What a calculator holds directly or in a list, as committees do."""
    if "torch" not in sys.modules:
        return
    import torch

    for value in vars(calculator).values():
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(one, torch.nn.Module):
                yield one


LOADERS = {"7net-l3i5": load_sevennet, "7net-0": load_sevennet, "chgnet": load_chgnet}


def load_calculator(model: str, options: dict, device: str | None = None):
    """Return the calculator and the level of theory, a JSON-ready dict.

    :param device: ``auto`` (by default), ``cpu`` or ``cuda``; an option of that name says the same.
    """
    loader = LOADERS.get(model, load_import_path)
    device = device or options.get("device") or "auto"
    options = {key: value for key, value in options.items() if key != "device"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            calculator, package, digest, device = loader(model, options, device)
        except ImportError as error:
            raise DriverError("missing_package", f"the calculator {model} needs a package: {error}") from error
        except TypeError as error:
            raise DriverError("calculator_failed", f"the calculator {model} refused its options: {error}") from error
    level = {
        "engine": "ase",
        "model": model,
        "options": by_content(options),
        "package": package,
        "version": version(package),
        "sha256": digest,
        "ase_version": version("ase"),
        "torch_version": version("torch") if "torch" in sys.modules else None,
        "device": device,
    }
    return calculator, level


def version(package: str) -> str | None:
    """Of a package, as its distribution says, or it itself where that has another name."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        own = getattr(sys.modules.get(package), "__version__", None)
        return None if own is None else str(own)


def call(calculate: Callable, *args, **kwargs):
    return calculate(*args, **kwargs)


def count_evaluations(calculator, guard: Callable = call) -> dict:
    """Make ``calculator`` count its energy evaluations in the returned dict.

    :param guard: what calls it, and may refuse to.
    """
    counter = {"evaluations": 0}
    calculate = calculator.calculate

    def counted(*args, **kwargs):
        result = guard(calculate, *args, **kwargs)
        counter["evaluations"] += 1
        return result

    calculator.calculate = counted
    return counter
