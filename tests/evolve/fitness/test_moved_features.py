import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_distances, euclidean_distances

from evolve.fitness import moved_features as shifted
from evolve.fitness.moved_features import MovedKNN
from evolve.roles import Roles


def roles(n_queries):
    """Of 200 images; None: each is a query against the others."""
    return Roles(200 - (n_queries or 0), n_queries or 200, leave_one_out=n_queries is None)


def nearest(features, n_queries, k, metric):
    """Distances to the k nearest by scikit-learn, in float64."""
    features = features.astype(np.float64)
    references = features if n_queries is None else features[:-n_queries]
    queries = features if n_queries is None else features[-n_queries:]
    if metric == "euclidean":
        distances = euclidean_distances(queries, references, squared=True)
    else:
        distances = cosine_distances(queries, references)
    if n_queries is None:
        np.fill_diagonal(distances, np.inf)
    return np.sort(distances, axis=1)[:, :k]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("n_queries", [None, 40])
@pytest.mark.parametrize("shift", [0.0, 0.02, 0.3, 5.0])
def test_the_nearest_after_a_shift(metric, n_queries, shift, monkeypatch):
    monkeypatch.setattr(shifted, "_SHORTLIST", 10)
    rng = np.random.default_rng(0)
    before = rng.random((200, 12)).astype(np.float32)
    # Images without any feature that come to life, next to others, and some that die.
    before[::7] = 0.0
    after = before + (shift * rng.random(before.shape)).astype(np.float32)
    after[:196:14] = after[1:197:14]
    after[::5] = 0.0
    knn = MovedKNN(before, roles(n_queries), 5, metric)
    distances, indices, full_scans = knn.neighbors(after)
    np.testing.assert_allclose(
        np.sort(distances, axis=1), nearest(after, n_queries, 5, metric), atol=1e-12
    )
    assert all(len(set(row)) == 5 for row in indices)
    if n_queries is None:
        assert (indices != np.arange(200)[:, None]).all()
    if shift >= 5.0:
        assert full_scans > 0


def test_an_image_that_comes_to_life_far_from_its_list(monkeypatch):
    # Without features it was equally far from all: its list holds the first ones.
    monkeypatch.setattr(shifted, "_SHORTLIST", 10)
    rng = np.random.default_rng(1)
    before = rng.random((200, 12)).astype(np.float32)
    before[:20] = before[140] + 0.1 * rng.random((20, 12))
    before[160] = 0.0  # a query: no reference moves
    after = before.copy()
    after[160] = before[140]
    distances, indices, _ = MovedKNN(before, roles(50), 5, "cosine").neighbors(after)
    assert 140 in indices[10]
    np.testing.assert_allclose(
        np.sort(distances, axis=1), nearest(after, 50, 5, "cosine"), atol=1e-12
    )
