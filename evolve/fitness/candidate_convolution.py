"""Convolution, activation and pooling of many candidate channels at once.

An evolutionary fitness asks one question thousands of times: what is this output channel of a
layer, for every image, if its kernel is another? The images stand still, the kernels change with
every call. `CandidateConvolution` therefore packs the images once, and evaluates the candidates of
a generation as one batch. How it is fast: :mod:`evolve.fitness.convolution_kernels`.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import get_num_threads
from numpy.typing import NDArray

from evolve.fitness.convolution_kernels import (
    GROUP,
    LANES,
    PAIR,
    PAIR_STRIDE,
    TILE,
    direct_convolve,
    group_weights,
    pack_images,
    winograd_convolve,
)
from slicing.stack import Padding, Pool, slide

# Below this many channels the transforms outweigh the multiplications that Winograd saves.
WINOGRAD_MIN_CHANNELS = 4


class _Axis(NamedTuple):
    """One spatial axis: where patches and pooling windows lie.

    Attributes
    ----------
    before : int
        Zeros that the convolution sees before the first pixel.
    size : int
        Pixels of the padded input that take part.
    positions : int
        Outputs of the convolution that take part.
    starts, stops : list of int
        The pooling windows, in outputs of the convolution.
    """

    before: int
    size: int
    positions: int
    starts: list[int]
    stops: list[int]


def _axis(size: int, kernel: int, stride: int, padding: Padding, pool: Pool, axis: int) -> _Axis:
    """Lay out one spatial axis; only pixels that a pooling window reads take part."""
    outputs, before = slide(size, kernel, stride, padding)
    windows, outside = slide(outputs, pool.size[axis], pool.strides[axis], pool.padding)
    if outputs < 1 or windows < 1:
        raise ValueError(
            f"an axis of {size} pixels is too short for a kernel of {kernel} at stride {stride} "
            f"and a pooling window of {pool.size[axis]} ({padding} and {pool.padding} padding)"
        )
    corners = [i * pool.strides[axis] - outside for i in range(windows)]
    stops = [min(corner + pool.size[axis], outputs) for corner in corners]
    positions = max(stops)
    return _Axis(
        before=before,
        size=(positions - 1) * stride + kernel,
        positions=positions,
        starts=[max(corner, 0) for corner in corners],
        stops=stops,
    )


def _aligned(*shape: int) -> NDArray[np.float32]:
    """Allocate zeros from a cache line's start, so that no vector straddles two lines."""
    size = math.prod(shape)
    space = np.zeros(size + 16, dtype=np.float32)
    skip = -space.ctypes.data // space.itemsize % 16
    return space[skip : skip + size].reshape(shape)


