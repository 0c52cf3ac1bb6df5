"""Exact incremental k-NN: what changes when one kernel of the last convolution moves.

Every feature belongs to one channel, so squared Euclidean distances and inner products are sums
over channels: while one kernel moves, all terms but its own stand still (the decomposition is known
from feature selection, e.g. Sci. Rep. 12, s41598-022-25942-4, 2022). The *residual* of a pair is
what the other channels contribute; it bounds the distance from below whatever the kernel does.
References sorted by that bound need only be visited until the bound passes the k-th best distance
found: exact, and a handful of visits instead of thousands.

All numba kernels of this subject stand in this file, because numba's cache does not notice when a
function in another file changes.
"""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from evolve.objectives import query_loss
from slicing.knn import Metric, insert

# References kept in order of their bound, per query: a few times what a scan visits.
_SHORTLIST = 128
# The matrix of all distances is kept in float64 up to the first size, in float32 up to the second
# (bytes), and beyond that computed anew for every block.
_FLOAT64_BYTES = 1 << 30
_FLOAT32_BYTES = 5 << 29
# One block of rows of that matrix, in elements.
_BLOCK = 1 << 21
# Queries that one thread takes at a time.
_TASK = 64
# Bounds are compared with this slack, far above the rounding of float64 sums.
_SLACK = 1e-9

# Reassociation lets the compiler sum on SIMD lanes; NaN and infinity keep their meaning.
_SUMS = {"reassoc", "contract", "nsz"}


@njit(cache=True, fastmath=_SUMS)
def _squared_distance(a, b):  # type: ignore[no-untyped-def]
    total = np.float32(0.0)
    for i in range(len(a)):
        difference = a[i] - b[i]
        total += difference * difference
    return np.float64(total)


@njit(cache=True, fastmath=_SUMS)
def _inner_product(a, b):  # type: ignore[no-untyped-def]
    total = np.float32(0.0)
    for i in range(len(a)):
        total += a[i] * b[i]
    return np.float64(total)


@njit(parallel=True, cache=True)
def _shortlist(  # type: ignore[no-untyped-def]
    whole, products, norms, residual_norms, first, offset, leave_one_out, cosine,
    bounds, indices, residuals,
):  # fmt: skip
    """Sort the references of some queries by what bounds their distance; keep the nearest.

    Parameters
    ----------
    whole : (n, n_references)
        Squared distances, or inner products for the cosine, over all channels.
    products : (n, n_references), float64
        Inner products within the channel that moves.
    norms, residual_norms : (n_images,), float64
        Squared lengths within that channel, and within the others.
    first, offset : int
        Query ``first + i`` is image ``offset + first + i``.
    bounds, indices, residuals : (n_queries, m)
        Filled: the residual distances (-cosine within the other channels) in ascending order, the
        references they belong to, and the residuals themselves (inner products for the cosine).
    """
    n, n_references = whole.shape
    m = indices.shape[1]
    for i in prange(n):
        query = first + i
        image = offset + query
        bounds[query] = np.inf
        for j in range(n_references):
            if leave_one_out and j == query:
                continue
            if cosine:
                length = np.sqrt(residual_norms[image] * residual_norms[j])
                residual = whole[i, j] - products[i, j]
                bound = -residual / length if length > 0.0 else 0.0
            else:
                residual = whole[i, j] - (norms[image] + norms[j] - 2.0 * products[i, j])
                bound = residual
            if bound < bounds[query, m - 1]:
                insert(bounds[query], indices[query], bound, j)
        for s in range(m):
            j = indices[query, s]
            residuals[query, s] = bounds[query, s]
            if cosine:
                residuals[query, s] = whole[i, j] - products[i, j]


@njit(cache=True)
def _distance(residual, query, reference, query_norm, reference_norm, cosine):  # type: ignore[no-untyped-def]
    """Distance of a pair: the residual and the channel that moves; norms are whole, squared."""
    if not cosine:
        return residual + _squared_distance(query, reference)
    length = np.sqrt(query_norm * reference_norm)
    if length == 0.0:
        return 1.0
    return min(max(1.0 - (residual + _inner_product(query, reference)) / length, 0.0), 2.0)


@njit(cache=True)
def _lower_bound(bound, query_norm, residual_norm, cosine):  # type: ignore[no-untyped-def]
    """Least distance that a reference with this bound can have.

    Cosine: with θ the angle by which the moving channel tilts the query out of the space of the
    others, cos(q, r) <= sqrt(cos²θ c² + sin²θ) where c >= 0 is the cosine within the others
    (Cauchy-Schwarz, twice).
    """
    if not cosine:
        return bound
    if query_norm == 0.0:
        return 1.0
    others = max(-bound, 0.0) ** 2 * residual_norm + (query_norm - residual_norm)
    return 1.0 - np.sqrt(max(others, 0.0) / query_norm)


