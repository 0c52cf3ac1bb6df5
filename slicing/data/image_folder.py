"""Read a user's own images: one folder per class."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slicing.checks import at_least, positive
from slicing.data.class_folders import LISTED, Listing, list_images, name_of, parts, some
from slicing.data.dataset import Dataset, Images
from slicing.data.image_file import (
    MAX_MEGAPIXELS,
    MODES,
    UnreadableImageError,
    has_color,
    read_image,
)
from slicing.data.sampling import require_classes, stratified_order
from slicing.errors import InputError
from slicing.names import shown
from slicing.pixels import unit_pixels

log = logging.getLogger(__name__)


def folder(
    *,
    directory: str | os.PathLike[str],
    test_directory: str | os.PathLike[str] | None = None,
    image_size: Sequence[int] = (28, 28),
    channels: int = 1,
    test_fraction: float = 0.2,
    train_size: int | None = None,
    test_size: int | None = None,
    max_unreadable: int = 0,
    max_megapixels: float = MAX_MEGAPIXELS,
    seed: int = 0,
) -> Dataset:
    """Load a directory of class folders with images, see :mod:`slicing.data.image_file`.

    Hidden files, what systems leave beside images, and text are passed over.

    Parameters
    ----------
    directory : path
        Holds one folder for each class, named after it. Or it holds ``train`` (``training``) beside
        ``val`` (``valid``, ``validation``) or ``test`` (``testing``), and the class folders are in
        these: the test images are those of ``test``, else of ``val``; beside ``test``, those of
        ``val`` are training images.
    test_directory : path, optional
        The class folders of the test images, where they are not in ``directory``.
    image_size : pair of int
        Height and width to which every image is resized, in pixels.
    channels : {1, 3}
        Gray or RGB: every image is converted. Transparent pixels become white.
    test_fraction : float
        Share of the images that are test images, between 0 and 1, where they are not apart. The
        split is by file, stratified and depends on the file names and the seed.
    train_size, test_size : int, optional
        At most so many training and test images: stratified samples. Default: all.
    max_unreadable : int
        So many files may be left out because they are damaged, too large or no images.
    max_megapixels : float
        Pixels of an image, in millions, above which it is not decoded.
    seed : int
        Seed of the split and the samples, 0 to 2**32 - 1.

    Returns
    -------
    Dataset
        Images of shape (n, height, width, channels), named by their paths. All images are decoded
        once, to find those that are damaged; the test images again when they are read.

    Raises
    ------
    InputError
        If the directory or a class is missing, empty or too small, more files than allowed cannot
        be read, or an option is out of range. `Dataset.read_test` raises it where a test image has
        changed since.
    """
    size = _require_image_size(image_size)
    if channels not in MODES:
        raise InputError(f"channels={channels} is unknown: choose 1 (gray) or 3 (RGB).", "channels")
    at_least("train_size", train_size, 1)
    at_least("test_size", test_size, 1)
    at_least("max_unreadable", max_unreadable, 0)
    positive("max_megapixels", max_megapixels)
    if size[0] * size[1] > max_megapixels * 1e6:
        raise InputError(
            f"image_size={list(size)} is more than max_megapixels={max_megapixels:g} million "
            "pixels: give a smaller size, or raise max_megapixels if that is no mistake.",
            "image_size",
        )
    root = _require_folder("directory", directory)
    train_roots, test_roots = parts(root)
    if test_directory is not None:
        test_roots = [_require_folder("test_directory", test_directory)]
    known, apart = (list_images(roots, max_megapixels) for roots in (train_roots, test_roots))
    classes = _require_classes(root, known, apart)
    files, unreadable = known.files + apart.files, known.unreadable + apart.unreadable
    n_listed = len(files) + len(unreadable)
    labels = np.array([classes.index(name) for name in known.classes + apart.classes], np.int64)

    order = stratified_order(labels[: len(known.files)], seed)
    if test_roots:
        train, test = order, len(order) + stratified_order(labels[len(order) :], seed)
    else:
        n_test = round(test_fraction * len(order))
        _require_split(root, test_fraction, n_test, len(order), len(classes))
        train, test = order[n_test:], order[:n_test]
    read = partial(read_image, image_size=size, channels=channels, max_megapixels=max_megapixels)

    def decoded(indices: NDArray[np.intp]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        for index in indices:
            try:
                yield index, read(files[index])
            except UnreadableImageError as error:
                unreadable.append(error)

    def named(indices: NDArray[np.intp], pixels: NDArray[np.uint8]) -> Images:
        names = [f"{classes[labels[index]]}/{shown(files[index].name)}" for index in indices]
        return Images(unit_pixels(pixels), labels[indices], np.array(names))

    kept, pixels = [], np.empty((len(train[:train_size]), *size, channels), np.uint8)
    for row, (index, image) in enumerate(decoded(train[:train_size])):
        pixels[row] = image
        kept.append(index)
    train = np.array(kept, np.intp)
    # Whether they can be read is known before hours of work; nothing else is learned from them.
    test = np.array([index for index, _ in decoded(test[:test_size])], np.intp)
    _require_readable(unreadable, n_listed, max_unreadable)
    if not len(test):
        raise InputError(f"{some(test_roots)} holds no test images: name another folder.")
    way_out = "choose a smaller test_fraction or a larger train_size"
    require_classes(labels[train], np.arange(len(classes)), classes, root, way_out)
    notes = [
        *_on_parts(train_roots, test_roots),
        *_on_files(known.passed_over + apart.passed_over, unreadable),
    ]
    first = train[np.unique(labels[train], return_index=True)[1]]
    if channels == 1 and any(has_color(files[index], max_megapixels) for index in first):
        notes.append("Color is dropped: channels=3 keeps it.")
    return Dataset(
        name_of(root),
        classes,
        named(train, pixels[: len(train)]),
        lambda: named(test, np.stack([read(files[index]) for index in test])),
        notes=tuple(notes),
    )


def _require_image_size(image_size: Sequence[int]) -> tuple[int, int]:
    if len(image_size) != 2 or min(image_size) < 1:
        raise InputError(
            f"image_size={list(image_size)} is not a size: give height and width.", "image_size"
        )
    return image_size[0], image_size[1]


def _require_folder(option: str, directory: str | os.PathLike[str]) -> Path:
    root = Path(directory).expanduser()
    if root.is_file():
        raise InputError(
            f"{option}={root} is a file: name a folder that holds one of images for each class; "
            "unpack archives.",
            option,
        )
    if not root.is_dir():
        raise InputError(
            f"{option}={root} is not a folder: name the one that holds your class folders.", option
        )
    return root


def _require_classes(root: Path, known: Listing, apart: Listing) -> tuple[str, ...]:
    """Give the names of the classes, in their order."""
    classes = tuple(sorted(known.folders))
    if len(classes) < 2:
        raise InputError(
            f"{root} holds {len(classes)} class folder(s): give it one per class, at least two."
        )
    listed = [*known.files, *(error.path for error in known.unreadable)]
    counts = Counter(path.parent for path in listed)
    for folder in known.folders.values():
        # Where test images are apart, a class may have its training images in several folders.
        if counts[folder] < 2 and not apart.folders:
            raise InputError(
                f"{folder} holds {counts[folder]} image(s): a class needs at least two, one to "
                "train and one to test."
            )
    for name, folder in apart.folders.items():
        if name not in classes:
            raise InputError(
                f"{folder} holds test images of a class that has no training images: the classes "
                f"are {', '.join(classes)}."
            )
    return classes


def _require_split(root: Path, test_fraction: float, n_test: int, n: int, n_classes: int) -> None:
    if not n_classes <= n_test <= n - n_classes:
        raise InputError(
            f"test_fraction={test_fraction} makes {n_test} of the {n} images of {root} test "
            f"images: choose one that leaves each of the {n_classes} classes at least one on "
            f"either side.",
            "test_fraction",
        )


def _require_readable(unreadable: Sequence[UnreadableImageError], n: int, most: int) -> None:
    for error in unreadable:
        log.info("%s", error)
    if len(unreadable) > most:
        paths = dict[str, list[Path]]()
        for error in sorted(unreadable, key=lambda error: error.path):
            paths.setdefault(error.reason, []).append(error.path)
        reasons = " and ".join(f"{some(paths[each], LISTED)} ({each})" for each in paths)
        raise InputError(
            f"max_unreadable={most} is fewer than the {len(unreadable):,} of {n:,} files that "
            f"cannot be read as images, {reasons}: raise it to leave them out, or give intact "
            "copies.",
            "max_unreadable",
        )


def _on_parts(train: Sequence[Path], test: Sequence[Path]) -> list[str]:
    if not test:
        return []
    return [f"Training images are those of {some(train)}, test images those of {some(test)}."]


def _on_files(
    passed_over: Sequence[Path], unreadable: Sequence[UnreadableImageError]
) -> Iterator[str]:
    for what, paths in (
        ("passed over: no images", passed_over),
        ("left out: they cannot be read as images", [error.path for error in unreadable]),
    ):
        if paths:
            log.info("Files %s: %s", what, ", ".join(map(shown, paths)))
            yield f"{len(paths):,} file(s) {what} ({some(path.name for path in paths)})."
