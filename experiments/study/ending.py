"""The end of a study: the winner is made again from all training images, and tested once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evolve.trials.results import TRIED, Tried

WINNER, PREDICTIONS = "winner", "predictions.npz"
"""Folder of the winner's run, within that of the study; file in both, with the answers to the test
images."""


@dataclass(frozen=True)
class Ending:
    """What a worker does at the end.

    Attributes
    ----------
    words : tuple of str
        Command line of the winner's run.
    folder : Path
        Where it runs.
    engine : Path
        The winner's engine, as it was tried.
    refit : bool
        Whether it is made again; otherwise it is tested alone.
    seconds : float or None
        After which it is too late.
    """

    words: tuple[str, ...]
    folder: Path
    engine: Path
    refit: bool
    seconds: float | None = None


def end(ending: Ending) -> Tried:
    """Do it.

    Returns
    -------
    Tried
        Its details: ``right``, the right answers to the test images, and ``total``, their number.
        The answers are in the file :data:`PREDICTIONS` of the run, or beside the engine.
    """
    # Here, not above: the process of the study needs none of it.
    from experiments.arrays import save_arrays
    from experiments.components import Components
    from experiments.monitor import Silent
    from experiments.overrides import check, chosen
    from experiments.pipeline import run
    from experiments.schema.run import plain
    from slicing.engine.engine import Engine

    [config] = check(ending.words)
    choices = chosen(ending.words)
    if ending.refit:
        ending.folder.mkdir(parents=True, exist_ok=True)
        summary = run(config, choices, ending.folder, ending.words, Silent())
        tested = summary.saved.test_all or summary.saved.test
        assert tested is not None
        return Tried(TRIED, details={"right": tested.correct, "total": tested.total})
    engine = Engine.load(ending.engine)
    dataset = Components(plain(config), choices).dataset()
    test = (dataset.read_test_all or dataset.read_test)()
    predicted = _predicted(engine, test)
    arrays = {"labels": test.labels, "engine": predicted}
    save_arrays(arrays, ending.engine.parent / PREDICTIONS)
    right = int((predicted == test.labels).sum())
    return Tried(TRIED, details={"right": right, "total": len(test)})


def _predicted(engine: Any, part: Any) -> NDArray[np.int64]:
    """Give the answers of an engine that takes images, a few at a time."""
    predicted = []
    for start in range(0, len(part), 64):
        some = part[start : start + 64]
        if engine.preparation is not None:
            pixels = some.prepared(engine.preparation)
        else:
            pixels = some.images
        predicted.append(engine.predict_labels(pixels))
    return np.concatenate(predicted)
