import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.statistics import Accuracy


def test_accuracy_of_predictions():
    accuracy = Accuracy.of(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 0]))
    assert accuracy == Accuracy(3, 4)
    assert accuracy.value == 0.75


# Newcombe, Statistics in Medicine 17, 1998, table I, method 3.
@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)],
)  # fmt: skip
def test_wilson_intervals_of_the_literature(correct, total, low, high):
    assert Accuracy(correct, total).interval() == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 20000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_is_its_formula(counts):
    correct, total = counts
    z = 1.959963984540054
    p = correct / total
    center = (p + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    low, high = Accuracy(correct, total).interval()
    assert low == pytest.approx(center - half, abs=1e-9)
    assert high == pytest.approx(center + half, abs=1e-9)
