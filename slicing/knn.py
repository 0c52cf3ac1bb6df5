"""Exact k-nearest neighbours.

Distances are the squared Euclidean distance and the cosine distance 1 - cos, both in float64 from
float32 features. A fast matrix product in float32 only proposes: every reference that its rounding
error leaves in question is measured again in float64, so the answer is that of float64 arithmetic.

Ties: the nearest first, among equally near references the one of the lower index; among classes
with equally many votes the smallest label. scikit-learn's brute force agrees, except that which
of several *equally distant* references it keeps as the k-th depends on the state of its heap and on
its number of threads; ours is always the one of the lower index.
"""

from typing import Literal, get_args

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from slicing import heap
from slicing.errors import InputError

Metric = Literal["euclidean", "cosine"]

# More than the terms of a product of scaled features can lose below float32's smallest number.
_UNDERFLOW = 1e-30
# One block of the matrix of proposed distances: 64 MiB of float32.
_BLOCK = 1 << 24


def check_metric(metric: str) -> Metric:
    """Return ``metric`` if it is one, raise InputError otherwise."""
    if metric not in get_args(Metric):
        raise InputError(f"metric={metric!r} is unknown: choose one of {get_args(Metric)}.")
    return metric  # type: ignore[return-value]


@njit(cache=True)
def _distance(query, reference, query_norm, reference_norm, cosine):  # type: ignore[no-untyped-def]
    """Distance of two rows in float64; norms are Euclidean lengths, used by the cosine alone."""
    total = 0.0
    if cosine:
        if query_norm == 0.0 or reference_norm == 0.0:
            return 1.0  # a zero vector is orthogonal to all, as in scikit-learn
        for i in range(len(query)):
            total += np.float64(query[i]) * np.float64(reference[i])
        return min(max(1.0 - total / (query_norm * reference_norm), 0.0), 2.0)
    for i in range(len(query)):
        difference = np.float64(query[i]) - np.float64(reference[i])
        total += difference * difference
    return total


@njit(parallel=True, cache=True)
def _nearest(  # type: ignore[no-untyped-def]
    products, queries, references, query_norms, reference_norms, first, scale, error, cosine,
    distances, indices,
):  # fmt: skip
    """Find the k nearest references of a block of queries, given float32 inner products.

    ``products`` (n, m) belong to features times ``scale``, and are off by at most ``error`` times
    the product of the norms, and by what underflows. ``first`` is the index of the reference to
    leave out for the first query, the next one for the next query and so on; negative: none is
    left out. Fills ``distances`` and ``indices`` (n, k).
    """
    n, m = products.shape
    k = distances.shape[1]
    for i in prange(n):
        left_out = first + i if first >= 0 else -1
        # The k-th smallest upper bound on a distance: whatever is surely farther is out.
        upper, place = np.empty(k), np.empty(k, np.int64)
        heap.clear(upper, place)
        lower = np.empty(m)
        for j in range(m):
            query_norm, reference_norm = query_norms[i] * scale, reference_norms[j] * scale
            norms = query_norm * reference_norm
            product = np.float64(products[i, j])
            if cosine:
                proposal = 1.0 - product / norms if norms > 0.0 else 1.0
                margin = error + (_UNDERFLOW / norms if norms > 0.0 else 0.0)
            else:
                squares = query_norm**2 + reference_norm**2
                proposal = squares - 2.0 * product
                margin = 2.0 * error * norms + 1e-14 * squares + _UNDERFLOW
            lower[j] = proposal - margin
            if j != left_out:
                heap.push(upper, place, proposal + margin, j)
        heap.clear(distances[i], indices[i])
        for j in range(m):
            if j != left_out and lower[j] <= upper[0]:
                distance = _distance(
                    queries[i], references[j], query_norms[i], reference_norms[j], cosine
                )
                heap.push(distances[i], indices[i], distance, j)
        heap.sort(distances[i], indices[i])


def _scaled(features: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """Multiply by a power of two, in float64 because its reciprocal may not fit float32."""
    return (features * np.float64(scale)).astype(np.float32)


def _norms(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Euclidean length of every row, float64."""
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", features, features, dtype=np.float64)
    return np.sqrt(squares)


def kneighbors(
    queries: NDArray[np.float32],
    references: NDArray[np.float32],
    k: int,
    metric: Metric = "euclidean",
    leave_one_out: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Find the k nearest references of every query.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, n_features), float32
    references : ndarray of shape (n_references, n_features), float32
    k : int
        Number of neighbours.
    metric : {"euclidean", "cosine"}
        Squared Euclidean distance, or 1 - cosine (1 where a vector is zero).
    leave_one_out : bool
        Query i does not find reference i (queries and references are the same images).

    Returns
    -------
    distances : ndarray of shape (n_queries, k), float64
        Ascending.
    indices : ndarray of shape (n_queries, k), int64

    Raises
    ------
    InputError
        Shapes that do not fit, k out of range, values that are not finite.
    """
    cosine = check_metric(metric) == "cosine"
    queries = np.ascontiguousarray(queries, np.float32)
    references = np.ascontiguousarray(references, np.float32)
    if queries.ndim != 2 or references.ndim != 2 or queries.shape[1] != references.shape[1]:
        raise InputError(
            f"Queries of shape {queries.shape} do not fit references of shape {references.shape}: "
            "both need the same number of features."
        )
    available = len(references) - leave_one_out
    if not 1 <= k <= available:
        raise InputError(f"k={k} is not possible: there are {available} references to choose from.")
    if leave_one_out and len(queries) != len(references):
        raise InputError(
            f"Leave-one-out needs one query a reference, not {len(queries)} for {len(references)}."
        )
    for name, features in (("queries", queries), ("references", references)):
        if not np.isfinite(features).all():
            raise InputError(f"The {name} hold features that are not finite: mend or drop them.")
    query_norms, reference_norms = _norms(queries), _norms(references)
    # Neighbours do not change where all features are divided by a number. A power of two makes the
    # float32 products of the longest vectors about 1, far from overflow, without rounding.
    longest = max(query_norms.max(initial=0.0), reference_norms.max(initial=0.0)) or 1.0
    scale = 2.0 ** -np.ceil(np.log2(longest))
    scaled_references = _scaled(references, scale)
    # |fl(x·y) - x·y| <= γ |x|·|y| <= γ ‖x‖ ‖y‖ with γ = d u / (1 - d u), in whatever order the
    # products are summed (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
    rounding = (queries.shape[1] + 1) * 2.0**-24
    error = rounding / (1.0 - rounding)
    distances = np.empty((len(queries), k))
    indices = np.empty((len(queries), k), np.int64)
    rows = max(1, _BLOCK // len(references))
    for start in range(0, len(queries), rows):
        block = slice(start, start + rows)
        _nearest(
            _scaled(queries[block], scale) @ scaled_references.T,
            queries[block],
            references,
            query_norms[block],
            reference_norms,
            start if leave_one_out else -1,
            scale,
            error,
            cosine,
            distances[block],
            indices[block],
        )
    return distances, indices


def count_votes(neighbour_labels: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """Count the votes of neighbours.

    Parameters
    ----------
    neighbour_labels : ndarray of shape (n_queries, k), int64
    n_classes : int

    Returns
    -------
    ndarray of shape (n_queries, n_classes), int64
        The winner is its ``argmax`` along the last axis: the smallest label among equals.
    """
    n = len(neighbour_labels)
    cells = np.arange(n)[:, None] * n_classes + neighbour_labels
    return np.bincount(cells.ravel(), minlength=n * n_classes).reshape(n, n_classes)
