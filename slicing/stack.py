"""The conv stack: the convolutional part of a network as plain arrays."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from slicing.chain import Chain
from slicing.convolution import convolve, pool
from slicing.errors import InputError
from slicing.threads import single_threaded_blas

Padding = Literal["valid", "same"]
Shape = tuple[int, int, int]
Compute = Callable[[NDArray[np.float32]], NDArray[np.float32]]

# Images that are computed at a time, or fewer: their activations stay within so many numbers.
_CHUNK, _NUMBERS = 512, 2**28


def slide(length: int, window: int, stride: int, padding: Padding) -> tuple[int, int]:
    """Slide a window over one axis, as TensorFlow does.

    Returns
    -------
    (int, int)
        Number of positions, and padding before the first pixel.
    """
    if padding == "valid":
        return (length - window) // stride + 1, 0
    count = -(-length // stride)
    return count, max((count - 1) * stride + window - length, 0) // 2


def _slide_both(
    shape: Shape, size: tuple[int, int], strides: tuple[int, int], padding: Padding
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Output rows and columns, and padding before the first row and column."""
    rows, top = slide(shape[0], size[0], strides[0], padding)
    columns, left = slide(shape[1], size[1], strides[1], padding)
    return (rows, columns), (top, left)


@dataclass(frozen=True, eq=False)
class Conv:
    """A two-dimensional convolution (cross-correlation, as in Keras) and its activation.

    Attributes
    ----------
    weights : ndarray of shape (kernel_height, kernel_width, in_channels, out_channels), float32
    bias : ndarray of shape (out_channels,), float32
    strides : (int, int)
    padding : {"valid", "same"}
    relu : bool
        Whether a rectifier follows; linear otherwise.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    strides: tuple[int, int] = (1, 1)
    padding: Padding = "valid"
    relu: bool = True

    @property
    def n_kernels(self) -> int:
        """Number of kernels, that is of output channels."""
        return len(self.bias)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a kernel."""
        height, width = self.weights.shape[:2]
        return height, width

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return self.weights.size + self.bias.size

    def equals(self, other: "Conv") -> bool:
        """Whether weights and bias are those of another convolution of the same shape."""
        return np.array_equal(self.weights, other.weights) and np.array_equal(self.bias, other.bias)

    def output_shape(self, shape: Shape) -> Shape:
        """Height, width and channels that come out where ``shape`` goes in."""
        return (*_slide_both(shape, self.size, self.strides, self.padding)[0], self.n_kernels)

    def numbers(self, shape: Shape) -> int:
        """Count the numbers that one image takes: what comes out, and the patches it is made of."""
        rows, columns, n_kernels = self.output_shape(shape)
        return rows * columns * (math.prod(self.weights.shape[:3]) + n_kernels)

    def on(self, shape: Shape) -> Compute:
        """Give what convolves C-contiguous float32 images (n, height, width, channels)."""
        out_shape, pads = _slide_both(shape, self.size, self.strides, self.padding)
        weights, bias, strides = np.ascontiguousarray(self.weights), self.bias, self.strides
        return lambda images: convolve(images, weights, bias, strides, pads, out_shape, self.relu)

    def pads(self, shape: Shape) -> tuple[int, int]:
        """Give the padding before the first row and column of an image of ``shape``."""
        return _slide_both(shape, self.size, self.strides, self.padding)[1]


@dataclass(frozen=True)
class Pool:
    """Two-dimensional pooling.

    Attributes
    ----------
    kind : {"max", "average"}
    size : (int, int)
    strides : (int, int)
    padding : {"valid", "same"}
        Padded positions take part in neither the maximum nor the average, as in Keras.
    """

    kind: Literal["max", "average"] = "max"
    size: tuple[int, int] = (2, 2)
    strides: tuple[int, int] = (2, 2)
    padding: Padding = "valid"

    def output_shape(self, shape: Shape) -> Shape:
        """Height, width and channels that come out where ``shape`` goes in."""
        return (*_slide_both(shape, self.size, self.strides, self.padding)[0], shape[2])

    def numbers(self, shape: Shape) -> int:
        """Count the numbers that one image takes: what comes out."""
        return math.prod(self.output_shape(shape))

    def on(self, shape: Shape) -> Compute:
        """Make the function that pools C-contiguous float32 images (n, height, width, channels)."""
        out_shape, pads = _slide_both(shape, self.size, self.strides, self.padding)
        size, strides, average = self.size, self.strides, self.kind == "average"
        return lambda images: pool(images, size, strides, pads, out_shape, average)

    def pads(self, shape: Shape) -> tuple[int, int]:
        """Give the padding before the first row and column of an image of ``shape``."""
        return _slide_both(shape, self.size, self.strides, self.padding)[1]


Layer = Conv | Pool


