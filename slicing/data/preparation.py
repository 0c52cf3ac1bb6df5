"""How a picture becomes an input: one rule for training, prediction and serving."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slicing.checks import one_of
from slicing.data.image_file import MAX_MEGAPIXELS, MODES, Fit, fitted, read_image
from slicing.errors import InputError


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes an input.

    Attributes
    ----------
    image_size : (int, int)
        Height and width, in pixels.
    channels : {1, 3}
        Gray or RGB.
    fit : {"stretch", "crop", "pad"}
        What happens to pictures of another shape, see :func:`~slicing.data.image_file.fitted`.

    Raises
    ------
    InputError
        For sizes below 1, and for what is unknown.
    """

    image_size: tuple[int, int]
    channels: int
    fit: Fit = "stretch"

    def __post_init__(self) -> None:
        if len(self.image_size) != 2 or min(self.image_size) < 1:
            raise InputError(
                f"image_size={list(self.image_size)} is not a size: give height and width.",
                "image_size",
            )
        if self.channels not in MODES:
            raise InputError(
                f"channels={self.channels} is unknown: choose 1 (gray) or 3 (RGB).", "channels"
            )
        one_of("fit", self.fit, get_args(Fit))

    @classmethod
    def of(cls, image_size: Sequence[int], channels: int, fit: Fit = "stretch") -> "Preparation":
        """Make one of any sequence of height and width."""
        return cls(tuple(image_size), channels, fit)  # type: ignore[arg-type]

    @classmethod
    def of_shape(cls, shape: tuple[int, int, int]) -> "Preparation":
        """Stretch files to what an engine takes: height, width and channels.

        Raises
        ------
        InputError
            Where these are no images of files.
        """
        height, width, channels = shape
        if channels not in MODES:
            raise InputError(
                f"The engine takes images of {channels} channels, and files have 1 or 3."
            )
        return cls((height, width), channels)

    @property
    def recipe(self) -> str:
        """How a file becomes pixels, for those who have an engine in another form."""
        return f"a file becomes uint8 from 0 to 255 by {__name__}.{self}.of_file"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an input."""
        return (*self.image_size, self.channels)

    def require(self, max_megapixels: float) -> None:
        """Refuse inputs of more pixels than a file may have.

        Raises
        ------
        InputError
        """
        height, width = self.image_size
        if height * width > max_megapixels * 1e6:
            raise InputError(
                f"max_megapixels={max_megapixels:g} is fewer than images of {height:,} x {width:,} "
                "pixels have: raise it if that is no mistake, or make them smaller.",
                "max_megapixels",
            )

    def of_file(self, path: Path, max_megapixels: float = MAX_MEGAPIXELS) -> NDArray[np.uint8]:
        """Read a file: see :func:`~slicing.data.image_file.read_image`."""
        return read_image(path, self.image_size, self.channels, max_megapixels, self.fit)

    def of_pixels(self, images: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Prepare pictures that are at hand, as if each came from a file.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels), float32
            Pixels in [0, 1], gray or RGB.

        Returns
        -------
        ndarray of shape (n, ``*shape``), uint8
        """
        prepared = np.empty((len(images), *self.shape), np.uint8)
        for row, image in zip(prepared, np.rint(images * 255).astype(np.uint8), strict=True):
            picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
            converted = picture.convert(MODES[self.channels])
            row[:] = np.asarray(fitted(converted, self.image_size, self.fit)).reshape(row.shape)
        return prepared
