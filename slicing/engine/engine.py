"""The inference engine: conv stack, references and k, everything that classifying needs."""

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from slicing import tensor_file
from slicing.backbones.backbone import Backbone
from slicing.checks import one_of
from slicing.data.dataset import Images
from slicing.data.image_file import MAX_MEGAPIXELS
from slicing.data.preparation import Preparation
from slicing.engine import stored_engine, stored_stack
from slicing.engine.class_changes import with_class, without_class
from slicing.engine.consistency import require_consistent
from slicing.engine.evidence import Confidence, Evidence, evidence_of
from slicing.engine.single import SingleImage
from slicing.engine.stored_stack import quantized
from slicing.engine.votes import count_votes
from slicing.errors import InputError, NotInstalledError
from slicing.neighbors.by_class import NearestByClass, distances_by_class
from slicing.neighbors.exact import Metric, NeighborSearch
from slicing.pixels import Pixels, contrasts_of, unit_pixels
from slicing.quantization import snap, step_of
from slicing.shifts import averaged
from slicing.stack import ConvStack, Shape
from slicing.threads import single_threaded_blas

Storage = Literal["float32", "int8"]

_KIND = "knn-slicing engine 1"
# References are prepared for about so many queries at a time.
_MANY = 1000


@dataclass(frozen=True, eq=False)
class Engine:
    """A k-NN classifier on the features of a conv stack, with scikit-learn's conventions.

    It keeps :class:`~slicing.classifier.Classifier`, and methods that change it give a new one. All
    take images of shape (n, height, width, channels), of uint8 from 0 to 255 or of floats from 0 to
    1, and raise an InputError for others: see :func:`~slicing.pixels.unit_pixels`.

    Attributes
    ----------
    stack : ConvStack
    references : ndarray of shape (n_references, n_features), float32
        Features of the reference images, or prototypes.
    labels : ndarray of shape (n_references,), int64
        Their classes, as indices.
    classes : tuple of str
        Names of the classes, in label order.
    k : int
        Number of neighbors that vote, each with the same weight.
    metric : {"euclidean", "cosine"}
    step : float or None
        Of the grid of the references, stored as int8; kernels have their own. None: float32.
    average : int
        An image's features are :func:`~slicing.shifts.averaged` over copies that are shifted by up
        to so many pixels.
    backbone : Backbone or None
        What makes of an image the maps that the stack takes; None: the stack takes the image. Or
        :class:`~slicing.backbones.maps.MapsAtHand`: then all methods take maps.
    preparation : Preparation or None
        How a file becomes an image, see :meth:`for_files`; None: it is stretched.
    confidence : Confidence or None
        What tells how likely an answer is right, see :meth:`calibrated`; None: nothing does.

    Raises
    ------
    InputError
        Where the parts do not fit each other.
    """

    stack: ConvStack
    references: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    k: int = 9
    metric: Metric = "euclidean"
    step: float | None = None
    average: int = 0
    confidence: Confidence | None = None
    backbone: Backbone | None = None
    preparation: Preparation | None = None

    def __post_init__(self) -> None:
        require_consistent(self)

    @classmethod
    def fit(
        cls,
        stack: ConvStack,
        images: Images,
        classes: tuple[str, ...],
        k: int = 9,
        metric: Metric = "euclidean",
        storage: Storage = "float32",
        average: int = 0,
    ) -> "Engine":
        """Make an engine whose reference set is ``images``.

        Parameters
        ----------
        stack, images, classes, k, metric
            See :class:`Engine`.
        storage : {"float32", "int8"}, default="float32"
            With int8, kernels and references are rounded to 255 levels each, and take a quarter of
            the bytes.
        average : int, default=0
            Pixels by which copies of the images are shifted, in all directions, and averaged.
        """
        one_of("storage", storage, get_args(Storage))
        if storage == "int8":
            stack = quantized(stack)
        features = averaged(stack, images.images, average)
        return cls.of(stack, features, images.labels, classes, k, metric, storage, average)

    @classmethod
    def of(
        cls,
        stack: ConvStack,
        references: NDArray[np.float32],
        labels: NDArray[np.int64],
        classes: tuple[str, ...],
        k: int = 9,
        metric: Metric = "euclidean",
        storage: Storage = "float32",
        average: int = 0,
    ) -> "Engine":
        """Make an engine whose references are given as features.

        The same as for :meth:`fit`; with int8, ``stack`` is quantized, and with ``average``
        the references are :func:`~slicing.shifts.averaged` as well.
        """
        one_of("storage", storage, get_args(Storage))
        step = None
        if storage == "int8":
            grid = step_of(references)
            stack, references, step = quantized(stack), snap(references, grid), float(grid)
        return cls(stack, references, labels, classes, k, metric, step, average)

    @property
    def classes_(self) -> NDArray[np.str_]:
        """Names of the classes, in label order, as scikit-learn calls them."""
        return np.array(self.classes)

    @cached_property
    def _search(self) -> NeighborSearch:
        return NeighborSearch(self.references, self.metric, _MANY)

    def features(self, images: Pixels) -> NDArray[np.float32]:
        """Compute the features that the k-NN sees.

        Returns
        -------
        ndarray of shape (n, n_features), float32
        """
        return averaged(self.stack, self._inputs(images), self.average)

    def _checked(self, images: Pixels) -> NDArray[np.float32]:
        """Give images as they are computed with, or maps where the backbone is at hand."""
        return unit_pixels(images) if self.backbone is None else self.backbone.checked(images)

    def _inputs(self, images: Pixels) -> NDArray[np.float32]:
        """Give what the stack takes: the images, or the backbone's maps of them."""
        return unit_pixels(images) if self.backbone is None else self.backbone.maps(images)

    def kneighbors(self, images: Pixels) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Find the references that vote, the nearest first.

        Returns
        -------
        distances : ndarray of shape (n, k), float64
            Squared Euclidean, or cosine.
        indices : ndarray of shape (n, k), int64
            In ``references`` and ``labels``.
        """
        return self._neighbors(self.features(images))

    def _neighbors(
        self, features: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        with single_threaded_blas():
            return self._search.search(features, self.k)

    def votes(self, images: Pixels) -> NDArray[np.int64]:
        """Count the neighbors' votes for every class.

        Returns
        -------
        ndarray of shape (n, n_classes), int64
        """
        inputs = self._inputs(images)
        if alone := self.single(inputs):
            return alone.votes
        return self._votes(averaged(self.stack, inputs, self.average))

    def _votes(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        _, indices = self._neighbors(features)
        return count_votes(self.labels[indices], len(self.classes))

    def predict_labels(self, images: Pixels) -> NDArray[np.int64]:
        """Classify images of shape (n, height, width, channels): indices of shape (n,), int64."""
        labels: NDArray[np.int64] = self.votes(images).argmax(axis=1)
        return labels

    def predict(self, images: Pixels) -> NDArray[np.str_]:
        """Classify images of shape (n, height, width, channels): names of classes, shape (n,)."""
        return self.classes_[self.predict_labels(images)]

    def predict_proba(self, images: Pixels) -> NDArray[np.float64]:
        """Give each class's share of the votes, shape (n, n_classes), as scikit-learn's k-NN."""
        return self.votes(images) / self.k

    def scores(self, images: Pixels) -> NDArray[np.float32]:
        """Measure how far the nearest reference of each class is: (n, n_classes), float32.

        Squared Euclidean, or cosine; infinite for a class without references. An image's distances
        do not depend on other images. With ``average``, it is the mean features of its copies that
        are measured, as for votes: there is one distance, not one for each copy.
        """
        inputs = self._inputs(images)
        if alone := self.single(inputs):
            return alone.scores
        return self._nearest(averaged(self.stack, inputs, self.average))

    @cached_property
    def single(self) -> SingleImage:
        """What answers a single image in one compiled call."""
        return SingleImage(self, self._search)

    def votes_and_scores(
        self, features: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Give what :meth:`votes` and :meth:`scores` do, of what :meth:`features` gave."""
        return self._votes(features), self._nearest(features)

    @cached_property
    def _nearest(self) -> NearestByClass:
        return NearestByClass(self.references, self.labels, len(self.classes), self.metric)

    def evidence(self, images: Pixels, contrasts: NDArray[np.float64] | None = None) -> Evidence:
        """Say what each answer rests on: votes, distance, margin, and confidence if it has one.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels)
        contrasts : ndarray of shape (n,), float64, optional
            Of the pixels, where ``images`` are maps; see :func:`~slicing.pixels.contrasts_of`.
        """
        if contrasts is None:
            contrasts = contrasts_of(self._checked(images))
        inputs, n_classes = self._inputs(images), len(self.classes)
        features = averaged(self.stack, inputs, self.average)
        distances = distances_by_class(
            features, self.references, self.labels, n_classes, self.metric
        )
        return evidence_of(self._votes(features), distances, contrasts, self.confidence)

    def calibrated(self, held_out: Images) -> "Engine":
        """Learn from images that taught nothing else how likely an answer is right.

        Parameters
        ----------
        held_out : Images
            Neither the network, nor the projection, nor the references were made of them.

        Raises
        ------
        InputError
            Where there are none.
        """
        found = self.evidence(held_out.images, held_out.contrasts)
        is_right = found.labels == held_out.labels
        confidence = Confidence.fit(found, held_out.contrasts, is_right)
        return replace(self, confidence=confidence)

    def score(self, images: Pixels, labels: NDArray[Any]) -> float:
        """Measure the accuracy on images with known classes: their names, or their indices."""
        images, labels = self._checked(images), np.asarray(labels)
        if labels.shape != (len(images),) or labels.dtype.kind not in "iuU":
            raise InputError(
                f"The labels have type {labels.dtype} and shape {labels.shape}: give the name or "
                f"the index of the class of each of the {len(images)} images."
            )
        by_index = np.issubdtype(labels.dtype, np.integer)
        found = self.predict_labels(images) if by_index else self.predict(images)
        return float(np.mean(found == labels))

    def add_class(self, images: Pixels, name: str) -> "Engine":
        """Learn a new class from examples: they become references, nothing is trained.

        With int8, features beyond the ends of the references' grid become its ends. The new engine
        gives no confidence: it was learned for other classes.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels), float32
        name : str
            It is kept as :func:`~slicing.names.class_name` writes it.

        Raises
        ------
        InputError
            Where there is such a class already, no image, or no name.
        """
        return with_class(self, images, name)

    def remove_class(self, name: str) -> "Engine":
        """Forget a class: its references go, and the confidence, as in :meth:`add_class`.

        Raises
        ------
        InputError
            Where there is no such class, or fewer than k references would be left.
        """
        return without_class(self, name)

    @property
    def input_shape(self) -> Shape:
        """Height, width and channels of an image."""
        return self.stack.input_shape if self.backbone is None else self.backbone.input_shape

    def for_files(self, max_megapixels: float = MAX_MEGAPIXELS) -> Preparation:
        """Say how a file becomes an image: as those were read that the engine learned from.

        Raises
        ------
        InputError
            Where it takes no images from files, or larger ones than ``max_megapixels`` allow.
        """
        preparation = self.preparation or Preparation.of_shape(self.input_shape)
        preparation.require(max_megapixels)
        return preparation

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases of the backbone and the conv stack."""
        own = 0 if self.backbone is None else self.backbone.n_parameters
        return own + self.stack.n_parameters

    @property
    def conv_bytes(self) -> int:
        """Bytes of the kernels and biases; in float32, the "engine size" of the slides."""
        return sum(array.nbytes for array in self.conv_arrays().values())

    @property
    def reference_bytes(self) -> int:
        """Bytes of the references and their labels."""
        return sum(array.nbytes for array in self.reference_arrays().values())

    @cached_property
    def total_bytes(self) -> int:
        """Bytes of the engine's file, which has all that classifying needs."""
        return len(self._packed())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the engine to one file, in the format safetensors; whole or not at all.

        Raises
        ------
        OSError
            Where it cannot be written.
        """
        tensor_file.write(Path(path), self._packed())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Engine":
        """Read an engine that was saved; nothing in the file is executed.

        Raises
        ------
        InputError
            Where there is no such file, or it is damaged or something else.
        """
        settings, arrays = tensor_file.read(Path(path), _KIND)
        try:
            return cls(**stored_engine.parts_of(settings, arrays))
        except NotInstalledError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise InputError(f"{path} holds no engine that fits together ({error}).") from error

    def _packed(self) -> bytes:
        arrays = stored_engine.arrays_of(self)
        return tensor_file.pack(_KIND, stored_engine.settings_of(self), arrays)

    def conv_arrays(self) -> dict[str, NDArray[Any]]:
        """Give kernels (with their steps, for int8) and biases as they are stored, by name."""
        return stored_stack.arrays_of(self.stack, is_int8=self.step is not None)

    def reference_arrays(self) -> dict[str, NDArray[Any]]:
        """Give references and labels as they are stored, by name."""
        return stored_engine.reference_arrays(self)
