"""Kernels of :mod:`evolve.fitness.ridge`, in numba: BLAS must be kept to one thread for them."""

import numpy as np
from numba import njit, prange

BLOCK = 256
"""Rows of the root that are solved for at a time."""

# Rows of one product, at most.
_TILE = 512
# Products are to be shared evenly by so many threads.
_SHARES = 8
# Rows whose products are summed in float32, and then in float64.
_SUMMED = 256
# Floats of a cache line.
_LINE = 16
# Reassociation lets the compiler sum on SIMD lanes; NaN and infinity keep their meaning.
_SUMS = {"reassoc", "contract", "nsz"}


@njit(cache=True)
def _rows(n):  # type: ignore[no-untyped-def]
    """Rows of each product of ``n``: the same sums for any number of threads."""
    n_products = _SHARES * max(1, (n + _SHARES * _TILE - 1) // (_SHARES * _TILE))
    return max(1, (n + n_products - 1) // n_products)


@njit(cache=True)
def _transpose(matrix, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` (columns, rows) from ``matrix`` (rows, columns), a few cache lines at a time."""
    n_rows, n_columns = matrix.shape
    for top in range(0, n_rows, _LINE):
        for left in range(0, n_columns, _LINE):
            for j in range(left, min(left + _LINE, n_columns)):
                for i in range(top, min(top + _LINE, n_rows)):
                    out[j, i] = matrix[i, j]


@njit(parallel=True, cache=True)
def whiten(features, below, inverses, whitened):  # type: ignore[no-untyped-def]
    """Solve ``root whitened.T = features.T`` by forward substitution, block by block.

    Parameters
    ----------
    features : (n_images, n_features), float32
    below : (n,), float32
        What is left of the diagonal blocks of the lower triangular ``root``, one after the other.
    inverses : (n,), float32
        Inverses of its diagonal blocks of ``BLOCK`` rows, one after the other.
    whitened : (n_images, n_features), float32
        Filled.
    """
    n_images, n_features = features.shape
    rows = _rows(n_images)
    for tile in prange((n_images + rows - 1) // rows):
        start, stop = tile * rows, min((tile + 1) * rows, n_images)
        part = np.empty((n_features, stop - start), np.float32)
        _transpose(features[start:stop], part)
        used = 0
        for first in range(0, n_features, BLOCK):
            size = min(BLOCK, n_features - first)
            block = part[first : first + size]
            if first:
                left = below[used : used + size * first].reshape((size, first))
                block -= np.dot(left, part[:first])
                used += size * first
            at = first * BLOCK
            block[:] = np.dot(inverses[at : at + size * size].reshape((size, size)), block)
        _transpose(part, whitened[start:stop])


@njit(parallel=True, cache=True)
def turn(whitened, directions, weights, still, transposed):  # type: ignore[no-untyped-def]
    """Reflect the columns, and leave out the first: see :meth:`LeaveOneOutRidge.bind`.

    Parameters
    ----------
    whitened : (n_images, n_features), float32
    directions : (n_features, n_moving), float32
    weights : (n_moving, n_still), float32
    still : (n_images, n_still), float32
        Filled.
    transposed : (n_still, n_references), float32
        Filled with the first rows of ``still``.
    """
    n_images, n_references = len(still), transposed.shape[1]
    n_moving = len(weights)
    rows = _rows(n_images)
    for tile in prange((n_images + rows - 1) // rows):
        start, stop = tile * rows, min((tile + 1) * rows, n_images)
        taken = np.dot(np.dot(whitened[start:stop], directions), weights)
        still[start:stop] = whitened[start:stop, n_moving:] - taken
        last = min(stop, n_references)
        if start < last:
            _transpose(still[start:last], transposed[:, start:last])


@njit(parallel=True, cache=True)
def center(moving, n_references, flat):  # type: ignore[no-untyped-def]
    """Take the references' means from every column, and put the candidates side by side.

    Parameters
    ----------
    moving : (n_candidates, n_images, n_moving), float32
        Centered in place.
    n_references : int
    flat : (n_images, n_candidates * n_moving), float32
        Filled.
    """
    n_candidates, n_images, n_moving = moving.shape
    for p in prange(n_candidates):
        means = np.zeros(n_moving)
        for i in range(n_references):
            for j in range(n_moving):
                means[j] += moving[p, i, j]
        shift = (means / n_references).astype(np.float32)
        for i in range(n_images):
            own, target = moving[p, i], flat[i, p * n_moving : (p + 1) * n_moving]
            for j in range(n_moving):
                own[j] -= shift[j]
                target[j] = own[j]


@njit(parallel=True, cache=True, fastmath=_SUMS)
def squares(whitened, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` (n,), float64, with the squared lengths of rows (n, n_features), float32."""
    for i in prange(len(out)):
        total = 0.0
        for value in whitened[i]:
            total += np.float64(value) * np.float64(value)
        out[i] = total


@njit(parallel=True, cache=True)
def add_scatter(features, products):  # type: ignore[no-untyped-def]
    """Add the products of all pairs of columns, summed over a few hundred rows in float32.

    Parameters
    ----------
    features : (n, n_features), float32
    products : (n_features, n_features), float64
        Only the lower triangle is complete.
    """
    n_images, n_features = features.shape
    transposed = np.empty((n_features, n_images), np.float32)
    rows = _rows(n_features)
    n_tiles = (n_features + rows - 1) // rows
    for tile in prange(n_tiles):
        start, stop = tile * rows, min((tile + 1) * rows, n_features)
        _transpose(features[:, start:stop], transposed[start:stop])
    for tile in prange(n_tiles):
        # The long tiles first, so that no thread gets one at the end.
        start = (n_tiles - 1 - tile) * rows
        stop = min(start + rows, n_features)
        products[start:stop, :stop] += np.dot(transposed[start:stop], transposed[:stop].T)


@njit(parallel=True, cache=True)
def partial_out(whitened, transposed, moving, rest):  # type: ignore[no-untyped-def]
    """Take what the still features explain out of ``moving``, and separate the candidates.

    Parameters
    ----------
    whitened : (n_images, n_still), float32
    transposed : (n_still, n_references), float32
        The first rows of ``whitened``.
    moving : (n_images, n_candidates * n_moving), float32
    rest : (n_candidates, n_images, n_moving), float32
        Filled with what the still features leave of it.
    """
    n_still, n_references = transposed.shape
    n_candidates, n_images, n_moving = rest.shape
    weights = np.empty((n_still, moving.shape[1]), np.float32)
    rows = _rows(n_still)
    for tile in prange((n_still + rows - 1) // rows):
        start, stop = tile * rows, min((tile + 1) * rows, n_still)
        np.dot(transposed[start:stop], moving[:n_references], weights[start:stop])
    rows = _rows(n_images)
    for tile in prange((n_images + rows - 1) // rows):
        start, stop = tile * rows, min((tile + 1) * rows, n_images)
        explained = np.dot(whitened[start:stop], weights)
        # Here, while the rows are in the cache: a candidate's columns lie far apart.
        for i in range(start, stop):
            for p in range(n_candidates):
                for j in range(n_moving):
                    at = p * n_moving + j
                    rest[p, i, j] = moving[i, at] - explained[i - start, at]


@njit(cache=True)
def _errors_of(features, partial, residuals, leverages, ridge, losses):  # type: ignore[no-untyped-def]
    """Squared errors of the queries under one candidate: see :func:`errors`.

    Parameters
    ----------
    features : (n_references, n_moving), float32
    partial : (n_images, n_moving), float32
    residuals, leverages, ridge
    losses : (n_queries,), float64
    """
    n_references, n_moving = features.shape
    gram = np.zeros((n_moving, n_moving))
    shared = np.zeros((n_moving, residuals.shape[1]))
    for start in range(0, n_references, _SUMMED):
        stop = min(start + _SUMMED, n_references)
        own = features[start:stop].T
        gram += np.dot(own, partial[start:stop])
        shared += np.dot(own, residuals[start:stop])
    for j in range(n_moving):
        for i in range(j):
            gram[i, j] = gram[j, i] = (gram[i, j] + gram[j, i]) / 2.0
        gram[j, j] += ridge
    if not np.isfinite(gram.sum()):
        losses[:] = np.inf
        return
    inverse = np.linalg.inv(gram)
    weights = np.dot(inverse, shared).astype(np.float32)
    n_queries = len(losses)
    explained = np.dot(partial[-n_queries:], weights)
    for i in range(n_queries):
        query = len(residuals) - n_queries + i
        error = 0.0
        for c in range(residuals.shape[1]):
            error += np.float64(residuals[query, c] - explained[i, c]) ** 2
        losses[i] = error
    if len(leverages):
        spread = np.dot(partial, inverse.astype(np.float32))
        for i in range(n_queries):
            left = 1.0 - leverages[i]
            for j in range(n_moving):
                left -= spread[i, j] * partial[i, j]
            # Only rounding can leave nothing: of features of too different sizes.
            losses[i] = losses[i] / left**2 if left > 0.0 else np.inf


@njit(parallel=True, cache=True)
def errors(features, rest, residuals, leverages, n_references, ridge, losses):  # type: ignore[no-untyped-def]
    """Squared errors of the queries under each candidate.

    Parameters
    ----------
    features, rest : (n_candidates, n_images, n_moving), float32
        The centered features of every candidate, and the part that the still ones do not explain.
    residuals : (n_images, n_classes), float32
        Of the regression on the still features.
    leverages : (n_references,), float64
        Of the references in it; empty where the references are not the queries.
    n_references : int
    ridge : float
    losses : (n_candidates, n_queries), float64
        Filled.
    """
    for p in prange(len(features)):
        _errors_of(features[p, :n_references], rest[p], residuals, leverages, ridge, losses[p])
