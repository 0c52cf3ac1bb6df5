"""Ridge regression on features of which a few change, with every image left out in turn: exact.

Binding takes what the still features explain out of the others, once. A candidate then takes two
products with the still features, and a linear system as large as the number of features it changes.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize_scalar

from evolve.roles import Roles
from slicing.scatter import add_products, completed
from slicing.threads import single_threaded_blas

# Rows of one product, at most, and threads that the products are to be even shares of.
_TILE, _SHARES = 256, 8
# References whose features are held in float64 at a time.
_CHUNK = 4096
# Powers of ten among which the ridge is searched, in units of the scatter matrix's mean diagonal,
# and how exactly. With few images a smaller one leaves 1 - h less than float32 can tell.
_EXPONENTS, _TOLERANCE = (-3.0, 2.0), 0.1


@njit(cache=True)
def _rows(n):  # type: ignore[no-untyped-def]
    """Rows of each product of ``n``: the same sums for any number of threads."""
    n_products = _SHARES * max(1, (n + _SHARES * _TILE - 1) // (_SHARES * _TILE))
    return max(1, (n + n_products - 1) // n_products)


@njit(parallel=True, cache=True)
def _partial_out(whitened, transposed, moving, features, rest):  # type: ignore[no-untyped-def]
    """Take what the still features explain out of ``moving``, and separate the candidates.

    Parameters
    ----------
    whitened : (n_images, n_still), float32
    transposed : (n_still, n_references), float32
        The first rows of ``whitened``.
    moving : (n_images, n_candidates * n_moving), float32
    features, rest : (n_candidates, n_images, n_moving), float32
        Filled: ``moving`` candidate by candidate, and what the still features leave of it.
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
                    value = moving[i, p * n_moving + j]
                    features[p, i, j] = value
                    rest[p, i, j] = value - explained[i - start, p * n_moving + j]


@njit(cache=True)
def _errors_of(features, partial, residuals, leverages, ridge, losses):  # type: ignore[no-untyped-def]
    """Squared errors of the queries under one candidate: see :func:`_errors`.

    Parameters
    ----------
    features : (n_references, n_moving), float64
    partial : (n_images, n_moving), float64
    residuals, leverages, ridge
    losses : (n_queries,), float64
    """
    n_references, n_moving = features.shape
    gram = np.dot(features.T, partial[:n_references])
    for j in range(n_moving):
        for i in range(j):
            gram[i, j] = gram[j, i] = (gram[i, j] + gram[j, i]) / 2.0
        gram[j, j] += ridge
    if not np.isfinite(gram.sum()):
        losses[:] = np.inf
        return
    inverse = np.linalg.inv(gram)
    weights = np.dot(inverse, np.dot(features.T, residuals[:n_references]))
    n_queries = len(losses)
    explained = np.dot(partial[-n_queries:], weights)
    for i in range(n_queries):
        query = len(residuals) - n_queries + i
        error = 0.0
        for c in range(residuals.shape[1]):
            error += (residuals[query, c] - explained[i, c]) ** 2
        losses[i] = error
    if len(leverages):
        spread = np.dot(partial, inverse)
        for i in range(n_queries):
            left = 1.0 - leverages[i]
            for j in range(n_moving):
                left -= spread[i, j] * partial[i, j]
            # Only rounding can leave nothing: of features of too different sizes.
            losses[i] = losses[i] / left**2 if left > 0.0 else np.inf


@njit(parallel=True, cache=True)
def _errors(features, rest, residuals, leverages, n_references, ridge, losses):  # type: ignore[no-untyped-def]
    """Squared errors of the queries under each candidate.

    Parameters
    ----------
    features, rest : (n_candidates, n_images, n_moving), float32
        The centered features of every candidate, and the part that the still ones do not explain.
    residuals : (n_images, n_classes), float64
        Of the regression on the still features.
    leverages : (n_references,), float64
        Of the references in it; empty where the references are not the queries.
    n_references : int
    ridge : float
    losses : (n_candidates, n_queries), float64
        Filled.
    """
    for p in prange(len(features)):
        own = features[p, :n_references].astype(np.float64)
        partial = rest[p].astype(np.float64)
        _errors_of(own, partial, residuals, leverages, ridge, losses[p])


