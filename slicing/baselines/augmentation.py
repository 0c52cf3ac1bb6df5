"""Altered images: a network that has seen them learns what does not matter."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slicing.checks import between
from slicing.data.dataset import Index, Part, digests_of
from slicing.data.preparation import Preparation

# Shares of red, green and blue in the gray of a color (ITU-R BT.601).
_GRAY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Augmentation:
    """How images are altered, each at random; with all at 0, they are not.

    Attributes
    ----------
    flip : bool
        Whether half of them are mirrored, left to right.
    shift : float
        Part of a side by which they are moved at most, 0 to 0.5; the border is repeated.
    crop : float
        Part of the sides that is cut off at most, 0 to 0.9; the rest is enlarged.
    color : float
        By how much brightness, contrast and saturation change at most, 0 to 1.
    cutout : float
        Side of a square that is covered, as part of the shorter side, 0 to 1 (DeVries and Taylor,
        "Improved regularization of convolutional neural networks with cutout", 2017).

    Raises
    ------
    InputError
        For numbers out of range.
    """

    flip: bool = True
    shift: float = 0.0
    crop: float = 0.2
    color: float = 0.2
    cutout: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("shift", 0.5), ("crop", 0.9), ("color", 1), ("cutout", 1)):
            between(name, getattr(self, name), 0, most)

    def altered(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Alter an image.

        Parameters
        ----------
        image : ndarray of shape (height, width, channels), uint8
            Gray or RGB.
        rng : numpy.random.Generator

        Returns
        -------
        ndarray of the same shape, uint8
        """
        if self.flip and rng.random() < 0.5:
            image = image[:, ::-1]
        if self.shift:
            image = _moved(image, rng.uniform(-self.shift, self.shift, 2))
        if self.crop:
            image = _cropped(image, 1 - rng.uniform(0, self.crop), rng.random(2))
        if self.color:
            image = _colored(image, *rng.uniform(1 - self.color, 1 + self.color, 3))
        if self.cutout:
            image = _covered(image, self.cutout, rng.random(2))
        return np.ascontiguousarray(image)


@dataclass(frozen=True, eq=False)
class Altered:
    """A version of the images of a part, each altered: a :class:`~slicing.data.dataset.Part`.

    An image is altered by what its content, the seed and the number of the version give: in
    whatever order images come, and however many.

    Attributes
    ----------
    part : Part
    augmentation : Augmentation
    seed, version : int
    """

    part: Part
    augmentation: Augmentation
    seed: int
    version: int

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices of shape (n,), int64."""
        return self.part.labels

    @property
    def names(self) -> NDArray[np.str_] | None:
        """Where the images are files, their names."""
        return self.part.names

    @property
    def groups(self) -> NDArray[np.intp] | None:
        """Which images are copies of each other, where that is known."""
        return self.part.groups

    @cached_property
    def contents(self) -> NDArray[np.void]:
        """SHA-256 of what determines each image, as bytes of length 32."""
        how = f"{self.augmentation} {self.seed} {self.version} ".encode()
        return digests_of(hashlib.sha256(how + bytes(each)).digest() for each in self.part.contents)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the images and labels, in hexadecimal."""
        return hashlib.sha256(self.contents.tobytes() + self.labels.tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, index: Index) -> Self:
        return replace(self, part=self.part[index])

    def relabeled(self, labels: NDArray[np.int64]) -> Self:
        """Give the same images with other labels of shape (n,), int64."""
        return replace(self, part=self.part.relabeled(labels))

    def prepared(self, preparation: Preparation) -> NDArray[np.uint8]:
        """Read and alter all images: of shape (n, ``*preparation.shape``), uint8."""
        images = self.part.prepared(preparation)
        for row, content in enumerate(self.contents):
            rng = np.random.default_rng([*bytes(content)])
            images[row] = self.augmentation.altered(images[row], rng)
        return images

    def picture(self, index: int, side: int) -> Image.Image:
        """Give one image to be looked at, not altered, of at most ``side`` pixels a side."""
        return self.part.picture(index, side)


def _moved(image: NDArray[np.uint8], by: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Move an image down and to the right, by parts of its sides."""
    for axis, share in enumerate(by):
        length = image.shape[axis]
        rows = np.arange(length) - round(share * length)
        image = image.take(rows.clip(0, length - 1), axis=axis)
    return image


def _cropped(image: NDArray[np.uint8], share: float, at: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Enlarge a window of so large a part of the sides, at a place from 0 to 1 in each axis."""
    height, width, channels = image.shape
    top, left = at * (1 - share) * (height, width)
    box = (left, top, left + share * width, top + share * height)
    picture = Image.fromarray(np.ascontiguousarray(image if channels > 1 else image[..., 0]))
    resized = picture.resize((width, height), Image.Resampling.BILINEAR, box)
    return np.asarray(resized).reshape(image.shape)


def _colored(
    image: NDArray[np.uint8], brightness: float, contrast: float, saturation: float
) -> NDArray[np.uint8]:
    """Multiply colors, their distance from the mean gray, and from their own gray."""
    pixels = image.astype(np.float32) * np.float32(brightness)
    if image.shape[2] == 3:
        gray = pixels @ _GRAY[:, None]
        pixels = gray + np.float32(saturation) * (pixels - gray)
        mean = gray.mean()
    else:
        mean = pixels.mean()
    pixels = mean + np.float32(contrast) * (pixels - mean)
    colored: NDArray[np.uint8] = np.rint(pixels.clip(0, 255)).astype(np.uint8)
    return colored


def _covered(image: NDArray[np.uint8], share: float, at: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Cover a square with the image's mean color; part of it may lie outside."""
    height, width, _ = image.shape
    half = share * min(height, width) / 2
    row, column = at * (height, width)
    covered = image.copy()
    rows = slice(max(0, round(row - half)), max(0, round(row + half)))
    columns = slice(max(0, round(column - half)), max(0, round(column + half)))
    covered[rows, columns] = np.rint(image.mean((0, 1))).astype(np.uint8)
    return covered
