import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slicing.errors import InputError
from slicing.stack import Conv, ConvStack, Pool, forward

RNG = np.random.default_rng(0)


def conv(size, c_in, c_out, **kwargs):
    weights = RNG.normal(size=(*size, c_in, c_out)).astype(np.float32)
    return Conv(weights, RNG.normal(size=c_out).astype(np.float32), **kwargs)


def pads(length, window, stride, padding):
    """Output length, and padding before and after, by TensorFlow's documented rule."""
    if padding == "valid":
        return (length - window) // stride + 1, 0, 0
    out = -(-length // stride)
    total = max((out - 1) * stride + window - length, 0)
    return out, total // 2, total - total // 2


def slow(layer, images):
    """The same layer by plain loops in float64."""
    is_conv = isinstance(layer, Conv)
    size = layer.weights.shape[:2] if is_conv else layer.size
    (rows, top, bottom), (cols, left, right) = (
        pads(images.shape[1 + a], size[a], layer.strides[a], layer.padding) for a in (0, 1)
    )
    fill = 0.0 if is_conv else np.nan
    padded = np.pad(
        images.astype(np.float64),
        ((0, 0), (top, bottom), (left, right), (0, 0)),
        constant_values=fill,
    )
    out = []
    for row in range(rows):
        for col in range(cols):
            y, x = row * layer.strides[0], col * layer.strides[1]
            window = padded[:, y : y + size[0], x : x + size[1]]
            if is_conv:
                value = np.einsum("nijc,ijco->no", window, layer.weights) + layer.bias
                out.append(np.maximum(value, 0) if layer.relu else value)
            else:
                out.append((np.nanmax if layer.kind == "max" else np.nanmean)(window, axis=(1, 2)))
    return np.stack(out, axis=1).reshape(len(images), rows, cols, -1)


sizes = st.tuples(st.integers(1, 4), st.integers(1, 4))
strides = st.tuples(st.integers(1, 3), st.integers(1, 3))
paddings = st.sampled_from(["valid", "same"])
shapes = st.tuples(st.integers(4, 9), st.integers(4, 9), st.integers(1, 3))


@settings(max_examples=60, deadline=None)
@given(shapes, sizes, strides, paddings, st.integers(1, 5), st.booleans())
def test_convolution_equals_the_definition(shape, size, stride, padding, c_out, relu):
    images = RNG.random((3, *shape), dtype=np.float32)
    layer = conv(size, shape[2], c_out, strides=stride, padding=padding, relu=relu)
    out = forward([layer], images)
    assert out.dtype == np.float32
    assert out.shape[1:] == layer.output_shape(shape)
    np.testing.assert_allclose(out, slow(layer, images), rtol=1e-4, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(shapes, sizes, strides, paddings, st.sampled_from(["max", "average"]))
def test_pooling_equals_the_definition(shape, size, stride, padding, kind):
    images = RNG.normal(size=(3, *shape)).astype(np.float32)
    layer = Pool(kind, size, stride, padding)
    out = forward([layer], images)
    assert out.shape[1:] == layer.output_shape(shape)
    np.testing.assert_allclose(out, slow(layer, images), rtol=1e-6, atol=1e-7)


def lenet():
    return ConvStack((conv((3, 3), 1, 4), Pool(), conv((3, 3), 4, 6), Pool()), (28, 28, 1))


def test_features_are_in_the_order_of_flatten():
    stack = lenet()
    images = RNG.random((5, 28, 28, 1), dtype=np.float32)
    assert stack.feature_shape == (5, 5, 6)
    expected = images
    for layer in stack.layers:
        expected = slow(layer, expected)
    np.testing.assert_allclose(stack.forward(images), expected.reshape(5, -1), rtol=1e-4, atol=1e-4)


def test_chunks_and_threads_do_not_change_the_features():
    stack = lenet()
    images = RNG.random((1030, 28, 28, 1), dtype=np.float32)
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    whole = stack.forward(images)
    numba.set_num_threads(1)
    alone = np.concatenate([stack.forward(images[:7]), stack.forward(images[7:])])
    np.testing.assert_array_equal(whole, alone)


def test_with_conv_replaces_one_layer_of_a_copy():
    stack = lenet()
    other = conv((3, 3), 4, 6)
    changed = stack.with_conv(1, other)
    assert changed.convs == (stack.convs[0], other)
    assert stack.convs[1] is not other
    assert changed.n_parameters == stack.n_parameters == 40 + 222


@pytest.mark.parametrize("layers", [(), (Pool("average"),)])
def test_without_convolutions_the_features_are_the_pixels_or_their_means(layers):
    images = np.random.default_rng(0).random((7, 4, 6, 3), np.float32)
    stack = ConvStack(layers, (4, 6, 3))
    expected = images.reshape(7, 2, 2, 3, 2, 3).mean(axis=(2, 4)) if layers else images
    np.testing.assert_allclose(stack.forward(images), expected.reshape(7, -1), rtol=1e-6)
    assert (stack.convs, stack.n_parameters, stack.stages) == ((), 0, ())
    assert stack.equals(ConvStack(layers, (4, 6, 3)))


def test_an_empty_batch_has_no_features():
    assert forward(lenet().layers, np.empty((0, 28, 28, 1), np.float32)).shape == (0, 5, 5, 6)


def test_nan_is_not_rectified_away():
    images = np.full((1, 4, 4, 1), np.nan, np.float32)
    stack = ConvStack((conv((3, 3), 1, 2), Pool()), (4, 4, 1))
    assert np.isnan(stack.forward(images)).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ConvStack((), (2**32, 2**32, 1)), "too large: each takes"),
        (lambda: ConvStack((Pool(),), (2**15, 2**15, 1)), "too large: each takes"),
        (lambda: ConvStack((conv((3, 3), 2, 4),), (8, 8, 1)), "expects 2 input channels"),
        (lambda: ConvStack((conv((3, 3), 1, 4), Pool()), (3, 3, 1)), "too small for layer 2"),
        (lambda: lenet().forward(np.zeros((1, 27, 28, 1), np.float32)), r"\(27, 28, 1\)"),
    ],
)
def test_what_does_not_fit_is_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()
