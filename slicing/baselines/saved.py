"""A user's own trained network, read from a file."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from slicing.backbones.network import Network
from slicing.backend import load_keras
from slicing.baselines.base import Adapted, Baseline, BaselineBuilder
from slicing.baselines.examination import check_answers, check_features
from slicing.baselines.head import SCORES, KerasHead
from slicing.baselines.keras_file import (
    check_file,
    image_shape,
    listed,
    network_of,
    pixel_range,
    read_model,
    shapes_of,
)
from slicing.cutting import cut
from slicing.data.dataset import Images, Part
from slicing.data.preparation import Preparation
from slicing.data.sampling import stratified_order
from slicing.errors import InputError
from slicing.pixels import unit_pixels
from slicing.show import Show, silent
from slicing.stack import ConvStack, Shape

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)

# Photos that a frozen network is examined on: Keras takes a while for each, in each range.
_PHOTOS = 200


@dataclass(frozen=True, kw_only=True)
class SavedCNN(BaselineBuilder):
    """A model that was saved by ``model.save("name.keras")``.

    Of a plain chain of layers, the dense ones are cut off and the kernels can be evolved, see
    :func:`slicing.cutting.cut`. Any other network is frozen up to its cut, as a pretrained one.

    It must take images of the dataset's shape, or frozen, of any fixed size, and give one output
    for each of the dataset's classes, or frozen, maps alone. Before anything is made of it, its
    answers to some of the training images tell whether ``pixels`` and ``classes`` are what it was
    trained on. Keras' safe mode refuses files that would run code of their own.

    Parameters
    ----------
    path : path
        The ``.keras`` file. It is read once.
    pixels : (float, float), default=(0, 1)
        The range of the pixels that it was trained on: what stands for 0 and for 1.
    classes : sequence of str or None, default=None
        Names of the classes in the order of its outputs; None is the dataset's order.
    threads : int or None, default=None
        Threads to predict with, see :func:`slicing.backend.configure_threads`.

    Raises
    ------
    InputError
        Where the file is none of Keras' format. The rest is found out when it is read.
    """

    path: str | Path
    pixels: Sequence[float] = (0.0, 1.0)
    classes: Sequence[str] | None = None
    threads: int | None = None

    is_trained: ClassVar[bool] = False
    uses_tensorflow: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_file(self._file)

    @property
    def is_frozen(self) -> bool:
        """Whether the model cannot be cut into a conv stack."""
        return self._stack is None

    def shape(self, image_shape: Shape, n_classes: int) -> ConvStack:
        """Give its conv stack; see :meth:`BaselineBuilder.shape`."""
        if self._stack is None:
            return ConvStack((), image_shape)
        self._require("takes inputs", "inputs", image_shape)
        self._require("gives outputs", "outputs", (n_classes,))
        return self._stack

    def build(self, train: Images, classes: tuple[str, ...], show: Show = silent) -> Baseline:
        """Examine the model; see :meth:`BaselineBuilder.build`.

        Raises
        ------
        InputError
            Also where it is dead, or was trained on another range of pixels or order of classes.
        """
        height, width, channels = train.images.shape[1:]
        stack = self.shape((height, width, channels), len(classes))
        if self.is_frozen:
            return Baseline(stack, classes)
        order = self._order(classes)
        baseline = Baseline(stack, classes, KerasHead(self._ordered(self._scaled, classes)))
        check_features(stack, train)
        return replace(baseline, warning=self._examined(baseline, train, order))

    def network(self) -> Network:
        """Give the model, where it is frozen; see :meth:`BaselineBuilder.network`."""
        return network_of(self._model, self._file, self.pixels)

    def adapt(
        self,
        network: Network,
        preparation: Preparation,
        train: Part,
        classes: tuple[str, ...],
        show: Show = silent,
    ) -> Adapted:
        """Examine the model, and let it classify; see :meth:`BaselineBuilder.adapt`.

        Raises
        ------
        InputError
            Also where it was trained on another range of pixels or order of classes.
        """
        if len(self._model.outputs) == 1 and len(self._model.outputs[0].shape) == 4:
            return Adapted(network, knows_labels=True)
        self._require("gives outputs", "outputs", (len(classes),))
        order = self._order(classes)
        some = train[stratified_order(train.labels, 0)[:_PHOTOS]]
        images = Images(unit_pixels(some.prepared(preparation)), some.labels)
        head = KerasHead(self._ordered(self._scaled, classes))
        stack = ConvStack((), network.input_shape)
        warning = self._examined(Baseline(stack, classes, head), images, order)
        model = self._ordered(self._model, classes)
        keras = load_keras()
        scores = keras.layers.Reshape((1, 1, len(classes)), name=SCORES)(model.outputs[0])
        whole = keras.Model(model.inputs[0], scores, name=self._model.name)
        answering = replace(
            network,
            digest=f"{network.digest} {[*order]} {[*classes]}",
            load=lambda: (whole, network.scaling),
            head=SCORES,
        )
        return Adapted(answering, warning=warning, knows_labels=True)

    @property
    def _file(self) -> Path:
        return Path(self.path).expanduser()

    @cached_property
    def _model(self) -> "keras.Model":
        return read_model(self._file, self.threads)

    @cached_property
    def _scaled(self) -> "keras.Model":
        """The same as a model that takes pixels in [0, 1]."""
        low, high = pixel_range(self.pixels)
        if (low, high) == (0.0, 1.0):
            return self._model
        keras = load_keras()
        images = keras.Input(image_shape(self._model, self.path))
        scaled = keras.layers.Rescaling(high - low, low)(images)
        return keras.Model(images, self._model(scaled))

    @cached_property
    def _stack(self) -> ConvStack | None:
        """The conv stack of the model; None where it is no plain chain of layers."""
        model = self._scaled
        try:
            return cut(model)
        except InputError as error:
            log.info("The network is frozen. %s", error)
            return None

    def _require(self, what: str, tensors: str, wanted: tuple[int, ...]) -> None:
        shapes = shapes_of(self._model, tensors)
        # The first dimension is the batch, of whatever size.
        if [shape[1:] for shape in shapes] != [wanted]:
            raise InputError(
                f"path={self.path} holds a model that {what} of shape {listed(shapes)}, and the "
                f"dataset needs {(None, *wanted)}.",
                "path",
            )

    def _ordered(self, model: "keras.Model", classes: tuple[str, ...]) -> "keras.Model":
        """Put the outputs into the order of the dataset's classes."""
        keras, order = load_keras(), self._order(classes)
        outputs = [*map(order.index, classes)]
        if outputs == [*range(len(classes))]:
            return model
        return keras.Model(
            model.inputs[0], keras.ops.take(model.outputs[0], outputs, axis=1), name=model.name
        )

    def _examined(self, baseline: Baseline, train: Images, order: Sequence[str]) -> str | None:
        warning = check_answers(baseline, train, pixel_range(self.pixels), order)
        if warning:
            log.warning("%s.", warning)
        return warning

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
