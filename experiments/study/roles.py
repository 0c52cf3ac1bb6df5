"""Which of the training images judge the trials of a study."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from slicing.checks import at_least, between
from slicing.data.dataset import Dataset
from slicing.data.sampling import grouped_order

# Choice images that tell classifiers apart by one point or so; with fewer, every image is one once.
_ENOUGH = 300
_FOLDS = 5


@dataclass(frozen=True)
class Roles:
    """Divides training images: most are for training, the choice images judge trials.

    The test images of the dataset stay what they are, and are not read.

    Attributes
    ----------
    fraction : float
        Share of the choice images.
    folds : int or None
        How often they are others, so that a trial is tried so many times; None: once where they are
        many, and five times where they are few.
    seed : int

    Raises
    ------
    InputError
    """

    fraction: float = 0.2
    folds: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        between("choice_fraction", self.fraction, 0.01, 0.5)
        at_least("folds", self.folds, 1)
        if self.folds is not None:
            between("folds", self.folds, 1, self._parts)

    @property
    def _parts(self) -> int:
        return round(1 / self.fraction)

    def n_folds(self, dataset: Dataset[Any]) -> int:
        """Give the number of folds for so many images."""
        if self.folds is not None:
            return self.folds
        return 1 if self.fraction * len(dataset.train) >= _ENOUGH else min(_FOLDS, self._parts)

    def of(self, dataset: Dataset[Any], fold: int) -> Dataset[Any]:
        """Give a dataset whose test images are the choice images of a fold, from 0."""
        train = dataset.train
        groups = np.arange(len(train)) if train.groups is None else train.groups
        order = grouped_order(train.labels, groups, self.seed)
        # Copies stay on one side.
        whole = np.flatnonzero(np.diff(groups[order], prepend=-1, append=-1))
        # The last first: those at the beginning hold one of every class.
        if self.n_folds(dataset) == 1:
            shares, last = np.array([0.0, 1 - self.fraction, 1.0]), 2
        else:
            shares, last = np.linspace(0, 1, self._parts + 1), self._parts - fold
        ends = whole[np.abs(np.subtract.outer(len(order) * shares, whole)).argmin(1)]
        chosen = np.sort(order[ends[last - 1] : ends[last]])
        others = np.setdiff1d(np.arange(len(order)), chosen)
        choice = train[chosen]
        return replace(
            dataset, train=train[others], read_test=lambda: choice, read_test_all=None,
            calibration=None,
        )  # fmt: skip
