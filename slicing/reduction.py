"""Fewer references of fewer numbers: what makes an engine small.

scikit-learn computes on one thread here: its sums depend on how many there are.
"""

from typing import Literal, get_args

import numpy as np
from numba import njit, prange
from numpy.linalg import LinAlgError
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from slicing.errors import InputError
from slicing.knn import Metric, check_metric, measure
from slicing.stack import Conv, ConvStack

Projection = Literal["pca", "lda"]

_COMPONENTS = 32


def most_components(kind: Projection, shape: tuple[int, int], n_classes: int) -> int:
    """Tell how many components features of a shape can have."""
    if kind not in get_args(Projection):
        raise InputError(f"projection={kind!r} is unknown: choose one of {get_args(Projection)}.")
    return min(shape) if kind == "pca" else min(shape[1], n_classes - 1)


def default_components(most: int) -> int:
    """Tell how many components there are where nobody says."""
    return min(most, _COMPONENTS)


def project(
    stack: ConvStack,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    kind: Projection,
    components: int | None = None,
) -> ConvStack:
    """Append a linear projection of the features, which is a convolution as large as its input.

    Parameters
    ----------
    stack : ConvStack
    features : ndarray of shape (n, n_features), float32
        Of the training images, which the projection is learnt from.
    labels : ndarray of shape (n,), int64
    kind : {"pca", "lda"}
        Principal components, or the linear discriminants of Fisher and Rao (with the shrinkage of
        Ledoit and Wolf), which are at most one fewer than the classes.
    components : int, optional
        Numbers that are left of the features; 32, or fewer where there are not so many.

    Returns
    -------
    ConvStack
        Its features are centred.

    Raises
    ------
    InputError
        More components than there can be, or an unknown kind.
    """
    most = most_components(kind, features.shape, len(np.unique(labels)))
    if components is None:
        components = default_components(most)
    if not 1 <= components <= most:
        raise InputError(f"components={components} is out of range for {kind}: choose 1 to {most}.")
    if kind == "pca":
        from sklearn.decomposition import PCA

        with threadpool_limits(1):
            axes = PCA(components, svd_solver="covariance_eigh").fit(features).components_.T
    else:
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        found = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto")
        try:
            with threadpool_limits(1):
                axes = found.fit(features, labels).scalings_[:, :components]
        except (ValueError, LinAlgError) as error:
            raise InputError(
                f"lda finds no discriminants in {len(labels)} images ({error}): take more images, "
                "or pca."
            ) from error
    weights = axes.reshape(*stack.feature_shape, components).astype(np.float32)
    bias = -features.mean(axis=0, dtype=np.float64) @ axes
    layer = Conv(np.ascontiguousarray(weights), bias.astype(np.float32), relu=False)
    return ConvStack((*stack.layers, layer), stack.input_shape)


def prototypes(
    features: NDArray[np.float32], labels: NDArray[np.int64], per_class: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Put the centres of k-means in the place of each class's references.

    Parameters
    ----------
    features : ndarray of shape (n, n_features), float32
    labels : ndarray of shape (n,), int64
    per_class : int
        Centres of each class; a class with fewer references keeps them all.
    seed : int

    Returns
    -------
    features : ndarray of shape (n_prototypes, n_features), float32
    labels : ndarray of shape (n_prototypes,), int64
    """
    from sklearn.cluster import KMeans

    if per_class < 1:
        raise InputError(f"per_class={per_class} is out of range: choose at least 1.")
    centres, of_class = [], []
    for label in np.unique(labels):
        members = features[labels == label]
        if len(members) > per_class:
            means = KMeans(per_class, n_init=1, random_state=seed)
            with threadpool_limits(1):
                members = means.fit(members).cluster_centers_
        centres.append(members)
        of_class.append(np.full(len(members), label))
    return np.concatenate(centres).astype(np.float32), np.concatenate(of_class)


def condense(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    metric: Metric,
    seed: int,
    least: int = 1,
) -> NDArray[np.int64]:
    """Choose references among which the nearest one classifies all others rightly.

    Hart, "The condensed nearest neighbor rule", IEEE Transactions on Information Theory 14(3),
    1968. (imbalanced-learn's class of that name keeps a whole class, and condenses the others
    against it, which is for another purpose.)

    Parameters
    ----------
    features : ndarray of shape (n, n_features), float32
    labels : ndarray of shape (n,), int64
    metric : {"euclidean", "cosine"}
    seed : int
        Of the order in which they are looked at.
    least : int, default=1
        How many to choose at least; where fewer suffice, the first in that order are added.

    Returns
    -------
    ndarray of shape (n_chosen,), int64
        Ascending indices.
    """
    cosine = check_metric(metric) == "cosine"
    lengths = np.linalg.norm(features.astype(np.float64), axis=1)
    inverses = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    order = np.random.default_rng(seed).permutation(len(features))
    chosen = _condense(features, labels, inverses, cosine, order)
    others = order[~chosen[order]]
    chosen[others[: max(least - chosen.sum(), 0)]] = True
    return np.flatnonzero(chosen)


@njit(parallel=True, cache=True)
def _take_in(features, inverses, cosine, i, nearest, distances):  # type: ignore[no-untyped-def]
    """Let reference i be the nearest of all to which it is."""
    for j in prange(len(features)):
        distance = measure(features[j], features[i], inverses[j] * inverses[i], cosine)
        if distance < distances[j] or (distance == distances[j] and i < nearest[j]):
            distances[j], nearest[j] = distance, i


@njit(cache=True)
def _condense(features, labels, inverses, cosine, order):  # type: ignore[no-untyped-def]
    """Tell of each reference whether it is chosen."""
    chosen = np.zeros(len(features), np.bool_)
    nearest, distances = np.full(len(features), -1), np.full(len(features), np.inf)
    changed = True
    while changed:
        changed = False
        for i in order:
            if not chosen[i] and (nearest[i] < 0 or labels[nearest[i]] != labels[i]):
                chosen[i] = changed = True
                _take_in(features, inverses, cosine, i, nearest, distances)
    return chosen
