"""What is known of the engine that a study hands over: its answers to the test images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.statistics import Accuracy, ClassFigures
from experiments.study.ending import PREDICTIONS, WINNER
from experiments.summary import SUMMARY, Summary, saved_of


@dataclass(frozen=True, eq=False)
class Handed:
    """The engine that a study hands over, on the test images.

    Attributes
    ----------
    labels, predicted : ndarray of shape (n_test,), int64
        The true classes, and its answers.
    run : Summary or None
        Of the run that has made it again with the choice images; None for one as it was tried.
    """

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    run: Summary | None = None

    @classmethod
    def read(cls, folder: Path, refit: bool) -> "Handed":
        """Read what the end of a study has left in its folder.

        Parameters
        ----------
        folder : Path
        refit : bool
            Whether the winner was made again.
        """
        where = folder / WINNER if refit else folder
        with np.load(where / PREDICTIONS, allow_pickle=False) as arrays:
            labels, predicted = arrays["labels"], arrays[saved_of(arrays)]
        return cls(labels, predicted, Summary.read(where / SUMMARY) if refit else None)

    def by_class(self, classes: Sequence[str]) -> dict[str, Mapping[str, Accuracy | None]]:
        """Measure every class: its ``recall`` and its ``precision``, None without any image."""
        found = ClassFigures.of_all(self.predicted, self.labels, len(classes))
        return {name: each._asdict() for name, each in zip(classes, found, strict=True)}
