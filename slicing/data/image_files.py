"""Image files that are decoded as they are asked for: photos that do not fit in memory."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from slicing.data.dataset import Images, Index
from slicing.data.image_file import MAX_MEGAPIXELS, picture_of
from slicing.data.preparation import Preparation
from slicing.pixels import unit_pixels
from slicing.show import Show, silent
from slicing.threads import usable_processors

if TYPE_CHECKING:
    from PIL.Image import Image

A = TypeVar("A")
R = TypeVar("R")

# Files of each thread that are worked on or wait: all of them would take memory.
_WAITING = 4


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Labeled image files: a :class:`~slicing.data.dataset.Part`.

    Attributes
    ----------
    paths : ndarray of shape (n,), Path
    labels : ndarray of shape (n,), int64
        Class indices, 0 to n_classes - 1.
    names : ndarray of shape (n,), str
        Their classes and names, safe to show: ``cat/0001.jpg``.
    contents : ndarray of shape (n,), bytes of length 32
        SHA-256 of each file.
    max_megapixels : float
        Pixels of a file, in millions, above which it is not decoded.
    groups : ndarray of shape (n,), intp, or None
        Which are copies of each other, see :class:`~slicing.data.dataset.Part`.
    """

    paths: NDArray[np.object_]
    labels: NDArray[np.int64]
    names: NDArray[np.str_]
    contents: NDArray[np.void]
    max_megapixels: float = MAX_MEGAPIXELS
    groups: NDArray[np.intp] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Index) -> Self:
        return replace(
            self,
            paths=self.paths[index],
            labels=self.labels[index],
            names=self.names[index],
            contents=self.contents[index],
            groups=None if self.groups is None else self.groups[index],
        )

    def relabeled(self, labels: NDArray[np.int64]) -> Self:
        """Give the same files with other labels of shape (n,), int64."""
        return replace(self, labels=labels)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the files and labels, in hexadecimal."""
        return hashlib.sha256(self.contents.tobytes() + self.labels.tobytes()).hexdigest()

    def prepared(self, preparation: Preparation, show: Show = silent) -> NDArray[np.uint8]:
        """Read all files: of shape (n, ``*preparation.shape``), uint8.

        ``show`` is told the part that was read, 0 to 1, and how many files that are.

        Raises
        ------
        UnreadableImageError
            Where a file is not an image, is damaged or too large.
        """
        preparation.require(self.max_megapixels)
        pixels = np.empty((len(self), *preparation.shape), np.uint8)

        def read(row: int) -> None:
            pixels[row] = preparation.of_file(self.paths[row], self.max_megapixels)

        for _ in in_threads(read, range(len(self)), show):
            pass
        return pixels

    def read(self, preparation: Preparation, show: Show = silent) -> Images:
        """Read all files as images at hand; see :meth:`prepared`."""
        return Images(
            unit_pixels(self.prepared(preparation, show)), self.labels, self.names, self.groups
        )

    def picture(self, index: int, side: int) -> "Image":
        """Give one image to be looked at, of at most ``side`` pixels a side."""
        return picture_of(self.paths[index], side, self.max_megapixels)


def in_threads(work: Callable[[A], R], files: Sequence[A], show: Show = silent) -> Iterator[R]:
    """Work on files, in as many threads as there are processors: Pillow decodes outside of Python.

    Parameters
    ----------
    work : callable
    files : sequence
    show : callable, optional
        Is told the part that is done, 0 to 1, and how many files that are.

    Yields
    ------
    object
        What it gives, in the same order.
    """
    threads, left = usable_processors(), iter(files)
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque(pool.submit(work, each) for each in islice(left, _WAITING * threads))
        for number in range(len(files)):
            found = waiting.popleft().result()
            waiting.extend(pool.submit(work, each) for each in islice(left, 1))
            show(number / len(files), f"{number:,} of {len(files):,} files read")
            yield found
