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
from numba import njit
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
        How likely each answer is right, NaN for an outlier; None without a :class:`Confidence`.
    outliers : ndarray of shape (n,), bool, or None
        Which images are unlike all from which the confidence was learned, see :class:`Confidence`;
        None without one.
    """

    labels: NDArray[np.int64]
    shares: NDArray[np.float64]
    distances: NDArray[np.float64]
    margins: NDArray[np.float64]
    confidences: NDArray[np.float64] | None
    outliers: NDArray[np.bool_] | None

    def certainties(self) -> list[tuple[float | None, bool | None]]:
        """Give each image's confidence and whether it is an outlier, None for what there is not."""
        if self.confidences is None or self.outliers is None:
            return [(None, None)] * len(self.labels)
        return [
            (None if is_outlier else confidence, is_outlier)
            for confidence, is_outlier in zip(
                self.confidences.tolist(), self.outliers.tolist(), strict=True
            )
        ]


@dataclass(frozen=True)
class Confidence:
    """The probability that an answer is right: a logistic regression on its votes and distances.

    It holds for images like those from which it was learned. An image is an outlier if its answer
    is farther, or its contrast smaller, than that of each of these: the engine has seen nothing
    like it, or there is nothing in it to be seen. Of n images like them, one more is the farthest
    by chance once in n + 1 times, and so it is for the contrast. Source of the rule: V. Vovk, A.
    Gammerman, G. Shafer, "Algorithmic learning in a random world", 2005, chapter 2.

    Attributes
    ----------
    intercept : float
    share : float
        Weight of the answer's share of the votes.
    log_ratio : float
        Weight of the logarithm of the ratio of distances, which is 2 artanh of the margin.
    farthest : float
        Distance above which an image is an outlier.
    flattest : float
        Contrast below which it is one.
    """

    intercept: float
    share: float
    log_ratio: float
    farthest: float
    flattest: float

    def __post_init__(self) -> None:
        for value in astuple(self):
            if type(value) is not float or not isfinite(value):
                raise InputError(f"a number of its confidence is {value!r}")

    @classmethod
    def fit(
        cls, found: Evidence, contrasts: NDArray[np.float64], is_right: NDArray[np.bool_]
    ) -> "Confidence":
        """Learn it from answers to images that taught nothing else.

        Right and wrong answers aim at (n + 1) / (n + 2) and 1 / (n + 2), for n answers of their
        kind, not at 1 and 0: few answers, or none that is wrong, promise no certainty. Source:
        J. Platt, "Probabilistic outputs for support vector machines", 1999, section 2.2.

        Parameters
        ----------
        found : Evidence
            Of the answers.
        contrasts : ndarray of shape (n,), float64
            Of the images, see :func:`~slicing.pixels.contrasts_of`.
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
        observed = np.column_stack([found.shares.max(axis=1), _log_ratios(found.margins)])
        # An aim of 0.9 is nine tenths of a right answer and one tenth of a wrong one. So weak a
        # penalty decides only what the answers leave open: the weight of votes that are all equal.
        fitted = LogisticRegression(C=1000.0, solver="newton-cholesky", tol=1e-8).fit(
            np.vstack([observed, observed]),
            np.repeat([True, False], len(observed)),
            np.concatenate([aims, 1 - aims]),
        )
        (intercept,), [(share, log_ratio)] = fitted.intercept_, fitted.coef_
        farthest, flattest = found.distances.max(), contrasts.min()
        return cls(*map(float, (intercept, share, log_ratio, farthest, flattest)))

    def __call__(
        self, shares: NDArray[np.float64], margins: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Give the probability that each answer is right, of shape (n,), float64.

        It holds for images that are no outliers.
        """
        logits = self.intercept + self.share * shares + self.log_ratio * _log_ratios(margins)
        probabilities: NDArray[np.float64] = 0.5 + 0.5 * np.tanh(0.5 * logits)
        return probabilities

    def outliers(
        self, distances: NDArray[np.float64], contrasts: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Tell which images are unlike all that taught it, of shape (n,), bool."""
        return (distances > self.farthest) | (contrasts < self.flattest)


def evidence_of(
    votes: NDArray[np.int64],
    distances: NDArray[np.float64],
    contrasts: NDArray[np.float64],
    confidence: Confidence | None,
) -> Evidence:
    """Put together what answers rest on.

    Parameters
    ----------
    votes : ndarray of shape (n, n_classes), int64
    distances : ndarray of shape (n, n_classes), float64
        To the nearest reference of each class; infinite for a class without any.
    contrasts : ndarray of shape (n,), float64
        Of the images, see :func:`~slicing.pixels.contrasts_of`.
    confidence : Confidence or None
    """
    labels: NDArray[np.int64] = votes.argmax(axis=1)
    shares = votes / votes.sum(axis=1, keepdims=True)
    answer = np.arange(len(labels)), labels
    to_answer = distances[answer]
    margins = margins_of(labels, distances)
    if confidence is None:
        return Evidence(labels, shares, to_answer, margins, None, None)
    outliers = confidence.outliers(to_answer, contrasts)
    confidences = np.where(outliers, np.nan, confidence(shares[answer], margins))
    return Evidence(labels, shares, to_answer, margins, confidences, outliers)


def margins_of(labels: NDArray[np.int64], distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the margins of answers, see :attr:`Evidence.margins`.

    Parameters
    ----------
    labels : ndarray of shape (n,), int64
        The answers.
    distances : ndarray of shape (n, n_classes), float64
        To the nearest reference of each class; infinite for a class without any.

    Returns
    -------
    ndarray of shape (n,), float64
    """
    margins = np.empty(len(labels))
    _fill_margins(labels, distances, margins)
    return margins


@njit(cache=True)
def _fill_margins(labels, distances, margins):  # type: ignore[no-untyped-def]
    for i in range(len(labels)):
        margins[i] = margin(labels[i], distances[i])


@njit(cache=True)
def margin(label, distances):  # type: ignore[no-untyped-def]
    """Give the margin of one answer, see :func:`margins_of`."""
    to_answer, to_other = distances[label], np.inf
    for other in range(len(distances)):
        if other != label and distances[other] < to_other:
            to_other = distances[other]
    total = to_other + to_answer
    if 0.0 < total < np.inf:
        return (to_other - to_answer) / total
    # Without another class it is its limit, 1; with references that are equal, 0.
    return 1.0 if to_other == np.inf else 0.0


def _log_ratios(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    ratios: NDArray[np.float64] = 2.0 * np.arctanh(margins.clip(-_WIDEST, _WIDEST))
    return ratios
