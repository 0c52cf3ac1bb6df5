"""Exact incremental k-NN: what changes when one kernel of the last convolution moves.

Every feature belongs to one channel, so squared Euclidean distances and inner products are sums
over channels: while one kernel moves, all terms but its own stand still (the decomposition is known
from feature selection, e.g. Sci. Rep. 12, s41598-022-25942-4, 2022). The *residual* of a pair is
what the other channels contribute; it bounds the distance from below whatever the kernel does.
References sorted by that bound need only be visited until the bound passes the k-th best distance
found: exact, and a handful of visits instead of thousands.

The numba kernels of this subject stand in one file, because numba's cache does not notice when a
function in another file changes.
"""

from collections.abc import Iterator

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from evolve.objectives import query_loss
from slicing import heap
from slicing.knn import Metric
from slicing.threads import single_threaded_blas

# References kept in order of their bound, per query, beyond the neighbours themselves: so many, and
# one in so many of all. With these, nearly every scan ends before its list does.
_SHORTLIST, _SHORTLIST_SHARE = 64, 128
# The matrix of all distances is kept in float64 up to the first size, in float32 up to the second
# (bytes), and beyond that computed anew for every block.
_FLOAT64_BYTES = 1 << 30
_FLOAT32_BYTES = 5 << 29
# How many of its elements are computed at a time.
_BLOCK = 1 << 25
# Rows that one thread multiplies at a time.
_ROWS = 128
# Queries that one thread takes at a time: their lists and the features of one candidate for some
# thousand references share a second-level cache.
_TASK = 1024
# Bounds are compared with this slack, far above the rounding of float64 sums.
_SLACK = 1e-9

# Reassociation lets the compiler sum on SIMD lanes; NaN and infinity keep their meaning.
_SUMS = {"reassoc", "contract", "nsz"}


@njit(cache=True, fastmath=_SUMS)
def _squared_distance(features, i, j):  # type: ignore[no-untyped-def]
    total = np.float32(0.0)
    for position in range(features.shape[1]):
        difference = features[i, position] - features[j, position]
        total += difference * difference
    return np.float64(total)


@njit(cache=True, fastmath=_SUMS)
def _inner_product(features, i, j):  # type: ignore[no-untyped-def]
    total = np.float32(0.0)
    for position in range(features.shape[1]):
        total += features[i, position] * features[j, position]
    return np.float64(total)


@njit(cache=True, fastmath=_SUMS)
def _own(features, i, j, cosine):  # type: ignore[no-untyped-def]
    """Contribution of one channel: a squared distance, or an inner product for the cosine.

    In float64: it is subtracted from the whole, of which it may be nearly all.
    """
    total = 0.0
    for position in range(features.shape[1]):
        a, b = np.float64(features[i, position]), np.float64(features[j, position])
        total += a * b if cosine else (a - b) * (a - b)
    return total


@njit(cache=True)
def _rest(whole, features, i, j, residual_norms, cosine):  # type: ignore[no-untyped-def]
    """Contribution of all other channels, given the contribution of all."""
    if residual_norms[i] == 0.0 and (cosine or residual_norms[j] == 0.0):
        return 0.0  # exactly, where the subtraction leaves rounding
    rest = whole - _own(features, i, j, cosine)
    return rest if cosine else max(rest, 0.0)


