"""Make the engine's recipe, and what tunes its prototypes, of the options of ``slicing``."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from evolve.prototypes import PrototypeTuning
from evolve.search import MakeOptimizer
from slicing.checks import at_least
from slicing.data.dataset import Images
from slicing.engine.recipe import Recipe, Tune
from slicing.errors import InputError
from slicing.show import Show
from slicing.stack import ConvStack

Options = dict[str, Any]

# Options of the group that are not the recipe's.
_OF_OTHERS = ("cut", "pool", "tuning_generations")


def recipe_of(options: Options) -> Recipe:
    """Make the recipe of the options of :class:`experiments.schema.engine.KNN`."""
    given = {name: value for name, value in options.items() if value is not None}
    return Recipe(**{name: given[name] for name in given if name not in _OF_OTHERS})


def check_options(
    options: Options, stack: ConvStack, train: Images, make_optimizer: MakeOptimizer
) -> None:
    """Refuse, before anything is computed, options of an engine that cannot be.

    Raises
    ------
    InputError
    """
    n_features = recipe_of(options).check(stack, train)
    at_least("pool", options["pool"], 1)
    generations = options["tuning_generations"]
    at_least("tuning_generations", generations, 0)
    if generations and options["references"] != "prototypes":
        raise InputError(
            f"tuning_generations={generations} moves prototypes: add "
            "slicing.references=prototypes.",
            "tuning_generations",
        )
    if generations:
        make_optimizer(np.zeros(n_features), 1.0, np.random.default_rng(0))


def tune_of(options: Options, make_optimizer: MakeOptimizer, seed: int) -> Tune | None:
    """Make what moves the prototypes by the run's optimizer; None where they stay."""
    generations = options["tuning_generations"]
    if not generations:
        return None

    def tune(
        references: NDArray[np.float32],
        of_class: NDArray[np.int64],
        features: NDArray[np.float32],
        labels: NDArray[np.int64],
        show: Show,
    ) -> NDArray[np.float32]:
        tuning = PrototypeTuning(
            references,
            of_class,
            features,
            labels,
            make_optimizer,
            metric=recipe_of(options).metric,
            generations=generations,
            seed=seed,
        )
        for done, loss in enumerate(tuning, 1):
            text = f"tuning prototype {done} of {len(tuning)}, loss {loss:.4f}"
            show(done / len(tuning), text)
        return tuning.references

    return tune
