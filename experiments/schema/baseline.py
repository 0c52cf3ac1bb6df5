"""Options of the group ``baseline``: the network that is cut."""

from dataclasses import dataclass, field

from omegaconf import II, MISSING


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