@njit(parallel=True, cache=True)
def _shortlist(  # type: ignore[no-untyped-def]
    whole, channel, residual_norms, inverse_lengths, first, offset, leave_one_out, cosine,
    bounds, indices, residuals,
):  # fmt: skip
    """Sort the references of some queries by what bounds their distance; keep the nearest.

    Parameters
    ----------
    whole : (n, n_references)
        Squared distances, or inner products for the cosine, over all channels.
    channel : (n_images, n_positions), float32
        The channel that moves.
    residual_norms, inverse_lengths : (n_images,), float64
        Squared length within the other channels, and one over the length, 0 where that is 0.
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
        row_bounds, row_indices = bounds[query], indices[query]
        heap.clear(row_bounds, row_indices)
        for j in range(n_references):
            if leave_one_out and j == query:
                continue
            bound = _rest(whole[i, j], channel, image, j, residual_norms, cosine)
            if cosine:
                bound *= -inverse_lengths[image] * inverse_lengths[j]
            heap.push(row_bounds, row_indices, bound, j)
        heap.sort(row_bounds, row_indices)
        for s in range(m):
            j = row_indices[s]
            residuals[query, s] = _rest(whole[i, j], channel, image, j, residual_norms, cosine)


@njit(parallel=True, cache=True)
def _replace(whole, before, after, offset, cosine):  # type: ignore[no-untyped-def]
    """Exchange one channel in the matrix of all distances (n_queries, n_references)."""
    for query in prange(whole.shape[0]):
        image = offset + query
        for j in range(whole.shape[1]):
            old = _own(before, image, j, cosine)
            whole[query, j] += _own(after, image, j, cosine) - old


@njit(cache=True)
def _distance(residual, features, i, j, inverse_lengths, cosine):  # type: ignore[no-untyped-def]
    """Distance of a pair: the residual and the channel that moves."""
    if not cosine:
        return residual + _squared_distance(features, i, j)
    similarity = (residual + _inner_product(features, i, j)) * inverse_lengths
    return min(max(1.0 - similarity, 0.0), 2.0)


@njit(cache=True)
def _is_beyond(bound, tilt, kth, cosine):  # type: ignore[no-untyped-def]
    """Whether no reference with this bound, or a later one, can be as near as ``kth``.

    Cosine: the moving channel tilts the query by an angle θ out of the space of the others, with
    ``tilt`` = cos²θ. If c is the cosine of a pair within the others, then, by Cauchy-Schwarz twice,
    cos(q, r) <= sqrt(cos²θ max(c, 0)² + sin²θ).
    """
    if not cosine:
        return bound > kth * (1.0 + _SLACK)
    similarity = 1.0 - kth - _SLACK
    return similarity > 0.0 and tilt * max(-bound, 0.0) ** 2 + (1.0 - tilt) < similarity**2


@njit(cache=True)
def _residual(  # type: ignore[no-untyped-def]
    query, image, reference, whole, channels, moving, residual_norms, cosine
):  # fmt: skip
    """Residual of any pair: from the matrix of all distances if there is one, else summed up."""
    if len(whole) > 0:
        return _rest(
            whole[query, reference], channels[moving], image, reference, residual_norms, cosine
        )
    total = 0.0
    for c in range(len(channels)):
        if c != moving:
            total += _own(channels[c], image, reference, cosine)
    return total


@njit(parallel=True, cache=True)
def _scan(  # type: ignore[no-untyped-def]
    candidates, inverse_lengths, tilts, residual_norms, bounds, indices, residuals, whole, channels,
    moving, labels, offset, n_references, leave_one_out, cosine, n_classes, temperature,
    n_neighbours, losses, full_scans,
):  # fmt: skip
    """Find the nearest references of every query under every candidate, and the losses.

    Parameters
    ----------
    candidates : (n_candidates, n_images, n_positions), float32
        Features of the channel that moves.
    inverse_lengths : (n_candidates, n_images), float64
        One over the length of all features, 0 where that is 0; for the cosine.
    tilts : (n_candidates, n_images), float64
        Part of the squared length that lies in the other channels; for the cosine.
    losses : (n_candidates, n_queries), float64
        Filled.
    full_scans : (n_candidates, n_queries), bool
        Filled: whether the shortlist did not suffice.
    """
    n_candidates, n_queries = losses.shape
    m = indices.shape[1]
    tasks = (n_queries + _TASK - 1) // _TASK
    for unit in prange(tasks * n_candidates):
        task, p = unit // n_candidates, unit % n_candidates
        features, lengths = candidates[p], inverse_lengths[p]
        nearest = np.empty(n_neighbours, np.int64)
        distances = np.empty(n_neighbours)
        neighbour_labels = np.empty(n_neighbours, np.int64)
        for query in range(task * _TASK, min((task + 1) * _TASK, n_queries)):
            image = offset + query
            heap.clear(distances, nearest)
            complete = m == n_references - leave_one_out
            for s in range(m):
                if _is_beyond(bounds[query, s], tilts[p, image], distances[0], cosine):
                    complete = True
                    break
                j = indices[query, s]
                distance = _distance(
                    residuals[query, s], features, image, j,
                    lengths[image] * lengths[j], cosine,
                )  # fmt: skip
                heap.push(distances, nearest, distance, j)
            full_scans[p, query] = not complete
            if not complete:
                heap.clear(distances, nearest)
                for j in range(n_references):
                    if leave_one_out and j == query:
                        continue
                    distance = _distance(
                        _residual(
 query, image, j, whole, channels, moving, residual_norms, cosine),
                        features, image, j, lengths[image] * lengths[j], cosine,
                    )  # fmt: skip
                    heap.push(distances, nearest, distance, j)
            if distances[0] < np.inf:
                for s in range(n_neighbours):
                    neighbour_labels[s] = labels[nearest[s]]
                losses[p, query] = query_loss(
                    distances, neighbour_labels, labels[image], n_classes, temperature
                )
            else:
                losses[p, query] = np.inf  # features that are not finite


@njit(parallel=True, cache=True)
def _multiply(queries, references):  # type: ignore[no-untyped-def]
    """Inner products (n_queries, n_references), float64, the same bits at any number of threads.

    Not one product by BLAS on all threads: how it divides a product, and so how it rounds, depends
    on their number.
    """
    out = np.empty((len(queries), len(references)))
    for part in prange((len(queries) + _ROWS - 1) // _ROWS):
        rows = slice(part * _ROWS, (part + 1) * _ROWS)
        out[rows] = np.dot(queries[rows], references.T)
    return out


def _squares(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Squared length of every vector along the last axis, float64."""
    squares: NDArray[np.float64] = np.einsum("...i,...i->...", features, features, dtype=np.float64)
    return squares


