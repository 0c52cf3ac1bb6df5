"""Plugging the results of a group of blocks into the network, together."""

import numpy as np

from evolve.block import Block
from evolve.fitness.base import Fitness
from evolve.search import Search


def plug_in(
    fitness: Fitness, searches: list[Search], before: float
) -> tuple[list[Search], float, int]:
    """Adopt all that the searches found, or the better half of it, and so on, if it improves.

    Parameters
    ----------
    fitness : Fitness
        Holds the network.
    searches : list of Search
        Have ended, on top of this network.
    before : float
        Loss of the network.

    Returns
    -------
    plugged_in : list of Search
    after : float
        Loss of the network with them.
    checks : int
        Evaluations that this took.
    """
    improved = sorted(
        (search for search in searches if search.loss < before), key=lambda each: each.loss
    )
    checks = 0
    while improved:
        # A block's vector holds its kernels in ascending order.
        parts = sorted(improved, key=lambda each: each.block.kernels)
        joint = Block(tuple(kernel for part in parts for kernel in part.block.kernels))
        vector = np.concatenate([part.vector for part in parts if part.vector is not None])
        loss = improved[0].loss
        if len(improved) > 1:
            fitness.bind(joint)
            loss = float(fitness.losses(vector[None])[0])
            checks += 1
        if loss < before:
            fitness.adopt(joint.write(fitness.stack, vector), loss)
            return improved, loss, checks
        improved = improved[: len(improved) // 2]
    return [], before, checks
