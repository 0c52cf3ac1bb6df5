"""Penalized discriminants, against fits that are written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from slicing.engine.penalized import PenalizedDiscriminants


def features_of(seed, n=60, n_features=12, n_classes=3, apart=1.0):
    """Features whose classes lie ``apart``, with labels."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % n_classes)
    features = rng.normal(size=(n, n_features)) @ rng.normal(size=(n_features, n_features))
    features += apart * rng.normal(size=(n_classes, n_features))[labels] + rng.normal(size=1)
    return features.astype(np.float32), labels


def left_out(features, labels, ridge):
    """Fit a ridge regression with a constant without each image: what it gives for that image."""
    features, targets = features.astype(float), np.eye(labels.max() + 1)[labels]
    answers = []
    for row in range(len(features)):
        others = np.arange(len(features)) != row
        middle, share = features[others].mean(axis=0), targets[others].mean(axis=0)
        centered = features[others] - middle
        products = centered.T @ centered + ridge * np.eye(features.shape[1])
        weights = np.linalg.solve(products, centered.T @ (targets[others] - share))
        answers.append(share + (features[row] - middle) @ weights)
    return np.array(answers), targets


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([5, 12, 29, 30, 50]))
def test_leaving_out_is_fitting_without(seed, n_features):
    features, labels = features_of(seed, 30, n_features)
    found = PenalizedDiscriminants(features, labels).regression
    answers, targets = left_out(features, labels, found.ridge)
    assert found.loss == pytest.approx(np.mean(np.sum((targets - answers) ** 2, axis=1)), rel=1e-4)
    assert found.accuracy == np.mean(answers.argmax(axis=1) == labels)
    # No other ridge that is tried, near or far, leaves a smaller loss.
    for factor in (1e-3, 10**-0.25, 10**0.25, 1e3):
        others, _ = left_out(features, labels, found.ridge * factor)
        loss = np.mean(np.sum((targets - others) ** 2, axis=1))
        assert loss > found.loss * (1 - 1e-6) or _is_at_the_end(features, found.ridge, factor)


def _is_at_the_end(features, ridge, factor):
    """Whether ``factor`` leads out of the ridges that are tried."""
    squares = np.linalg.svd(features - features.mean(axis=0), compute_uv=False) ** 2
    squares = squares[squares > squares[0] * 1e-9]
    return not 0.9e-4 < ridge * factor / squares.mean() < 10**2.8


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_tall_and_wide_features_give_the_same(seed):
    features, labels = features_of(seed, 40, 15)
    # The same features, and more that never vary: more features than images.
    wide = np.hstack([features, np.full((40, 30), 0.5, np.float32)])
    tall, wide = PenalizedDiscriminants(features, labels), PenalizedDiscriminants(wide, labels)
    np.testing.assert_allclose(wide.axes.squares, tall.axes.squares, rtol=1e-4)
    np.testing.assert_allclose(wide.regression, tall.regression, rtol=1e-4)
    weights, expected = wide.weights(2), tall.weights(2)
    signs = np.sign(np.sum(weights[:15] * expected, axis=0))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(weights[:15] * signs, expected, atol=1e-3 * scale)
    np.testing.assert_allclose(weights[15:], 0, atol=1e-6 * scale)


def test_discriminants_of_many_images_are_fishers():
    features, labels = features_of(0, 3000, 6, 4)
    found = PenalizedDiscriminants(features, labels)
    projected = (features - found.axes.mean) @ found.weights(3)
    theirs = LinearDiscriminantAnalysis(solver="svd").fit(features, labels).transform(features)
    # An axis may point either way.
    np.testing.assert_allclose(np.abs(projected), np.abs(theirs), rtol=0.02, atol=0.02)
    means = np.stack([projected[labels == label].mean(axis=0) for label in range(4)])
    within = np.cov((projected - means[labels]).T)
    np.testing.assert_allclose(within, np.eye(3), atol=0.02)


@pytest.mark.parametrize("n_features", [10, 80])
def test_a_class_without_images_changes_nothing(n_features):
    features, labels = features_of(1, 60, n_features)
    plain = PenalizedDiscriminants(features, labels)
    gap = PenalizedDiscriminants(features, np.array([0, 2, 5])[labels])
    assert gap.regression == plain.regression
    np.testing.assert_array_equal(gap.weights(2), plain.weights(2))
    np.testing.assert_array_equal(gap.counts, [20, 20, 20])


@pytest.mark.parametrize("n_features", [10, 25, 80])
def test_copies_have_the_axes_of_their_images(n_features):
    features, labels = features_of(2, 30, n_features)
    once = PenalizedDiscriminants(features, labels)
    twice = PenalizedDiscriminants(np.tile(features, (2, 1)), np.tile(labels, 2))
    np.testing.assert_allclose(twice.axes.squares, 2 * once.axes.squares, rtol=1e-4)
    assert np.isfinite(twice.weights(2)).all()
    # The copy of an image that is left out still teaches.
    assert twice.regression.accuracy >= once.regression.accuracy


@pytest.mark.parametrize("shape", [(40, 6), (12, 30)])
def test_features_that_never_vary_tell_nothing(shape):
    labels = np.arange(shape[0]) % 2
    found = PenalizedDiscriminants(np.full(shape, 0.1, np.float32), labels)
    assert found.regression.accuracy <= 0.5
    np.testing.assert_array_equal(found.weights(1), np.zeros((shape[1], 1)))
