"""Shift images by a few pixels: pixels from beyond an edge repeat the edge."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from slicing.checks import between, whole
from slicing.stack import ConvStack

# Images whose copies are made at a time.
_CHUNK = 2048


def largest_shift(shape: Sequence[int]) -> int:
    """Give by how many pixels an image of ``shape``, height first, can be shifted at most."""
    return min(shape[:2]) - 1


def corners(shift: int) -> list[tuple[int, int]]:
    """Give row and column of the image's corner in the padded image, for every shift."""
    ways = range(2 * shift + 1)
    return [(top, left) for top in ways for left in ways]


def shifted(images: NDArray[np.float32], shift: int) -> Iterator[NDArray[np.float32]]:
    """Shift all images in every way by up to ``shift`` pixels in each direction.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, channels), float32
    shift : int
    """
    height, width = images.shape[1:3]
    padded = _padded(images, shift)
    for top, left in corners(shift):
        yield padded[:, top : top + height, left : left + width]


def averaged(
    stack: ConvStack,
    images: NDArray[np.float32],
    shift: int,
    show: Callable[[float], None] = lambda done: None,
    unshifted: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Average features over copies of each image, shifted by up to ``shift`` pixels each way.

    There are (2 shift + 1)² copies. This is known as test-time augmentation: Krizhevsky,
    Sutskever and Hinton ("ImageNet classification with deep convolutional neural networks", NIPS
    2012, section 4.1) average the network's outputs for ten patches of a test image; here it is the
    features, also those of references.

    Parameters
    ----------
    stack : ConvStack
    images : ndarray of shape (n, height, width, channels), float32
    shift : int
    show : callable, optional
        Called with the part that is done, from 0 to below 1.
    unshifted : ndarray of shape (n, n_features), float32, optional
        Features of the images as they are, where they are at hand: these copies are then not
        computed again.

    Returns
    -------
    ndarray of shape (n, n_features), float32

    Raises
    ------
    InputError
        Where the images do not have the stack's ``input_shape``, or cannot be shifted so far.
    """
    whole("average", shift)
    between("average", shift, 0, largest_shift(stack.input_shape), "pixels")
    if shift == 0:
        return stack.forward(images) if unshifted is None else unshifted
    stack.check(images)
    means = np.zeros((len(images), int(np.prod(stack.feature_shape))), np.float32)
    for start in range(0, len(images), _CHUNK):
        show(start / len(images))
        part = slice(start, start + _CHUNK)
        for place, copy in zip(corners(shift), shifted(images[part], shift), strict=True):
            # Always in the same order, so that sums are equal bit for bit.
            if unshifted is not None and place == (shift, shift):
                means[part] += unshifted[part]
            else:
                means[part] += stack.forward(copy)
    means /= np.float32(len(corners(shift)))
    return means


def shifted_at_random(
    images: NDArray[np.float32], shift: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Shift each image by up to ``shift`` pixels each way, at random.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, channels), float32
    shift : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (n, height, width, channels), float32
    """
    height, width = images.shape[1:3]
    moved = np.empty_like(images)
    chosen = rng.integers(0, 2 * shift + 1, (len(images), 2))
    for out, padded, (top, left) in zip(moved, _padded(images, shift), chosen, strict=True):
        out[:] = padded[top : top + height, left : left + width]
    return moved


def _padded(images: NDArray[np.float32], shift: int) -> NDArray[np.float32]:
    margin = ((0, 0), (shift, shift), (shift, shift), (0, 0))
    return np.pad(images, margin, mode="edge")
