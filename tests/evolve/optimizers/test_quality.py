"""Every optimizer beats random search."""

import numpy as np
import pytest

from evolve.optimizers import RandomSearch
from tests.evolve.optimizers.harness import OPTIMIZERS, advance, make, rotated_ellipsoid, sphere

pytestmark = pytest.mark.usefixtures("warnings_are_errors")


@pytest.mark.parametrize(
    "optimizer_class", [each for each in OPTIMIZERS if each is not RandomSearch]
)
@pytest.mark.parametrize(
    ("loss", "factor"), [(sphere, 1e-2), (rotated_ellipsoid, 0.5)], ids=["sphere", "ellipsoid"]
)
def test_beats_random_search_of_equal_budget(optimizer_class, loss, factor):
    def median_best(each):
        found = []
        for seed in range(5):
            optimizer = make(each, seed)
            advance(optimizer, 150, loss)
            assert optimizer.evaluations == 1500
            found.append(optimizer.best_loss)
        return np.median(found)

    assert median_best(optimizer_class) < factor * median_best(RandomSearch)
