"""CIFAR-10: 60,000 color photos of ten kinds of things, 32 x 32 pixels each.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. Its binary
version is read, which needs no unpickling; or photos that others have saved in class folders.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import platformdirs
from numpy.typing import NDArray

from slicing.checks import between, one_of
from slicing.data.archive import is_archive
from slicing.data.archive_cache import unpacked
from slicing.data.dataset import Dataset, Images
from slicing.data.download import download
from slicing.data.find_photos import find_photos
from slicing.data.image_file import MAX_MEGAPIXELS, read_image
from slicing.data.listing import Listing, folders_in
from slicing.data.mnist_family import Sample
from slicing.data.sampling import require_classes, stratified_order
from slicing.errors import InputError
from slicing.names import shown
from slicing.pixels import unit_pixels

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
IMAGE_SHAPE = (32, 32, 3)

_URL = "https://www.cs.toronto.edu/~kriz/"
_ARCHIVE, _MD5 = "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"
_BATCHES = "cifar-10-batches-bin"
_TRAIN, _TEST = [f"data_batch_{number}.bin" for number in range(1, 6)], ["test_batch.bin"]
_OF_PYTHON = ("cifar-10-batches-py", "data_batch_1", "cifar-10-python.tar.gz")
# A label, and three planes: red, green and blue.
_RECORD = 1 + 3 * 32 * 32
_WAY_OUT = (
    "set directory or CIFAR10_DIR to CIFAR-10's binary version, a folder or an archive, or to its "
    "photos in the class folders of train and test"
)
# What an archive may unpack to: several times what CIFAR-10 takes.
_MAX_GIGABYTES = 1.0


@dataclass(frozen=True)
class _Part:
    """Training or test images on disk.

    Attributes
    ----------
    place : Path
        Where they are, for messages.
    n : int
    labels : callable
        Reads all labels, shape (n,).
    images : callable
        Reads those of some indices, with these labels.
    """

    place: Path
    n: int
    labels: Callable[[], NDArray[np.int64]]
    images: Callable[[NDArray[np.intp], NDArray[np.int64]], Images]


def cifar10(
    *,
    directory: str | os.PathLike[str] | None = None,
    train_size: int = 50000,
    test_size: int = 10000,
    sample: Sample = "first",
    seed: int = 0,
) -> Dataset[Images]:
    """Load CIFAR-10.

    Parameters
    ----------
    directory : path, optional
        The binary version, as an archive or as a folder of its files; or a folder or an archive of
        photos in ``train/airplane`` and so on: the dataset is then called ``cifar10-JPEG``, as
        their accuracies may differ from those on the original. Default: what the environment
        variable ``CIFAR10_DIR`` names, else the user's cache, into which the binary version is
        downloaded and verified by checksum.
    train_size : int
        Number of training images, at most as many as there are (50,000).
    test_size : int
        Number of test images, at most as many as there are (10,000).
    sample : {"first", "stratified"}
        How a subset is drawn: the first images (of photos in class folders, the first of each
        class), or a random sample with every class in proportion.
    seed : int
        Seed of the stratified sample, 0 to 2**32 - 1.

    Returns
    -------
    Dataset
        Images of shape (n, 32, 32, 3); all of them are 737 MB.

    Raises
    ------
    InputError
        If files are missing, damaged or cannot be downloaded; if an option is out of range; if the
        training images lack a class. `Dataset.read_test` raises it too, for damaged test images.
    """
    one_of("sample", sample, get_args(Sample))
    name, train, test = _find(directory)
    between("train_size", train_size, 1, train.n)
    between("test_size", test_size, 1, test.n)

    def read(part: _Part, size: int) -> tuple[Images, NDArray[np.int64]]:
        labels = part.labels()
        index = np.arange(size) if sample == "first" else stratified_order(labels, seed)[:size]
        return part.images(index, labels[index]), labels

    images, labels = read(train, train_size)
    way_out = "ask for more of them, or for sample=stratified"
    require_classes(images.labels, labels, CLASSES, train.place, way_out)
    return Dataset(
        name=name,
        classes=CLASSES,
        train=images,
        read_test=lambda: read(test, test_size)[0],
        read_test_all=None if test_size == test.n else lambda: read(test, test.n)[0],
    )


def _find(directory: str | os.PathLike[str] | None) -> tuple[str, _Part, _Part]:
    """Find the dataset's name and its parts; download only into the cache."""
    named = directory or os.environ.get("CIFAR10_DIR")
    cache = platformdirs.user_cache_path("knn-slicing") / "cifar10"
    place = Path(named).expanduser() if named else cache
    if (place / _ARCHIVE).is_file():
        place /= _ARCHIVE
    elif not named:
        place = download(_ARCHIVE, _URL, _MD5, cache, _WAY_OUT)
    if place.is_file() and is_archive(place):
        place = unpacked(place, _MAX_GIGABYTES, "cifar10")
    if not place.is_dir():
        raise InputError(f"{place} is neither a folder nor an archive: {_WAY_OUT}.")
    for folder in (place, place / _BATCHES):
        if any((folder / file).exists() for file in (*_TRAIN, *_TEST)):
            return "cifar10", _in_batches(folder, _TRAIN), _in_batches(folder, _TEST)
    if any((place / file).exists() for file in _OF_PYTHON):
        raise InputError(f"{place} holds the Python version, whose files are pickled: {_WAY_OUT}.")
    if not folders_in(place):
        raise InputError(f"{place} holds no CIFAR-10: {_WAY_OUT}.")
    photos = find_photos("directory", place, MAX_MEGAPIXELS, _MAX_GIGABYTES)
    train, test = photos.roles()
    for listing in (train, test):
        if set(listing.places) != set(CLASSES):
            raise InputError(f"{photos.root} holds other classes than CIFAR-10: {_WAY_OUT}.")
        for error in listing.unreadable:
            raise error
    return "cifar10-JPEG", _in_files(photos.root, train), _in_files(photos.root, test)


