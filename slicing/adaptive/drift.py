"""Whether images still are what a system was certified for, by how many of them go on.

A system that meets other images asks its larger members more often, or less. It cannot tell which
answers are wrong, and need not: it falls back to the largest member, which every loss was measured
against, and stays there. It never changes its thresholds. Images that change, and about which the
members are asked as often as before, are not noticed.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from slicing.adaptive.dial import Budget, MaxLoss
from slicing.adaptive.system import System
from slicing.checks import at_least, between
from slicing.pixels import Pixels


class Watched:
    """A system whose escalations are counted: a :class:`~slicing.classifier.Classifier`.

    Each time that a window is full, the number of its images about which each member was asked is
    tested against the certified share: two-sided exact binomial tests. That share was itself
    measured, so it is the end of its interval that is nearest to what is observed. The level is
    divided among the members, so that without drift one window in 1 / level raises a false alarm,
    at most.

    Parameters
    ----------
    system : System
    window : int
        Images of a test.
    level : float
        Probability of a false alarm in a window.

    Attributes
    ----------
    has_drifted : bool
        Whether a window has failed: since then, the largest member alone answers.
    images : int
        In the window so far.
    asked : ndarray of shape (n_members,), int64
        About how many of these each member was asked.
    """

    def __init__(self, system: System, window: int = 1000, level: float = 0.001) -> None:
        at_least("window", window, 1)
        between("level", level, 0.0, 0.5)
        self._system, self._window = system, window
        dial, n_members = system.dial, len(system.engines)
        self._level = level / n_members
        intervals = [
            binomtest(round(share * dial.n), dial.n).proportion_ci(1 - self._level, "exact")
            for share in dial.asked[system.point]
        ]
        self._low = np.array([each.low for each in intervals])
        self._high = np.array([each.high for each in intervals])
        self.images, self.asked = 0, np.zeros(n_members, np.int64)
        self.has_drifted = False

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in label order."""
        return self._system.classes

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases of all members."""
        return self._system.n_parameters

    @property
    def total_bytes(self) -> int:
        """Bytes of the system's file."""
        return self._system.total_bytes

    def predict_labels(self, images: Pixels) -> NDArray[np.int64]:
        """Classify images, and count: indices of shape (n,), int64."""
        labels: NDArray[np.int64] = self.predict_proba(images).argmax(axis=1)
        return labels

    def predict_proba(self, images: Pixels) -> NDArray[np.float64]:
        """Give each class's share, shape (n, n_classes), float64, and count."""
        budget: Budget | None = MaxLoss(0.0) if self.has_drifted else None
        found = self._system.answers(images, budget)
        if not self.has_drifted:
            self._count(found.asked)
        return found.shares

    def _count(self, asked: NDArray[np.bool_]) -> None:
        while len(asked):
            some, asked = np.split(asked, [self._window - self.images])
            self.images += len(some)
            self.asked += some.sum(axis=0)
            if self.images == self._window:
                self.has_drifted |= self._fails()
                self.images, self.asked = 0, np.zeros_like(self.asked)

    def _fails(self) -> bool:
        nearest = np.clip(self.asked / self._window, self._low, self._high)
        return any(
            binomtest(int(count), self._window, float(share)).pvalue < self._level
            for count, share in zip(self.asked, nearest, strict=True)
        )
