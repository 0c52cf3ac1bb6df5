"""A recurrent network, to compare with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from slicing.backend import load_keras
from slicing.baselines.layers import draw_seed, seeded
from slicing.baselines.training import TrainedNetwork, check_dropout
from slicing.checks import at_least
from slicing.stack import ConvStack, Shape

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, kw_only=True)
class LSTM(TrainedNetwork):
    """A recurrent network that reads an image row by row, trained by backpropagation.

    Long short-term memory (Hochreiter and Schmidhuber, Neural Computation 9(8), 1997) whose last
    state goes to a softmax over the classes. It has no convolutions: its stack gives the pixels.

    Parameters
    ----------
    units : int, default=128
        Numbers of the state.
    dropout : float, default=0
        The dropout rate before the softmax layer.
    epochs, batch_size, learning_rate, seed, threads, cache_dir
        See :class:`~slicing.baselines.training.TrainedNetwork`.
    """

    units: int = 128
    dropout: float = 0.0
    epochs: int = 20

    @property
    def variant(self) -> str:
        """Numbers of the state."""
        return str(self.units)

    def shape(self, image_shape: Shape, n_classes: int) -> ConvStack:
        """Give a stack without layers; see :meth:`BaselineBuilder.shape`."""
        self._check(image_shape)
        return ConvStack((), image_shape)

    def _check(self, image_shape: Shape) -> None:
        at_least("units", self.units, 1)
        check_dropout(self.dropout)
        super()._check(image_shape)

    def _stack(self, model: "keras.Model") -> ConvStack:
        return ConvStack((), model.input_shape[1:])

    def _model(self, image_shape: Shape, n_classes: int, rng: np.random.Generator) -> "keras.Model":
        keras = load_keras()
        height, width, channels = image_shape
        glorot, orthogonal = seeded("GlorotUniform", rng), seeded("Orthogonal", rng)
        model = keras.Sequential([keras.Input(image_shape)])
        model.add(keras.layers.Reshape((height, width * channels)))
        model.add(
            keras.layers.LSTM(
                self.units, kernel_initializer=glorot(), recurrent_initializer=orthogonal()
            )
        )
        if self.dropout:
            model.add(keras.layers.Dropout(self.dropout, seed=draw_seed(rng)))
        model.add(keras.layers.Dense(n_classes, "softmax", kernel_initializer=glorot()))
        return model
