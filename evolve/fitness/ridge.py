"""Ridge regression on features of which a few change, with every image left out in turn: exact.

Binding takes what the still features explain out of the others, once. A candidate then takes two
products with the still features, and a linear system as large as the number of features it changes.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize_scalar

from evolve.fitness.ridge_kernels import (
    BLOCK,
    add_scatter,
    center,
    errors,
    partial_out,
    squares,
    turn,
    whiten,
)
from evolve.roles import Roles
from slicing.threads import single_threaded_blas

# References whose products are summed in float32, and then in float64.
_CHUNK = 512
# Powers of ten among which the ridge is searched, in units of the scatter matrix's mean diagonal,
# and how exactly. With few images a smaller one leaves 1 - h less than float32 can tell.
_EXPONENTS, _TOLERANCE = (-3.0, 2.0), 0.1


def _reflection(
    root: NDArray[np.float64], columns: NDArray[np.intp]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give the reflection that moves a basis of some columns of ``root``'s inverse to the front.

    Parameters
    ----------
    root : ndarray of shape (n, n), float64
        Lower triangular.
    columns : ndarray of shape (n_columns,), intp

    Returns
    -------
    directions : ndarray of shape (n, n_columns), float32
    weights : ndarray of shape (n_columns, n - n_columns), float32
        The last rows of the reflected ``x`` are those of ``x`` less ``weights.T directions.T x``.
    """
    unit = np.zeros((len(root), len(columns)))
    unit[columns, np.arange(len(columns))] = 1.0
    basis, _ = np.linalg.qr(solve_triangular(root, unit, lower=True))
    # The nearest orthogonal matrix to the first rows, negated: never near the basis itself.
    left, _, right = np.linalg.svd(basis[: len(columns)])
    basis[: len(columns)] += left @ right
    weights = np.linalg.solve(basis.T @ basis / 2.0, basis[len(columns) :].T)
    return basis.astype(np.float32), weights.astype(np.float32)


