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

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from evolve.fitness.knn_objectives import query_loss
from evolve.fitness.shortlist import largest, prefetch, replace_farthest
from evolve.roles import Roles
from slicing.neighbors.exact import Metric, NeighborSearch, inverse, least, limit, measure
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


class _Moving(NamedTuple):
    """The channel that moves, under every candidate.

    Attributes
    ----------
    features : ndarray of shape (n_candidates, n_images, n_positions), float32
    finite : ndarray of shape (n_candidates,), bool
        Candidates that are not finite are left out.
    inverse_lengths, tilts : ndarray of shape (n_candidates, n_images), float64
        One over the length of all features, 0 where that is 0, and the part of the squared length
        that lies in the other channels; for the cosine alone.
    """

    features: NDArray[np.float32]
    finite: NDArray[np.bool_]
    inverse_lengths: NDArray[np.float64]
    tilts: NDArray[np.float64]


class _Others(NamedTuple):
    """The other channels, which stand still.

    Attributes
    ----------
    features : ndarray of shape (n_images, n_features), float32
    lengths, inverses : ndarray of shape (n_images,), float64
        Their lengths, and one over these.
    """

    features: NDArray[np.float32]
    lengths: NDArray[np.float64]
    inverses: NDArray[np.float64]


class _Shortlists(NamedTuple):
    """The references nearest to each query within the other channels.

    Attributes
    ----------
    residuals : ndarray of shape (n_queries, m), float64
        Distances within the other channels, ascending.
    indices : ndarray of shape (n_queries, m), int32
        The references they belong to.
    complete : bool
        Whether these are all references; all others follow after the last of these.
    """

    residuals: NDArray[np.float64]
    indices: NDArray[np.int32]
    complete: bool


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
    query, image, candidate, moving, others, proposals, leave_one_out, cosine, distances, indices
):  # fmt: skip
    """Find the nearest of all references; return the distance of the farthest of them.

    ``distances`` initially holds the distances of some references.
    """
    features, lengths_now = moving.features[candidate], moving.inverse_lengths[candidate]
    tilt = moving.tilts[candidate, image]
    row, columns, factor = proposals.rows[query], proposals.columns, proposals.factor
    slack, error = proposals.slacks[query], proposals.errors[query]
    square = proposals.squares[query]
    n_references = columns.shape[1]
    proposed = np.zeros(n_references, np.float32)
    for axis in range(len(row)):
        for j in range(n_references):
            proposed[j] += row[axis] * columns[axis, j]
    # The references found so far bound the nearest ones.
    bound = largest(distances) * (1.0 + _SLACK)
    kth = np.inf
    distances[:] = np.inf
    indices[:] = n_references
    beyond = limit(_largest_residual(bound, tilt, cosine), factor, slack, error, square)
    for j in range(n_references):
        if proposed[j] > beyond or (leave_one_out and j == query):
            continue
        # The channel that moves is short: it rules most references out. The cosine rounds
        # absolutely, so the slack is absolute, too.
        possible = least(proposed[j], factor, slack, error, square)
        distance = _distance(possible, features, image, j, others.lengths, lengths_now, cosine)
        if distance > bound + _SLACK * max(bound, 1.0):
            continue
        inverses = others.inverses[image] * others.inverses[j]
        residual = measure(others.features[image], others.features[j], inverses, cosine)
        distance = _distance(residual, features, image, j, others.lengths, lengths_now, cosine)
        if distance <= min(kth, bound):
            kth = replace_farthest(distance, j, distances, indices, kth)
            if kth < bound:
                bound = kth
                beyond = limit(_largest_residual(bound, tilt, cosine), factor, slack, error, square)
    return kth


@njit(parallel=True, cache=True)
def _scan(  # type: ignore[no-untyped-def]
    moving, others, shortlists, proposals, labels, offset, leave_one_out, cosine, n_classes,
    temperature, n_neighbors, losses, full_scans,
):  # fmt: skip
    """Find the nearest references of every query under every candidate, and the losses.

    Parameters
    ----------
    moving : _Moving
    others : _Others
    shortlists : _Shortlists
    proposals : :class:`~slicing.neighbors.exact.Proposals`
    labels : (n_images,), int64
    offset : int
        Index of the first query.
    losses : (n_candidates, n_queries), float64
        Filled.
    full_scans : (n_candidates, n_queries), bool
        Filled: whether the shortlist did not suffice.
    """
    n_candidates, n_queries = losses.shape
    # Taken apart here: within the loops that costs time.
    candidates, finite, inverse_lengths, tilts = moving
    residuals, indices, complete = shortlists
    others_lengths = others.lengths
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
                    residuals[query, s], features, image, j, others_lengths, lengths_now, cosine
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
                    residuals[query, s], features, image, j, others_lengths, lengths_now, cosine
                )
                if distance <= kth:
                    kth = replace_farthest(distance, j, distances, nearest, kth)
                    reach = _largest_residual(kth, tilt, cosine)
            if not ended:
                full_scans[p, query] = True
                kth = _visit_all(
                    query, image, p, moving, others, proposals, leave_one_out, cosine, distances,
                    nearest,
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
        still = np.delete(self._channels, channel, axis=1).reshape(n_images, -1)
        if still.shape[1] == 0:  # the only channel: the others are all alike
            still = np.zeros((n_images, 1), np.float32)
        still_lengths = lengths(still)
        self._others = _Others(still, still_lengths, inverse(still_lengths))
        search = NeighborSearch(still[roles.references], self._metric, roles.n_queries)
        queries = search.references
        if not roles.leave_one_out:
            queries = search.points(still[roles.queries])
        self._proposals = search.proposals(queries)
        m = min(_SHORTLIST + self._n_neighbors, roles.available)
        residuals, indices = search.search(queries, m, roles.excluded)
        self._shortlists = _Shortlists(residuals, indices.astype(np.int32), m == roles.available)

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
        inverse_lengths = tilts = np.zeros(candidates.shape[:2])
        if self._metric == "cosine":
            own = np.einsum("...i,...i->...", candidates, candidates, dtype=np.float64)
            squares = self._others.lengths**2
            inverse_lengths = inverse(np.sqrt(squares + own))
            tilts = squares * inverse_lengths**2
        moving = _Moving(candidates, finite, inverse_lengths, tilts)
        _scan(
            moving, self._others, self._shortlists, self._proposals, self._labels,
            self._roles.first_query, self._roles.leave_one_out, self._metric == "cosine",
            self._n_classes, temperature, self._n_neighbors, losses, full_scans,
        )  # fmt: skip
        return losses, int(full_scans.sum())

    def replace(self, channels: NDArray[np.intp], features: NDArray[np.float32]) -> None:
        """Replace ``n`` channels by features (n, n_images, n_positions); bind after."""
        self._channels[:, channels] = features.swapaxes(0, 1)
