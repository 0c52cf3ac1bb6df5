"""Histograms of oriented gradients: features of images for classifiers that learn none."""

import numpy as np
from numpy.typing import NDArray

from slicing.checks import between
from slicing.errors import InputError
from slicing.stack import Shape

# Of Dalal and Triggs: orientations, and the largest part that one of them may be of a block.
_ORIENTATIONS, _MOST = 9, 0.2
# Images that are computed at a time: their arrays stay within a few tens of megabytes.
_CHUNK_PIXELS = 2**19
# Of a block without gradients, so that it is 0.
_NOTHING = 1e-5


def check_cells(cells: int, shape: Shape) -> None:
    """Refuse a number of cells that images do not have.

    Raises
    ------
    InputError
    """
    side = min(shape[:2])
    if side < 2:
        raise InputError(
            f"Images of {shape[0]} x {shape[1]} pixels have no gradients: use larger images."
        )
    between("cells", cells, 2, side, f"for images of {shape[0]} x {shape[1]} pixels")


def hog(images: NDArray[np.float32], cells: int = 7) -> NDArray[np.float32]:
    """Compute histograms of oriented gradients.

    As of Dalal and Triggs ("Histograms of oriented gradients for human detection", CVPR 2005):
    differences of the pixels on both sides, of each pixel the channel whose gradient is the
    largest; 9 orientations of 0 to 180 degrees, each gradient shared between the nearest two;
    blocks of 2 x 2 cells, which overlap, normalized by L2-Hys. Gradients are not shared between
    cells, and nothing is smoothed.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, channels), float32
        In any range.
    cells : int, default=7
        Cells along the shorter side. They are squares of whole pixels; pixels that are left over at
        the right and below take no part.

    Returns
    -------
    ndarray of shape (n, n_features), float32
        Each from 0 to 1.

    Raises
    ------
    InputError
        Where the images do not have so many cells.
    """
    n, height, width, _ = images.shape
    check_cells(cells, images.shape[1:])
    side = min(height, width) // cells
    rows, columns = height // side, width // side
    features = np.empty((n, (rows - 1) * (columns - 1) * 4 * _ORIENTATIONS), np.float32)
    size = max(1, _CHUNK_PIXELS // (height * width * images.shape[3]))
    for start in range(0, n, size):
        part = slice(start, start + size)
        histograms = _histograms(images[part], side, rows, columns)
        features[part] = _blocks(histograms).reshape(-1, features.shape[1])
    return features


def _histograms(
    images: NDArray[np.float32], side: int, rows: int, columns: int
) -> NDArray[np.float32]:
    """Sum the gradients of each cell by orientation: (n, rows, columns, orientations)."""
    down, right = np.zeros_like(images), np.zeros_like(images)
    down[:, 1:-1] = images[:, 2:] - images[:, :-2]
    right[:, :, 1:-1] = images[:, :, 2:] - images[:, :, :-2]
    channel = (down**2 + right**2).argmax(axis=3)[..., None]
    down, right = (
        np.take_along_axis(each, channel, axis=3)[:, : rows * side, : columns * side, 0]
        for each in (down, right)
    )
    length = np.hypot(down, right)
    # In orientations, from the middle of the first.
    angle = np.arctan2(down, right) * np.float32(_ORIENTATIONS / np.pi) - np.float32(0.5)
    lower = np.floor(angle)
    upper_part = length * (angle - lower)
    first = lower.astype(np.int64) % _ORIENTATIONS
    cells = np.add.outer(np.arange(rows).repeat(side) * columns, np.arange(columns).repeat(side))
    offsets = np.arange(len(images))[:, None, None] * (rows * columns)
    histograms = sum(
        np.bincount(
            ((offsets + cells) * _ORIENTATIONS + orientation).ravel(),
            votes.ravel(),
            len(images) * rows * columns * _ORIENTATIONS,
        )
        for orientation, votes in (
            (first, length - upper_part),
            ((first + 1) % _ORIENTATIONS, upper_part),
        )
    )
    shape = len(images), rows, columns, _ORIENTATIONS
    return np.asarray(histograms, np.float32).reshape(shape)


def _blocks(histograms: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalize all blocks of 2 x 2 cells: (n, rows - 1, columns - 1, 4 * orientations)."""
    corners = (
        histograms[:, :-1, :-1], histograms[:, :-1, 1:], histograms[:, 1:, :-1],
        histograms[:, 1:, 1:],
    )  # fmt: skip
    blocks = np.concatenate(corners, axis=3)
    for most in (_MOST, 1.0):
        lengths = np.sqrt((blocks**2).sum(axis=3, keepdims=True) + np.float32(_NOTHING**2))
        blocks = np.minimum(blocks / lengths, np.float32(most))
    return blocks
