"""When a search stops, and when not."""

import numpy as np
import pytest

from evolve.optimizers import CMAES, PSO, DeapCMAES, SepCMAES, VkDCMAES
from tests.evolve.optimizers.harness import (
    DIM,
    RESTARTING,
    X0,
    advance,
    every_optimizer,
    flat,
    make,
    sphere,
)

pytestmark = pytest.mark.usefixtures("warnings_are_errors")


@every_optimizer
def test_flat_generations_neither_stop_nor_print(optimizer_class, capfd):
    optimizer = make(optimizer_class)
    for _ in range(20):
        advance(optimizer, 1, flat)
        assert optimizer.stop() == {}
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("optimizer_class", "reasons"),
    [
        # Which of them comes first is a matter of rounding, and so of the processor.
        (CMAES, {"tolx", "tolxstagnation"}),
        (SepCMAES, {"tolx"}),
        (VkDCMAES, {"tolx"}),
        (DeapCMAES, {"collapsed"}),
        (PSO, {"collapsed"}),
    ],
)
def test_stops_when_converged(optimizer_class, reasons):
    options = {"restarts": 0} if optimizer_class in RESTARTING else {}
    optimizer = make(optimizer_class, **options)
    while not optimizer.stop():
        advance(optimizer, 1)
        assert optimizer.evaluations < 30_000
    assert reasons & optimizer.stop().keys()
    # And nothing but what tells of convergence.
    assert optimizer.stop().keys() <= reasons | {"tolxstagnation", "noeffectcoord", "noeffectaxis"}
    assert optimizer.stop() == optimizer.stop()
    assert optimizer.best_loss < 1e-15


def squares_alike(optimizer, scaled, unit):
    """Whether DEAP squares the step of both alike.

    It does so by the C library's pow(), which in another unit rounds the last bit of one square in
    2000 otherwise. What comes next then differs more with each generation. Which steps these are
    depends on all earlier rounding, and so on the processor.
    """
    if not isinstance(optimizer, DeapCMAES):
        return True
    return scaled._strategy.sigma**2 == unit**2 * optimizer._strategy.sigma**2


def scales_to_the_end(optimizer_class, seed, unit=2.0**-30):
    """Compare both until they converge; False where the squares of the step end it before."""
    optimizer = make(optimizer_class, seed)
    scaled = optimizer_class(unit * X0, unit * 0.5, np.random.default_rng(seed))
    for _ in range(500):
        candidates = optimizer.ask()
        np.testing.assert_array_equal(scaled.ask(), unit * candidates)
        if not squares_alike(optimizer, scaled, unit):
            return False
        for each in (optimizer, scaled):
            each.tell(each._asked, sphere(candidates))
        assert scaled.population == optimizer.population
        assert list(scaled.stop()) == list(optimizer.stop())
        if optimizer.population > 10 or optimizer.stop():
            break
    np.testing.assert_array_equal(scaled.mean, unit * optimizer.mean)
    return True


@every_optimizer
def test_the_unit_does_not_matter(optimizer_class):
    """Neither to the candidates nor to the stops: a power of two scales without rounding."""
    # Of DEAP's, one seed in four ends early.
    assert any(scales_to_the_end(optimizer_class, seed) for seed in range(12))


@pytest.mark.parametrize("optimizer_class", [CMAES, DeapCMAES])
def test_the_mean_is_that_of_the_candidates_on_an_ill_conditioned_loss(optimizer_class):
    """Where the condition exceeds 1e12, pycma by default moves to coordinates of its own."""
    dim = 6
    rotation = np.linalg.qr(np.random.default_rng(5).standard_normal((dim, dim)))[0]
    weights = 10 ** (14 * np.linspace(0, 1, dim))
    optimizer = optimizer_class(np.ones(dim), 0.5, np.random.default_rng(0))
    population = optimizer.population
    while optimizer.population == population and not optimizer.stop():
        mean, sigma = optimizer.mean, optimizer.sigma
        [candidates] = advance(optimizer, 1, lambda x: (x @ rotation.T) ** 2 @ weights)
        assert np.abs(candidates.mean(axis=0) - mean).max() < 10 * sigma
        assert optimizer.evaluations < 30_000


def test_deap_stops_on_an_ill_conditioned_matrix():
    optimizer = make(DeapCMAES)
    weights = 10.0 ** np.linspace(0, 20, DIM)
    while not optimizer.stop():
        advance(optimizer, 1, lambda candidates: candidates**2 @ weights)
        assert optimizer.evaluations < 100_000
    assert "conditioncov" in optimizer.stop()
