"""The parts of an experiment: its images, its baseline, its fitness and its schedule.

Each is made of the options of its group by what ``_target_`` names. All of them are checked before
anything is computed.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
from hydra.utils import get_object

from evolve.block import Block
from evolve.checkpoint import Checkpoint
from evolve.executors.base import Executor
from evolve.fitness.base import Fitness
from evolve.optimizers.base import Optimizer
from evolve.protocols import Split
from evolve.schedule import Schedule, ScheduleOptions
from evolve.search import MakeOptimizer
from experiments.engines import check_options
from experiments.schema.run import GROUPS
from slicing.baselines import Baseline, random_cnn
from slicing.data.dataset import Dataset, Images
from slicing.errors import InputError
from slicing.stack import ConvStack

Options = dict[str, Any]

# get_object logs the error that it raises; whoever gets that reports it, once.
logging.getLogger("hydra.utils").setLevel(logging.CRITICAL + 1)

# What the classes of a group keep.
_CONTRACTS = {
    "optimizer": Optimizer, "fitness": Fitness, "strategy": Schedule, "executor": Executor
}  # fmt: skip


class Parts:
    """Makes the parts of an experiment.

    Parameters
    ----------
    options : dict
        The resolved configuration, of the schema :class:`experiments.schema.run.Config`.
    choices : mapping of str to str
        The chosen option of every group.

    Attributes
    ----------
    options : dict
    choices : dict of str to str
        The same, but for a group into which the command line has put another class: its name.
    """

    def __init__(self, options: Options, choices: Mapping[str, str]) -> None:
        self.options = options
        self.choices = dict(choices)
        for group, choice in choices.items():
            schema = GROUPS.get(group, {}).get(choice)
            target = options[group].get("_target_") if schema else None
            if target and target != getattr(schema, "_target_", target):
                self.choices[group] = target.rpartition(".")[2]

    @property
    def baseline_name(self) -> str:
        """Name the baseline: ``lenet64``."""
        return f"{self.choices['baseline']}{self.options['baseline'].get('units', '')}"

    @property
    def protocol(self) -> str:
        """Which images choose the kernels."""
        return self.choices["protocol"]

    @property
    def is_trained(self) -> bool:
        """Whether the baseline is one that is trained here."""
        return "epochs" in self.options["baseline"]

    def name(self, dataset: Dataset) -> str:
        """Name the run: ``cmaes-serial-lenet64-mnist5k-s0``."""
        of_groups = self.choices["optimizer"], self.choices["strategy"], self.baseline_name
        return "-".join((*of_groups, dataset.name, f"s{self.options['seed']}"))

    def dataset(self) -> Dataset:
        """Read the training images."""
        with self._naming("data"):
            dataset: Dataset = self._make("data")()
        return dataset

    def split(self, dataset: Dataset) -> Split:
        """Give the training images their roles."""
        with self._naming("protocol"):
            images: Split = self._make("protocol")(dataset, seed=self.options["seed"])
        return images

    def check(self, images: Split, n_classes: int) -> None:
        """Refuse options out of range, and parts that do not fit each other.

        Raises
        ------
        InputError
        """
        for group, contract in _CONTRACTS.items():
            target = self._make(group).func
            if not (isinstance(target, type) and issubclass(target, contract)):
                raise InputError(
                    f"{group}._target_={self.options[group]['_target_']} is of another kind: name "
                    f"a class derived from {contract.__module__}.{contract.__name__}."
                )
        self._make("strategy").func.check_executor(self._make("executor")())
        make = self._make("baseline")
        if self.is_trained:
            # Of the same shape, at once.
            shape = ("filters", "kernel_size", "pooling", "seed")
            make = partial(random_cnn, **{name: make.keywords[name] for name in shape})
        with self._naming("baseline"):
            stack = make(images.references, n_classes).stack
        with self._naming("slicing"):
            check_options(self.options["slicing"], stack, images.references, self.optimizer())
        fitness = self._make("fitness")
        with self._naming("fitness"):
            try:
                fitness.func.check(stack, images, **fitness.keywords)
            except TypeError as error:
                raise InputError(
                    f"fitness._target_={self.options['fitness']['_target_']} does not take these "
                    f"options: {error}."
                ) from error
        blocks = self._blocks(stack)
        with self._naming("optimizer"):
            for block in blocks:
                self.optimizer()(block.read(stack), 1.0, np.random.default_rng(0))

    def baseline(self) -> Callable[..., Baseline]:
        """Make what gives a :class:`~slicing.baselines.Baseline` of images and a class count."""
        make = self._make("baseline")

        def named(images: Images, n_classes: int, **keywords: Any) -> Baseline:
            with self._naming("baseline"):
                baseline: Baseline = make(images, n_classes, **keywords)
            return baseline

        return named

    def optimizer(self) -> MakeOptimizer:
        """Make what gives an optimizer of a start, a step size and a random generator."""
        make: MakeOptimizer = self._make("optimizer")
        return make

    def fitness(self, stack: ConvStack, images: Split) -> Fitness:
        """Make the loss that is minimized."""
        with self._naming("fitness"):
            fitness: Fitness = self._make("fitness")(stack, images)
        return fitness

    def schedule(self, fitness: Fitness, checkpoint: Checkpoint) -> Schedule:
        """Make the schedule, which goes on with what the checkpoint holds."""
        with self._naming("strategy"):
            of_schedule = [field.name for field in fields(ScheduleOptions)]
            options = {name: self.options["strategy"][name] for name in of_schedule}
            schedule: Schedule = self._make("strategy", without=of_schedule)(
                fitness,
                self._blocks(fitness.stack),
                self.optimizer(),
                ScheduleOptions(**options),
                seed=self.options["seed"],
                executor=self._make("executor")(),
                checkpoint=checkpoint,
            )
        return schedule

    def _blocks(self, stack: ConvStack) -> list[Block]:
        with self._naming("block"):
            blocks: list[Block] = self._make("block")(stack)
        return blocks

    def _make(self, group: str, without: Sequence[str] = ()) -> Any:
        """Make a function or class with its options, to be called with the rest.

        Not by Hydra's ``instantiate``: it would make lists of its own kind again, in whose code
        Ctrl-C raises other errors.
        """
        options = self.options[group]
        arguments = {k: v for k, v in options.items() if k not in ("_target_", *without)}
        try:
            return partial(get_object(options["_target_"]), **arguments)
        except (ImportError, ValueError, AttributeError, TypeError) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise InputError(f"_target_={options['_target_']} cannot be used: {reason}.") from error

    @contextmanager
    def _naming(self, group: str) -> Iterator[None]:
        """Name an option as the command line does, where a library names its parameter."""
        try:
            yield
        except InputError as error:
            if error.option in self.options[group]:
                raise error.within(group) from error
            is_own = str(error).partition("=")[0] in self.options[group]
            raise InputError(f"{group}.{error}" if is_own else str(error)) from error
