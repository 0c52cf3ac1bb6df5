"""What the tests of all optimizers share."""

import numpy as np
import pytest

from evolve.optimizers import BY_NAME, CMAES, SepCMAES, VkDCMAES

OPTIMIZERS = list(BY_NAME.values())
RESTARTING = [CMAES, SepCMAES, VkDCMAES]
every_optimizer = pytest.mark.parametrize("optimizer_class", OPTIMIZERS)
every_restarting = pytest.mark.parametrize("optimizer_class", RESTARTING)

DIM = 10
X0 = np.linspace(0.5, 1.5, DIM)
ROTATION = np.linalg.qr(np.random.default_rng(5).standard_normal((DIM, DIM)))[0]


def sphere(candidates):
    return (candidates**2).sum(axis=1)


def rotated_ellipsoid(candidates):
    return ((candidates @ ROTATION.T) ** 2) @ 10 ** (3 * np.linspace(0, 1, DIM))


def flat(candidates):
    return np.full(len(candidates), 0.05)


def make(optimizer_class, seed=0, **options):
    return optimizer_class(X0, 0.5, np.random.default_rng(seed), **options)


def advance(optimizer, generations, loss=sphere):
    """The candidates of some generations, stacked."""
    told = []
    for _ in range(generations):
        candidates = optimizer.ask()
        optimizer.tell(candidates, loss(candidates))
        told.append(candidates)
    return np.array(told)


def figures(optimizer):
    return (
        optimizer.mean.tobytes(),
        optimizer.best.tobytes(),
        optimizer.best_loss,
        optimizer.sigma,
        optimizer.evaluations,
        optimizer.non_finite,
        optimizer.population,
        optimizer.stop(),
    )
