import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics.pairwise import cosine_distances, euclidean_distances
from sklearn.neighbors import KNeighborsClassifier

from slicing.engine.votes import count_votes
from slicing.errors import InputError
from slicing.neighbors import exact as knn
from slicing.neighbors.exact import (
    NeighborSearch,
    kneighbors,
    least,
    measure,
)

METRICS = ("euclidean", "cosine")


def reference_order(queries, references, k, metric, leave_one_out=False):
    """Sort by (distance, index) with scikit-learn's distances in float64."""
    function = euclidean_distances if metric == "euclidean" else cosine_distances
    kwargs = {"squared": True} if metric == "euclidean" else {}
    distances = function(queries.astype(np.float64), references.astype(np.float64), **kwargs)
    if leave_one_out:
        np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, axis=1), order


def features(seed, n, d, scale=1.0):
    rng = np.random.default_rng(seed)
    return np.maximum(rng.normal(size=(n, d)) * scale, 0).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("axes", [0, 3])
@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
def test_what_a_proposal_leaves_possible_is_no_farther_than_the_reference(
    metric, axes, scale, monkeypatch
):
    monkeypatch.setattr(knn, "_AXES", axes or 1000)
    # Some nearly alike, some zero, some alike: float32 products and projections are off by most.
    references = 1 + 1e-3 * features(0, 300, 50)
    references[100:] = features(1, 200, 50)
    references[:3], references[10:20] = 0, references[20:30]
    search = NeighborSearch(references * np.float32(scale), metric, 300)
    points = search.references
    assert (points.points.shape[1] == 50) == (axes == 0)
    rows, columns, factor, slacks, errors, squares = search.proposals(points)
    proposals = rows @ columns
    inverses = points.inverse_lengths
    too_far = 0
    for i, j in np.ndindex(proposals.shape):
        distance = measure(
            points.features[i], points.features[j], inverses[i] * inverses[j], search.cosine
        )
        assert least(proposals[i, j], factor, slacks[i], errors[i], squares[i]) <= distance
        too_far += least(proposals[i, j], factor, 0.0, 0.0, squares[i]) > distance
    assert too_far > 0  # it is what the errors allow for


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [1, 9, 40])
def test_predictions_equal_scikit_learn(metric, k):
    queries, references = features(0, 200, 50), features(1, 400, 50)
    labels = np.random.default_rng(2).integers(0, 10, 400)
    _, indices = kneighbors(queries, references, k, metric)
    ours = count_votes(labels[indices], 10).argmax(axis=1)
    theirs = KNeighborsClassifier(k, algorithm="brute", metric=metric)
    # The same numbers in float64: in float32 scikit-learn's cosine is a float32 one.
    theirs.fit(references.astype(np.float64), labels)
    np.testing.assert_array_equal(ours, theirs.predict(queries.astype(np.float64)))


@pytest.mark.parametrize("metric", METRICS)
def test_predictions_equal_scikit_learn_with_every_point_twice(metric):
    # Copies carry the label of their original, as repeated images do.
    half = features(3, 150, 20)
    references = np.concatenate([half, half])
    labels = np.tile(np.random.default_rng(4).integers(0, 3, 150), 2)
    queries = np.concatenate([features(5, 100, 20), half[:50]])
    for k in (1, 2, 7, 10):
        _, indices = kneighbors(queries, references, k, metric)
        ours = count_votes(labels[indices], 3).argmax(axis=1)
        theirs = KNeighborsClassifier(k, algorithm="brute", metric=metric)
        theirs.fit(references.astype(np.float64), labels)
        np.testing.assert_array_equal(ours, theirs.predict(queries.astype(np.float64)))


def test_equal_votes_go_to_the_smallest_label():
    votes = count_votes(np.array([[2, 1, 1, 2], [0, 2, 2, 0]]), 3)
    np.testing.assert_array_equal(votes, [[0, 2, 2], [2, 0, 2]])
    np.testing.assert_array_equal(votes.argmax(axis=1), [1, 0])


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(2, 25), st.booleans())
def test_ties_take_the_lower_index(data, d, n, leave_one_out):
    # Whole numbers: every distance is exact, and most are shared.
    grid = st.integers(-2, 2).map(np.float32)
    references = data.draw(arrays(np.float32, (n, d), elements=grid))
    queries = references if leave_one_out else data.draw(arrays(np.float32, (7, d), elements=grid))
    k = data.draw(st.integers(1, n - leave_one_out))
    expected = reference_order(queries, references, k, "euclidean", leave_one_out)
    distances, indices = kneighbors(queries, references, k, "euclidean", leave_one_out)
    np.testing.assert_array_equal(indices, expected[1])
    np.testing.assert_array_equal(distances, expected[0])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(METRICS), st.sampled_from([1e-24, 1.0, 1e12, 1e36]))
