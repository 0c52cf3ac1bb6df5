"""What a baseline is, and what builds one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slicing.baselines.head import Head, KerasHead
from slicing.data.dataset import Images, Part
from slicing.data.preparation import Preparation
from slicing.errors import InputError
from slicing.pixels import Pixels, unit_pixels
from slicing.show import Show, silent
from slicing.stack import ConvStack, Shape

if TYPE_CHECKING:
    import keras

    from slicing.backbones.backbone import Backbone
    from slicing.backbones.network import Network

# How far from 1 the sum of shares may be; in float16 it may be 0.1%.
_ROUNDING = 2e-3


@dataclass(frozen=True)
class Epoch:
    """One pass of a training over its images.

    Attributes
    ----------
    loss, accuracy : float
        Means over the images as they were trained with: before the network has learned from all of
        them, and with dropout.
    choice_loss, choice_accuracy : float or None
        Means after it over images that it did not learn from; None where there are none.
    """

    loss: float
    accuracy: float
    choice_loss: float | None = None
    choice_accuracy: float | None = None


@dataclass(frozen=True, eq=False)
class Baseline:
    """A network before its dense layers are cut off, or a model to compare with.

    With a head it is a :class:`~slicing.classifier.Classifier`.

    Attributes
    ----------
    stack : ConvStack
        Its convolutional part; one without layers, which gives the pixels, where it has none.
    classes : tuple of str
        Names of the classes, in label order.
    head : Head or None
        What it classifies with; None where the convolutional part has no trained head.
    train_seconds : float
        How long the training took, when it took place; 0 where nothing was trained here.
    from_cache : bool
        Whether the weights were read from the cache instead of trained now.
    training : tuple of Epoch
        The epochs of its training, when it took place; none where nothing was trained here.
    warning : str or None
        What its user should know before trusting its figures.
    backbone : Backbone or None
        What makes the maps that the stack takes, or where the network has a head of its own, all
        of it; None: the stack takes images.
    """

    stack: ConvStack
    classes: tuple[str, ...]
    head: Head | None = None
    train_seconds: float = 0.0
    from_cache: bool = False
    training: tuple[Epoch, ...] = ()
    warning: str | None = None
    backbone: "Backbone | None" = None

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases, those of the backbone and the head included."""
        own = self.stack.n_parameters if self.head is None else self.head.n_parameters
        return own + (0 if self.backbone is None else self.backbone.n_parameters)

    @property
    def total_bytes(self) -> int:
        """Bytes of everything that classifying needs; without a head, of the stack in float32."""
        own = 4 * self.stack.n_parameters if self.head is None else self.head.total_bytes
        return own + (0 if self.backbone is None else self.backbone.total_bytes)

    @property
    def model(self) -> "keras.Model | None":
        """The whole network, where it is a Keras model."""
        return self.head.model if isinstance(self.head, KerasHead) else None

    def predict_labels(self, images: Pixels) -> NDArray[np.int64]:
        """Classify images with the baseline's own head.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels)
            Of uint8 from 0 to 255, or of floats from 0 to 1.

        Returns
        -------
        ndarray of shape (n,), int64
            The class with the largest output; the smallest label of equals.

        Raises
        ------
        InputError
            Where there is no trained head, or the images have another shape or other pixels.
        """
        labels: NDArray[np.int64] = self.predict_proba(images).argmax(axis=1)
        return labels

    def predict(self, images: Pixels) -> NDArray[np.str_]:
        """Classify images of shape (n, height, width, channels): names of classes, shape (n,)."""
        return np.array(self.classes)[self.predict_labels(images)]

    def predict_proba(self, images: Pixels) -> NDArray[np.float64]:
        """Give each class's share of the outputs.

        Outputs of an image that are not shares, none negative and with a sum of 1, go through a
        softmax.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels)
            Of uint8 from 0 to 255, or of floats from 0 to 1.

        Returns
        -------
        ndarray of shape (n, n_classes), float64
            Each row sums to 1.

        Raises
        ------
        InputError
            Where there is no trained head, or the images have another shape or other pixels.
        """
        if self.head is not None and self.backbone is not None:
            return self.shares(self.backbone.maps(images))
        return self.shares(unit_pixels(images))

    def shares(self, images: NDArray[np.float32]) -> NDArray[np.float64]:
        """Do the same for what the stack takes: pixels of any range, or maps."""
        if self.head is None:
            raise InputError("This baseline has no trained head to classify with: use the k-NN.")
        self.stack.check(images)
        outputs = self.head.outputs(images)
        sums = outputs.sum(axis=1)
        others = ~((outputs >= 0).all(axis=1) & (abs(sums - 1) <= _ROUNDING))
        largest = outputs[others].max(axis=1, keepdims=True, initial=-np.inf)
        outputs[others] = np.exp(outputs[others] - largest)
        shares: NDArray[np.float64] = outputs / outputs.sum(axis=1, keepdims=True)
        return shares


