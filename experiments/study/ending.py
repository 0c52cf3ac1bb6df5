"""The end of a study: its winner is tested, and made again from all training images."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evolve.trials.results import TRIED, Tried
from experiments.study.engines import ENGINE_OF_RUN
from experiments.study.roles import Roles

if TYPE_CHECKING:
    from slicing.engine.engine import Engine

WINNER, PREDICTIONS = "winner", "predictions.npz"
"""Folder of the winner's run, within that of the study; file in both, with the answers to the test
images."""

# Choice images that a winner which is made again has to know.
_KNOWN = 500


@dataclass(frozen=True)
class Testing:
    """Test an engine.

    Attributes
    ----------
    words : tuple of str
        Command line of the winner's run.
    folder : Path
        Where the answers are written: a file :data:`PREDICTIONS`.
    engine : Path
    """

    words: tuple[str, ...]
    folder: Path
    engine: Path
    seconds: float | None = None

    def do(self) -> Tried:
        """Do it.

        Returns
        -------
        Tried
            Its details: ``right``, the right answers to the test images, and ``total``, their
            number.
        """
        # Here, not above: the process of the study needs none of it.
        from experiments.arrays import save_arrays
        from experiments.components import Components
        from experiments.overrides import check, chosen
        from experiments.schema.run import plain
        from slicing.engine.engine import Engine

        [config] = check(self.words)
        dataset = Components(plain(config), chosen(self.words)).dataset()
        test = (dataset.read_test_all or dataset.read_test)()
        predicted = _predicted(Engine.load(self.engine), test)
        save_arrays({"labels": test.labels, "engine": predicted}, self.folder / PREDICTIONS)
        right = int((predicted == test.labels).sum())
        return Tried(TRIED, details={"right": right, "total": len(test)})


@dataclass(frozen=True)
class Remaking:
    """Make the winner again, as a run with all training images.

    Attributes
    ----------
    words : tuple of str
        Command line of the run.
    folder : Path
        Where it runs.
    roles : Roles
        Say which images were the choice images.
    seconds : float or None
        After which it is too late.
    """

    words: tuple[str, ...]
    folder: Path
    roles: Roles
    seconds: float | None = None

    def do(self) -> Tried:
        """Do it.

        Returns
        -------
        Tried
            Its metrics are ``bytes`` and ``parameters``. Its details are those of
            :meth:`Testing.do`, and ``known``, how many of some choice images, ``of``, it classifies
            correctly: they have taught it.
        """
        # Here, not above: the process of the study needs none of it.
        from experiments.components import Components
        from experiments.monitor import Silent
        from experiments.overrides import check, chosen
        from experiments.pipeline import run
        from experiments.schema.run import plain
        from slicing.engine.engine import Engine

        [config] = check(self.words)
        choices = chosen(self.words)
        self.folder.mkdir(parents=True, exist_ok=True)
        summary = run(config, choices, self.folder, self.words, Silent())
        tested = summary.saved.test_all or summary.saved.test
        assert tested is not None
        dataset = Components(plain(config), choices).dataset()
        choice = self.roles.of(dataset, 0).read_test()[:_KNOWN]
        predicted = _predicted(Engine.load(self.folder / ENGINE_OF_RUN), choice)
        metrics = {
            "bytes": float(summary.saved.total_bytes),
            "parameters": float(summary.saved.parameters),
        }
        known = int((predicted == choice.labels).sum())
        details = {
            "right": tested.correct,
            "total": tested.total,
            "known": known,
            "of": len(choice),
        }
        return Tried(TRIED, "", metrics, details)


def _predicted(engine: "Engine", part: Any) -> NDArray[np.int64]:
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
