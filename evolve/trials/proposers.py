"""What is tried next: by chance, in order, or where earlier trials were good.

Each gives, for the number of a proposal, a sampler of Optuna, which draws the values. Those of our
own optimizers draw from a candidate: a vector with one coordinate from 0 to 1 for every parameter.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from evolve.optimizers import CMAES, PSO, DeapGA, Optimizer
from evolve.trials.nsga2 import NSGA2
from evolve.trials.space import FAMILY, Family, Parameter, Space, label
from slicing.checks import at_least, one_of

# Values of a range in a grid.
_GRID = 4
# Trials by chance before the tree-structured Parzen estimator learns (Optuna's default).
_AT_RANDOM = 10
# Trials of a generation of the genetic algorithm.
_GENERATION = 10


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
    """Proposes trials: the number of a proposal, from 0, decides what it is.

    Parameters
    ----------
    space : Space
    seed : int
    population : int or None
        Trials of a generation, where there are generations.
    """

    def __init__(self, space: Space, seed: int, population: int | None) -> None:
        self.space, self.seed, self.population = space, seed, population

    def is_ready(self, number: int) -> bool:
        """Say whether it can make a proposal now; otherwise it waits for others to be told."""
        return True

    @abstractmethod
    def sampler(self, number: int, place: int = 0) -> BaseSampler | None:
        """Give what draws the values of a proposal; None where nothing is left to propose.

        Parameters
        ----------
        number : int
            Of the proposal.
        place : int
            Of the parameter that it draws alone, from 1; 0: those that are drawn together. Chance
            has a seed of its own at each place: a process that ends within a proposal does not
            change how the next one completes it.
        """

    def tell(self, number: int, losses: Sequence[float]) -> None:  # noqa: B027
        """Learn the losses of a proposal; those of Optuna read them from the study."""

    def _seed(self, number: int, place: int) -> int:
        return int(np.random.SeedSequence([self.seed, number, place]).generate_state(1)[0])


class Random(Proposer):
    """Draws by chance."""

    def sampler(self, number: int, place: int = 0) -> BaseSampler:
        """See :meth:`Proposer.sampler`."""
        return RandomSampler(self._seed(number, place))


class TPE(Proposer):
    """The tree-structured Parzen estimator (Bergstra et al., 2011), for all options jointly."""

    def sampler(self, number: int, place: int = 0) -> BaseSampler:
        """See :meth:`Proposer.sampler`."""
        with warnings.catch_warnings():
            # ``group``, without which options of several families are not learned jointly.
            warnings.simplefilter("ignore", ExperimentalWarning)
            return TPESampler(
                seed=self._seed(number, place),
                multivariate=True,
                group=True,
                n_startup_trials=_AT_RANDOM,
            )


class Grid(Proposer):
    """Goes through all choices, and of every range through four values."""

    def __init__(self, space: Space, seed: int, population: int | None) -> None:
        super().__init__(space, seed, population)
        self._points = [*_points(space)]

    def sampler(self, number: int, place: int = 0) -> BaseSampler | None:
        """See :meth:`Proposer.sampler`."""
        return Given(self._points[number]) if number < len(self._points) else None


class Generations(Proposer):
    """Proposes candidates a generation at a time, and learns once all of it have been told."""

    def __init__(self, space: Space, seed: int, population: int | None) -> None:
        super().__init__(space, seed, population)
        names = [FAMILY]
        for family in space.families.values():
            names += [f"{family.name}:{option}" for option in family.parameters]
        self._places = {name: place for place, name in enumerate(names)}
        self._begin(len(names), np.random.default_rng(seed))
        self._first, self._asked = 0, self._ask()
        self._losses = dict[int, Sequence[float]]()

    @abstractmethod
    def _begin(self, dim: int, rng: np.random.Generator) -> None:
        """Begin to optimize vectors with so many coordinates, from 0 to 1."""

    @abstractmethod
    def _ask(self) -> NDArray[np.float64]:
        """Give a generation of shape (n, dim)."""

    @abstractmethod
    def _learn(self, losses: Sequence[Sequence[float]]) -> None:
        """Learn the losses of the generation."""

    def is_ready(self, number: int) -> bool:
        """See :meth:`Proposer.is_ready`."""
        return number < self._first + len(self._asked)

    def sampler(self, number: int, place: int = 0) -> BaseSampler:
        """See :meth:`Proposer.sampler`."""
        if not self.is_ready(number):
            # Where several processes search, another has taken the last of the generation.
            return RandomSampler(self._seed(number, place))
        candidate = self._asked[number - self._first]
        values = dict[str, Any]()

        def draw(name: str, parameter: Parameter) -> Any:
            value = parameter.at(float(candidate[self._places[name]]))
            values[name] = label(value)
            return value

        self.space.proposal(draw)
        return Given(values)

    def tell(self, number: int, losses: Sequence[float]) -> None:
        """See :meth:`Proposer.tell`."""
        self._losses[number] = losses
        while all(self._first + place in self._losses for place in range(len(self._asked))):
            self._learn([self._losses[self._first + place] for place in range(len(self._asked))])
            self._first += len(self._asked)
            self._asked = self._ask()


class Population(Generations):
    """Proposes the candidates of one of our own optimizers, which learns the first loss."""

    def __init__(
        self, space: Space, seed: int, population: int | None, *, kind: type[Optimizer]
    ) -> None:
        self._kind = kind
        super().__init__(space, seed, population)

    def _begin(self, dim: int, rng: np.random.Generator) -> None:
        # The box is that of all shares: half its width is two step sizes.
        self._optimizer = self._kind(
            np.full(dim, 0.5), 0.25, rng, population=self.population, bounds=2.0
        )

    def _ask(self) -> NDArray[np.float64]:
        return self._optimizer.ask()

    def _learn(self, losses: Sequence[Sequence[float]]) -> None:
        self._optimizer.tell(self._asked, [each[0] for each in losses])


class Genetic(Generations):
    """Proposes the candidates of NSGA-II, which learns all losses."""

    def _begin(self, dim: int, rng: np.random.Generator) -> None:
        # Larger generations would make a search of few trials one by chance.
        self._algorithm = NSGA2(dim, self.population or _GENERATION, rng)

    def _ask(self) -> NDArray[np.float64]:
        return self._algorithm.ask()

    def _learn(self, losses: Sequence[Sequence[float]]) -> None:
        self._algorithm.tell(self._asked, losses)


PROPOSERS: dict[str, Callable[..., Proposer]] = {
    "tpe": TPE,
    "random": Random,
    "grid": Grid,
    "nsga2": Genetic,
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
        For a name that is not of :data:`PROPOSERS`, or a population of fewer than 4.
    """
    one_of("sampler", name, tuple(PROPOSERS))
    at_least("population", population, 4)
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
    return parameter.rounded(
        trial.suggest_float(
            name, parameter.low, parameter.high, step=parameter.step, log=parameter.log
        )
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
