"""Trained weights on disk, so that a second run need not train them again.

A cache file is a :mod:`slicing.tensor_file`, with a checksum. The files of a folder take at most
2 GB: when a new one would exceed that, those that were not used for the longest time are deleted.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slicing import tensor_file
from slicing.baselines.base import Epoch
from slicing.errors import InputError
from slicing.files import delete_oldest, make_folder

log = logging.getLogger(__name__)

Weights = list[NDArray[Any]]

# Bytes of all cache files of a folder.
LIMIT = 2_000_000_000

_KIND = "knn-slicing baseline 2"
# Of the names of cache files: others in the folder are left alone.
_NAME = re.compile(r"[0-9a-f]{64}\.safetensors")


class Trained(NamedTuple):
    """What a training leaves.

    Attributes
    ----------
    weights : list of ndarray
    seconds : float
        How long it took.
    epochs : tuple of Epoch
    """

    weights: Weights
    seconds: float
    epochs: tuple[Epoch, ...]


def cache_file(folder: Path, determinants: Mapping[str, Any]) -> Path:
    """Name the file for the weights that ``determinants`` (JSON values) determine."""
    # Sequences of other kinds are lists, too.
    description = json.dumps(determinants, sort_keys=True, default=list)
    return folder / f"{hashlib.sha256(description.encode()).hexdigest()}.safetensors"


def read_trained(path: Path, shapes: Sequence[tuple[int, ...]]) -> Trained | None:
    """Read the weights of a training, and what it said.

    Parameters
    ----------
    path : Path
    shapes : sequence of tuple of int
        The shapes that the weights must have.

    Returns
    -------
    Trained or None
        None where there is no such file, or, with a warning in the log, no readable one.
    """
    if not path.exists():
        return None
    try:
        settings, arrays = tensor_file.read(path, _KIND)
        weights = [arrays[str(number)] for number in range(len(arrays))]
        epochs = tuple(Epoch(*each) for each in settings["epochs"])
        trained = Trained(weights, float(settings["seconds"]), epochs)
        if [array.shape for array in weights] != list(shapes):
            raise InputError(f"{path} holds weights of other shapes than the network's.")
    except (InputError, LookupError, TypeError, ValueError) as error:
        log.warning("Cached weights are not used, the network is trained again: %s", error)
        return None
    try:
        os.utime(path)  # now it is the one that was used last
    except OSError as error:
        log.debug("The time of %s cannot be set: %s", path, error)
    return trained


def write_trained(path: Path, trained: Trained) -> None:
    """Write a training to a file, whole or not at all, and keep its folder within the limit.

    Where that is impossible, log a warning and go on.
    """
    arrays = {str(number): np.asarray(array) for number, array in enumerate(trained.weights)}
    epochs = [astuple(each) for each in trained.epochs]
    settings = {"seconds": trained.seconds, "epochs": epochs}
    content = tensor_file.pack(_KIND, settings, arrays)
    try:
        make_folder(path.parent)
        tensor_file.write(path, content)
        delete_oldest(path, _NAME, LIMIT)
    except OSError as error:
        log.warning(
            "The trained weights cannot be cached (%s): the next run trains them again.", error
        )
