import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolve.fitness.candidate_convolution import CandidateConvolution
from evolve.fitness.convolution_kernels import LANES
from slicing.stack import Pool


def pad(size, window, stride, padding):
    """Return the number of windows and the padding on both sides, as in Keras."""
    if padding == "valid":
        return (size - window) // stride + 1, (0, 0)
    count = -(-size // stride)
    total = max((count - 1) * stride + window - size, 0)
    return count, (total // 2, total - total // 2)


def windows(x, size, strides, padding, fill):
    """Return all windows of (..., height, width): (..., rows, columns, *size)."""
    counts, pads = zip(*map(pad, x.shape[-2:], size, strides, (padding, padding)), strict=True)
    if min(counts) < 1:
        return None
    x = np.pad(x, [(0, 0)] * (x.ndim - 2) + list(pads), constant_values=fill)
    views = np.lib.stride_tricks.sliding_window_view(x, size, axis=(-2, -1))
    views = views[..., :: strides[0], :: strides[1], :, :]
    return views[..., : counts[0], : counts[1], :, :]


def reference(images, weights, bias, strides, padding, relu, pool):
    """Convolve, activate and pool in float64; give a bound of float32's rounding errors, too."""
    x = np.moveaxis(images.astype(float), 3, 1)
    patches = windows(x, weights.shape[1:3], strides, padding, 0.0)
    if patches is None:
        return None
    weights, bias = weights.astype(float), bias.astype(float)[:, None, None, None]
    y = np.einsum("ncyxij,pijc->pnyx", patches, weights, optimize=True) + bias
    squares = np.einsum("ncyxij,pijc->pnyx", patches**2, weights**2, optimize=True) + bias**2
    # The partial sums walk at random to y: the mean of their squares is about y²/3 + squares/2.
    # Each is rounded by at most its 2^-24, evenly distributed: a deviation of 2^-24 / sqrt(3).
    # Six deviations of all n of them bound the error.
    n_terms = weights[0].size + 1
    if pool is not None and pool.kind == "average":
        n_terms += np.prod(pool.size)
    bound = 6 * 2.0**-24 / np.sqrt(3) * np.sqrt(n_terms * (y**2 / 3 + squares / 2))
    if relu:
        y = np.maximum(y, 0)
    if pool is not None:
        y, bound = (windows(z, pool.size, pool.strides, pool.padding, np.nan) for z in (y, bound))
        if y is None:
            return None
        y = (np.nanmax if pool.kind == "max" else np.nanmean)(y, axis=(-2, -1))
        bound = np.nanmax(bound, axis=(-2, -1))
    return y.reshape(*y.shape[:2], -1), bound.reshape(*bound.shape[:2], -1)


def make(rng, n, images, height, width, channels, kernel):
    return (
        rng.standard_normal((images, height, width, channels), dtype=np.float32),
        rng.standard_normal((n, *kernel, channels), dtype=np.float32),
        rng.standard_normal(n, dtype=np.float32),
    )


def loaded(images, kernel, *args, **options):
    convolve = CandidateConvolution(images.shape, kernel, *args, **options)
    convolve.load(images)
    return convolve


def assert_close(result, expected, weights):
    values, bound = expected
    # The bound is for the worst; most numbers are closer, but for those that are large themselves.
    scale = np.sqrt(weights[0].size) + 1
    bound = np.minimum(bound, 2e-6 * np.maximum(scale, np.abs(values) / 2))
    excess = np.abs(result - values) - bound
    assert np.all(excess <= 0), f"up to {excess.max()} beyond the rounding errors"


small = st.integers(1, 4)
paddings = st.sampled_from(["valid", "same"])
pools = st.none() | st.builds(
    Pool,
    kind=st.sampled_from(["max", "average"]),
    size=st.tuples(small, small),
    strides=st.tuples(small, small),
    padding=paddings,
)


@settings(deadline=None, max_examples=300)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 23),
    images=st.integers(1, 2 * LANES + 3),
    size=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    channels=st.integers(1, 9),
    kernel=st.tuples(small, small),
    strides=st.tuples(small, small),
    padding=paddings,
    relu=st.booleans(),
    pool=pools,
)
def test_equals_the_reference(
    seed, n, images, size, channels, kernel, strides, padding, relu, pool
):
    x, weights, bias = make(np.random.default_rng(seed), n, images, *size, channels, kernel)
    expected = reference(x, weights, bias, strides, padding, relu, pool)
    if expected is None:
        with pytest.raises(ValueError, match="too short"):
            loaded(x, kernel, strides, padding, relu, pool)
        return
    result = loaded(x, kernel, strides, padding, relu, pool)(weights, bias)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    assert_close(result, expected, weights)


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 64),
    images=st.integers(1, 2 * LANES + 3),
    size=st.tuples(st.integers(4, 16), st.integers(4, 16)),
    channels=st.integers(2, 20).map(lambda half: 2 * half),
    padding=paddings,
    relu=st.booleans(),
)
def test_winograd_equals_the_reference(seed, n, images, size, channels, padding, relu):
    x, weights, bias = make(np.random.default_rng(seed), n, images, *size, channels, (3, 3))
    convolve = loaded(x, (3, 3), padding=padding, relu=relu, pool=Pool("max"))
    assert convolve.winograd
    expected = reference(x, weights, bias, (1, 1), padding, relu, Pool("max"))
    assert_close(convolve(weights, bias), expected, weights)


