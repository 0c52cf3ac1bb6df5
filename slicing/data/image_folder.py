"""Read a user's own images: one folder per class."""

import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slicing.data.dataset import Dataset, Images
from slicing.data.sampling import require_classes, stratified_order
from slicing.errors import InputError
from slicing.pixels import unit_pixels

MODES = {1: "L", 3: "RGB"}


def folder(
    *,
    directory: str | os.PathLike[str],
    image_size: Sequence[int] = (28, 28),
    channels: int = 1,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """Load a directory of class folders with PNG or JPEG images, gray or RGB.

    Parameters
    ----------
    directory : path
        Holds one folder for each class, named after it. Names that start with a dot are ignored.
    image_size : pair of int
        Height and width to which every image is resized, in pixels.
    channels : {1, 3}
        Gray or RGB: every image is converted. Transparent pixels become white.
    test_fraction : float
        Share of the images that are test images, between 0 and 1. The split is by file,
        stratified and depends on the file names and the seed.
    seed : int
        Seed of the split, 0 to 2**32 - 1.

    Returns
    -------
    Dataset
        Images of shape (n, height, width, channels). Test images are decoded when they are read;
        until then, only their headers are.

    Raises
    ------
    InputError
        If the directory or a class is missing, empty or too small, a file is not an image or
        damaged, or an option is out of range. `Dataset.read_test` raises it too, for damage
        beyond the header of a test image.
    """
    root = Path(directory).expanduser()
    height, width = _require_image_size(image_size)
    if channels not in MODES:
        raise InputError(f"channels={channels} is unknown: choose 1 (gray) or 3 (RGB).", "channels")
    files, labels, classes = _list(root)

    order = stratified_order(labels, seed)
    n_test = round(test_fraction * len(order))
    if not len(classes) <= n_test <= len(order) - len(classes):
        raise InputError(
            f"test_fraction={test_fraction} makes {n_test} of the {len(order)} images of {root} "
            f"test images: choose one that leaves each of the {len(classes)} classes at least one "
            f"on either side.",
            "test_fraction",
        )
    test, train = order[:n_test], order[n_test:]
    way_out = "choose a smaller test_fraction"
    require_classes(labels[train], labels[test], classes, root, way_out)
    for index in test:
        _open(files[index]).close()

    def read(indices: NDArray[np.intp]) -> Images:
        pixels = np.empty((len(indices), height, width, channels), np.uint8)
        for row, index in zip(pixels, indices, strict=True):
            row[:] = read_image(files[index], (height, width), channels)
        return Images(unit_pixels(pixels), labels[indices])

    return Dataset(root.resolve().name, classes, read(train), lambda: read(test))


def _require_image_size(image_size: Sequence[int]) -> tuple[int, int]:
    if len(image_size) != 2 or min(image_size) < 1:
        raise InputError(
            f"image_size={list(image_size)} is not a size: give height and width.", "image_size"
        )
    return image_size[0], image_size[1]


def _list(root: Path) -> tuple[list[Path], NDArray[np.int64], tuple[str, ...]]:
    """List files, their labels and the names of the classes, all in the order of the names."""
    if not root.is_dir():
        raise InputError(
            f"directory={root} is not a folder: name the one that holds your class folders.",
            "directory",
        )
    folders = _visible(root)
    for path in folders:
        if not path.is_dir():
            raise InputError(f"{path} lies outside the class folders: move it into one or away.")
    if len(folders) < 2:
        raise InputError(
            f"{root} holds {len(folders)} class folder(s): give it one per class, at least two."
        )
    contents = [_visible(path) for path in folders]
    for path, files in zip(folders, contents, strict=True):
        if len(files) < 2:
            raise InputError(
                f"{path} holds {len(files)} image(s): a class needs at least two, "
                f"one to train and one to test."
            )
    labels = np.repeat(np.arange(len(folders)), [len(files) for files in contents])
    return list(chain(*contents)), labels, tuple(path.name for path in folders)


def _visible(path: Path) -> list[Path]:
    try:
        return sorted(child for child in path.iterdir() if not child.name.startswith("."))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): make it readable.") from error


def _open(path: Path) -> Image.Image:
    """Open an image: Pillow reads only its header."""
    try:
        return Image.open(path, formats=("PNG", "JPEG"))
    except Exception as error:
        raise _unreadable(path) from error


def read_image(path: Path, image_size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """Read a PNG or JPEG file, resized and converted.

    Parameters
    ----------
    path : Path
    image_size : (int, int)
        Height and width, in pixels.
    channels : {1, 3}
        Gray or RGB.

    Returns
    -------
    ndarray of shape (height, width, channels), uint8

    Raises
    ------
    InputError
        Where the file is not a PNG or JPEG image, or is damaged.
    """
    height, width = image_size
    with _open(path) as image:
        try:
            image.load()
        except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, ...
            raise _unreadable(path) from error
        if image.mode.startswith("I"):  # 16 bits, which Pillow would clip and not scale
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        elif image.has_transparency_data:
            page = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(page, image.convert("RGBA"))
        resized = image.convert(MODES[channels]).resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(resized).reshape(height, width, channels)


def _unreadable(path: Path) -> InputError:
    return InputError(f"{path} cannot be read as a PNG or JPEG image: replace or remove it.")
