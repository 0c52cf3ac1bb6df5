"""What tells images apart: digests of a file and of its pixels, and a thumbnail with its hash."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slicing.data.image_file import MAX_MEGAPIXELS, UnreadableImageError, decoded, opened
from slicing.files import open_regular

THUMBNAIL = 16, 18, 3
"""Shape of a thumbnail. It has two pixels a side for each cell of the hash."""

# Of red, green and blue in gray: ITU-R BT.601, as in JPEG.
_GRAY = np.array([0.299, 0.587, 0.114], np.float32)
_BITS = 64
# Bytes that are read at a time.
_BLOCK = 2**20
# Less than that, 0 to 255, may be the noise of JPEG.
_LEVELS = 2.0


class Fingerprint(NamedTuple):
    """What tells an image apart from others.

    Attributes
    ----------
    content : bytes of length 32
        SHA-256 of the file.
    pixels : bytes of length 32
        SHA-256 of size and pixels, as they are shown: upright, in RGB.
    thumbnail : bytes of length 864
        The image in RGB as ``THUMBNAIL``, uint8.
    format, mode : str
        Pillow's names, of the file.
    width, height : int
        As it is shown, in pixels.
    """

    content: bytes
    pixels: bytes
    thumbnail: bytes
    format: str
    mode: str
    width: int
    height: int


def fingerprint(path: Path, max_megapixels: float = MAX_MEGAPIXELS) -> Fingerprint:
    """Take the fingerprint of an image file, which is decoded as a whole.

    Parameters
    ----------
    path : Path
    max_megapixels : float
        Pixels of a file, in millions, above which it is not decoded.

    Raises
    ------
    UnreadableImageError
        Where the file is not an image, is damaged or too large.
    """
    with opened(path, max_megapixels) as image:
        form, mode = str(image.format), image.mode
        picture = decoded(image, "RGB")
    try:
        content = hashlib.sha256()
        with open_regular(path) as file:
            while block := file.read(_BLOCK):
                content.update(block)
    except OSError as error:
        raise UnreadableImageError(path, error.strerror or str(error)) from error
    pixels = hashlib.sha256(repr(picture.size).encode())
    pixels.update(np.asarray(picture).data)
    height, width, _ = THUMBNAIL
    small = picture.resize((width, height), Image.Resampling.BOX)
    return Fingerprint(
        content.digest(), pixels.digest(), small.tobytes(), form, mode, *picture.size
    )


def thumbnails(prints: Sequence[Fingerprint]) -> NDArray[np.uint8]:
    """Give the thumbnails of shape (n, ``*THUMBNAIL``), uint8."""
    joined = b"".join(each.thumbnail for each in prints)
    return np.frombuffer(joined, np.uint8).reshape(-1, *THUMBNAIL)


def cells(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Average thumbnails over squares of two pixels: of shape (n, 8, 9, 3), float32, 0 to 255."""
    averages: NDArray[np.float32] = pixels.reshape(-1, 8, 2, 9, 2, 3).mean(
        axis=(2, 4), dtype=np.float32
    )
    return averages


def difference_hashes(
    pixels: NDArray[np.uint8],
) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """Hash what thumbnails look like: 64 bits, of which similar images share most.

    Parameters
    ----------
    pixels : ndarray of shape (n, ``*THUMBNAIL``), uint8

    Returns
    -------
    hashes : ndarray of shape (n,), uint64
        A bit says whether one of 8 x 9 gray cells is brighter than its left neighbor: N. Krawetz,
        "Kind of Like That" (2013), called dHash.
    telling : ndarray of shape (n,), float64
        The share of the bits that tell something: the cells differ by more than two levels. It is
        1 for most photos, a half for a digit on black, and 0 for one color.
    """
    differences = np.diff(cells(pixels) @ _GRAY, axis=2).reshape(-1, _BITS)
    hashes = np.packbits(differences > 0, axis=1).view(np.uint64).reshape(-1)
    return hashes, np.mean(np.abs(differences) > _LEVELS, axis=1)
