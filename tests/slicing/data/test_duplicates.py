import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slicing.data import Images
from slicing.data.duplicates import Duplicates


def images(values, labels):
    pixels = np.array(values, np.uint8).reshape(-1, 1, 1, 1) * np.ones((1, 3, 2, 1), np.uint8)
    return Images(pixels, np.array(labels, np.int64))


PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), max_size=12)


@given(PAIRS, PAIRS)
def test_all_equal_pixels_are_counted(train, test):
    found = Duplicates.of(images(*zip(*train, strict=True)) if train else images([], []),
                          images(*zip(*test, strict=True)) if test else images([], []))  # fmt: skip
    known = {value for value, _ in train}
    assert found.test_in_training == sum(value in known for value, _ in test)
    assert found.contradictions == sum(
        any(other == value and wrong != label for other, wrong in train) for value, label in train
    )


def test_one_pixel_makes_a_difference():
    one = images([1, 2], [0, 1])
    two = Images(one.images.copy(), one.labels)
    two.images[0, 0, 0, 0] += 1e-6
    assert Duplicates.of(one, two) == Duplicates(1, 0)


def test_the_warnings_are_clauses():
    assert Duplicates(0, 0).warnings == []
    assert Duplicates(1200, 2).warnings == [
        "1,200 test images equal training images, which flatters all accuracies",
        "2 training images equal one of another class, and cannot all be right",
    ]
