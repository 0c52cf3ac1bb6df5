"""A genetic algorithm from DEAP's operators."""

import numpy as np
from deap import tools
from numpy.typing import ArrayLike

from evolve.optimizers._global_random import python_draws_from
from evolve.optimizers._individual import Individual, individuals
from evolve.optimizers.base import FloatArray, Optimizer, gaussian_start, spread
from slicing.checks import at_least, between


class DeapGA(Optimizer):
    """Genetic algorithm: tournament selection, blend crossover, Gaussian mutation, elites.

    The first generation is `x0` and Gaussian copies of it. Then the parents are drawn, by
    tournament, from the last generation and the elites: the best individuals ever told, which
    stay in the pool with the loss they have and cost no second evaluation. Pairs of parents
    cross (``deap.tools.cxBlend``: each child's gene lies on the line through the parents' genes),
    the children mutate (``deap.tools.mutGaussian``), and they are the next generation.

    Parameters
    ----------
    x0, sigma0, rng, population, bounds
        See `Optimizer`.
    crossover : float
        Probability that a pair of parents crosses rather than being copied.
    blend : float
        How far a child's gene may lie outside its parents' genes, as a multiple of their distance
        (the α of BLX-α: Eshelman and Schaffer, 1993).
    mutation : float
        Probability that a gene mutates.
    mutation_step : float
        Standard deviation of a mutation, in units of `sigma0`.
    elites : int
        Number of elites, from 0 to `population`.
    tournament : int
        Individuals drawn for a tournament, of which the best becomes a parent; from 1 to
        `population`.
    """

    def __init__(
        self,
        x0: ArrayLike,
        sigma0: float,
        rng: np.random.Generator,
        *,
        population: int | None = None,
        bounds: float | None = 10.0,
        crossover: float = 0.9,
        blend: float = 0.3,
        mutation: float = 0.1,
        mutation_step: float = 0.3,
        elites: int = 2,
        tournament: int = 3,
    ) -> None:
        super().__init__(x0, sigma0, rng, population=population, bounds=bounds)
        for name, probability in (("crossover", crossover), ("mutation", mutation)):
            between(name, probability, 0, 1)
        for name, factor in (("blend", blend), ("mutation_step", mutation_step)):
            at_least(name, factor, 0)
        between("elites", elites, 0, self._population)
        between("tournament", tournament, 1, self._population)
        self._crossover = crossover
        self._blend = blend
        self._mutation = mutation
        self._mutation_step = mutation_step
        self._n_elites = elites
        self._tournament = tournament
        self._next = self._clip(gaussian_start(self._x0, self._sigma0, self._population, rng))
        self._elites: list[Individual] = []

    def _ask(self) -> ArrayLike:
        return self._next

    def _tell(self, candidates: FloatArray, losses: FloatArray) -> None:
        pool = self._elites + individuals(candidates, losses)
        self._elites = tools.selBest(pool, self._n_elites)
        with python_draws_from(self._rng):
            parents = tools.selTournament(pool, self._population, self._tournament)
            # Lists: the operators go gene by gene, which is three times slower on arrays.
            children = [parent.tolist() for parent in parents]
            for one, other in zip(children[::2], children[1::2], strict=False):
                if self._rng.random() < self._crossover:
                    tools.cxBlend(one, other, self._blend)
            for child in children:
                tools.mutGaussian(child, 0, self._mutation_step * self._sigma0, self._mutation)
        self._next = self._clip(np.array(children))

    def _sigma(self) -> float:
        return spread(self._next)
