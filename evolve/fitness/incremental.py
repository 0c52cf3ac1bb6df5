"""Exact incremental k-NN: what changes when one kernel of the last convolution moves.

Every feature belongs to one channel, so squared Euclidean distances and inner products are sums
over channels: while one kernel moves, all terms but its own stand still (the decomposition is known
from feature selection, e.g. Sci. Rep. 12, s41598-022-25942-4, 2022). The *residual* of a pair is
its distance within the other channels; it bounds the distance, whatever the kernel. References in
ascending order of it need only be visited until the bound passes the k-th best distance found:
exact, and a handful of visits instead of thousands.

Numba's cache does not notice the edit of a function in another file: delete ``__pycache__`` in
``slicing`` and ``evolve`` after one.
"""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from evolve.fitness.knn_objectives import query_loss
from evolve.fitness.shortlist import largest, prefetch, replace_farthest
from evolve.roles import Roles
from slicing.neighbors.exact import (
    Metric,
    NeighborSearch,
    inverse,
    least,
    limit,
    measure,
    query_rows,
)
from slicing.neighbors.short_form import lengths

# References kept in order of their residual, per query, beyond the neighbors themselves: with so
# many, nearly every scan ends before its list does, even for the far kernels that particles try.
_SHORTLIST = 256
# Queries that one thread takes at a time: their lists and the features of one candidate for some
# thousand references share a second-level cache.
_TASK = 128
# Bounds are compared with this slack, far above the rounding of float64 sums.
_SLACK = 1e-9

# Reassociation lets the compiler sum on SIMD lanes; NaN and infinity keep their meaning.
_SUMS = {"reassoc", "contract", "nsz"}


@njit(cache=True, fastmath=_SUMS)
def _squared_distance(features, i, j):  # type: ignore[no-untyped-def]
    total = 0.0
    for position in range(features.shape[1]):
        difference = np.float64(features[i, position]) - np.float64(features[j, position])
        total += difference * difference
    return total


@njit(cache=True, fastmath=_SUMS)
def _inner_product(features, i, j):  # type: ignore[no-untyped-def]
    total = 0.0
    for position in range(features.shape[1]):
        total += np.float64(features[i, position]) * np.float64(features[j, position])
    return total


@njit(parallel=True, cache=True, fastmath=_SUMS)
def _are_finite(candidates):  # type: ignore[no-untyped-def]
    """Tell whether the features of each candidate are finite, image by image: bool."""
    n_candidates, n_images, n_positions = candidates.shape
    finite = np.ones((n_candidates, n_images), np.bool_)
    for image in prange(n_images):
        for p in range(n_candidates):
            total = np.float32(0.0)
            for position in range(n_positions):
                # Zero, unless it is infinite or NaN; a sum of the values could overflow.
                total += candidates[p, image, position] * np.float32(0.0)
            finite[p, image] = total == 0.0
    return finite


@njit(cache=True)
def _distance(  # type: ignore[no-untyped-def]
    residual, features, i, j, residual_lengths, inverse_lengths, cosine
):  # fmt: skip
    """Distance of a pair: the residual and the channel that moves."""
    if not cosine:
        return residual + _squared_distance(features, i, j)
    others = (1.0 - residual) * residual_lengths[i] * residual_lengths[j]
    similarity = (others + _inner_product(features, i, j)) * inverse_lengths[i] * inverse_lengths[j]
    return min(max(1.0 - similarity, 0.0), 2.0)


@njit(cache=True)
def _largest_residual(kth, tilt, cosine):  # type: ignore[no-untyped-def]
    """Compute the largest residual with which a reference may be as near as ``kth``.

    Cosine: the moving channel tilts the query by an angle θ out of the space of the others, with
    ``tilt`` = cos²θ. If c is the cosine of a pair within the others, then, by Cauchy-Schwarz twice,
    cos(q, r) <= sqrt(cos²θ max(c, 0)² + sin²θ).
    """
    if not cosine:
        return kth * (1.0 + _SLACK)
    similarity = 1.0 - kth - _SLACK
    rest = similarity * similarity - (1.0 - tilt)
    if similarity <= 0.0 or rest <= 0.0:
        return np.inf
    return 1.0 - np.sqrt(rest / tilt) + _SLACK


