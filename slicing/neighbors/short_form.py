"""Short forms of feature vectors, whose distances never exceed those of the originals.

A search for near neighbors compares millions of pairs, and almost all are far apart. A few numbers
of each image suffice to show that: its coordinates on the principal axes, and the length of its
residual. The map x -> (Pᵀx, ‖x - PPᵀx‖) never lengthens a distance, for any orthonormal P
(Pythagoras, and the triangle inequality for the residuals). So pairs that are too far apart in the
short form are too far apart, and only the others need to be measured.

Rounding is part of the bound: each point has a slack, which bounds the error of its float32 numbers
(Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
"""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from slicing.threads import single_threaded_blas

# Images from which the axes are learned; with more, no more is pruned.
_SAMPLE = 512
# Images that one thread takes at a time, so that they stay in its second-level cache.
_ROWS = 32
# A row much longer than those that the scale was made for: beyond this float32 may overflow.
_LONGEST = 2.0**32
# Unit roundoff of float32.
_UNIT = 2.0**-24

# Reassociation lets the compiler sum on SIMD lanes; NaN and infinity keep their meaning.
_SUMS = {"reassoc", "contract", "nsz"}


def rounding(terms: int) -> float:
    """Relative error of a float32 sum of ``terms`` products, in any order: Higham's γ."""
    return terms * _UNIT / (1.0 - terms * _UNIT)


@njit(cache=True, fastmath=_SUMS)
def square(vector):  # type: ignore[no-untyped-def]
    """Squared length of a vector, in float64."""
    total = 0.0
    for i in range(len(vector)):  # not over the values: numba would not vectorize that
        total += np.float64(vector[i]) * np.float64(vector[i])
    return total


@njit(parallel=True, cache=True)
def lengths(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Euclidean length of every row, float64; not finite where a feature is not."""
    out = np.empty(len(features))
    for i in prange(len(features)):
        out[i] = np.sqrt(square(features[i]))
    return out


@njit(parallel=True, cache=True)
def _project(  # type: ignore[no-untyped-def]
    features, row_lengths, scales, mean, axes, product_error, points, slack
):  # fmt: skip
    """Fill ``points`` (n, d + 1), float32, and ``slack`` (n,), float64.

    ``product_error`` bounds the rounding of Pᵀx, relative to the length of x. Without axes, d = 0,
    the points are the scaled and centered features themselves.
    """
    n, n_features = features.shape
    d = axes.shape[1]
    for part in prange((n + _ROWS - 1) // _ROWS):
        first = part * _ROWS
        count = min(_ROWS, n - first)
        centered = np.empty((count, n_features), np.float32)
        for i in range(count):
            scale, source, target = scales[first + i], features[first + i], centered[i]
            for f in range(n_features):
                target[f] = np.float32(np.float64(source[f]) * scale) - mean[f]
        product = np.dot(centered, axes)
        for i in range(count):
            row = first + i
            squared = square(centered[i])
            length = np.sqrt(squared)
            if not length < _LONGEST:
                points[row] = 0.0
                slack[row] = np.inf  # a bound that holds for anything
                continue
            # Scaling and centering round relative to their results.
            slack[row] = 1.01 * _UNIT * (scales[row] * row_lengths[row] + length)
            if d == 0:
                for f in range(n_features):
                    points[row, f] = centered[i, f]
                continue
            error = product_error * length
            rest = np.sqrt(max(squared - square(product[i]), 0.0))
            for axis in range(d):
                points[row, axis] = product[i, axis]
            points[row, d] = rest
            # |√a - √b| is at most √|a - b| and at most |a - b| / √a.
            off = 1.01 * error * (2.0 * length + error)
            rest_error = np.sqrt(off)
            if rest > rest_error:
                rest_error = off / rest
            slack[row] += np.sqrt(error * error + rest_error * rest_error) + _UNIT * rest


class ShortForm:
    """A map of scaled features to few numbers that never lengthens a distance.

    Parameters
    ----------
    features : ndarray of shape (n, n_features), float32
        Features from which the axes are learned.
    scales : ndarray of shape (n,), float64
        Factor of each row, such that no length is much above 1.
    n_axes : int
        Number of principal axes. With 0, the features are only scaled and centered.
    """

    def __init__(
        self, features: NDArray[np.float32], scales: NDArray[np.float64], n_axes: int
    ) -> None:
        step = -(-len(features) // _SAMPLE)
        sample = (features[::step] * scales[::step, None]).astype(np.float32)
        self._mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
        self._axes = _principal_axes(sample - self._mean, n_axes)
        self._product_error = 1.01 * rounding(features.shape[1]) * np.sqrt(n_axes)

    def __call__(
        self,
        features: NDArray[np.float32],
        row_lengths: NDArray[np.float64],
        scales: NDArray[np.float64],
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Project features of shape (n, n_features), each row times its scale.

        Parameters
        ----------
        features : ndarray of shape (n, n_features), float32
        row_lengths, scales : ndarray of shape (n,), float64
            Length and scale of each row.

        Returns
        -------
        points : ndarray of shape (n, n_axes + 1), or (n, n_features) without axes, float32
        slack : ndarray of shape (n,), float64
            ‖points[i] - points[j]‖ - slack[i] - slack[j] is at most the distance of rows i and j.
        """
        n, n_features = features.shape
        n_axes = self._axes.shape[1]
        points = np.empty((n, n_axes + 1 if n_axes else n_features), np.float32)
        slack = np.empty(n)
        with single_threaded_blas():
            _project(
                features, row_lengths, scales, self._mean, self._axes, self._product_error,
                points, slack,
            )  # fmt: skip
        return points, slack


def _principal_axes(centered: NDArray[np.float32], n_axes: int) -> NDArray[np.float32]:
    """Find about the first principal axes: (n_features, n_axes), columns orthonormal or shorter.

    By subspace iteration from random directions (Halko, Martinsson and Tropp, SIAM Review 53(2),
    2011, algorithm 4.4). Their accuracy affects how much is pruned, not what is found.
    """
    directions = np.random.default_rng(0).standard_normal((centered.shape[1], n_axes), np.float32)
    if n_axes == 0:
        return directions
    with single_threaded_blas():
        for _ in range(2):
            directions, _ = np.linalg.qr(centered.T @ (centered @ directions))
        wide = directions.astype(np.float64)
        # Rounding may leave the columns a little too long, or not quite at right angles.
        excess = np.linalg.norm(wide.T @ wide - np.eye(n_axes))
    axes: NDArray[np.float32] = (wide / ((1.0 + excess) * (1.0 + 1e-6))).astype(np.float32)
    return axes
