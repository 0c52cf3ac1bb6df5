"""Images shifted by a few pixels: what comes in from beyond an edge repeats the edge."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from slicing.errors import InputError


def check_shift(shift: int, shape: Sequence[int], option: str = "shift") -> None:
    """Raise an InputError where an image of ``shape``, height first, cannot be shifted so far."""
    most = min(shape[:2]) - 1
    if type(shift) is not int or not 0 <= shift <= most:
        raise InputError(f"{option}={shift!r} is out of range: choose 0 to {most} pixels.")


def corners(shift: int) -> list[tuple[int, int]]:
    """Give row and column of an image's corner in the padded one, for all shifts that there are."""
    ways = range(2 * shift + 1)
    return [(top, left) for top in ways for left in ways]


def shifted(images: NDArray[np.float32], shift: int) -> Iterator[NDArray[np.float32]]:
    """Shift all images by up to ``shift`` pixels each way: once in each of the ways there are.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, channels), float32
    shift : int
    """
    height, width = images.shape[1:3]
    padded = _padded(images, shift)
    for top, left in corners(shift):
        yield padded[:, top : top + height, left : left + width]


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