@njit(cache=True)
def _visit_all(  # type: ignore[no-untyped-def]
    query, image, features, residual_lengths, inverse_lengths, tilt, others, query_row,
    reference_columns, factor, slack, product_error, square, residual_inverses, leave_one_out,
    cosine, distances, indices,
):  # fmt: skip
    """Find the nearest of all references; return the distance of the farthest of them.

    ``distances`` initially holds the distances of some references.
    """
    n_references = reference_columns.shape[1]
    proposals = np.zeros(n_references, np.float32)
    for axis in range(len(query_row)):
        for j in range(n_references):
            proposals[j] += query_row[axis] * reference_columns[axis, j]
    # The references found so far bound the nearest ones.
    bound = largest(distances) * (1.0 + _SLACK)
    kth = np.inf
    distances[:] = np.inf
    indices[:] = n_references
    beyond = limit(_largest_residual(bound, tilt, cosine), factor, slack, product_error, square)
    for j in range(n_references):
        if proposals[j] > beyond or (leave_one_out and j == query):
            continue
        # The channel that moves is short: it rules most references out. The cosine rounds
        # absolutely, so the slack is absolute, too.
        possible = least(proposals[j], factor, slack, product_error, square)
        distance = _distance(
            possible, features, image, j, residual_lengths, inverse_lengths, cosine
        )
        if distance > bound + _SLACK * max(bound, 1.0):
            continue
        inverses = residual_inverses[image] * residual_inverses[j]
        residual = measure(others[image], others[j], inverses, cosine)
        distance = _distance(
            residual, features, image, j, residual_lengths, inverse_lengths, cosine
        )
        if distance <= min(kth, bound):
            kth = replace_farthest(distance, j, distances, indices, kth)
            if kth < bound:
                bound = kth
                beyond = limit(
                    _largest_residual(bound, tilt, cosine), factor, slack, product_error, square
                )
    return kth


@njit(parallel=True, cache=True)
def _scan(  # type: ignore[no-untyped-def]
    candidates, finite, inverse_lengths, tilts, residuals, indices, complete, others,
    residual_lengths, residual_inverses, query_points, reference_columns, factor, slacks,
    product_errors, squares, labels, offset, leave_one_out, cosine, n_classes, temperature,
    n_neighbors, losses, full_scans,
):  # fmt: skip
    """Find the nearest references of every query under every candidate, and the losses.

    Parameters
    ----------
    candidates : (n_candidates, n_images, n_positions), float32
        Features of the channel that moves.
    finite : (n_candidates,), bool
        Candidates that are not finite are left out.
    inverse_lengths, tilts : (n_candidates, n_images), float64
        One over the length of all features, 0 where that is 0, and the part of the squared length
        that lies in the other channels; for the cosine.
    residuals, indices : (n_queries, m)
        Distances within the other channels, ascending, and the references they belong to.
    complete : bool
        Whether these are all references; all others follow after the last of these.
    others : (n_images, n_features), float32
        Features of the other channels; their lengths, and one over these, are ``residual_lengths``
        and ``residual_inverses``.
    query_points, ..., squares
        What :func:`~slicing.neighbors.exact.limit` takes to tell which references may be near.
    losses : (n_candidates, n_queries), float64
        Filled.
    full_scans : (n_candidates, n_queries), bool
        Filled: whether the shortlist did not suffice.
    """
    n_candidates, n_queries = losses.shape
    n_positions = candidates.shape[2]
    m = indices.shape[1]
    tasks = (n_queries + _TASK - 1) // _TASK
    for unit in prange(tasks * n_candidates):
        task, p = unit // n_candidates, unit % n_candidates
        features, lengths_now = candidates[p], inverse_lengths[p]
        nearest = np.empty(n_neighbors, np.int64)
        distances = np.empty(n_neighbors)
        neighbor_labels = np.empty(n_neighbors, np.int64)
        votes = np.empty(n_classes, np.int64)
        for query in range(task * _TASK, min((task + 1) * _TASK, n_queries)):
            full_scans[p, query] = False
            if not finite[p]:
                losses[p, query] = np.inf
                continue
            image = offset + query
            tilt = tilts[p, image]
            # References lie all over the memory: ask for those of the next query while those of
            # this one are compared.
            if query + 1 < n_queries:
                for s in range(n_neighbors):
                    at = indices[query + 1, s] * n_positions
                    prefetch(features, at)
                    prefetch(features, at + n_positions - 1)
            for s in range(n_neighbors):
                j = indices[query, s]
                nearest[s] = j
                distances[s] = _distance(
                    residuals[query, s], features, image, j, residual_lengths, lengths_now, cosine
                )
            kth = largest(distances)
            reach = _largest_residual(kth, tilt, cosine)
            ended = complete
            for s in range(n_neighbors, m):
                if residuals[query, s] > reach:
                    ended = True
                    break
                j = indices[query, s]
                distance = _distance(
                    residuals[query, s], features, image, j, residual_lengths, lengths_now, cosine
                )
                if distance <= kth:
                    kth = replace_farthest(distance, j, distances, nearest, kth)
                    reach = _largest_residual(kth, tilt, cosine)
            if not ended:
                full_scans[p, query] = True
                kth = _visit_all(
                    query, image, features, residual_lengths, lengths_now, tilt, others,
                    query_points[query], reference_columns, factor, slacks[query],
                    product_errors[query], squares[query], residual_inverses, leave_one_out,
                    cosine, distances, nearest,
                )  # fmt: skip
            if kth < np.inf:
                for s in range(n_neighbors):
                    neighbor_labels[s] = labels[nearest[s]]
                losses[p, query] = query_loss(
                    distances, neighbor_labels, labels[image], votes, temperature
                )
            else:
                losses[p, query] = np.inf  # distances that overflow


