"""Scores of transferability, against their formulas written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from evolve.transfer import h_score, log_evidence
from slicing.engine.penalized import PenalizedDiscriminants
from tests.slicing.engine.test_penalized import features_of

SEEDS = st.integers(0, 2**32 - 1)


def h_score_by_formula(features, labels):
    """Give tr(cov(f)⁻¹ cov(E[f | y]))."""
    features = features.astype(float)
    means = np.stack([features[labels == label].mean(axis=0) for label in np.unique(labels)])
    place = np.searchsorted(np.unique(labels), labels)
    all_of, between = (
        np.atleast_2d(np.cov(each.T, bias=True)) for each in (features, means[place])
    )
    return np.trace(np.linalg.pinv(all_of, rcond=1e-9) @ between)


def evidence_by_formula(features, targets, alpha, beta):
    """Give the log density of targets of a Bayesian linear model whose constant may be any."""
    n, n_features = features.shape
    features, targets = features - features.mean(axis=0), targets - targets.mean()
    precision = alpha * np.eye(n_features) + beta * features.T @ features
    weights = beta * np.linalg.solve(precision, features.T @ targets)
    errors = np.sum((targets - features @ weights) ** 2)
    value = n_features * np.log(alpha) + (n - 1) * np.log(beta / (2 * np.pi))
    value -= np.linalg.slogdet(precision)[1] + beta * errors + alpha * weights @ weights
    return value / (2 * n)


def most_evidence(features, targets):
    """Search both precisions for the most evidence."""

    def loss(logarithms):
        return -evidence_by_formula(features, targets, *np.exp(np.clip(logarithms, -20, 20)))

    return -min(minimize(loss, start, method="Nelder-Mead").fun for start in ([0, 0], [2, 8]))


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.sampled_from([1, 5, 20, 60]), st.integers(2, 5))
def test_h_score_is_its_formula(seed, n_features, n_classes):
    features, labels = features_of(seed, 40, n_features, n_classes)
    found = h_score(PenalizedDiscriminants(features, labels))
    assert found == pytest.approx(h_score_by_formula(features, labels), rel=1e-3)
    assert 0 <= found <= min(n_features, n_classes - 1) * (1 + 1e-9)


@settings(max_examples=8, deadline=None)
@given(SEEDS, st.sampled_from([3, 10, 29, 60]))
def test_log_evidence_is_the_most_that_a_search_finds(seed, n_features):
    features, labels = features_of(seed, 30, n_features, apart=4.0)
    features /= features.std()
    found = log_evidence(PenalizedDiscriminants(features, labels))
    each = [most_evidence(features.astype(float), labels == label) for label in range(3)]
    assert found == pytest.approx(np.mean(each), abs=0.01)


def test_more_features_than_images_are_no_evidence():
    """Noise fits any labels where it has a feature an image: that tells nothing."""
    noise, labels = features_of(0, 40, 200, apart=0.0)
    one, _ = features_of(0, 40, 1, apart=0.0)
    telling = np.eye(3, dtype=np.float32)[labels] + 0.1 * noise[:, :3] / noise.std()
    values = [
        log_evidence(PenalizedDiscriminants(each, labels))
        for each in (noise, one, telling.astype(np.float32))
    ]
    assert values[0] == pytest.approx(values[1], abs=0.05)
    assert values[2] > max(values[:2]) + 0.5


def test_features_that_never_vary_have_the_evidence_of_none():
    labels = np.arange(40) % 2
    found = PenalizedDiscriminants(np.ones((40, 5), np.float32), labels)
    assert h_score(found) == 0
    # Targets of variance 1/4, of whose freedom their mean takes one.
    expected = 39 * (np.log(39 / 10 / (2 * np.pi)) - 1) / 80
    assert log_evidence(found) == pytest.approx(expected)
