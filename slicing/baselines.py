"""The networks that are cut: CNNs trained by backpropagation, untrained ones, a user's own."""

import logging
import platform
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import platformdirs
from numpy.typing import NDArray

from slicing.backend import configure_threads, load_keras
from slicing.cnn import conv_part, draw_seed, require, require_conv_part, seeded
from slicing.cut import cut
from slicing.data.dataset import Images
from slicing.errors import InputError
from slicing.stack import Conv, ConvStack, Layer, Pool
from slicing.weight_cache import cache_file, read_weights, write_weights

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)

# Part of the cache's key: raise it with every change to how the networks here are trained.
_RECIPE = 1

# Activations of one chunk of images stay within a few tens of megabytes.
_CHUNK = 500


@dataclass(frozen=True)
class Baseline:
    """A network before its cut.

    Attributes
    ----------
    stack : ConvStack
        Its convolutional part.
    model : keras.Model or None
        The whole network; None where nobody trained a head for the convolutional part.
    train_seconds : float
        How long the training took, when it took place; 0 where nothing was trained here.
    from_cache : bool
        Whether the weights were read from the cache instead of trained now.
    """

    stack: ConvStack
    model: "keras.Model | None" = None
    train_seconds: float = 0.0
    from_cache: bool = False

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases, those of the head included."""
        return self.stack.n_parameters if self.model is None else int(self.model.count_params())

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.int64]:
        """Classify images with the model's own head.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels), float32
            Pixels in [0, 1].

        Returns
        -------
        ndarray of shape (n,), int64
            The class with the largest output; the first of equal ones.

        Raises
        ------
        InputError
            Where the model has no trained head.
        """
        if self.model is None:
            raise InputError("This baseline has no trained head to classify with: use the k-NN.")
        labels = np.empty(len(images), np.int64)
        for start in range(0, len(images), _CHUNK):
            outputs = self.model.predict_on_batch(images[start : start + _CHUNK])
            labels[start : start + _CHUNK] = outputs.argmax(axis=1)
        return labels


def trained_cnn(
    train: Images,
    n_classes: int,
    *,
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
    """Train a CNN by backpropagation, or read it from the cache.

    Convolutions (valid padding, ReLU), each with or without 2 x 2 max pooling behind it, a dense
    layer (ReLU) and a softmax over the classes; Adam on the cross-entropy. At one seed and one
    number of threads, the weights are the same bit for bit from run to run. Global random
    generators are neither read nor changed.

    Parameters
    ----------
    train : Images
        The training images.
    n_classes : int
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
        Threads to train with, see `slicing.backend.configure_threads`.
    cache_dir : path or None, default=None
        Folder of the trained weights; None is ``baselines`` in the user's cache for knn-slicing.
    callbacks : sequence of keras.callbacks.Callback, default=()
        What watches the training (a progress bar, say). They must not change it: the cache does
        not know them.

    Returns
    -------
    Baseline

    Raises
    ------
    InputError
        Where an option is out of range, the images are too small for the layers or do not belong
        to ``n_classes`` classes, or the training diverges.
    """
    filters, pooling = tuple(filters), tuple(pooling)
    image_shape = train.images.shape[1:]
    require_conv_part(image_shape, filters, kernel_size, pooling, seed)
    require(units >= 1, "units", units, "at least 1")
    require(0 <= dropout < 1, "dropout", dropout, "at least 0 and below 1")
    require(epochs >= 1, "epochs", epochs, "at least 1")
    require(batch_size >= 1, "batch_size", batch_size, "at least 1")
    require(0 < learning_rate < np.inf, "learning_rate", learning_rate, "a number above 0")
    if not len(train):
        raise InputError("There are no images to train the baseline with.")
    if train.labels.min() < 0 or train.labels.max() >= n_classes:
        raise InputError(
            f"The labels run from {train.labels.min()} to {train.labels.max()}, and must lie "
            f"between 0 and {n_classes - 1} for {n_classes} classes."
        )
    path = cache_file(
        Path(cache_dir).expanduser()
        if cache_dir is not None
        else platformdirs.user_cache_path("knn-slicing") / "baselines",
        {
            "images": train.digest,
            "n_classes": n_classes,
            "filters": filters,
            "kernel_size": kernel_size,
            "pooling": pooling,
            "units": units,
            "dropout": dropout,
            "batch_norm": batch_norm,
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "seed": seed,
            "environment": _environment(configure_threads(threads)),
        },
    )

    keras = load_keras()
    rng = np.random.default_rng(seed)
    model = conv_part(
        image_shape, filters, kernel_size, pooling, seeded("GlorotUniform", rng), batch_norm
    )
    if dropout:
        model.add(keras.layers.Dropout(dropout / 2, seed=draw_seed(rng)))
    model.add(keras.layers.Flatten())
    initializer = seeded("GlorotUniform", rng)
    model.add(keras.layers.Dense(units, "relu", kernel_initializer=initializer()))
    if dropout:
        model.add(keras.layers.Dropout(dropout, seed=draw_seed(rng)))
    model.add(keras.layers.Dense(n_classes, "softmax", kernel_initializer=initializer()))

    cached = read_weights(path, [weight.shape for weight in model.weights])
    if cached is not None:
        weights, train_seconds = cached
        model.set_weights(weights)
        log.info("Read the trained baseline from %s.", path)
        return Baseline(cut(model), model, train_seconds, from_cache=True)

    model.compile(keras.optimizers.Adam(learning_rate), "sparse_categorical_crossentropy")
    start = time.perf_counter()
    model.fit(
        _batches(train, batch_size, rng),
        steps_per_epoch=-(-len(train) // batch_size),
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
    )
    train_seconds = time.perf_counter() - start
    weights = model.get_weights()
    if not all(np.isfinite(weight).all() for weight in weights):
        raise InputError(
            f"The training diverged at learning_rate {learning_rate}: choose a smaller one."
        )
    write_weights(path, weights, train_seconds)
    return Baseline(cut(model), model, train_seconds)


def random_cnn(
    train: Images,
    n_classes: int,
    *,
    filters: Sequence[int] = (32, 64),
    kernel_size: int = 3,
    pooling: Sequence[bool] = (True, True),
    seed: int = 0,
) -> Baseline:
    """Make the convolutional part of `trained_cnn` with kernels that nobody trained.

    It is the control, and the start without backpropagation. The kernels are drawn from He et
    al.'s normal distribution ("Delving deep into rectifiers", ICCV 2015), the biases are zero.

    Parameters
    ----------
    train : Images
        Gives the shape of the images.
    n_classes : int
        Not used: there is no head.
    filters, kernel_size, pooling
        As for `trained_cnn`.
    seed : int, default=0
        Seeds the kernels.

    Returns
    -------
    Baseline
        Without a model: TensorFlow takes no part.

    Raises
    ------
    InputError
        Where an option is out of range or the images are too small for the layers.
    """
    filters, pooling = tuple(filters), tuple(pooling)
    height, width, channels = train.images.shape[1:]
    require_conv_part((height, width, channels), filters, kernel_size, pooling, seed)
    rng = np.random.default_rng(seed)
    layers: list[Layer] = []
    for n_in, n_kernels, pooled in zip((channels, *filters), filters, pooling, strict=False):
        shape = (kernel_size, kernel_size, n_in, n_kernels)
        weights = rng.normal(0.0, np.sqrt(2.0 / (kernel_size**2 * n_in)), shape)
        layers.append(Conv(weights.astype(np.float32), np.zeros(n_kernels, np.float32)))
        layers += [Pool()] * pooled
    return Baseline(ConvStack(tuple(layers), (height, width, channels)))


def saved_cnn(
    train: Images, n_classes: int, *, path: str | Path, threads: int | None = None
) -> Baseline:
    """Load a user's own trained model, saved by ``model.save("name.keras")``.

    Keras' safe mode refuses files that would run code of their own.

    Parameters
    ----------
    train : Images
        Gives the shape of the images that the model must take (pixels in [0, 1]).
    n_classes : int
        Number of outputs that the model must have, in the order of the dataset's classes.
    path : path
        The ``.keras`` file.
    threads : int or None, default=None
        Threads to predict with, see `slicing.backend.configure_threads`.

    Returns
    -------
    Baseline

    Raises
    ------
    InputError
        Where there is no such file, it holds no model that can be loaded safely, or the model
        does not fit the images or the classes.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"There is no model file {path}: give the path of a .keras file.")
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise InputError(
            f"{path} is not a complete .keras file: save the model with model.save('name.keras')."
        )
    configure_threads(threads)
    keras = load_keras()
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # what a foreign archive raises is open-ended
        reason = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0].rstrip(".")
        raise InputError(
            f"{path} cannot be loaded as a Keras model ({reason}): save a model of Keras' own "
            "layers, without Lambda, with model.save('name.keras')."
        ) from error
    images_shape = (None, *train.images.shape[1:])
    for what, shapes, wanted in (
        ("takes inputs", getattr(model, "input_shape", None), images_shape),
        ("gives outputs", getattr(model, "output_shape", None), (None, n_classes)),
    ):
        if shapes != wanted:
            raise InputError(
                f"The model in {path} {what} of shape {shapes}, and the dataset needs {wanted}."
            )
    return Baseline(cut(model), model)


def _batches(
    train: Images, batch_size: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Yield batches for ever, the images in a new order in each epoch."""
    # Keras' own shuffling would draw from TensorFlow's global generator.
    while True:
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
        "machine": platform.machine(),
        "gpus": [device.name for device in tf.config.list_physical_devices("GPU")],
    }