def test_distances_are_those_of_float64(seed, metric, scale):
    if metric == "cosine":
        scale = max(scale, 1e-12)  # scikit-learn takes shorter vectors for zero
    queries, references = features(seed, 5, 30, scale), features(seed + 1, 40, 30, scale)
    references[3] = 0
    expected = reference_order(queries, references, 9, metric)
    distances, indices = kneighbors(queries, references, 9, metric)
    np.testing.assert_array_equal(indices, expected[1])
    np.testing.assert_allclose(distances, expected[0], rtol=1e-9, atol=1e-12 * min(scale, 1) ** 2)


def test_near_ties_that_float32_cannot_tell_apart():
    # A large common part hides differences in the float32 product; float64 must decide.
    rng = np.random.default_rng(0)
    base = rng.normal(size=300) * 100
    references = (base + rng.normal(size=(500, 300)) * 1e-3).astype(np.float32)
    queries = (base + rng.normal(size=(20, 300)) * 1e-3).astype(np.float32)
    exact = ((queries[:, None].astype(np.float64) - references) ** 2).sum(axis=2)
    _, indices = kneighbors(queries, references, 9)
    np.testing.assert_array_equal(indices, exact.argsort(axis=1)[:, :9])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scale", [1e-24, 1e-22, 1e-21, 1.0, 1e18, 1e36])
@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_projections_change_nothing(metric, scale, shift, monkeypatch):
    queries = (features(0, 60, 20) + np.float32(shift)) * np.float32(scale)
    references = (features(1, 300, 20) + np.float32(shift)) * np.float32(scale)
    references[7:10] = 0
    references[20:40] = references[40:60]
    exact = kneighbors(queries, references, 9, metric)
    for axes in (1, 3, 5):
        monkeypatch.setattr(knn, "_AXES", axes)
        search = knn.NeighborSearch(references, metric, len(queries))
        assert search.references.points.shape[1] == axes + 1
        for ours, expected in zip(search.search(queries, 9), exact, strict=True):
            np.testing.assert_array_equal(ours, expected)
    if scale < 1e-12 and metric == "cosine":
        return  # scikit-learn takes such short vectors for zero
    expected = reference_order(queries, references, 9, metric)
    np.testing.assert_array_equal(exact[1], expected[1])


def test_no_references():
    with pytest.raises(InputError, match="at least one"):
        kneighbors(features(0, 3, 4), features(0, 3, 4)[:0], 1)


def test_blocks_do_not_change_the_result(monkeypatch):
    references = features(0, 100, 10)
    whole = kneighbors(references, references, 5, leave_one_out=True)
    monkeypatch.setattr(knn, "_PROPOSALS", 700)
    parts = kneighbors(references, references, 5, leave_one_out=True)
    np.testing.assert_array_equal(whole[0], parts[0])
    np.testing.assert_array_equal(whole[1], parts[1])
    assert (whole[1] != np.arange(100)[:, None]).all()


@pytest.mark.parametrize(
    ("queries", "references", "kwargs", "words"),
    [
        (features(0, 3, 4), features(0, 3, 5), {"k": 1}, "shape"),
        (features(0, 3, 4), features(0, 3, 4), {"k": 4}, "3 references"),
        (features(0, 3, 4), features(0, 3, 4), {"k": 3, "leave_one_out": True}, "2 references"),
        (features(0, 3, 4), features(0, 3, 4), {"k": 0}, "k=0"),
        (features(0, 2, 4), features(0, 3, 4), {"k": 1, "leave_one_out": True}, "2 for 3"),
        (features(0, 3, 4), features(0, 3, 4), {"k": 1, "metric": "manhattan"}, "manhattan"),
        (features(0, 3, 4) * np.float32(np.nan), features(0, 3, 4), {"k": 1}, "not finite"),
        (features(0, 3, 4), features(0, 3, 4) + np.float32(np.inf), {"k": 1}, "not finite"),
    ],
)
def test_bad_input(queries, references, kwargs, words):
    with pytest.raises(InputError, match=words):
        kneighbors(queries, references, **kwargs)
