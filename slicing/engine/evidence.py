"""What an answer rests on, and how likely it is right.

A share of the votes is no confidence: near neighbors are mostly of one class, whether it is the
right one or not. Distances say more. An image that is as near to another class as to the answer is
in doubt, however many neighbors agree: the ratio of both distances is D. Lowe's test for a match
("Distinctive image features from scale-invariant keypoints", IJCV 60, 2004, section 7.1).
"""

from dataclasses import astuple, dataclass
from math import isfinite
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slicing.errors import InputError

# A ratio of distances counts as e^10 at most: that of an image that is a reference is infinite.
_WIDEST = np.tanh(5.0)


class Evidence(NamedTuple):
    """What the answers to some images rest on.

    Attributes
    ----------
    labels : ndarray of shape (n,), int64
        The answers, as indices.
    shares : ndarray of shape (n, n_classes), float64
        Each class's share of the votes.
    distances : ndarray of shape (n,), float64
        To the nearest reference of the answer: squared Euclidean, or cosine.
    margins : ndarray of shape (n,), float64
        (o - d) / (o + d) for the distance d to the nearest reference of the answer and o to that of
        any other class, from -1 to 1. It is 0 where both are equally near, and below where another
        class has the nearest reference but not the votes. Sources: the relative distance of
        A. Sato, K. Yamada, "Generalized learning vector quantization", NIPS 1995; as a measure of
        certainty L. Fischer, B. Hammer, H. Wersing, "Efficient rejection strategies for
        prototype-based classification", Neurocomputing 169, 2015.
    confidences : ndarray of shape (n,), float64, or None
        How likely each answer is right; None without a :class:`Confidence`.
    """

    labels: NDArray[np.int64]
    shares: NDArray[np.float64]
    distances: NDArray[np.float64]
    margins: NDArray[np.float64]
    confidences: NDArray[np.float64] | None


@dataclass(frozen=True)
class Confidence:
    """The probability that an answer is right: a logistic regression on its votes and distances.

    Attributes
    ----------
    intercept : float
    share : float
        Weight of the answer's share of the votes.
    log_ratio : float
        Weight of the logarithm of the ratio of distances, which is 2 artanh of the margin.
    """

    intercept: float
    share: float
    log_ratio: float

    def __post_init__(self) -> None:
        for value in astuple(self):
            if type(value) is not float or not isfinite(value):
                raise InputError(f"a weight of its confidence is {value!r}")

    @classmethod
    def fit(
        cls,
        shares: NDArray[np.float64],
        margins: NDArray[np.float64],
        is_right: NDArray[np.bool_],
    ) -> "Confidence":
        """Learn the weights from answers to images that taught nothing else.

        Right and wrong answers aim at (n + 1) / (n + 2) and 1 / (n + 2), for n answers of their
        kind, not at 1 and 0: few answers, or none that is wrong, promise no certainty. Source:
        J. Platt, "Probabilistic outputs for support vector machines", 1999, section 2.2.

        Parameters
        ----------
        shares, margins : ndarray of shape (n,), float64
            Of the answers.
        is_right : ndarray of shape (n,), bool

        Raises
        ------
        InputError
            Where there are no answers.
        """
        if not len(is_right):
            raise InputError("There are no images to learn a confidence from: give at least one.")
        # Here, not above: an engine that classifies needs none of it.
        from sklearn.linear_model import LogisticRegression

        n_right = int(is_right.sum())
        n_wrong = len(is_right) - n_right
        aims = np.where(is_right, (n_right + 1) / (n_right + 2), 1 / (n_wrong + 2))
        observed = np.column_stack([shares, _log_ratios(margins)])
        # An aim of 0.9 is nine tenths of a right answer and one tenth of a wrong one. So weak a
        # penalty decides only what the answers leave open: the weight of votes that are all equal.
        found = LogisticRegression(C=1000.0, solver="newton-cholesky", tol=1e-8).fit(
            np.vstack([observed, observed]),
            np.repeat([True, False], len(observed)),
            np.concatenate([aims, 1 - aims]),
        )
        return cls(float(found.intercept_[0]), *map(float, found.coef_[0]))

    def __call__(
        self, shares: NDArray[np.float64], margins: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Give the probability that each answer is right, of shape (n,), float64."""
        logits = self.intercept + self.share * shares + self.log_ratio * _log_ratios(margins)
        probabilities: NDArray[np.float64] = 0.5 + 0.5 * np.tanh(0.5 * logits)
        return probabilities


def evidence_of(
    votes: NDArray[np.int64], distances: NDArray[np.float64], confidence: Confidence | None
) -> Evidence:
    """Put together what answers rest on.

    Parameters
    ----------
    votes : ndarray of shape (n, n_classes), int64
    distances : ndarray of shape (n, n_classes), float64
        To the nearest reference of each class; infinite for a class without any.
    confidence : Confidence or None
    """
    labels: NDArray[np.int64] = votes.argmax(axis=1)
    shares = votes / votes.sum(axis=1, keepdims=True)
    answer = np.arange(len(labels)), labels
    to_answer = distances[answer]
    to_others = distances.copy()
    to_others[answer] = np.inf
    margins = _margins(to_answer, to_others.min(axis=1))
    confidences = None if confidence is None else confidence(shares[answer], margins)
    return Evidence(labels, shares, to_answer, margins, confidences)


def _margins(to_answer: NDArray[np.float64], to_others: NDArray[np.float64]) -> NDArray[np.float64]:
    # Without another class the margin is its limit, 1; with references that are equal, 0.
    margins = np.where(np.isinf(to_others), 1.0, 0.0)
    total = to_others + to_answer
    return np.divide(to_others - to_answer, total, margins, where=(total > 0) & (total < np.inf))


def _log_ratios(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    ratios: NDArray[np.float64] = 2.0 * np.arctanh(margins.clip(-_WIDEST, _WIDEST))
    return ratios
