"""Folding: what stands between the convolutions of a network becomes part of them."""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slicing.stack import Conv, ConvStack, Layer, Pool, Shape, slide


class Folding:
    """Collects a chain of layers as convolutions and poolings alone, exactly.

    What scales and shifts each channel is folded into the linear convolution before it, else into
    the next one. Where that is not exact, because a ReLU or the zeros of a padding come between, it
    becomes a linear 1 x 1 convolution.

    Parameters
    ----------
    shape : (int, int, int)
        Height, width and channels of an image.

    Attributes
    ----------
    layers : list of Conv and Pool
        What was added so far, without what waits for the next convolution.
    shape : (int, int, int)
        Height, width and channels of what the layers so far give.
    """

    def __init__(self, shape: Shape) -> None:
        self.layers: list[Layer] = []
        self.shape = self._input_shape = shape
        # Factor and shift of each channel that wait for the next convolution.
        self._waiting: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    def conv(self, conv: Conv) -> None:
        """Add a convolution."""
        if self._waiting is not None:
            factor, shift = self._waiting
            if shift.any() and self._pads(conv):
                self._place()
            else:
                self._waiting = None
                weights = conv.weights.astype(float)
                bias = conv.bias + np.einsum("hwio,i->o", weights, shift)
                conv = replace(
                    conv,
                    weights=(weights * factor[:, None]).astype(np.float32),
                    bias=bias.astype(np.float32),
                )
        self._append(conv)

    def pool(self, pool: Pool) -> None:
        """Add a pooling."""
        # Averages, and maxima of what is not turned around, may as well come first.
        if self._waiting is not None and pool.kind == "max" and (self._waiting[0] < 0).any():
            self._place()
        self._append(pool)

    def scale(self, factor: ArrayLike, before: ArrayLike = 0.0, after: ArrayLike = 0.0) -> None:
        """Add ``(x + before) * factor + after``, each one number or one for each channel."""
        factor, before, after = (np.asarray(each, float) for each in (factor, before, after))
        last = self.layers[-1] if self.layers else None
        if self._waiting is None and isinstance(last, Conv) and not last.relu:
            # A convolution again: Jacob et al., "Quantization and training of neural networks for
            # efficient integer-arithmetic-only inference", CVPR 2018, equation 14.
            self.layers[-1] = replace(
                last,
                weights=(last.weights * factor).astype(np.float32),
                bias=((last.bias + before) * factor + after).astype(np.float32),
            )
            return
        channels = self.shape[2]
        old_factor, old_shift = self._waiting or (np.ones(channels), np.zeros(channels))
        self._waiting = old_factor * factor, (old_shift + before) * factor + after

    def rectify(self) -> None:
        """Add a ReLU."""
        self._place()
        place = len(self.layers) - 1
        while place >= 0 and isinstance(pool := self.layers[place], Pool) and pool.kind == "max":
            place -= 1  # it may as well come before a maximum
        last = self.layers[place] if place >= 0 else None
        if isinstance(last, Conv):
            self.layers[place] = replace(last, relu=True)
        else:
            self._append(_pointwise(np.ones(self.shape[2]), np.zeros(self.shape[2]), relu=True))

    def stack(self) -> ConvStack:
        """Give the stack of all that was added."""
        self._place()
        return ConvStack(tuple(self.layers), self._input_shape)

    def _place(self) -> None:
        """Make what waits a convolution of its own."""
        if self._waiting is not None:
            self._append(_pointwise(*self._waiting, relu=False))
            self._waiting = None

    def _append(self, layer: Layer) -> None:
        self.layers.append(layer)
        self.shape = layer.output_shape(self.shape)

    def _pads(self, conv: Conv) -> bool:
        """Whether a window of the convolution reaches beyond the image."""
        axes = zip(self.shape, conv.weights.shape, conv.strides, strict=False)
        for length, window, stride in axes:
            count, before = slide(length, window, stride, conv.padding)
            if before or (count - 1) * stride + window > length:
                return True
        return False


def _pointwise(factor: NDArray[np.float64], shift: NDArray[np.float64], relu: bool) -> Conv:
    """Make the 1 x 1 convolution that scales and shifts each channel."""
    weights = np.diag(factor)[None, None].astype(np.float32)
    return Conv(weights, shift.astype(np.float32), relu=relu)
