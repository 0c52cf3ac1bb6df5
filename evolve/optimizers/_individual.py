"""The individuals that DEAP's operators take."""

from typing import Any

import numpy as np

from evolve.optimizers.base import FloatArray


class Individual(np.ndarray[Any, np.dtype[np.float64]]):
    """A vector of shape (dim,) with a ``fitness``, more is better, as DEAP's tools expect it.

    A class of our own, because ``deap.creator.create`` makes one that is global to the process.
    """

    fitness: float


def individuals(candidates: FloatArray, losses: FloatArray) -> list[Individual]:
    """Copy the (n, dim) candidates into individuals whose fitness is the negative (n,) losses."""
    population = [candidate.copy().view(Individual) for candidate in candidates]
    for individual, loss in zip(population, losses, strict=True):
        individual.fitness = -float(loss)
    return population
