"""The dial of a system: thresholds from strict to permissive, and what is certified of each.

A *harmful flip* is an image about which the largest member is right and the system is wrong. On
images that chose nothing, their number is binomial, and its exact upper bound (C. J. Clopper, E. S.
Pearson, Biometrika 26, 1934) bounds the accuracy that is lost. The thresholds are tested in a fixed
order, from strict to permissive, until the first that fails; so no correction for their number is
due. Source: A. N. Angelopoulos et al., "Learn then test", 2021, section 2 (fixed sequence testing).

The bound holds for one loss that is chosen beforehand, for images drawn as these were, and on
average over them: not for each class, and not where images change.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slicing.adaptive.combination import Combination
from slicing.adaptive.outcome import Decisions
from slicing.adaptive.selector import LARGEST, SMALLEST
from slicing.checks import between, positive
from slicing.errors import InputError

# Thresholds between the ends of the dial, at most.
_POINTS = 100


@dataclass(frozen=True)
class MaxLoss:
    """A budget: the accuracy that may be lost against the largest member, 0 to 1.

    Attributes
    ----------
    share : float
    """

    share: float

    def __post_init__(self) -> None:
        between("loss", self.share, 0.0, 1.0)


@dataclass(frozen=True)
class MeanTime:
    """A budget: what an image may take on average.

    Attributes
    ----------
    milliseconds : float
    """

    milliseconds: float

    def __post_init__(self) -> None:
        positive("milliseconds", self.milliseconds)


Budget = MaxLoss | MeanTime


def upper_bound(count: int | NDArray[np.int64], n: int, confidence: float) -> NDArray[np.float64]:
    """Bound a probability from above by a count: one-sided, exact (Clopper and Pearson).

    Parameters
    ----------
    count : int or ndarray of int64
        Of n independent observations.
    n : int
    confidence : float
        Below 1.
    """
    # Here, not above: a system that classifies needs none of it.
    from scipy.special import betaincinv

    count = np.asarray(count)
    # Where all were observed, only 1 is a bound.
    found = betaincinv(count + 1.0, np.maximum(n - count, 1), confidence)
    return np.where(count >= n, 1.0, found)


def most_flips(n: int, loss: float, confidence: float) -> int | None:
    """Give how many flips in n images still certify a loss; None where not even none does."""
    certified = np.flatnonzero(upper_bound(np.arange(n + 1), n, confidence) <= loss)
    return int(certified[-1]) if len(certified) else None


@dataclass(frozen=True, eq=False)
class Dial:
    """Points from strict to permissive.

    Attributes
    ----------
    thresholds : ndarray of shape (n_points,), float64
        Ascending; the first asks the largest member alone, the last the smallest.
    flips : ndarray of shape (n_points,), int64
        Harmful flips among the images of the *certify* role.
    bounds : ndarray of shape (n_points,), float64
        A point is certified for each loss that is no smaller than this: the largest upper bound up
        to it. The largest member alone loses nothing.
    milliseconds : ndarray of shape (n_points,), float64
        Mean for an image of the *certify* role.
    asked : ndarray of shape (n_points, n_members), float64
        Share of these images about which each member was asked.
    accuracies : ndarray of shape (n_points,), float64
        On the images of the *select* role, which chose much else: they flatter.
    n : int
        Images of the *certify* role.
    confidence : float
    """

    thresholds: NDArray[np.float64]
    flips: NDArray[np.int64]
    bounds: NDArray[np.float64]
    milliseconds: NDArray[np.float64]
    asked: NDArray[np.float64]
    accuracies: NDArray[np.float64]
    n: int
    confidence: float

    def __post_init__(self) -> None:
        sizes = {len(each) for each in self.arrays().values()}
        rising = np.diff(self.thresholds) > 0.0
        shapes = {np.ndim(each) for name, each in self.arrays().items() if name != "asked"}
        if len(sizes) != 1 or shapes != {1} or np.ndim(self.asked) != 2 or not rising.all():
            raise InputError("The thresholds of a dial rise, and each has the same figures.")
        ends = (self.thresholds[:1].tolist(), self.thresholds[-1:].tolist())
        if ends != ([LARGEST], [SMALLEST]):
            raise InputError("A dial ends with the largest member alone, and the smallest.")

    @classmethod
    def certified(
        cls,
        select: Decisions,
        certify: Decisions,
        combination: Combination | None,
        confidence: float = 0.95,
    ) -> "Dial":
        """Place the thresholds by one role, and test them by another.

        Those that take as long as the largest member alone are left out: where one of them failed,
        it would end the sequence.

        Parameters
        ----------
        select, certify : Decisions
            Of one selector, about the images of each role.
        combination : Combination or None
        confidence : float
            Of the bounds.
        """
        between("confidence", confidence, 0.5, 0.9999)
        every = _thresholds(select.urgencies())
        seen = [select.outcome(float(each), combination) for each in every]
        times = np.array([each.milliseconds.mean() for each in seen])
        kept = ~np.isfinite(every) | (times < times[0])
        thresholds, table = every[kept], certify.table
        found = [certify.outcome(float(each), combination) for each in thresholds]
        flips = np.array(
            [int((table.right[-1] & (each.answers != table.labels)).sum()) for each in found]
        )
        bounds = np.maximum.accumulate(upper_bound(flips, len(table), confidence))
        bounds[0] = 0.0
        accuracies = np.array([(each.answers == select.table.labels).mean() for each in seen])
        return cls(
            thresholds,
            flips,
            bounds,
            np.array([each.milliseconds.mean() for each in found]),
            np.array([each.asked.mean(axis=0) for each in found]),
            accuracies[kept],
            len(table),
            confidence,
        )

    def point(self, budget: Budget) -> int:
        """Give the number of the point that a budget chooses.

        Of a loss, that which takes least among those certified for it; of a time, the most accurate
        on the *select* role within it, or that which takes least where none is.
        """
        if isinstance(budget, MaxLoss):
            among = np.flatnonzero(self.bounds <= budget.share)
            return int(among[self.milliseconds[among].argmin()])
        among = np.flatnonzero(self.milliseconds <= budget.milliseconds)
        if not len(among):
            return int(self.milliseconds.argmin())
        return int(among[self.accuracies[among].argmax()])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give the figures of all points, by name."""
        return {
            "thresholds": self.thresholds, "flips": self.flips, "bounds": self.bounds,
            "milliseconds": self.milliseconds, "asked": self.asked,
            "accuracies": self.accuracies,
        }  # fmt: skip


def _thresholds(found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Place thresholds halfway between urgencies that were found, and at the ends.

    They are not rounded: two images that a threshold tells apart could then go the same way.
    """
    if not len(found):
        return np.array([LARGEST, 0.0, SMALLEST])
    between_two = (found[1:] + found[:-1]) / 2
    # Of neighbors among the numbers of float64, the middle is one of them.
    between_two = np.where(between_two < found[1:], between_two, found[:-1])
    every = np.concatenate([[found[0] - 1.0], between_two, [found[-1] + 1.0]])
    chosen = np.unique(np.linspace(0, len(every) - 1, min(_POINTS, len(every))).astype(int))
    return np.concatenate([[LARGEST], np.unique(every[chosen]), [SMALLEST]])
