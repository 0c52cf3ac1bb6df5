"""Untrained kernels: the control, and the start without backpropagation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from slicing.baselines.base import Baseline, BaselineBuilder
from slicing.baselines.layers import check_conv_part
from slicing.data.dataset import Images
from slicing.show import Show, silent
from slicing.stack import Conv, ConvStack, Layer, Pool, Shape


@dataclass(frozen=True, kw_only=True)
class UntrainedCNN(BaselineBuilder):
    """The convolutional part of :class:`TrainedCNN` with random kernels.

    The kernels are drawn from He et al.'s normal distribution ("Delving deep into rectifiers",
    ICCV 2015), the biases are zero. TensorFlow takes no part.

    Parameters
    ----------
    filters : sequence of int, default=(32, 64)
        Kernels of each convolution.
    kernel_size : int, default=3
        Height and width of the kernels, in pixels.
    pooling : sequence of bool, default=(True, True)
        Whether 2 x 2 max pooling follows, for each convolution.
    seed : int, default=0
        Seeds the kernels.
    """

    filters: Sequence[int] = (32, 64)
    kernel_size: int = 3
    pooling: Sequence[bool] = (True, True)
    seed: int = 0

    is_trained: ClassVar[bool] = False
    uses_tensorflow: ClassVar[bool] = False

    def shape(self, image_shape: Shape, n_classes: int) -> ConvStack:
        """Give the conv stack itself; see :meth:`BaselineBuilder.shape`."""
        check_conv_part(image_shape, self.filters, self.kernel_size, self.pooling, self.seed)
        rng = np.random.default_rng(self.seed)
        layers: list[Layer] = []
        n_inputs = (image_shape[2], *self.filters)
        for n_in, n_kernels, pooled in zip(n_inputs, self.filters, self.pooling, strict=False):
            shape = (self.kernel_size, self.kernel_size, n_in, n_kernels)
            weights = rng.normal(0.0, np.sqrt(2.0 / (self.kernel_size**2 * n_in)), shape)
            layers.append(Conv(weights.astype(np.float32), np.zeros(n_kernels, np.float32)))
            layers += [Pool()] * pooled
        height, width, channels = image_shape
        return ConvStack(tuple(layers), (height, width, channels))

    def build(self, train: Images, classes: tuple[str, ...], show: Show = silent) -> Baseline:
        """Draw the kernels: there is no head; see :meth:`BaselineBuilder.build`."""
        return Baseline(self.shape(train.images.shape[1:], len(classes)), classes)
