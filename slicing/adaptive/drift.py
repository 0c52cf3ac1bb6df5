"""Whether images still are what a system was certified for, by how many of them go on.

A system that meets other images asks its largest member more often, or less. That it cannot tell
which answers are wrong is no hindrance: it falls back to the largest member, which every loss was
measured against, and stays there. It never changes its thresholds.
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

    Each time that a window is full, the number of its images about which the largest member was
    asked is tested against the certified share: a two-sided exact binomial test. That share was
    itself measured, so it is the end of its interval that is nearest to what is observed. Without
    drift, one window in 1 / level raises a false alarm, at most.

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
    images, escalated : int
        Counted in the window so far.
    """

    def __init__(self, system: System, window: int = 1000, level: float = 0.001) -> None:
        at_least("window", window, 1)
        between("level", level, 0.0, 0.5)
        self._system, self._window, self._level = system, window, level
        n = system.dial.n
        certified = binomtest(round(system.dial.escalated[system.point] * n), n)
        interval = certified.proportion_ci(1 - level, "exact")
        self._low, self._high = float(interval.low), float(interval.high)
        self.images = self.escalated = 0
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
            self._count(found.asked[:, -1])
        return found.shares

    def _count(self, escalated: NDArray[np.bool_]) -> None:
        while len(escalated):
            some = escalated[: self._window - self.images]
            escalated = escalated[len(some) :]
            self.images += len(some)
            self.escalated += int(some.sum())
            if self.images == self._window:
                self.has_drifted |= self._fails()
                self.images = self.escalated = 0

    def _fails(self) -> bool:
        nearest = float(np.clip(self.escalated / self._window, self._low, self._high))
        return bool(binomtest(self.escalated, self._window, nearest).pvalue < self._level)