def _in_batches(folder: Path, names: Sequence[str]) -> _Part:
    files = [folder / name for name in names]
    n = 0
    for file in files:
        if not file.is_file():
            raise InputError(f"{folder} holds no {file.name}: {_WAY_OUT}.")
        records, rest = divmod(file.stat().st_size, _RECORD)
        if rest or not records:
            raise InputError(f"{file} is no whole file of CIFAR-10: give an intact copy.")
        n += records

    def records_of() -> NDArray[np.uint8]:
        return np.concatenate([np.fromfile(file, np.uint8) for file in files]).reshape(-1, _RECORD)

    def labels() -> NDArray[np.int64]:
        found = records_of()[:, 0].astype(np.int64)
        if found.max() >= len(CLASSES):
            raise InputError(
                f"{folder} holds the label {found.max()} beyond 9: replace {names[0]} and its like "
                "by intact copies."
            )
        return found

    def images(index: NDArray[np.intp], labels: NDArray[np.int64]) -> Images:
        planes = records_of()[index, 1:].reshape(-1, 3, 32, 32)
        return Images(unit_pixels(planes.transpose(0, 2, 3, 1)), labels)

    return _Part(folder, n, labels, images)


def _in_files(root: Path, listing: Listing) -> _Part:
    labels = np.array([CLASSES.index(name) for name in listing.classes], np.int64)
    # The first of each class come first.
    rank = np.empty(len(labels), np.intp)
    for label in range(len(CLASSES)):
        rank[labels == label] = np.arange(np.count_nonzero(labels == label))
    order = np.lexsort((labels, rank))

    def images(index: NDArray[np.intp], labels: NDArray[np.int64]) -> Images:
        pixels = np.empty((len(index), *IMAGE_SHAPE), np.uint8)
        files = [listing.files[each] for each in order[index]]
        for row, file in enumerate(files):
            pixels[row] = read_image(file, IMAGE_SHAPE[:2], IMAGE_SHAPE[2])
        names = [
            f"{CLASSES[label]}/{shown(file.name)}"
            for label, file in zip(labels, files, strict=True)
        ]
        return Images(unit_pixels(pixels), labels, np.array(names))

    return _Part(root, len(labels), lambda: labels[order], images)
