"""What members were right about, near an image: their local accuracy.

Source: K. Woods, W. P. Kegelmeyer, K. Bowyer, "Combination of multiple classifiers using local
accuracy estimates", IEEE Transactions on Pattern Analysis and Machine Intelligence 19(4), 1997.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from slicing.errors import InputError
from slicing.neighbors.exact import NeighborSearch

# Neighbors whose mean is the local accuracy.
_K = 25


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

    def local_accuracy(
        self, points: NDArray[np.float32], leave_one_out: bool = False
    ) -> NDArray[np.float64]:
        """Give the share of the nearest images about which each member was right.

        Parameters
        ----------
        points : ndarray of shape (n, n_signals), float32
        leave_one_out : bool
            Whether ``points`` are :attr:`points`, and none is its own neighbor.

        Returns
        -------
        ndarray of shape (n, n_members), float64
        """
        known = len(self.points)
        excluded = np.arange(known) if leave_one_out else None
        k = min(_K, known - leave_one_out)
        _, found = self._search.search(points, k, excluded)
        shares: NDArray[np.float64] = self._by_image[found].mean(axis=1)
        return shares

    @cached_property
    def _by_image(self) -> NDArray[np.float64]:
        return np.ascontiguousarray(self.right.T, np.float64)

    @cached_property
    def _search(self) -> NeighborSearch:
        return NeighborSearch(self.points, "euclidean", len(self.points))

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
        return cls(points.astype(np.float32), right.astype(np.bool_))


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
    finite = np.where(np.isfinite(scores), scores, 0.0).astype(np.float64)
    total = finite.sum(axis=1, keepdims=True)
    return (finite / np.where(total > 0.0, total, 1.0)).astype(np.float32)
