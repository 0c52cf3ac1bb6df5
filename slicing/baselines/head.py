"""What a baseline classifies with: the rest of its network, or a model of another kind."""

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

SCORES = "head_scores"
"""The layer that gives the scores of the classes, of a frozen network with a head of its own."""

# Images that are classified at a time, or fewer: they stay within so many numbers.
_CHUNK, _NUMBERS = 500, 2**24


class Head(Protocol):
    """Classifies images without the k-NN.

    Attributes
    ----------
    n_parameters : int
        Numbers that were learned.
    total_bytes : int
        Bytes of everything that classifying needs.
    """

    @property
    def n_parameters(self) -> int: ...  # noqa: D102

    @property
    def total_bytes(self) -> int: ...  # noqa: D102

    def outputs(self, images: NDArray[np.float32]) -> NDArray[np.float64]:
        """Compute an output for each class, the larger the likelier.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels), float32

        Returns
        -------
        ndarray of shape (n, n_classes), float64
            Shares, none negative and with a sum of 1, or logits.
        """


class KerasHead:
    """A Keras model, from images to outputs.

    Parameters
    ----------
    model : keras.Model
        The whole network, not only what is cut off.
    """

    def __init__(self, model: "keras.Model") -> None:
        self.model = model

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases, those of the convolutions included."""
        return int(self.model.count_params())

    @property
    def total_bytes(self) -> int:
        """Bytes of the weights and biases in float32."""
        return 4 * self.n_parameters

    def outputs(self, images: NDArray[np.float32]) -> NDArray[np.float64]:
        """See :meth:`Head.outputs`."""
        outputs = np.empty((len(images), self.model.output_shape[-1]))
        size = max(1, min(_CHUNK, _NUMBERS // math.prod(images.shape[1:])))
        for start in range(0, len(images), size):
            part = slice(start, start + size)
            outputs[part] = self.model.predict_on_batch(images[part])
        return outputs
