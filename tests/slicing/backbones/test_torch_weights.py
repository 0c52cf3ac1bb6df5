import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from slicing.backbones.torch_weights import read_torch
from slicing.errors import InputError
from tests.slicing.backbones.torch_files import Storage, Tensor, state_dict, written

ARRAYS = st.dictionaries(
    st.text(min_size=1, max_size=5),
    arrays_of.arrays(
        st.sampled_from([np.float32, np.int64, np.float16]),
        arrays_of.array_shapes(min_dims=0, max_side=4),
        elements={"min_value": -4, "max_value": 4},
    ),
    max_size=3,
)
SMALL = state_dict({"a": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(7)})


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("torch") / "weights.pth"


@settings(deadline=None, max_examples=50)
@given(ARRAYS)
def test_a_state_dict_comes_back(file, arrays):
    file.write_bytes(state_dict(arrays))
    found = read_torch(file, "weights")
    assert [*found] == [*arrays]
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_tensors_may_share_numbers_and_lie_in_other_orders(file):
    storage = Storage("0", np.arange(10, dtype=np.float32))
    file.write_bytes(
        written(
            {"turned": Tensor(storage, 1, (2, 3), (1, 2)), "end": Tensor(storage, 8, (2,), (1,))},
            [storage],
        )
    )
    found = read_torch(file, "weights")
    np.testing.assert_array_equal(found["turned"], [[1, 3, 5], [2, 4, 6]])
    np.testing.assert_array_equal(found["end"], [8, 9])


class Calls:
    """Pickled, a call."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.mkdir, ["{folder}"]),
        (eval, ["__import__('os').mkdir('{folder}')"]),
        (pickle.loads, [b""]),
        (np.zeros, [1]),
        (getattr, [1, "real"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_pickle_that_calls_is_refused_and_calls_nothing(function, arguments, tmp_path):
    folder, path = tmp_path / "made", tmp_path / "weights.pth"
    given = [each.format(folder=folder) if isinstance(each, str) else each for each in arguments]
    path.write_bytes(written({"a": Calls(function, *given)}, []))
    with pytest.raises(InputError, match=r"^weights=.* is no file of tensors alone"):
        read_torch(path, "weights")
    assert not folder.exists()


@pytest.mark.parametrize(
    "tensor",
    [
        (0, (11,), (1,)),
        (5, (3, 2), (2, 1)),
        (-1, (2,), (1,)),
        (9, (2,), (-1,)),
        (0, (1000, 1000), (0, 0)),
        (0, (-1,), (1,)),
        (0, (2, 2), (1,)),
    ],
)
def test_a_tensor_beyond_its_numbers_is_refused(tensor, file):
    storage = Storage("0", np.arange(10, dtype=np.float32))
    file.write_bytes(written({"a": Tensor(storage, *tensor)}, [storage]))
    with pytest.raises(InputError, match="give an intact copy"):
        read_torch(file, "weights")


@pytest.mark.parametrize("length", range(0, len(SMALL), 7))
def test_a_file_cut_short_is_refused(length, file):
    file.write_bytes(SMALL[:length])
    with pytest.raises(InputError, match="give an intact copy"):
        read_torch(file, "weights")


@settings(deadline=None)
@given(st.integers(0, len(SMALL) - 1), st.integers(1, 255))
def test_damage_is_a_sentence_or_other_numbers(file, place, change):
    damaged = bytearray(SMALL)
    damaged[place] ^= change
    file.write_bytes(damaged)
    try:
        found = read_torch(file, "weights")
    except InputError:
        return
    assert all(isinstance(array, np.ndarray) for array in found.values())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_torch(tmp_path / "none.pth", "weights")