@njit(cache=True)
def _residual(  # type: ignore[no-untyped-def]
    query, image, reference, whole, channels, moving, cosine
):  # fmt: skip
    """Residual of any pair: from the matrix of all distances if there is one, else summed up."""
    if len(whole) > 0:
        a, b = channels[moving, image], channels[moving, reference]
        own = _inner_product(a, b) if cosine else _squared_distance(a, b)
        return whole[query, reference] - own
    total = 0.0
    for c in range(len(channels)):
        if c != moving:
            a, b = channels[c, image], channels[c, reference]
            total += _inner_product(a, b) if cosine else _squared_distance(a, b)
    return total


@njit(parallel=True, cache=True)
def _scan(  # type: ignore[no-untyped-def]
    candidates, candidate_norms, residual_norms, bounds, indices, residuals, whole, channels,
    moving, labels, offset, leave_one_out, cosine, n_classes, temperature, losses, full_scans,
    neighbour_distances, neighbours,
):  # fmt: skip
    """Find the nearest references of every query under every candidate, and the losses.

    Parameters
    ----------
    candidates : (n_candidates, n_images, n_positions), float32
        Features of the channel that moves.
    candidate_norms : (n_candidates, n_images), float64
        Squared length of all features.
    losses : (n_candidates, n_queries), float64
    full_scans : (n_candidates, n_queries), bool
        Filled: whether the shortlist did not suffice.
    neighbour_distances, neighbours : (n_queries, k)
        Filled with the neighbours under the last candidate, in ascending order.
    """
    n_candidates, n_queries = losses.shape
    n_references = len(labels) - n_queries if offset > 0 else len(labels)
    m = indices.shape[1]
    k = neighbours.shape[1]
    n_available = n_references - 1 if leave_one_out else n_references
    for task in prange((n_queries + _TASK - 1) // _TASK):
        neighbour_labels = np.empty(k, np.int64)
        # Candidate after candidate over a few queries: its features stay in the cache.
        for p in range(n_candidates):
            features = candidates[p]
            norms = candidate_norms[p]
            for query in range(task * _TASK, min((task + 1) * _TASK, n_queries)):
                image = offset + query
                nearest, best = neighbours[query], neighbour_distances[query]
                best[:] = np.inf
                complete = m == n_available
                for s in range(m):
                    least = _lower_bound(
                        bounds[query, s], norms[image], residual_norms[image], cosine
                    )
                    if least > best[k - 1] * (1.0 + _SLACK) + _SLACK:
                        complete = True
                        break
                    j = indices[query, s]
                    distance = _distance(
                        residuals[query, s], features[image], features[j], norms[image], norms[j],
                        cosine,
                    )  # fmt: skip
                    if distance < best[k - 1] or (distance == best[k - 1] and j < nearest[k - 1]):
                        insert(best, nearest, distance, j)
                full_scans[p, query] = not complete
                if not complete:
                    best[:] = np.inf
                    for j in range(n_references):
                        if leave_one_out and j == query:
                            continue
                        residual = _residual(query, image, j, whole, channels, moving, cosine)
                        distance = _distance(
                            residual, features[image], features[j], norms[image], norms[j], cosine
                        )
                        if distance < best[k - 1]:
                            insert(best, nearest, distance, j)
                if best[k - 1] < np.inf:
                    for s in range(k):
                        neighbour_labels[s] = labels[nearest[s]]
                    losses[p, query] = query_loss(
                        best, neighbour_labels, labels[image], n_classes, temperature
                    )
                else:
                    losses[p, query] = np.inf  # features that are not finite


def _squares(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Squared length of every vector along the last axis, float64."""
    squares: NDArray[np.float64] = np.einsum("...i,...i->...", features, features, dtype=np.float64)
    return squares


class IncrementalKNN:
    """The k-NN of a conv stack's features, kept up to date while single channels change.

    Parameters
    ----------
    channels : ndarray of shape (n_channels, n_images, n_positions), float32
        The features, channel by channel: first those of the references, then of the queries.
        Changed in place by :meth:`accept`.
    labels : ndarray of shape (n_images,), int64
    n_queries : int or None
        How many of the images, at the end, are queries. None: leave-one-out, every image is a query
        against all others.
    n_neighbours : int
    metric : {"euclidean", "cosine"}

    Attributes
    ----------
    full_scans : int
        How many times the shortlist of a query did not suffice and all references were visited.
    """

    def __init__(
        self,
        channels: NDArray[np.float32],
        labels: NDArray[np.int64],
        n_queries: int | None,
        n_neighbours: int,
        metric: Metric,
    ) -> None:
        n_images = len(labels)
        self._channels = channels
        self._labels = labels
        self._n_classes = int(labels.max()) + 1
        self._leave_one_out = n_queries is None
        self._n_queries = n_images if n_queries is None else n_queries
        self._n_references = n_images if n_queries is None else n_images - n_queries
        self._offset = n_images - self._n_queries
        self._n_neighbours = n_neighbours
        self._cosine = metric == "cosine"
        self.full_scans = 0
        m = min(max(_SHORTLIST, 4 * n_neighbours), self._n_references - self._leave_one_out)
        self._bounds = np.empty((self._n_queries, m))
        self._indices = np.empty((self._n_queries, m), np.int32)
        self._residuals = np.empty((self._n_queries, m))
        self.refresh()

    def refresh(self) -> None:
        """Compute all distances anew from the channels."""
        self._norms = _squares(self._channels).sum(axis=0)
        n_pairs = self._n_queries * self._n_references
        # Empty where it would be too large: then it is computed anew for every block.
        self._whole = np.empty((0, self._n_references))
        self._accepted = 0
        if 8 * n_pairs <= _FLOAT64_BYTES or 4 * n_pairs <= _FLOAT32_BYTES:
            dtype = np.float64 if 8 * n_pairs <= _FLOAT64_BYTES else np.float32
            self._whole = np.empty((self._n_queries, self._n_references), dtype)
            for rows in self._blocks():
                self._whole[rows] = self._compute_rows(rows)

    def _blocks(self) -> list[slice]:
        """Rows of the matrix of all distances, in pieces that stay small."""
        step = max(1, _BLOCK // self._n_references)
        return [
            slice(start, min(start + step, self._n_queries))
            for start in range(0, self._n_queries, step)
        ]

    def _products(self, features: NDArray[np.float64], rows: slice) -> NDArray[np.float64]:
        """Inner products of some queries with the references, of features (n_images, n)."""
        queries = slice(rows.start + self._offset, rows.stop + self._offset)
        return features[queries] @ features[: self._n_references].T

    def _compute_rows(self, rows: slice) -> NDArray[np.float64]:
        """Squared distances, or inner products for the cosine, from scratch."""
        queries = slice(rows.start + self._offset, rows.stop + self._offset)
        n_channels = len(self._channels)
        total = np.zeros((rows.stop - rows.start, self._n_references))
        for c in range(n_channels):
            total += (
                self._channels[c, queries].astype(np.float64)
                @ self._channels[c, : self._n_references].astype(np.float64).T
            )
        if self._cosine:
            return total
        total *= -2.0
        total += self._norms[queries, None]
        total += self._norms[: self._n_references]
        return total

    def bind(self, channel: int) -> None:
        """Take channel ``channel`` as the one that moves from now on."""
        self._moving = channel
        self._moving_norms = _squares(self._channels[channel])
        self._residual_norms = self._norms - self._moving_norms
        features = self._channels[channel].astype(np.float64)
        for rows in self._blocks():
            whole = self._whole[rows] if len(self._whole) else self._compute_rows(rows)
            _shortlist(
                whole,
                self._products(features, rows),
                self._moving_norms,
                self._residual_norms,
                rows.start,
                self._offset,
                self._leave_one_out,
                self._cosine,
                self._bounds,
                self._indices,
                self._residuals,
            )

    def losses(self, candidates: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
        """Loss of every query, with candidates in the place of the channel that moves.

        Parameters
        ----------
        candidates : ndarray of shape (n_candidates, n_images, n_positions), float32
        temperature : float
            See :func:`evolve.objectives.query_loss`.

        Returns
        -------
        ndarray of shape (n_candidates, n_queries), float64
            Infinite where the features are not finite.
        """
        losses = np.empty((len(candidates), self._n_queries))
        full_scans = np.empty(losses.shape, np.bool_)
        _scan(
            candidates,
            self._residual_norms + _squares(candidates),
            self._residual_norms,
            self._bounds,
            self._indices,
            self._residuals,
            self._whole,
            self._channels,
            self._moving,
            self._labels,
            self._offset,
            self._leave_one_out,
            self._cosine,
            self._n_classes,
            temperature,
            losses,
            full_scans,
            np.empty((self._n_queries, self._n_neighbours)),
            np.empty((self._n_queries, self._n_neighbours), np.int64),
        )
        self.full_scans += int(full_scans.sum())
        return losses

    def accept(self, features: NDArray[np.float32]) -> None:
        """Put features of shape (n_images, n_positions) into the place of the moving channel.

        The next step is another :meth:`bind`.
        """
        before = self._channels[self._moving].astype(np.float64)
        after = features.astype(np.float64)
        change = _squares(features) - self._moving_norms
        for rows in self._blocks() if len(self._whole) else []:
            update = self._products(after, rows) - self._products(before, rows)
            if not self._cosine:
                update *= -2.0
                update += change[rows.start + self._offset : rows.stop + self._offset, None]
                update += change[: self._n_references]
            self._whole[rows] += update
        self._norms += change
        self._channels[self._moving] = features
        self._accepted += 1
        # Float32 sums drift: a fresh start after one pass over the channels.
        if self._whole.dtype == np.float32 and self._accepted >= len(self._channels):
            self.refresh()
