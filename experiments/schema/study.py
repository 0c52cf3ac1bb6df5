"""The configuration of a study."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from experiments.schema.data import Data
from experiments.schema.evolution import Executor
from experiments.schema.run import MLflow, register


@dataclass
class Budget:
    """When the study ends; what is reached first counts."""

    minutes: float | None = None
    """Minutes for all of it, the report included; null: 10, or any where trials or money are
    given."""
    trials: int | None = None
    """Trials, those of earlier sessions included; null: any number."""
    money: float | None = None
    """What it may cost, where a price is given; null: anything."""
    price_per_hour: float | None = None
    """What an hour of this machine costs, in the same currency."""
    target_accuracy: float | None = None
    """Accuracy on the choice images, 0 to 1, at which it ends; null: it does not."""


@dataclass
class Limits:
    """What the classifier may be at most, and what a trial may take."""

    bytes: int | None = None
    """Bytes of the whole engine."""
    parameters: int | None = None
    """Its weights and biases."""
    milliseconds: float | None = None
    """What an image takes, alone, from its pixels to its label."""
    trial_minutes: float | None = None
    """After which a trial is ended; null: when the study must end."""
    trial_gigabytes: float | None = None
    """Memory that a trial may take; null: nine tenths of what is free, shared by the workers."""


@dataclass
class Study:
    """Search for the best classifier of some images, within a budget."""

    data: Data = MISSING
    """The images."""
    executor: Executor = MISSING
    """Where trials are tried."""
    tracking: MLflow = MISSING
    """Where the study and its trials are recorded."""
    space: list[str] = field(default_factory=lambda: ["all"])
    """What is tried: families of conf/families, or YAML files of one's own; all: every family."""
    sampler: str = "tpe"
    """What proposes trials: tpe, random, grid, nsga2, cmaes, pso or ga."""
    population: int | None = None
    """Trials of a generation of nsga2, cmaes, pso and ga; null: what suits few trials."""
    pruner: str = "asha"
    """What ends trials early: asha, hyperband, median or none."""
    objectives: list[str] = field(default_factory=lambda: ["accuracy"])
    """What is optimized: accuracy; or several of accuracy, bytes, parameters and milliseconds. The
    first of them chooses the winner."""
    choice_fraction: float = 0.2
    """Share of the training images that judge the trials."""
    folds: int | None = None
    """How often a trial is tried, each time judged by another share of the images; null: once, or
    five times where a share has fewer than 300."""
    budget: Budget = field(default_factory=Budget)
    """When the study ends."""
    limits: Limits = field(default_factory=Limits)
    """What the classifier may be at most, and what a trial may take."""
    storage: str | None = None
    """Where the trials are kept: the address of a database that several machines share; null: a
    file in the folder of the study."""
    name: str | None = None
    """Name of the study in MLflow and in its storage; null: made of the images and the seed."""
    output: str | None = None
    """Folder of the study; null: a new one in outputs."""
    seed: int = 0
    """Seed of all that is drawn, but for the test images: data.seed decides these."""
    threads: int | None = None
    """Threads of a trial; null: the cores, shared by the workers."""
    max_gigabytes: float | None = None
    """As for a run."""
    resume: str | None = None
    """Folder of a study that goes on: with what is left of its budget, or with the budget that is
    given, from now on."""


register("study", Study, {})
