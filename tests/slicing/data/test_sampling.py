import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicing.data.sampling import stratified_order
from slicing.errors import InputError

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=80).map(np.array)


@given(labels=LABELS, seed=st.integers(0, 2**32 - 1))
def test_every_beginning_of_the_order_is_stratified(labels, seed):
    order = stratified_order(labels, seed)
    assert sorted(order) == list(range(len(labels)))
    classes, counts = np.unique(labels, return_counts=True)
    shares = counts / len(labels)
    for size in range(len(labels) + 1):
        found = np.array([np.sum(labels[order[:size]] == label) for label in classes])
        assert np.all(found >= shares * (size - len(classes)) - 1e-9)
        assert np.all(found <= shares * size + 1 + 1e-9)
        assert size < len(classes) or np.all(found >= 1)


def test_the_order_depends_on_the_seed_alone():
    labels = np.repeat(np.arange(10), 20)
    first = stratified_order(labels, seed=1)
    np.testing.assert_array_equal(first, stratified_order(labels, seed=1))
    assert not np.array_equal(first, stratified_order(labels, seed=2))


def test_negative_seed_is_refused():
    with pytest.raises(InputError, match=r"seed=-1 is out of range"):
        stratified_order(np.arange(3), seed=-1)
