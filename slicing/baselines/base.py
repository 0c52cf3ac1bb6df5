"""What a baseline is, and what builds one."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from slicing.data.dataset import Images
from slicing.errors import InputError
from slicing.pixels import Pixels, unit_pixels
from slicing.show import Show, silent
from slicing.stack import ConvStack, Shape

if TYPE_CHECKING:
    import keras

# Activations of one chunk of images stay within a few tens of megabytes.
_CHUNK = 500
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
    """

    loss: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class Baseline:
    """A network before its dense layers are cut off.

    With a head it is a :class:`~slicing.classifier.Classifier`.

    Attributes
    ----------
    stack : ConvStack
        Its convolutional part.
    classes : tuple of str
        Names of the classes, in label order.
    model : keras.Model or None
        The whole network; None where the convolutional part has no trained head.
    train_seconds : float
        How long the training took, when it took place; 0 where nothing was trained here.
    from_cache : bool
        Whether the weights were read from the cache instead of trained now.
    training : tuple of Epoch
        The epochs of its training, when it took place; none where nothing was trained here.
    warning : str or None
        What its user should know before trusting its figures.
    """

    stack: ConvStack
    classes: tuple[str, ...]
    model: "keras.Model | None" = None
    train_seconds: float = 0.0
    from_cache: bool = False
    training: tuple[Epoch, ...] = ()
    warning: str | None = None

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases, those of the head included."""
        return self.stack.n_parameters if self.model is None else int(self.model.count_params())

    @property
    def total_bytes(self) -> int:
        """Bytes of the weights and biases in float32."""
        return 4 * self.n_parameters

    def predict_labels(self, images: Pixels) -> NDArray[np.int64]:
        """Classify images with the model's own head.

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
            Where the model has no trained head, or the images have another shape or other pixels.
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
            Where the model has no trained head, or the images have another shape or other pixels.
        """
        return self.shares(unit_pixels(images))

    def shares(self, images: NDArray[np.float32]) -> NDArray[np.float64]:
        """Do the same for pixels that are not checked: they may have any range."""
        if self.model is None:
            raise InputError("This baseline has no trained head to classify with: use the k-NN.")
        self.stack.check(images)
        outputs = np.empty((len(images), len(self.classes)))
        for start in range(0, len(images), _CHUNK):
            part = slice(start, start + _CHUNK)
            outputs[part] = self.model.predict_on_batch(images[part])
        sums = outputs.sum(axis=1)
        others = ~((outputs >= 0).all(axis=1) & (abs(sums - 1) <= _ROUNDING))
        largest = outputs[others].max(axis=1, keepdims=True, initial=-np.inf)
        outputs[others] = np.exp(outputs[others] - largest)
        shares: NDArray[np.float64] = outputs / outputs.sum(axis=1, keepdims=True)
        return shares


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