class IncrementalKNN:
    """The k-NN of a conv stack's features while single channels change.

    Parameters
    ----------
    channels : ndarray of shape (n_images, n_channels, n_positions), float32
        The features of the references, then of the queries. Changed in place by :meth:`replace`.
    labels : ndarray of shape (n_images,), int64
    roles : Roles
    n_neighbors : int
    metric : {"euclidean", "cosine"}
    """

    def __init__(
        self,
        channels: NDArray[np.float32],
        labels: NDArray[np.int64],
        roles: Roles,
        n_neighbors: int,
        metric: Metric,
    ) -> None:
        self._channels = channels
        self._labels = labels
        self._n_classes = int(labels.max()) + 1
        self._roles = roles
        self._n_neighbors = n_neighbors
        self._metric: Metric = metric

    def bind(self, channel: int) -> None:
        """Let channel ``channel`` move from now on."""
        roles, n_images = self._roles, len(self._channels)
        # Always measured, never subtracted: nothing drifts, however many kernels were accepted.
        self._others = np.delete(self._channels, channel, axis=1).reshape(n_images, -1)
        if self._others.shape[1] == 0:  # the only channel: the others are all alike
            self._others = np.zeros((n_images, 1), np.float32)
        self._residual_lengths = lengths(self._others)
        self._search = NeighborSearch(self._others[roles.references], self._metric, roles.n_queries)
        self._queries = self._search.references
        if not roles.leave_one_out:
            self._queries = self._search.points(self._others[roles.queries])
        m = min(_SHORTLIST + self._n_neighbors, roles.available)
        self._complete = m == roles.available
        self._residuals, indices = self._search.search(self._queries, m, roles.excluded)
        self._indices = indices.astype(np.int32)

    def query_losses(
        self, candidates: NDArray[np.float32], temperature: float
    ) -> tuple[NDArray[np.float64], int]:
        """Compute the loss of every query, with candidates instead of the channel that moves.

        Parameters
        ----------
        candidates : ndarray of shape (n_candidates, n_images, n_positions), float32
        temperature : float
            See :func:`evolve.fitness.knn_objectives.query_loss`.

        Returns
        -------
        losses : ndarray of shape (n_candidates, n_queries), float64
            Infinite where the features are not finite.
        full_scans : int
            How often the shortlist of a query did not suffice, and all references were compared.
        """
        losses = np.empty((len(candidates), self._roles.n_queries))
        full_scans = np.empty(losses.shape, np.bool_)
        finite = _are_finite(candidates).all(axis=1)
        search, queries = self._search, self._queries
        inverse_lengths = tilts = np.zeros(candidates.shape[:2])
        if search.cosine:
            own = np.einsum("...i,...i->...", candidates, candidates, dtype=np.float64)
            squares = self._residual_lengths**2
            inverse_lengths = inverse(np.sqrt(squares + own))
            tilts = squares * inverse_lengths**2
        _scan(
            candidates,
            finite,
            inverse_lengths,
            tilts,
            self._residuals,
            self._indices,
            self._complete,
            self._others,
            self._residual_lengths,
            inverse(self._residual_lengths),
            query_rows(queries),
            search.reference_columns,
            search.factor,
            search.slacks(queries),
            search.product_errors(queries),
            queries.squares,
            self._labels,
            self._roles.first_query,
            self._roles.leave_one_out,
            search.cosine,
            self._n_classes,
            temperature,
            self._n_neighbors,
            losses,
            full_scans,
        )
        return losses, int(full_scans.sum())

    def replace(self, channels: NDArray[np.intp], features: NDArray[np.float32]) -> None:
        """Replace ``n`` channels by features (n, n_images, n_positions); bind after."""
        self._channels[:, channels] = features.swapaxes(0, 1)
