"""The adapters against formulas and against implementations that are not theirs."""

import random

import numpy as np
import pytest
from cma import purecma

from evolve.optimizers import CMAES, PSO, DeapCMAES, PSOLocal, SepCMAES, VkDCMAES

DIM = 6
LOSSES = {
    "sphere": lambda x: float((x**2).sum()),
    "ellipsoid": lambda x: float(x**2 @ 10 ** (6 * np.linspace(0, 1, DIM))),
    "rosenbrock": lambda x: float((100 * (x[:-1] ** 2 - x[1:]) ** 2 + (x[:-1] - 1) ** 2).sum()),
}
TARGET = 1e-8


def evaluations_of_purecma(loss, seed):
    random.seed(seed)
    strategy = purecma.CMAES(DIM * [0.5], 0.1)
    evaluations = 0
    while True:
        candidates = strategy.ask()
        losses = [loss(np.array(x)) for x in candidates]
        strategy.tell(candidates, losses)
        evaluations += len(losses)
        assert evaluations < 20_000
        if min(losses) < TARGET:
            return evaluations


def evaluations_of(optimizer_class, loss, seed):
    optimizer = optimizer_class(np.full(DIM, 0.5), 0.1, np.random.default_rng(seed))
    while optimizer.best_loss >= TARGET:
        candidates = optimizer.ask()
        optimizer.tell(candidates, [loss(x) for x in candidates])
        assert optimizer.evaluations < 20_000
    return optimizer.evaluations


@pytest.mark.parametrize("name", LOSSES)
def test_the_full_cma_es_agree(name):
    """Hansen's readable implementation, pycma and DEAP need about the same evaluations."""
    loss = LOSSES[name]
    pure = np.median([evaluations_of_purecma(loss, seed) for seed in range(7)])
    pycma = np.median([evaluations_of(CMAES, loss, seed) for seed in range(7)])
    deap = np.median([evaluations_of(DeapCMAES, loss, seed) for seed in range(7)])
    assert 0.8 < deap / pure < 1.25
    # pycma's negative weights save up to a third where the matrix has to be learned.
    assert 0.55 < pycma / pure < {"sphere": 1.05, "ellipsoid": 0.85, "rosenbrock": 1.0}[name]


@pytest.mark.parametrize("optimizer_class", [CMAES, SepCMAES, VkDCMAES, DeapCMAES])
@pytest.mark.parametrize("bounds", [None, 0.5])
def test_the_first_step_is_weighted_recombination(optimizer_class, bounds):
    """Hansen's tutorial, eq. 42 and 49 to 53: the positive weights, on the clipped candidates."""
    rng = np.random.default_rng(0)
    optimizer = optimizer_class(np.zeros(DIM), 0.7, rng, population=12, bounds=bounds)
    candidates = optimizer.ask()
    assert (np.abs(candidates) == 0.35).any() == (bounds is not None)
    losses = ((candidates - 0.1) ** 2).sum(axis=1)
    optimizer.tell(candidates, losses)
    weights = np.log(6.5) - np.log(np.arange(1, 7))
    expected = weights / weights.sum() @ candidates[np.argsort(losses)[:6]]
    np.testing.assert_allclose(optimizer.mean, expected, rtol=1e-12)


def test_what_a_diagonal_cannot_learn():
    """On a rotated ellipsoid full covariance wins, on a separable one the diagonal does."""
    dim = 12
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((dim, dim)))[0]
    weights = 10 ** (4 * np.linspace(0, 1, dim))

    def found(optimizer_class, basis):
        optimizer = optimizer_class(np.ones(dim), 0.5, np.random.default_rng(2))
        while optimizer.evaluations < 3000:
            candidates = optimizer.ask()
            optimizer.tell(candidates, (candidates @ basis) ** 2 @ weights)
        return optimizer.best_loss

    full, diagonal = found(CMAES, rotation), found(SepCMAES, rotation)
    assert full < 1e-3 * diagonal
    assert found(SepCMAES, np.eye(dim)) < 1e-3 * found(CMAES, np.eye(dim))


def test_low_rank_learns_one_long_axis():
    """A rotated cigar has one direction to learn: rank 1 does it, a diagonal does not."""
    dim = 30
    axis = np.random.default_rng(1).standard_normal(dim)
    axis /= np.linalg.norm(axis)

    def found(optimizer_class):
        optimizer = optimizer_class(np.ones(dim), 0.5, np.random.default_rng(2))
        while optimizer.evaluations < 12_000:
            candidates = optimizer.ask()
            along = candidates @ axis
            losses = 1e6 * ((candidates**2).sum(axis=1) - along**2) + along**2
            optimizer.tell(candidates, losses)
        return optimizer.best_loss

    assert found(VkDCMAES) < 1e-3 * found(SepCMAES)


@pytest.mark.parametrize("optimizer_class", [PSO, PSOLocal])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"inertia": 1.0, "c1": 2.0, "c2": 2.0, "bounds": None},
        {"inertia": 0.6, "c1": 0.5, "c2": 2.5},
        {"inertia": 1.0, "c1": 2.0, "c2": 2.0, "max_velocity": 0.4},
        {"bounds": 1.0},
    ],
    ids=["default", "slides", "unequal", "max_velocity", "bounds"],
)
def test_a_swarm_moves_by_the_formula(optimizer_class, options):
    """v = w v + c1 r1 (pbest - x) + c2 r2 (best - x), x = x + v, in plain NumPy."""
    rng = np.random.default_rng(3)
    if optimizer_class is PSOLocal:
        options = options | {"neighbors": 4}
    optimizer = optimizer_class(np.ones(DIM), 0.5, rng, population=9, **options)
    w = options.get("inertia", 0.7298)
    c1 = options.get("c1", 1.49618)
    c2 = options.get("c2", 1.49618)
    fastest = 0.5 * options.get("max_velocity", np.inf)
    reach = 0.5 * (options.get("bounds", 10.0) or np.inf)
    low, high = 1 - reach, 1 + reach
    draws = np.random.Generator(np.random.PCG64())

    x = optimizer.ask()
    v = np.zeros_like(x)
    pbest, pbest_loss = x, np.full(9, np.inf)
    for _ in range(6):
        losses = (x**2).sum(axis=1)
        better = losses < pbest_loss
        pbest = np.where(better[:, None], x, pbest)
        pbest_loss = np.where(better, losses, pbest_loss)
        if optimizer_class is PSO:
            best = pbest[pbest_loss.argmin()]
        else:
            distances = ((x[:, None] - x[None]) ** 2).sum(axis=2)
            nearest = np.argsort(distances, axis=1)[:, :4]
            best = pbest[nearest[np.arange(9), pbest_loss[nearest].argmin(axis=1)]]
        draws.bit_generator.state = rng.bit_generator.state
        r1, r2 = draws.random(x.shape), draws.random(x.shape)
        optimizer.tell(x, losses)
        v = w * v + c1 * r1 * (pbest - x) + c2 * r2 * (best - x)
        v = np.minimum(np.maximum(v, -fastest), fastest)
        expected = np.minimum(np.maximum(x + v, low), high)
        x = optimizer.ask()
        np.testing.assert_allclose(x, expected, rtol=1e-12, atol=1e-15)
