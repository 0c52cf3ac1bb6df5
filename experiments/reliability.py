"""Whether a confidence comes true: whether 80 % of the answers that have 0.8 are right."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from experiments.statistics import Accuracy

# Bins of equal width, as in the source of the expected calibration error.
_BINS = 10
# Draws from which it is known how large the error is by chance.
_DRAWS = 1000
# Right or wrong answers, of which fewer tell nothing of how they lie.
_FEWEST = 5


@dataclass(frozen=True)
class Bin:
    """Answers of similar confidence.

    Attributes
    ----------
    low, high : float
        Between which their confidences are; all of them are above ``low``, but for those of 0.
    mean : float
        Mean of their confidences.
    accuracy : Accuracy
        How many of them are right.
    """

    low: float
    high: float
    mean: float
    accuracy: Accuracy


@dataclass(frozen=True)
class Reliability:
    """How true a confidence is, on images that had no part in it.

    Sources: A. Niculescu-Mizil, R. Caruana, "Predicting good probabilities with supervised
    learning", ICML 2005, for the diagram; C. Guo et al., "On calibration of modern neural
    networks", ICML 2017, for the expected calibration error.

    Attributes
    ----------
    bins : tuple of Bin
        Those that hold answers, in ascending order.
    by_chance : float
        The calibration error of few images is not 0 where confidence comes true: in 95 of 100 cases
        it is at most this (consistency resampling: J. Bröcker, L. A. Smith, "Increasing the
        reliability of reliability diagrams", Weather and Forecasting 22, 2007).
    brier : float
        Brier score: the mean squared difference from 1 for a right answer, 0 for a wrong one. 0 is
        perfect.
    auroc : float or None
        Probability that a right answer has more confidence than a wrong one, half for equal ones: 1
        separates them, 0.5 does not. None where fewer than five are right, or wrong: that says
        nothing.
    """

    bins: tuple[Bin, ...]
    by_chance: float
    brier: float
    auroc: float | None

    @classmethod
    def of(cls, confidences: NDArray[np.float64], is_right: NDArray[np.bool_]) -> "Reliability":
        """Compare confidences, 0 to 1, with what is right, both of shape (n,)."""
        numbers = np.maximum(np.ceil(confidences * _BINS), 1).astype(int)
        bins = []
        for number in np.unique(numbers):
            chosen = numbers == number
            accuracy = Accuracy(int(is_right[chosen].sum()), int(chosen.sum()))
            mean = float(confidences[chosen].mean())
            bins.append(Bin((number - 1) / _BINS, number / _BINS, mean, accuracy))
        brier = float(np.mean((confidences - is_right) ** 2))
        return cls(
            tuple(bins), _by_chance(confidences, numbers), brier, auroc(confidences, is_right)
        )

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Reliability":
        """Make one of what JSON holds."""
        bins = tuple(
            Bin(**{**each, "accuracy": Accuracy(**each["accuracy"])}) for each in values["bins"]
        )
        return cls(**{**values, "bins": bins})

    @property
    def accuracy(self) -> Accuracy:
        """How many of all answers are right."""
        accuracies = [each.accuracy for each in self.bins]
        return Accuracy(
            sum(each.correct for each in accuracies), sum(each.total for each in accuracies)
        )

    @property
    def mean(self) -> float:
        """Mean of all confidences."""
        return self._weighted([each.mean for each in self.bins])

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: the mean distance of confidence and accuracy in a bin."""
        return self._weighted([abs(each.mean - each.accuracy.value) for each in self.bins])

    def _weighted(self, values: list[float]) -> float:
        return float(np.average(values, weights=[each.accuracy.total for each in self.bins]))


def _by_chance(confidences: NDArray[np.float64], numbers: NDArray[np.int64]) -> float:
    """Give the 95th percentile of the calibration error of confidences that come true."""
    rng = np.random.default_rng(0)
    sums = np.bincount(numbers, confidences)
    errors = [
        np.abs(sums - np.bincount(numbers, rng.random(len(numbers)) < confidences)).sum()
        for _ in range(_DRAWS)
    ]
    return float(np.percentile(errors, 95)) / len(numbers)


def auroc(scores: NDArray[np.float64], is_right: NDArray[np.bool_]) -> float | None:
    """Area under the ROC curve, from the sum of ranks (Mann and Whitney); None: of too few."""
    n_right = int(is_right.sum())
    n_wrong = len(is_right) - n_right
    if min(n_right, n_wrong) < _FEWEST:
        return None
    ranks = rankdata(scores)[is_right].sum()
    return float((ranks - n_right * (n_right + 1) / 2) / (n_right * n_wrong))
