"""Objectives: how bad the neighbors of a query are, as a number to minimize."""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

# Loss of a query without a neighbor of its class: -log of about this vote.
_FLOOR = 1e-3


@njit(cache=True)
def query_loss(distances, labels, truth, votes, temperature):  # type: ignore[no-untyped-def]
    """Loss of one query, from its neighbors in any order; ``votes`` (n_classes,) is work space.

    With ``temperature`` 0 the loss is 0 where the majority has the label ``truth`` (the smallest
    label among equals), else 1. Otherwise it is -log of the soft vote p of the true class,
    p = Σ_{j: same class} w_j / Σ_j w_j with w_j = exp(-d_j / temperature), as in neighborhood
    components analysis (Goldberger et al., NIPS 2004, eq. 1-2), floored smoothly:
    -log((p + f) / (1 + f)).
    """
    n_same = 0
    for j in range(len(labels)):
        n_same += labels[j] == truth
    if n_same == len(labels):
        return 0.0  # by far the most frequent case, and exponentials are slow
    if temperature == 0.0:
        if 2 * n_same > len(labels):
            return 0.0
        votes[:] = 0
        for label in labels:
            votes[label] += 1
        return 0.0 if votes.argmax() == truth else 1.0
    same = total = 0.0
    nearest = distances.min()
    for j in range(len(distances)):
        # Relative to the nearest, so that the sum cannot vanish.
        weight = np.exp((nearest - distances[j]) / temperature)
        total += weight
        if labels[j] == truth:
            same += weight
    return -np.log((same / total + _FLOOR) / (1.0 + _FLOOR))


@njit(parallel=True, cache=True)
def _query_losses(distances, labels, truth, n_classes, temperature):  # type: ignore[no-untyped-def]
    losses = np.empty(len(truth))
    for i in prange(len(truth)):
        votes = np.empty(n_classes, np.int64)
        losses[i] = query_loss(distances[i], labels[i], truth[i], votes, temperature)
    return losses


def query_losses(
    distances: NDArray[np.float64],
    labels: NDArray[np.int64],
    truth: NDArray[np.int64],
    n_classes: int,
    temperature: float,
) -> NDArray[np.float64]:
    """Loss of every query: see :func:`query_loss`.

    Parameters
    ----------
    distances : ndarray of shape (n_queries, n_neighbors), float64
    labels : ndarray of shape (n_queries, n_neighbors), int64
        Labels of the neighbors.
    truth : ndarray of shape (n_queries,), int64
        Labels of the queries.
    n_classes : int
    temperature : float
        0 for the 0/1 loss, else that of the soft vote, in the unit of the distances.

    Returns
    -------
    ndarray of shape (n_queries,), float64
    """
    losses: NDArray[np.float64] = _query_losses(distances, labels, truth, n_classes, temperature)
    return losses
