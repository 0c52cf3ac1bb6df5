"""What is tried next: by chance, in order, or where earlier trials were good.

Each gives, for the number of a proposal, a sampler of Optuna, which draws the values. Those of our
own optimizers draw from a candidate: a vector with one coordinate from 0 to 1 for every parameter.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from evolve.optimizers import CMAES, PSO, DeapGA, Optimizer
from evolve.trials.nsga2 import NSGA2
from evolve.trials.points import Labels, labels, points
from evolve.trials.space import FAMILY, Parameter, Space
from slicing.checks import at_least, one_of

# Values of a range in a grid.
_GRID = 4
# Trials by chance before the tree-structured Parzen estimator learns (Optuna's default).
_AT_RANDOM = 10
# Trials of a generation of the genetic algorithm.
_GENERATION = 10
# Draws of the estimator for one trial, before chance decides.
_OWN_DRAWS = 5


class Given(BaseSampler):
    """Draws values that are given."""

    def __init__(self, labels: Labels) -> None:
        self.labels = labels

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
        return self.labels[param_name]


class Proposer(ABC):
    """Proposes trials: the number of a proposal, from 0, decides what it is.

    Where that has been tried before, it is drawn again: its *attempt*, from 0, decides, too.

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
    def sampler(self, number: int, place: int = 0, attempt: int = 0) -> BaseSampler | None:
        """Give what draws the values of a proposal; None where it has no more for this number.

        Parameters
        ----------
        number : int
            Of the proposal.
        place : int
            Of the parameter that it draws alone, from 1; 0: those that are drawn together. Chance
            has a seed of its own at each place.
        attempt : int
        """

    def points(self) -> Iterator[Labels] | None:
        """Go through all that it may propose; None where that is any number."""
        parameters = [
            p for family in self.space.families.values() for p in family.parameters.values()
        ]
        if any(each.values is None for each in parameters):
            return None
        return points(self.space, lambda parameter: parameter.values or ())

    def tell(self, number: int, tried: Labels, losses: Sequence[float]) -> None:  # noqa: B027
        """Learn what was tried for a proposal, and its losses; Optuna's read it from the study."""

    def chance(self, *numbers: int) -> RandomSampler:
        """Give what draws by chance, with a seed of its own for each numbers."""
        return RandomSampler(self._seed(*numbers))

    def _seed(self, *numbers: int) -> int:
        return int(np.random.SeedSequence([self.seed, *numbers]).generate_state(1)[0])


class Random(Proposer):
    """Draws by chance."""

    def sampler(self, number: int, place: int = 0, attempt: int = 0) -> BaseSampler:
        """See :meth:`Proposer.sampler`."""
        return self.chance(number, place, attempt)


class TPE(Proposer):
    """The tree-structured Parzen estimator (Bergstra et al., 2011), for all options jointly."""

    def sampler(self, number: int, place: int = 0, attempt: int = 0) -> BaseSampler:
        """See :meth:`Proposer.sampler`."""
        if attempt >= _OWN_DRAWS:
            return self.chance(number, place, attempt)
        with warnings.catch_warnings():
            # ``group``, without which options of several families are not learned jointly.
            warnings.simplefilter("ignore", ExperimentalWarning)
            return TPESampler(
                seed=self._seed(number, place, attempt),
                multivariate=True,
                group=True,
                n_startup_trials=_AT_RANDOM,
            )


class Grid(Proposer):
    """Goes through all choices, and of every range through four values."""

    def __init__(self, space: Space, seed: int, population: int | None) -> None:
        super().__init__(space, seed, population)
        self._others = self.points()
        self._known = list[Labels]()

    def points(self) -> Iterator[Labels]:
        """See :meth:`Proposer.points`."""
        return points(self.space, lambda parameter: parameter.grid(_GRID))

    def sampler(self, number: int, place: int = 0, attempt: int = 0) -> BaseSampler | None:
        """See :meth:`Proposer.sampler`."""
        # No more of it than has been asked for: a grid may be larger than any memory.
        self._known += islice(self._others, max(number + 1 - len(self._known), 0))
        return Given(self._known[number]) if number < len(self._known) and not attempt else None


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
        self._told = dict[int, tuple[Labels, Sequence[float]]]()

    @abstractmethod
    def _begin(self, dim: int, rng: np.random.Generator) -> None:
        """Begin to optimize vectors with so many coordinates, from 0 to 1."""

    @abstractmethod
    def _ask(self) -> NDArray[np.float64]:
        """Give a generation of shape (n, dim)."""

    @abstractmethod
    def _learn(self, tried: Sequence[Labels], losses: Sequence[Sequence[float]]) -> None:
        """Learn what was tried for the candidates of the generation, and its losses."""

    def is_ready(self, number: int) -> bool:
        """See :meth:`Proposer.is_ready`."""
        return number < self._first + len(self._asked)

    def sampler(self, number: int, place: int = 0, attempt: int = 0) -> BaseSampler:
        """See :meth:`Proposer.sampler`."""
        candidate = self._asked[number - self._first].copy()
        # What was tried before is not tried again, but what is near it: some coordinates are drawn
        # by chance, with each attempt more of them.
        rng = np.random.default_rng(self._seed(number))
        for _ in range(attempt):
            changes = rng.random(len(candidate)) < 1 / len(candidate)
            candidate[changes] = rng.random(len(candidate))[changes]
        return Given(self._labels(candidate))

    def _labels(self, candidate: NDArray[np.float64]) -> Labels:
        def draw(name: str, parameter: Parameter) -> Any:
            return parameter.at(float(candidate[self._places[name]]))

        return labels(*self.space.proposal(draw))

    def tell(self, number: int, tried: Labels, losses: Sequence[float]) -> None:
        """See :meth:`Proposer.tell`."""
        self._told[number] = tried, losses
        while all(self._first + place in self._told for place in range(len(self._asked))):
            told = [self._told[self._first + place] for place in range(len(self._asked))]
            self._learn([each for each, _ in told], [each for _, each in told])
            self._first += len(self._asked)
            self._asked = self._ask()


class Population(Generations):
    """Proposes the candidates of one of our own optimizers, which learns the first loss.

    Where something near a candidate was tried in its place, its loss counts as the candidate's.
    """

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

    def _learn(self, tried: Sequence[Labels], losses: Sequence[Sequence[float]]) -> None:
        self._optimizer.tell(self._asked, [each[0] for each in losses])


class Genetic(Generations):
    """Proposes the candidates of NSGA-II, which learns all losses."""

    def _begin(self, dim: int, rng: np.random.Generator) -> None:
        # Larger generations would make a search of few trials one by chance.
        self._algorithm = NSGA2(dim, self.population or _GENERATION, rng)

    def _ask(self) -> NDArray[np.float64]:
        return self._algorithm.ask()

    def _learn(self, tried: Sequence[Labels], losses: Sequence[Sequence[float]]) -> None:
        self._algorithm.tell([*map(self._genes, self._asked, tried)], losses)

    def _genes(self, candidate: NDArray[np.float64], tried: Labels) -> NDArray[np.float64]:
        """Give what was tried for a candidate as such: no two parents are equal."""
        if tried == self._labels(candidate):
            return candidate
        genes = candidate.copy()

        def learn(name: str, parameter: Parameter) -> Any:
            value = parameter.value(tried[name])
            genes[self._places[name]] = parameter.share(value)
            return value

        self.space.proposal(learn)
        return genes


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


def given(family: str, values: Mapping[str, Any]) -> Given:
    """Draw these values of a family."""
    return Given(labels(family, values))