class Adapted(NamedTuple):
    """A network whose frozen part makes the maps of the images, and how it was trained here.

    Attributes
    ----------
    network : Network
    train_seconds, from_cache, training
        See :class:`Baseline`; nothing was trained by default.
    unseen : ndarray of intp, or None
        Which of the training images it was not trained with; None: all.
    warning : str or None
        See :class:`Baseline`.
    knows_labels : bool
        Whether it may have been trained with the labels of these images, here or before.
    """

    network: "Network"
    train_seconds: float = 0.0
    from_cache: bool = False
    training: tuple[Epoch, ...] = ()
    unseen: NDArray[np.intp] | None = None
    warning: str | None = None
    knows_labels: bool = False


class BaselineBuilder(ABC):
    """Builds a baseline from training images.

    Attributes
    ----------
    is_trained : bool
        Whether :meth:`build` trains a network here, and reports progress.
    uses_tensorflow : bool
        Whether :meth:`build` starts TensorFlow.
    """

    is_trained: ClassVar[bool]
    uses_tensorflow: ClassVar[bool]

    @property
    def is_frozen(self) -> bool:
        """Whether it has a :meth:`network` that is frozen; :meth:`build` is then given its maps."""
        return False

    def network(self) -> "Network":
        """Load the network whose frozen part makes the maps of the images.

        Raises
        ------
        InputError
            Where there is none of that name, or none that takes such images.
        """
        raise NotImplementedError

    def frozen(self, network: "Network", cuts: Sequence[str], pool: int = 1) -> "Backbone":
        """Cut the :meth:`network`: what stays of it is frozen.

        Parameters
        ----------
        network : Network
        cuts : sequence of str
            Layers, see :meth:`~slicing.backbones.network.Network.backbone`.
        pool : int, default=1
        """
        return network.backbone(cuts, pool)

    def adapt(
        self,
        network: "Network",
        preparation: Preparation,
        train: Part,
        classes: tuple[str, ...],
        show: Show = silent,
    ) -> Adapted:
        """Train or examine the network before it is frozen; by default, it is taken as it is.

        Parameters
        ----------
        network : Network
            That of :meth:`network`; its model may be changed.
        preparation : Preparation
            How an image becomes its input.
        train : Part
            The training images.
        classes : tuple of str
            Names of the classes, in label order.
        show : callable, optional
            Is told the part that is done, 0 to 1, and what is being done.

        Raises
        ------
        InputError
            Where an option is out of range, or does not fit the network.
        """
        return Adapted(network)

    @property
    def variant(self) -> str:
        """Suffix of run names that tells variants apart, such as "64" for 64 units."""
        return ""

    @abstractmethod
    def shape(self, image_shape: Shape, n_classes: int) -> ConvStack:
        """Give a conv stack of the shape that :meth:`build` gives, without training.

        Parameters
        ----------
        image_shape : (int, int, int)
            Height, width and channels.
        n_classes : int

        Raises
        ------
        InputError
            Where an option is out of range, or does not fit the images or the classes.
        """

    @abstractmethod
    def build(self, train: Images, classes: tuple[str, ...], show: Show = silent) -> Baseline:
        """Build the baseline.

        Parameters
        ----------
        train : Images
            The training images.
        classes : tuple of str
            Names of the classes, in label order.
        show : callable, optional
            Is told the part that is done, 0 to 1, and what is being done.

        Raises
        ------
        InputError
            Where an option is out of range, or does not fit the images or the classes.
        """


def check_labels(train: Images, n_classes: int) -> None:
    """Refuse labels that belong to no class.

    Parameters
    ----------
    train : Images
    n_classes : int

    Raises
    ------
    InputError
        Also where there are no images.
    """
    if not len(train):
        raise InputError("There are no images to train the baseline with.")
    if train.labels.min() < 0 or train.labels.max() >= n_classes:
        raise InputError(
            f"The labels run from {train.labels.min()} to {train.labels.max()}, and must lie "
            f"between 0 and {n_classes - 1} for {n_classes} classes."
        )
