"""Networks of ``keras.applications``, with the weights of ImageNet or those of a file."""

import hashlib
import os
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slicing.backbones.conversion import Scaling
from slicing.backbones.network import Network
from slicing.backend import configure_threads, load_keras
from slicing.checks import one_of
from slicing.errors import InputError
from slicing.files import open_regular
from slicing.memory import demand
from slicing.stack import Shape

if TYPE_CHECKING:
    import keras

# Sides of the images that a network was trained on, where they are not 224.
_SIDES = {
    **{"EfficientNetB1": 240, "EfficientNetB2": 260, "EfficientNetB3": 300, "EfficientNetB4": 380},
    **{"EfficientNetB5": 456, "EfficientNetB6": 528, "EfficientNetB7": 600},
    **{"EfficientNetV2B1": 240, "EfficientNetV2B2": 260, "EfficientNetV2B3": 300},
    **{"EfficientNetV2S": 384, "EfficientNetV2M": 480, "EfficientNetV2L": 480},
    **{"InceptionV3": 299, "InceptionResNetV2": 299, "Xception": 299, "NASNetLarge": 331},
}
_SIDE = 224
# What files of weights begin with: HDF5, and zip.
_FORMATS = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"


def application(
    name: str,
    image_size: tuple[int, int] | None = None,
    weights: str | Path | None = None,
    threads: int | None = None,
    cache_dir: Path | None = None,
) -> Network:
    """Give a network of ``keras.applications`` without its head.

    Parameters
    ----------
    name : str
        As Keras calls it: ``MobileNetV2``, ``ResNet50`` and so on.
    image_size, weights, threads, cache_dir
        See :func:`~slicing.backbones.named.named`.

    Returns
    -------
    Network

    Raises
    ------
    InputError
        Where the file of weights cannot be read. For an unknown name, weights that do not fit, and
        those that cannot be downloaded, when the model is first needed.
    """
    height, width = image_size or (_SIDES.get(name, _SIDE),) * 2
    shape = height, width, 3
    path, digest = None, "imagenet"
    if weights is not None:
        path = Path(weights).expanduser()
        digest = _digest_of(path)
    load = partial(_load, name, shape, path, threads)
    return Network(name, shape, f"{name} {digest}", load, cache_dir)


def check_weights(path: Path) -> None:
    """Refuse what is no file of weights, as far as its first bytes and its size tell.

    Raises
    ------
    InputError
        Where it cannot be read, is of none of the formats of Keras, or takes more memory than there
        is.
    """
    try:
        with open_regular(path) as file:
            start, size = file.read(len(_FORMATS[0])), os.fstat(file.fileno()).st_size
    except OSError as error:
        raise _unread(path, error) from error
    if not start.startswith(_FORMATS):
        raise InputError(
            f"weights={path} is no file of weights: give one that Keras offers, whose name ends in "
            "notop.h5 or no_top.h5, or one that model.save_weights has written.",
            "weights",
        )
    demand(size, f"weights={path} takes", "choose a smaller network", "weights")


def _digest_of(path: Path) -> str:
    check_weights(path)
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unread(path, error) from error


def _unread(path: Path, error: OSError) -> InputError:
    return InputError(f"weights={path} cannot be read: {error.strerror or error}.", "weights")


def _load(
    name: str, shape: Shape, path: Path | None, threads: int | None
) -> tuple["keras.Model", Scaling]:
    configure_threads(threads)
    applications = load_keras().applications
    one_of("name", name, [each for each in dir(applications) if each[0].isupper()])
    build = getattr(applications, name)
    try:
        model = build(include_top=False, weights=None, input_shape=shape)
    except ValueError as error:
        raise InputError(
            f"image_size={[*shape[:2]]} is not possible for {name} ({_reason(error)}): choose a "
            "larger one.",
            "image_size",
        ) from error
    if path is None:
        model = _downloaded(build, name, shape)
    else:
        _read_weights(model, name, path)
    return model, scaling_of(sys.modules[build.__module__].preprocess_input)


def _downloaded(build: Any, name: str, shape: Shape) -> "keras.Model":
    try:
        # Of images of another size, whose weights are the same.
        with warnings.catch_warnings(action="ignore"):
            return build(include_top=False, weights="imagenet", input_shape=shape)
    except Exception as error:  # what Keras raises has no common type
        raise InputError(
            f"weights of {name} could not be downloaded ({_reason(error)}): try again with a "
            "network, or give a file of them.",
            "weights",
        ) from error


def _read_weights(model: "keras.Model", name: str, path: Path) -> None:
    try:
        # One of each layer, where the weights do not fit.
        with warnings.catch_warnings(action="ignore"):
            model.load_weights(path)
    except Exception as error:  # what a foreign file raises is open-ended
        raise InputError(
            f"weights={path} are no weights of {name} without its head ({_reason(error)}): give "
            "the file whose name ends in notop.h5 or no_top.h5 that Keras offers, or one that "
            "model.save_weights has written.",
            "weights",
        ) from error


def scaling_of(preprocess: Any) -> Scaling:
    """Find how a function prepares pixels of 0 to 255, of which each channel is scaled by itself.

    Parameters
    ----------
    preprocess : callable
        From images (n, height, width, 3) to what a network takes.

    Returns
    -------
    Scaling
    """
    # Black, and the three colors.
    images = np.zeros((4, 1, 1, 3), np.float32)
    images[[1, 2, 3], ..., [0, 1, 2]] = 255.0
    black, *colors = np.asarray(preprocess(images.copy()), float).reshape(4, 3)
    factors = np.array(colors) - black
    order = np.abs(factors).argmax(axis=0)
    return Scaling(
        tuple(factors[order, range(3)].tolist()), tuple(black.tolist()), tuple(order.tolist())
    )


def _reason(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return " ".join(text.split()).split(". ")[0].rstrip(".")
