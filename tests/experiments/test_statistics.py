import numpy as np
import pytest

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


def test_more_confidence_is_a_wider_interval():
    accuracy = Accuracy(81, 263)
    assert accuracy.interval() == accuracy.interval(0.95)
    (low, high), (lower, higher) = accuracy.interval(), accuracy.interval(0.99)
    assert lower < low < accuracy.value < high < higher
