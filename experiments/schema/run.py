"""The configuration of a run: its groups, the options of each, and what belongs to no group."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from experiments.schema.baseline import (
    LSTM,
    SVM,
    Baseline,
    DecisionTree,
    FineTuned,
    Gradient,
    LogisticRegression,
    NaiveBayes,
    NearestNeighbors,
    Pretrained,
    RandomForest,
    Saved,
    Trained,
    Untrained,
)
from experiments.schema.data import (
    CIFAR10,
    MNIST,
    Data,
    FashionMNIST,
    Folder,
    MNIST5k,
    MNISTHeldOut,
)
from experiments.schema.engine import KNN
from experiments.schema.evolution import (
    CMAES,
    PSO,
    Block,
    DeapCMAES,
    DeapGA,
    Discriminants,
    Executor,
    Fitness,
    Groups,
    Kernels,
    KNNFitness,
    Layers,
    LeaveOneOut,
    Neighbors,
    Network,
    Optimizer,
    Parallel,
    Processes,
    Protocol,
    PSOLocal,
    RandomSearch,
    Ray,
    SepCMAES,
    Serial,
    SerialExecutor,
    TestSet,
    Validation,
    VkDCMAES,
)


@dataclass
class MLflow:
    """An MLflow store."""

    uri: str | None = None
    """Where to log; null: $MLFLOW_TRACKING_URI, else the SQLite database mlflow.db in the folder of
    the start, which `make ui` shows. A server: http://host:5000. A password in it is written
    nowhere."""
    experiment: str | None = None
    """Name of the MLflow experiment; null: $MLFLOW_EXPERIMENT_NAME, else knn-slicing."""
    model: bool = True
    """Whether the engine is logged as an MLflow model, which `mlflow models serve` can serve."""
    parent: str | None = None
    """Id of the MLflow run under which this one is shown; null: none, or that of its sweep."""


@dataclass
class NewClasses:
    """Classes that only the finished engine learns."""

    classes: list[str] = field(default_factory=list)
    """Their names; none by default."""
    images: list[int] = field(default_factory=lambda: [1, 5, 10, 50, 500])
    """From how many training images of each, or all where there are fewer."""
    retrain: bool = True
    """Whether the baseline is trained again with the same images, to compare."""


@dataclass
class Config:
    """Evolutionary k-NN slicing: train a CNN, cut its dense layers off, evolve its kernels."""

    data: Data = MISSING
    """The images."""
    baseline: Baseline = MISSING
    """The network that is cut."""
    slicing: KNN = MISSING
    """The k-NN that replaces its dense layers."""
    protocol: Protocol = MISSING
    """Which images choose the kernels."""
    fitness: Fitness = MISSING
    """What is minimized."""
    block: Block = MISSING
    """Which weights move together."""
    optimizer: Optimizer = MISSING
    """The optimizer of a block."""
    strategy: Serial = MISSING
    """In which order blocks are optimized, and when each sees what the others found."""
    executor: Executor = MISSING
    """Where candidates are evaluated."""
    tracking: MLflow = MISSING
    """Where the run is recorded."""
    new: NewClasses = field(default_factory=NewClasses)
    """Classes that the finished engine learns at the end, from a few images and without
    training."""
    seed: int = 0
    """Seed of everything random but the choice of the images, which data.seed decides."""
    threads: int | None = None
    """Threads to compute with; null: one a core."""
    max_gigabytes: float | None = None
    """Gigabytes of memory above which images, features and files are refused before they are read;
    null: what the machine, its container or its cluster job has."""
    name: str | None = None
    """Name of the run in MLflow; null: made of the choices, as cmaes-serial-lenet64-mnist5k-s0."""
    resume: str | None = None
    """Folder of a run to resume; of its options, only name, executor, tracking, max_gigabytes and
    the paths of the same images and models may change."""


GROUPS: dict[str, dict[str, type]] = {
    "data": {
        "mnist5k": MNIST5k,
        "mnist": MNIST,
        "mnist_held_out": MNISTHeldOut,
        "fashion_mnist": FashionMNIST,
        "cifar10": CIFAR10,
        "folder": Folder,
    },
    "baseline": {
        "lenet": Trained,
        "mnist_cnn": Trained,
        "random": Untrained,
        "gradient": Gradient,
        "file": Saved,
        "efficientnet_lite0": Pretrained,
        "efficientnet_lite1": Pretrained,
        "efficientnet_lite2": Pretrained,
        "application": Pretrained,
        "finetuned": FineTuned,
        "svm": SVM,
        "logistic_regression": LogisticRegression,
        "naive_bayes": NaiveBayes,
        "nearest_neighbors": NearestNeighbors,
        "decision_tree": DecisionTree,
        "random_forest": RandomForest,
        "lstm": LSTM,
    },
    "slicing": {
        "knn": KNN,
        "int8": KNN,
        "condensed": KNN,
        "prototypes": KNN,
        "tuned": KNN,
        "small": KNN,
    },
    "protocol": {"leave_one_out": LeaveOneOut, "validation": Validation, "test": TestSet},
    "fitness": {
        "discriminants": Discriminants,
        "neighbors": Neighbors,
        "accuracy": KNNFitness,
    },
    "block": {"kernel": Kernels, "group": Groups, "layer": Layers, "network": Network},
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
    "executor": {"serial": SerialExecutor, "processes": Processes, "ray": Ray},
    "tracking": {"mlflow": MLflow},
}
"""The schema of every option of every group; the first option is the default."""


def plain(config: Any) -> Any:
    """Turn a composed configuration into plain dicts, lists, strings and numbers."""
    return OmegaConf.to_container(config, resolve=True, enum_to_str=True)


def register(name: str, schema: type, groups: Mapping[str, Mapping[str, type]]) -> None:
    """Tell Hydra a schema, which the YAML files in ``conf/`` then extend.

    Parameters
    ----------
    name : str
        Of the primary configuration: it extends ``base_<name>``.
    schema : type
    groups : mapping of str to mapping of str to type
        An option extends ``base_<option>``; options of the same schema extend that of the first.
    """
    store = ConfigStore.instance()
    store.store(name=f"base_{name}", node=schema)
    for group, options in groups.items():
        firsts = {schema: option for option, schema in reversed([*options.items()])}
        for each, option in firsts.items():
            store.store(group=group, name=f"base_{option}", node=each)


register("config", Config, GROUPS)
