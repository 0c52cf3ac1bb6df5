"""The components of an experiment: its images, its baseline, its fitness and its schedule.

Each is made from the options of its group by what ``_target_`` names. All of them are checked
before anything is computed.
"""

import logging
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from evolve.block import Block
from evolve.budget import least_evaluations
from evolve.checkpoint import Checkpoint
from evolve.executors.base import Executor
from evolve.fitness.base import Fitness
from evolve.optimizers.base import Optimizer
from evolve.protocols import Split
from evolve.schedule import Schedule
from evolve.schedule_options import ScheduleOptions
from evolve.search import CLOSING, MakeOptimizer
from experiments.making import Maker, Options
from experiments.monitor import Monitor, Silent
from experiments.reading import OF_FILES, Loaded, Read, into_memory, load_network, through_network
from experiments.recipes import check_options, recipe_of, tune_of
from experiments.schema.run import GROUPS
from experiments.summary import NOTHING
from experiments.wording import worded
from slicing.baselines import Baseline, BaselineBuilder, FineTuned
from slicing.baselines.examination import check_features
from slicing.baselines.training import TrainedNetwork
from slicing.checks import between
from slicing.data.dataset import Dataset, Images
from slicing.engine.recipe import Recipe, Tune
from slicing.errors import InputError
from slicing.memory import demand, resident
from slicing.show import Show, silent
from slicing.stack import ConvStack

log = logging.getLogger(__name__)

LEAST_CALIBRATION = 50
"""Images from which a confidence is learned, at least: it has three weights, and a logistic
regression takes ten to twenty observations for each."""

# Options of a dataset that name places.
_PLACES = "directory", "test_directory"
# The option of every dataset that its function does not know.
_CALIBRATION = "calibration_fraction"

# What the classes of a group keep.
_CONTRACTS = {
    "optimizer": Optimizer, "fitness": Fitness, "strategy": Schedule, "executor": Executor
}  # fmt: skip
_OF_SCHEDULE = tuple(each.name for each in fields(ScheduleOptions))


# Options that are null where nothing is said, and what they are then: for images, and for the maps
# of a frozen network.
BY_DEFAULT = {
    ("slicing", "projection"): ("lda", "pda"),
    ("slicing", "metric"): ("euclidean", "cosine"),
    ("slicing", "shift"): (1, 0),
    ("fitness", "metric"): ("euclidean", "cosine"),
    ("fitness", "shift"): (1, 0),
}


