"""Logistic regression, learned by scikit-learn and kept as plain numbers."""

import numpy as np
from numpy.typing import NDArray

# Penalty: weak beside hundreds of images, and enough for classes without an error.
_C = 10.0


def fitted(observed: NDArray[np.float64], is_right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Learn the probability that something is right.

    Right and wrong aim at (n + 1) / (n + 2) and 1 / (n + 2), so that also observations of one kind
    alone teach something. Source: J. Platt, "Probabilistic outputs for support vector machines",
    1999, section 2.2.

    Parameters
    ----------
    observed : ndarray of shape (n, n_signals), float64
    is_right : ndarray of shape (n,), bool

    Returns
    -------
    ndarray of shape (n_signals + 1,), float64
        The intercept, then the weights.
    """
    # Here, not above: a system that classifies needs none of it.
    from sklearn.linear_model import LogisticRegression

    n_right = int(is_right.sum())
    n_wrong = len(is_right) - n_right
    aims = np.where(is_right, (n_right + 1) / (n_right + 2), 1 / (n_wrong + 2))
    found = LogisticRegression(C=_C, solver="newton-cholesky", tol=1e-8).fit(
        np.vstack([observed, observed]),
        np.repeat([True, False], len(observed)),
        np.concatenate([aims, 1 - aims]),
    )
    return np.concatenate([found.intercept_, found.coef_[0]])


def probabilities(
    weights: NDArray[np.float64], observed: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Give the probabilities of observations (n, n_signals): shape (n,), float64."""
    # Row by row, not as a product of matrices, whose sums depend on the number of rows.
    logits = weights[0] + (observed * weights[1:]).sum(axis=1)
    found: NDArray[np.float64] = 0.5 + 0.5 * np.tanh(0.5 * logits)
    return found
