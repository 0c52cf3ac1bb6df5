"""Kernels tuned by gradient on the loss of the neighbors: what those that evolve stand beside."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slicing.backend import load_keras
from slicing.baselines import Baseline, trained_cnn
from slicing.cnn import require
from slicing.cut import cut
from slicing.data.dataset import Images
from slicing.shifts import shifted_at_random

if TYPE_CHECKING:
    import keras

# As of the objective that evolution minimizes, evolve.fitness.objectives.
_FLOOR = 1e-3
# Images of one step, each of which is classified by the others.
_BATCH = 500


def gradient_cnn(
    train: Images,
    n_classes: int,
    *,
    tuning_epochs: int = 20,
    tuning_shift: int = 2,
    tuning_rate: float = 1e-3,
    filters: Sequence[int] = (32, 64),
    kernel_size: int = 3,
    pooling: Sequence[bool] = (True, True),
    units: int = 64,
    dropout: float = 0.0,
    batch_norm: bool = False,
    epochs: int = 5,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    seed: int = 0,
    threads: int | None = None,
    cache_dir: str | Path | None = None,
    callbacks: Sequence["keras.callbacks.Callback"] = (),
) -> Baseline:
    """Train a CNN, then tune its convolutional part for the k-NN by gradient.

    The loss is that of neighborhood components analysis (Goldberger et al., NIPS 2004, equations 1
    and 2) within batches of 500 images: -log of the soft vote of the true class, with squared
    Euclidean distances in units of the batch's mean distance to the nearest image at the start;
    Adam. It is what evolution minimizes, less the exactness, on the same parameters.

    Parameters
    ----------
    train : Images
        At least two of each class that there is.
    n_classes : int
    tuning_epochs : int, default=20
        Passes over the training images.
    tuning_shift : int, default=2
        Every time an image is used, it is shifted by up to so many pixels in each direction.
    tuning_rate : float, default=0.001
        Step size of Adam.
    filters, kernel_size, pooling, units, dropout, batch_norm, epochs, batch_size, learning_rate, \
    seed, threads, cache_dir, callbacks
        As for :func:`slicing.baselines.trained_cnn`, whose training comes first.

    Returns
    -------
    Baseline
        Without a model: the dense layers no longer fit the kernels.

    Raises
    ------
    InputError
        Options out of range.
    """
    require(tuning_epochs >= 1, "tuning_epochs", tuning_epochs, "at least 1")
    most = min(train.images.shape[1:3]) - 1
    require(0 <= tuning_shift <= most, "tuning_shift", tuning_shift, f"0 to {most}")
    require(0 < tuning_rate < np.inf, "tuning_rate", tuning_rate, "a number above 0")
    baseline = trained_cnn(
        train,
        n_classes,
        filters=filters,
        kernel_size=kernel_size,
        pooling=pooling,
        units=units,
        dropout=dropout,
        batch_norm=batch_norm,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        threads=threads,
        cache_dir=cache_dir,
        callbacks=callbacks,
    )
    keras = load_keras()
    import tensorflow as tf

    assert baseline.model is not None
    model = baseline.model
    flat = next(layer for layer in model.layers if isinstance(layer, keras.layers.Flatten))
    conv = keras.Model(model.inputs, flat.output)
    optimizer = keras.optimizers.Adam(tuning_rate)

    def squares(images: Any) -> Any:
        """Squared distances of the images' features to each other."""
        features = conv(images, training=False)
        lengths = tf.reduce_sum(features**2, axis=1)
        products = tf.matmul(features, features, transpose_b=True)
        return tf.maximum(lengths[:, None] - 2.0 * products + lengths[None], 0.0)

    rng = np.random.default_rng([seed, 1])
    some = tf.constant(train.images[rng.permutation(len(train))[:_BATCH]])
    others = squares(some) + tf.linalg.diag(tf.fill([len(some)], np.float32(np.inf)))
    unit = float(tf.reduce_mean(tf.reduce_min(others, axis=1))) or 1.0

    @tf.function(reduce_retracing=True)
    def step(images: Any, labels: Any) -> None:
        with tf.GradientTape() as tape:
            logits = -squares(images) / unit
            logits -= 1e9 * tf.eye(tf.shape(labels)[0])
            same = tf.cast(labels[:, None] == labels[None], tf.float32)
            vote = tf.reduce_sum(same * tf.nn.softmax(logits), axis=1)
            loss = -tf.reduce_mean(tf.math.log((vote + _FLOOR) / (1.0 + _FLOOR)))
        variables = conv.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    start = time.perf_counter()
    for _ in range(tuning_epochs):
        order = rng.permutation(len(train))
        for chosen in np.array_split(order, -(-len(order) // _BATCH)):
            moved = shifted_at_random(train.images[chosen], tuning_shift, rng)
            step(tf.constant(moved), tf.constant(train.labels[chosen]))
    seconds = baseline.train_seconds + time.perf_counter() - start
    return Baseline(cut(model), train_seconds=seconds)
