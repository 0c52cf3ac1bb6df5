"""The genetic algorithm NSGA-II, for one loss or several (Deb et al., 2002).

That of Optuna is not used: it draws by chance what not all families have, and learns nothing from
trials that were pruned.
"""

from collections.abc import Sequence

import numpy as np
from deap import base, tools
from deap.tools import emo
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class NSGA2:
    """Asks for generations of vectors with coordinates from 0 to 1, and is told their losses.

    A coordinate may stand for a choice, so none is a mixture of two: a child has each from one of
    its parents, or by chance.

    Parameters
    ----------
    dim : int
        Coordinates.
    population : int
        Vectors of a generation, and parents of the next.
    rng : numpy.random.Generator
    """

    def __init__(self, dim: int, population: int, rng: np.random.Generator) -> None:
        self._dim, self._population, self._rng = dim, population, rng
        self._parents: list[_Individual] = []

    def ask(self) -> FloatArray:
        """Give a generation of shape (population, dim)."""
        if not self._parents:
            return self._rng.random((self._population, self._dim))
        return np.array([self._child() for _ in range(self._population)])

    def tell(self, candidates: Sequence[FloatArray], losses: Sequence[Sequence[float]]) -> None:
        """Choose parents among the ones before and their children.

        Parameters
        ----------
        candidates : sequence of arrays of shape (dim,)
        losses : sequence of sequences of float
            Those of each; all have as many.
        """
        children = [_Individual(*each) for each in zip(candidates, losses, strict=True)]
        pool = [*self._parents, *children]
        self._parents = []
        for front in tools.sortNondominated(pool, len(pool)):
            emo.assignCrowdingDist(front)
            self._parents += sorted(front, key=lambda each: -each.fitness.crowding_dist)
        del self._parents[self._population :]

    def _child(self) -> FloatArray:
        # Of each two that are drawn the better becomes a parent: they stand in that order.
        places = self._rng.integers(len(self._parents), size=(2, 2)).min(axis=1)
        one, other = (self._parents[place].genes for place in places)
        child = np.where(self._rng.random(self._dim) < 0.5, one, other)
        mutates = self._rng.random(self._dim) < 1 / self._dim
        return np.where(mutates, self._rng.random(self._dim), child)


class _Individual:
    """A vector and its losses, as DEAP's tools expect them."""

    def __init__(self, genes: FloatArray, losses: Sequence[float]) -> None:
        self.genes = genes
        # A class of its own: its weights say that less is better, of as many losses.
        kind = type("Losses", (base.Fitness,), {"weights": (-1.0,) * len(losses)})
        self.fitness = kind(tuple(losses))
