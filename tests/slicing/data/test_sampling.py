import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from slicing.data.sampling import group_end, grouped_order, held_out, stratified_order
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


def by_apportionment(labels, seed):
    """The order of single images, written down in another way: splits of old must not change."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    counts, total = {}, {label: int(np.sum(labels == label)) for label in labels}
    place = []
    for label in labels[shuffled]:
        place.append(counts.get(label, 0) / total[label])
        counts[label] = counts.get(label, 0) + 1
    return shuffled[np.argsort(place, kind="stable")]


@given(labels=LABELS, seed=st.integers(0, 99))
def test_groups_of_one_image_change_nothing(labels, seed):
    groups = np.random.default_rng(seed).permutation(len(labels))
    np.testing.assert_array_equal(
        grouped_order(labels, groups, seed), by_apportionment(labels, seed)
    )
    np.testing.assert_array_equal(stratified_order(labels, seed), by_apportionment(labels, seed))


@given(labels=LABELS, data=st.data(), seed=st.integers(0, 99))
def test_groups_are_kept_together_and_stratified(labels, data, seed):
    n = len(labels)
    groups = np.array(data.draw(st.lists(st.integers(0, n), min_size=n, max_size=n)))
    order = grouped_order(labels, groups, seed)
    assert sorted(order) == list(range(n))
    met = groups[order]
    assert np.sum(met[1:] != met[:-1]) == len(np.unique(groups)) - 1
    if len(np.unique(groups)) < 2:
        return
    for size in range(1, n):
        end = group_end(met, labels[order], size)
        assert set(met[:end]).isdisjoint(met[end:])
        assert 0 < end < n
        assert end == size or met[size - 1] == met[min(size, n - 1)]


def test_a_split_that_cuts_a_group_moves_to_where_both_sides_have_all_classes():
    groups, labels = np.array([0, 0, 0, 1, 1, 1, 2, 3]), np.array([0, 0, 0, 1, 1, 1, 0, 1])
    assert [group_end(groups, labels, n) for n in (3, 4, 5, 6, 7)] == [3, 6, 6, 6, 7]
    # No number leaves both classes on both sides.
    assert group_end(np.array([0, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 1]), 3) == 2


def test_copies_of_one_image_cannot_be_split():
    with pytest.raises(InputError, match=r"All 3 images are copies of each other: give others\."):
        group_end(np.zeros(3, int), np.arange(3), 1)


def test_groups_of_one_class_are_stratified_but_for_a_group():
    labels = np.repeat([0, 1], [60, 30])
    groups = np.arange(90) // 3
    for seed in range(20):
        order = grouped_order(labels, groups, seed)
        for size in range(91):
            ones = labels[order[:size]].sum()
            assert size / 3 - 3 <= ones <= size / 3 + 3


@given(labels=LABELS, seed=st.integers(0, 9), data=st.data())
def test_without_copies_as_many_are_held_out_as_were_asked_for(labels, seed, data):
    most = len(labels) - len(np.unique(labels))
    assume(most >= 1)
    n = data.draw(st.integers(1, most))
    order = stratified_order(labels, seed)
    for groups in (None, np.arange(len(labels))[::-1] * 3):
        kept, sample = held_out(labels, n, seed, groups)
        np.testing.assert_array_equal(kept, np.sort(order[:-n]))
        np.testing.assert_array_equal(sample, np.sort(order[-n:]))


@given(labels=LABELS, seed=st.integers(0, 9), data=st.data())
def test_what_is_held_out_has_no_copies_in_what_is_kept(labels, seed, data):
    assume(len(labels) > 1)
    numbers = st.lists(st.integers(0, 12), min_size=len(labels), max_size=len(labels))
    groups = np.array(data.draw(numbers))
    last = groups[grouped_order(labels, groups, seed)[-1]]
    n = data.draw(st.integers(1, len(labels) - 1))
    if {*labels[groups != last]} != {*labels}:
        # Even the smallest sample takes all of a class with it.
        with pytest.raises(InputError, match="too many are copies of each other"):
            held_out(labels, n, seed, groups)
        return
    kept, sample = held_out(labels, n, seed, groups)
    assert sorted([*kept, *sample]) == [*range(len(labels))]
    assert len(sample)
    assert {*groups[kept]}.isdisjoint(groups[sample])
    assert {*labels[kept]} == {*labels}