class Components(Maker):
    """Makes the components of an experiment.

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
    evolves : bool
        Whether the network has kernels to evolve; :meth:`check` finds that out.
    """

    # Beside the functions of the datasets, and of the strategies.
    of_others: ClassVar = {"data": (_CALIBRATION, *OF_FILES), "strategy": _OF_SCHEDULE}

    def __init__(self, options: Options, choices: Mapping[str, str]) -> None:
        super().__init__(options)
        self.choices = dict(choices)
        self.evolves = True
        self._builder: BaselineBuilder | None = None
        self._loaded: Loaded | None = None
        self._made: Baseline | None = None
        self._read: Read | None = None
        for group, choice in choices.items():
            schema = GROUPS.get(group, {}).get(choice)
            target = options[group].get("_target_") if schema else None
            if target and target != getattr(schema, "_target_", target):
                self.choices[group] = target.rpartition(".")[2]

    def settle(self) -> None:
        """Choose what nothing was said about: it depends on what is sliced.

        A network of a file is read for that, before the images.
        """
        with self.naming("baseline"):
            is_frozen = self.baseline().is_frozen
        for (group, name), values in BY_DEFAULT.items():
            options = self.options[group]
            if name in options and options[name] is None:
                # Leaving out one image at a time takes no copies.
                takes_none = name == "shift" and options.get("projection") == "pda"
                options[name] = values[is_frozen or takes_none]

    @property
    def baseline_name(self) -> str:
        """Name of the baseline: ``lenet64``."""
        return f"{self.choices['baseline']}{self.baseline().variant}"

    def name(self, dataset: Dataset[Images]) -> str:
        """Name the run: ``cmaes-serial-lenet64-mnist5k-s0``, or ``svm-mnist5k-s0``."""
        how = (self.choices["optimizer"], self.choices["strategy"]) if self.evolves else ()
        return "-".join((*how, self.baseline_name, dataset.name, f"s{self.options['seed']}"))

    def dataset(self, monitor: Monitor | None = None) -> Dataset[Any]:
        """Find the images, and hold out those for calibration before anything sees them.

        Where they would be fewer than a confidence takes, all are for training.
        """
        monitor = monitor or Silent()
        options = self.options["data"]
        fraction = options[_CALIBRATION]
        with self.naming("data"):
            between(_CALIBRATION, fraction, 0, 0.5)
            with monitor.task("images"):
                dataset: Dataset[Any] = self.call("data", show=monitor.show)
        if not isinstance(dataset, Dataset):
            raise InputError(
                f"data._target_={options['_target_']} gives no images: name a function that "
                "returns a slicing.data.Dataset.",
                "data._target_",
            )
        n = round(fraction * len(dataset.train))
        if LEAST_CALIBRATION <= n <= len(dataset.train) - len(dataset.classes):
            # Not the run's seed: runs of several seeds are about the same images.
            return dataset.hold_out(n, options.get("seed", 0))
        if fraction:
            log.warning(
                "The engine will give no confidence: data.%s=%s of %d training images is %d, and "
                "it takes %d that leave one of each class. More images or a larger share give "
                "one; now all are for training.",
                *(_CALIBRATION, fraction, len(dataset.train), n, LEAST_CALIBRATION),
            )
        return dataset

    def read(self, dataset: Dataset[Any], whole: Dataset[Any], monitor: Monitor) -> Read:
        """Read the images: those that the engine is made of, and with the new classes, all.

        Where a network is frozen, its maps of the images take their place.
        """
        with self.naming("data"), self.naming("slicing"), self.naming("baseline"):
            builder = self.baseline()
            if builder.is_frozen:
                # What the protocol holds out has no part in the network, nor in where it is cut.
                references = self.split(dataset).references
                given = dataset, whole, references, self.options["slicing"]
                read = through_network(*given, self.load(monitor), monitor)
            else:
                cut = self.options["slicing"]["cut"]
                if cut != "auto":
                    raise InputError(
                        f"cut={cut} names a layer of a frozen network, and this baseline has none: "
                        "leave it out, or take one, such as baseline=efficientnet_lite0; a file is "
                        "frozen by baseline=application baseline.path=model.keras.",
                        "cut",
                    )
                read = into_memory(dataset, whole, self.options["data"], monitor)
        noted = replace(read.dataset, notes=tuple(map(worded, read.dataset.notes)))
        self._read = replace(read, dataset=noted)
        return self._read

    def split(self, dataset: Dataset[Any]) -> Split:
        """Give the training images their roles."""
        with self.naming("protocol"):
            images: Split = self.call("protocol", dataset, seed=self.options["seed"])
        return images

    def check(self, images: Split, classes: tuple[str, ...]) -> str:
        """Refuse options out of range, and components that do not fit each other.

        A baseline that is not trained is made at once, which shows whether it can be used.

        Returns
        -------
        str
            What the run will need: memory, and evaluations.

        Raises
        ------
        InputError
        """
        for group, contract in _CONTRACTS.items():
            target = self.make(group).func
            if not (isinstance(target, type) and issubclass(target, contract)):
                raise InputError(
                    f"{group}._target_={self.options[group]['_target_']} is of another kind: name "
                    f"a class derived from {contract.__module__}.{contract.__name__}.",
                    f"{group}._target_",
                )
        executor, strategy = self.executor(), self.make("strategy")
        with self.naming("strategy"):
            strategy.func.check(executor, **strategy.keywords)
        builder = self.baseline()
        if builder.is_trained:
            with self.naming("baseline"):
                stack = builder.shape(images.references.images.shape[1:], len(classes))
        else:
            self._made = self.make_baseline(images.references, classes)
            stack = self._made.stack
        with self.naming("slicing"):
            check_options(self.options["slicing"], stack, images.references, self.optimizer())
        self.evolves = bool(stack.convs)
        if not self.evolves:
            features = 4 * int(np.prod(stack.feature_shape)) * len(images.references)
            return f"It needs {_memory(features)}. {NOTHING}"
        fitness = self._fitness()
        with self.naming("fitness"):
            try:
                fitness.func.check(stack, images, **fitness.keywords)
            except TypeError as error:
                raise InputError(
                    f"fitness._target_={self.options['fitness']['_target_']} does not take these "
                    f"options: {error}.",
                    "fitness._target_",
                ) from error
            features = fitness.func.least_bytes(stack, images, **fitness.keywords)
        make, schedule = self.optimizer(), self._schedule_options()
        populations = {
            block: make(block.read(stack), 1.0, np.random.default_rng(0)).population
            for block in self._blocks(stack)
        }
        at_once = strategy.keywords.get("synchronize", 1)
        with self.naming("strategy"):
            schedule.check_budget(least_evaluations(populations, schedule.order, at_once))
        whole = sum(schedule.generations * each + CLOSING for each in populations.values())
        wanted = min(schedule.passes * whole, schedule.max_evaluations or float("inf"))
        return f"It needs {_memory(features)}, and up to {wanted:,} evaluations"

    def watch(self, images: Images) -> None:
        """Have a network that is trained here measured on some images after each epoch."""
        builder = self.baseline()
        if isinstance(builder, TrainedNetwork):
            self._builder = replace(builder, watched=images)

    def baseline(self) -> BaselineBuilder:
        """Make what builds the baseline, once: it may have read a network."""
        if self._builder is not None:
            return self._builder
        with self.naming("baseline"):
            builder = self.call("baseline")
        if not isinstance(builder, BaselineBuilder):
            raise InputError(
                f"baseline._target_={self.options['baseline']['_target_']} is of another kind: "
                "name a class derived from slicing.baselines.BaselineBuilder.",
                "baseline._target_",
            )
        self._builder = builder
        return builder

    def load(self, monitor: Monitor) -> Loaded:
        """Load the network that is frozen, once."""
        if self._loaded is None:
            self._require_images()
            with self.naming("data"), self.naming("slicing"), self.naming("baseline"):
                self._loaded = load_network(self.baseline(), self.options, monitor)
        return self._loaded

    def _require_images(self) -> None:
        """Refuse images that are not there, which takes no time, before a network is loaded."""
        places = [self.options["data"].get(name) for name in _PLACES]
        if not all(Path(place).expanduser().exists() for place in places if place):
            # Its own sentence says what should be there.
            self.dataset()

    def frozen_baseline(self) -> BaselineBuilder:
        """Give the baseline, where it is a network that is frozen as it comes.

        Raises
        ------
        InputError
            For any other.
        """
        builder = self.baseline()
        if isinstance(builder, FineTuned):
            raise InputError(
                "baseline is a network that is trained before it is cut: choose the one that it "
                "starts from, such as efficientnet_lite0.",
                "baseline",
            )
        with self.naming("baseline"):
            if not builder.is_frozen:
                raise InputError(
                    f"baseline is no network that is frozen up to its cut "
                    f"({type(builder).__name__}): choose one, such as baseline=efficientnet_lite0."
                )
        return builder

    def make_baseline(
        self, train: Images, classes: tuple[str, ...], show: Show = silent
    ) -> Baseline:
        """Make the network that is cut, unless :meth:`check` has, and refuse a dead one."""
        if self._made is not None:
            return self._made
        builder = self.baseline()
        with self.naming("baseline"):
            baseline = builder.build(train, classes, show)
            if self._read is not None:
                baseline = self._read.on_network(baseline)
            show(1.0, "looking at its features")
            check_features(baseline.stack, train)
        return baseline

    def recipe(self) -> Recipe:
        """Make the recipe of the saved engine."""
        with self.naming("slicing"):
            return recipe_of(self.options["slicing"])

    def tune(self) -> Tune | None:
        """Make what moves the prototypes of the saved engine, if anything does."""
        return tune_of(self.options["slicing"], self.optimizer(), self.options["seed"])

    def optimizer(self) -> MakeOptimizer:
        """Make what gives an optimizer from a start, a step size and a random generator."""
        make = self.make("optimizer")

        def named(*start: Any) -> Optimizer:
            with self.naming("optimizer"):
                optimizer: Optimizer = make(*start)
            return optimizer

        return named

    def fitness(self, stack: ConvStack, images: Split) -> Fitness:
        """Make the loss that is minimized."""
        with self.naming("fitness"):
            fitness: Fitness = self._fitness()(stack, images)
        return fitness

    def schedule(self, fitness: Fitness, checkpoint: Checkpoint) -> Schedule:
        """Make the schedule; it resumes what the checkpoint holds."""
        make = self.make("strategy")
        with self.naming("strategy"):
            schedule: Schedule = make(
                fitness,
                self._blocks(fitness.stack),
                self.optimizer(),
                self._schedule_options(),
                seed=self.options["seed"],
                executor=self.executor(),
                checkpoint=checkpoint,
            )
        return schedule

    def _fitness(self) -> Any:
        made = self.make("fitness")
        given = {name: value for name, value in made.keywords.items() if value is not None}
        return partial(made.func, **given)

    def _schedule_options(self) -> ScheduleOptions:
        with self.naming("strategy"):
            return ScheduleOptions(**{k: self.options["strategy"][k] for k in _OF_SCHEDULE})

    def executor(self) -> Executor[Any, Any]:
        """Make what does tasks side by side."""
        with self.naming("executor"):
            executor: Executor[Any, Any] = self.call("executor")
        return executor

    def _blocks(self, stack: ConvStack) -> list[Block]:
        with self.naming("block"):
            blocks: list[Block] = self.call("block", stack)
        return blocks


def _memory(features: int) -> str:
    """Say how much memory so many bytes of features take, beside what has been read by now."""
    return demand(
        resident() + features,
        "The images, their features and the libraries take",
        "take fewer images (data.train_size), a network with fewer or smaller feature maps, or a "
        "larger machine",
    )
