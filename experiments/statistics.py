"""Accuracies with confidence intervals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest


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
