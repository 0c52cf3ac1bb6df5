"""The nearest reference of each class, exactly."""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from slicing.checks import one_of
from slicing.neighbors.exact import Metric, NeighborSearch, inverse, measure
from slicing.neighbors.short_form import lengths

# Queries that one thread measures at a time, and so few that starting threads takes longer.
_ROWS, _FEW = 16, 4


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


class NearestByClass:
    """Measures the nearest reference of each class, for one query at a time as fast as for many.

    Every reference is measured, in float64: for few queries, or few references, nothing is faster.
    :func:`distances_by_class` gives the same distances, and takes less for many of both.

    Parameters
    ----------
    references : ndarray of shape (n_references, n_features), float32
    labels : ndarray of shape (n_references,), int64
    n_classes : int
    metric : {"euclidean", "cosine"}
        Squared Euclidean distance, or 1 - cosine.
    """

    def __init__(
        self,
        references: NDArray[np.float32],
        labels: NDArray[np.int64],
        n_classes: int,
        metric: Metric,
    ) -> None:
        one_of("metric", metric, ("euclidean", "cosine"))
        self._cosine = metric == "cosine"
        self._references = np.ascontiguousarray(references, np.float32)
        self._inverses = inverse(lengths(self._references))
        self._labels, self._n_classes = np.ascontiguousarray(labels), n_classes

    def __call__(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Measure queries of shape (n, n_features), float32.

        Returns
        -------
        ndarray of shape (n, n_classes), float32
            Infinite for a class without references. A query's distances do not depend on others.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        nearest = np.full((len(queries), self._n_classes), np.inf)
        known = self._references, self._inverses, self._labels, self._cosine
        # The lengths matter to the cosine alone, and take longer than a few distances.
        inverses = inverse(lengths(queries)) if self._cosine else np.ones(len(queries))
        fill = _nearest if len(queries) <= _FEW else _nearest_in_parallel
        fill(queries, inverses, *known, nearest)
        return nearest.astype(np.float32)


@njit(cache=True)
def _nearest(queries, inverses, references, their_inverses, labels, cosine, nearest):  # type: ignore[no-untyped-def]
    """Fill ``nearest``, (n_queries, n_classes), which holds infinity."""
    for i in range(len(queries)):
        for j in range(len(references)):
            both = inverses[i] * their_inverses[j]
            distance = measure(queries[i], references[j], both, cosine)
            if distance < nearest[i, labels[j]]:
                nearest[i, labels[j]] = distance


@njit(parallel=True, cache=True)
def _nearest_in_parallel(  # type: ignore[no-untyped-def]
    queries, inverses, references, their_inverses, labels, cosine, nearest
):  # fmt: skip
    for block in prange((len(queries) + _ROWS - 1) // _ROWS):
        rows = slice(block * _ROWS, (block + 1) * _ROWS)
        _nearest(
            queries[rows], inverses[rows], references, their_inverses, labels, cosine, nearest[rows]
        )
