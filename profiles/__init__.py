"""What `hardcoat setup` and `hardcoat campaign` read: profiles, computers, codes and campaigns as YAML."""

from importlib import resources
from importlib.resources.abc import Traversable


def shipped(folder: str = "") -> dict[str, Traversable]:
    """The YAML files of a folder that come with the package, by their names without the suffix."""
    place = resources.files(__name__).joinpath(folder) if folder else resources.files(__name__)
    return {file.name.removesuffix(".yaml"): file for file in place.iterdir() if file.name.endswith(".yaml")}
