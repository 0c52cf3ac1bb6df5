"""Networks that are trained by backpropagation, or read from the cache of trained weights."""

import logging
import time
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import platformdirs
from numpy.typing import NDArray

from slicing.backend import configure_threads, load_keras
from slicing.baselines.base import Baseline, BaselineBuilder, Epoch, check_labels
from slicing.baselines.head import KerasHead
from slicing.baselines.weight_cache import Trained, cache_file, read_trained, write_trained
from slicing.checks import at_least, check_seed, positive
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
# Options that do not change the weights, or do so in the environment.
_NO_RECIPE = ("threads", "cache_dir", "watched")


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork(BaselineBuilder):
    """A network that is trained by Adam on the cross-entropy.

    On one machine, with the same versions, at one seed and one number of threads, the weights are
    the same bit for bit from run to run. Global random generators are neither read nor changed.

    Parameters
    ----------
    epochs : int, default=5
    batch_size : int, default=128
    learning_rate : float, default=0.001
    seed : int, default=0
        Seeds the initial weights, the order of the images and the dropout.
    watched : Images or None, default=None
        On these, too, loss and accuracy are measured after each epoch. They change nothing: weights
        that are read from the cache tell what was measured when they were trained.
    threads : int or None, default=None
        Threads to train with, see :func:`slicing.backend.configure_threads`.
    cache_dir : path or None, default=None
        Folder of the trained weights; None is ``baselines`` in the user's cache for knn-slicing.
    """

    epochs: int = 5
    batch_size: int = 128
    learning_rate: float = 1e-3
    seed: int = 0
    threads: int | None = None
    cache_dir: str | Path | None = None
    watched: Images | None = field(default=None, compare=False, repr=False)

    is_trained: ClassVar[bool] = True
    uses_tensorflow: ClassVar[bool] = True

    @abstractmethod
    def _model(self, image_shape: Shape, n_classes: int, rng: np.random.Generator) -> "keras.Model":
        """Make the network, from images to shares, with weights that ``rng`` seeds."""

    @abstractmethod
    def _stack(self, model: "keras.Model") -> ConvStack:
        """Give its convolutional part."""

    def build(self, train: Images, classes: tuple[str, ...], show: Show = silent) -> Baseline:
        """Train the network, or read it from the cache; see :meth:`BaselineBuilder.build`.

        Raises
        ------
        InputError
            Also where the labels do not belong to ``classes``, or the training diverges.
        """
        image_shape, n_classes = train.images.shape[1:], len(classes)
        self._check(image_shape)
        check_labels(train, n_classes)
        path = self._cache_file(train, n_classes)
        rng = np.random.default_rng(self.seed)
        model = self._model(image_shape, n_classes, rng)

        trained = read_trained(path, [weight.shape for weight in model.weights])
        from_cache = trained is not None
        if trained is None:
            trained = self._train(model, train, rng, show)
            write_trained(path, trained)
        else:
            model.set_weights(trained.weights)
            log.info("Read the trained baseline from %s.", path)
        return Baseline(
            self._stack(model), classes, KerasHead(model), trained.seconds, from_cache,
            trained.epochs,
        )  # fmt: skip

    def _train(
        self, model: "keras.Model", train: Images, rng: np.random.Generator, show: Show
    ) -> Trained:
        keras = load_keras()
        model.compile(
            keras.optimizers.Adam(self.learning_rate),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        callbacks = [] if show is silent else [training_callback(show)]
        found = list[tuple[float, float]]()
        if self.watched is not None:
            callbacks.append(_watching(model, self.watched, found))
        start = time.perf_counter()
        history = model.fit(
            _stream(train, self.batch_size, self.epochs, rng),
            steps_per_epoch=-(-len(train) // self.batch_size),
            epochs=self.epochs,
            shuffle=False,
            verbose=0,
            callbacks=callbacks,
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
        epochs = [Epoch(*map(float, each)) for each in curve]
        if found:
            epochs = [
                Epoch(e.loss, e.accuracy, *more) for e, more in zip(epochs, found, strict=True)
            ]
        return Trained(weights, seconds, tuple(epochs))

    def _check(self, image_shape: Shape) -> None:
        check_seed(self.seed)
        at_least("epochs", self.epochs, 1)
        at_least("batch_size", self.batch_size, 1)
        positive("learning_rate", self.learning_rate)

    def _cache_file(self, train: Images, n_classes: int) -> Path:
        names = [each.name for each in fields(self) if each.name not in _NO_RECIPE]
        return cache_file(
            cache_folder(self.cache_dir),
            {
                "images": train.digest,
                "n_classes": n_classes,
                # No two classes of networks have options of the same names.
                **{name: getattr(self, name) for name in names},
                "environment": environment(configure_threads(self.threads)),
            },
        )


def check_dropout(dropout: float) -> None:
    """Refuse a dropout rate that is none.

    Raises
    ------
    InputError
    """
    if not 0 <= dropout < 1:
        raise InputError(
            f"dropout={dropout} is out of range: choose 0 or more, and less than 1.", "dropout"
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


def _watching(model: "keras.Model", images: Images, found: list[tuple[float, float]]) -> Any:
    """Make a Keras callback that adds loss and accuracy on some images after each epoch."""

    def measure(epoch: int, logs: Any) -> None:
        shares = KerasHead(model).outputs(images.images)
        own = shares[np.arange(len(images)), images.labels]
        loss = -np.log(np.maximum(own, np.finfo(np.float32).tiny)).mean()
        found.append((float(loss), float((shares.argmax(axis=1) == images.labels).mean())))

    return load_keras().callbacks.LambdaCallback(on_epoch_end=measure)


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


def cache_folder(given: str | Path | None) -> Path:
    """Give the folder of trained weights; by default ``baselines`` in the user's cache."""
    if given is not None:
        return Path(given).expanduser()
    return platformdirs.user_cache_path("knn-slicing") / "baselines"


def environment(threads: int) -> dict[str, object]:
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