@pytest.mark.parametrize("kernel", [(3, 3), (2, 3)], ids=["winograd", "direct"])
def test_bits_depend_neither_on_threads_nor_on_the_batch(kernel):
    x, weights, bias = make(np.random.default_rng(0), 23, 3 * LANES + 1, 13, 13, 32, kernel)
    convolve = loaded(x, kernel, pool=Pool("max"))
    assert convolve.winograd == (kernel == (3, 3))
    numba.set_num_threads(1)
    expected = convolve(weights, bias)
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    np.testing.assert_array_equal(convolve(weights, bias), expected)
    for first in range(0, 23, 4):
        for last in range(first + 1, 24):
            part = convolve(weights[first:last], bias[first:last])
            np.testing.assert_array_equal(part, expected[first:last])
    # An image's features do not depend on its neighbors either.
    np.testing.assert_array_equal(
        loaded(x[5:9], kernel, pool=Pool("max"))(weights, bias), expected[:, 5:9]
    )


@pytest.mark.parametrize("kernel", [(3, 3), (2, 3)], ids=["winograd", "direct"])
def test_not_a_number_shows(kernel):
    x, weights, bias = make(np.random.default_rng(0), 3, 5, 6, 6, 8, kernel)
    weights[1, 0, 0, 0] = np.nan
    result = loaded(x, kernel, pool=Pool("max"))(weights, bias)
    assert np.isnan(result[1]).all()
    assert np.isfinite(result[[0, 2]]).all()


def test_images_may_come_in_pieces():
    x, weights, bias = make(np.random.default_rng(0), 3, 50, 13, 13, 4, (3, 3))
    whole = loaded(x, (3, 3), pool=Pool("max"))
    pieces = CandidateConvolution(x.shape, (3, 3), pool=Pool("max"))
    for first in range(0, 50, 7):
        pieces.load(x[first : first + 7], first)
    np.testing.assert_array_equal(pieces(weights, bias), whole(weights, bias))


def test_out_is_reused_and_no_candidate_is_no_error():
    x, weights, bias = make(np.random.default_rng(0), 3, 5, 6, 6, 8, (3, 3))
    convolve = loaded(x, (3, 3), pool=Pool("max"))
    out = np.empty((3, 5, 4), np.float32)
    assert convolve(weights, bias, out) is out
    np.testing.assert_array_equal(out, convolve(weights, bias))
    assert convolve(weights[:0], bias[:0]).shape == (0, 5, 4)


def test_wrong_shapes_are_named():
    x, weights, bias = make(np.random.default_rng(0), 3, 5, 6, 6, 8, (3, 3))
    convolve = loaded(x, (3, 3))
    with pytest.raises(ValueError, match=r"\(3, 3, 3, 7\).*\(3, 3, 8\)"):
        convolve(weights[..., :7], bias)
    with pytest.raises(ValueError, match=r"\(2,\)"):
        convolve(weights, bias[:2])
    with pytest.raises(ValueError, match="out has shape"):
        convolve(weights, bias, np.empty((3, 5, 9), np.float32))
    with pytest.raises(ValueError, match="do not fit"):
        convolve.load(x, 1)


@pytest.mark.parametrize("channels", [1, 4])  # the direct form, and Winograd's
@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("kind", ["max", "average"])
def test_a_nan_survives_the_pooling(channels, place, kind):
    # One of the four pixels of the only window is NaN, wherever it lies.
    images = np.ones((3, 4, 4, channels), np.float32)
    images[1, 3 * (place // 2), 3 * (place % 2), 0] = np.nan
    convolve = loaded(images, (3, 3), pool=Pool(kind))
    assert convolve.winograd == (channels == 4 and kind == "max")
    out = convolve(np.ones((2, 3, 3, channels), np.float32), np.zeros(2, np.float32))
    np.testing.assert_array_equal(np.isnan(out[:, :, 0]), [[False, True, False]] * 2)
