"""The levels of a premodel: binary classifiers, kept as plain arrays.

scikit-learn learns the tree and the support vectors. What they learned is kept as numbers and
evaluated here, so that a file holds no pickle.
"""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from slicing.checks import one_of
from slicing.errors import InputError
from slicing.neighbors.exact import kneighbors

Kind = Literal["knn", "tree", "svm"]

K = 5
"""Neighbors that vote, as in the source."""

_DEPTH, _GAMMA = 16, 1.0

Arrays = dict[str, NDArray[Any]]


def learned(kind: Kind, features: NDArray[np.float32], is_right: NDArray[np.bool_]) -> Arrays:
    """Learn a level.

    Parameters
    ----------
    kind : {"knn", "tree", "svm"}
        The nearest neighbors, a decision tree of depth 16, or a support vector machine with
        Gaussian kernels.
    features : ndarray of shape (n, n_features), float32
    is_right : ndarray of shape (n,), bool

    Returns
    -------
    dict of str to ndarray
        What :func:`decided` takes.
    """
    one_of("level", kind, get_args(Kind))
    if kind == "knn":
        return {"features": features, "is_right": is_right}
    if is_right.all() or not is_right.any():
        # There is nothing to tell apart.
        return {"always": np.array([is_right.all()])}
    # Here, not above: a system that classifies needs none of it.
    from sklearn.svm import SVC
    from sklearn.tree import DecisionTreeClassifier

    if kind == "tree":
        tree = DecisionTreeClassifier(max_depth=_DEPTH, random_state=0).fit(features, is_right)
        nodes = tree.tree_
        yes = nodes.value[:, 0, 1] > nodes.value[:, 0, 0]
        return {
            "left": nodes.children_left, "right": nodes.children_right,
            "feature": nodes.feature, "threshold": nodes.threshold, "yes": yes,
        }  # fmt: skip
    found = SVC(gamma=_GAMMA).fit(features.astype(np.float64), is_right)
    return {
        "vectors": found.support_vectors_, "weights": found.dual_coef_[0],
        "intercept": found.intercept_,
    }  # fmt: skip


def decided(kind: Kind, arrays: Arrays, features: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Decide of features (n, n_features), float32: shape (n,), bool."""
    if "always" in arrays:
        return np.full(len(features), bool(arrays["always"][0]))
    if kind == "knn":
        _, near = kneighbors(features, arrays["features"], min(K, len(arrays["features"])))
        share: NDArray[np.float64] = arrays["is_right"][near].mean(axis=1)
        return share > 0.5
    if kind == "tree":
        return _by_tree(arrays, features)
    # Row by row, so that an image's sums do not depend on the others.
    sums = [
        np.exp(-_GAMMA * ((arrays["vectors"] - row) ** 2).sum(axis=1)) @ arrays["weights"]
        for row in features.astype(np.float64)
    ]
    yes: NDArray[np.bool_] = np.array(sums, np.float64) + arrays["intercept"][0] > 0.0
    return yes


def _by_tree(arrays: Arrays, features: NDArray[np.float32]) -> NDArray[np.bool_]:
    node, rows = np.zeros(len(features), np.int64), np.arange(len(features))
    for _ in range(_DEPTH):
        is_leaf = arrays["left"][node] < 0
        value = features[rows, np.where(is_leaf, 0, arrays["feature"][node])]
        below = np.where(
            value <= arrays["threshold"][node], arrays["left"][node], arrays["right"][node]
        )
        node = np.where(is_leaf, node, below)
    yes: NDArray[np.bool_] = arrays["yes"][node]
    return yes


def require_level(kind: Kind, arrays: Arrays, n_features: int) -> None:
    """Refuse arrays that are no level.

    Raises
    ------
    InputError, LookupError
    """
    one_of("level", kind, get_args(Kind))
    if "always" in arrays:
        fits = arrays["always"].shape == (1,)
    elif kind == "knn":
        known, is_right = arrays["features"], arrays["is_right"]
        fits = known.shape == (len(is_right), n_features) and len(known) > 0
    elif kind == "tree":
        fits = _is_tree(arrays, n_features)
    else:
        n = len(arrays["weights"])
        shapes = arrays["vectors"].shape, arrays["weights"].shape, arrays["intercept"].shape
        fits = shapes == ((n, n_features), (n,), (1,))
    if not fits:
        raise InputError(f"its level of the kind {kind} does not fit together")


def _is_tree(arrays: Arrays, n_features: int) -> bool:
    """Whether every branch leads to a node, and every node that is no leaf sees a feature."""
    names = ("left", "right", "feature", "threshold", "yes")
    n = len(arrays["left"])
    if not n or any(arrays[name].shape != (n,) for name in names):
        return False
    is_leaf = arrays["left"] < 0
    inner = [arrays[name][~is_leaf] for name in ("left", "right", "feature")]
    return all(
        not ((each < 0) | (each >= end)).any()
        for each, end in zip(inner, (n, n, n_features), strict=True)
    )
