import numpy as np
import pytest

from evolve.protocols import split
from slicing.data import Dataset, Images
from slicing.errors import InputError


def dataset(reads):
    rng = np.random.default_rng(0)

    def images(n):
        return Images(rng.random((n, 4, 4, 1), dtype=np.float32), np.arange(n) % 4)

    def read_test():
        reads.append("test")
        return images(8)

    return Dataset("toy", ("a", "b", "c", "d"), images(40), read_test)


def test_leave_one_out_and_validation_never_read_the_test_images():
    reads = []
    data = dataset(reads)
    assert split("leave_one_out", data).queries is None
    parts = split("validation", data, 0.2, seed=3)
    assert reads == []
    assert (len(parts.references), len(parts.queries)) == (32, 8)
    np.testing.assert_array_equal(np.bincount(parts.queries.labels), [2, 2, 2, 2])
    # Every training image has exactly one role.
    rejoined = np.concatenate([parts.references.images, parts.queries.images])
    assert len(np.unique(rejoined.reshape(40, -1), axis=0)) == 40


def test_validation_is_drawn_by_its_seed():
    data = dataset([])
    first, again, other = (split("validation", data, 0.2, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.queries.images, again.queries.images)
    assert (first.queries.images != other.queries.images).any()


def test_protocol_test_reads_them():
    reads = []
    parts = split("test", dataset(reads))
    assert reads == ["test"]
    assert (len(parts.references), len(parts.queries)) == (40, 8)


@pytest.mark.parametrize("fraction", [0.0, 1.0, 0.01, 0.99, -1.0])
def test_a_fraction_that_leaves_a_role_empty(fraction):
    with pytest.raises(InputError, match="validation_fraction"):
        split("validation", dataset([]), fraction)


def test_an_unknown_protocol():
    with pytest.raises(InputError, match="leave_one_out"):
        split("loo", dataset([]))
