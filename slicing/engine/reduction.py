"""Make an engine small: fewer references, and fewer numbers in each.

BLAS and scikit-learn run on one thread here: their sums depend on the number of threads.
"""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from numba import njit, prange
from numpy.linalg import LinAlgError
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, eigh
from threadpoolctl import threadpool_limits

from slicing.checks import at_least, between, one_of
from slicing.data.dataset import Images
from slicing.engine.penalized import PenalizedDiscriminants
from slicing.errors import InputError
from slicing.neighbors.exact import Metric, measure
from slicing.scatter import add_products, check_size, completed, shrunk
from slicing.shifts import corners, largest_shift, shifted
from slicing.stack import Conv, ConvStack
from slicing.threads import single_threaded_blas

ProjectionKind = Literal["pca", "lda", "pda"]

_COMPONENTS = 32
# Features of one chunk of images, in float64, take 26 MB with the default network.
_CHUNK = 2048
# Ratios of variances that are smaller than this, relative to the largest, are rounding.
_NOTHING = 1e-12


def check_components(
    kind: ProjectionKind, components: int | None, shape: tuple[int, int], n_classes: int
) -> int:
    """Refuse a projection that cannot be made.

    Parameters
    ----------
    kind : {"pca", "lda", "pda"}
    components : int or None
        None: 32, or fewer where there are not so many.
    shape : (int, int)
        Number of images and of features.
    n_classes : int
        Number of classes that have images.

    Returns
    -------
    int
        Number of components.

    Raises
    ------
    InputError
        More components than there can be, an unknown kind, too many features.
    """
    one_of("projection", kind, get_args(ProjectionKind))
    check_size(shape[1])
    most = min(shape) if kind == "pca" else min(shape[1], n_classes - 1)
    if components is None:
        return min(most, _COMPONENTS)
    between("components", components, 1, most, f"for {kind}")
    return components


def project(
    stack: ConvStack,
    images: Images,
    kind: ProjectionKind,
    components: int | None = None,
    shift: int = 0,
    show: Callable[[float], None] = lambda done: None,
) -> ConvStack:
    """Append a linear projection of the features: a convolution as large as its input.

    Parameters
    ----------
    stack : ConvStack
    images : Images
        The training images, from which the projection is learned.
    kind : {"pca", "lda", "pda"}
        Principal components, or the linear discriminants of Fisher and Rao with the shrinkage of
        Chen et al. ("Shrinkage algorithms for MMSE covariance estimation", IEEE Transactions on
        Signal Processing 58(10), 2010, equation 23), which are at most one fewer than the classes
        and have unit variance within them. Copies do not count as further images there. Or the
        discriminants of a ridge regression that is chosen by leaving images out, see
        :mod:`slicing.engine.penalized`; it takes no copies.
    components : int, optional
        Numbers that the projection leaves; by default 32, or as many as there can be.
    shift : int, default=0
        The projection is also learned from copies of the images, shifted by up to so many pixels in
        each direction.
    show : callable, optional
        Called with the part that is done, from 0 to below 1.

    Returns
    -------
    ConvStack
        Its features are centered, over the images and their copies.

    Raises
    ------
    InputError
        More components than there can be, an unknown kind, or a shift out of range.
    """
    n_features = int(np.prod(stack.feature_shape))
    n_classes = len(np.unique(images.labels))
    components = check_components(kind, components, (len(images), n_features), n_classes)
    check_shift(kind, shift, stack)
    if kind == "pda":
        features = stack.forward(images.images)
        found = PenalizedDiscriminants(features, images.labels)
        if not len(found.axes.squares):
            raise _none_found(kind, images, "all have the same features")
        return _projected(stack, found.axes.mean, found.weights(components))
    mean, apart, within = _moments(stack, images, shift, show)
    with single_threaded_blas():
        try:
            if kind == "pca":
                last = [n_features - components, n_features - 1]
                axes = eigh(apart.T @ apart + within, subset_by_index=last)[1][:, ::-1]
            else:
                axes = _discriminants(apart, shrunk(within, len(images)), components)
        except (ValueError, LinAlgError) as error:
            raise _none_found(kind, images, error) from error
    return _projected(stack, mean, axes)


def _none_found(kind: str, images: Images, reason: object) -> InputError:
    return InputError(
        f"{kind} finds no components in {len(images)} images ({reason}): take more images, or "
        "other kernels."
    )


def check_shift(kind: ProjectionKind, shift: int, stack: ConvStack) -> None:
    """Refuse copies that a projection cannot be learned from.

    Raises
    ------
    InputError
    """
    between("shift", shift, 0, largest_shift(stack.input_shape), "pixels")
    if kind == "pda" and shift:
        raise InputError(
            f"shift={shift} adds copies, and pda leaves out one image at a time: set shift=0, or "
            "choose lda.",
            "shift",
        )


def _projected(stack: ConvStack, mean: NDArray[np.float64], axes: NDArray[np.float64]) -> ConvStack:
    """Append the projection on axes of shape (n_features, components), from the mean on."""
    with single_threaded_blas():
        bias = -mean @ axes
    weights = axes.reshape(*stack.feature_shape, -1).astype(np.float32)
    layer = Conv(np.ascontiguousarray(weights), bias.astype(np.float32), relu=False)
    return ConvStack((*stack.layers, layer), stack.input_shape)