class LeaveOneOutRidge:
    """Regresses the classes' indicators on features, for candidates that change some of them.

    The error of a query that is a reference itself is that of the regression on all others, by
    e / (1 - h) with its leverage h (Allen, Technometrics 16(1), 1974).

    Parameters
    ----------
    features : ndarray of shape (n_images, n_features), float32
    targets : ndarray of shape (n_images, n_classes), float64
    roles : Roles
    ridge : float, optional
        By default one that gives these features about the least loss.

    Attributes
    ----------
    ridge : float
        Added to the diagonal of the scatter matrix of the features.
    """

    def __init__(
        self,
        features: NDArray[np.float32],
        targets: NDArray[np.float64],
        roles: Roles,
        ridge: float | None = None,
    ) -> None:
        self._roles = roles
        self._targets = targets - targets[roles.references].mean(axis=0)
        self._features = np.empty_like(features)
        center(features.copy()[None], roles.n_references, self._features)
        self.ridge = self._best_ridge() if ridge is None else ridge

    @property
    def loss(self) -> float:
        """Mean squared error of the queries, over all classes, under the features as they are.

        Infinite where float32 cannot resolve it.
        """
        return self._loss(self._whitened)

    def bind(self, columns: NDArray[np.intp]) -> None:
        """Let candidates replace some features.

        With the scatter matrix ``root root.T``, all features predict by ``U U.T`` from
        ``U = features root^-T``, and all but some by ``U (I - Q Q.T) U.T``, where the columns of
        ``Q`` are an orthonormal basis of those of ``root^-1`` that belong to the others: this is
        the inverse of a part of a matrix by blocks. A reflection moves the basis to the first
        columns, which are then left out: a regression on the still features, without another
        factorization.
        """
        whitened, n_references = self._whitened, self._roles.n_references
        n_images, n_features = whitened.shape
        n_still = n_features - len(columns)
        still = np.empty((n_images, n_still), np.float32)
        transposed = np.empty((n_still, n_references), np.float32)
        with single_threaded_blas():
            if n_still:
                directions, weights = _reflection(self._root, columns)
                turn(whitened, directions, weights, still, transposed)
            self._still, self._transposed = still, transposed
            residuals, self._leverages = self._regress(still)
            self._residuals = residuals.astype(np.float32)

    def query_losses(self, moving: NDArray[np.float32]) -> NDArray[np.float64]:
        """Evaluate candidates, query by query.

        Parameters
        ----------
        moving : ndarray of shape (n_candidates, n_images, n_columns), float32
            Their features instead of the bound ones; they are centered in place.

        Returns
        -------
        ndarray of shape (n_candidates, n_queries), float64
            Squared error of each query, over all classes; infinite where features overflow.
        """
        n_candidates, n_images, n_columns = moving.shape
        n_references = self._roles.n_references
        flat = np.empty((n_images, n_candidates * n_columns), np.float32)
        rest = np.empty_like(moving)
        losses = np.empty((n_candidates, self._roles.n_queries))
        with single_threaded_blas():
            center(moving, n_references, flat)
            partial_out(self._still, self._transposed, flat, rest)
            errors(moving, rest, self._residuals, self._leverages, n_references, self.ridge, losses)
        return losses

    def _regress(
        self, whitened: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Regress on features whose scatter matrix, with the ridge, is the unit matrix.

        Returns
        -------
        residuals : ndarray of shape (n_images, n_classes), float64
        leverages : ndarray of shape (n_references,), float64
            Empty where the references are not the queries.
        """
        n = self._roles.n_references
        with single_threaded_blas():
            shared = whitened[:n].T @ self._targets[:n].astype(np.float32)
            residuals = self._targets - whitened @ shared
        if not self._roles.leave_one_out:
            return residuals, np.empty(0)
        leverages = np.empty(n)
        squares(whitened, leverages)
        leverages += 1.0 / n
        return residuals, leverages

    def _loss(self, whitened: NDArray[np.float32]) -> float:
        residuals, leverages = self._regress(whitened)
        errors = residuals[self._roles.queries]
        if self._roles.leave_one_out:
            left = 1.0 - leverages
            if left.min() <= 0.0:
                return float("inf")
            errors = errors / left[:, None]
        return float((errors**2).sum(axis=1).mean())

    @cached_property
    def _root(self) -> NDArray[np.float64]:
        return self._root_with(self.ridge)

    @cached_property
    def _whitened(self) -> NDArray[np.float32]:
        return self._whitened_by(self._root)

    def _root_with(self, ridge: float) -> NDArray[np.float64]:
        """Cholesky factor of the scatter matrix with a ridge."""
        scatter = self._scatter.copy()
        scatter[np.diag_indices_from(scatter)] += ridge
        with single_threaded_blas():
            root: NDArray[np.float64] = cholesky(scatter, lower=True, overwrite_a=True)
        return root

    def _whitened_by(self, root: NDArray[np.float64]) -> NDArray[np.float32]:
        """Features times the inverse of the transposed root."""
        starts = range(0, len(root), BLOCK)
        below = [root[i : i + BLOCK, :i].ravel() for i in starts]
        blocks = [root[i : i + BLOCK, i : i + BLOCK] for i in starts]
        whitened = np.empty_like(self._features)
        with single_threaded_blas():
            inverses = [solve_triangular(b, np.eye(len(b)), lower=True).ravel() for b in blocks]
            whiten(
                self._features,
                np.concatenate(below).astype(np.float32),
                np.concatenate(inverses).astype(np.float32),
                whitened,
            )
        return whitened

    @cached_property
    def _scatter(self) -> NDArray[np.float64]:
        """Lower triangle of the scatter matrix of the references' features."""
        products = np.zeros((self._features.shape[1],) * 2)
        n = self._roles.n_references
        with single_threaded_blas():
            for start in range(0, n, _CHUNK):
                add_scatter(self._features[start : min(start + _CHUNK, n)], products)
        return products

    def _best_ridge(self) -> float:
        """Search for the ridge that gives the features as they are the least loss."""
        unit = float(self._scatter.diagonal().mean()) or 1.0

        def loss(exponent: float) -> float:
            return self._loss(self._whitened_by(self._root_with(unit * 10.0**exponent)))

        found = minimize_scalar(
            loss, bounds=_EXPONENTS, method="bounded", options={"xatol": _TOLERANCE}
        )
        return float(unit * 10.0**found.x)
