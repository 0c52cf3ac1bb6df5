"""A CNN that is trained by backpropagation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from slicing.backend import load_keras
from slicing.baselines.layers import check_conv_part, conv_part, draw_seed, seeded
from slicing.baselines.training import TrainedNetwork, check_dropout
from slicing.baselines.untrained import UntrainedCNN
from slicing.checks import at_least
from slicing.cutting import cut
from slicing.stack import ConvStack, Shape

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, kw_only=True)
class TrainedCNN(TrainedNetwork):
    """A CNN trained by backpropagation.

    Convolutions (valid padding, ReLU), each with or without 2 x 2 max pooling behind it, a dense
    layer (ReLU) and a softmax over the classes.

    Parameters
    ----------
    filters : sequence of int, default=(32, 64)
        Kernels of each convolution.
    kernel_size : int, default=3
        Height and width of the kernels, in pixels.
    pooling : sequence of bool, default=(True, True)
        Whether max pooling follows, for each convolution.
    units : int, default=64
        Units of the dense layer before the softmax.
    dropout : float, default=0
        The dropout rate before the softmax layer; half of it applies before the first dense
        layer. 0.5 gives the rates of Keras' own MNIST example, 0.5 and 0.25.
    batch_norm : bool, default=False
        Whether to normalize between each convolution and its ReLU.
    epochs, batch_size, learning_rate, seed, threads, cache_dir
        See :class:`~slicing.baselines.training.TrainedNetwork`.
    """

    filters: Sequence[int] = (32, 64)
    kernel_size: int = 3
    pooling: Sequence[bool] = (True, True)
    units: int = 64
    dropout: float = 0.0
    batch_norm: bool = False

    @property
    def variant(self) -> str:
        """Units of the dense layer."""
        return str(self.units)

    def shape(self, image_shape: Shape, n_classes: int) -> ConvStack:
        """Give a stack with random kernels; see :meth:`BaselineBuilder.shape`."""
        self._check(image_shape)
        return UntrainedCNN(
            filters=self.filters,
            kernel_size=self.kernel_size,
            pooling=self.pooling,
            seed=self.seed,
        ).shape(image_shape, n_classes)

    def _check(self, image_shape: Shape) -> None:
        check_conv_part(image_shape, self.filters, self.kernel_size, self.pooling, self.seed)
        at_least("units", self.units, 1)
        check_dropout(self.dropout)
        super()._check(image_shape)

    def _stack(self, model: "keras.Model") -> ConvStack:
        return cut(model)

    def _model(self, image_shape: Shape, n_classes: int, rng: np.random.Generator) -> "keras.Model":
        keras = load_keras()
        initializer = seeded("GlorotUniform", rng)
        model = conv_part(
            image_shape,
            self.filters,
            self.kernel_size,
            self.pooling,
            initializer,
            self.batch_norm,
        )
        if self.dropout:
            model.add(keras.layers.Dropout(self.dropout / 2, seed=draw_seed(rng)))
        model.add(keras.layers.Flatten())
        model.add(keras.layers.Dense(self.units, "relu", kernel_initializer=initializer()))
        if self.dropout:
            model.add(keras.layers.Dropout(self.dropout, seed=draw_seed(rng)))
        model.add(keras.layers.Dense(n_classes, "softmax", kernel_initializer=initializer()))
        return model
