"""Options of the group ``baseline``: the network that is cut."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from omegaconf import II, MISSING

from experiments.schema.engine import Storage


@dataclass
class Baseline:
    """A network before its cut."""

    _target_: str = MISSING
    """The class that builds it, or a function that gives one."""


@dataclass
class Untrained(Baseline):
    """Random kernels."""

    _target_: str = "slicing.baselines.UntrainedCNN"
    filters: list[int] = field(default_factory=lambda: [32, 64])
    """Kernels of each convolution."""
    kernel_size: int = 3
    """Height and width of the kernels."""
    pooling: list[bool] = field(default_factory=lambda: [True, True])
    """Whether 2 x 2 max pooling follows, for each convolution."""
    seed: int = II("seed")
    """Seed of the initial weights (and, in training, of the order of the images)."""


@dataclass
class Trained(Untrained):
    """A CNN trained by backpropagation."""

    _target_: str = "slicing.baselines.TrainedCNN"
    units: int = 64
    """Units of the dense layer before the softmax."""
    dropout: float = 0.0
    """Dropout rate before the softmax; half of it before the dense layer."""
    batch_norm: bool = False
    """Whether to normalize between each convolution and its ReLU."""
    epochs: int = 5
    """Passes over the training images."""
    batch_size: int = 128
    """Images a step."""
    learning_rate: float = 1e-3
    """Step size of Adam."""
    threads: int | None = II("threads")
    """Threads to train with; the weights depend on it."""
    cache_dir: str | None = None
    """Folder in which trained weights are kept; null: the user's cache."""


@dataclass
class Gradient(Trained):
    """A trained CNN whose kernels are then tuned by gradient."""

    _target_: str = "slicing.baselines.gradient_cnn"
    tuning_epochs: int = 20
    """Passes over the training images while tuning."""
    tuning_shift: int = 2
    """Largest random shift of an image while tuning, in pixels; drawn again each time."""
    tuning_rate: float = 1e-3
    """Step size of Adam while tuning."""


@dataclass
class Pretrained(Baseline):
    """A network that others trained on ImageNet, frozen up to its cut."""

    _target_: str = "slicing.baselines.Pretrained"
    name: str = "efficientnet_lite0"
    """The network: efficientnet_lite0 to 2, or one of keras.applications, such as MobileNetV2."""
    image_size: list[int] | None = None
    """Height and width to which the images are resized; null: what it was trained on. Smaller ones
    take less time."""
    weights: str | None = None
    """A file of the weights of a network of keras.applications; null: those of ImageNet, which
    Keras downloads."""
    path: str | None = None
    """A .keras file of your own whose network takes the place of the named one, whatever it was
    trained for; null: there is none."""
    pixels: list[float] = field(default_factory=lambda: [0.0, 1.0])
    """What stands for black and for white in the inputs of that file."""
    mirrored: bool = False
    """Whether an image's maps are averaged with those of its mirror image, left to right: mostly
    better, at twice the time. Not for letters."""
    storage: Storage = Storage.float32
    """Type of the network's weights in the engine: float32, or int8, a quarter of the bytes."""
    kernels: int = 0
    """Kernels of a new convolution on the network's maps, which evolution finds; 0: nothing is
    evolved."""
    kernel_size: int = 3
    """Height and width of these kernels."""
    seed: int = II("seed")
    """Seed of these kernels."""
    threads: int | None = II("threads")
    """Threads to make the network with."""


class Optimizer(Enum):
    """What takes the steps of a training."""

    adam = "adam"
    adamw = "adamw"
    sgd = "sgd"


class Policy(Enum):
    """How a learning rate changes during a training."""

    fixed = "fixed"
    step = "step"
    exponential = "exponential"
    cosine = "cosine"
    one_cycle = "one_cycle"
    triangular = "triangular"
    plateau = "plateau"


