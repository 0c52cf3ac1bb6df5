import numpy as np
import pytest

from evolve.block import Block, groups, kernels, layers, network
from slicing.errors import InputError
from slicing.stack import Conv, ConvStack, Pool


@pytest.fixture
def stack():
    rng = np.random.default_rng(0)

    def conv(c_in, c_out):
        weights = rng.normal(size=(3, 3, c_in, c_out)).astype(np.float32)
        return Conv(weights, rng.normal(size=c_out).astype(np.float32))

    return ConvStack((conv(1, 5), Pool(), conv(5, 7)), (12, 12, 1))


@pytest.mark.parametrize(
    ("make", "options", "names"),
    [
        (kernels, {"layers": [1]}, [f"conv1[{i}]" for i in range(5)]),
        (kernels, {}, [f"conv2[{i}]" for i in range(7)]),
        (
            groups,
            {"layers": None, "size": 3},
            ["conv1[0-2]", "conv1[3-4]", "conv2[0-2]", "conv2[3-5]", "conv2[6]"],
        ),
        (groups, {}, ["conv2[0-6]"]),
        (layers, {"layers": None}, ["conv1[0-4]", "conv2[0-6]"]),
        (layers, {}, ["conv2[0-6]"]),
        (network, {"layers": None}, ["conv1[0-4]+conv2[0-6]"]),
        (network, {"layers": [1]}, ["conv1[0-4]"]),
    ],
)
def test_blocks_cover_what_was_asked_for(stack, make, options, names):
    assert [block.name for block in make(stack, **options)] == names


@pytest.mark.parametrize("make", [kernels, groups, layers, network])
def test_write_is_the_inverse_of_read(stack, make):
    changed = stack
    for block in make(stack, None, **({"size": 2} if make is groups else {})):
        vector = np.arange(len(block.read(changed)), dtype=np.float64)
        changed = block.write(changed, vector)
        np.testing.assert_array_equal(block.read(changed), vector)
    for before, after in zip(stack.convs, changed.convs, strict=True):
        assert (before.weights != after.weights).any()


def test_a_block_touches_nothing_else(stack):
    block = Block(((1, 2),))
    changed = block.write(stack, np.zeros(46))
    assert changed.convs[0] is stack.convs[0]
    kept = np.arange(7) != 2
    before, after = stack.convs[1], changed.convs[1]
    np.testing.assert_array_equal(before.weights[..., kept], after.weights[..., kept])
    np.testing.assert_array_equal(before.bias[kept], after.bias[kept])
    assert not after.weights[..., 2].any()
    assert not after.bias[2]


def test_a_wrong_length_names_both_shapes(stack):
    with pytest.raises(ValueError, match=r"\(46,\), not \(47,\)"):
        Block(((1, 2),)).write(stack, np.zeros(47))


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (kernels, {"layers": [3]}, "layers names a convolution 3"),
        (layers, {"layers": [0]}, "layers names a convolution 0"),
        (network, {"layers": []}, "layers is empty"),
        (groups, {"size": 0}, "size=0 is out of range"),
    ],
)
def test_what_does_not_exist_is_refused(stack, make, options, words):
    with pytest.raises(InputError, match=words) as caught:
        make(stack, **options)
    assert caught.value.option == words.partition(" ")[0].partition("=")[0]


@pytest.mark.parametrize("make", [kernels, groups, layers, network])
def test_without_convolutions_there_are_no_blocks(make):
    with pytest.raises(InputError, match="no convolution to evolve"):
        make(ConvStack((), (8, 8, 1)))
