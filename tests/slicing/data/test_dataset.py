"""Datasets: what is held out, and what of some classes is kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slicing.data import Dataset, Images
from slicing.errors import InputError


def dataset(sizes, seed=0):
    """A dataset whose images are all different: each is its number."""
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    numbers = np.arange(len(labels)).reshape(-1, 1, 1, 1)
    names = tuple("abcdefgh"[: len(sizes)])
    train = Images((numbers / len(labels)).astype(np.float32), labels)
    return Dataset("numbers", names, train, lambda: train[:0])


def numbers_of(images):
    return set(images.images.ravel().tolist())


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=8), st.data())
def test_what_is_held_out_teaches_nothing_and_leaves_every_class(sizes, data):
    whole = dataset(sizes)
    most = sum(sizes) - len(sizes)
    if not most:
        return
    n = data.draw(st.integers(1, most))
    parts = whole.hold_out(n, data.draw(st.integers(0, 5)))
    assert len(parts.calibration) == n
    kept, held_out = numbers_of(parts.train), numbers_of(parts.calibration)
    assert not kept & held_out
    assert kept | held_out == numbers_of(whole.train)
    assert set(parts.train.labels) == set(range(len(sizes)))
    # Stratified.
    share = n / sum(sizes)
    counts = np.bincount(parts.calibration.labels, minlength=len(sizes))
    assert (np.abs(counts - share * np.array(sizes)) <= len(sizes) + 1).all()
    assert parts.train.digest != whole.train.digest
    again = whole.hold_out(n, 0), whole.hold_out(n, 0)
    assert again[0].train.digest == again[1].train.digest


def test_what_cannot_be_held_out_is_refused():
    for n in (0, -1, 5, 6):
        with pytest.raises(InputError, match=f"n={n} training images .* choose 1 to 4"):
            dataset([3, 3]).hold_out(n, 0)


def test_some_classes_keep_their_calibration():
    whole = dataset([20, 20, 20]).hold_out(12, 0)
    some = whole.of_classes(["c", "a"])
    assert set(some.calibration.labels) == {0, 1}
    expected = whole.calibration[np.flatnonzero(whole.calibration.labels == 2)]
    assert numbers_of(some.calibration[np.flatnonzero(some.calibration.labels == 0)]) == numbers_of(
        expected
    )
    assert dataset([20, 20, 20]).of_classes(["a", "b"]).calibration is None
