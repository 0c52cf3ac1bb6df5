"""The end of a study: the winner is made again from all training images, and tested once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evolve.trials.results import TRIED, Tried
from slicing.errors import InputError

WINNER = "winner"
"""Folder of the winner's run, within that of the study."""


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
    """
    # Here, not above: the process of the study needs none of it.
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
        assert summary.saved.test is not None
        return Tried(TRIED, details={"right": summary.saved.test.correct})
    engine = Engine.load(ending.engine)
    test = Components(plain(config), choices).dataset().read_test()
    return Tried(TRIED, details={"right": _right(engine, test), "total": len(test)})


def _right(engine: Any, part: Any) -> int:
    """Count the right answers of an engine that takes images, a few at a time."""
    right = 0
    for start in range(0, len(part), 64):
        some = part[start : start + 64]
        if engine.preparation is not None:
            pixels = some.prepared(engine.preparation)
        else:
            pixels = some.images
        right += int((engine.predict_labels(pixels) == some.labels).sum())
    return right


def words_of_run(words: Sequence[str], options: Mapping[str, Any]) -> tuple[str, ...]:
    """Give the command line of a run with the options of a trial."""
    from experiments.study.trial import words_of

    if not options:
        raise InputError("There is no trial to make again.")
    return (*words, *words_of(options))