def _inverse_lengths(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """One over the length, 0 where it is 0: a zero vector is orthogonal to all."""
    lengths = np.sqrt(squares)
    return np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0.0)


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
        m = _SHORTLIST + self._n_references // _SHORTLIST_SHARE + n_neighbours
        m = min(m, self._n_references - self._leave_one_out)
        self._bounds = np.empty((self._n_queries, m))
        self._indices = np.empty((self._n_queries, m), np.int32)
        self._residuals = np.empty((self._n_queries, m))
        self.refresh()

    def refresh(self) -> None:
        """Compute all distances anew from the channels."""
        # Squared length of every image within every channel.
        self._squares = _squares(self._channels)
        self._accepted = 0
        n_pairs = self._n_queries * self._n_references
        # Empty where it would be too large: then it is computed anew for every block.
        self._whole = np.empty((0, self._n_references))
        if 8 * n_pairs <= _FLOAT64_BYTES or 4 * n_pairs <= _FLOAT32_BYTES:
            dtype = np.float64 if 8 * n_pairs <= _FLOAT64_BYTES else np.float32
            self._whole = np.empty((self._n_queries, self._n_references), dtype)
            for rows, distances in self._compute():
                self._whole[rows] = distances

    def _compute(self) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Compute all squared distances, or inner products for the cosine, some rows at a time.

        Yields
        ------
        rows : slice
            Some queries.
        whole : ndarray of shape (n_rows, n_references), float64
        """
        features = np.empty((len(self._labels), self._channels[:, 0].size))
        for channel, columns in zip(
            self._channels, np.hsplit(features, len(self._channels)), strict=True
        ):
            columns[:] = channel
        norms = self._squares.sum(axis=0)
        references = features[: self._n_references]
        step = max(1, _BLOCK // self._n_references)
        for start in range(0, self._n_queries, step):
            rows = slice(start, min(start + step, self._n_queries))
            queries = slice(rows.start + self._offset, rows.stop + self._offset)
            with single_threaded_blas():
                whole = _multiply(features[queries], references)
            if not self._cosine:
                whole *= -2.0
                whole += norms[queries, None]
                whole += norms[: self._n_references]
            yield rows, whole

    def bind(self, channel: int) -> None:
        """Take channel ``channel`` as the one that moves from now on."""
        self._moving = channel
        # A sum without the channel, not a difference: where the others are dead it is exactly 0.
        self._residual_norms = np.delete(self._squares, channel, axis=0).sum(axis=0)
        inverse_lengths = _inverse_lengths(self._residual_norms)
        everything = [(slice(0, self._n_queries), self._whole)]
        for rows, whole in everything if len(self._whole) else self._compute():
            _shortlist(
                whole,
                self._channels[channel],
                self._residual_norms,
                inverse_lengths,
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
        inverse_lengths = tilts = np.zeros(candidates.shape[:2])
        if self._cosine:
            norms = self._residual_norms + _squares(candidates)
            inverse_lengths = _inverse_lengths(norms)
            tilts = self._residual_norms * inverse_lengths**2
        _scan(
            candidates,
            inverse_lengths,
            tilts,
            self._residual_norms,
            self._bounds,
            self._indices,
            self._residuals,
            self._whole,
            self._channels,
            self._moving,
            self._labels,
            self._offset,
            self._n_references,
            self._leave_one_out,
            self._cosine,
            self._n_classes,
            temperature,
            self._n_neighbours,
            losses,
            full_scans,
        )
        self.full_scans += int(full_scans.sum())
        return losses

    def accept(self, features: NDArray[np.float32]) -> None:
        """Put features of shape (n_images, n_positions) into the place of the moving channel.

        The next step is another :meth:`bind`.
        """
        before = self._channels[self._moving]
        if len(self._whole):
            _replace(self._whole, before, features, self._offset, self._cosine)
        self._squares[self._moving] = _squares(features)
        self._channels[self._moving] = features
        self._accepted += 1
        # Float32 sums drift: a fresh start after one pass over the channels.
        if self._whole.dtype == np.float32 and self._accepted >= len(self._channels):
            self.refresh()
