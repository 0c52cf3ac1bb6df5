"""Read a picture from a file, whatever its name says: the one way for training and prediction."""

import ctypes
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError, _imaging
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from slicing.errors import InputError
from slicing.files import open_regular

Fit = Literal["stretch", "crop", "pad"]

MODES = {1: "L", 3: "RGB"}
"""Pillow's modes by the number of channels."""

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
"""Pillow's names of the formats that are read; of animated ones, the first picture."""

MAX_MEGAPIXELS = 100.0
"""Pixels of a file, in millions, above which it is not decoded. So many take up to 1.5 GB."""

_SUFFIXES = {
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".dib", ".webp", ".tif"),
    ".tiff",
}
# Endings of photos in formats that are not read.
_OF_PHONES = {".heic", ".heif", ".hif", ".avif"}
# Modes that Pillow reads of 16 bits a channel, and how many channels at their end are no color.
_ALPHA_LAST = {"RGB": 0, "RGBA": 1, "LA": 1}
# A TIFF's tag of what its values are, and its value where 0 is white.
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
# What systems leave beside the files that people put into a folder; names with a dot come to it.
_LEFT_BY_SYSTEMS = {"thumbs.db", "desktop.ini", "__macosx"}
# Bytes from which text is told apart from anything else.
_START = 4096
# Difference between the channels of a pixel, 0 to 255, that is color and not JPEG's rounding.
_COLORED = 32

# Pillow's limit is one for the whole process.
_LIMIT = threading.Lock()

# A decoder warns of what it reads all the same. Filters are of the whole process, and images are
# read by many threads: none can set its own.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Pillow's libtiff prints to standard error what is wrong with a file, though the error that is
# raised says it. Where it is built in another way, it has no such names.
with suppress(OSError, AttributeError):
    _libtiff = ctypes.CDLL(_imaging.__file__)
    _libtiff.TIFFSetErrorHandler(None)
    _libtiff.TIFFSetWarningHandler(None)


class UnreadableImageError(InputError):
    """A file that cannot be read as an image.

    Attributes
    ----------
    path : Path
    reason : str
        What the decoder says.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} cannot be read as an image ({reason}): give an intact copy, or leave it out."
        )
        self.path, self.reason = path, reason


def read_image(
    path: Path,
    image_size: tuple[int, int],
    channels: int,
    max_megapixels: float = MAX_MEGAPIXELS,
    fit: Fit = "stretch",
) -> NDArray[np.uint8]:
    """Read an image file: decoded, turned upright, converted and resized.

    The format is that of the content, and one of ``FORMATS``. Transparent pixels become white.
    Images of more than 8 bits are scaled by the power of two that brings their largest value below
    256, and above 127 where it can: 12 bits in a file of 16 are not taken for black. Of color,
    what is left are then 4 bits. A JPEG of several times the size is decoded at a half, a fourth or
    an eighth of its own, which takes a fraction of the time.

    Parameters
    ----------
    path : Path
    image_size : (int, int)
        Height and width, in pixels.
    channels : {1, 3}
        Gray or RGB.
    max_megapixels : float
        Largest number of pixels that is decoded, in millions.
    fit : {"stretch", "crop", "pad"}
        See :func:`fitted`.

    Returns
    -------
    ndarray of shape (height, width, channels), uint8

    Raises
    ------
    UnreadableImageError
        Where the file is not an image, is damaged or too large.
    """
    height, width = image_size
    with opened(path, max_megapixels) as image:
        _shrink_on_load(image, image_size)
        converted = _converted(_decoded(image), MODES[channels])
        return np.asarray(fitted(converted, image_size, fit)).reshape(height, width, channels)


def fitted(image: Image.Image, image_size: tuple[int, int], fit: Fit) -> Image.Image:
    """Resize a picture, by bilinear interpolation.

    Parameters
    ----------
    image : PIL.Image.Image
    image_size : (int, int)
        Height and width, in pixels.
    fit : {"stretch", "crop", "pad"}
        Whether a picture of another shape is stretched, loses what lies beyond the middle, or gets
        a black margin.
    """
    size = image_size[1], image_size[0]
    if fit == "crop":
        return ImageOps.fit(image, size, Image.Resampling.BILINEAR)
    if fit == "pad":
        return ImageOps.pad(image, size, Image.Resampling.BILINEAR)
    return image.resize(size, Image.Resampling.BILINEAR)


def picture_of(path: Path, side: int, max_megapixels: float = MAX_MEGAPIXELS) -> Image.Image:
    """Read an image file to be looked at: in RGB, and at most ``side`` pixels a side.

    Raises
    ------
    UnreadableImageError
    """
    with opened(path, max_megapixels) as image:
        picture = _converted(_decoded(image), "RGB")
        picture.thumbnail((side, side))
        return picture


@contextmanager
def opened(path: Path, max_megapixels: float = MAX_MEGAPIXELS) -> Iterator[ImageFile]:
    """Open an image: Pillow reads only its header, and all that fails inside is one error.

    Raises
    ------
    UnreadableImageError
    """
    try:
        with open_regular(path) as file:
            with _LIMIT, _limit(max_megapixels):
                image = Image.open(file, formats=FORMATS)
            yield image
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise UnreadableImageError(path, _reason(error, path, max_megapixels)) from error


def decoded(image: ImageFile, mode: str) -> Image.Image:
    """Decode an opened image as it is shown: upright, in Pillow's mode ``L`` or ``RGB``."""
    return _converted(_decoded(image), mode)


