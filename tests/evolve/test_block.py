import numpy as np
import pytest

from evolve.block import Block, make_blocks
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
    ("kind", "layers", "names"),
    [
        ("kernel", [1], [f"conv1[{i}]" for i in range(5)]),
        ("group", None, ["conv1[0-2]", "conv1[3-4]", "conv2[0-2]", "conv2[3-5]", "conv2[6]"]),
        ("layer", None, ["conv1[0-4]", "conv2[0-6]"]),
        ("layer", [-1], ["conv2[0-6]"]),
        ("network", None, ["conv1[0-4]+conv2[0-6]"]),
    ],
)
def test_blocks_cover_what_was_asked_for(stack, kind, layers, names):
    blocks = make_blocks(stack, kind, layers, group_size=3)
    assert [block.name for block in blocks] == names


@pytest.mark.parametrize("kind", ["kernel", "group", "layer", "network"])
def test_write_is_the_inverse_of_read(stack, kind):
    changed = stack
    for block in make_blocks(stack, kind, group_size=2):
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
    ("kwargs", "words"),
    [
        ({"kind": "kernels"}, "kernels"),
        ({"layers": [3]}, "no convolution 3"),
        ({"layers": [0]}, "no convolution 0"),
        ({"layers": []}, "layers is empty"),
        ({"kind": "group", "group_size": 0}, "group_size=0"),
    ],
)
def test_what_does_not_exist_is_refused(stack, kwargs, words):
    with pytest.raises(InputError, match=words):
        make_blocks(stack, **kwargs)
