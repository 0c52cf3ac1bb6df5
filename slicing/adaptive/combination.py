"""One answer of several members that were asked about an image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slicing.adaptive.table import Table

# Exponents that are tried lie between these.
_LOW, _HIGH = 0.05, 50.0
_LEAST = np.finfo(np.float32).tiny


@dataclass(frozen=True, eq=False)
class Combination:
    """Takes the mean of the members' probabilities.

    A member's probability of a class goes with its distance to the power of -e, for an exponent e
    that makes the right classes of the *select* role most likely: a softmax of the logarithms of
    the distances, calibrated by one temperature (C. Guo et al., "On calibration of modern neural
    networks", ICML 2017).

    Attributes
    ----------
    exponents : ndarray of shape (n_members,), float64
    """

    exponents: NDArray[np.float64]

    @classmethod
    def fit(cls, table: Table) -> "Combination":
        """Learn the exponents from the *select* role."""
        found = [_exponent(scores, table.labels) for scores in table.scores]
        return cls(np.array(found))

    def probabilities(self, member: int, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """Give a member's probabilities of the classes: (n, n_classes), float64."""
        return np.exp(_log_probabilities(scores, self.exponents[member]))

    def combined(
        self, asked: NDArray[np.bool_], scores: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Give the mean over the members that were asked.

        Parameters
        ----------
        asked : ndarray of shape (n, n_members), bool
        scores : ndarray of shape (n_members, n, n_classes), float32

        Returns
        -------
        ndarray of shape (n, n_classes), float64
            Each row sums to 1.
        """
        total = np.zeros(scores.shape[1:])
        for member, of_member in enumerate(scores):
            rows = asked[:, member]
            total[rows] += self.probabilities(member, of_member[rows])
        mean: NDArray[np.float64] = total / total.sum(axis=1, keepdims=True)
        return mean


def _log_probabilities(scores: NDArray[np.float32], exponent: float) -> NDArray[np.float64]:
    logits = -exponent * np.log(np.maximum(scores, _LEAST).astype(np.float64))
    logits -= logits.max(axis=1, keepdims=True)
    normalized: NDArray[np.float64] = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return normalized


def _exponent(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    # Here, not above: a system that classifies needs none of it.
    from scipy.optimize import minimize_scalar

    own = np.arange(len(labels)), labels

    def loss(log_exponent: float) -> float:
        found = _log_probabilities(scores, float(np.exp(log_exponent)))[own]
        # A class without references has no probability at all, whatever the exponent.
        return -float(np.maximum(found, -50.0).mean())

    return float(np.exp(minimize_scalar(loss, bounds=np.log([_LOW, _HIGH]), method="bounded").x))
