"""The form of every dataset."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from slicing.data.sampling import stratified_order
from slicing.errors import InputError
from slicing.pixels import unit_pixels


@dataclass(frozen=True, eq=False)
class Images:
    """Labeled images.

    Attributes
    ----------
    images : ndarray of shape (n, height, width, channels), float32
        Pixels in [0, 1], see :func:`~slicing.pixels.unit_pixels`, which converts those of uint8.
    labels : ndarray of shape (n,), int64
        Class indices, 0 to n_classes - 1.
    names : ndarray of shape (n,), str, or None
        Where the images are files, their classes and names, safe to show: ``cat/0001.jpg``.

    Raises
    ------
    InputError
        For pixels that are neither.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: NDArray[np.str_] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", unit_pixels(self.images))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: NDArray[np.intp] | list[int] | slice) -> "Images":
        names = None if self.names is None else self.names[index]
        return Images(self.images[index], self.labels[index], names)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the pixels and labels, in hexadecimal."""
        sha = hashlib.sha256(repr(self.images.shape).encode())
        sha.update(np.ascontiguousarray(self.images).data)
        sha.update(np.ascontiguousarray(self.labels).data)
        return sha.hexdigest()


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training images in memory, and functions that read the test images.

    Attributes
    ----------
    name : str
        Its name in tables and tags.
    classes : tuple of str
        Names of the classes, in label order.
    train : Images
        The training images.
    read_test : callable
        Reads the test images that were asked for, from disk at each call.
    read_test_all : callable or None
        Reads all test images of the dataset; None where ``read_test`` already does.
    notes : tuple of str
        What a user should know about how the images were read, a sentence each.
    calibration : Images or None
        Images that teach nothing but the confidence of the finished engine, see :meth:`hold_out`.
    """

    name: str
    classes: tuple[str, ...]
    train: Images
    read_test: Callable[[], Images]
    read_test_all: Callable[[], Images] | None = None
    notes: tuple[str, ...] = ()
    calibration: Images | None = None

    def hold_out(self, n: int, seed: int) -> "Dataset":
        """Take a stratified sample of the training images out, for calibration alone.

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
        # The first of the order are a sample that holds every class.
        order = stratified_order(self.train.labels, seed)
        kept, held_out = np.sort(order[:-n]), np.sort(order[-n:])
        return replace(self, train=self.train[kept], calibration=self.train[held_out])

    def of_classes(self, names: Sequence[str]) -> "Dataset":
        """Keep only the images of some classes.

        Parameters
        ----------
        names : sequence of str
            Some of ``classes``, in the order of the new labels.
        """
        labels = np.full(len(self.classes), -1)
        labels[[self.classes.index(name) for name in names]] = np.arange(len(names))

        def kept(images: Images) -> Images:
            chosen = np.flatnonzero(labels[images.labels] >= 0)
            part = images[chosen]
            return replace(part, labels=labels[part.labels])

        def reading(read: Callable[[], Images]) -> Callable[[], Images]:
            return lambda: kept(read())

        return Dataset(
            f"{self.name}-{len(names)}of{len(self.classes)}",
            tuple(names),
            kept(self.train),
            reading(self.read_test),
            reading(self.read_test_all) if self.read_test_all is not None else None,
            self.notes,
            kept(self.calibration) if self.calibration is not None else None,
        )
