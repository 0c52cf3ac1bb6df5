"""The roles of training images in a study."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.study.roles import Roles
from slicing.data.dataset import Dataset, Images
from slicing.errors import InputError


def dataset(n_per_class, n_classes=3):
    labels = np.repeat(np.arange(n_classes), n_per_class)
    images = np.random.default_rng(0).random((len(labels), 2, 2, 1), np.float32)
    part = Images(images, labels)

    def unread():
        raise AssertionError("the test images were read")

    return Dataset("blobs", tuple("abc"[:n_classes]), part, unread, unread)


@pytest.mark.parametrize("fraction", [0.2, 0.25, 0.5])
def test_every_image_judges_in_one_fold_and_teaches_in_the_others(fraction):
    given = dataset(20)
    roles = Roles(fraction, folds=round(1 / fraction))
    seen = []
    for fold in range(roles.n_folds(given)):
        divided = roles.of(given, fold)
        choice = divided.read_test()
        assert not {*choice.contents.tolist()} & {*divided.train.contents.tolist()}
        assert len(choice) + len(divided.train) == 60
        counts = np.bincount(choice.labels, minlength=3)
        assert counts.max() - counts.min() <= 2
        seen += choice.contents.tolist()
    assert sorted(seen) == sorted(given.train.contents.tolist())


def test_few_images_are_divided_five_times_and_many_once():
    assert Roles().n_folds(dataset(20)) == 5
    assert Roles().n_folds(dataset(500)) == 1
    assert Roles(folds=2).n_folds(dataset(500)) == 2


def test_the_division_is_that_of_the_seed():
    given = dataset(20)
    first, again, other = (Roles(seed=seed).of(given, 0).read_test() for seed in (0, 0, 1))
    assert first.digest == again.digest != other.digest


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fraction": 0.0}, "^choice_fraction=0.0 is out of range"),
        ({"fraction": 0.7}, "^choice_fraction=0.7 is out of range"),
        ({"folds": 0}, "^folds=0 is out of range"),
        ({"folds": 6}, "^folds=6 is out of range"),
    ],
)
def test_what_is_out_of_range_is_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        Roles(**options)


def test_copies_judge_together():
    given = dataset(20)
    groups = np.arange(60) // 3
    part = replace(given.train, groups=groups)
    number = {bytes(each): group for each, group in zip(part.contents, groups, strict=True)}
    roles = Roles(folds=5)
    seen = []
    for fold in range(5):
        divided = roles.of(replace(given, train=part), fold)
        choice = {number[bytes(each)] for each in divided.read_test().contents}
        assert not choice & {number[bytes(each)] for each in divided.train.contents}
        seen += choice
    assert sorted(seen) == list(range(20))
