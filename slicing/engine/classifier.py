"""The inference engine: conv stack, reference set and k, all that it takes to classify."""

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from slicing import tensor_file
from slicing.data.dataset import Images
from slicing.engine.quantization import levels, on_grid, snap, step_of
from slicing.errors import InputError
from slicing.neighbors.exact import Metric, NeighborSearch, check_metric, count_votes
from slicing.shifts import averaged, check_shift
from slicing.stack import Conv, ConvStack, Layer, Padding, Pool
from slicing.threads import single_threaded_blas

Storage = Literal["float32", "int8"]

_KIND = "knn-slicing engine 1"
# Queries at a time from which on it pays to prepare the references for a search.
_MANY = 1000


@dataclass(frozen=True, eq=False)
class Engine:
    """A k-NN classifier on the features of a conv stack, with scikit-learn's conventions.

    Immutable: what changes it, returns another one.

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
        Distance of the grid on which the references lie, stored as int8, and the kernels on grids
        of their own; None: all are stored as float32.
    average : int
        An image's features are :func:`~slicing.shifts.averaged` over copies that are shifted by up
        to so many pixels.

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

    def __post_init__(self) -> None:
        check_metric(self.metric)
        check_shift(self.average, self.stack.input_shape, "average")
        n, n_features = len(self.labels), int(np.prod(self.stack.feature_shape))
        if self.references.shape != (n, n_features):
            raise InputError(
                f"The references have shape {self.references.shape}, and {n} labels and "
                f"{n_features} features need {(n, n_features)}."
            )
        arrays = [self.references]
        for conv in self.stack.convs:
            arrays += [conv.weights, conv.bias]
        for array in arrays:
            if array.dtype != np.float32 or not np.isfinite(array).all():
                raise InputError("Kernels and references must be finite numbers of float32.")
        for name in self.classes:
            if not isinstance(name, str):
                raise InputError(f"The class {name!r} has no name: give a text.")
        if len(set(self.classes)) < len(self.classes):
            raise InputError(f"Two classes have one name: {', '.join(self.classes)}.")
        if type(self.k) is not int:
            raise InputError(f"k={self.k!r} is no whole number.")
        if not 1 <= self.k <= n:
            raise InputError(f"k={self.k} is not possible: there are {n} references.")
        if n and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise InputError(
                f"The labels run from {self.labels.min()} to {self.labels.max()}, and there are "
                f"{len(self.classes)} classes."
            )

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
        stack : ConvStack
        images : Images
        classes : tuple of str
        k : int, default=9
        metric : {"euclidean", "cosine"}, default="euclidean"
        storage : {"float32", "int8"}, default="float32"
            With int8, kernels and references are rounded to 255 levels each, and take a quarter of
            the bytes.
        average : int, default=0
            Pixels by which copies of the images are shifted, in all directions, and averaged.
        """
        if check_storage(storage) == "int8":
            stack = quantized(stack)
        features = averaged(stack, _checked(images.images), average)
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
        """Make an engine of references that are features already.

        The same as for :meth:`fit`; with int8, ``stack`` is :func:`quantized`, and with ``average``
        the references are :func:`~slicing.shifts.averaged` as well.
        """
        step = None
        if check_storage(storage) == "int8":
            stack, step = quantized(stack), step_of(references)
            references = snap(references, step)
        return cls(
            stack, references, labels, classes, k, metric,
            None if step is None else float(step), average,
        )  # fmt: skip

    @property
    def classes_(self) -> NDArray[np.str_]:
        """Names of the classes, in label order, as scikit-learn calls them."""
        return np.array(self.classes)

    @cached_property
    def _search(self) -> NeighborSearch:
        return NeighborSearch(self.references, self.metric, _MANY)

    def features(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute what the k-NN sees of images.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels), float32
            Pixels in [0, 1].

        Returns
        -------
        ndarray of shape (n, n_features), float32

        Raises
        ------
        InputError
            Where the images have another shape or other pixels.
        """
        return averaged(self.stack, _checked(images), self.average)

    def kneighbors(
        self, images: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Find the references that vote, the nearest first.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels), float32
            Pixels in [0, 1].

        Returns
        -------
        distances : ndarray of shape (n, k), float64
            Squared Euclidean, or cosine.
        indices : ndarray of shape (n, k), int64
            In ``references`` and ``labels``.

        Raises
        ------
        InputError
            Where the images have another shape or other pixels.
        """
        features = self.features(images)
        with single_threaded_blas():
            return self._search.search(features, self.k)

    def votes(self, images: NDArray[np.float32]) -> NDArray[np.int64]:
        """Count the neighbors' votes for every class.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels), float32
            Pixels in [0, 1].

        Returns
        -------
        ndarray of shape (n, n_classes), int64

        Raises
        ------
        InputError
            Where the images have another shape or other pixels.
        """
        _, indices = self.kneighbors(images)
        return count_votes(self.labels[indices], len(self.classes))

    def predict_labels(self, images: NDArray[np.float32]) -> NDArray[np.int64]:
        """Classify images of shape (n, height, width, channels): indices of shape (n,), int64."""
        labels: NDArray[np.int64] = self.votes(images).argmax(axis=1)
        return labels

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.str_]:
        """Classify images of shape (n, height, width, channels): names of classes, shape (n,)."""
        return self.classes_[self.predict_labels(images)]

    def predict_proba(self, images: NDArray[np.float32]) -> NDArray[np.float64]:
        """Give each class's share of the votes, shape (n, n_classes), as scikit-learn's k-NN."""
        return self.votes(images) / self.k

    def score(self, images: NDArray[np.float32], labels: NDArray[Any]) -> float:
        """Measure the accuracy on images with known classes: their names, or their indices."""
        labels = np.asarray(labels)
        if labels.shape != (len(images),) or labels.dtype.kind not in "iuU":
            raise InputError(
                f"The labels have type {labels.dtype} and shape {labels.shape}: give the name or "
                f"the index of the class of each of the {len(images)} images."
            )
        whole = np.issubdtype(labels.dtype, np.integer)
        found = self.predict_labels(images) if whole else self.predict(images)
        return float(np.mean(found == labels))

    def add_class(self, images: NDArray[np.float32], name: str) -> "Engine":
        """Learn a new class from examples, without any training: they become references.

        With int8, features beyond the grid of the references there are become its ends.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels), float32
        name : str

        Returns
        -------
        Engine

        Raises
        ------
        InputError
            Where there is such a class already, or no image.
        """
        if name in self.classes:
            raise InputError(f"There is a class {name} already: choose another name.")
        if not len(images):
            raise InputError(f"The class {name} has no images: give at least one.")
        features = self.features(images)
        if self.step is not None:
            features = snap(features, np.float32(self.step))
        return replace(
            self,
            references=np.vstack([self.references, features]),
            labels=np.append(self.labels, np.full(len(features), len(self.classes))),
            classes=(*self.classes, name),
        )

    def remove_class(self, name: str) -> "Engine":
        """Forget a class: its references go.

        Raises
        ------
        InputError
            Where there is no such class, or fewer than k references would be left.
        """
        if name not in self.classes:
            raise InputError(f"There is no class {name}: choose one of {', '.join(self.classes)}.")
        label = self.classes.index(name)
        kept = self.labels != label
        labels = self.labels[kept]
        return replace(
            self,
            references=self.references[kept],
            labels=labels - (labels > label),
            classes=tuple(each for each in self.classes if each != name),
        )

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
            return cls._unpacked(settings, arrays)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise InputError(f"{path} holds no engine that fits together ({error}).") from error

    def _packed(self) -> bytes:
        settings = {
            "input": self.stack.input_shape,
            "layers": [_described(layer) for layer in self.stack.layers],
            "k": self.k,
            "metric": self.metric,
            "classes": self.classes,
        }
        if self.step is not None:
            settings["step"] = self.step
        if self.average:
            settings["average"] = self.average
        return tensor_file.pack(_KIND, settings, self.conv_arrays() | self.reference_arrays())

    def conv_arrays(self) -> dict[str, NDArray[Any]]:
        """Give kernels (with their steps, for int8) and biases as they are stored, by name."""
        arrays: dict[str, NDArray[Any]] = {}
        for number, conv in enumerate(self.stack.convs, 1):
            if self.step is None:
                arrays[f"kernels{number}"] = conv.weights
            else:
                arrays[f"steps{number}"] = step_of(conv.weights, _ALL_BUT_LAST)
                arrays[f"kernels{number}"] = levels(conv.weights, arrays[f"steps{number}"])
            arrays[f"biases{number}"] = conv.bias
        return arrays

    def reference_arrays(self) -> dict[str, NDArray[Any]]:
        """Give references and labels as they are stored, by name."""
        references: NDArray[Any] = self.references
        if self.step is not None:
            references = levels(references, np.float32(self.step))
        label_type = np.uint8 if len(self.classes) <= 256 else np.uint16
        return {"references": references, "labels": self.labels.astype(label_type)}

    @classmethod
    def _unpacked(cls, settings: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> "Engine":
        step, layers, number = settings.get("step"), list[Layer](), 0
        if step is not None and not 0.0 < step < np.inf:
            raise InputError(f"its step is {step}")
        classes = settings["classes"]
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise InputError("its classes have no names")
        for description in settings["layers"]:
            if "pool" in description:
                kind, size, strides, padding = description["pool"]
                if kind not in ("max", "average"):
                    raise InputError(f"a pooling is {kind}")
                layers.append(Pool(kind, _pair(size), _pair(strides), _padding(padding)))
                continue
            number += 1
            weights = arrays[f"kernels{number}"]
            if step is not None:
                weights = on_grid(weights, arrays[f"steps{number}"])
            strides, padding, relu = description["conv"]
            bias = arrays[f"biases{number}"]
            if weights.ndim != 4 or bias.shape != weights.shape[3:]:
                raise InputError(f"kernels of shape {weights.shape}, biases of {bias.shape}")
            layers.append(Conv(weights, bias, _pair(strides), _padding(padding), bool(relu)))
        references = arrays["references"]
        if step is not None:
            references = on_grid(references, np.float32(step))
        return cls(
            ConvStack(tuple(layers), tuple(settings["input"])),
            references,
            _labels(arrays["labels"]),
            tuple(settings["classes"]),
            settings["k"],
            settings["metric"],
            step,
            settings.get("average", 0),
        )


_ALL_BUT_LAST = (0, 1, 2)


def check_storage(storage: str) -> Storage:
    """Return ``storage`` if it is one, raise InputError otherwise."""
    if storage not in get_args(Storage):
        raise InputError(f"storage={storage!r} is unknown: choose one of {get_args(Storage)}.")
    return storage  # type: ignore[return-value]


def quantized(stack: ConvStack) -> ConvStack:
    """Round the kernels to the 255 levels of int8, each kernel on a grid of its own.

    Twice is the same as once.
    """
    for index, conv in enumerate(stack.convs):
        weights = snap(conv.weights, step_of(conv.weights, _ALL_BUT_LAST))
        stack = stack.with_conv(index, replace(conv, weights=weights))
    return stack


def _checked(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Refuse images of whole numbers, which are pixels from 0 to 255, and what is not finite."""
    images = np.asarray(images)
    if not np.issubdtype(images.dtype, np.floating) or not np.isfinite(images).all():
        raise InputError(
            "The pixels must be finite float32, from 0 to 1: divide those of 0 to 255 by 255."
        )
    return images


def _labels(stored: NDArray[Any]) -> NDArray[np.int64]:
    if stored.ndim != 1 or stored.dtype not in (np.uint8, np.uint16):
        raise InputError(f"its labels have type {stored.dtype} and shape {stored.shape}")
    return stored.astype(np.int64)


def _pair(values: Any) -> tuple[int, int]:
    one, two = values
    if type(one) is not int or type(two) is not int or min(one, two) < 1:
        raise InputError(f"{values} are no two sizes")
    return one, two


def _padding(padding: Any) -> Padding:
    if padding not in get_args(Padding):
        raise InputError(f"a padding is {padding}")
    return padding  # type: ignore[no-any-return]


def _described(layer: Layer) -> dict[str, Any]:
    if isinstance(layer, Pool):
        return {"pool": (layer.kind, layer.size, layer.strides, layer.padding)}
    return {"conv": (layer.strides, layer.padding, layer.relu)}
