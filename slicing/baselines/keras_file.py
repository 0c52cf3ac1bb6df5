"""A Keras model from a file that anybody may have written, as a network that can be cut."""

import json
import math
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from slicing.backbones.conversion import Scaling
from slicing.backbones.network import Network
from slicing.backend import configure_threads, load_keras
from slicing.checks import archive
from slicing.data.image_file import MODES
from slicing.errors import InputError
from slicing.files import open_regular
from slicing.memory import demand
from slicing.stack import Shape

if TYPE_CHECKING:
    import keras

# What HDF5 files begin with: Keras saved models so before it had its own format.
_HDF5 = b"\x89HDF\r\n\x1a\n"


def check_file(path: Path) -> int:
    """Refuse what is no ``.keras`` file, as far as its format tells: TensorFlow is not needed.

    Returns
    -------
    int
        Bytes to which it unpacks.

    Raises
    ------
    InputError
        Naming ``path``.
    """
    if not path.is_file():
        fault = "is no file" if path.exists() else "is not there"
        raise InputError(f"path={path} {fault}: give the path of a .keras file.", "path")
    try:
        with open_regular(path) as file:
            start = file.read(len(_HDF5))
    except OSError as error:
        raise InputError(f"path={path} cannot be read: {error.strerror}.", "path") from error
    if start == _HDF5:
        raise InputError(
            f"path={path} is an HDF5 file: under a name that ends in .h5, read it with "
            "keras.models.load_model, and save it with model.save('name.keras').",
            "path",
        )
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise InputError(
            f"path={path} is not a complete .keras file: save the model with "
            "model.save('name.keras').",
            "path",
        )
    unpacked = archive("path", path)
    way_out = "give a smaller model, or take a larger machine"
    demand(2 * unpacked, f"path={path} takes", way_out, "path")
    return unpacked


def read_model(path: Path, threads: int | None) -> "keras.Model":
    """Read a ``.keras`` file, in Keras' safe mode: nothing in it is executed.

    Parameters
    ----------
    path : Path
    threads : int or None
        See :func:`slicing.backend.configure_threads`.

    Raises
    ------
    InputError
        For what is no such file, is damaged, has layers of others, weights that are not finite, or
        layers that are larger than their weights in the file.
    """
    unpacked = check_file(path)
    configure_threads(threads)
    try:
        # In a thread of its own, whose variables Keras forgets with it.
        with ThreadPoolExecutor(1) as thread:
            needed = thread.submit(_weight_bytes, path).result()
        if needed > unpacked:
            raise InputError(
                f"path={path} has layers of {needed / 1e9:,.1f} GB and holds no such weights: "
                "give one from a source that you trust.",
                "path",
            )
        model = load_keras().saving.load_model(path, compile=False, safe_mode=True)
    except InputError:
        raise
    except Exception as error:  # what a foreign archive raises is open-ended
        reason = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0].rstrip(".")
        raise InputError(
            f"path={path} cannot be loaded as a Keras model ({reason}): save a model of Keras' "
            "own layers, without Lambda, with model.save('name.keras').",
            "path",
        ) from error
    for weight in model.weights:
        if not np.isfinite(weight.numpy().astype(float)).all():
            raise InputError(
                f"path={path} holds weights that are not finite, in {weight.path}: give a model "
                "whose training did not diverge.",
                "path",
            )
    if len(getattr(model, "inputs", None) or ()) != 1 or len(model.outputs or ()) != 1:
        return model
    return load_keras().Model(model.inputs[0], model.outputs[0], name=model.name)


def network_of(model: "keras.Model", path: str | Path, pixels: Sequence[float]) -> Network:
    """Give the network that a file holds.

    Parameters
    ----------
    model : keras.Model
        As :func:`read_model` gives it.
    path : path
        The file, which names the network.
    pixels : (float, float)
        What stands for black and for white in its inputs.

    Raises
    ------
    InputError
        For ``pixels`` that are no range, or where the model takes no image of a fixed size.
    """
    low, high = pixel_range(pixels)
    scaling = Scaling((high - low,), (low,))
    return Network.of_model(model, image_shape(model, path), scaling, Path(path).stem)


def pixel_range(pixels: Sequence[float]) -> tuple[float, float]:
    """Give what stands for black and for white.

    Raises
    ------
    InputError
        Where these are no two numbers.
    """
    if len(pixels) != 2 or not np.isfinite(pixels).all() or len({*pixels}) < 2:
        raise InputError(
            f"pixels={[*pixels]} is no range: give what stands for 0 and what for 1 in the "
            "model's inputs, such as [0, 255].",
            "pixels",
        )
    low, high = map(float, pixels)
    return low, high


def image_shape(model: "keras.Model", path: str | Path) -> Shape:
    """Give height, width and channels of the image that a model takes.

    Raises
    ------
    InputError
        Where it takes something else, or images of any size.
    """
    shapes = shapes_of(model, "inputs")
    match shapes:
        case [(_, int(height), int(width), int(channels))] if channels in MODES:
            return height, width, channels
    raise InputError(
        f"path={path} holds a model that takes inputs of shape {listed(shapes)}: give one that "
        "takes one image of a fixed height and width, gray or RGB.",
        "path",
    )


def shapes_of(model: "keras.Model", tensors: str) -> list[tuple[int | None, ...]]:
    """Give the shapes of a model's ``inputs`` or ``outputs``; none where it does not say them."""
    return [tuple(tensor.shape) for tensor in getattr(model, tensors, None) or ()]


def listed(shapes: Sequence[tuple[int | None, ...]]) -> str:
    """Write shapes for a message."""
    return ", ".join(map(str, shapes)) or "unknown"


def _weight_bytes(path: Path) -> int:
    """Count the bytes of the weights that the layers of a ``.keras`` file need, and make none."""
    keras = load_keras()
    with zipfile.ZipFile(path) as members:
        # Without its optimizer, and those of models within: they make variables at once.
        config = json.loads(members.read("config.json"), object_hook=_without_optimizer)
    with keras.StatelessScope(initialize_variables=False):
        model = keras.saving.deserialize_keras_object(config, safe_mode=True)
    return sum(math.prod(each.shape) * np.dtype(each.dtype).itemsize for each in model.weights)


def _without_optimizer(values: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if name != "compile_config"}