@dataclass(frozen=True, eq=False)
class _Still:
    """The regression on the features that stand still.

    Attributes
    ----------
    whitened : ndarray of shape (n_images, n_still), float32
    transposed : ndarray of shape (n_still, n_references), float32
        Its first rows.
    residuals : ndarray of shape (n_images, n_classes), float64
    leverages : ndarray of shape (n_references,), float64
        Empty where the references are not the queries.
    """

    whitened: NDArray[np.float32]
    transposed: NDArray[np.float32]
    residuals: NDArray[np.float64]
    leverages: NDArray[np.float64]


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
        self._features = self._centered(features)
        self.ridge = self._best_ridge() if ridge is None else ridge

    @property
    def loss(self) -> float:
        """Mean squared error of the queries, over all classes, under the features as they are.

        Infinite where float32 cannot resolve it. Bound features stay bound.
        """
        still = self._fit(np.arange(0))
        errors = still.residuals[self._roles.queries]
        if self._roles.leave_one_out:
            left = 1.0 - still.leverages
            if left.min() <= 0.0:
                return float("inf")
            errors = errors / left[:, None]
        return float((errors**2).sum(axis=1).mean())

    def bind(self, columns: NDArray[np.intp]) -> None:
        """Let candidates replace some features."""
        self._still = self._fit(columns)

    def _fit(self, columns: NDArray[np.intp]) -> _Still:
        """Regress on all features but some."""
        n = self._roles.n_references
        still = np.delete(np.arange(self._features.shape[1]), columns)
        whitened = np.empty((0, len(self._features)), np.float32)
        with single_threaded_blas():
            if len(still):
                scatter = self._scatter[np.ix_(still, still)]
                scatter[np.diag_indices_from(scatter)] += self.ridge
                root = cholesky(scatter, lower=True).astype(np.float32)
                whitened = solve_triangular(root, self._features[:, still].T, lower=True)
            transposed = np.ascontiguousarray(whitened[:, :n])
            whitened = np.ascontiguousarray(whitened.T)
            shared = transposed @ self._targets[:n].astype(np.float32)
            residuals = self._targets - whitened @ shared
        leverages = np.empty(0)
        if self._roles.leave_one_out:
            squares = np.einsum("ij,ij->i", whitened, whitened, dtype=np.float64)
            leverages = 1.0 / n + squares
        return _Still(whitened, transposed, residuals, leverages)

    def query_losses(self, moving: NDArray[np.float32]) -> NDArray[np.float64]:
        """Evaluate candidates, query by query.

        Parameters
        ----------
        moving : ndarray of shape (n_images, n_candidates, n_columns), float32
            Their features instead of the bound ones.

        Returns
        -------
        ndarray of shape (n_candidates, n_queries), float64
            Squared error of each query, over all classes; infinite where features overflow.
        """
        still = self._still
        n_images, n_candidates, n_columns = moving.shape
        flat = self._centered(moving.reshape(n_images, n_candidates * n_columns))
        features = np.empty((n_candidates, n_images, n_columns), np.float32)
        rest = np.empty_like(features)
        losses = np.empty((n_candidates, self._roles.n_queries))
        with single_threaded_blas():
            _partial_out(still.whitened, still.transposed, flat, features, rest)
            _errors(
                features, rest, still.residuals, still.leverages, self._roles.n_references,
                self.ridge, losses,
            )  # fmt: skip
        return losses

    @cached_property
    def _scatter(self) -> NDArray[np.float64]:
        """Scatter matrix of the references' features."""
        products = np.zeros((self._features.shape[1],) * 2)
        n = self._roles.n_references
        for start in range(0, n, _CHUNK):
            add_products(self._features[start : min(start + _CHUNK, n)], products)
        return completed(products)

    def _centered(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        # Candidates whose features overflow get an infinite loss, and no warning.
        with np.errstate(over="ignore", invalid="ignore"):
            mean = features[self._roles.references].mean(axis=0, dtype=np.float64)
            centered: NDArray[np.float32] = features - mean.astype(np.float32)
        return centered

    def _best_ridge(self) -> float:
        """Search for the ridge that gives the features as they are the least loss."""
        unit = float(self._scatter.diagonal().mean()) or 1.0

        def loss(exponent: float) -> float:
            self.ridge = unit * 10.0**exponent
            return self.loss

        found = minimize_scalar(
            loss, bounds=_EXPONENTS, method="bounded", options={"xatol": _TOLERANCE}
        )
        return float(unit * 10.0**found.x)
