from dataclasses import replace

import numpy as np
import pytest

from slicing.adaptive.members import Members
from slicing.adaptive.trunk import parts_of
from slicing.engine.recipe import Recipe
from slicing.stack import Conv, ConvStack, Pool
from tests.slicing.adaptive.planted import CLASSES, blobs


def grown():
    """Three members: the second and the third each grow on the one before."""
    rng = np.random.default_rng(0)

    def conv(n_in, n):
        return Conv(rng.normal(size=(2, 2, n_in, n)).astype(np.float32), np.zeros(n, np.float32))

    layers = (conv(1, 4), Pool()), (conv(4, 6),), (conv(6, 8), Pool())
    stacks = [ConvStack(sum(layers[: n + 1], ()), (10, 10, 1)) for n in range(3)]
    recipes = [Recipe(k=k, projection="lda", shift=0) for k in (1, 3, 5)]
    train = blobs(150, 0)
    return [
        recipe.build(stack, train, CLASSES) for recipe, stack in zip(recipes, stacks, strict=True)
    ]


@pytest.fixture(scope="module")
def engines():
    return grown()


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2), (1, 2), (2, 0)])
@pytest.mark.parametrize("n", [1, 7])
def test_members_that_take_over_layers_answer_as_they_do_alone(engines, order, n):
    images = blobs(n, 3).images
    asking = Members(engines).asking(images)
    for member in order:
        answers, scores = asking(member, np.arange(n))
        np.testing.assert_array_equal(answers, engines[member].predict_labels(images))
        np.testing.assert_array_equal(scores, engines[member].scores(images))
        np.testing.assert_array_equal(asking.votes, engines[member].votes(images))


def test_some_of_the_images_go_on_with_what_is_known_of_all(engines):
    images, rows = blobs(9, 3).images, np.array([2, 5, 8])
    asking = Members(engines).asking(images)
    asking(0, np.arange(9))
    _, scores = asking(2, rows)
    np.testing.assert_array_equal(scores, engines[2].scores(images[rows]))


def test_shared_layers_are_computed_once(engines, monkeypatch):
    computed = []
    forward = ConvStack.forward

    def counting(self, images):
        computed.extend(conv.n_kernels for conv in self.convs)
        return forward(self, images)

    members = Members(engines)
    monkeypatch.setattr(ConvStack, "forward", counting)
    asking = members.asking(blobs(5, 3).images)
    for member in range(3):
        asking(member, np.arange(5))
    # The projections have two kernels.
    assert computed == [4, 2, 6, 2, 8, 2]


def test_members_of_their_own_share_nothing(engines):
    first, second, _ = engines
    conv, *others = second.stack.layers
    bias = conv.bias.copy()
    bias[0] = np.nextafter(bias[0], np.float32(1))
    other = replace(second.stack, layers=(replace(conv, bias=bias), *others))
    for pair in ([first, replace(second, stack=other)], [first, replace(second, average=1)]):
        assert [each.stacks for each in parts_of(pair)] == [(), ()]
