"""Convolution and pooling of image batches in numba: NHWC layout, float32, one image a task."""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray


@njit(cache=True)
def _patches(image, kernel, strides, pads, out_shape):  # type: ignore[no-untyped-def]
    """Arrange the receptive field of every output position as a row (im2col)."""
    height, width, channels = image.shape
    patches = np.zeros((out_shape[0] * out_shape[1], kernel[0] * kernel[1] * channels), image.dtype)
    for row in range(out_shape[0]):
        for col in range(out_shape[1]):
            patch = patches[row * out_shape[1] + col]
            for i in range(kernel[0]):
                y = row * strides[0] - pads[0] + i
                if y < 0 or y >= height:
                    continue
                for j in range(kernel[1]):
                    x = col * strides[1] - pads[1] + j
                    if x < 0 or x >= width:
                        continue
                    start = (i * kernel[1] + j) * channels
                    for c in range(channels):
                        patch[start + c] = image[y, x, c]
    return patches


@njit(parallel=True, cache=True)
def convolve(
    images: NDArray[np.float32],
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    strides: tuple[int, int],
    pads: tuple[int, int],
    out_shape: tuple[int, int],
    relu: bool,
) -> NDArray[np.float32]:
    """Convolve (cross-correlate) every image with every kernel, one matrix product an image.

    Keep BLAS to one thread meanwhile: the loop over the images is what runs in parallel.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, in_channels), float32
    weights : ndarray of shape (kernel_height, kernel_width, in_channels, out_channels), float32
        C-contiguous.
    bias : ndarray of shape (out_channels,), float32
    strides, pads, out_shape : (int, int)
        Step, padding before the first row and column, and output rows and columns.
    relu : bool
        Whether to rectify.

    Returns
    -------
    ndarray of shape (n, *out_shape, out_channels), float32
    """
    kernel = weights.shape[:2]
    n_out = weights.shape[3]
    matrix = weights.reshape(-1, n_out)
    out = np.empty((len(images), out_shape[0], out_shape[1], n_out), np.float32)
    for n in prange(len(images)):
        product = np.dot(_patches(images[n], kernel, strides, pads, out_shape), matrix)
        for position in range(len(product)):
            row = out[n, position // out_shape[1], position % out_shape[1]]
            for c in range(n_out):
                value = product[position, c] + bias[c]
                # Not max(): a NaN must stay one.
                row[c] = np.float32(0.0) if relu and value < 0 else value
    return out


@njit(parallel=True, cache=True)
def pool(
    images: NDArray[np.float32],
    size: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int],
    out_shape: tuple[int, int],
    average: bool,
) -> NDArray[np.float32]:
    """Pool every channel of every image; padded positions do not count.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, channels), float32
    size, strides, pads, out_shape : (int, int)
        Window, step, padding before the first row and column, output rows and columns.
    average : bool
        Average of the window; its maximum otherwise.

    Returns
    -------
    ndarray of shape (n, *out_shape, channels), float32
    """
    _, height, width, channels = images.shape
    out = np.empty((len(images), out_shape[0], out_shape[1], channels), np.float32)
    for n in prange(len(images)):
        for row in range(out_shape[0]):
            top = max(row * strides[0] - pads[0], 0)
            bottom = min(row * strides[0] - pads[0] + size[0], height)
            for col in range(out_shape[1]):
                left = max(col * strides[1] - pads[1], 0)
                right = min(col * strides[1] - pads[1] + size[1], width)
                target = out[n, row, col]
                for c in range(channels):
                    target[c] = images[n, top, left, c]
                for y in range(top, bottom):
                    for x in range(left, right):
                        if y == top and x == left:
                            continue
                        for c in range(channels):
                            value = images[n, y, x, c]
                            if average:
                                target[c] += value
                            elif value > target[c] or value != value:
                                target[c] = value
                if average:
                    for c in range(channels):
                        target[c] /= np.float32((bottom - top) * (right - left))
    return out
