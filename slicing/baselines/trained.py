"""A CNN that is trained by backpropagation, or read from the cache of trained weights."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import platformdirs
from numpy.typing import NDArray

from slicing.backend import configure_threads, load_keras
from slicing.baselines.base import Baseline, BaselineBuilder, Epoch
from slicing.baselines.layers import check_conv_part, conv_part, draw_seed, seeded
from slicing.baselines.untrained import UntrainedCNN
from slicing.baselines.weight_cache import Trained, cache_file, read_trained, write_trained
from slicing.checks import at_least, positive
from slicing.cutting import cut
from slicing.data.dataset import Images
from slicing.errors import InputError
from slicing.machine import TENSORFLOW, processor, switches
from slicing.show import Show, silent
from slicing.stack import ConvStack, Shape

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)

# Part of the cache's key: raise it with every change to how the networks here are trained, or to
# what is kept of it.
_RECIPE = 2


@dataclass(frozen=True, kw_only=True)
class TrainedCNN(BaselineBuilder):
    """A CNN trained by backpropagation.

    Convolutions (valid padding, ReLU), each with or without 2 x 2 max pooling behind it, a dense
    layer (ReLU) and a softmax over the classes; Adam on the cross-entropy. On one machine, with the
    same versions, at one seed and one number of threads, the weights are the same bit for bit from
    run to run. Global random generators are neither read nor changed.

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
    epochs : int, default=5
    batch_size : int, default=128
    learning_rate : float, default=0.001
    seed : int, default=0
        Seeds the initial weights, the order of the images and the dropout.
    threads : int or None, default=None
        Threads to train with, see :func:`slicing.backend.configure_threads`.
    cache_dir : path or None, default=None
        Folder of the trained weights; None is ``baselines`` in the user's cache for knn-slicing.
    """

    filters: Sequence[int] = (32, 64)
    kernel_size: int = 3
    pooling: Sequence[bool] = (True, True)
    units: int = 64
    dropout: float = 0.0
    batch_norm: bool = False
    epochs: int = 5
    batch_size: int = 128
    learning_rate: float = 1e-3
    seed: int = 0
    threads: int | None = None
    cache_dir: str | Path | None = None

    is_trained: ClassVar[bool] = True
    uses_tensorflow: ClassVar[bool] = True

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

    def build(self, train: Images, classes: tuple[str, ...], show: Show = silent) -> Baseline:
        """Train the CNN, or read it from the cache; see :meth:`BaselineBuilder.build`.

        Raises
        ------
        InputError
            Also where the labels do not belong to ``classes``, or the training diverges.
        """
        self._check(train.images.shape[1:])
        n_classes = len(classes)
        _check_labels(train, n_classes)
        path = self._cache_file(train, n_classes)
        rng = np.random.default_rng(self.seed)
        model = self._model(train.images.shape[1:], n_classes, rng)

        trained = read_trained(path, [weight.shape for weight in model.weights])
        from_cache = trained is not None
        if trained is None:
            trained = self._train(model, train, rng, show)
            write_trained(path, trained)
        else:
            model.set_weights(trained.weights)
            log.info("Read the trained baseline from %s.", path)
        return Baseline(cut(model), classes, model, trained.seconds, from_cache, trained.epochs)

    def _train(
        self, model: "keras.Model", train: Images, rng: np.random.Generator, show: Show
    ) -> Trained:
        keras = load_keras()
        model.compile(
            keras.optimizers.Adam(self.learning_rate),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        start = time.perf_counter()
        history = model.fit(
            _stream(train, self.batch_size, self.epochs, rng),
            steps_per_epoch=-(-len(train) // self.batch_size),
            epochs=self.epochs,
            shuffle=False,
            verbose=0,
            callbacks=[] if show is silent else [training_callback(show)],
        )
        seconds = time.perf_counter() - start
        weights = model.get_weights()
        if not all(np.isfinite(weight).all() for weight in weights):
            raise InputError(
                f"learning_rate={self.learning_rate} is too large, the training diverged: choose a "
                "smaller one.",
                "learning_rate",
            )
        curve = zip(history.history["loss"], history.history["accuracy"], strict=True)
        return Trained(weights, seconds, tuple(Epoch(*map(float, each)) for each in curve))

    def _check(self, image_shape: Shape) -> None:
        check_conv_part(image_shape, self.filters, self.kernel_size, self.pooling, self.seed)
        at_least("units", self.units, 1)
        if not 0 <= self.dropout < 1:
            raise InputError(
                f"dropout={self.dropout} is out of range: choose 0 or more, and less than 1.",
                "dropout",
            )
        at_least("epochs", self.epochs, 1)
        at_least("batch_size", self.batch_size, 1)
        positive("learning_rate", self.learning_rate)

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

    def _cache_file(self, train: Images, n_classes: int) -> Path:
        folder = (
            Path(self.cache_dir).expanduser()
            if self.cache_dir is not None
            else platformdirs.user_cache_path("knn-slicing") / "baselines"
        )
        return cache_file(
            folder,
            {
                "images": train.digest,
                "n_classes": n_classes,
                "filters": list(self.filters),
                "kernel_size": self.kernel_size,
                "pooling": list(self.pooling),
                "units": self.units,
                "dropout": self.dropout,
                "batch_norm": self.batch_norm,
                "epochs": self.epochs,
                "batch_size": self.batch_size,
                "learning_rate": self.learning_rate,
                "seed": self.seed,
                "environment": _environment(configure_threads(self.threads)),
            },
        )


def training_callback(show: Show) -> Any:
    """Make a Keras callback that shows a training: its epoch, its loss and its accuracy.

    Returns
    -------
    keras.callbacks.Callback
    """

    class TrainingProgress(load_keras().callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self._epoch = epoch

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            epochs, steps = self.params["epochs"], self.params["steps"]
            done = (self._epoch * steps + batch + 1) / (epochs * steps)
            figures = f"loss {logs['loss']:.4f}, accuracy {logs['accuracy']:.1%}"
            show(done, f"epoch {self._epoch + 1} of {epochs}, {figures}")

    return TrainingProgress()


def _check_labels(train: Images, n_classes: int) -> None:
    if not len(train):
        raise InputError("There are no images to train the baseline with.")
    if train.labels.min() < 0 or train.labels.max() >= n_classes:
        raise InputError(
            f"The labels run from {train.labels.min()} to {train.labels.max()}, and must lie "
            f"between 0 and {n_classes - 1} for {n_classes} classes."
        )


def _stream(train: Images, batch_size: int, epochs: int, rng: np.random.Generator) -> Any:
    """Give the batches of all epochs to TensorFlow, each when it is asked for.

    Keras would put a generator into a dataset that tunes itself. The thread that does sleeps up to
    a minute at a time, and leaving ``fit`` waits for it.

    Returns
    -------
    tensorflow.data.Dataset
    """
    import tensorflow as tf

    pixels = tf.TensorSpec((None, *train.images.shape[1:]), tf.float32)
    labels = tf.TensorSpec((None,), tf.int64)
    batches = tf.data.Dataset.from_generator(
        lambda: _batches(train, batch_size, epochs, rng), output_signature=(pixels, labels)
    )
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)


def _batches(
    train: Images, batch_size: int, epochs: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Yield the batches of all epochs, the images in a new order in each."""
    # Keras' own shuffling would draw from TensorFlow's global generator.
    for _ in range(epochs):
        order = rng.permutation(len(train))
        for start in range(0, len(train), batch_size):
            chosen = order[start : start + batch_size]
            yield train.images[chosen], train.labels[chosen]


def _environment(threads: int) -> dict[str, object]:
    """Describe what besides the options determines trained weights."""
    keras = load_keras()
    import tensorflow as tf

    return {
        "recipe": _RECIPE,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "threads": threads,
        "processor": processor(),
        "gpus": [
            tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
            for gpu in tf.config.list_physical_devices("GPU")
        ],
        "switches": switches(TENSORFLOW),
    }
