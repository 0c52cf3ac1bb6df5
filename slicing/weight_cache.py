"""Trained weights on disk, so that a second run need not train them again."""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

Weights = list[NDArray[Any]]


def cache_file(folder: Path, determinants: Mapping[str, Any]) -> Path:
    """Name the file for the weights that ``determinants`` (JSON values) determine."""
    description = json.dumps(determinants, sort_keys=True)
    return folder / f"{hashlib.sha256(description.encode()).hexdigest()}.npz"


def read_weights(path: Path, shapes: Sequence[tuple[int, ...]]) -> tuple[Weights, float] | None:
    """Read weights and the seconds that their training took.

    Parameters
    ----------
    path : Path
    shapes : sequence of tuple of int
        The shapes that the weights must have.

    Returns
    -------
    (list of ndarray, float) or None
        None where there is no such file, or, with a warning in the log, no readable one.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            weights = [file[f"arr_{i}"] for i in range(len(shapes))]
            train_seconds = float(file["train_seconds"])
        if [w.shape for w in weights] != list(shapes):
            raise ValueError("the weights have other shapes than the network")
    except FileNotFoundError:
        return None
    except Exception as error:  # what a damaged archive raises is open-ended
        log.warning("The cached weights in %s cannot be read (%s): training anew.", path, error)
        return None
    return weights, train_seconds


def write_weights(path: Path, weights: Weights, train_seconds: float) -> None:
    """Write weights to a file all at once; where that is impossible, log a warning and go on."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, *weights, train_seconds=train_seconds)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink()
            raise
    except OSError as error:
        log.warning("The trained weights cannot be cached (%s): the next run trains anew.", error)
