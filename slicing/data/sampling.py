"""Choose images: in stratified order, and with every class."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slicing.checks import between
from slicing.errors import InputError


def stratified_order(labels: NDArray[np.int64], seed: int) -> NDArray[np.intp]:
    """Return a random order whose first s images are a stratified sample, for every s.

    Parameters
    ----------
    labels : ndarray of shape (n,), int64
    seed : int
        0 to 2**32 - 1.

    Returns
    -------
    ndarray of shape (n,), intp
        A permutation. Where C classes share n images and p is the share of one of them, the first
        s of the order hold at least p (s - C) and at most p s + 1 of that class; from s = C on,
        at least one.

    Notes
    -----
    This is Adams' rule of apportionment: image j (from 0) of a class of m stands at position
    j / m; equal positions are ordered at random. Samples of all sizes are nested.
    """
    between("seed", seed, 0, 2**32 - 1)
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        (members,) = np.nonzero(labels[shuffled] == label)
        place[members] = np.arange(len(members)) / len(members)
    return shuffled[np.argsort(place, kind="stable")]


def require_classes(
    labels: NDArray[np.int64],
    expected: NDArray[np.int64],
    classes: tuple[str, ...],
    source: Path,
    way_out: str,
) -> None:
    """Refuse training labels that lack a class of the expected labels.

    Parameters
    ----------
    labels : ndarray of shape (n,), int64
        Labels of the training images that were asked for.
    expected : ndarray of shape (m,), int64
        Labels of the images whose classes they must cover.
    classes : tuple of str
        Names of the classes, in label order.
    source : Path
        File of the expected labels, for the message.
    way_out : str
        What to do about it, for the message.

    Raises
    ------
    InputError
    """
    missing = np.setdiff1d(expected, labels)
    if len(missing):
        names = ", ".join(classes[label] for label in missing)
        raise InputError(
            f"The {len(labels)} training images hold none of class {names}, which {source} has: "
            f"{way_out}."
        )
