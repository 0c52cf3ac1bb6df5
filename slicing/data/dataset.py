"""The form of every dataset: images, at hand or in files, and their roles."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from slicing.data.sampling import held_out
from slicing.errors import InputError
from slicing.pixels import contrasts_of, unit_pixels

if TYPE_CHECKING:
    from PIL.Image import Image

    from slicing.data.preparation import Preparation
    from slicing.data.survey import Survey

Index = NDArray[np.intp] | list[int] | slice


class Part(Protocol):
    """Some labeled images of a dataset: at hand (:class:`Images`), or decoded as they come.

    Attributes
    ----------
    labels : ndarray of shape (n,), int64
        Class indices, 0 to n_classes - 1.
    names : ndarray of shape (n,), str, or None
        Where the images are files, their classes and names, safe to show: ``cat/0001.jpg``.
    contents : ndarray of shape (n,), bytes of length 32
        SHA-256 of each image: of the file, or of the pixels.
    digest : str
        SHA-256 of all of it, in hexadecimal.
    groups : ndarray of shape (n,), intp, or None
        Images of equal numbers are copies of each other; None: that was not looked at. They belong
        on one side of a split.
    """

    @property
    def labels(self) -> NDArray[np.int64]: ...  # noqa: D102

    @property
    def names(self) -> NDArray[np.str_] | None: ...  # noqa: D102

    @property
    def contents(self) -> NDArray[np.void]: ...  # noqa: D102

    @property
    def digest(self) -> str: ...  # noqa: D102

    @property
    def groups(self) -> NDArray[np.intp] | None: ...  # noqa: D102

    def __len__(self) -> int: ...

    def __getitem__(self, index: Index) -> Self: ...

    def relabeled(self, labels: NDArray[np.int64]) -> Self:
        """Give the same images with other labels of shape (n,), int64."""

    def prepared(self, preparation: "Preparation") -> NDArray[np.uint8]:
        """Read all images: of shape (n, ``*preparation.shape``), uint8."""

    def picture(self, index: int, side: int) -> "Image":
        """Give one image to be looked at, of at most ``side`` pixels a side."""


P_co = TypeVar("P_co", bound=Part, covariant=True)
Q = TypeVar("Q", bound=Part)


@dataclass(frozen=True, eq=False)
class Images:
    """Labeled images at hand: a :class:`Part`.

    Attributes
    ----------
    images : ndarray of shape (n, height, width, channels), float32
        Pixels in [0, 1], see :func:`~slicing.pixels.unit_pixels`, which converts those of uint8.
    labels : ndarray of shape (n,), int64
        Class indices, 0 to n_classes - 1.
    names : ndarray of shape (n,), str, or None
        Where the images are files, their classes and names, safe to show: ``cat/0001.jpg``.
    groups : ndarray of shape (n,), intp, or None
        Which are copies of each other, see :class:`Part`.

    Raises
    ------
    InputError
        For pixels that are neither.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: NDArray[np.str_] | None = None
    groups: NDArray[np.intp] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", unit_pixels(self.images))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Index) -> Self:
        return replace(
            self,
            images=self.images[index],
            labels=self.labels[index],
            names=None if self.names is None else self.names[index],
            groups=None if self.groups is None else self.groups[index],
        )

    def relabeled(self, labels: NDArray[np.int64]) -> Self:
        """Give the same images with other labels of shape (n,), int64."""
        return replace(self, labels=labels)

    @cached_property
    def contents(self) -> NDArray[np.void]:
        """SHA-256 of each image's pixels, as bytes of length 32."""
        form = repr(self.images.shape[1:]).encode()
        return digests_of(
            hashlib.sha256(form + np.ascontiguousarray(image).tobytes()).digest()
            for image in self.images
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the pixels and labels, in hexadecimal."""
        sha = hashlib.sha256(repr(self.images.shape).encode())
        sha.update(np.ascontiguousarray(self.images).data)
        sha.update(np.ascontiguousarray(self.labels).data)
        return sha.hexdigest()

    @cached_property
    def contrasts(self) -> NDArray[np.float64]:
        """See :func:`~slicing.pixels.contrasts_of`: of shape (n,)."""
        return contrasts_of(self.images)

    def prepared(self, preparation: "Preparation") -> NDArray[np.uint8]:
        """Resize and convert all images: of shape (n, ``*preparation.shape``), uint8."""
        return preparation.of_pixels(self.images)

    def picture(self, index: int, side: int) -> "Image":
        """Give one image to be looked at; of other channels than three, their mean."""
        from PIL import Image

        image = self.images[index]
        pixels = image if image.shape[2] == 3 else image.mean(axis=2)
        picture = Image.fromarray(np.uint8(np.rint(255 * pixels.clip(0, 1))))
        picture.thumbnail((side, side))
        return picture


def digests_of(each: Iterable[bytes]) -> NDArray[np.void]:
    """Give digests of 32 bytes each as an array of shape (n,)."""
    return np.frombuffer(b"".join(each), "V32")


@dataclass(frozen=True, eq=False)
class Dataset(Generic[P_co]):
    """Training images, and functions that read the test images.

    Attributes
    ----------
    name : str
        Its name in tables and tags.
    classes : tuple of str
        Names of the classes, in label order.
    train : Part
        The training images.
    read_test : callable
        Reads the test images that were asked for, from disk at each call.
    read_test_all : callable or None
        Reads all test images of the dataset; None where ``read_test`` already does.
    notes : tuple of str
        What a user should know about how the images were read, a sentence each.
    calibration : Part or None
        Images that teach nothing but the confidence of the finished engine, see :meth:`hold_out`.
    survey : Survey or None
        All image files of the dataset, those of ``train`` before those of the test; None where the
        images are no files.
    """

    name: str
    classes: tuple[str, ...]
    train: P_co
    read_test: Callable[[], P_co]
    read_test_all: Callable[[], P_co] | None = None
    notes: tuple[str, ...] = ()
    calibration: P_co | None = None
    survey: "Survey | None" = None

    def hold_out(self, n: int, seed: int) -> Self:
        """Take a stratified sample of the training images out, for calibration alone.

        Copies stay on one side: see :func:`~slicing.data.sampling.held_out`.

        Parameters
        ----------
        n : int
            At least one; so few that every class can keep a training image.
        seed : int
            0 to 2**32 - 1.

        Raises
        ------
        InputError
            For another number.
        """
        most = len(self.train) - len(self.classes)
        if not 1 <= n <= most:
            raise InputError(
                f"n={n} training images cannot be held out: choose 1 to {most}, so that each of "
                f"{len(self.classes)} classes keeps one.",
                "n",
            )
        kept, sample = held_out(self.train.labels, n, seed, self.train.groups)
        return replace(self, train=self.train[kept], calibration=self.train[sample])

    def of_classes(self, names: Sequence[str]) -> "Dataset[P_co]":
        """Keep only the images of some classes.

        Parameters
        ----------
        names : sequence of str
            Some of ``classes``, in the order of the new labels.
        """
        labels = np.full(len(self.classes), -1)
        labels[[self.classes.index(name) for name in names]] = np.arange(len(names))

        def kept(part: Q) -> Q:
            part = part[np.flatnonzero(labels[part.labels] >= 0)]
            return part.relabeled(labels[part.labels])

        name = f"{self.name}-{len(names)}of{len(self.classes)}"
        changed = self.map(kept)
        return replace(changed, name=name, classes=tuple(names))

    def map(self, change: Callable[[P_co], Q]) -> "Dataset[Q]":
        """Change all images, those of the test when they are read.

        Parameters
        ----------
        change : callable
            Gives images for images.
        """

        def reading(read: Callable[[], P_co]) -> Callable[[], Q]:
            return lambda: change(read())

        return Dataset(
            self.name,
            self.classes,
            change(self.train),
            reading(self.read_test),
            reading(self.read_test_all) if self.read_test_all is not None else None,
            self.notes,
            change(self.calibration) if self.calibration is not None else None,
            self.survey,
        )
