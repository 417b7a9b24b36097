"""What a network is trained on: merged graphs, moduli, and the part of the split that each crystal belongs to.

Preparing it needs the libraries that know crystals; what :func:`save` writes is then enough on any machine.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hardcoat_ml import data
from hardcoat_ml.cleaning import clean
from hardcoat_ml.data import Entry
from hardcoat_ml.dataset_card import dataset_card
from hardcoat_ml.errors import InputError
from hardcoat_ml.files import write_whole
from hardcoat_ml.graphs import Graphs, crystal_graphs

FORMAT = "hardcoat training set 1"
TRAINING, VALIDATION, TEST, HELD_OUT = range(4)


@dataclass(frozen=True)
class TrainingSet:
    """Crystals ready for training."""

    graphs: Graphs
    moduli: NDArray[np.float64]
    """(n, 2): bulk and shear modulus in GPa."""
    formulas: NDArray[np.str_]
    """(n,) reduced formulas."""
    parts: NDArray[np.int8]
    """(n,) :data:`TRAINING`, :data:`VALIDATION`, :data:`TEST` or :data:`HELD_OUT`."""
    card: dict[str, Any]
    """Source, licence, cleaning, split and fingerprint of the data."""

    def rows(self, part: int) -> NDArray[np.int64]:
        """Numbers of the crystals of a part."""
        return np.flatnonzero(self.parts == part)


def prepare(
    entries: Sequence[Entry],
    seed: int = 0,
    *,
    held_out: Callable[[Entry], bool] | None = None,
    share: float = 1.0,
    progress: Any = None,
) -> TrainingSet:
    """Clean entries, split them 8:1:1 by formula and make their graphs.

    :param held_out: entries that are kept out of all three parts, to judge the network on.
    :param share: of the formulas for training that are used; the others are held out (learning curves).
    :param progress: wraps an iterable, as tqdm does.
    :raises InputError: where too little is left to split.
    """
    kept, removed = clean(entries)
    formulas = [entry.formula for entry in kept]
    parts = data.split(formulas, seed)
    if share < 1:
        training = [formula for formula, part in zip(formulas, parts, strict=True) if part == TRAINING]
        used = data.split(training, seed, (share, 0.0, 1 - share))
        parts[parts == TRAINING] = np.where(used == 0, TRAINING, HELD_OUT)
    if held_out is not None:
        parts[[held_out(entry) for entry in kept]] = HELD_OUT
    # What holds an element that no training crystal holds can neither be judged nor learned from.
    parts[data.unseen(kept, parts)] = HELD_OUT
    return TrainingSet(
        graphs=crystal_graphs([entry.crystal for entry in kept], progress),
        moduli=np.array([[entry.bulk_modulus, entry.shear_modulus] for entry in kept]),
        formulas=np.array(formulas),
        parts=parts,
        card=dataset_card(kept, parts, seed, removed),
    )


def save(training_set: TrainingSet, path: Path) -> None:
    """Write a set as one ``.npz`` file, whole or not at all."""
    arrays = {field.name: getattr(training_set.graphs, field.name).numpy() for field in fields(Graphs)}
    arrays |= {"moduli": training_set.moduli, "formulas": training_set.formulas, "parts": training_set.parts}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, format=np.array(FORMAT), card=np.array(json.dumps(training_set.card)), **arrays)
    write_whole(path, buffer.getvalue())


def load(path: Path) -> TrainingSet:
    """Read what :func:`save` wrote.

    :raises InputError: for a file that is missing or something else.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            if str(stored["format"]) != FORMAT:
                raise KeyError("format")
            graphs = Graphs(*(torch.from_numpy(stored[field.name]) for field in fields(Graphs)))
            return TrainingSet(
                graphs, stored["moduli"], stored["formulas"], stored["parts"], json.loads(str(stored["card"]))
            )
    except FileNotFoundError:
        raise InputError(f"no file {path}: make it with `hardcoat ml prepare DATA {path}`") from None
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile):
        raise InputError(f"{path} is no training set: make one with `hardcoat ml prepare DATA {path}`") from None
