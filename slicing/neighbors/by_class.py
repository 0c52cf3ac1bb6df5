"""The nearest reference of each class, exactly."""

import numpy as np
from numpy.typing import NDArray

from slicing.neighbors.exact import Metric, NeighborSearch


def distances_by_class(
    queries: NDArray[np.float32],
    references: NDArray[np.float32],
    labels: NDArray[np.int64],
    n_classes: int,
    metric: Metric,
) -> NDArray[np.float64]:
    """Measure how far the nearest reference of each class is.

    One class is searched at a time, so that no more than its references are prepared at once.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, n_features), float32
    references : ndarray of shape (n_references, n_features), float32
    labels : ndarray of shape (n_references,), int64
        Classes of the references.
    n_classes : int
    metric : {"euclidean", "cosine"}
        Squared Euclidean distance, or 1 - cosine.

    Returns
    -------
    ndarray of shape (n_queries, n_classes), float64
        The distances that :func:`~slicing.neighbors.exact.kneighbors` gives; infinite for a class
        without references.
    """
    distances = np.full((len(queries), n_classes), np.inf)
    for label in np.unique(labels):
        search = NeighborSearch(references[labels == label], metric, len(queries))
        distances[:, [label]] = search.search(queries, 1)[0]
    return distances