def _moments(
    stack: ConvStack, images: Images, shift: int, show: Callable[[float], None]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Compute the mean of the features, and their spread between and within the classes.

    Returns
    -------
    mean : ndarray of shape (n_features,), float64
    apart : ndarray of shape (n_classes, n_features), float64
        Differences of the classes' means from it, weighted so that ``apart.T @ apart`` is the
        covariance between the classes.
    within : ndarray of shape (n_features, n_features), float64
        Covariance within the classes.
    """
    n_features = int(np.prod(stack.feature_shape))
    n_classes = int(images.labels.max()) + 1
    sums, products = np.zeros((n_classes, n_features)), np.zeros((n_features, n_features))
    for start in range(0, len(images), _CHUNK):
        show(start / len(images))
        part = images[start : start + _CHUNK]
        of_class = (part.labels == np.arange(n_classes)[:, None]).astype(np.float64)
        for copy in shifted(part.images, shift):
            features = stack.forward(copy)
            with single_threaded_blas():
                sums += of_class @ features
            add_products(features, products)
    counts = len(corners(shift)) * np.bincount(images.labels, minlength=n_classes)
    n = counts.sum()
    mean = sums.sum(axis=0) / n
    means = sums / np.maximum(counts, 1)[:, None]
    with single_threaded_blas():
        within = completed(products) / n - (means.T * (counts / n)) @ means
    return mean, (means - mean) * np.sqrt(counts / n)[:, None], within


def _discriminants(
    apart: NDArray[np.float64], within: NDArray[np.float64], components: int
) -> NDArray[np.float64]:
    """Find the axes that separate the classes most, with unit variance within them.

    They lie in the span of ``within⁻¹ apart.T``, so only a problem of n_classes × n_classes is left
    to solve.
    """
    solved = cho_solve(cho_factor(within, lower=True), apart.T)
    ratios, mixtures = eigh(apart @ solved)
    ratios, mixtures = ratios[::-1][:components], mixtures[:, ::-1][:, :components]
    # Axes along which the means do not differ become 0.
    is_there = ratios > ratios[0] * _NOTHING
    scales = np.divide(1.0, np.sqrt(np.maximum(ratios, 0.0)), where=is_there, out=0.0 * ratios)
    axes: NDArray[np.float64] = (solved @ mixtures) * scales
    return axes


def class_centers(
    features: NDArray[np.float32], labels: NDArray[np.int64], per_class: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Replace each class's references by the centers of k-means.

    Parameters
    ----------
    features : ndarray of shape (n, n_features), float32
    labels : ndarray of shape (n,), int64
    per_class : int
        Centers of each class. A class with no more references than that keeps them all.
    seed : int

    Returns
    -------
    features : ndarray of shape (n_prototypes, n_features), float32
    labels : ndarray of shape (n_prototypes,), int64
    """
    from sklearn.cluster import KMeans

    at_least("per_class", per_class, 1)
    centers, of_class = [], []
    for label in np.unique(labels):
        members = features[labels == label]
        if len(members) > per_class:
            means = KMeans(per_class, n_init=1, random_state=seed)
            with threadpool_limits(1):
                members = means.fit(members).cluster_centers_
        centers.append(members)
        of_class.append(np.full(len(members), label))
    return np.concatenate(centers).astype(np.float32), np.concatenate(of_class)


def condense(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    metric: Metric,
    seed: int,
    least: int = 1,
) -> NDArray[np.int64]:
    """Choose references whose nearest one gives every other reference its own class.

    Hart, "The condensed nearest neighbor rule", IEEE Transactions on Information Theory 14(3),
    1968. (imbalanced-learn's class of that name does something else: it keeps one class whole.)

    Parameters
    ----------
    features : ndarray of shape (n, n_features), float32
    labels : ndarray of shape (n,), int64
    metric : {"euclidean", "cosine"}
    seed : int
        Seeds the order in which references are looked at.
    least : int, default=1
        Number to choose at least: where fewer suffice, the first others in that order are added.

    Returns
    -------
    ndarray of shape (n_chosen,), int64
        Ascending indices.
    """
    one_of("metric", metric, get_args(Metric))
    cosine = metric == "cosine"
    lengths = np.linalg.norm(features.astype(np.float64), axis=1)
    inverses = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    order = np.random.default_rng(seed).permutation(len(features))
    chosen = _condense(features, labels, inverses, cosine, order)
    others = order[~chosen[order]]
    chosen[others[: max(least - chosen.sum(), 0)]] = True
    return np.flatnonzero(chosen)


@njit(parallel=True, cache=True)
def _take_in(features, inverses, cosine, i, nearest, distances):  # type: ignore[no-untyped-def]
    """Choose reference i: update the nearest chosen reference of all others."""
    for j in prange(len(features)):
        distance = measure(features[j], features[i], inverses[j] * inverses[i], cosine)
        if distance < distances[j] or (distance == distances[j] and i < nearest[j]):
            distances[j], nearest[j] = distance, i


@njit(cache=True)
def _condense(features, labels, inverses, cosine, order):  # type: ignore[no-untyped-def]
    """Return for each reference whether it is chosen."""
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
