"""Losses of every kind."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.evolve.optimizers.harness import DIM, X0, advance, every_optimizer, make, sphere

pytestmark = pytest.mark.usefixtures("warnings_are_errors")


@every_optimizer
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_counts_as_the_worst(optimizer_class, bad):
    optimizer, twin = make(optimizer_class), make(optimizer_class)
    worst = 0.0
    for generation in range(5):
        candidates = optimizer.ask()
        losses = sphere(candidates)
        mask = np.zeros(len(losses), dtype=bool)
        mask[generation : generation + 2] = True
        worst = max(worst, losses[~mask].max())
        optimizer.tell(candidates, np.where(mask, bad, losses))
        twin.tell(twin.ask(), np.where(mask, worst, losses))
    assert (optimizer.non_finite, twin.non_finite) == (10, 0)
    assert optimizer.best_loss == twin.best_loss
    np.testing.assert_array_equal(optimizer.ask(), twin.ask())


@every_optimizer
def test_a_generation_of_nothing_but_nan(optimizer_class):
    optimizer = make(optimizer_class)
    advance(optimizer, 1, lambda candidates: np.full(len(candidates), np.nan))
    assert optimizer.best_loss == np.inf
    np.testing.assert_array_equal(optimizer.best, X0)
    assert optimizer.stop() == {}
    told = advance(optimizer, 20)
    assert optimizer.non_finite == optimizer.population
    assert optimizer.best_loss == sphere(told.reshape(-1, DIM)).min()


@every_optimizer
@settings(max_examples=20, deadline=None)
@given(losses=arrays(np.float64, (3, 6), elements=st.floats(width=64)))
def test_any_losses(optimizer_class, losses):
    optimizer = make(optimizer_class, population=6)
    told = []
    for row in losses:
        told.append(optimizer.ask())
        optimizer.tell(told[-1], row)
    finite = np.where(np.isfinite(losses), losses, np.inf).ravel()
    assert optimizer.non_finite == (~np.isfinite(losses)).sum()
    assert optimizer.best_loss == finite.min()
    if np.isfinite(finite).any():
        best = np.concatenate(told)[finite.argmin()]
        np.testing.assert_array_equal(optimizer.best, best)
    assert np.isfinite(optimizer.ask()).all()


@every_optimizer
def test_only_the_ranking_of_the_losses_matters(optimizer_class):
    # Whole numbers, so that the cube is exact and keeps ties as they are.
    plain = advance(make(optimizer_class), 15, lambda x: np.rint(1000 * sphere(x)))
    cubed = advance(make(optimizer_class), 15, lambda x: np.rint(1000 * sphere(x)) ** 3 - 1e9)
    np.testing.assert_array_equal(plain, cubed)
