import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score

from experiments.reliability import Reliability


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(0, 1000), st.booleans())
def test_figures_are_those_of_scikit_learn_and_of_the_definition(n, seed, coarse):
    rng = np.random.default_rng(seed)
    confidences = rng.integers(0, 10, n) / 9 if coarse else rng.random(n)
    is_right = rng.random(n) < confidences**2
    found = Reliability.of(confidences, is_right)
    assert found.accuracy.correct == is_right.sum()
    assert found.accuracy.total == n
    assert found.mean == pytest.approx(confidences.mean())
    assert found.brier == pytest.approx(brier_score_loss(is_right, confidences))
    if 5 <= is_right.sum() <= n - 5:
        assert found.auroc == pytest.approx(roc_auc_score(is_right, confidences))
    else:
        assert found.auroc is None
    error = 0.0
    for low in range(10):
        inside = (confidences > low / 10) & (confidences <= (low + 1) / 10)
        inside |= (low == 0) & (confidences == 0)
        if inside.any():
            error += inside.mean() * abs(confidences[inside].mean() - is_right[inside].mean())
    assert found.calibration_error == pytest.approx(error)


def test_what_comes_true_has_no_error_and_what_does_not_has():
    rng = np.random.default_rng(0)
    confidences = rng.random(100_000)
    is_right = rng.random(100_000) < confidences
    assert Reliability.of(confidences, is_right).calibration_error < 0.01
    assert Reliability.of(np.ones(100_000), is_right).calibration_error == pytest.approx(
        1 - is_right.mean()
    )


@pytest.mark.parametrize("n", [30, 1000])
def test_what_comes_true_is_seldom_worse_than_by_chance(n):
    rng = np.random.default_rng(1)
    worse = 0
    for _ in range(40):
        confidences = rng.random(n)
        found = Reliability.of(confidences, rng.random(n) < confidences)
        worse += found.calibration_error > found.by_chance
    assert worse <= 6  # 2 are expected, and more than 6 in 1 of 100 cases
    assert 0 < found.by_chance < 1.5 / np.sqrt(n)
