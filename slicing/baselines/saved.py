"""A user's own trained network, read from a file."""

import json
import logging
import math
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from slicing.backend import configure_threads, load_keras
from slicing.baselines.base import Baseline, BaselineBuilder
from slicing.baselines.examination import PixelRange, check_answers, check_features
from slicing.baselines.head import KerasHead
from slicing.checks import archive
from slicing.cutting import cut
from slicing.data.dataset import Images
from slicing.errors import InputError
from slicing.files import open_regular
from slicing.memory import demand
from slicing.show import Show, silent
from slicing.stack import ConvStack, Shape

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)
# What HDF5 files begin with: Keras saved models so before it had its own format.
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, kw_only=True)
class SavedCNN(BaselineBuilder):
    """A model that was saved by ``model.save("name.keras")``.

    It must take images of the dataset's shape, and give one output for each of the dataset's
    classes. Before anything is made of it, its answers to some of the training images tell whether
    ``pixels`` and ``classes`` are what it was trained on. Keras' safe mode refuses files that would
    run code of their own.

    Parameters
    ----------
    path : path
        The ``.keras`` file.
    pixels : (float, float), default=(0, 1)
        The range of the pixels that it was trained on: what stands for 0 and for 1.
    classes : sequence of str or None, default=None
        Names of the classes in the order of its outputs; None is the dataset's order.
    threads : int or None, default=None
        Threads to predict with, see :func:`slicing.backend.configure_threads`.
    """

    path: str | Path
    pixels: Sequence[float] = (0.0, 1.0)
    classes: Sequence[str] | None = None
    threads: int | None = None

    is_trained: ClassVar[bool] = False
    uses_tensorflow: ClassVar[bool] = True

    def shape(self, image_shape: Shape, n_classes: int) -> ConvStack:
        """Read the file, and give its conv stack; see :meth:`BaselineBuilder.shape`."""
        return cut(self._load(image_shape, n_classes))

    def build(self, train: Images, classes: tuple[str, ...], show: Show = silent) -> Baseline:
        """Read the file, and examine the model; see :meth:`BaselineBuilder.build`.

        Raises
        ------
        InputError
            Also where its weights are not finite, it is dead, or it was trained on another range of
            pixels or order of classes.
        """
        order = self._order(classes)
        model = self._load(train.images.shape[1:], len(classes), [*map(order.index, classes)])
        baseline = Baseline(cut(model), classes, KerasHead(model))
        check_features(baseline.stack, train)
        warning = check_answers(baseline, train, self._range(), order)
        if warning:
            log.warning("%s.", warning)
        return replace(baseline, warning=warning)

    def _range(self) -> PixelRange:
        if len(self.pixels) != 2 or not np.isfinite(self.pixels).all() or len({*self.pixels}) < 2:
            raise InputError(
                f"pixels={[*self.pixels]} is no range: give what stands for 0 and what for 1 in "
                "the model's inputs, such as [0, 255].",
                "pixels",
            )
        low, high = map(float, self.pixels)
        return low, high

    def _order(self, classes: tuple[str, ...]) -> Sequence[str]:
        if self.classes is None:
            return classes
        if sorted(self.classes) != sorted(classes):
            raise InputError(
                f"classes={[*self.classes]} are not the names of the dataset's classes: name each "
                f"of {', '.join(classes)} once, in the order of the model's outputs.",
                "classes",
            )
        return self.classes

    def _load(
        self, image_shape: Shape, n_classes: int, outputs: Sequence[int] | None = None
    ) -> "keras.Model":
        """Read the model, as one that takes pixels in [0, 1].

        Parameters
        ----------
        image_shape : (int, int, int)
        n_classes : int
        outputs : sequence of int, optional
            The output for each class.
        """
        low, high = self._range()
        keras, model = load_keras(), self._read()
        for what, tensors, wanted in (
            ("takes inputs", "inputs", image_shape),
            ("gives outputs", "outputs", (n_classes,)),
        ):
            shapes = [tuple(tensor.shape) for tensor in getattr(model, tensors, None) or ()]
            # The first dimension is the batch, of whatever size.
            if [shape[1:] for shape in shapes] != [wanted]:
                raise InputError(
                    f"path={self.path} holds a model that {what} of shape "
                    f"{', '.join(map(str, shapes)) or 'unknown'}, and the dataset needs "
                    f"{(None, *wanted)}.",
                    "path",
                )
        for weight in model.weights:
            if not np.isfinite(weight.numpy().astype(float)).all():
                raise InputError(
                    f"path={self.path} holds weights that are not finite, in {weight.path}: give a "
                    "model whose training did not diverge.",
                    "path",
                )
        # Plain tensors in and out, where the model has lists or dicts of one.
        model = keras.Model(model.inputs[0], model.outputs[0])
        if (low, high) != (0.0, 1.0):
            images = keras.Input(image_shape)
            scaled = keras.layers.Rescaling(high - low, low)(images)
            model = keras.Model(images, model(scaled))
        if outputs is not None and [*outputs] != [*range(n_classes)]:
            ordered = keras.ops.take(model.outputs[0], outputs, axis=1)
            model = keras.Model(model.inputs[0], ordered)
        return model

    def _read(self) -> "keras.Model":
        path = Path(self.path).expanduser()
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
        configure_threads(self.threads)
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
            return load_keras().saving.load_model(path, compile=False, safe_mode=True)
        except InputError:
            raise
        except Exception as error:  # what a foreign archive raises is open-ended
            reason = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0].rstrip(".")
            raise InputError(
                f"path={path} cannot be loaded as a Keras model ({reason}): save a model of Keras' "
                "own layers, without Lambda, with model.save('name.keras').",
                "path",
            ) from error


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
