import numpy as np
import pytest

from experiments.adaptive.evaluation import mixed


@pytest.mark.parametrize(
    ("budget", "shares"),
    [
        (0.5, None),
        (1.0, [1, 0, 0, 0]),
        # Half of the images to the fastest point, half to the best: the one between lies below.
        (2.5, [0.5, 0, 0, 0.5]),
        (9.0, [0, 0, 0, 1]),
    ],
)
def test_two_points_are_mixed_so_that_they_are_most_accurate_within_a_time(budget, shares):
    times, accuracies = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.6, 0.65, 0.5, 0.9])
    found = mixed(times, accuracies, budget)
    if shares is None:
        assert found is None
    else:
        np.testing.assert_allclose(found, shares)
