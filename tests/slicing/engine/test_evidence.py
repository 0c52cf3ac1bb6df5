"""What answers rest on: distances, margins, and a confidence that comes true."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import pairwise_distances, roc_auc_score

from slicing import tensor_file
from slicing.data import Images
from slicing.engine.engine import Engine
from slicing.engine.evidence import Confidence, Evidence, evidence_of
from slicing.errors import InputError
from slicing.stack import Conv, ConvStack, Pool

CLASSES = ("a", "b", "c")


def some(n, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    images = 0.3 * rng.random((n, 9, 8, 1), dtype=np.float32)
    images[np.arange(n), 2 * labels + 1] += 0.1 * rng.random((n, 8, 1), dtype=np.float32)
    return Images(images, labels)


@pytest.fixture(params=["euclidean", "cosine"])
def engine(request):
    rng = np.random.default_rng(0)
    conv = Conv(rng.normal(size=(3, 3, 1, 4)).astype(np.float32), np.zeros(4, np.float32))
    stack = ConvStack((conv, Pool()), (9, 8, 1))
    return Engine.fit(stack, some(60, 1), CLASSES, 5, request.param)


@pytest.mark.parametrize("n", [2, 40])  # few are searched in another way than many
def test_distances_and_margins_are_those_of_scikit_learns_distances(engine, n):
    images = some(n, 2).images
    found = engine.evidence(images)
    np.testing.assert_array_equal(found.labels, engine.predict_labels(images))
    np.testing.assert_array_equal(found.shares, engine.predict_proba(images))
    metric = {"euclidean": "sqeuclidean", "cosine": "cosine"}[engine.metric]
    queries, references = (
        each.astype(float) for each in (engine.features(images), engine.references)
    )
    all_distances = pairwise_distances(queries, references, metric)
    for row, label, distance, margin in zip(
        all_distances, found.labels, found.distances, found.margins, strict=True
    ):
        to_answer, to_other = (
            row[engine.labels == label].min(), row[engine.labels != label].min()
        )  # fmt: skip
        assert distance == pytest.approx(to_answer, rel=1e-9)
        assert margin == pytest.approx((to_other - to_answer) / (to_other + to_answer), abs=1e-9)
    nearest = engine.kneighbors(images)[0][:, 0]
    np.testing.assert_array_equal(found.distances[found.margins > 0], nearest[found.margins > 0])
    assert found.confidences is None


def test_margins_have_limits():
    votes = np.array([[3, 0], [2, 1], [2, 1], [2, 1], [2, 1]])
    distances = np.array([[0.0, 2.0], [1.0, 1.0], [0.0, 0.0], [3.0, 1.0], [1.0, np.inf]])
    found = evidence_of(votes, distances, np.ones(5), Confidence(0.0, 1.0, 1.0, 9.0, 0.0))
    assert found.margins.tolist() == [1, 0, 0, -0.5, 1]
    assert np.isfinite(found.confidences).all()


def test_an_engine_of_one_class_has_no_doubt(engine):
    one = replace(engine.remove_class("a").remove_class("b"))
    assert (one.evidence(some(4, 2).images).margins == 1).all()


def answers(shares, margins):
    """Evidence of two classes, as a confidence is learned from it."""
    n = len(shares)
    both = np.column_stack([shares, 1 - shares])
    return Evidence(np.zeros(n, int), both, np.ones(n), margins, None, None)


def planted(n, weights, seed):
    """Answers that are right as often as a logistic regression of known weights says."""
    rng = np.random.default_rng(seed)
    shares = rng.integers(3, 6, n) / 5
    margins = rng.uniform(-0.5, 0.99, n)
    probabilities = Confidence(*weights, 1.0, 0.0)(shares, margins)
    return shares, margins, rng.random(n) < probabilities


def test_a_known_calibration_is_found():
    weights = (-2.0, 1.5, 0.8)
    *observed, is_right = planted(40_000, weights, 0)
    found = Confidence.fit(answers(*observed), np.ones(40_000), is_right)
    assert (found.intercept, found.share, found.log_ratio) == pytest.approx(weights, abs=0.15)
    shares, margins, is_right = planted(40_000, weights, 1)
    confidences = found(shares, margins)
    for low in np.arange(0, 1, 0.1):
        chosen = (confidences >= low) & (confidences < low + 0.1)
        if chosen.sum() > 500:
            assert confidences[chosen].mean() == pytest.approx(is_right[chosen].mean(), abs=0.05)
    assert roc_auc_score(is_right, confidences) > roc_auc_score(is_right, shares) + 0.1


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 30), st.integers(0, 100), st.sampled_from(["right", "wrong", "mixed", "split"])
)
def test_few_answers_promise_no_certainty(n, seed, kind):
    rng = np.random.default_rng(seed)
    shares, margins = rng.integers(5, 10, n) / 9, rng.uniform(-1, 1, n)
    is_right = {
        "right": np.ones(n, bool),
        "wrong": np.zeros(n, bool),
        "mixed": rng.random(n) < 0.5,
        "split": margins > 0,  # the margin alone tells all of them
    }[kind]
    found = Confidence.fit(answers(shares, margins), np.ones(n), is_right)
    confidences = found(shares, margins)
    assert np.isfinite(confidences).all()
    # A logistic regression keeps the mean of what it aims at.
    n_right = is_right.sum()
    aims = np.where(is_right, (n_right + 1) / (n_right + 2), 1 / (n - n_right + 2))
    assert confidences.mean() == pytest.approx(aims.mean(), abs=0.001)


def test_an_engine_learns_its_confidence_and_keeps_it(engine, tmp_path):
    held_out, unseen = some(400, 3), some(400, 4)
    learned = engine.calibrated(held_out)
    found = learned.evidence(unseen.images)
    is_right = found.labels == unseen.labels
    like = ~found.outliers
    assert like.mean() > 0.98
    assert roc_auc_score(is_right[like], found.confidences[like]) > 0.55
    assert np.nanmean(found.confidences) == pytest.approx(is_right.mean(), abs=0.1)
    np.testing.assert_array_equal(found.labels, engine.predict_labels(unseen.images))
    path = tmp_path / "engine.safetensors"
    learned.save(path)
    assert path.stat().st_size == learned.total_bytes < engine.total_bytes + 170
    loaded = Engine.load(path)
    assert loaded.confidence == learned.confidence
    np.testing.assert_array_equal(loaded.evidence(unseen.images).confidences, found.confidences)
    with pytest.raises(InputError, match="at least one"):
        engine.calibrated(held_out[:0])


def test_what_is_unlike_all_that_taught_the_confidence_has_none(engine):
    held_out = some(99, 3)
    learned = engine.calibrated(held_out)
    assert not learned.evidence(held_out.images).outliers.any()
    flat = np.ones((3, 9, 8, 1), np.float32) * np.array([0, 0.3, 1]).reshape(3, 1, 1, 1)
    # What is brighter than all is farther, but not by the cosine.
    bright = np.random.default_rng(0).random((4, 9, 8, 1), np.float32)
    images = np.concatenate([flat.astype(np.float32), bright, held_out.images[:2]])
    found = learned.evidence(images)
    are_far = engine.metric == "euclidean"
    assert found.outliers.tolist() == [True] * 3 + [are_far] * 4 + [False] * 2
    assert np.isnan(found.confidences).tolist() == found.outliers.tolist()
    # They are answered all the same, and rest on what they rest on.
    before = engine.evidence(images)
    for name in ("labels", "shares", "distances", "margins"):
        np.testing.assert_array_equal(getattr(found, name), getattr(before, name))
    certainties = found.certainties()
    assert certainties[:3] == [(None, True)] * 3
    assert certainties[7:] == [(each, False) for each in found.confidences[7:].tolist()]
    assert before.certainties() == [(None, None)] * 9


def test_images_alike_are_rarely_outliers():
    n, engines = 60, 50
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(engines):
        # The rule sees distances and contrasts alone.
        taught, new = rng.exponential(size=(2, n, 2))
        confidence = Confidence(0.0, 0.0, 0.0, float(taught[:, 0].max()), float(taught[:, 1].min()))
        rates.append(confidence.outliers(*new.T).mean())
    assert np.mean(rates) == pytest.approx(2 / (n + 1), abs=0.015)


def test_other_classes_have_no_confidence(engine):
    learned = engine.calibrated(some(60, 3))
    assert learned.add_class(some(3, 5).images, "d").confidence is None
    assert learned.remove_class("a").confidence is None


@pytest.mark.parametrize(
    "weights",
    [
        [1.0, 2.0, 3.0],
        [1.0, 2.0, 3.0, 4.0, "5"],
        [1.0, 2.0, 3.0, 4.0, None],
        "abcde",
        5,
        [1.0, 2.0, 3.0, 4.0, float("inf")],
    ],
)
def test_a_confidence_that_is_none_is_refused(engine, weights, tmp_path):
    path = tmp_path / "engine"
    engine.calibrated(some(60, 3)).save(path)
    kind = "knn-slicing engine 1"
    settings, arrays = tensor_file.read(path, kind)
    path.write_bytes(tensor_file.pack(kind, settings | {"confidence": weights}, arrays))
    with pytest.raises(InputError, match="fits together"):
        Engine.load(path)
