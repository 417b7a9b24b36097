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
``protocol_settings(protocol, part)``
    the engine's own settings in a protocol, ``part`` being ``relaxation`` or ``strains``; overrides change them;
``code_label(model)``
    the label of the AiiDA code that ``hardcoat setup`` makes for it;
``check_code(code, elements, model, settings)``
    raises it for what a look at the profile tells before anything is submitted: a code of another plugin, a potential
    family that is missing or lacks an element;
``cached()``
    process types, beside this package's own, whose finished results a run may use again;
``setup(computer, report)``
    makes what the engine needs in the profile, once; ``report`` is called with a line for each thing;
``doctor(elements)``
    what is there and what is missing, as rows of ``hardcoat doctor``;
``input_files(structure, task, model, settings, parent=None)``
    the text of every file that a job would read, by relative path, for a person to look at; ``parent`` is the
    unstrained structure of a strained one, whose k-mesh it has;
``get_builder(...)``
    a process builder for one task (see :class:`Engine`). Its process must answer with

    - ``trajectory`` (TrajectoryData): one step for each structure, step id = place among the strains asked for, arrays
      ``energies`` (eV), ``forces`` (eV/Angstrom), ``stresses`` (3x3, GPa, tension positive), ``converged``,
      ``force_thresholds``, ``largest_forces``, ``evaluations``, ``seconds``;
    - ``summary`` (Dict): ``level_of_theory``, ``task``, ``asked``, ``finished``, ``statuses``, ``evaluations``,
      ``seconds``; ``findings``, where the engine learned settings from the unstrained crystal that its strained copies
      share;
    - ``structure`` (StructureData): the relaxed structure, where no strains were given.

Signs and units are converted inside the engine and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Protocol

from aiida_hardcoat.errors import InputError, nearest

if TYPE_CHECKING:
    from aiida.engine import ProcessBuilder
    from aiida.orm import AbstractCode, Computer, List, StructureData
    from ase import Atoms

GROUP = "hardcoat.engines"
DEFAULT = "ase:7net-l3i5"


class Engine(Protocol):
    """What an engine's module offers."""

    DEFAULT_MODEL: str

    def check_model(self, model: str) -> None: ...

    def check_settings(self, task: str, model: str, settings: dict[str, Any]) -> None: ...

    def level_settings(self, settings: dict[str, Any]) -> dict[str, Any]: ...

    def protocol_settings(self, protocol: str, part: str) -> dict[str, Any]: ...

    def code_label(self, model: str) -> str: ...

    def check_code(self, code: AbstractCode, elements: Sequence[str], model: str, settings: dict[str, Any]) -> None: ...

    def cached(self) -> tuple[str, ...]: ...

    def setup(self, computer: Computer, report: Callable[[str], None]) -> None: ...

    def doctor(self, elements: Sequence[str] | None) -> list[dict[str, Any]]: ...

    def input_files(
        self, structure: Atoms, task: str, model: str, settings: dict[str, Any], parent: Atoms | None = None
    ) -> dict[str, str]: ...

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
        jobs_at_once: int = 0,
    ) -> ProcessBuilder: ...


@cache
def engines() -> dict[str, EntryPoint]:
    """The installed engines by name. To look for them takes longer than all that is checked of an alloy."""
    return {point.name: point for point in entry_points(group=GROUP)}


def load_engine(text: str) -> tuple[Engine, str]:
    """The engine's module and the model named by ``engine`` or ``engine:model``.

    :raises InputError: for an engine or model that does not exist.
    """
    name, _, model = text.partition(":")
    if name not in engines():
        raise InputError(f"unknown engine '{name}': {nearest(name, sorted(engines()))}")
    engine: Engine = engines()[name].load()
    engine.check_model(model or engine.DEFAULT_MODEL)
    return engine, model or engine.DEFAULT_MODEL
