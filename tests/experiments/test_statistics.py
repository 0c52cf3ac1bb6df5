import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from experiments.statistics import Accuracy, ClassFigures, Comparison, mcnemar, ratio_interval


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


def test_mcnemar_is_the_binomial_test_of_the_images_on_which_two_differ():
    assert mcnemar(6, 1) == mcnemar(1, 6) == pytest.approx(2 * 8 / 2**7)
    assert mcnemar(0, 0) == mcnemar(3, 3) == 1.0


def test_answers_are_compared_image_by_image():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    first = np.array([0, 0, 1, 2, 1, 1, 0, 0])
    second = np.array([0, 1, 0, 1, 1, 1, 1, 1])
    found = Comparison.of(first, second, labels)
    # An answer that is wrong both times, otherwise, is neither better nor worse.
    assert found == Comparison(5, 8, 3, 1, mcnemar(3, 1))
    assert found.sentence("x") == (
        "x changed 5 of 8 answers: 3 to the better, 1 to the worse, 1 are wrong both times; "
        "chance explains that (p = 0.62)"
    )
    assert Comparison.of(first, first, labels).sentence("x") == "x changed none of 8 answers"


@pytest.mark.parametrize(
    ("p", "verdict"),
    [
        (0.05, "chance explains that (p = 0.05)"),
        (0.0499, "more than chance explains (p = 0.05)"),
        (0.0012, "more than chance explains (p = 0.0012)"),
        (1e-9, "more than chance explains (p < 0.0001)"),
        (1.0, "chance explains that (p = 1)"),
    ],
)
def test_the_verdict_of_a_comparison(p, verdict):
    assert Comparison(9, 10, 8, 1, p).sentence("x").endswith(f"; {verdict}")


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_recall_precision_and_support_are_scikit_learns(pairs):
    predicted, labels = np.array(pairs).T
    precisions, recalls, _, supports = precision_recall_fscore_support(
        labels, predicted, labels=range(5), zero_division=np.nan
    )
    for number, (recall, precision) in enumerate(ClassFigures.of_all(predicted, labels, 5)):
        assert (recall.total if recall else 0) == supports[number]
        for found, expected in ((recall, recalls[number]), (precision, precisions[number])):
            assert (found is None and np.isnan(expected)) or found.value == pytest.approx(expected)


def test_an_interval_of_a_ratio_narrows_with_images_and_holds_it():
    rng = np.random.default_rng(0)
    widths = []
    for n in (20, 2000):
        below = rng.uniform(1, 2, n)
        above = 3 * below * rng.uniform(0.9, 1.1, n)
        low, high = ratio_interval(above, below)
        assert low < 3 < high
        widths.append(high - low)
    assert widths[1] < 0.2 * widths[0]
