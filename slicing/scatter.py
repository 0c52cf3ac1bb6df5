"""Sums of products of features: the same bits for any number of threads."""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from slicing.errors import InputError
from slicing.threads import single_threaded_blas

# Rows of the result that one thread computes at a time.
_TILE = 200
# Their products take 0.8 GB, and several times that while they are solved.
_MOST = 10_000


@njit(parallel=True, cache=True)
def _add_products(transposed, products):  # type: ignore[no-untyped-def]
    """Add to the lower triangle of ``products``, float64: ``transposed`` is (n_features, n)."""
    n_features = len(transposed)
    n_tiles = (n_features + _TILE - 1) // _TILE
    for tile in prange(n_tiles):
        # The long tiles first, so that no thread gets one at the end.
        start = (n_tiles - 1 - tile) * _TILE
        stop = min(start + _TILE, n_features)
        products[start:stop, :stop] += np.dot(transposed[start:stop], transposed[:stop].T)


def check_size(n_features: int) -> None:
    """Refuse so many features that the products of all pairs would not fit into memory."""
    if n_features > _MOST:
        raise InputError(
            f"{n_features:,} features are too many for a projection or discriminants, at most "
            f"{_MOST:,} are possible: pool more, take smaller images or fewer kernels, or let the "
            "k-NN see all features as they are."
        )


def add_products(features: NDArray[np.float32], products: NDArray[np.float64]) -> None:
    """Add the products of all pairs of features, summed over the samples in float64.

    Parameters
    ----------
    features : ndarray of shape (n, n_features), float32
    products : ndarray of shape (n_features, n_features), float64
        Only its lower triangle is complete: see :func:`completed`.
    """
    with single_threaded_blas():
        _add_products(np.ascontiguousarray(features.T, np.float64), products)


def completed(products: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fill the upper triangle of a symmetric matrix, shape (n, n), from the lower one."""
    lower = np.tril(products)
    return lower + np.tril(lower, -1).T


def shrunk(covariance: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Shrink a covariance of ``n`` samples toward a multiple of the identity.

    Y. Chen et al., "Shrinkage algorithms for MMSE covariance estimation", IEEE Transactions on
    Signal Processing 58(10), 2010, equation 23.
    """
    p = len(covariance)
    trace, square = np.trace(covariance), np.sum(covariance**2)
    above = (1 - 2 / p) * square + trace**2
    below = (n + 1 - 2 / p) * (square - trace**2 / p)
    part = 1.0 if below <= 0 else min(above / below, 1.0)
    shrunk: NDArray[np.float64] = (1 - part) * covariance + part * trace / p * np.eye(p)
    return shrunk
