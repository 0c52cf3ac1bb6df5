"""Linear discriminants with the ridge that classifies images best that it has not seen.

A ridge regression of the classes on the features spans penalized discriminants (Hastie, Buja and
Tibshirani, "Penalized discriminant analysis", Annals of Statistics 23(1), 1995). Leaving an image
out takes no other fit: its residual is divided by one minus its leverage. So the ridge is chosen by
leaving out each image in turn.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from slicing.scatter import add_products, completed
from slicing.threads import single_threaded_blas

# Ridges that are tried, in units of the mean squared singular value.
_RIDGES = 10.0 ** np.arange(-4.0, 3.0, 0.25)
# What is smaller, relative to the largest squared singular value, is rounding.
_NOTHING = 1e-9
# Images whose features are in float64 at a time.
_CHUNK = 2048
# How near to 0 and 1 a squared correlation counts.
_ROUNDING = 1e-9
# What a leverage leaves at least: only rounding can leave less.
_LEFT = 1e-9


class PrincipalAxes:
    """The axes along which centered features vary.

    Parameters
    ----------
    features : ndarray of shape (n, n_features), float32

    Attributes
    ----------
    squares : ndarray of shape (rank,), float64
        Squared singular values.
    """

    def __init__(self, features: NDArray[np.float32]) -> None:
        self._features = features
        self.mean: NDArray[np.float64] = features.mean(axis=0, dtype=np.float64)
        n, n_features = features.shape
        # The smaller of both matrices of products has the same singular values.
        self._is_wide = n <= n_features
        side = n if self._is_wide else n_features
        products = np.zeros((side, side))
        if self._is_wide:
            centered = (features - self.mean).astype(np.float32)
            for columns in np.array_split(centered, -(-n_features // _CHUNK), axis=1):
                add_products(columns.T, products)
        else:
            for rows in np.array_split(features, -(-n // _CHUNK)):
                add_products((rows - self.mean).astype(np.float32), products)
        with single_threaded_blas():
            squares, vectors = eigh(completed(products))
        kept = squares > squares[-1] * _NOTHING
        self.squares: NDArray[np.float64] = squares[kept]
        self._vectors = vectors[:, kept]

    @property
    def positions(self) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Where images lie on the axes, some at a time. Over all images, an axis has length 1."""
        for start in range(0, len(self._features), _CHUNK):
            rows = slice(start, start + _CHUNK)
            if self._is_wide:
                yield rows, self._vectors[rows]
                continue
            with single_threaded_blas():
                along = (self._features[rows] - self.mean) @ self._vectors
            yield rows, along / np.sqrt(self.squares)

    def weights(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the features' weights that do what weights of the positions do.

        Parameters
        ----------
        coefficients : ndarray of shape (rank, m), float64

        Returns
        -------
        ndarray of shape (n_features, m), float64
        """
        with single_threaded_blas():
            if not self._is_wide:
                found: NDArray[np.float64] = self._vectors @ (
                    coefficients / np.sqrt(self.squares)[:, None]
                )
                return found
            mixed = self._vectors @ (coefficients / self.squares[:, None])
            found = self._features.T.astype(np.float64) @ mixed
            return found - np.outer(self.mean, mixed.sum(axis=0))


class Regression(NamedTuple):
    """A ridge regression of the classes, whose ridge leaves the least loss for images left out.

    Attributes
    ----------
    ridge : float
    loss : float
        Mean squared error for images that are left out, each in turn.
    accuracy : float
        Share of them that are classified right.
    """

    ridge: float
    loss: float
    accuracy: float


class PenalizedDiscriminants:
    """Penalized discriminants of some features.

    Parameters
    ----------
    features : ndarray of shape (n, n_features), float32
    labels : ndarray of shape (n,), int64

    Attributes
    ----------
    axes : PrincipalAxes
    along : ndarray of shape (rank, n_present), float64
        Sums of the images' positions on the axes, for each class that has images.
    counts : ndarray of shape (n_present,), int64
        Number of its images.
    """

    def __init__(self, features: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        self.axes = PrincipalAxes(features)
        self._labels, self._n = labels, len(labels)
        present, self.counts = np.unique(labels, return_counts=True)
        targets = (labels[:, None] == present).astype(np.float64)
        self._shares = targets.mean(axis=0)
        self._targets = targets - self._shares
        self.along = np.zeros((len(self.axes.squares), len(present)))
        for rows, positions in self.axes.positions:
            with single_threaded_blas():
                self.along += positions.T @ self._targets[rows]

    @cached_property
    def regression(self) -> Regression:
        """The regression with the best ridge of those that are tried."""
        # Features that never vary have no axes.
        ridges = _RIDGES * self.axes.squares.sum() / max(1, len(self.axes.squares))
        kept = self.axes.squares[:, None] / (self.axes.squares[:, None] + ridges)
        losses, right = np.zeros(len(ridges)), np.zeros(len(ridges))
        truth = self._targets.argmax(axis=1)
        for rows, positions in self.axes.positions:
            targets = self._targets[rows]
            with single_threaded_blas():
                left = 1.0 - 1.0 / self._n - positions**2 @ kept
                for number in range(len(ridges)):
                    fitted = positions @ (kept[:, number, None] * self.along)
                    residuals = (targets - fitted) / np.maximum(left[:, number, None], _LEFT)
                    losses[number] += np.sum(residuals**2)
                    answers = (targets + self._shares - residuals).argmax(axis=1)
                    right[number] += np.sum(answers == truth[rows])
        best = int(losses.argmin())
        loss, accuracy = losses[best] / self._n, right[best] / self._n
        return Regression(float(ridges[best]), float(loss), float(accuracy))

    def weights(self, components: int) -> NDArray[np.float64]:
        """Give the features' weights in the discriminants, of shape (n_features, components).

        The best discriminant comes first. They have unit variance within the classes, as far as the
        ridge lets see. Source: section 3 of the paper: the eigenvectors of the classes' fitted
        scores, divided by √(α² (1 - α²)) for the squared correlations α² of scores and fit.
        """
        squares = self.axes.squares
        fit = squares / (squares + self.regression.ridge)
        roots = np.sqrt(self._shares)
        with single_threaded_blas():
            products = self.along.T @ (fit[:, None] * self.along) / self._n
            correlations, scores = eigh(products / np.outer(roots, roots))
            correlations = correlations[::-1][:components].clip(_ROUNDING, 1.0 - _ROUNDING)
            scores = scores[:, ::-1][:, :components] / roots[:, None]
            scales = 1.0 / np.sqrt(correlations * (1.0 - correlations))
            coefficients = fit[:, None] * (self.along @ (scores * scales))
        return self.axes.weights(coefficients)
