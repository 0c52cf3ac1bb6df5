"""Cheap features of images, by which a premodel chooses before any member is asked.

They are those that B. Taylor, V. Sanz Marco, W. Wolff, Y. Elkhatib and Z. Wang ("Adaptive deep
learning model selection on embedded systems", LCTES 2018) name. The code is our own: the text does
not settle every detail, and what it leaves open is said with each. Corners are Harris's (C. Harris,
M. Stephens, Alvey Vision Conference 1988), edges are joined as J. Canny's ("A computational
approach to edge detection", IEEE PAMI 8, 1986), without his thinning.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

BINS = 7
"""Bins of each histogram."""

# Of the colors, as eyes weigh their squares.
_PERCEIVED = np.array([0.241, 0.691, 0.068], np.float32)
_GRAY = np.array([0.299, 0.587, 0.114], np.float32)
# Gradients a pixel, of gray from 0 to 1: those that begin an edge, and those that go on with it.
_STRONG, _WEAK = 0.2, 0.1
# Harris's weight of the squared trace, and the least response of a corner.
_TRACE, _CORNER = 0.05, 1e-4
# What is no part of the ground, in parts of the range of gray.
_INK = 0.1

NAMES = (
    "keypoints", "brightness", "brightness_rms", "perceived_brightness",
    "perceived_brightness_rms", "contrast", "area_by_perimeter", "aspect_ratio",
    *(f"edge_length{number}" for number in range(1, BINS + 1)),
    *(f"edge_angle{number}" for number in range(1, BINS + 1)),
    *(f"hue{number}" for number in range(1, BINS + 1)),
)  # fmt: skip
"""The features, in their order."""


def cheap_features(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the candidates among the features.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, channels), float32
        In [0, 1], gray or RGB; of other channels, the first stands for all.

    Returns
    -------
    ndarray of shape (n, len(NAMES)), float32
        An image's features do not depend on the other images.
    """
    rows = [np.concatenate([*_of(image)]) for image in images]
    return np.array(rows, np.float32).reshape(len(images), len(NAMES))


def _of(image: NDArray[np.float32]) -> Iterator[NDArray[np.float64]]:
    """Give the features of one image, some at a time."""
    # Here, not above: systems without a premodel need none of it.
    from scipy.ndimage import sobel

    rgb = image if image.shape[2] == 3 else np.repeat(image[..., :1], 3, axis=2)
    gray = (rgb @ _GRAY).astype(np.float64)
    down, across = sobel(gray, 0) / 8, sobel(gray, 1) / 8
    means = rgb.mean(axis=(0, 1), dtype=np.float64)
    each = np.sqrt(rgb.astype(np.float64) ** 2 @ _PERCEIVED)
    yield np.array([
        _corners(down, across),
        gray.mean(),
        np.sqrt((gray**2).mean()),
        np.sqrt(means**2 @ _PERCEIVED),
        np.sqrt((each**2).mean()),
        gray.std(),
    ])  # fmt: skip
    yield _box(gray)
    strength = np.hypot(down, across)
    lengths, is_edge = _edges(strength)
    # By the side of the image; longer ones count as the longest.
    longest = sum(gray.shape)
    yield _histogram(np.minimum(lengths, longest), longest)
    yield _histogram(np.arctan2(down, across)[is_edge] % np.pi, np.pi)
    yield _histogram(_hues(rgb), 1.0)


def _histogram(values: NDArray[np.float64], end: float) -> NDArray[np.float64]:
    """Give the shares of values in equal bins from 0 to ``end``; 0 where there are no values."""
    counts, _ = np.histogram(values, BINS, (0.0, end))
    shares: NDArray[np.float64] = counts / max(1, len(values))
    return shares


def _corners(down: NDArray[np.float64], across: NDArray[np.float64]) -> float:
    """Count corners: places with the largest response around."""
    from scipy.ndimage import gaussian_filter, maximum_filter

    a, b, c = (gaussian_filter(each, 1.0) for each in (down * down, across * across, down * across))
    response = a * b - c * c - _TRACE * (a + b) ** 2
    return float(((response == maximum_filter(response, 3)) & (response > _CORNER)).sum())


def _edges(strength: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Give the number of pixels of each edge, and the pixels of all."""
    from scipy.ndimage import label

    parts, n = label(strength > _WEAK, np.ones((3, 3)))
    is_strong = np.zeros(n + 1, np.bool_)
    is_strong[parts[strength > _STRONG]] = True
    is_strong[0] = False
    lengths = np.bincount(parts.ravel(), minlength=n + 1)[is_strong]
    return lengths.astype(np.float64), is_strong[parts]


def _box(gray: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give area by perimeter and aspect ratio of the box around what differs from the ground.

    Of the whole image both would be constant; the box around an object that someone has drawn, as
    it may be meant, is not known when an image is classified.
    """
    edge = np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
    is_ink = np.abs(gray - np.median(edge)) > _INK * (np.ptp(gray) or 1.0)
    if not is_ink.any():
        return np.zeros(2)
    height, width = (np.ptp(where) + 1 for where in np.nonzero(is_ink))
    return np.array([height * width / (2 * (height + width)), width / height])


def _hues(rgb: NDArray[np.float32]) -> NDArray[np.float64]:
    """Give the hue of each pixel that has one, from 0 to 1."""
    pixels = rgb.reshape(-1, 3).astype(np.float64)
    most, spread = pixels.max(axis=1), np.ptp(pixels, axis=1)
    has_hue = spread > 0.0
    (red, green, blue), most, spread = pixels[has_hue].T, most[has_hue], spread[has_hue]
    sixths = np.where(
        most == red,
        ((green - blue) / spread) % 6,
        np.where(most == green, (blue - red) / spread + 2, (red - green) / spread + 4),
    )
    hues: NDArray[np.float64] = sixths / 6
    return hues
