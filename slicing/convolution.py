"""Convolution and pooling of image batches in numba: NHWC layout, float32, one image a task."""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

# Channels so few that the patch of an output has no long runs.
_FEW = 4


@njit(cache=True)
def _fill_patches(image, kernel, strides, pads, out_shape, patches):  # type: ignore[no-untyped-def]
    """Arrange the receptive field of every output position as a row of ``patches`` (im2col)."""
    height, width, channels = image.shape
    for row in range(out_shape[0]):
        top = row * strides[0] - pads[0]
        for col in range(out_shape[1]):
            left = col * strides[1] - pads[1]
            patch = patches[row * out_shape[1] + col]
            is_inside = top >= 0 and left >= 0
            if is_inside and top + kernel[0] <= height and left + kernel[1] <= width:
                # Most are, and tests of each pixel would take longer than copies.
                for i in range(kernel[0]):
                    for j in range(kernel[1]):
                        for c in range(channels):
                            patch[(i * kernel[1] + j) * channels + c] = image[top + i, left + j, c]
                continue
            patch[:] = 0
            for i in range(max(-top, 0), min(kernel[0], height - top)):
                for j in range(max(-left, 0), min(kernel[1], width - left)):
                    for c in range(channels):
                        patch[(i * kernel[1] + j) * channels + c] = image[top + i, left + j, c]


@njit(cache=True)
def _fill_columns(image, kernel, strides, pads, out_shape, columns):  # type: ignore[no-untyped-def]
    """Do the same by columns: long runs of neighbors, where an image has few channels."""
    height, width, channels = image.shape
    rows = columns.reshape(len(columns), out_shape[0], out_shape[1])
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            # Outputs whose pixel at this place of the kernel lies within the image.
            first = min(max(-((j - pads[1]) // strides[1]), 0), out_shape[1])
            last = max(min((width - 1 + pads[1] - j) // strides[1] + 1, out_shape[1]), first)
            begin = j - pads[1]
            for c in range(channels):
                for row in range(out_shape[0]):
                    y = row * strides[0] - pads[0] + i
                    out = rows[(i * kernel[1] + j) * channels + c, row]
                    if y < 0 or y >= height:
                        out[:] = 0
                        continue
                    out[:first] = 0
                    for col in range(first, last):
                        out[col] = image[y, begin + col * strides[1], c]
                    out[last:] = 0


@njit(cache=True)
def convolve_one(  # type: ignore[no-untyped-def]
    image, weights, bias, strides, pads, out_shape, relu, patches, out
):  # fmt: skip
    """Convolve one image, see :func:`convolve`.

    ``patches`` is work space, for a patch for every output position, and ``out`` is filled.
    """
    n_out = weights.shape[3]
    product, matrix = out.reshape(-1, n_out), weights.reshape(-1, n_out)
    if image.shape[2] < _FEW:
        columns = patches.reshape(len(matrix), len(product))
        _fill_columns(image, weights.shape[:2], strides, pads, out_shape, columns)
        np.dot(columns.T, matrix, product)
    else:
        rows = patches.reshape(len(product), len(matrix))
        _fill_patches(image, weights.shape[:2], strides, pads, out_shape, rows)
        np.dot(rows, matrix, product)
    for position in range(len(product)):
        row = product[position]
        for c in range(n_out):
            value = row[c] + bias[c]
            # Not max(): a NaN must stay one.
            row[c] = np.float32(0.0) if relu and value < 0 else value


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
    n_patch, n_out = weights.shape[0] * weights.shape[1] * weights.shape[2], weights.shape[3]
    out = np.empty((len(images), out_shape[0], out_shape[1], n_out), np.float32)
    for n in prange(len(images)):
        patches = np.empty(out_shape[0] * out_shape[1] * n_patch, np.float32)
        convolve_one(images[n], weights, bias, strides, pads, out_shape, relu, patches, out[n])
    return out


@njit(cache=True)
def pool_one(image, size, strides, pads, out_shape, average, out):  # type: ignore[no-untyped-def]
    """Pool one image, see :func:`pool`; ``out`` is filled."""
    height, width, channels = image.shape
    for row in range(out_shape[0]):
        top = max(row * strides[0] - pads[0], 0)
        bottom = min(row * strides[0] - pads[0] + size[0], height)
        for col in range(out_shape[1]):
            left = max(col * strides[1] - pads[1], 0)
            right = min(col * strides[1] - pads[1] + size[1], width)
            target = out[row, col]
            for c in range(channels):
                target[c] = image[top, left, c]
            for y in range(top, bottom):
                for x in range(left, right):
                    if y == top and x == left:
                        continue
                    for c in range(channels):
                        value = image[y, x, c]
                        if average:
                            target[c] += value
                        elif value > target[c] or value != value:
                            target[c] = value
            if average:
                for c in range(channels):
                    target[c] /= np.float32((bottom - top) * (right - left))


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
    channels = images.shape[3]
    out = np.empty((len(images), out_shape[0], out_shape[1], channels), np.float32)
    for n in prange(len(images)):
        pool_one(images[n], size, strides, pads, out_shape, average, out[n])
    return out