class Forward:
    """Layers, prepared for images of one shape.

    Parameters
    ----------
    layers : sequence of Conv and Pool
    shape : (int, int, int)
        Height, width and channels of an image.
    """

    def __init__(self, layers: Sequence[Layer], shape: Shape) -> None:
        self._steps: list[Compute] = []
        most = 1
        for layer in layers:
            self._steps.append(layer.on(shape))
            most = max(most, layer.numbers(shape))
            shape = layer.output_shape(shape)
        self._out_shape = shape
        self._chunk_size = max(1, min(_CHUNK, _NUMBERS // most))

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Send images through the layers, chunk by chunk.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels), float32

        Returns
        -------
        ndarray of shape (n, out_height, out_width, out_channels), float32
        """
        # Convolutions run their own parallel loops.
        with single_threaded_blas():
            size = self._chunk_size
            if len(images) <= size:
                return self._chunk(images)
            out = np.empty((len(images), *self._out_shape), np.float32)
            for start in range(0, len(images), size):
                out[start : start + size] = self._chunk(images[start : start + size])
        return out

    def _chunk(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        images = np.ascontiguousarray(images, np.float32)
        for step in self._steps:
            images = step(images)
        return images


def forward(layers: Sequence[Layer], images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Send images of shape (n, height, width, channels) through layers: see :class:`Forward`."""
    return Forward(layers, images.shape[1:])(images)


@dataclass(frozen=True, eq=False)
class ConvStack:
    """The sliced network: convolutions and poolings, whose outputs are the features of the k-NN.

    Without layers, the features are the pixels.

    Attributes
    ----------
    layers : tuple of Conv and Pool
    input_shape : (int, int, int)
        Height, width and channels of one image.

    Raises
    ------
    InputError
        Where the layers do not fit each other or the images.
    """

    layers: tuple[Layer, ...]
    input_shape: Shape

    def __post_init__(self) -> None:
        shape = self.input_shape
        if len(shape) != 3 or any(type(size) is not int or size < 1 for size in shape):
            raise InputError(f"Images of shape {shape} are none: give height, width and channels.")
        if math.prod(shape) > _NUMBERS:
            raise InputError(
                f"Images of {shape[0]:,} x {shape[1]:,} pixels are too large: each takes "
                f"{4 * math.prod(shape) / 2**30:,.1f} GB; use smaller images."
            )
        for number, layer in enumerate(self.layers, 1):
            if isinstance(layer, Conv) and layer.weights.shape[2] != shape[2]:
                raise InputError(
                    f"Layer {number} expects {layer.weights.shape[2]} input channels, "
                    f"but gets {shape[2]}."
                )
            numbers = layer.numbers(shape)
            shape = layer.output_shape(shape)
            if min(shape) < 1:
                raise InputError(
                    f"Images of {self.input_shape[0]} x {self.input_shape[1]} pixels are too small "
                    f"for layer {number} of the network: use larger images or fewer layers."
                )
            if numbers > _NUMBERS:
                raise InputError(
                    f"Images of {self.input_shape[0]:,} x {self.input_shape[1]:,} pixels are too "
                    f"large for layer {number} of the network, where each takes "
                    f"{4 * numbers / 2**30:,.1f} GB: use smaller images or fewer kernels."
                )

    @property
    def conv_layers(self) -> tuple[int, ...]:
        """Positions of the convolutions among ``layers``."""
        return tuple(i for i, layer in enumerate(self.layers) if isinstance(layer, Conv))

    @property
    def convs(self) -> tuple[Conv, ...]:
        """The convolutions, in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, Conv))

    @property
    def stages(self) -> tuple[tuple[Conv, tuple[Pool, ...]], ...]:
        """Each convolution with the poolings that follow it."""
        stages: list[tuple[Conv, tuple[Pool, ...]]] = []
        for layer in self.layers:
            if isinstance(layer, Conv):
                stages.append((layer, ()))
            elif stages:
                conv, pools = stages[-1]
                stages[-1] = conv, (*pools, layer)
        return tuple(stages)

    @cached_property
    def feature_shape(self) -> Shape:
        """Height, width and channels of the features."""
        shape = self.input_shape
        for layer in self.layers:
            shape = layer.output_shape(shape)
        return shape

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return sum(conv.n_parameters for conv in self.convs)

    @property
    def digest(self) -> str:
        """SHA-256 of all weights and biases."""
        sha = hashlib.sha256()
        for conv in self.convs:
            sha.update(conv.weights.tobytes())
            sha.update(conv.bias.tobytes())
        return sha.hexdigest()

    def equals(self, other: "ConvStack") -> bool:
        """Whether all weights and biases are those of another stack of the same layers."""
        return all(one.equals(two) for one, two in zip(self.convs, other.convs, strict=True))

    def with_conv(self, index: int, conv: Conv) -> "ConvStack":
        """Return the same stack with another convolution instead of ``convs[index]``."""
        position = self.conv_layers[index]
        layers = (*self.layers[:position], conv, *self.layers[position + 1 :])
        return ConvStack(layers, self.input_shape)

    def check(self, images: NDArray[np.float32]) -> None:
        """Raise an InputError where images do not have the shape (n, ``*input_shape``)."""
        if images.shape[1:] != self.input_shape:
            raise InputError(
                f"The network takes images of shape {self.input_shape}, not {images.shape[1:]}: "
                "resize them, and convert their channels."
            )

    def forward(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the features of images.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels), float32
            Their numbers are taken as they are: engines and :class:`~slicing.data.dataset.Images`
            see to it that pixels are in [0, 1].

        Returns
        -------
        ndarray of shape (n, n_features), float32
            In the order of Keras' ``Flatten``: row, column, channel.

        Raises
        ------
        InputError
            Where the images do not have ``input_shape``.
        """
        self.check(images)
        if len(images) == 1 and images.dtype == np.float32 and images.flags.c_contiguous:
            return self.chain(images)
        return self._forward(images).reshape(len(images), int(np.prod(self.feature_shape)))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the compiled layers: they do not pickle, and are made again when needed."""
        return {"layers": self.layers, "input_shape": self.input_shape}

    @cached_property
    def chain(self) -> Chain:
        """The layers for one image at a time."""
        return Chain(self.layers, self.input_shape)

    @cached_property
    def _forward(self) -> Forward:
        return Forward(self.layers, self.input_shape)
