"""What is tried next: by chance, in order, or where earlier trials were good.

Each gives, for the number of a trial, a sampler of Optuna, which draws the values. Those of our own
optimizers draw from a candidate: a vector with one coordinate from 0 to 1 for every parameter.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler

from evolve.optimizers import CMAES, PSO, DeapGA, Optimizer
from evolve.trials.space import FAMILY, Family, Parameter, Space, label
from slicing.checks import one_of

WORST = 2.0
"""Loss of a trial that failed: above every share of wrong answers, and every broken limit's."""

# Values of a range in a grid.
_GRID = 4
# Trials by chance before the tree-structured Parzen estimator learns (Optuna's default).
_AT_RANDOM = 10


class Given(BaseSampler):
    """Draws values that are given."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, BaseDistribution]:
        """Give none: each value is drawn by itself."""
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        """Give none."""
        return {}

    def sample_independent(
        self, study: Any, trial: Any, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Give the value of a parameter."""
        return self._values[param_name]


class Proposer(ABC):
    """Proposes trials.

    Parameters
    ----------
    space : Space
    seed : int
    population : int or None
        Trials of a generation, where there are generations.
    """

    def __init__(self, space: Space, seed: int, population: int | None) -> None:
        self.space, self.seed, self.population = space, seed, population

    @property
    def is_ready(self) -> bool:
        """Whether it can propose now; otherwise it waits for trials to be told."""
        return True

    @abstractmethod
    def sampler(self, number: int) -> BaseSampler | None:
        """Give what draws the values of proposal ``number``, from 0; None: nothing is left."""

    def tell(self, number: int, loss: float) -> None:  # noqa: B027
        """Learn the loss of a proposal; those of Optuna read it from the study."""

    def _seed(self, number: int) -> int:
        # One a trial: a search that goes on draws what it would have drawn.
        return int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])


class Random(Proposer):
    """Draws by chance."""

    def sampler(self, number: int) -> BaseSampler:
        """See :meth:`Proposer.sampler`."""
        return RandomSampler(self._seed(number))


class TPE(Proposer):
    """The tree-structured Parzen estimator (Bergstra et al., 2011), for all options jointly."""

    def sampler(self, number: int) -> BaseSampler:
        """See :meth:`Proposer.sampler`."""
        return TPESampler(
            seed=self._seed(number), multivariate=True, group=True, n_startup_trials=_AT_RANDOM,
            warn_independent_sampling=False,
        )  # fmt: skip


class NSGA2(Proposer):
    """A genetic algorithm for several objectives (Deb et al., 2002).

    Optuna's own generations of 50 would make a search of fewer trials one by chance.
    """

    def sampler(self, number: int) -> BaseSampler:
        """See :meth:`Proposer.sampler`."""
        return NSGAIISampler(population_size=self.population or 10, seed=self._seed(number))


class Grid(Proposer):
    """Goes through all choices, and of every range through four values."""

    def __init__(self, space: Space, seed: int, population: int | None) -> None:
        super().__init__(space, seed, population)
        self._points = [*_points(space)]

    def sampler(self, number: int) -> BaseSampler | None:
        """See :meth:`Proposer.sampler`."""
        return Given(self._points[number]) if number < len(self._points) else None


class Population(Proposer):
    """Proposes the candidates of one of our own optimizers, a generation at a time."""

    def __init__(
        self, space: Space, seed: int, population: int | None, *, kind: type[Optimizer]
    ) -> None:
        super().__init__(space, seed, population)
        names = [FAMILY]
        for family in space.families.values():
            names += [f"{family.name}:{option}" for option in family.parameters]
        self._places = {name: place for place, name in enumerate(names)}
        # The box is that of all shares: half its width is two step sizes.
        self._optimizer = kind(
            np.full(len(names), 0.5), 0.25, np.random.default_rng(seed),
            population=max(population or 0, 4) if population else None, bounds=2.0,
        )  # fmt: skip
        self._first = 0
        self._asked: NDArray[np.float64] = self._optimizer.ask()
        self._losses = dict[int, float]()

    @property
    def is_ready(self) -> bool:
        """See :attr:`Proposer.is_ready`."""
        return self._n_proposed < len(self._asked)

    _n_proposed = 0

    def sampler(self, number: int) -> BaseSampler:
        """See :meth:`Proposer.sampler`."""
        candidate = self._asked[number - self._first]
        self._n_proposed = number - self._first + 1
        values = dict[str, Any]()

        def draw(name: str, parameter: Parameter) -> Any:
            value = parameter.at(float(candidate[self._places[name]]))
            values[name] = label(value)
            return value

        self.space.proposal(draw)
        return Given(values)

    def tell(self, number: int, loss: float) -> None:
        """See :meth:`Proposer.tell`."""
        self._losses[number - self._first] = loss
        if len(self._losses) == len(self._asked):
            losses = [self._losses[place] for place in range(len(self._asked))]
            self._optimizer.tell(self._asked, losses)
            self._first += len(self._asked)
            self._asked, self._losses, self._n_proposed = self._optimizer.ask(), {}, 0


PROPOSERS: dict[str, Callable[..., Proposer]] = {
    "tpe": TPE,
    "random": Random,
    "grid": Grid,
    "nsga2": NSGA2,
    "cmaes": partial(Population, kind=CMAES),
    "pso": partial(Population, kind=PSO),
    "ga": partial(Population, kind=DeapGA),
}
"""All proposers, by the names that people choose them by."""


def proposer(name: str, space: Space, seed: int, population: int | None = None) -> Proposer:
    """Make a proposer.

    Raises
    ------
    InputError
        For a name that is not of :data:`PROPOSERS`.
    """
    one_of("sampler", name, tuple(PROPOSERS))
    return PROPOSERS[name](space, seed, population)


def suggest(trial: optuna.Trial, name: str, parameter: Parameter) -> Any:
    """Let a trial draw a value, and give it as it is, not as the study keeps it."""
    if parameter.choices:
        labels = [label(each) for each in parameter.choices]
        return parameter.choices[labels.index(trial.suggest_categorical(name, labels))]
    if parameter.is_whole:
        step = int(parameter.step or 1)
        return trial.suggest_int(
            name, int(parameter.low), int(parameter.high), step=step, log=parameter.log
        )
    return trial.suggest_float(
        name, parameter.low, parameter.high, step=parameter.step, log=parameter.log
    )


def given(family: str, values: Mapping[str, Any]) -> Given:
    """Draw these values of a family."""
    return Given(
        {FAMILY: family, **{f"{family}:{name}": label(each) for name, each in values.items()}}
    )


def _points(space: Space) -> Iterator[Mapping[str, Any]]:
    """Go through the grid: all families, and in each all values that may stand together."""
    for family in space.families.values():
        for values in _combinations(family, space.context):
            names = {f"{family.name}:{name}": label(each) for name, each in values.items()}
            yield {FAMILY: family.name, **names}


def _combinations(family: Family, context: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Count through the values as an odometer does: which of them there are depends on others."""
    places: list[int] = []
    while True:
        sizes: list[int] = []

        def draw(name: str, parameter: Parameter, sizes: list[int] = sizes) -> Any:
            grid = parameter.grid(_GRID)
            sizes.append(len(grid))
            if len(places) < len(sizes):
                places.append(0)
            return grid[places[len(sizes) - 1]]

        yield family.values(draw, context)
        del places[len(sizes) :]
        while places and places[-1] + 1 == sizes[len(places) - 1]:
            places.pop()
        if not places:
            return
        places[-1] += 1
