from functools import partial
from inspect import signature

import numpy as np
import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from keras import layers

from slicing import cutting
from slicing.cutting import cut
from slicing.errors import InputError
from slicing.stack import Conv, Pool
from tests.slicing.test_cutting import (
    assert_agrees,
    images,
    one_dnn_is_wrong,
    randomize,
    sequential,
)

CONV = st.builds(
    partial,
    st.just(layers.Conv2D),
    filters=st.integers(1, 3),
    kernel_size=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.integers(1, 2),
    padding=st.sampled_from(["valid", "same"]),
    activation=st.sampled_from(["linear", "relu"]),
)
BETWEEN = st.one_of(
    st.builds(partial, st.just(layers.BatchNormalization)),
    st.builds(partial, st.just(layers.Rescaling), st.floats(-2, 2), st.floats(-1, 1)),
    st.builds(partial, st.just(layers.Normalization)),
    st.builds(partial, st.just(layers.ReLU)),
    st.builds(
        partial,
        st.just(layers.MaxPooling2D),
        st.just(2),
        st.just(1),
        st.sampled_from(["valid", "same"]),
    ),
    st.builds(
        partial,
        st.just(layers.AveragePooling2D),
        st.just(2),
        st.just(1),
        st.sampled_from(["valid", "same"]),
    ),
    st.builds(partial, st.just(layers.GaussianNoise), st.just(1.0)),
)
CHAIN = st.builds(
    lambda before, conv, after: [*before, conv, *after],
    st.lists(BETWEEN, max_size=3),
    CONV,
    st.lists(BETWEEN | CONV, max_size=5),
)


def random_model(chain, shape):
    model = randomize(sequential(*chain, layers.Flatten(), shape=shape))
    for layer in model.layers:
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()  # takes the weights that were drawn
    return model


@settings(max_examples=60, deadline=None)
@given(CHAIN, st.tuples(st.integers(5, 9), st.integers(5, 9), st.integers(1, 3)))
def test_whatever_stands_between_convolutions_is_folded_in_exactly(chain, shape):
    try:
        model = random_model([make() for make in chain], shape)
    except ValueError:  # Keras refuses windows larger than what is left of the image
        reject()
    assume(not any(map(one_dnn_is_wrong, model.layers)))
    stack = assert_agrees(model)
    assert all(isinstance(layer, Conv | Pool) for layer in stack.layers)


def sizes(stack):
    return [conv.weights.shape[:2] for conv in stack.convs]


SCALED = {
    "[0, 255]": layers.Rescaling(1 / 255),
    "[-1, 1]": layers.Rescaling(2, offset=-1),
    "each channel": layers.Rescaling([2, 3], offset=[-1, 1]),
    "standardized": layers.Normalization(mean=[0.2, 0.4], variance=[0.1, 0.2]),
    "one number": layers.Normalization(axis=None, mean=0.3, variance=0.1),
    "inverted": layers.Normalization(mean=[0.2, 0.4], variance=[0.1, 0.2], invert=True),
    "batch norm": layers.BatchNormalization(),
}


@pytest.mark.parametrize("scaling", SCALED)
def test_the_range_of_the_pixels_is_folded_into_the_first_convolution(scaling):
    conv = layers.Conv2D(3, 3, activation="relu")
    assert sizes(assert_agrees(random_model([SCALED[scaling], conv], (9, 8, 2)))) == [(3, 3)]


def test_zeros_of_a_padding_stay_zeros_of_the_range_that_the_network_knows():
    same = layers.Conv2D(3, 3, padding="same")
    shifted = assert_agrees(random_model([layers.Rescaling(2, -1), same], (9, 8, 2)))
    assert sizes(shifted) == [(1, 1), (3, 3)]
    scaled = assert_agrees(random_model([layers.Rescaling(2), same], (9, 8, 2)))
    assert sizes(scaled) == [(3, 3)]
    # Here, no window reaches beyond the image.
    single = layers.Conv2D(3, 1, padding="same")
    assert sizes(assert_agrees(random_model([layers.Rescaling(2, -1), single], (9, 8, 2)))) == [
        (1, 1)
    ]


