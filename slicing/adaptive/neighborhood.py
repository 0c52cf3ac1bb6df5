"""What members were right about, near an image: their local accuracy.

Source: K. Woods, W. P. Kegelmeyer, K. Bowyer, "Combination of multiple classifiers using local
accuracy estimates", IEEE Transactions on Pattern Analysis and Machine Intelligence 19(4), 1997.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit
from numpy.typing import NDArray

from slicing.errors import InputError
from slicing.neighbors import heap
from slicing.neighbors.exact import measure

# Neighbors whose mean is the local accuracy, and images that are known, at most: each takes its
# time with every image to be classified.
_K, _MOST = 25, 1000


@dataclass(frozen=True, eq=False)
class Neighborhood:
    """Where images of the *select* role lie, and which members were right about each.

    Attributes
    ----------
    points : ndarray of shape (n, n_signals), float32
    right : ndarray of shape (n_members, n), bool
    """

    points: NDArray[np.float32]
    right: NDArray[np.bool_]

    @classmethod
    def of(
        cls, points: NDArray[np.float32], right: NDArray[np.bool_]
    ) -> "tuple[Neighborhood, NDArray[np.int64]]":
        """Keep some of many images.

        Returns
        -------
        Neighborhood
        own : ndarray of shape (n,), int64
            Where each image is in it, -1 for those that are not.
        """
        n = len(points)
        kept = np.arange(n) if n <= _MOST else np.linspace(0, n - 1, _MOST).astype(np.int64)
        own = np.full(n, -1)
        own[kept] = np.arange(len(kept))
        return cls(np.ascontiguousarray(points[kept]), right[:, kept]), own

    def local_accuracy(
        self, points: NDArray[np.float32], own: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """Give the share of the nearest images about which each member was right.

        Parameters
        ----------
        points : ndarray of shape (n, n_signals), float32
        own : ndarray of shape (n,), int64, optional
            Where each of them is among ``points``: none is its own neighbor. -1: nowhere.

        Returns
        -------
        ndarray of shape (n, n_members), float64

        Raises
        ------
        InputError
            For points of another length.
        """
        if points.shape[1:] != self.points.shape[1:]:
            raise InputError(
                f"Images that lie at {points.shape[1]} numbers have no neighbors among those at "
                f"{self.points.shape[1]}."
            )
        k = min(_K, len(self.points) - (own is not None))
        own = np.full(len(points), -1) if own is None else own
        counts = np.zeros((len(points), len(self.right)))
        points = np.ascontiguousarray(points, np.float32)
        _local_accuracy(points, self.points, self.by_image, k, own, counts)
        return counts / k

    @property
    def k(self) -> int:
        """Neighbors whose mean is the local accuracy."""
        return min(_K, len(self.points))

    @cached_property
    def by_image(self) -> NDArray[np.float64]:
        """Which members were right, of shape (n, n_members), 0 or 1."""
        return np.ascontiguousarray(self.right.T, np.float64)

    @classmethod
    def restored(
        cls, points: NDArray[np.float32], right: NDArray[np.bool_], n_members: int
    ) -> "Neighborhood":
        """Make it of what a file holds.

        Raises
        ------
        InputError
            Where it does not fit together.
        """
        if points.ndim != 2 or right.shape != (n_members, len(points)) or len(points) < 2:
            raise InputError(f"its images have shape {points.shape}, its members {right.shape}")
        return cls(np.ascontiguousarray(points, np.float32), right.astype(np.bool_))


@njit(cache=True)
def _local_accuracy(points, known, right, k, own, counts):  # type: ignore[no-untyped-def]
    """Fill ``counts``, (n, n_members), which holds 0: all are measured, for known are few.

    A search that prepares its queries takes ten times as long for one.
    """
    for i in range(len(points)):
        count_right(points[i], known, right, k, own[i], counts[i])


@njit(cache=True)
def count_right(point, known, right, k, own, counts):  # type: ignore[no-untyped-def]
    """Count for one image: see :meth:`Neighborhood.local_accuracy`."""
    near, place = np.empty(k), np.empty(k, np.int64)
    heap.clear(near, place)
    for j in range(len(known)):
        if own != j:
            heap.push(near, place, measure(point, known[j], 1.0, False), j)
    for j in place:
        # Distances that are no numbers leave places empty.
        if j < len(known):
            for member in range(right.shape[1]):
                counts[member] += right[j, member]


def placed(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give distances as shares of their sum, so that it is their ratios that matter.

    Parameters
    ----------
    scores : ndarray of shape (n, n_classes), float32
        Infinite for a class without references, whose share is 0.

    Returns
    -------
    ndarray of shape (n, n_classes), float32
    """
    points = np.empty_like(scores)
    for row, point in zip(scores, points, strict=True):
        place(row, point)
    return points


@njit(cache=True)
def place(scores, point):  # type: ignore[no-untyped-def]
    """Fill ``point`` for one image, see :func:`placed`."""
    total = 0.0
    for distance in scores:
        if np.isfinite(distance):
            total += np.float64(distance)
    for label in range(len(scores)):
        is_known = np.isfinite(scores[label]) and total > 0.0
        point[label] = np.float64(scores[label]) / total if is_known else 0.0
