"""The rule for pixels: float32 in [0, 1], which everything that takes images keeps.

Whole numbers of one byte, as image files hold them, are converted. Everything else could be read in
two ways or in none, and is refused: a network that was trained on [0, 1] answers pixels of 0 to 255
without complaint, and wrongly.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slicing.errors import InputError

TOLERANCE = 1e-3
"""How far a pixel may lie beyond 0 or 1. Scaling in float16 or float32 rounds by less, and it is a
fourth of the step between two of 256 levels."""

Pixels = NDArray[np.uint8] | NDArray[np.floating[Any]]
"""Images as they may be given, of uint8 from 0 to 255, or of floats from 0 to 1."""


def unit_pixels(images: ArrayLike) -> NDArray[np.float32]:
    """Give images as float32 with pixels in [0, 1].

    Parameters
    ----------
    images : array_like of shape (n, height, width, channels)
        Of uint8, from 0 to 255, which are divided by 255; or of floats, from 0 to 1, which keep
        their value. They may lie outside by :data:`TOLERANCE`.

    Returns
    -------
    ndarray of shape (n, height, width, channels), float32
        ``images`` itself where it is such an array already.

    Raises
    ------
    InputError
        For another shape or type, for pixels beyond [0, 1], and for those that are not finite.
    """
    try:
        pixels = np.asarray(images)
    except ValueError as error:  # rows of several lengths
        raise InputError(
            "Images of several shapes are no array: resize all of them to one height and width."
        ) from error
    if pixels.ndim != 4:
        raise InputError(
            f"An array of shape {pixels.shape} holds no images: give one of shape (n, height, "
            "width, channels), with n = 1 for one image and 1 channel for gray."
        )
    if pixels.dtype == np.uint8:
        unit: NDArray[np.float32] = np.divide(pixels, np.float32(255), dtype=np.float32)
        return unit
    if not np.issubdtype(pixels.dtype, np.floating):
        raise InputError(
            f"Pixels of type {pixels.dtype} are not taken: give them as uint8 from 0 to 255, or as "
            "floats from 0 to 1."
        )
    if pixels.dtype == np.float32 and pixels.flags.c_contiguous:
        # Here, not above: who only reads files needs no Numba, which takes memory.
        from slicing.pixel_range import lie_between

        if lie_between(pixels.reshape(-1), -TOLERANCE, 1.0 + TOLERANCE):
            return pixels
    # With a start, no images are no error; it is a pixel that is allowed.
    low, high = pixels.min(initial=0.0), pixels.max(initial=0.0)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError("Some pixels are not finite: correct or remove these images.")
    if low < -TOLERANCE or high > 1.0 + TOLERANCE:
        raise InputError(
            f"The pixels run from {low:g} to {high:g}, and must be from 0 to 1: divide those of 0 "
            "to 255 by 255."
        )
    return pixels.astype(np.float32, copy=False)


def contrasts_of(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Give the standard deviation of each image's pixels, in its channel that has the most.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, channels), float32
        Pixels in [0, 1].

    Returns
    -------
    ndarray of shape (n,), float64
    """
    # One at a time: all of them would be copied.
    deviations = (image.std(axis=(0, 1), dtype=np.float64).max() for image in images)
    return np.fromiter(deviations, np.float64, len(images))
