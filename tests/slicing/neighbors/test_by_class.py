import numpy as np
import pytest

from slicing.neighbors.by_class import NearestByClass, distances_by_class


@pytest.fixture
def points():
    rng = np.random.default_rng(0)
    return (
        rng.normal(size=(40, 13)).astype(np.float32),
        rng.normal(size=(90, 13)).astype(np.float32),
        rng.integers(0, 3, 90),
    )


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_one_at_a_time_or_many_the_nearest_of_each_class_is_the_same(metric, points):
    queries, references, labels = points
    found = NearestByClass(references, labels, 4, metric)(queries)
    assert (found.dtype, found.shape) == (np.float32, (40, 4))
    expected = distances_by_class(queries, references, labels, 4, metric)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.isinf(found[:, 3]).all()
    one = [NearestByClass(references, labels, 4, metric)(each[None])[0] for each in queries]
    np.testing.assert_array_equal(np.stack(one), found)


def test_the_order_of_references_does_not_matter(points):
    queries, references, labels = points
    order = np.random.default_rng(1).permutation(len(labels))
    one = NearestByClass(references, labels, 3, "euclidean")(queries)
    two = NearestByClass(references[order], labels[order], 3, "euclidean")(queries)
    np.testing.assert_array_equal(one, two)
