"""The parts of an experiment: its images, its baseline, its fitness and its schedule.

Each is made of the options of its group by what ``_target_`` names. All of them are checked before
anything is computed.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from hydra.utils import get_object

from evolve.block import Block, make_blocks
from evolve.checkpoint import Checkpoint
from evolve.executors.base import Executor
from evolve.fitness.base import Fitness
from evolve.optimizers.base import Optimizer
from evolve.protocols import Split, split
from evolve.schedule import Schedule
from evolve.search import MakeOptimizer
from experiments.config import GROUPS
from experiments.engines import check_options
from slicing.baselines import BaselineBuilder
from slicing.data.dataset import Dataset
from slicing.errors import InputError
from slicing.stack import ConvStack

Options = dict[str, Any]

# get_object logs the error that it raises; whoever gets that reports it, once.
logging.getLogger("hydra.utils").setLevel(logging.CRITICAL + 1)

# What the classes of a group keep.
_CONTRACTS = {
    "optimizer": Optimizer, "fitness": Fitness, "strategy": Schedule, "executor": Executor
}  # fmt: skip

# Options of groups that are for something else than the class of the group.
_OF_SPLIT = ("protocol", "validation_fraction", "selection_fraction")
_OF_BLOCKS = ("block", "layers", "group_size")


class Parts:
    """Makes the parts of an experiment.

    Parameters
    ----------
    options : dict
        The resolved configuration, of the schema :class:`experiments.config.Config`.
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
        return f"{self.choices['baseline']}{self.baseline().variant}"

    @property
    def protocol(self) -> str:
        """Which images choose the kernels."""
        return str(self.options["fitness"]["protocol"])

    def name(self, dataset: Dataset) -> str:
        """Name the run: ``cmaes-serial-lenet64-mnist5k-s0``."""
        of_groups = self.choices["optimizer"], self.choices["strategy"], self.baseline_name
        return "-".join((*of_groups, dataset.name, f"s{self.options['seed']}"))

    def dataset(self) -> Dataset:
        """Read the training images."""
        with self.naming("data"):
            dataset: Dataset = self._make("data")()
        return dataset

    def split(self, dataset: Dataset) -> Split:
        """Give the training images their roles."""
        fitness = self.options["fitness"]
        selects = self.options["strategy"]["hand_over"] == "selection"
        return split(
            fitness["protocol"],
            dataset,
            fitness["validation_fraction"],
            self.options["seed"],
            fitness["selection_fraction"] if selects else None,
        )

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
        with self.naming("baseline"):
            stack = self.baseline().shape(images.references.images.shape[1:], n_classes)
        with self.naming("slicing"):
            check_options(self.options["slicing"], stack, images.references, self.optimizer())
        fitness = self._make("fitness", without=_OF_SPLIT)
        with self.naming("fitness"):
            try:
                fitness.func.check(stack, images, **fitness.keywords)
            except TypeError as error:
                raise InputError(
                    f"fitness._target_={self.options['fitness']['_target_']} does not take these "
                    f"options: {error}."
                ) from error
        with self.naming("strategy"):
            blocks = self._blocks(stack)
        with self.naming("optimizer"):
            for block in blocks:
                self.optimizer()(block.read(stack), 1.0, np.random.default_rng(0))

    def baseline(self) -> BaselineBuilder:
        """Make what builds the baseline."""
        with self.naming("baseline"):
            builder = self._make("baseline")()
        if not isinstance(builder, BaselineBuilder):
            raise InputError(
                f"baseline._target_={self.options['baseline']['_target_']} is of another kind: "
                "name a slicing.baselines.BaselineBuilder."
            )
        return builder

    def optimizer(self) -> MakeOptimizer:
        """Make what gives an optimizer of a start, a step size and a random generator."""
        make: MakeOptimizer = self._make("optimizer")
        return make

    def fitness(self, stack: ConvStack, images: Split) -> Fitness:
        """Make the loss that is minimized."""
        with self.naming("fitness"):
            fitness: Fitness = self._make("fitness", without=_OF_SPLIT)(stack, images)
        return fitness

    def selection(self, stack: ConvStack, images: Split) -> Fitness | None:
        """Make the loss on the selection queries, if there are any."""
        if images.selection is None:
            return None
        return self.fitness(stack, Split(images.references, images.selection))

    def schedule(
        self, fitness: Fitness, selection: Fitness | None, checkpoint: Checkpoint
    ) -> Schedule:
        """Make the schedule, which goes on with what the checkpoint holds."""
        with self.naming("strategy"):
            schedule: Schedule = self._make("strategy", without=_OF_BLOCKS)(
                fitness,
                self._blocks(fitness.stack),
                self.optimizer(),
                seed=self.options["seed"],
                executor=self._make("executor")(),
                selection=selection,
                checkpoint=checkpoint,
            )
        return schedule

    def _blocks(self, stack: ConvStack) -> list[Block]:
        kind, layers, size = (self.options["strategy"][name] for name in _OF_BLOCKS)
        return make_blocks(stack, kind, layers, size)

    def _make(self, group: str, without: tuple[str, ...] = ()) -> Any:
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
    def naming(self, group: str) -> Iterator[None]:
        """Name an option as the command line does, where a library names its parameter."""
        try:
            yield
        except InputError as error:
            if error.option is None:
                # Those that do not say yet which option they are about.
                option = str(error).partition("=")[0]
                if option not in self.options[group]:
                    raise
                error.option = option
            raise error.within(group) from error
