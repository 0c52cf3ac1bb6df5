"""Candidates stay within the bounds."""

import numpy as np
import pytest

from evolve.optimizers import CMAES, PSO, DeapGA, PSOLocal, RandomSearch
from tests.evolve.optimizers.harness import (
    DIM,
    RESTARTING,
    X0,
    advance,
    every_optimizer,
    every_restarting,
    make,
    rotated_ellipsoid,
)

pytestmark = pytest.mark.usefixtures("warnings_are_errors")


@every_optimizer
@pytest.mark.parametrize("bounds", [0.2, 2.0])
@pytest.mark.parametrize(
    ("dim", "population"), [(1, None), (2, None), (DIM, 4), (DIM, None), (300, None)]
)
def test_nothing_leaves_the_bounds(optimizer_class, bounds, dim, population):
    """Downhill without end: the search runs into a corner of the box."""
    x0 = np.linspace(0.5, 1.5, dim)
    low, high = x0 - bounds * 0.3, x0 + bounds * 0.3
    options = {"population": population, "bounds": bounds}
    optimizer = optimizer_class(x0, 0.3, np.random.default_rng(0), **options)
    for _ in range(60 if dim <= DIM else 12):
        [candidates] = advance(optimizer, 1, lambda candidates: -candidates.sum(axis=1))
        for points in (candidates, optimizer.mean, optimizer.best):
            assert ((low <= points) & (points <= high)).all()
        if optimizer.stop():
            break
    if dim == DIM:
        assert (optimizer.best == high).any()


@every_optimizer
def test_bounds_that_nothing_reaches_change_no_bit(optimizer_class):
    free = advance(make(optimizer_class, bounds=None), 15, rotated_ellipsoid)
    reach = np.abs(free - X0).max() / 0.5
    wide, narrow = (make(optimizer_class, bounds=factor * reach) for factor in (1.01, 0.99))
    np.testing.assert_array_equal(advance(wide, 15, rotated_ellipsoid), free)
    assert (advance(narrow, 15, rotated_ellipsoid) != free).any()


@every_optimizer
def test_it_learns_from_the_clipped_candidates(optimizer_class):
    """The optimum is outside: the nearest point of the box is found, and the rest still learned."""
    optimum = X0 + np.where(np.arange(DIM) < 3, 5.0, 0.4)
    nearest = np.minimum(optimum, X0 + 2.0 * 0.5)
    gaps = []
    for seed in range(3):
        optimizer = make(optimizer_class, seed, bounds=2.0)
        advance(optimizer, 120, lambda candidates: ((candidates - optimum) ** 2).sum(axis=1))
        gaps.append(optimizer.best_loss - ((nearest - optimum) ** 2).sum())
        if optimizer_class in RESTARTING:
            assert optimizer.sigma < 0.1
    assert min(gaps) >= 0
    # Swarms stick to the border also where they should not. Random search: 6.
    limit = {RandomSearch: 10.0, PSO: 2.0, PSOLocal: 2.0}.get(optimizer_class, 0.1)
    assert np.median(gaps) < limit


@every_optimizer
def test_sigma_describes_the_next_candidates_in_the_bounds(optimizer_class):
    """That of a swarm or of a population is measured on them; others have a distribution."""
    optimizer = make(optimizer_class, bounds=0.5)
    for _ in range(3):
        sigma = optimizer.sigma
        [candidates] = advance(optimizer, 1)
        spread = np.sqrt(candidates.var(axis=0).mean())
        if optimizer_class in (PSO, PSOLocal, DeapGA):
            assert spread == sigma
        else:
            assert spread < sigma


@every_restarting
@pytest.mark.parametrize("seed", [101, 104, 106])
def test_steps_do_not_grow_along_the_bounds(optimizer_class, seed):
    """Clipping bends candidates out of a narrow valley, which may lie at any angle to the box."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.standard_normal((2, 2)))[0]
    optimum = rng.uniform(-4, 4, 2)
    optimizer = optimizer_class(np.zeros(2), 0.5, rng, bounds=4.0, restarts=0)
    for _ in range(300):
        advance(optimizer, 1, lambda x: ((x - optimum) @ rotation.T) ** 2 @ [1.0, 1e8])
        assert optimizer.sigma < 4.0
        if optimizer.stop():
            break


def test_what_pycma_sent_is_not_kept_where_it_was_clipped():
    optimizer = make(CMAES, bounds=0.1)
    advance(optimizer, 40)
    assert len(optimizer._es.sent_solutions) == 0


@pytest.mark.parametrize("optimizer_class", [PSO, PSOLocal])
def test_the_slides_swarm_needs_a_velocity_limit(optimizer_class):
    options = {"inertia": 1.0, "c1": 2.0, "c2": 2.0}
    runaway = make(optimizer_class, bounds=None, **options)
    while not runaway.stop():
        advance(runaway, 1)
        assert runaway.evaluations < 30_000
    assert list(runaway.stop()) == ["diverged"]

    bounded = make(optimizer_class, **options)
    limited = make(optimizer_class, max_velocity=0.3, **options)
    for each in (bounded, limited):
        advance(each, 200)
        assert each.stop() == {}
    assert limited.best_loss < 0.1 * bounded.best_loss


@pytest.mark.parametrize("optimizer_class", [PSO, PSOLocal])
def test_no_particle_is_faster_than_its_limit(optimizer_class):
    optimizer = make(optimizer_class, max_velocity=0.25)
    told = advance(optimizer, 30)
    assert np.abs(np.diff(told, axis=0)).max() == pytest.approx(0.25 * 0.5)
