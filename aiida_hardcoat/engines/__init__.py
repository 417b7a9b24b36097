"""Where energies, stresses and relaxed structures come from: one module for each engine behind one interface.

An engine is a module named by the entry-point group ``hardcoat.engines`` that has

``DEFAULT_MODEL``
    the model, functional or code flavour meant when none is named;
``check_model(model)``
    raises :class:`~aiida_hardcoat.errors.InputError` for a model it does not know;
``check_settings(task, model, settings)``
    raises it for settings that are unknown or out of range;
``level_settings(settings)``
    the part of the settings that decides the level of theory, which relaxation and strains must share;
``code_label(model)``
    the label of the AiiDA code that ``hardcoat setup`` makes for it;
``get_builder(...)``
    a process builder for one task (see :class:`Engine`). Its process must answer with

    - ``trajectory`` (TrajectoryData): one step for each structure, step id = place among the strains asked for, arrays
      ``energies`` (eV), ``forces`` (eV/Angstrom), ``stresses`` (3x3, GPa, tension positive), ``converged``,
      ``force_thresholds``, ``largest_forces``, ``evaluations``, ``seconds``;
    - ``summary`` (Dict): ``level_of_theory``, ``task``, ``asked``, ``finished``, ``statuses``, ``evaluations``,
      ``seconds``;
    - ``structure`` (StructureData): the relaxed structure, where no strains were given.

Signs and units are converted inside the engine and nowhere else.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol

from aiida_hardcoat.errors import InputError, nearest

if TYPE_CHECKING:
    from aiida.engine import ProcessBuilder
    from aiida.orm import AbstractCode, List, StructureData

GROUP = "hardcoat.engines"
DEFAULT = "ase:7net-l3i5"


class Engine(Protocol):
    """What an engine's module offers."""

    DEFAULT_MODEL: str

    def check_model(self, model: str) -> None: ...

    def check_settings(self, task: str, model: str, settings: dict[str, Any]) -> None: ...

    def level_settings(self, settings: dict[str, Any]) -> dict[str, Any]: ...

    def code_label(self, model: str) -> str: ...

    def get_builder(
        self,
        *,
        code: AbstractCode,
        structure: StructureData,
        strains: List | None,
        task: str,
        model: str,
        settings: dict[str, Any],
        options: dict[str, Any],
    ) -> ProcessBuilder: ...


def load_engine(text: str) -> tuple[Engine, str]:
    """The engine's module and the model named by ``engine`` or ``engine:model``.

    :raises InputError: for an engine or model that does not exist.
    """
    name, _, model = text.partition(":")
    available = {point.name: point for point in entry_points(group=GROUP)}
    if name not in available:
        raise InputError(f"unknown engine '{name}': {nearest(name, sorted(available))}")
    engine: Engine = available[name].load()
    engine.check_model(model or engine.DEFAULT_MODEL)
    return engine, model or engine.DEFAULT_MODEL