@dataclass
class FineTuned(Pretrained):
    """A pretrained network whose last blocks are trained on the images before it is cut."""

    _target_: str = "slicing.baselines.FineTuned"
    layers: int = 2
    """Blocks that are trained, counted from the end; 0: the dense layer on top alone."""
    epochs: int = 20
    """Passes over the training images, at most."""
    batch_size: int = 32
    """Images a step."""
    optimizer: Optimizer = Optimizer.adam
    """What takes the steps: adam, adamw, or sgd with momentum."""
    learning_rate: Any = 3e-4
    """Largest step size; auto: what a test of growing rates proposes."""
    momentum: float = 0.9
    """Momentum of sgd."""
    weight_decay: float = 0.01
    """Weight decay of adamw."""
    policy: Policy = Policy.cosine
    """How the step size changes: fixed, step, exponential, cosine, one_cycle, triangular, or
    plateau, which lowers it where the loss on the choice images does not fall."""
    warm_up: float = 0.5
    """Epochs in which it first rises from 0."""
    decay: float = 0.1
    """Its factor, for step, exponential and plateau; for triangular, the lowest share of it."""
    period: float = 5.0
    """Epochs of that, for step and exponential; for triangular, of half a cycle; for plateau,
    those that are waited for."""
    dropout: float = 0.2
    """Dropout rate before the dense layer."""
    choice_fraction: float = 0.1
    """Part of the training images on which the best epoch is chosen, and which are not trained
    with; 0: the last epoch is taken."""
    patience: int | None = 5
    """Epochs without a smaller loss on these images after which the training ends; null: it does
    not end early."""
    versions: int | None = 1
    """Versions of each image, one in each epoch in turn: itself, and others that are altered. Their
    maps are computed once; null: a new one in each epoch, which takes far longer."""
    flip: bool = True
    """Altered images: whether half are mirrored, left to right."""
    shift: float = 0.0
    """Altered images: part of a side by which they are moved at most."""
    crop: float = 0.2
    """Altered images: part of the sides that is cut off at most."""
    color: float = 0.2
    """Altered images: by how much brightness, contrast and saturation change at most."""
    cutout: float = 0.0
    """Altered images: side of a square that is covered, as part of the shorter side."""
    cache_dir: str | None = None
    """Folder in which trained weights are kept; null: the user's cache."""


@dataclass
class Saved(Baseline):
    """A Keras model in a file."""

    _target_: str = "slicing.baselines.SavedCNN"
    path: str = MISSING
    """The .keras file. Must be given."""
    pixels: list[float] = field(default_factory=lambda: [0.0, 1.0])
    """What stands for black and for white in its inputs: [0, 255], [-1, 1]."""
    classes: list[str] | None = None
    """Names of the classes in the order of its outputs; null: the order of the data."""
    threads: int | None = II("threads")
    """Threads to predict with."""


class Features(Enum):
    """What a shallow classifier sees of an image."""

    pixels = "pixels"
    hog = "hog"
    maps = "maps"


@dataclass
class Shallow(Baseline):
    """A classifier that learns no features."""

    features: Features = Features.pixels
    """What it sees: pixels; hog, histograms of oriented gradients; or maps, those of a network that
    is cut."""
    cells: int = 7
    """Cells of these histograms along the shorter side of an image."""
    name: str = "efficientnet_lite0"
    """The network of the maps: efficientnet_lite0 to 2, or one of keras.applications."""
    image_size: list[int] | None = None
    """Height and width to which the images are resized for it; null: what it was trained on."""
    path: str | None = None
    """A .keras file of your own whose network takes its place; null: there is none."""
    pixels: list[float] = field(default_factory=lambda: [0.0, 1.0])
    """What stands for black and for white in the inputs of that file."""
    threads: int | None = II("threads")
    """Threads to make the network with, and to train a forest with, which change no result."""


@dataclass
class SVM(Shallow):
    """A support-vector machine with radial basis functions."""

    _target_: str = "slicing.baselines.SVM"
    C: float = 10.0
    """Cost of errors on the training images."""


@dataclass
class LogisticRegression(Shallow):
    """Multinomial logistic regression."""

    _target_: str = "slicing.baselines.LogisticRegression"
    C: float = 0.01
    """Cost of errors on the training images, beside the squares of the weights."""


@dataclass
class NaiveBayes(Shallow):
    """Gaussian naive Bayes."""

    _target_: str = "slicing.baselines.NaiveBayes"
    smoothing: float = 0.01
    """Part of the largest variance of a feature that is added to all variances."""


@dataclass
class NearestNeighbors(Shallow):
    """The k-NN on all training images, with Euclidean distances."""

    _target_: str = "slicing.baselines.NearestNeighbors"
    k: int = 3
    """Neighbors that vote."""


@dataclass
class DecisionTree(Shallow):
    """A decision tree."""

    _target_: str = "slicing.baselines.DecisionTree"
    max_depth: int | None = None
    """Splits from the root to a leaf, at most; null: until each leaf is of one class."""
    seed: int = II("seed")
    """Seed of the choice between equal splits (and, in a forest, of images and features)."""


@dataclass
class RandomForest(DecisionTree):
    """A random forest."""

    _target_: str = "slicing.baselines.RandomForest"
    trees: int = 100
    """Decision trees that vote."""


@dataclass
class LSTM(Baseline):
    """A recurrent network that reads images row by row."""

    _target_: str = "slicing.baselines.LSTM"
    units: int = 128
    """Numbers of its state."""
    dropout: float = 0.0
    """Dropout rate before the softmax."""
    epochs: int = 20
    """Passes over the training images."""
    batch_size: int = 128
    """Images a step."""
    learning_rate: float = 1e-3
    """Step size of Adam."""
    seed: int = II("seed")
    """Seed of the initial weights and of the order of the images."""
    threads: int | None = II("threads")
    """Threads to train with; the weights depend on it."""
    cache_dir: str | None = None
    """Folder in which trained weights are kept; null: the user's cache."""
