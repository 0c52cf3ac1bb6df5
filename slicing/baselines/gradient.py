"""Kernels tuned by gradient descent on the soft-neighbor loss: the baseline for evolution."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from slicing.backend import load_keras
from slicing.baselines.base import Baseline, BaselineBuilder
from slicing.baselines.trained import TrainedCNN
from slicing.checks import at_least, between, positive
from slicing.cutting import cut, to_keras
from slicing.data.dataset import Images
from slicing.errors import InputError
from slicing.shifts import largest_shift, shifted_at_random
from slicing.show import Show, silent
from slicing.stack import ConvStack, Shape

if TYPE_CHECKING:
    import keras

# Images of one step, each of which is classified by the others.
_BATCH = 500
# Part of the progress that the network before its tuning is.
_BUILT = 0.2


@dataclass(frozen=True)
class Tuned(BaselineBuilder):
    """Any baseline, whose convolutional part is then tuned for the k-NN by gradient.

    The loss is :func:`neighbor_loss` within batches of 500 images, with squared Euclidean distances
    in units of the batch's mean distance to the nearest image at the start; Adam. It is what
    evolution minimizes, without the exactness, on the same parameters.

    Parameters
    ----------
    builder : BaselineBuilder
        Builds the network that is tuned. It needs at least two training images of each class.
    epochs : int, default=20
        Passes over the training images.
    shift : int, default=2
        Every time an image is used, it is shifted by up to so many pixels in each direction.
    rate : float, default=0.001
        Step size of Adam.
    seed : int, default=0
        Seeds the order of the images and their shifts.
    prefix : str, default=""
        Comes before the names of these options in the sentences of errors.
    """

    builder: BaselineBuilder
    epochs: int = 20
    shift: int = 2
    rate: float = 1e-3
    seed: int = 0
    prefix: str = ""

    is_trained: ClassVar[bool] = True
    uses_tensorflow: ClassVar[bool] = True

    @property
    def variant(self) -> str:
        """That of the network that is tuned."""
        return self.builder.variant

    def shape(self, image_shape: Shape, n_classes: int) -> ConvStack:
        """Give that of the network that is tuned; see :meth:`BaselineBuilder.shape`."""
        self._check(image_shape)
        stack = self.builder.shape(image_shape, n_classes)
        if not stack.convs:
            raise InputError("The network has no convolution to tune: give one with a Conv2D.")
        return stack

    def build(self, train: Images, classes: tuple[str, ...], show: Show = silent) -> Baseline:
        """Build the network, and tune it: no head is left; see :meth:`BaselineBuilder.build`."""
        self.shape(train.images.shape[1:], len(classes))
        baseline = self.builder.build(train, classes, lambda done, text: show(_BUILT * done, text))
        start = time.perf_counter()
        stack = self._tune(baseline, train, show)
        seconds = baseline.train_seconds + time.perf_counter() - start
        return Baseline(stack, classes, train_seconds=seconds, training=baseline.training)

    def _check(self, image_shape: Shape) -> None:
        at_least(f"{self.prefix}epochs", self.epochs, 1)
        between(f"{self.prefix}shift", self.shift, 0, largest_shift(image_shape), "pixels")
        positive(f"{self.prefix}rate", self.rate)

    def _tune(self, baseline: Baseline, train: Images, show: Show) -> ConvStack:
        keras = load_keras()
        import tensorflow as tf

        conv = _convolutions(baseline)
        optimizer = keras.optimizers.Adam(self.rate)

        def squares(images: Any) -> Any:
            return squared_distances(conv(images, training=False))

        rng = np.random.default_rng([self.seed, 1])
        some = tf.constant(train.images[rng.permutation(len(train))[:_BATCH]])
        others = squares(some) + tf.linalg.diag(tf.fill([len(some)], np.float32(np.inf)))
        unit = float(tf.reduce_mean(tf.reduce_min(others, axis=1))) or 1.0

        # Gives nothing: with the loss as an output, TensorFlow fuses other operations, and the
        # weights differ in their last bits.
        @tf.function(reduce_retracing=True)
        def step(images: Any, labels: Any) -> None:
            with tf.GradientTape() as tape:
                loss = neighbor_loss(squares(images), labels, unit)
            variables = conv.trainable_variables
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        for epoch in range(self.epochs):
            order = rng.permutation(len(train))
            batches = np.array_split(order, -(-len(order) // _BATCH))
            for number, chosen in enumerate(batches, 1):
                moved = shifted_at_random(train.images[chosen], self.shift, rng)
                step(tf.constant(moved), tf.constant(train.labels[chosen]))
                done = (epoch + number / len(batches)) / self.epochs
                show(_BUILT + (1.0 - _BUILT) * done, f"tuning, epoch {epoch + 1} of {self.epochs}")
        return cut(conv)


def gradient_cnn(
    *,
    tuning_epochs: int = 20,
    tuning_shift: int = 2,
    tuning_rate: float = 1e-3,
    seed: int = 0,
    **options: Any,
) -> Tuned:
    """Give what trains a CNN, then tunes its convolutional part by gradient.

    Parameters
    ----------
    tuning_epochs, tuning_shift, tuning_rate
        As ``epochs``, ``shift`` and ``rate`` for :class:`Tuned`.
    seed : int, default=0
        Of both.
    **options
        As for :class:`~slicing.baselines.TrainedCNN`.
    """
    builder = TrainedCNN(seed=seed, **options)
    return Tuned(builder, tuning_epochs, tuning_shift, tuning_rate, seed, prefix="tuning_")


def squared_distances(features: Any) -> Any:
    """Compute the squared distances of features (n, n_features) to each other: (n, n), tensors."""
    import tensorflow as tf

    lengths = tf.reduce_sum(features**2, axis=1)
    products = tf.matmul(features, features, transpose_b=True)
    return tf.maximum(lengths[:, None] - 2.0 * products + lengths[None], 0.0)


def neighbor_loss(squares: Any, labels: Any, temperature: float, floor: float = 1e-3) -> Any:
    """Compute the mean loss of images that are classified by each other.

    It is that of neighborhood components analysis (Goldberger et al., NIPS 2004, equations 1 and
    2): -log of the soft vote p of the true class, floored smoothly: -log((p + f) / (1 + f)).

    Parameters
    ----------
    squares : tensor of shape (n, n), float32
        Squared distances.
    labels : tensor of shape (n,), int64
    temperature : float
        In the unit of ``squares``.
    floor : float, default=1e-3
        What an image without one neighbor of its class counts: -log of about this vote. The default
        is that of the objective that evolution minimizes.

    Returns
    -------
    tensor of shape (), float32
    """
    import tensorflow as tf

    logits = -squares / temperature
    logits -= 1e9 * tf.eye(tf.shape(labels)[0])
    same = tf.cast(labels[:, None] == labels[None], tf.float32)
    vote = tf.reduce_sum(same * tf.nn.softmax(logits), axis=1)
    return -tf.reduce_mean(tf.math.log((vote + floor) / (1.0 + floor)))


def _convolutions(baseline: Baseline) -> "keras.Model":
    """Give the convolutional part as a Keras model with flat features."""
    keras = load_keras()
    kinds = keras.layers
    heads = (kinds.Flatten, kinds.GlobalAveragePooling2D, kinds.Dense)
    model = baseline.model
    if model is not None:
        head = next((layer for layer in model.layers if isinstance(layer, heads)), None)
        if isinstance(head, kinds.Flatten):
            # With its batch normalization, which is tuned, too.
            return keras.Model(model.inputs, head.output)
    return to_keras(baseline.stack)
