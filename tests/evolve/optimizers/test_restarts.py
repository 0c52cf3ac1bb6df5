"""Restarts with growing populations."""

import numpy as np
import pytest

from evolve.optimizers import CMAES, SepCMAES
from tests.evolve.optimizers.harness import (
    DIM,
    X0,
    advance,
    every_restarting,
    figures,
    flat,
    make,
    sphere,
)

pytestmark = pytest.mark.usefixtures("warnings_are_errors")


def advance_to_restart(optimizer, loss=sphere):
    """Tell generations until the population has changed."""
    population = optimizer.population
    while optimizer.population == population:
        advance(optimizer, 1, loss)
        assert optimizer.evaluations < 100_000


@every_restarting
@pytest.mark.parametrize(
    ("loss", "growth", "populations"),
    [(flat, 2, [20, 40, 80]), (flat, 1.55, [16, 24]), (sphere, 3.0, [30])],
)
def test_populations_grow_and_run_out(optimizer_class, loss, growth, populations):
    restarts = len(populations)
    optimizer = make(optimizer_class, restarts=restarts, population_growth=growth)
    for population in populations:
        advance_to_restart(optimizer, loss)
        assert optimizer.population == population
        assert optimizer.stop() == {}
        assert optimizer.sigma == pytest.approx(0.5, rel=1e-3)
        assert advance(optimizer, 1, loss).shape == (1, population, DIM)
    while not optimizer.stop():
        advance(optimizer, 1, loss)
        assert optimizer.population == populations[-1]
        assert optimizer.evaluations < 300_000


@every_restarting
def test_it_does_not_start_again_with_a_population_beyond_memory(optimizer_class):
    optimizer = make(optimizer_class, population_growth=100.0, restarts=9)
    optimizer._restarted = 5  # the next would be of 10 * 100**6
    while not optimizer.stop():
        advance(optimizer, 1, flat)
        assert optimizer.evaluations < 100_000
    assert optimizer.population == 10


@every_restarting
def test_without_restarts_it_ends_where_it_would_have_restarted(optimizer_class):
    optimizer, single = make(optimizer_class), make(optimizer_class, restarts=0)
    while not single.stop():
        assert optimizer.population == single.population
        np.testing.assert_array_equal(advance(optimizer, 1), advance(single, 1))
    assert (optimizer.population, single.population) == (20, 10)
    np.testing.assert_array_equal(optimizer.mean, single.mean)
    assert optimizer.best_loss == single.best_loss
    assert optimizer.evaluations == single.evaluations


@every_restarting
def test_a_restart_is_a_fresh_start(optimizer_class):
    optimizer = make(optimizer_class)
    advance_to_restart(optimizer)
    rng = np.random.default_rng()
    rng.bit_generator.state = optimizer._rng.bit_generator.state
    fresh = optimizer_class(X0, 0.5, rng, population=20)
    np.testing.assert_array_equal(advance(optimizer, 30), advance(fresh, 30))


@every_restarting
def test_a_constant_population_restarts_too(optimizer_class):
    optimizer = make(optimizer_class, population_growth=1, restarts=1)
    single = make(optimizer_class, restarts=0)
    while not single.stop():
        advance(single, 1, flat)
        advance(optimizer, 1, flat)
    assert optimizer.stop() == {}
    assert optimizer.population == 10
    assert optimizer.sigma == pytest.approx(0.5, rel=1e-3)


@every_restarting
def test_the_mean_is_that_of_the_strategy_that_found_the_best(optimizer_class):
    optimizer = make(optimizer_class)
    last = None
    while optimizer.population == 10:
        last = advance(optimizer, 1)[0]
    found = optimizer.mean
    best = optimizer.best
    assert np.abs(found - last.mean(axis=0)).max() < 1e-8
    assert np.abs(found).max() < 1e-8  # near the optimum, not back at x0
    advance(optimizer, 5, lambda candidates: sphere(candidates) + 1)
    np.testing.assert_array_equal(optimizer.mean, found)
    np.testing.assert_array_equal(optimizer.best, best)
    assert optimizer.sigma > 0.1

    advance(optimizer, 1, lambda candidates: sphere(candidates) - 1e3)
    assert optimizer.best_loss < -900
    assert np.abs(optimizer.mean - found).max() > 0.1
    assert np.abs(optimizer.mean - optimizer.ask().mean(axis=0)).max() < 1.0


@every_restarting
def test_counts_run_through_a_restart(optimizer_class):
    optimizer = make(optimizer_class)
    told = 0

    def sometimes_nan(candidates):
        nonlocal told
        told += len(candidates)
        return np.where(np.arange(len(candidates)) == 1, np.nan, sphere(candidates))

    advance_to_restart(optimizer, sometimes_nan)
    best = optimizer.best_loss
    generations = told // 10
    advance(optimizer, 3, sometimes_nan)
    assert optimizer.evaluations == told == 10 * generations + 60
    assert optimizer.non_finite == generations + 3
    assert optimizer.best_loss == best


@every_restarting
@pytest.mark.parametrize("after", [0, 1, 8])
def test_replayed_across_a_restart(optimizer_class, after):
    optimizer, other = make(optimizer_class), make(optimizer_class)
    while optimizer.population == 10:
        advance(optimizer, 1, flat)
    advance(optimizer, after)
    advance(other, optimizer.evaluations // 10 - 2 * after, flat)
    advance(other, after)
    assert figures(other) == figures(optimizer)
    for each in (optimizer, other):
        advance_to_restart(each, flat)
    assert figures(other) == figures(optimizer)
    assert optimizer.population == 40
    np.testing.assert_array_equal(advance(other, 5), advance(optimizer, 5))
    assert figures(other) == figures(optimizer)


@pytest.mark.parametrize(
    ("optimizer_class", "seed"),
    [(CMAES, 0), (CMAES, 1), (SepCMAES, 0), (SepCMAES, 1)],
)
def test_growing_populations_solve_what_one_run_does_not(optimizer_class, seed):
    """Rastrigin's function: its local minima are a unit apart."""

    def rastrigin(candidates):
        return (candidates**2 - 10 * np.cos(2 * np.pi * candidates) + 10).sum(axis=1)

    def solve(restarts):
        rng = np.random.default_rng(seed)
        options = {"population": 12, "restarts": restarts}
        optimizer = optimizer_class(np.full(3, 2.7), 1.0, rng, **options)
        while not optimizer.stop() and optimizer.best_loss > 1e-7:
            advance(optimizer, 1, rastrigin)
            assert optimizer.evaluations < 100_000
        return optimizer

    single, restarted = solve(0), solve(9)
    assert single.stop()
    assert single.best_loss > 0.9
    assert restarted.best_loss <= 1e-7
    assert restarted.population > 12
    np.testing.assert_allclose(restarted.best, 0, atol=1e-3)