def test_batch_normalization_behind_a_relu_goes_into_the_next_convolution():
    norm = layers.BatchNormalization
    chain = [
        *(layers.Conv2D(3, 3, activation="relu"), norm(gamma_constraint="non_neg")),
        *(layers.AveragePooling2D(2), layers.Conv2D(2, 2, activation="relu")),
    ]
    assert sizes(assert_agrees(random_model(chain, (9, 8, 2)))) == [(3, 3), (2, 2)]
    last = [layers.Conv2D(3, 3, activation="relu"), norm()]
    assert sizes(assert_agrees(random_model(last, (9, 8, 2)))) == [(3, 3), (1, 1)]


def test_a_relu_behind_max_pooling_belongs_to_the_convolution():
    chain = [layers.Conv2D(3, 3), layers.MaxPooling2D(), layers.MaxPooling2D(1), layers.ReLU()]
    [conv, *_] = assert_agrees(random_model(chain, (9, 8, 2))).layers
    assert conv.relu


def test_zero_padding_before_a_convolution_becomes_its_own():
    chain = [layers.Rescaling(2, -1), layers.ZeroPadding2D(((1, 2), (1, 1))), layers.Dropout(0.5)]
    conv = layers.Conv2D(3, (4, 3), activation="relu")
    shift, padded = assert_agrees(random_model([*chain, conv], (9, 8, 2))).layers
    assert padded.padding == "same"
    assert shift.weights.shape[:2] == (1, 1)


@pytest.mark.parametrize(
    "chain",
    [
        lambda: [layers.ZeroPadding2D(2), layers.Conv2D(3, 3)],
        lambda: [layers.ZeroPadding2D(1), layers.Conv2D(3, 3, strides=2)],
        lambda: [layers.ZeroPadding2D(1), layers.Conv2D(3, 3, padding="same")],
        lambda: [layers.ZeroPadding2D(1), layers.MaxPooling2D(), layers.Conv2D(3, 3)],
        lambda: [layers.ZeroPadding2D(1), layers.ZeroPadding2D(1), layers.Conv2D(3, 5)],
        lambda: [layers.Conv2D(3, 5), layers.ZeroPadding2D(1)],
        lambda: [layers.Conv2D(3, 5), layers.ZeroPadding2D(1), layers.Flatten()],
    ],
)
def test_other_zero_padding_is_refused(chain):
    model = sequential(*chain(), shape=(8, 8, 2))
    with pytest.raises(InputError, match=r"\(ZeroPadding2D\) cannot be cut"):
        cut(model)


def test_a_model_without_a_convolution_gets_none():
    for chain in ([layers.Rescaling(2)], [layers.Rescaling(2, -1), layers.AveragePooling2D(2)]):
        with pytest.raises(InputError, match="no convolution"):
            cut(sequential(*chain, layers.Flatten()))


@pytest.mark.parametrize("name", [name for name in cutting._IDLE if hasattr(layers, name)])
def test_what_does_nothing_at_inference_is_left_out(name):
    kind = getattr(layers, name)
    needed = [each.default is each.empty for each in signature(kind).parameters.values()]
    layer = kind(*[1] * sum(needed[:-1]))  # the last one is for keywords
    x = images((9, 8, 3))
    np.testing.assert_array_equal(layer(x, training=False), x)
    model = sequential(layer, layers.Conv2D(2, 3), layers.Flatten(), shape=(9, 8, 3))
    assert sizes(cut(model)) == [(3, 3)]


def test_a_random_crop_is_more_than_nothing():
    with pytest.raises(InputError, match="RandomCrop"):
        cut(sequential(layers.RandomCrop(7, 7), layers.Conv2D(2, 3), layers.Flatten()))
