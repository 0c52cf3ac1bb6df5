"""Accuracies with confidence intervals, and whether two classifiers can be told apart."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

# A difference with a smaller p-value is more than chance; the smallest that is written as it is.
_CHANCE, _LEAST = 0.05, 0.0001


@dataclass(frozen=True)
class Accuracy:
    """A measured accuracy.

    Attributes
    ----------
    correct, total : int
        Images classified correctly, and all.
    """

    correct: int
    total: int

    @classmethod
    def of(cls, predicted: NDArray[np.int64], labels: NDArray[np.int64]) -> "Accuracy":
        """Compare predicted labels with the true ones, both of shape (n,)."""
        return cls(int(np.sum(predicted == labels)), len(labels))

    @property
    def value(self) -> float:
        """The share of correct images, 0 to 1."""
        return self.correct / self.total

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Wilson's score interval: E. B. Wilson, J. Am. Stat. Assoc. 22, 1927.

        Parameters
        ----------
        confidence : float
            Coverage, between 0 and 1.

        Returns
        -------
        low, high : float
            Between 0 and 1.
        """
        interval = binomtest(self.correct, self.total).proportion_ci(confidence, method="wilson")
        return float(interval.low), float(interval.high)


@dataclass(frozen=True)
class Comparison:
    """Two classifiers' answers to the same images.

    Attributes
    ----------
    changed, total : int
        Images to which they give different answers, and all.
    better, worse : int
        Images that only the second, or only the first, classifies correctly.
    p : float
        That of :func:`mcnemar`.
    """

    changed: int
    total: int
    better: int
    worse: int
    p: float

    @classmethod
    def of(
        cls, first: NDArray[np.int64], second: NDArray[np.int64], labels: NDArray[np.int64]
    ) -> "Comparison":
        """Compare predicted labels, all of shape (n,)."""
        better = int(np.sum((first != labels) & (second == labels)))
        worse = int(np.sum((first == labels) & (second != labels)))
        changed = int(np.sum(first != second))
        return cls(changed, len(labels), better, worse, mcnemar(better, worse))

    def sentence(self, subject: str) -> str:
        """Say in words what ``subject``, which made the second of the first, has changed."""
        if not self.changed:
            return f"{subject} changed none of {self.total:,} answers"
        verdict = "chance explains that" if self.p >= _CHANCE else "more than chance explains"
        p = f"p = {self.p:.2g}" if self.p >= _LEAST else f"p < {_LEAST:g}"
        still = self.changed - self.better - self.worse
        both = f", {still:,} are wrong both times" if still else ""
        return (
            f"{subject} changed {self.changed:,} of {self.total:,} answers: {self.better:,} to the "
            f"better, {self.worse:,} to the worse{both}; {verdict} ({p})"
        )


def mcnemar(better: int, worse: int) -> float:
    """Give the p-value that two classifiers are equally good: the exact, two-sided test.

    Q. McNemar, Psychometrika 12, 1947: by chance, either is as likely to be the only one that is
    right.

    Parameters
    ----------
    better, worse : int
        Images that only one of them, or only the other, classifies correctly.
    """
    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0


class ClassFigures(NamedTuple):
    """How well one class is recognized.

    Attributes
    ----------
    recall : Accuracy or None
        Of the images of the class, those that are taken for it. None without any.
    precision : Accuracy or None
        Of the images that are taken for the class, those that are of it. None without any.
    """

    recall: Accuracy | None
    precision: Accuracy | None

    @classmethod
    def of_all(
        cls, predicted: NDArray[np.int64], labels: NDArray[np.int64], n_classes: int
    ) -> "list[ClassFigures]":
        """Measure every class; predicted and true labels are of shape (n,)."""
        right, true, taken = (
            np.bincount(each, minlength=n_classes).tolist()
            for each in (labels[predicted == labels], labels, predicted)
        )
        return [
            cls(*(Accuracy(correct, total) if total else None for total in totals))
            for correct, *totals in zip(right, true, taken, strict=True)
        ]


def ratio_interval(
    above: NDArray[np.float64], below: NDArray[np.float64], seed: int = 0
) -> tuple[float, float]:
    """Give the 95 % interval of a ratio of means, by a bootstrap over images.

    Source: B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics
    7(1), 1979; percentiles of 2000 resamples.

    Parameters
    ----------
    above, below : ndarray of shape (n,), float64
        Of the same images, which are drawn together.
    seed : int
    """
    drawn = np.random.default_rng(seed).integers(0, len(above), (2000, len(above)))
    ratios = above[drawn].mean(axis=1) / below[drawn].mean(axis=1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(low), float(high)
