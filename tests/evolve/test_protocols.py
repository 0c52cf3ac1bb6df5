import numpy as np
import pytest

from evolve.protocols import Split, leave_one_out, validation
from evolve.protocols import test_set as on_the_test_set
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
    assert leave_one_out(data, seed=3).queries is None
    parts = validation(data, seed=3)
    assert reads == []
    assert (len(parts.references), len(parts.queries)) == (32, 8)
    np.testing.assert_array_equal(np.bincount(parts.queries.labels), [2, 2, 2, 2])
    # Every training image has exactly one role.
    rejoined = np.concatenate([parts.references.images, parts.queries.images])
    assert len(np.unique(rejoined.reshape(40, -1), axis=0)) == 40


def test_validation_is_drawn_by_its_seed():
    data = dataset([])
    first, again, other = (validation(data, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.queries.images, again.queries.images)
    assert (first.queries.images != other.queries.images).any()


def test_the_test_set_is_read_and_leaks():
    reads = []
    parts = on_the_test_set(dataset(reads), seed=0)
    assert reads == ["test"]
    assert (len(parts.references), len(parts.queries)) == (40, 8)
    assert parts.leaks


@pytest.mark.parametrize(
    ("make", "name", "leaks"),
    [(leave_one_out, "leave_one_out", False), (validation, "validation", False),
     (on_the_test_set, "test", True)],
)  # fmt: skip
def test_a_split_says_its_protocol(make, name, leaks):
    parts = make(dataset([]), 0)
    assert (parts.protocol, parts.leaks) == (name, leaks)


@pytest.mark.parametrize("fraction", [0.0, 1.0, 0.01, 0.99, -1.0])
def test_a_fraction_that_leaves_a_role_empty(fraction):
    with pytest.raises(InputError, match=r"^fraction=") as caught:
        validation(dataset([]), 0, fraction)
    assert caught.value.option == "fraction"


@pytest.mark.parametrize("n_queries", [0, 3])
def test_roles_are_parts_of_the_stacked_images(n_queries):
    rng = np.random.default_rng(0)
    whole = Images(rng.random((10, 2, 2, 1), dtype=np.float32), np.arange(10))
    split = Split(whole[n_queries:], whole[:n_queries] if n_queries else None)
    images, labels, roles = split.stacked()
    queries = split.queries or split.references
    for part, place in ((split.references, roles.references), (queries, roles.queries)):
        np.testing.assert_array_equal(images[place], part.images)
        np.testing.assert_array_equal(labels[place], part.labels)
    assert roles.n_images == len(images) == 10
    assert roles.available == (7 if n_queries else 9)
    if n_queries:
        assert roles.excluded is None
    else:
        np.testing.assert_array_equal(roles.excluded, np.arange(10))