def is_left_by_system(path: Path) -> bool:
    """Whether a name is that of a hidden file, or of what systems leave beside images."""
    return path.name.startswith(".") or path.name.lower() in _LEFT_BY_SYSTEMS


def is_text(path: Path) -> bool:
    """Whether a file that is no image was not meant to be one: text without an image's suffix."""
    if path.suffix.lower() in _SUFFIXES:
        return False
    try:
        with open_regular(path) as file:
            start = file.read(_START)
    except OSError:
        return False
    # The last character may be cut.
    return b"\0" not in start and "\ufffd" not in start.decode(errors="replace")[:-3]


def has_color(path: Path, max_megapixels: float = MAX_MEGAPIXELS) -> bool:
    """Whether an image is more than gray; a gray photo is often stored as RGB."""
    pixels = read_image(path, (32, 32), 3, max_megapixels)
    return bool(np.ptp(pixels, axis=2).max() > _COLORED)


@contextmanager
def _limit(max_megapixels: float) -> Iterator[None]:
    """Let Pillow refuse larger images by their headers; by itself it does so at twice its limit."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, int(max_megapixels * 1e6 / 2)
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _shrink_on_load(image: ImageFile, image_size: tuple[int, int]) -> None:
    """Let a JPEG be decoded at a fraction of its size: 12 megapixels in a fourth of the time.

    It stays twice as large as is asked for in either direction, so that what resizes it then says
    what a pixel becomes; Pillow's ``thumbnail`` does so, too. The fraction divides the sides, or
    the picture would be moved by a part of a pixel.
    """
    least = 2 * max(image_size)
    for divisor in (8, 4, 2):
        if all(side % divisor == 0 and side // divisor >= least for side in image.size):
            image.draft(None, (image.width // divisor, image.height // divisor))
            return


def _decoded(image: ImageFile) -> Image.Image:
    """Decode, with the brightness of the bits in use, and turn as the camera was held."""
    # Pillow reads gray of 16 bits as it is, of each color it keeps the 8 highest.
    is_deep = image.mode in _ALPHA_LAST and any(";16" in str(tile[3]) for tile in image.tile)
    image.load()
    if image.mode == "P" and _largest(image) >= len(image.getpalette() or ()) // 3:
        raise ValueError("its palette lacks colors that it uses")
    # Where its metadata are damaged, an image is shown as it is stored.
    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):
        values = np.asarray(image).clip(min=0)
        if isinstance(image, TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
            values = 0xFFFF - values  # Pillow does so for 8 bits
        unused = max(int(values.max()).bit_length() - 8, 0)
        return Image.fromarray((values >> unused).astype(np.uint8))
    if is_deep:
        bands = list(image.split())
        colors = slice(len(bands) - _ALPHA_LAST[image.mode])
        largest = int(np.asarray(image)[..., colors].max())
        unused = 8 - largest.bit_length()
        bands[colors] = [band.point(lambda value: value << unused & 255) for band in bands[colors]]
        return Image.merge(image.mode, bands)
    return image


def _largest(image: Image.Image) -> int:
    return int(np.asarray(image).max())


def _converted(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, whose range is unknown")
    if image.mode == "LAB":
        image = _lab_to_rgb().apply(image)
    if image.has_transparency_data:
        page = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(page, image.convert("RGBA"))
    return image.convert(mode)


@cache
def _lab_to_rgb() -> ImageCms.ImageCmsTransform:
    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, rgb, "LAB", "RGB")


def _reason(error: Exception, path: Path, max_megapixels: float) -> str:
    if isinstance(error, UnidentifiedImageError):
        if path.suffix.lower() in _OF_PHONES:
            return f"it is none of {', '.join(FORMATS)}, save it as JPEG"
        return f"it is none of {', '.join(FORMATS)}"
    if isinstance(error, Image.DecompressionBombError):
        bound = f"max_megapixels={max_megapixels:g}"
        return f"it has more than {bound} million pixels, which may be raised"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MemoryError):
        return "it takes more memory than is free"
    return (str(error).splitlines() or ["it is damaged"])[0].rstrip(".")
