import numpy as np
import pytest

from slicing.data import Images
from slicing.engine.engine import Engine
from slicing.errors import InputError
from slicing.stack import Conv, ConvStack, Pool

RNG = np.random.default_rng(0)


def conv(height, width, channels, n, **options):
    weights = RNG.normal(size=(height, width, channels, n)).astype(np.float32)
    return Conv(weights, RNG.normal(size=n).astype(np.float32), **options)


STACKS = {
    "pixels": ((), 1),
    "plain": ((conv(3, 3, 1, 4), Pool(), conv(5, 4, 4, 3, relu=False)), 1),
    "padded": ((conv(4, 3, 1, 5, padding="same", strides=(2, 3)), conv(2, 2, 5, 8)), 1),
    "colors": ((conv(3, 5, 3, 6, padding="same"), Pool("average", (3, 3), padding="same")), 3),
    "many": ((conv(3, 3, 5, 9, strides=(1, 2)), Pool("max", (2, 2), (1, 1)), conv(1, 1, 9, 2)), 5),
    "one": ((conv(3, 3, 1, 1),), 1),
}


def pixels(n, channels, seed=1):
    return np.random.default_rng(seed).random((n, 12, 13, channels)).astype(np.float32)


@pytest.fixture(scope="module", params=[*STACKS])
def stack(request):
    layers, channels = STACKS[request.param]
    return ConvStack(layers, (12, 13, channels))


@pytest.mark.parametrize(
    "options",
    [{"k": 1}, {"k": 4, "metric": "cosine"}, {"k": 3, "storage": "int8"}, {"k": 2, "average": 1}],
)
def test_one_image_has_the_bits_that_it_has_among_many(stack, options):
    channels = stack.input_shape[2]
    # The fourth class has no reference.
    train = Images(pixels(40, channels), np.arange(40) % 3)
    engine = Engine.fit(stack, train, ("a", "b", "c", "d"), **options)
    images = pixels(20, channels, seed=2)
    votes, scores = engine.votes(images), engine.scores(images)
    for number in range(len(images)):
        one = images[number : number + 1]
        np.testing.assert_array_equal(engine.votes(one), votes[[number]])
        np.testing.assert_array_equal(engine.scores(one), scores[[number]])


def test_it_is_one_call_for_one_image_that_lies_in_one_piece(stack):
    channels = stack.input_shape[2]
    engine = Engine.fit(stack, Images(pixels(9, channels), np.arange(9) % 3), ("a", "b", "c"), k=1)
    images = pixels(2, channels)
    features, votes, scores = engine.single(images[:1])
    np.testing.assert_array_equal(features, engine.features(images)[:1])
    assert (votes.dtype, scores.dtype) == (np.int64, np.float32)
    assert engine.single(images) is None
    turned = np.ascontiguousarray(images[:1, :, ::-1])[:, :, ::-1]
    assert engine.single(turned) is None
    np.testing.assert_array_equal(engine.votes(turned), votes)
    np.testing.assert_array_equal(engine.votes(images[:1].astype(np.float64)), votes)


def test_features_that_are_not_finite_are_refused_as_they_are_among_many():
    layers = (Conv(np.full((1, 1, 1, 1), 1e38, np.float32), np.zeros(1, np.float32)),)
    stack = ConvStack((*layers, *layers), (2, 2, 1))
    references = np.zeros((1, 4), np.float32)
    engine = Engine.of(stack, references, np.zeros(1, np.int64), ("a",), k=1)
    with pytest.raises(InputError, match="not finite"):
        engine.votes(np.ones((1, 2, 2, 1), np.float32))
