"""The k nearest of many, in numba: a bounded heap whose root is the farthest that is kept.

An entry is a distance and an index, compared in this order: of two equally near ones, that of the
lower index counts as nearer. Numba's cache does not notice an edit here: after one, delete
``__pycache__`` in ``slicing`` and ``evolve``.
"""

import numpy as np
from numba import njit


@njit(cache=True)
def clear(distances, indices):  # type: ignore[no-untyped-def]
    """Empty a heap: fill it with entries that any other replaces."""
    distances[:] = np.inf
    indices[:] = np.iinfo(np.int32).max


@njit(cache=True)
def _sift_down(distances, indices, size, distance, index):  # type: ignore[no-untyped-def]
    """Replace the root of the first ``size`` entries."""
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        other = child + 1
        if other < size and (
            distances[other] > distances[child]
            or (distances[other] == distances[child] and indices[other] > indices[child])
        ):
            child = other
        if distances[child] < distance or (distances[child] == distance and indices[child] < index):
            break
        distances[hole] = distances[child]
        indices[hole] = indices[child]
        hole = child
    distances[hole] = distance
    indices[hole] = index


@njit(cache=True)
def push(distances, indices, distance, index):  # type: ignore[no-untyped-def]
    """Keep an entry if it is nearer than the farthest one, which it then replaces.

    A distance that is NaN is never kept.
    """
    if distance < distances[0] or (distance == distances[0] and index < indices[0]):
        _sift_down(distances, indices, len(distances), distance, index)


@njit(cache=True)
def sort(distances, indices):  # type: ignore[no-untyped-def]
    """Turn a heap into a list, the nearest first."""
    for last in range(len(distances) - 1, 0, -1):
        distance, index = distances[last], indices[last]
        distances[last], indices[last] = distances[0], indices[0]
        _sift_down(distances, indices, last, distance, index)
