"""Choose images: in stratified order, and with every class."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slicing.checks import check_seed
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
    return grouped_order(labels, np.arange(len(labels)), seed)


def grouped_order(
    labels: NDArray[np.int64], groups: NDArray[np.intp], seed: int
) -> NDArray[np.intp]:
    """Return a stratified order in which the images of a group follow each other.

    Parameters
    ----------
    labels : ndarray of shape (n,), int64
    groups : ndarray of shape (n,), intp
        Images of equal numbers are a group: they belong on one side of a split.
    seed : int
        0 to 2**32 - 1.

    Returns
    -------
    ndarray of shape (n,), intp
        A permutation: :func:`stratified_order`, where each group is of one image. A larger group
        counts as so many images of the class of one of them, drawn at random; it stands where the
        first of these would.
    """
    check_seed(seed)
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    _, first, group = np.unique(groups[shuffled], return_index=True, return_inverse=True)
    sizes, leader = np.bincount(group), first[group]
    place = np.empty(len(labels))
    for label in np.unique(labels):
        (members,) = np.nonzero((labels[shuffled] == label) & (leader == np.arange(len(leader))))
        ends = np.cumsum(sizes[group[members]])
        place[members] = (ends - sizes[group[members]]) / ends[-1:]
    return shuffled[np.lexsort((leader, place[leader]))]


def group_end(groups: NDArray[np.intp], labels: NDArray[np.int64], n: int) -> int:
    """Give the number of first images, n or near it, that cuts no group.

    Parameters
    ----------
    groups, labels : ndarray of shape (n_images,)
        In the order of :func:`grouped_order`.
    n : int
        Where it cuts a group, it is replaced by the nearest number that leaves images of every
        class on both sides, or where there is none, by the nearest that cuts no group.

    Raises
    ------
    InputError
        Where all images are one group.
    """
    ends = 1 + np.flatnonzero(groups[1:] != groups[:-1])
    if not len(ends):
        raise InputError(f"All {len(groups):,} images are copies of each other: give others.")
    if n in ends:
        return n
    classes = np.unique(labels)
    firsts = [int(np.argmax(labels == label)) for label in classes]
    lasts = [len(labels) - 1 - int(np.argmax(labels[::-1] == label)) for label in classes]
    whole = ends[(ends > max(firsts)) & (ends <= min(lasts))]
    choices = whole if len(whole) else ends
    return int(choices[np.abs(choices - n).argmin()])


def held_out(
    labels: NDArray[np.int64], n: int, seed: int, groups: NDArray[np.intp] | None = None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Take a stratified sample out, with copies on one side.

    Parameters
    ----------
    labels : ndarray of shape (n_images,), int64
    n : int
        At least one, and so few that every class can keep an image. Where a group would be cut, it
        is replaced by the nearest number that cuts none.
    seed : int
        0 to 2**32 - 1.
    groups : ndarray of shape (n_images,), intp, optional
        Images of equal numbers are copies of each other; by default, none are.

    Returns
    -------
    kept, sample : ndarray of intp
        Sorted indices. Those that are kept hold every class.

    Raises
    ------
    InputError
        Where copies leave no such sample.
    """
    groups = np.arange(len(labels)) if groups is None else groups
    order = grouped_order(labels, groups, seed)
    ordered = groups[order]
    # The first of the order are a sample that holds every class.
    _, firsts = np.unique(labels[order], return_index=True)
    ends = 1 + np.flatnonzero(ordered[1:] != ordered[:-1])
    ends = ends[ends > firsts.max(initial=0)]
    if not len(ends):
        raise InputError(
            f"No {n:,} of {len(labels):,} images can be held out: too many are copies of each "
            "other. Give others, or hold none out."
        )
    end = ends[np.abs(ends - (len(order) - n)).argmin()]
    return np.sort(order[:end]), np.sort(order[end:])


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
