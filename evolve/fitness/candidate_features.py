"""The features of all images under a candidate, for blocks that move more than the last channel.

Layers that the block does not touch are computed once, when it is bound. The others go through
:class:`evolve.fitness.candidate_convolution.CandidateConvolution`, with activation and pooling.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from evolve.block import Block
from evolve.fitness.candidate_convolution import CandidateConvolution
from slicing.stack import Conv, ConvStack, Pool, forward, slide
from slicing.threads import single_threaded_blas

# Images that are sent through the layers at a time while a block is bound, and through the fused
# convolutions: their maps stay in the cache.
_CHUNK, _SMALL_CHUNK = 4096, 1024
# Features of candidates that are held at a time (bytes).
_BATCH_BYTES = 1 << 28


class Stage:
    """A convolution and the poolings after it, over images that :meth:`load` sets.

    Parameters
    ----------
    stack : ConvStack
    index : int
        Which of its convolutions, from 0.
    n_images : int

    Attributes
    ----------
    n_positions : int
        Pixels of a channel after the convolution and the first pooling.
    """

    def __init__(self, stack: ConvStack, index: int, n_images: int) -> None:
        conv, pools = stack.stages[index]
        self._index = index
        self._earlier: list[tuple[Stage, NDArray[np.float32]]] = []
        shape = stack.input_shape
        for layer in stack.layers[: stack.conv_layers[index]]:
            shape = layer.output_shape(shape)
        self._further_pools = pools[1:]
        self._convolution = CandidateConvolution(
            (n_images, *shape),
            conv.weights.shape[:2],
            conv.strides,
            conv.padding,
            conv.relu,
            pools[0] if pools else None,
        )
        self.n_positions = int(np.prod(self._convolution.output_shape))

    def load_from(self, stack: ConvStack, images: NDArray[np.float32]) -> None:
        """Send images through the layers before, and set the result.

        Parameters
        ----------
        stack : ConvStack
            Of the same layers as the one given before, perhaps with other kernels.
        images : ndarray of shape (n_images, height, width, channels), float32
            Of the stack's input shape.
        """
        if not self._earlier:
            n = min(len(images), _SMALL_CHUNK)
            stages = [Stage(stack, index, n) for index in range(self._index)]
            widths = [conv.n_kernels for conv in stack.convs]
            self._earlier = [
                (stage, np.empty((width, n, stage.n_positions), np.float32))
                for stage, width in zip(stages, widths, strict=False)
            ]
        for start in range(0, len(images), _SMALL_CHUNK):
            chunk = images[start : start + _SMALL_CHUNK]
            maps = forward(stack.layers[: stack.conv_layers[0]], chunk)
            for conv, (stage, out) in zip(stack.convs, self._earlier, strict=False):
                stage.load(maps)
                channels = stage.finish(stage.convolve(*_kernels(conv), out))
                maps = channels.transpose(1, 2, 3, 0)[: len(chunk)]
            self.load(maps, start)

    def load(self, maps: NDArray[np.float32], first: int = 0) -> None:
        """Set the images, or the part that starts with image ``first``: (n, h, w, channels)."""
        self._convolution.load(maps, first)

    def convolve(
        self,
        weights: NDArray[np.float32],
        bias: NDArray[np.float32],
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Convolve, activate and pool once.

        Parameters
        ----------
        weights : ndarray of shape (n, kernel_height, kernel_width, channels), float32
        bias : ndarray of shape (n,), float32
        out : ndarray of shape (n, n_images, n_positions), float32, optional

        Returns
        -------
        ndarray of shape (n, n_images, n_positions), float32
        """
        return self._convolution(weights, bias, out)

    def finish(self, channels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Do the further poolings.

        Parameters
        ----------
        channels : ndarray of shape (n, n_images, n_positions), float32
            From :meth:`convolve`.

        Returns
        -------
        ndarray of shape (n, n_images, height, width), float32
            A view where there are no further poolings.
        """
        n, n_images, _ = channels.shape
        height, width = self._convolution.output_shape
        maps = channels.reshape(n, n_images, height, width)
        if not self._further_pools:
            return maps
        # Kernels times images, each of one channel.
        pooled = forward(self._further_pools, maps.reshape(-1, height, width, 1))
        return pooled.reshape(n, n_images, *pooled.shape[1:3])


def _kernels(
    conv: Conv, kernels: slice = slice(None)
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights (n, height, width, channels) and bias (n,) of some kernels."""
    return np.moveaxis(conv.weights, -1, 0)[kernels], conv.bias[kernels]


class NetworkFeatures:
    """Sends the images through all layers from the first that a block touches.

    Parameters
    ----------
    stack : ConvStack
    images : ndarray of shape (n_images, height, width, channels), float32
    block : Block
    """

    def __init__(self, stack: ConvStack, images: NDArray[np.float32], block: Block) -> None:
        self._stack, self._block = stack, block
        self._first = block.layers[0]
        indices = range(self._first, len(stack.convs))
        self._stages = [Stage(stack, index, len(images)) for index in indices]
        # Image by image, so that the features of each lie together.
        self._channels = [
            np.empty(
                (len(images), stack.convs[index].n_kernels, stage.n_positions), np.float32
            ).swapaxes(0, 1)
            for index, stage in zip(indices, self._stages, strict=True)
        ]
        self._stages[0].load_from(stack, images)
        # Kernels of the first layer that stand still are computed once.
        moving = [kernel for layer, kernel in block.kernels if layer == self._first]
        self._moving = slice(moving[0], moving[-1] + 1)
        self._stages[0].convolve(*_kernels(stack.convs[self._first]), self._channels[0])

    def __call__(self, candidates: NDArray[np.float64]) -> Iterator[NDArray[np.float32]]:
        """Yield the features (n_images, n_features) of each candidate, valid until the next."""
        for candidate in candidates:
            convs = self._block.write(self._stack, candidate).convs[self._first :]
            moving = self._channels[0][self._moving]
            self._stages[0].convolve(*_kernels(convs[0], self._moving), moving)
            maps = self._stages[0].finish(self._channels[0])
            for conv, stage, channels in zip(
                convs[1:], self._stages[1:], self._channels[1:], strict=True
            ):
                stage.load(maps.transpose(1, 2, 3, 0))
                maps = stage.finish(stage.convolve(*_kernels(conv), channels))
            yield np.ascontiguousarray(maps.swapaxes(0, 1)).reshape(maps.shape[1], -1)


@njit(cache=True)
def _lay_out(image, size, strides, pads, columns, patches):  # type: ignore[no-untyped-def]
    """Lay the receptive field of every position out as a row of ``patches``."""
    height, width = image.shape
    for position in range(len(patches)):
        top = position // columns * strides[0] - pads[0]
        left = position % columns * strides[1] - pads[1]
        for i in range(size[0]):
            for j in range(size[1]):
                y, x = top + i, left + j
                inside = 0 <= y < height and 0 <= x < width
                patches[position, i * size[1] + j] = image[y, x] if inside else np.float32(0.0)


@njit(parallel=True, cache=True)
def _add_channel(  # type: ignore[no-untyped-def]
    maps, base, weights, kernel_size, strides, pads, size, steps, margins, relu, average, out
):  # fmt: skip
    """Convolve one input channel, add the sum of the others, activate and pool.

    BLAS must be kept to one thread: the images run in parallel.

    Parameters
    ----------
    maps : (n_candidates, n_images, height, width), float32
        The channel under every candidate.
    base : (n_images, rows, columns, n_kernels), float32
        The sum of all other channels and the bias.
    weights : (kernel_height * kernel_width, n_kernels), float32
        The kernels' weights of the channel.
    kernel_size, strides, pads : (int, int)
        Of the convolution.
    size, steps, margins : (int, int)
        Window, step and padding of the pooling.
    relu, average : bool
    out : (n_candidates, n_images, height, width, n_kernels), float32
        Filled.
    """
    n_candidates, n_images = maps.shape[:2]
    _, rows, columns, n_kernels = base.shape
    for image in prange(n_images):
        patches = np.empty((rows * columns, len(weights)), np.float32)
        products = np.empty((rows * columns, n_kernels), np.float32)
        for p in range(n_candidates):
            _lay_out(maps[p, image], kernel_size, strides, pads, columns, patches)
            np.dot(patches, weights, products)
            for row in range(out.shape[2]):
                top = max(row * steps[0] - margins[0], 0)
                bottom = min(row * steps[0] - margins[0] + size[0], rows)
                for column in range(out.shape[3]):
                    left = max(column * steps[1] - margins[1], 0)
                    right = min(column * steps[1] - margins[1] + size[1], columns)
                    target = out[p, image, row, column]
                    target[:] = 0.0 if average else -np.inf
                    for y in range(top, bottom):
                        for x in range(left, right):
                            others, product = base[image, y, x], products[y * columns + x]
                            for c in range(n_kernels):
                                value = others[c] + product[c]
                                # Not max(): a NaN must stay one.
                                value = np.float32(0.0) if relu and value < 0.0 else value
                                if average:
                                    target[c] += value
                                else:
                                    known = target[c]
                                    is_new = value > known or value != value
                                    target[c] = value if is_new else known
                    if average:
                        for c in range(n_kernels):
                            target[c] /= np.float32((bottom - top) * (right - left))


class UpdatedFeatures:
    """Adds the contribution of one kernel to the next convolution to that of all others.

    Parameters
    ----------
    stack : ConvStack
    images : ndarray of shape (n_images, height, width, channels), float32
    block : Block
        A single kernel, not of the last convolution.
    """

    def __init__(self, stack: ConvStack, images: NDArray[np.float32], block: Block) -> None:
        ((layer, kernel),) = block.kernels
        self._stage = Stage(stack, layer, len(images))
        self._stage.load_from(stack, images)
        self._kernel_shape = stack.convs[layer].weights.shape[:3]
        following, pools = stack.stages[layer + 1]
        self._pool = pools[0] if pools else Pool("max", (1, 1), (1, 1))
        position = stack.conv_layers[layer + 1]
        self._rest = stack.layers[position + 1 + len(pools[:1]) :]
        self._relu = following.relu
        before = stack.layers[:position]
        shape = forward(before, images[:1]).shape[1:]
        size = following.weights.shape[:2]
        slides = [
            slide(*axis, following.padding)
            for axis in zip(shape[:2], size, following.strides, strict=True)
        ]
        self._strides, self._pads = following.strides, (slides[0][1], slides[1][1])
        windows = [
            slide(*axis, self._pool.padding)
            for axis in zip(
                (slides[0][0], slides[1][0]), self._pool.size, self._pool.strides, strict=True
            )
        ]
        self._margins = windows[0][1], windows[1][1]
        # Only positions that a window covers.
        rows, columns = (
            min(count, (n_windows - 1) * step - margin + extent)
            for (count, _), (n_windows, margin), step, extent in zip(
                slides, windows, self._pool.strides, self._pool.size, strict=True
            )
        )
        self._kernel_size = size
        weights = following.weights[:, :, kernel].reshape(-1, following.n_kernels)
        self._weights = np.ascontiguousarray(weights)
        others = following.weights.copy()
        others[:, :, kernel] = 0.0
        linear = replace(following, weights=others, relu=False)
        self._base = np.empty((len(images), rows, columns, following.n_kernels), np.float32)
        for start in range(0, len(images), _CHUNK):
            whole = forward((*before, linear), images[start : start + _CHUNK])
            self._base[start : start + _CHUNK] = whole[:, :rows, :columns]
        self._out_shape = (len(images), windows[0][0], windows[1][0], following.n_kernels)
        self._batch = max(1, _BATCH_BYTES // (4 * int(np.prod(self._out_shape))))
        self._out = np.empty((0, *self._out_shape), np.float32)

    def __call__(self, candidates: NDArray[np.float64]) -> Iterator[NDArray[np.float32]]:
        """Yield the features (n_images, n_features) of each candidate, valid until the next."""
        for start in range(0, len(candidates), self._batch):
            batch = candidates[start : start + self._batch]
            weights = batch[:, :-1].reshape(-1, *self._kernel_shape).astype(np.float32)
            maps = self._stage.finish(
                self._stage.convolve(weights, batch[:, -1].astype(np.float32))
            )
            if len(self._out) < len(batch):
                self._out = np.empty((len(batch), *self._out_shape), np.float32)
            with single_threaded_blas():
                _add_channel(
                    np.ascontiguousarray(maps),
                    self._base,
                    self._weights,
                    self._kernel_size,
                    self._strides,
                    self._pads,
                    self._pool.size,
                    self._pool.strides,
                    self._margins,
                    self._relu,
                    self._pool.kind == "average",
                    self._out[: len(batch)],
                )
            for features in self._out[: len(batch)]:
                out = forward(self._rest, features) if self._rest else features
                yield out.reshape(len(out), -1)
