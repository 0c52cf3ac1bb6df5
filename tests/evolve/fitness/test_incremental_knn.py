"""The k-NN while single channels change, against scikit-learn's distances."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_distances, euclidean_distances

from evolve.fitness import incremental_knn
from evolve.fitness.incremental_knn import IncrementalKNN
from evolve.fitness.knn_objectives import query_losses
from evolve.roles import Roles

N_REFERENCES, K, TEMPERATURE = 60, 8, 0.5


def of_neighbors(features, labels, roles, metric):
    """Losses of all queries, by scikit-learn's distances of float64 features."""
    features = features.reshape(len(features), -1).astype(np.float64)
    references, queries = features[roles.references], features[roles.queries]
    if metric == "euclidean":
        distances = euclidean_distances(queries, references, squared=True)
    else:
        distances = cosine_distances(queries, references)
    if roles.leave_one_out:
        np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1)[:, :K]
    return query_losses(
        np.take_along_axis(distances, nearest, axis=1),
        labels[nearest],
        labels[roles.queries],
        int(labels.max()) + 1,
        TEMPERATURE,
    )


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize(
    "roles", [Roles(N_REFERENCES, N_REFERENCES, True), Roles(N_REFERENCES, 40, False)]
)
def test_many_replaced_channels_leave_no_drift(roles, metric, monkeypatch):
    monkeypatch.setattr(incremental_knn, "_SHORTLIST", 4)
    rng = np.random.default_rng(0)
    channels = rng.random((roles.n_images, 4, 9)).astype(np.float32)
    labels = rng.integers(0, 3, roles.n_images)
    knn = IncrementalKNN(channels.copy(), labels, roles, K, metric)
    for _ in range(500):
        channel = int(rng.integers(4))
        knn.bind(channel)
        channels[:, channel] = 0.9 * channels[:, channel] + 0.1 * rng.random((roles.n_images, 9))
        knn.replace(np.array([channel]), channels[None, :, channel])
    knn.bind(0)
    fresh = IncrementalKNN(channels.copy(), labels, roles, K, metric)
    fresh.bind(0)
    # A channel of zeros leaves the distances within the others, on which all evaluations rest.
    candidates = np.stack([np.zeros_like(channels[:, 0]), channels[:, 0]])
    losses, _ = knn.query_losses(candidates, TEMPERATURE)
    np.testing.assert_array_equal(losses, fresh.query_losses(candidates, TEMPERATURE)[0])
    for candidate, found in zip(candidates, losses, strict=True):
        features = channels.copy()
        features[:, 0] = candidate
        expected = of_neighbors(features, labels, roles, metric)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