class CandidateConvolution:
    """Convolution, activation and pooling of many candidate channels over fixed images.

    Parameters
    ----------
    shape : (int, int, int, int)
        Number, height, width and channels of the images.
    kernel_size : (int, int)
    strides : (int, int)
        Of the convolution.
    padding : {"valid", "same"}
        Of the convolution.
    relu : bool
        Whether a rectifier follows; linear otherwise.
    pool : Pool, optional
        Follows the activation; none by default.

    Attributes
    ----------
    output_shape : (int, int)
        Height and width of the pooled channel.
    winograd : bool
        Whether F(2x2, 3x3) is used; otherwise the direct form.

    Notes
    -----
    The packed images take the memory of the pixels that take part (12 x 12 of 13 x 13 for a 3x3
    convolution under a 2x2 pooling). The original is not kept: load it in pieces where both
    together would be too large.

    Examples
    --------
    >>> images = np.ones((100, 13, 13, 32), dtype=np.float32)
    >>> convolve = CandidateConvolution(images.shape, (3, 3), pool=Pool("max"))
    >>> convolve.load(images)
    >>> weights, bias = np.ones((18, 3, 3, 32), dtype=np.float32), np.zeros(18, dtype=np.float32)
    >>> convolve(weights, bias).shape
    (18, 100, 25)
    """

    def __init__(
        self,
        shape: tuple[int, int, int, int],
        kernel_size: tuple[int, int],
        strides: tuple[int, int] = (1, 1),
        padding: Padding = "valid",
        relu: bool = True,
        pool: Pool | None = None,
    ) -> None:
        self.shape = shape
        self.kernel_size = kernel_size
        count, height, width, channels = shape
        window = pool or Pool("max", (1, 1), (1, 1))
        rows = _axis(height, kernel_size[0], strides[0], padding, window, 0)
        columns = _axis(width, kernel_size[1], strides[1], padding, window, 1)
        self.output_shape = (len(rows.starts), len(columns.starts))
        self.winograd = (
            channels >= WINOGRAD_MIN_CHANNELS
            and channels % PAIR == 0
            and (kernel_size, strides) == ((3, 3), (1, 1))
            and (window.kind, window.size, window.strides) == ("max", (2, 2), (2, 2))
            # A window that is cut off at the border is no whole tile.
            and all(2 * len(axis.starts) == axis.positions for axis in (rows, columns))
        )
        self._least = 0.0 if relu else -math.inf
        self._average = window.kind == "average"
        self._corner = rows.before, columns.before
        self._packed = _aligned(-(-count // LANES), rows.size, columns.size, channels, LANES)
        self._column_stride = channels * LANES
        self._row_stride = columns.size * self._column_stride
        if self.winograd:
            steps, positions = (2, 2), self.output_shape
        else:
            steps, positions = strides, (rows.positions, columns.positions)
        starts = np.add.outer(
            np.arange(positions[0]) * (steps[0] * self._row_stride),
            np.arange(positions[1]) * (steps[1] * self._column_stride),
        ).ravel()
        if not self.winograd:
            # The last block is filled up with repetitions of a patch, which nothing reads.
            starts = np.pad(starts, (0, -len(starts) % TILE), mode="edge")
        self._starts = starts
        self._windows = np.array(
            [
                [[top * columns.positions + left, columns.positions], [bottom - top, right - left]]
                for top, bottom in zip(rows.starts, rows.stops, strict=True)
                for left, right in zip(columns.starts, columns.stops, strict=True)
            ]
        )

    def load(self, images: NDArray[np.float32], first: int = 0) -> None:
        """Set the images, or the part of them that starts with image ``first``.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels), float32
        first : int
        """
        if images.shape[1:] != self.shape[1:] or first + len(images) > self.shape[0]:
            raise ValueError(
                f"images of shape {images.shape} from image {first} do not fit {self.shape}"
            )
        pack_images(images, first, self._corner, self._packed)

    def __call__(
        self,
        weights: NDArray[np.float32],
        bias: NDArray[np.float32],
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Compute the channel of every candidate for every image.

        Parameters
        ----------
        weights : ndarray of shape (n, kernel_height, kernel_width, channels), float32
        bias : ndarray of shape (n,), float32
        out : ndarray of shape (n, images, features), float32, optional
            Receives the result; reuse it where calls follow one another, for a new one costs page
            faults.

        Returns
        -------
        ndarray of shape (n, images, features), float32
            Features in row-major order of `output_shape`.
        """
        n = len(weights)
        if weights.shape != (n, *self.kernel_size, self.shape[3]) or bias.shape != (n,):
            raise ValueError(
                f"weights of shape {weights.shape} and bias of shape {bias.shape} do not fit n "
                f"kernels of shape {(*self.kernel_size, self.shape[3])}"
            )
        features = math.prod(self.output_shape)
        result_shape = (n, self.shape[0], features)
        if out is None:
            out = np.empty(result_shape, np.float32)
        elif out.shape != result_shape:
            raise ValueError(f"out has shape {out.shape}, the result {result_shape}")
        if n == 0:
            return out
        threads = get_num_threads()
        positions = 16 if self.winograd else math.prod(self.kernel_size)
        u = np.empty(n * positions * self.shape[3], np.float32)
        group_weights(np.ascontiguousarray(weights, np.float32), self.winograd, u)
        bias = np.ascontiguousarray(bias, np.float32)
        packed = self._packed.reshape(len(self._packed), -1)
        least = np.float32(self._least)
        pooled = _aligned(threads, features * n * LANES)
        if self.winograd:
            v = _aligned(threads, TILE * self.shape[3] // PAIR * PAIR_STRIDE)
            m = _aligned(threads, 16 * TILE * GROUP * LANES)
            winograd_convolve(
                packed, self._starts, self._row_stride, self._column_stride, u, bias, least, v, m,
                pooled, out,
            )  # fmt: skip
        else:
            rows, columns = self.kernel_size
            m = _aligned(threads, len(self._starts) * GROUP * LANES)
            direct_convolve(
                packed, self._starts, self._row_stride, rows, columns * self.shape[3], u, bias,
                least, self._windows, self._average, m, pooled, out,
            )  # fmt: skip
        return out
