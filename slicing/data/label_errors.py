"""Find images whose labels are probably wrong: confident learning on the answers of a probe.

The probe is linear discriminants, which are learned from four fifths of the images and asked about
the last, five times. Copies of an image are in one fifth, or it would be asked about what it knows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from slicing.data.sampling import group_end, grouped_order
from slicing.errors import InputError, installing
from slicing.scatter import add_products, check_size, completed, shrunk
from slicing.threads import single_threaded_blas

FOLDS = 5
"""Parts of the images, of which each is asked about when the probe has learned the others."""

LEAST_ACCURACY = 0.75
"""Share of right answers below which a probe cannot tell wrong labels from its own errors."""

# Vectors that are added up at a time, and what is added to each variance, as a part of all.
_CHUNK, _RIDGE = 2048, 1e-9
# Exponents of e between which the temperature is looked for.
_TEMPERATURES = -6.0, 2.0


@dataclass(frozen=True)
class Suspects:
    """What a probe says of the labels.

    Attributes
    ----------
    indices : ndarray of shape (n_suspects,), intp
        Images whose labels are probably wrong, the least probable label first.
    probabilities : ndarray of shape (n, n_classes), float64
        Of each class, for each image, by a probe that has not seen it.
    is_checked : ndarray of shape (n,), bool
        Whether the probe had seen others of the image's class.
    accuracy : float
        Share of the checked images whose label is the most probable class.
    """

    indices: NDArray[np.intp]
    probabilities: NDArray[np.float64]
    is_checked: NDArray[np.bool_]
    accuracy: float


def find_label_errors(
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64],
    n_classes: int,
    groups: NDArray[np.intp],
    seed: int = 0,
) -> Suspects:
    """Find images whose labels are probably wrong.

    Parameters
    ----------
    vectors : ndarray of shape (n, n_features), float32
        Features of the images, or pixels.
    labels : ndarray of shape (n,), int64
        Class indices, 0 to n_classes - 1.
    n_classes : int
    groups : ndarray of shape (n,), intp
        Images of equal numbers are copies of each other.
    seed : int
        Of the five parts, 0 to 2**32 - 1.

    Returns
    -------
    Suspects
        By C. Northcutt, L. Jiang and I. Chuang, "Confident Learning: Estimating Uncertainty in
        Dataset Labels", Journal of Artificial Intelligence Research 70 (2021), as cleanlab has it.

    Raises
    ------
    InputError
        Without cleanlab, for too few images, for too many features, and where the probe is right
        so rarely that it tells nothing.
    """
    try:
        # Here, not above: it is an extra.
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        raise InputError(
            f"cleanlab is not installed, which finds wrong labels: {installing('inspect')}"
        ) from error
    check_size(vectors.shape[1])
    scores, is_checked = _out_of_fold(vectors, labels, n_classes, groups, seed)
    is_right = scores.argmax(axis=1) == labels
    accuracy = float(np.mean(is_right[is_checked])) if is_checked.any() else 0.0
    if accuracy < LEAST_ACCURACY:
        raise InputError(
            f"A probe that sees no more than this gets {100 * accuracy:.0f} % of the images right, "
            f"and below {100 * LEAST_ACCURACY:.0f} % its own errors hide those of the labels."
        )
    probabilities = _calibrated(scores, labels, is_checked)
    classes, known = np.unique(labels[is_checked], return_inverse=True)
    suspects = find_label_issues(
        known,
        probabilities[np.ix_(is_checked, classes)],
        return_indices_ranked_by="self_confidence",
        n_jobs=1,
    )
    (checked,) = np.nonzero(is_checked)
    return Suspects(checked[suspects], probabilities, is_checked, accuracy)


def _out_of_fold(
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64],
    n_classes: int,
    groups: NDArray[np.intp],
    seed: int,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Give scores (n, n_classes) of probes that have not seen the image, and of which they can."""
    order = grouped_order(labels, groups, seed)
    sizes = (round(part * len(order) / FOLDS) for part in range(1, FOLDS))
    ends = sorted({group_end(groups[order], labels[order], size) for size in sizes})
    scores = np.full((len(labels), n_classes), -np.inf)
    for fold in np.split(order, ends):
        others = np.setdiff1d(order, fold, assume_unique=True)
        classes = np.unique(labels[others])
        scores[np.ix_(fold, classes)] = _discriminants(
            vectors[others], np.searchsorted(classes, labels[others]), vectors[fold]
        )
    return scores, np.isfinite(scores[np.arange(len(labels)), labels])


def _discriminants(
    known: NDArray[np.float32], labels: NDArray[np.intp], asked: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Give the logarithms of the classes' probabilities, but for a constant of each image.

    The classes are Gaussians of one covariance, which is shrunk.
    """
    counts = np.bincount(labels)
    means = np.stack([known[labels == label].mean(axis=0) for label in range(len(counts))])
    products = np.zeros((known.shape[1],) * 2)
    for start in range(0, len(known), _CHUNK):
        part = slice(start, start + _CHUNK)
        add_products(known[part] - means[labels[part]], products)
    covariance = shrunk(completed(products) / len(known), len(known))
    # What is the same in all images has no variance, and tells nothing.
    covariance.flat[:: len(covariance) + 1] += max(_RIDGE * np.trace(covariance), _RIDGE)
    with single_threaded_blas():
        weights = cho_solve(cho_factor(covariance), means.T.astype(np.float64))
        biases = np.log(counts / len(known)) - 0.5 * np.sum(means.T * weights, axis=0)
        scores: NDArray[np.float64] = asked @ weights + biases
    return scores


def _calibrated(
    scores: NDArray[np.float64], labels: NDArray[np.int64], is_checked: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Turn scores into probabilities that are as sure as they are right: by one temperature.

    C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    seen, right = scores[is_checked], labels[is_checked]

    def loss(exponent: float) -> float:
        logs = log_softmax(np.exp(exponent) * seen, axis=1)
        return -float(np.mean(logs[np.arange(len(seen)), right]))

    exponent = minimize_scalar(loss, bounds=_TEMPERATURES, method="bounded").x
    probabilities: NDArray[np.float64] = softmax(np.exp(exponent) * scores, axis=1)
    return probabilities
