"""Votes of the nearest neighbors."""

import numpy as np
from numpy.typing import NDArray


def count_votes(neighbor_labels: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """Count the votes of neighbors.

    Parameters
    ----------
    neighbor_labels : ndarray of shape (n_queries, k), int64
    n_classes : int

    Returns
    -------
    ndarray of shape (n_queries, n_classes), int64
        The winner is its ``argmax`` along the last axis: the smallest label among equals.
    """
    n = len(neighbor_labels)
    cells = np.arange(n)[:, None] * n_classes + neighbor_labels
    votes: NDArray[np.int64] = np.bincount(cells.ravel(), minlength=n * n_classes)
    by_query: NDArray[np.int64] = votes.reshape(n, n_classes)
    return by_query
