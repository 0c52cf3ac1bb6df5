import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slicing.neighbors.short_form import ShortForm, lengths


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 40),
    st.integers(0, 5),
    st.sampled_from([0.0, 1.0, 100.0]),
    st.sampled_from([1e-30, 1.0, 1e30]),
)
def test_no_distance_grows(seed, n_features, n_axes, shift, scale):
    rng = np.random.default_rng(seed)
    features = (rng.normal(size=(50, n_features)) + shift).astype(np.float32)
    features[::9] = features[1]
    features *= np.float32(scale)
    row_lengths = lengths(features)
    scales = np.full(50, 1.0 / row_lengths.max())
    short_form = ShortForm(features, scales, min(n_axes, n_features))
    points, slack = short_form(features, row_lengths, scales)
    assert points.shape == (50, min(n_axes, n_features) + 1 if n_axes else n_features)
    exact = features.astype(np.float64) * scales[:, None]
    distances = np.linalg.norm(exact[:, None] - exact, axis=2)
    short = np.linalg.norm(points[:, None].astype(np.float64) - points, axis=2)
    assert (short - slack[:, None] - slack <= distances * (1 + 1e-12)).all()
    # And it does say something.
    assert slack.max() < 0.02


def test_a_row_that_is_much_too_long_says_nothing():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(30, 8)).astype(np.float32)
    short_form = ShortForm(features, np.full(30, 0.1), 3)
    features[4] *= np.float32(1e30)
    points, slack = short_form(features, lengths(features), np.full(30, 0.1))
    assert np.isfinite(points).all()
    assert slack[4] == np.inf
    assert np.isfinite(np.delete(slack, 4)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_lengths_tell_what_is_not_finite(bad):
    features = np.ones((5, 3), np.float32)
    features[2, 1] = bad
    np.testing.assert_array_equal(np.isfinite(lengths(features)), [True, True, False, True, True])
